/*
 * Every function of phlora.h with every kind of bad argument: a status, outputs untouched, no crash.
 *
 *   arguments [BASE TUNED DIRECTORY]
 *
 * One table: a name, the status expected, what prepares the call, the call. Before each row all buffers are filled
 * with one pattern and set up afresh; after a call that fails they must hold what the preparation left. With three
 * arguments the file functions take part: two models and an empty directory for what they write.
 */
#include "phlora.h"
#include <math.h>
#include <stddef.h>
#include <stdio.h>
#include <string.h>
#ifdef PHLORA_TEST_FILES
#include <pthread.h>
#endif

enum { ROWS = 6, COLS = 4, RANK = 2, PATTERN = 0xa5, MEMORY = 64 * 1024 };

#define FINISH_BUFFERS out.a, RANK * COLS, out.b, ROWS * RANK, out.s, RANK
#define SIDE(x) (x), sizeof(x), PHLORA_DTYPE_F32
#define SIDES SIDE(base), SIDE(tuned)
#define OTHER_END (SIZE_MAX - 3)

/* Everything that calls write. */
struct outputs {
    phlora_options options;
    phlora_plan plan;
    phlora_measurements measurements;
    phlora_report report;
    phlora_svd_info info;
    float a[RANK * COLS + 2], b[ROWS * RANK], s[COLS], v[COLS * COLS], matrix[ROWS * COLS];
    unsigned char bytes[64];
    size_t len;
    phlora_extractor *x;
#ifdef PHLORA_TEST_FILES
    phlora_file_options file_options;
    phlora_file_report file_report;
    phlora_verification verification;
    phlora_contents contents;
    phlora_choice choice;
    phlora_pruned pruned;
    phlora_diff diff;
    phlora_merged merged;
    phlora_converted done;
    phlora_part *parts[PHLORA_MAX_PARTS];
    size_t count, first;
#endif
};
static struct outputs out, before;
static const float block[32] = {1};

static phlora_options options;
static phlora_plan plan;
static float base[ROWS][COLS], tuned[ROWS][COLS];
static union { unsigned char bytes[MEMORY + 128]; double align; } store, copy;
static unsigned char *memory;
static struct { phlora_options known; unsigned char later[64]; } newer;
static unsigned char *aligned(unsigned char *p) {
    return p + (PHLORA_ALIGNMENT - (uintptr_t)p % PHLORA_ALIGNMENT) % PHLORA_ALIGNMENT;
}

static phlora_status need(phlora_status status) {
    if (status != PHLORA_STATUS_OK) printf("preparation: %s\n", phlora_status_name(status));
    return status;
}

/* -- preparations ------------------------------------------------------------------------------------------- */
static void fresh(void) {
    memset(&out, PATTERN, sizeof out);
    memset(store.bytes, PATTERN, sizeof store.bytes);
    memory = aligned(store.bytes);
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLS; j++) {
            base[i][j] = (float)(i - j);
            tuned[i][j] = base[i][j] + (float)((i + 1) * (j + 2) % 5);
            out.matrix[i * COLS + j] = (float)((3 * i + 5 * j) % 7);
        }
    need(phlora_options_init(&options, sizeof options));
    options.rank = RANK;
    need(phlora_plan_init(&options, ROWS, COLS, &plan, sizeof plan));
    memset(&newer, 0, sizeof newer);
    newer.known = options;
    newer.known.struct_size = sizeof newer;
}
static void nothing(void) {}
static void start(void) { need(phlora_start(&options, ROWS, COLS, memory, MEMORY, &out.x)); }
static void pass(void) { start(); need(phlora_push(out.x, SIDES)); }
static void ready(void) {
    start();
    while (phlora_wants_pass(out.x)) {
        need(phlora_push(out.x, SIDES));
        if (need(phlora_end_pass(out.x))) return;
    }
}
static void finished(void) {
    ready();
    need(phlora_finish(out.x, FINISH_BUFFERS, &out.report, sizeof out.report));
}
static void nan_pushed(void) {
    uint32_t bits = 0x7fc00000;
    memcpy(&tuned[3][1], &bits, 4);
    start();
    need(phlora_push(out.x, SIDES));
}
static void failed(void) {
    nan_pushed();
    if (phlora_end_pass(out.x) != PHLORA_STATUS_NON_FINITE) printf("preparation: NaN accepted\n");
}
static void restarted(void) { failed(); fresh(); ready(); }
static void moved(void) {
    ready();
    memcpy(aligned(copy.bytes), memory, MEMORY);
    out.x = (phlora_extractor *)(void *)aligned(copy.bytes);
}
static void unstarted(void) { out.x = (phlora_extractor *)(void *)memory; }
static void later_option(void) { newer.later[3] = 1; }
static void size(size_t bytes) { options.struct_size = bytes; }
static void size_0(void) { size(0); }
static void size_older(void) { size(sizeof options - 1); }
static void size_huge(void) { size(SIZE_MAX); }
static void rank_0(void) { options.rank = 0; }
static void rank_huge(void) { options.rank = SIZE_MAX; }
static void mode_99(void) { options.mode = 99; }
static void kernel_99(void) { options.kernel = 99; }
static void no_reads(void) { options.max_reads = 0; }
static void one_read(void) { options.mode = PHLORA_MODE_MULTI_READ; options.rank = 64; options.max_reads = 1; }
static void small_memory(void) { options.max_memory = 64; }
static void tiny(void) { options.max_memory = 1; }
static void matrix_nan(void) { uint32_t bits = 0x7fc00000; memcpy(&out.matrix[5], &bits, 4); }

#define AT(type, pointer, bytes) ((type *)(void *)((unsigned char *)(pointer) + (bytes)))
#define X out.x
#define START(o, m, n) phlora_start(o, ROWS, COLS, m, n, &out.x)
#define SVD(rows, ...) phlora_svd(rows, 0, __VA_ARGS__)
#define GOOD_SVD_INFO &out.info, sizeof out.info

static int failures, rows;

static void judge(phlora_status want, phlora_status got, const char *call, int line) {
    rows++;
    if (got != want) {
        printf("line %d: %s instead of %s: %s\n", line, phlora_status_name(got), phlora_status_name(want), call);
        failures++;
    } else if (got != PHLORA_STATUS_OK && memcmp(&out, &before, sizeof out) != 0) {
        printf("line %d: refused, but an output is written: %s\n", line, call);
        failures++;
    }
}

static void expect(int holds, const char *what) {
    rows++;
    if (!holds) {
        printf("not so: %s\n", what);
        failures++;
    }
}

#define ROW(want, prepare, call) \
    do { \
        phlora_status got; \
        fresh(); \
        prepare(); \
        before = out; \
        got = (call); \
        judge(PHLORA_STATUS_##want, got, #call, __LINE__); \
    } while (0)

/* -- the table: ROW(status, preparation, call) ---------------------------------------------------------------- */
static void core_rows(void) {
    ROW(NULL_POINTER, nothing, phlora_options_init(NULL, sizeof out.options));
    ROW(MISALIGNED, nothing, phlora_options_init(AT(phlora_options, &out.options, 1), sizeof out.options));
    ROW(STRUCT_SIZE, nothing, phlora_options_init(&out.options, 0));
    ROW(STRUCT_SIZE, nothing, phlora_options_init(&out.options, sizeof out.options - 1));
    ROW(STRUCT_SIZE, nothing, phlora_options_init(&out.options, SIZE_MAX));
    ROW(OK, nothing, phlora_options_init(&newer.known, sizeof newer));

    ROW(NULL_POINTER, nothing, phlora_plan_init(NULL, ROWS, COLS, &out.plan, sizeof plan));
    ROW(NULL_POINTER, nothing, phlora_plan_init(&options, ROWS, COLS, NULL, sizeof plan));
    ROW(MISALIGNED, nothing, phlora_plan_init(AT(const phlora_options, &options, 1), ROWS, COLS, &out.plan, sizeof plan));
    ROW(MISALIGNED, nothing, phlora_plan_init(&options, ROWS, COLS, AT(phlora_plan, &out.plan, 2), sizeof plan));
    ROW(OVERLAP, nothing, phlora_plan_init(&options, ROWS, COLS, AT(phlora_plan, &options, 0), sizeof plan));
    ROW(OVERLAP, nothing, phlora_plan_init(&newer.known, ROWS, COLS, AT(phlora_plan, &newer, sizeof options), sizeof plan));
    ROW(STRUCT_SIZE, nothing, phlora_plan_init(&options, ROWS, COLS, &out.plan, sizeof plan - 1));
    ROW(STRUCT_SIZE, nothing, phlora_plan_init(&options, ROWS, COLS, &out.plan, SIZE_MAX));
    ROW(STRUCT_SIZE, size_0, phlora_plan_init(&options, ROWS, COLS, &out.plan, sizeof plan));
    ROW(STRUCT_SIZE, size_older, phlora_plan_init(&options, ROWS, COLS, &out.plan, sizeof plan));
    ROW(STRUCT_SIZE, size_huge, phlora_plan_init(&options, ROWS, COLS, &out.plan, sizeof plan));
    ROW(OK, nothing, phlora_plan_init(&newer.known, ROWS, COLS, &out.plan, sizeof plan));
    ROW(STRUCT_SIZE, later_option, phlora_plan_init(&newer.known, ROWS, COLS, &out.plan, sizeof plan));
    ROW(UNKNOWN_VALUE, mode_99, phlora_plan_init(&options, ROWS, COLS, &out.plan, sizeof plan));
    ROW(UNKNOWN_VALUE, kernel_99, phlora_plan_init(&options, ROWS, COLS, &out.plan, sizeof plan));
    ROW(RANK_ZERO, rank_0, phlora_plan_init(&options, ROWS, COLS, &out.plan, sizeof plan));
    ROW(OK, rank_huge, phlora_plan_init(&options, ROWS, COLS, &out.plan, sizeof plan));
    ROW(TOO_LARGE, rank_huge, phlora_plan_init(&options, SIZE_MAX / 8, SIZE_MAX / 8, &out.plan, sizeof plan));
    ROW(TOO_LARGE, nothing, phlora_plan_init(&options, SIZE_MAX, SIZE_MAX, &out.plan, sizeof plan));
    ROW(TOO_LARGE, nothing, phlora_plan_init(&options, SIZE_MAX / 4, 2, &out.plan, sizeof plan));
    ROW(TOO_LARGE, nothing, phlora_plan_init(&options, 1, SIZE_MAX, &out.plan, sizeof plan));
    ROW(OK, nothing, phlora_plan_init(&options, 0, SIZE_MAX / 1024, &out.plan, sizeof plan));
    ROW(OK, nothing, phlora_plan_init(&options, 0, 0, &out.plan, sizeof plan));
    ROW(TOO_FEW_READS, no_reads, phlora_plan_init(&options, ROWS, COLS, &out.plan, sizeof plan));
    ROW(TOO_FEW_READS, one_read, phlora_plan_init(&options, 1000, 1000, &out.plan, sizeof plan));
    ROW(MEMORY_TOO_SMALL, small_memory, phlora_plan_init(&options, 1000, 1000, &out.plan, sizeof plan));
    ROW(MEMORY_TOO_SMALL, tiny, phlora_plan_init(&options, ROWS, COLS, &out.plan, sizeof plan));

    ROW(OK, nothing, START(&options, memory, plan.memory_bytes));
    ROW(OK, nothing, START(&newer.known, memory, plan.memory_bytes));
    ROW(NULL_POINTER, nothing, START(NULL, memory, MEMORY));
    ROW(NULL_POINTER, nothing, START(&options, NULL, MEMORY));
    ROW(NULL_POINTER, nothing, START(&options, NULL, 0));
    ROW(NULL_POINTER, nothing, phlora_start(&options, ROWS, COLS, memory, MEMORY, NULL));
    ROW(MISALIGNED, nothing, START(&options, memory + 8, MEMORY));
    ROW(MISALIGNED, nothing, START(AT(const phlora_options, &options, 4), memory, MEMORY));
    ROW(MISALIGNED, nothing, phlora_start(&options, ROWS, COLS, memory, MEMORY, AT(phlora_extractor *, &out.x, 1)));
    ROW(MEMORY_TOO_SMALL, nothing, START(&options, memory, plan.memory_bytes - 1));
    ROW(MEMORY_TOO_SMALL, nothing, START(&options, memory, 0));
    ROW(TOO_LARGE, nothing, START(&options, memory, SIZE_MAX));
    ROW(OVERLAP, nothing, phlora_start(&options, ROWS, COLS, memory, MEMORY, AT(phlora_extractor *, memory, 0)));
    ROW(OVERLAP, nothing, phlora_start(&options, ROWS, COLS, memory, MEMORY, AT(phlora_extractor *, memory, MEMORY - 8)));
    ROW(OVERLAP, nothing, (memcpy(memory, &options, sizeof options), START(AT(const phlora_options, memory, 0), memory, MEMORY)));
    ROW(TOO_LARGE, nothing, phlora_start(&options, SIZE_MAX, SIZE_MAX, memory, MEMORY, &out.x));
    ROW(RANK_ZERO, rank_0, START(&options, memory, MEMORY));
    ROW(STRUCT_SIZE, size_0, START(&options, memory, MEMORY));
    ROW(STRUCT_SIZE, later_option, START(&newer.known, memory, MEMORY));

    ROW(NULL_POINTER, start, phlora_push(NULL, SIDES));
    ROW(NULL_POINTER, start, phlora_push(X, NULL, sizeof base, PHLORA_DTYPE_F32, SIDE(tuned)));
    ROW(NULL_POINTER, start, phlora_push(X, SIDE(base), NULL, sizeof tuned, PHLORA_DTYPE_F32));
    ROW(OK, start, phlora_push(X, NULL, 0, PHLORA_DTYPE_F32, NULL, 0, PHLORA_DTYPE_F32));
    ROW(OK, start, phlora_push(X, SIDE(base), SIDE(base)));
    ROW(MISALIGNED, start, phlora_push(AT(phlora_extractor, X, 8), SIDES));
    ROW(OVERLAP, start, phlora_push(X, memory, COLS * 4, PHLORA_DTYPE_F32, tuned, COLS * 4, PHLORA_DTYPE_F32));
    ROW(OVERLAP, start, phlora_push(X, base, COLS * 4, PHLORA_DTYPE_F32, memory + plan.memory_bytes - 1, COLS * 4, PHLORA_DTYPE_F32));
    ROW(TOO_LARGE, start, phlora_push(X, base, SIZE_MAX, PHLORA_DTYPE_F32, SIDE(tuned)));
    ROW(TOO_LARGE, start, phlora_push(X, AT(void, OTHER_END, 0), COLS * 4, PHLORA_DTYPE_F32, SIDE(tuned)));
    ROW(UNKNOWN_VALUE, start, phlora_push(X, base, sizeof base, 0, SIDE(tuned)));
    ROW(UNKNOWN_VALUE, start, phlora_push(X, SIDE(base), tuned, sizeof tuned, 5));
    ROW(NOT_WHOLE_BLOCKS, start, phlora_push(X, base, 18, PHLORA_DTYPE_Q4_0, SIDE(tuned)));
    ROW(NOT_WHOLE_BLOCKS, start, phlora_push(X, SIDE(base), tuned, 34, PHLORA_DTYPE_Q8_0));
    ROW(NOT_WHOLE_ROWS, start, phlora_push(X, base, sizeof base - 1, PHLORA_DTYPE_F32, SIDE(tuned)));
    ROW(NOT_WHOLE_ROWS, start, phlora_push(X, base, COLS * 4, PHLORA_DTYPE_F32, SIDE(tuned)));
    ROW(NOT_WHOLE_ROWS, start, phlora_push(X, base, sizeof base, PHLORA_DTYPE_F16, SIDE(tuned)));
    ROW(TOO_MANY_ROWS, pass, phlora_push(X, base, COLS * 4, PHLORA_DTYPE_F32, tuned, COLS * 4, PHLORA_DTYPE_F32));
    ROW(OUT_OF_ORDER, ready, phlora_push(X, SIDES));
    ROW(OUT_OF_ORDER, finished, phlora_push(X, SIDES));
    ROW(OUT_OF_ORDER, failed, phlora_push(X, SIDES));
    ROW(NOT_STARTED, unstarted, phlora_push(X, SIDES));
    ROW(NOT_STARTED, moved, phlora_push(X, SIDES));

    ROW(NULL_POINTER, pass, phlora_end_pass(NULL));
    ROW(MISALIGNED, pass, phlora_end_pass(AT(phlora_extractor, X, 1)));
    ROW(MISSING_ROWS, start, phlora_end_pass(X));
    ROW(OUT_OF_ORDER, ready, phlora_end_pass(X));
    ROW(OUT_OF_ORDER, finished, phlora_end_pass(X));
    ROW(OUT_OF_ORDER, failed, phlora_end_pass(X));
    ROW(NON_FINITE, nan_pushed, phlora_end_pass(X));
    ROW(NOT_STARTED, unstarted, phlora_end_pass(X));
    ROW(NOT_STARTED, moved, phlora_end_pass(X));

    ROW(OK, failed, phlora_measure(X, &out.measurements, sizeof out.measurements));
    ROW(NULL_POINTER, pass, phlora_measure(NULL, &out.measurements, sizeof out.measurements));
    ROW(NULL_POINTER, pass, phlora_measure(X, NULL, sizeof out.measurements));
    ROW(MISALIGNED, pass, phlora_measure(X, AT(phlora_measurements, &out.measurements, 1), sizeof out.measurements));
    ROW(MISALIGNED, pass, phlora_measure(AT(phlora_extractor, X, 4), &out.measurements, sizeof out.measurements));
    ROW(OVERLAP, pass, phlora_measure(X, AT(phlora_measurements, memory, 64), sizeof out.measurements));
    ROW(STRUCT_SIZE, pass, phlora_measure(X, &out.measurements, 8));
    ROW(STRUCT_SIZE, pass, phlora_measure(X, &out.measurements, SIZE_MAX));
    ROW(OUT_OF_ORDER, finished, phlora_measure(X, &out.measurements, sizeof out.measurements));
    ROW(NOT_STARTED, unstarted, phlora_measure(X, &out.measurements, sizeof out.measurements));

    ROW(OK, ready, phlora_finish(X, FINISH_BUFFERS, &out.report, sizeof out.report));
    ROW(OK, restarted, phlora_finish(X, FINISH_BUFFERS, &out.report, sizeof out.report));
    ROW(NULL_POINTER, ready, phlora_finish(NULL, FINISH_BUFFERS, &out.report, sizeof out.report));
    ROW(NULL_POINTER, ready, phlora_finish(X, NULL, RANK * COLS, out.b, ROWS * RANK, out.s, RANK, &out.report, sizeof out.report));
    ROW(NULL_POINTER, ready, phlora_finish(X, out.a, RANK * COLS, NULL, ROWS * RANK, out.s, RANK, &out.report, sizeof out.report));
    ROW(NULL_POINTER, ready, phlora_finish(X, out.a, RANK * COLS, out.b, ROWS * RANK, NULL, RANK, &out.report, sizeof out.report));
    ROW(NULL_POINTER, ready, phlora_finish(X, FINISH_BUFFERS, NULL, sizeof out.report));
    ROW(MISALIGNED, ready, phlora_finish(X, AT(float, out.a, 1), RANK * COLS, out.b, ROWS * RANK, out.s, RANK, &out.report, sizeof out.report));
    ROW(MISALIGNED, ready, phlora_finish(X, out.a, RANK * COLS, AT(float, out.b, 2), ROWS * RANK, out.s, RANK, &out.report, sizeof out.report));
    ROW(MISALIGNED, ready, phlora_finish(X, out.a, RANK * COLS, out.b, ROWS * RANK, AT(float, out.s, 3), RANK, &out.report, sizeof out.report));
    ROW(MISALIGNED, ready, phlora_finish(X, FINISH_BUFFERS, AT(phlora_report, &out.report, 4), sizeof out.report));
    ROW(OVERLAP, ready, phlora_finish(X, out.a, RANK * COLS, out.a, ROWS * RANK, out.s, RANK, &out.report, sizeof out.report));
    ROW(OVERLAP, ready, phlora_finish(X, out.a, RANK * COLS, out.b, ROWS * RANK, out.b + ROWS * RANK - 1, RANK, &out.report, sizeof out.report));
    ROW(OVERLAP, ready, phlora_finish(X, AT(float, memory, 128), RANK * COLS, out.b, ROWS * RANK, out.s, RANK, &out.report, sizeof out.report));
    ROW(OVERLAP, ready, phlora_finish(X, FINISH_BUFFERS, AT(phlora_report, memory, 0), sizeof out.report));
    ROW(TOO_LARGE, ready, phlora_finish(X, out.a, SIZE_MAX, out.b, ROWS * RANK, out.s, RANK, &out.report, sizeof out.report));
    ROW(OUTPUT_LENGTH, ready, phlora_finish(X, out.a, RANK * COLS - 1, out.b, ROWS * RANK, out.s, RANK, &out.report, sizeof out.report));
    ROW(OUTPUT_LENGTH, ready, phlora_finish(X, out.a, RANK * COLS + 1, out.b, ROWS * RANK, out.s, RANK, &out.report, sizeof out.report));
    ROW(OUTPUT_LENGTH, ready, phlora_finish(X, out.a, RANK * COLS, out.b, 0, out.s, RANK, &out.report, sizeof out.report));
    ROW(OUTPUT_LENGTH, ready, phlora_finish(X, out.a, RANK * COLS, out.b, ROWS * RANK, out.s, RANK + 1, &out.report, sizeof out.report));
    ROW(STRUCT_SIZE, ready, phlora_finish(X, FINISH_BUFFERS, &out.report, 1));
    ROW(STRUCT_SIZE, ready, phlora_finish(X, FINISH_BUFFERS, &out.report, SIZE_MAX));
    ROW(OUT_OF_ORDER, start, phlora_finish(X, FINISH_BUFFERS, &out.report, sizeof out.report));
    ROW(OUT_OF_ORDER, pass, phlora_finish(X, FINISH_BUFFERS, &out.report, sizeof out.report));
    ROW(OUT_OF_ORDER, failed, phlora_finish(X, FINISH_BUFFERS, &out.report, sizeof out.report));
    ROW(OUT_OF_ORDER, finished, phlora_finish(X, FINISH_BUFFERS, &out.report, sizeof out.report));
    ROW(NOT_STARTED, unstarted, phlora_finish(X, FINISH_BUFFERS, &out.report, sizeof out.report));
    ROW(NOT_STARTED, moved, phlora_finish(X, FINISH_BUFFERS, &out.report, sizeof out.report));

    ROW(OK, nothing, phlora_decode(base, sizeof base, PHLORA_DTYPE_BF16, out.matrix, 0) == PHLORA_STATUS_OUTPUT_LENGTH ? PHLORA_STATUS_OK : PHLORA_STATUS_INTERNAL);
    ROW(OK, nothing, phlora_decode(base, sizeof base, PHLORA_DTYPE_F32, out.matrix, ROWS * COLS));
    ROW(OK, nothing, phlora_decode(NULL, 0, PHLORA_DTYPE_F32, NULL, 0));
    ROW(NULL_POINTER, nothing, phlora_decode(NULL, 16, PHLORA_DTYPE_F32, out.matrix, 4));
    ROW(NULL_POINTER, nothing, phlora_decode(base, 16, PHLORA_DTYPE_F32, NULL, 4));
    ROW(MISALIGNED, nothing, phlora_decode(base, 16, PHLORA_DTYPE_F32, AT(float, out.a, 1), 4));
    ROW(OVERLAP, nothing, phlora_decode(out.matrix, 16, PHLORA_DTYPE_F16, out.matrix + 3, 8));
    ROW(TOO_LARGE, nothing, phlora_decode(base, SIZE_MAX, PHLORA_DTYPE_F32, out.matrix, SIZE_MAX / 4));
    ROW(TOO_LARGE, nothing, phlora_decode(base, 16, PHLORA_DTYPE_F32, out.matrix, SIZE_MAX));
    ROW(OK, nothing, phlora_decode(base, 36, PHLORA_DTYPE_Q4_0, out.matrix, 64));
    ROW(OUTPUT_LENGTH, nothing, phlora_decode(base, 35, PHLORA_DTYPE_Q4_0, out.matrix, 32));
    ROW(UNKNOWN_VALUE, nothing, phlora_decode(base, 16, 77, out.matrix, 4));
    ROW(OUTPUT_LENGTH, nothing, phlora_decode(base, 16, PHLORA_DTYPE_F32, out.matrix, 5));
    ROW(OUTPUT_LENGTH, nothing, phlora_decode(base, 15, PHLORA_DTYPE_F32, out.matrix, 3));

    ROW(OK, nothing, phlora_encode(base[0], 4, PHLORA_DTYPE_F16, out.bytes, 8));
    ROW(OK, nothing, phlora_encode(base[0], 4, PHLORA_DTYPE_F32, out.bytes + 1, 16));
    ROW(NULL_POINTER, nothing, phlora_encode(NULL, 4, PHLORA_DTYPE_F32, out.bytes, 16));
    ROW(NULL_POINTER, nothing, phlora_encode(base[0], 4, PHLORA_DTYPE_F32, NULL, 16));
    ROW(MISALIGNED, nothing, phlora_encode(AT(const float, base, 2), 4, PHLORA_DTYPE_F32, out.bytes, 16));
    ROW(OVERLAP, nothing, phlora_encode(out.matrix, 4, PHLORA_DTYPE_F16, out.matrix, 8));
    ROW(TOO_LARGE, nothing, phlora_encode(base[0], SIZE_MAX / 2, PHLORA_DTYPE_F32, out.bytes, 16));
    ROW(UNKNOWN_VALUE, nothing, phlora_encode(base[0], 4, 0, out.bytes, 16));
    ROW(OUTPUT_LENGTH, nothing, phlora_encode(base[0], 4, PHLORA_DTYPE_F32, out.bytes, 15));
    ROW(OUTPUT_LENGTH, nothing, phlora_encode(base[0], 4, PHLORA_DTYPE_F16, out.bytes, 16));
    ROW(OK, nothing, phlora_encode(block, 32, PHLORA_DTYPE_Q8_0, out.bytes, 34));
    ROW(OUTPUT_LENGTH, nothing, phlora_encode(block, 32, PHLORA_DTYPE_Q8_0, out.bytes, 32));
    ROW(NOT_WHOLE_BLOCKS, nothing, phlora_encode(block, 31, PHLORA_DTYPE_Q8_0, out.bytes, 34));
    ROW(NOT_WHOLE_BLOCKS, nothing, phlora_encode(block, 32, PHLORA_DTYPE_Q4_K, out.bytes, 20));

    ROW(OK, nothing, phlora_row_bytes(PHLORA_DTYPE_Q4_K, 512, &out.len) == PHLORA_STATUS_OK && out.len == 288 ? PHLORA_STATUS_OK : PHLORA_STATUS_INTERNAL);
    ROW(OK, nothing, phlora_block_len(PHLORA_DTYPE_F16) == 1 && phlora_block_len(PHLORA_DTYPE_Q8_0) == 32 && phlora_block_len(77) == 0 ? PHLORA_STATUS_OK : PHLORA_STATUS_INTERNAL);
    ROW(NULL_POINTER, nothing, phlora_row_bytes(PHLORA_DTYPE_F32, 4, NULL));
    ROW(MISALIGNED, nothing, phlora_row_bytes(PHLORA_DTYPE_F32, 4, AT(size_t, &out.len, 1)));
    ROW(TOO_LARGE, nothing, phlora_row_bytes(PHLORA_DTYPE_F32, SIZE_MAX, &out.len));
    ROW(UNKNOWN_VALUE, nothing, phlora_row_bytes(104, 4, &out.len));
    ROW(OK, nothing, phlora_row_bytes(PHLORA_GGML_DTYPE(1), 4, &out.len) == PHLORA_STATUS_OK && out.len == 8 && phlora_block_len(PHLORA_GGML_DTYPE(30)) == 1 && phlora_block_len(PHLORA_GGML_DTYPE(8)) == 32 ? PHLORA_STATUS_OK : PHLORA_STATUS_INTERNAL);
    ROW(NOT_WHOLE_BLOCKS, nothing, phlora_row_bytes(PHLORA_DTYPE_Q4_0, 48, &out.len));

    ROW(OK, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, out.v, COLS * COLS, GOOD_SVD_INFO));
    ROW(OK, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, NULL, 0, GOOD_SVD_INFO));
    ROW(OK, nothing, SVD(0, NULL, 0, NULL, 0, NULL, 0, GOOD_SVD_INFO));
    ROW(NULL_POINTER, nothing, SVD(ROWS, NULL, ROWS * COLS, out.s, COLS, out.v, COLS * COLS, GOOD_SVD_INFO));
    ROW(NULL_POINTER, nothing, SVD(ROWS, out.matrix, ROWS * COLS, NULL, COLS, out.v, COLS * COLS, GOOD_SVD_INFO));
    ROW(NULL_POINTER, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, NULL, COLS * COLS, GOOD_SVD_INFO));
    ROW(NULL_POINTER, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, NULL, 0, NULL, sizeof out.info));
    ROW(MISALIGNED, nothing, SVD(ROWS, AT(float, out.matrix, 1), ROWS * COLS - 1, out.s, COLS, NULL, 0, GOOD_SVD_INFO));
    ROW(MISALIGNED, nothing, SVD(ROWS, out.matrix, ROWS * COLS, AT(float, out.s, 2), COLS - 1, NULL, 0, GOOD_SVD_INFO));
    ROW(MISALIGNED, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, AT(float, out.v, 3), 12, GOOD_SVD_INFO));
    ROW(MISALIGNED, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, NULL, 0, AT(phlora_svd_info, &out.info, 1), sizeof out.info));
    ROW(OVERLAP, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.matrix, COLS, NULL, 0, GOOD_SVD_INFO));
    ROW(OVERLAP, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, out.matrix + 8, COLS * COLS, GOOD_SVD_INFO));
    ROW(OVERLAP, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, NULL, 0, AT(phlora_svd_info, out.matrix, 0), sizeof out.info));
    ROW(TOO_LARGE, nothing, SVD(ROWS, out.matrix, SIZE_MAX, out.s, COLS, NULL, 0, GOOD_SVD_INFO));
    ROW(OUTPUT_LENGTH, nothing, SVD(SIZE_MAX / 2, out.matrix, ROWS * COLS, out.s, 1, NULL, 0, GOOD_SVD_INFO));
    ROW(TOO_LARGE, nothing, SVD(SIZE_MAX / 2, out.matrix, ROWS * COLS, out.s, COLS, NULL, 0, GOOD_SVD_INFO));
    ROW(WIDE, nothing, SVD(COLS - 1, out.matrix, ROWS * COLS, out.s, COLS, NULL, 0, GOOD_SVD_INFO));
    ROW(OUTPUT_LENGTH, nothing, SVD(ROWS, out.matrix, ROWS * COLS - 1, out.s, COLS, NULL, 0, GOOD_SVD_INFO));
    ROW(OUTPUT_LENGTH, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, out.v, COLS * COLS - 1, GOOD_SVD_INFO));
    ROW(STRUCT_SIZE, nothing, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, NULL, 0, &out.info, 0));
    ROW(NON_FINITE, matrix_nan, SVD(ROWS, out.matrix, ROWS * COLS, out.s, COLS, out.v, COLS * COLS, GOOD_SVD_INFO));
}

#ifdef PHLORA_TEST_FILES
static const char *arg_base, *arg_tuned, *arg_directory;
static void several(void) {
    options.mode = PHLORA_MODE_MULTI_READ;
    options.parts = 2;
    need(phlora_plan_init(&options, ROWS, COLS, &plan, sizeof plan));
    start();
}
static void split(void) { several(); need(phlora_split(out.x, out.parts, PHLORA_MAX_PARTS, &out.count)); }
static void joined(void) {
    split();
    if (phlora_end_pass(out.x) != PHLORA_STATUS_MISSING_ROWS) printf("preparation: rows appeared\n");
}

static void part_rows(void) {
    ROW(OK, several, phlora_split(X, out.parts, PHLORA_MAX_PARTS, &out.count));
    ROW(OK, joined, phlora_split(X, out.parts, PHLORA_MAX_PARTS, &out.count));
    ROW(OK, joined, phlora_push(X, SIDES));
    ROW(NULL_POINTER, several, phlora_split(NULL, out.parts, PHLORA_MAX_PARTS, &out.count));
    ROW(NULL_POINTER, several, phlora_split(X, NULL, PHLORA_MAX_PARTS, &out.count));
    ROW(NULL_POINTER, several, phlora_split(X, out.parts, PHLORA_MAX_PARTS, NULL));
    ROW(MISALIGNED, several, phlora_split(X, AT(phlora_part *, out.parts, 4), PHLORA_MAX_PARTS, &out.count));
    ROW(MISALIGNED, several, phlora_split(X, out.parts, PHLORA_MAX_PARTS, AT(size_t, &out.count, 1)));
    ROW(OVERLAP, several, phlora_split(X, out.parts, PHLORA_MAX_PARTS, AT(size_t, out.parts, 8)));
    ROW(OVERLAP, several, phlora_split(X, AT(phlora_part *, memory, 64), PHLORA_MAX_PARTS, &out.count));
    ROW(TOO_LARGE, several, phlora_split(X, out.parts, SIZE_MAX, &out.count));
    ROW(OUTPUT_LENGTH, several, phlora_split(X, out.parts, PHLORA_MAX_PARTS - 1, &out.count));
    ROW(OUTPUT_LENGTH, several, phlora_split(X, NULL, 0, &out.count));
    ROW(OUT_OF_ORDER, split, phlora_split(X, out.parts, PHLORA_MAX_PARTS, &out.count));
    ROW(OUT_OF_ORDER, ready, phlora_split(X, out.parts, PHLORA_MAX_PARTS, &out.count));
    ROW(OUT_OF_ORDER, finished, phlora_split(X, out.parts, PHLORA_MAX_PARTS, &out.count));
    ROW(OUT_OF_ORDER, failed, phlora_split(X, out.parts, PHLORA_MAX_PARTS, &out.count));
    ROW(NOT_STARTED, unstarted, phlora_split(X, out.parts, PHLORA_MAX_PARTS, &out.count));
    ROW(OUT_OF_ORDER, split, phlora_push(X, SIDES));
    ROW(OUT_OF_ORDER, split, phlora_measure(X, &out.measurements, sizeof out.measurements));
    ROW(OUT_OF_ORDER, split, phlora_finish(X, FINISH_BUFFERS, &out.report, sizeof out.report));
    ROW(MISSING_ROWS, split, phlora_end_pass(X));
    ROW(OK, split, phlora_part_rows(out.parts[1], &out.first, &out.count));
    ROW(NULL_POINTER, split, phlora_part_rows(NULL, &out.first, &out.count));
    ROW(NULL_POINTER, split, phlora_part_rows(out.parts[0], NULL, &out.count));
    ROW(NULL_POINTER, split, phlora_part_rows(out.parts[0], &out.first, NULL));
    ROW(MISALIGNED, split, phlora_part_rows(out.parts[0], AT(size_t, &out.first, 1), &out.count));
    ROW(OVERLAP, split, phlora_part_rows(out.parts[0], &out.first, &out.first));
    ROW(OVERLAP, split, phlora_part_rows(out.parts[0], AT(size_t, memory, 64), &out.count));
    ROW(NOT_STARTED, joined, phlora_part_rows(out.parts[0], &out.first, &out.count));
    ROW(OK, split, phlora_part_push(out.parts[1], SIDE(base[3]), SIDE(tuned[3])));
    ROW(NULL_POINTER, split, phlora_part_push(NULL, SIDE(base[3]), SIDE(tuned[3])));
    ROW(NULL_POINTER, split, phlora_part_push(out.parts[1], NULL, 16, PHLORA_DTYPE_F32, SIDE(tuned[3])));
    ROW(NULL_POINTER, split, phlora_part_push(out.parts[1], SIDE(base[3]), NULL, 16, PHLORA_DTYPE_F32));
    ROW(MISALIGNED, split, phlora_part_push(AT(phlora_part, out.parts[1], 8), SIDE(base[3]), SIDE(tuned[3])));
    ROW(OVERLAP, split, phlora_part_push(out.parts[1], memory + 4096, 16, PHLORA_DTYPE_F32, SIDE(tuned[3])));
    ROW(TOO_LARGE, split, phlora_part_push(out.parts[1], base, SIZE_MAX, PHLORA_DTYPE_F32, SIDE(tuned[3])));
    ROW(UNKNOWN_VALUE, split, phlora_part_push(out.parts[1], base[3], 16, 9, SIDE(tuned[3])));
    ROW(NOT_WHOLE_ROWS, split, phlora_part_push(out.parts[1], base[3], 15, PHLORA_DTYPE_F32, SIDE(tuned[3])));
    ROW(TOO_MANY_ROWS, split, phlora_part_push(out.parts[1], SIDES));
    ROW(NOT_STARTED, joined, phlora_part_push(out.parts[1], SIDE(base[3]), SIDE(tuned[3])));
}

static void *feed(void *part) {
    size_t first, count;
    if (need(phlora_part_rows(part, &first, &count))) return part;
    for (size_t i = first; i < first + count; i++)
        if (need(phlora_part_push(part, SIDE(base[i]), SIDE(tuned[i])))) return part;
    return NULL;
}

/* Parts fed from threads give the bits that phlora_push gives. */
static void parts_in_threads(void) {
    static float a[RANK * COLS], b[ROWS * RANK];
    fresh();
    several();
    while (phlora_wants_pass(out.x)) {
        need(phlora_push(out.x, SIDES));
        if (need(phlora_end_pass(out.x))) break;
    }
    need(phlora_finish(out.x, FINISH_BUFFERS, &out.report, sizeof out.report));
    memcpy(a, out.a, sizeof a);
    memcpy(b, out.b, sizeof b);
    fresh();
    several();
    while (phlora_wants_pass(out.x)) {
        pthread_t threads[PHLORA_MAX_PARTS];
        void *failed_part;
        need(phlora_split(out.x, out.parts, PHLORA_MAX_PARTS, &out.count));
        expect(out.count == 2, "two parts");
        for (size_t i = 0; i < out.count; i++)
            expect(pthread_create(&threads[i], NULL, feed, out.parts[i]) == 0, "a thread starts");
        for (size_t i = 0; i < out.count; i++) {
            pthread_join(threads[i], &failed_part);
            expect(failed_part == NULL, "a part takes its rows");
        }
        if (need(phlora_end_pass(out.x))) break;
    }
    need(phlora_finish(out.x, FINISH_BUFFERS, &out.report, sizeof out.report));
    expect(memcmp(a, out.a, sizeof a) == 0 && memcmp(b, out.b, sizeof b) == 0, "threads give the same bits");
}

static char target[512], converted[512], message[512], report_path[512];
static const char *bad_pattern[] = {"q_proj", "("}, *not_utf8[] = {"\xff\xfe"}, *no_such[] = {"no such module"}, *none[] = {NULL};
static const size_t two_ranks[] = {2, 4};
static int calls, modules;
static phlora_file_options file_options;
static phlora_plan_options plan_options;
static phlora_choice_options choice_options;
static phlora_prune_options prune_options;
static phlora_merge_options merge_options;
static phlora_convert_options convert_options;
static phlora_verify_options verify_options;
static phlora_check_options check_options;
static phlora_diff_options diff_options;

static uint32_t stop(void *user, uint64_t done, uint64_t total) { (void)done; (void)total; ++*(int *)user; return 1; }
static uint32_t count_calls(void *user, uint64_t done, uint64_t total) { (void)done; (void)total; ++*(int *)user; return 0; }
static void count_modules(void *user, const phlora_module *module) {
    (void)user;
    modules += module->struct_size == sizeof *module && module->name[0] != 0;
}

#define OPTIONS(options) (memset(&options, 0, sizeof options), options.struct_size = sizeof options, options.user = &calls)
static void files(void) {
    need(phlora_file_options_init(&file_options, sizeof file_options));
    file_options.rank = 2;
    file_options.user = &calls;
    OPTIONS(plan_options);
    OPTIONS(prune_options);
    OPTIONS(merge_options);
    OPTIONS(convert_options);
    OPTIONS(verify_options);
    OPTIONS(check_options);
    OPTIONS(diff_options);
    diff_options.max_rank = 2;
    memset(&choice_options, 0, sizeof choice_options);
    choice_options.struct_size = sizeof choice_options;
    plan_options.max_rank = 8;
    plan_options.report_path = report_path;
    prune_options.rank = 1;
    convert_options.base = arg_base;
    snprintf(target, sizeof target, "%s/adapter", arg_directory);
    snprintf(converted, sizeof converted, "%s/converted.gguf", arg_directory);
    snprintf(report_path, sizeof report_path, "%s/report.json", arg_directory);
}
/* A fresh world with one change, which ROW makes by its name. */
#define CHANGED(name, change) static void name(void) { files(); change; }
#define INTO(end) snprintf(target, sizeof target, "%s/" end, arg_directory)
CHANGED(bad_regex, (file_options.include = bad_pattern, file_options.include_len = 2))
CHANGED(null_pattern, (file_options.include = none, file_options.include_len = 1))
CHANGED(bad_utf8, (file_options.exclude = not_utf8, file_options.exclude_len = 1))
CHANGED(no_module, (file_options.include = no_such, file_options.include_len = 1))
CHANGED(two_goals, file_options.energy = 0.5)
CHANGED(rank_and_most, file_options.max_rank = 4)
CHANGED(energy_2, (file_options.rank = 0, file_options.energy = 2))
CHANGED(total_energy_2, (file_options.rank = 0, file_options.total_energy = 2))
CHANGED(total_energy, (file_options.rank = 0, file_options.total_energy = 0.3, file_options.criterion = PHLORA_CRITERION_ENERGY, INTO("total")))
CHANGED(two_energies, (file_options.rank = 0, file_options.energy = 0.3, file_options.total_energy = 0.3))
CHANGED(file_mode_9, file_options.mode = 9)
CHANGED(file_dtype_9, file_options.dtype = 9)
CHANGED(file_dtype_q8_0, file_options.dtype = PHLORA_DTYPE_Q8_0)
CHANGED(file_dtype_q4_k, (file_options.dtype = PHLORA_DTYPE_Q4_K, file_options.format = PHLORA_ADAPTER_FORMAT_GGUF))
CHANGED(file_compact_f16, (file_options.dtype = PHLORA_DTYPE_F16, file_options.format = PHLORA_ADAPTER_FORMAT_COMPACT))
CHANGED(file_also_32, file_options.also = 32)
CHANGED(file_names_3, file_options.names = 3)
CHANGED(file_server_7, file_options.server = 7)
CHANGED(file_shard_0, file_options.shard_count = 2)
CHANGED(file_parts_alone, file_options.parts_len = 1)
CHANGED(file_join_none, file_options.join = 1)
CHANGED(file_names, (file_options.names = PHLORA_NAMES_CHECKPOINT, INTO("names")))
CHANGED(file_criterion_2, file_options.criterion = 2)
CHANGED(file_criterion_alone, file_options.criterion = PHLORA_CRITERION_ENERGY)
CHANGED(file_budget_1, (file_options.rank = 0, file_options.budget = 1))
CHANGED(file_budget, (file_options.rank = 0, file_options.budget = 1 << 20, file_options.criterion = PHLORA_CRITERION_ENERGY, INTO("budget")))
CHANGED(file_also_gguf, (file_options.also = PHLORA_ALSO_NORMS, file_options.format = PHLORA_ADAPTER_FORMAT_GGUF))
CHANGED(file_also, (file_options.also = (uint32_t)PHLORA_ALSO_NORMS + PHLORA_ALSO_BIASES + PHLORA_ALSO_TOKENS + PHLORA_ALSO_NEW_TOKENS + PHLORA_ALSO_LAYERS, INTO("also")))
CHANGED(file_size_0, file_options.struct_size = 0)
CHANGED(file_stop, file_options.progress = stop)
CHANGED(file_count, (file_options.progress = count_calls, file_options.module = count_modules))
CHANGED(file_two_ranks, (file_options.rank = 0, file_options.ranks = two_ranks, file_options.ranks_len = 2, INTO("ranks")))
CHANGED(file_share, (file_options.shard_index = 1, file_options.shard_count = 2, INTO("one.part")))
CHANGED(single_file, INTO("single.safetensors"))
CHANGED(there, snprintf(target, sizeof target, "%s", arg_directory))
CHANGED(nowhere, INTO("none/adapter"))
CHANGED(plan_stop, plan_options.progress = stop)
CHANGED(plan_dtype_9, plan_options.dtype = 9)
CHANGED(prune_stop, prune_options.progress = stop)
CHANGED(prune_below_2, prune_options.drop_below = 2)
CHANGED(merge_stop, merge_options.progress = stop)
CHANGED(convert_stop, convert_options.progress = stop)
CHANGED(convert_dtype_9, convert_options.dtype = 9)
CHANGED(convert_dtype_q4_k, convert_options.dtype = PHLORA_DTYPE_Q4_K)
CHANGED(convert_format_7, convert_options.format = 7)
CHANGED(convert_peft_q8_0, (convert_options.format = PHLORA_ADAPTER_FORMAT_PEFT, convert_options.dtype = PHLORA_DTYPE_Q8_0))
CHANGED(convert_peft, convert_options.format = PHLORA_ADAPTER_FORMAT_PEFT)
CHANGED(convert_kv_alone, convert_options.kv_heads = 2)
CHANGED(verify_stop, verify_options.progress = stop)
CHANGED(verify_modules, verify_options.module = count_modules)
CHANGED(check_stop, check_options.progress = stop)
CHANGED(check_consumer_8, check_options.consumer = 8)
CHANGED(check_mlx, check_options.consumer = PHLORA_CONSUMER_MLX)
CHANGED(save_bad, (file_options.save_module = bad_pattern, file_options.save_module_len = 2))
CHANGED(prune_ratio_negative, (prune_options.rank = 0, prune_options.sv_ratio = -1))
CHANGED(prune_ratio_nan, (prune_options.rank = 0, prune_options.sv_ratio = NAN))
CHANGED(prune_fro_2, (prune_options.rank = 0, prune_options.sv_fro = 2))
CHANGED(prune_two_rules, (prune_options.rank = 0, prune_options.sv_ratio = 2, prune_options.sv_epsilon = 1))
CHANGED(prune_rule_and_rank, prune_options.sv_cumulative = 0.5)
CHANGED(prune_conv_budget, (prune_options.rank = 0, prune_options.budget = 1 << 20, prune_options.conv_rank = 2))
CHANGED(diff_stop, diff_options.progress = stop)
CHANGED(diff_of_models, diff_options.base = arg_base)
CHANGED(diff_bad_regex, (diff_options.include = bad_pattern, diff_options.include_len = 2))
CHANGED(diff_report, diff_options.report_path = report_path)

#define EXTRACT_TO(r, n, m, l) phlora_extract_files(arg_base, arg_tuned, target, &file_options, r, n, m, l)
#define EXTRACT(b, t, a, o) phlora_extract_files(b, t, a, o, &out.file_report, sizeof out.file_report, message, sizeof message)
#define SEVERAL(t, n, s, r) \
    phlora_extract_several(arg_base, t, several_adapters, n, &file_options, s, r, sizeof *several_reports, message, sizeof message)
static uint32_t several_statuses[2];
static phlora_file_report several_reports[2];
#define PLAN(b, t) phlora_plan_files(b, t, &plan_options, &out.file_report, sizeof out.file_report, message, sizeof message)
#define CHOICE(r) phlora_choice_file(r, &choice_options, &out.choice, sizeof out.choice, message, sizeof message)
#define PRUNE(a, o) phlora_prune_files(a, o, &prune_options, &out.pruned, sizeof out.pruned, message, sizeof message)
#define MERGE(b, a, n, o) phlora_merge_files(b, a, n, o, &merge_options, &out.merged, sizeof out.merged, message, sizeof message)
#define VERIFY(b, t, a) phlora_verify_files(b, t, a, &verify_options, &out.verification, sizeof out.verification, message, sizeof message)
#define DIFF(a, b) phlora_diff_files(a, b, &diff_options, &out.diff, sizeof out.diff, message, sizeof message)
#define CHECK(a, b) phlora_check_files(a, b, &check_options, &out.len, message, sizeof message)
#define CONVERT(a, o) phlora_convert_files(a, o, &convert_options, &out.done, sizeof out.done, message, sizeof message)
#define TO_GGUF(a, p, n, l) phlora_convert_to_gguf(a, &convert_options, p, n, l, message, sizeof message)
#define PAGE(r, p) phlora_page_file(r, p, 0, message, sizeof message)
static _Alignas(PHLORA_ALIGNMENT) unsigned char file_memory[4096];
static phlora_adapter_file *open_file;
#define OPEN(a, m, n, f, c) phlora_adapter_file_open(a, NULL, 0, m, n, f, c, message, sizeof message)
#define INSPECT(p) phlora_inspect_file(p, &out.contents, sizeof out.contents, message, sizeof message)
/* The message of the last row names what was wrong. */
#define SAYS(text) expect(strstr(message, text) != NULL, "the message says " text)
static void file_rows(void) {
    ROW(NULL_POINTER, files, phlora_file_options_init(NULL, sizeof file_options));
    ROW(MISALIGNED, files, phlora_file_options_init(AT(phlora_file_options, &out.file_options, 1), sizeof file_options));
    ROW(STRUCT_SIZE, files, phlora_file_options_init(&out.file_options, sizeof file_options - 1));
    ROW(STRUCT_SIZE, files, phlora_file_options_init(&out.file_options, SIZE_MAX));
    ROW(NULL_POINTER, files, EXTRACT(NULL, arg_tuned, target, &file_options));
    SAYS("base: ");
    ROW(NULL_POINTER, files, EXTRACT(arg_base, NULL, target, &file_options));
    SAYS("tuned: ");
    ROW(NULL_POINTER, files, EXTRACT(arg_base, arg_tuned, NULL, &file_options));
    SAYS("adapter: ");
    ROW(NULL_POINTER, files, EXTRACT_TO(NULL, sizeof out.file_report, message, sizeof message));
    SAYS("report: ");
    ROW(NULL_POINTER, files, EXTRACT_TO(&out.file_report, sizeof out.file_report, NULL, 1));
    ROW(MISALIGNED, files, EXTRACT_TO(AT(phlora_file_report, &out.file_report, 4), sizeof out.file_report, message, sizeof message));
    ROW(TOO_LARGE, files, EXTRACT_TO(&out.file_report, sizeof out.file_report, message, SIZE_MAX));
    ROW(OVERLAP, files, EXTRACT_TO(&out.file_report, sizeof out.file_report, target, 4));
    ROW(OVERLAP, files, EXTRACT_TO(AT(phlora_file_report, &file_options, 0), sizeof(phlora_file_report), message, sizeof message));
    ROW(STRUCT_SIZE, files, EXTRACT_TO(&out.file_report, 8, message, sizeof message));
    ROW(STRUCT_SIZE, file_size_0, EXTRACT(arg_base, arg_tuned, target, &file_options));
    const char *const several_tuned[] = {arg_tuned, arg_tuned}, *const one_missing[] = {arg_tuned, NULL};
    const char *const several_adapters[] = {target, target};
    ROW(BAD_OPTION, files, SEVERAL(several_tuned, 0, several_statuses, several_reports));
    SAYS("tuned: ");
    ROW(NULL_POINTER, files, SEVERAL(NULL, 2, several_statuses, several_reports));
    ROW(NULL_POINTER, files, SEVERAL(one_missing, 2, several_statuses, several_reports));
    SAYS("tuned[1]: ");
    ROW(NULL_POINTER, files, SEVERAL(several_tuned, 2, NULL, several_reports));
    SAYS("statuses: ");
    ROW(NULL_POINTER, files, SEVERAL(several_tuned, 2, several_statuses, NULL));
    ROW(OVERLAP, files, SEVERAL(several_tuned, 2, AT(uint32_t, several_reports, 0), several_reports));
    ROW(TOO_LARGE, files, SEVERAL(several_tuned, SIZE_MAX, several_statuses, several_reports));
    ROW(BAD_OPTION, files, SEVERAL(several_tuned, 2, several_statuses, several_reports));
    SAYS("two fine-tunes");
    ROW(UNKNOWN_VALUE, file_mode_9, EXTRACT(arg_base, arg_tuned, target, &file_options));
    SAYS("mode: ");
    ROW(BAD_OPTION, file_dtype_q8_0, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(BAD_OPTION, file_dtype_q4_k, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(BAD_OPTION, file_compact_f16, EXTRACT(arg_base, arg_tuned, target, &file_options));
    SAYS("dtype: ");
    ROW(UNKNOWN_VALUE, file_dtype_9, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(UNKNOWN_VALUE, file_names_3, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(UNKNOWN_VALUE, file_server_7, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(UNKNOWN_VALUE, file_criterion_2, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(BAD_OPTION, file_criterion_alone, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(BAD_OPTION, two_goals, EXTRACT(arg_base, arg_tuned, target, &file_options));
    SAYS("rank, ranks, energy");
    ROW(BAD_OPTION, rank_and_most, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(BAD_OPTION, energy_2, EXTRACT(arg_base, arg_tuned, target, &file_options));
    SAYS("energy: ");
    ROW(BAD_OPTION, total_energy_2, EXTRACT(arg_base, arg_tuned, target, &file_options));
    SAYS("total_energy: ");
    ROW(BAD_OPTION, two_energies, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(OK, total_energy, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(OK, total_energy, VERIFY(arg_base, arg_tuned, target));
    ROW(BAD_OPTION, file_shard_0, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(BAD_OPTION, file_parts_alone, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(UNFINISHED, file_join_none, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(BAD_OPTION, single_file, EXTRACT(arg_base, arg_tuned, target, &file_options));
    SAYS("single.safetensors");
    ROW(BAD_OPTION, file_budget_1, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(OK, file_budget, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(OK, file_budget, VERIFY(arg_base, arg_tuned, target));
    ROW(OK, file_names, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(OK, file_names, VERIFY(arg_base, arg_tuned, target));
    ROW(UNKNOWN_VALUE, file_also_32, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(BAD_OPTION, file_also_gguf, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(OK, file_also, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(OK, file_also, VERIFY(arg_base, arg_tuned, target));
    ROW(BAD_TEXT, save_bad, EXTRACT(arg_base, arg_tuned, target, &file_options));
    SAYS("save_module[1]: (");
    ROW(BAD_TEXT, bad_regex, EXTRACT(arg_base, arg_tuned, target, &file_options));
    SAYS("include[1]: (");
    ROW(NULL_POINTER, null_pattern, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(BAD_TEXT, bad_utf8, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(BAD_OPTION, no_module, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(NOTHING_TO_EXTRACT, files, EXTRACT(arg_base, arg_base, target, &file_options));
    ROW(EXISTS, there, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(IO, nowhere, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(IO, files, EXTRACT("/no/such/model", arg_tuned, target, &file_options));
    SAYS("/no/such/model");
    ROW(CANCELLED, file_stop, EXTRACT(arg_base, arg_tuned, target, &file_options));
    ROW(OK, file_count, EXTRACT_TO(&out.file_report, sizeof out.file_report, NULL, 0));
    expect(modules == 28, "every module was told of");
    ROW(EXISTS, files, EXTRACT(arg_base, arg_tuned, target, &file_options));
    {
        phlora_file_report two[2];
        memset(two, 0, sizeof two);
        ROW(OK, file_two_ranks, EXTRACT_TO(two, sizeof two[0], message, sizeof message));
        expect(two[0].rank == 2 && two[1].rank == 4, "a report for each rank");
    }
    ROW(OK, file_share, EXTRACT(arg_base, arg_tuned, target, &file_options));
    expect(out.file_report.missing > 0 && out.file_report.modules == 0, "a share says what others have to do");
    ROW(OK, files, VERIFY(arg_base, arg_tuned, target));
    phlora_read_files(1);
    ROW(OK, files, VERIFY(arg_base, arg_tuned, target));
    phlora_read_files(0);
    modules = 0;
    ROW(OK, verify_modules, VERIFY(arg_base, arg_tuned, target));
    expect(modules == 28, "every module was told of");
    ROW(NULL_POINTER, files, VERIFY(NULL, arg_tuned, target));
    ROW(NULL_POINTER, files, VERIFY(arg_base, NULL, target));
    ROW(NULL_POINTER, files, VERIFY(arg_base, arg_tuned, NULL));
    ROW(NULL_POINTER, files, phlora_verify_files(arg_base, arg_tuned, target, NULL, NULL, sizeof out.verification, message, sizeof message));
    ROW(STRUCT_SIZE, files, phlora_verify_files(arg_base, arg_tuned, target, NULL, &out.verification, 7, message, sizeof message));
    ROW(OK, files, phlora_verify_files(arg_base, arg_tuned, target, NULL, &out.verification, sizeof out.verification, message, sizeof message));
    ROW(CANCELLED, verify_stop, VERIFY(arg_base, arg_tuned, target));
    ROW(IO, files, VERIFY(arg_base, "/no/such/model", target));
    ROW(OK, files, INSPECT(arg_base));
    ROW(OK, files, INSPECT(target));
    ROW(NULL_POINTER, files, INSPECT(NULL));
    ROW(NULL_POINTER, files, phlora_inspect_file(target, NULL, sizeof out.contents, message, sizeof message));
    ROW(MISALIGNED, files, phlora_inspect_file(target, AT(phlora_contents, &out.contents, 1), sizeof out.contents, message, sizeof message));
    ROW(STRUCT_SIZE, files, phlora_inspect_file(target, &out.contents, 0, message, sizeof message));
    ROW(IO, files, INSPECT("/no/such/file"));
    ROW(NULL_POINTER, files, PLAN(NULL, arg_tuned));
    ROW(NULL_POINTER, files, PLAN(arg_base, NULL));
    ROW(UNKNOWN_VALUE, plan_dtype_9, PLAN(arg_base, arg_tuned));
    ROW(CANCELLED, plan_stop, PLAN(arg_base, arg_tuned));
    ROW(STRUCT_SIZE, files, phlora_plan_files(arg_base, arg_tuned, &plan_options, &out.file_report, 8, message, sizeof message));
    ROW(OK, files, PLAN(arg_base, arg_tuned));
    ROW(EXISTS, files, PLAN(arg_base, arg_tuned));
    ROW(OK, files, INSPECT(report_path));
    ROW(NULL_POINTER, files, CHOICE(NULL));
    ROW(FORMAT, files, CHOICE(arg_base));
    ROW(STRUCT_SIZE, files, phlora_choice_file(report_path, NULL, &out.choice, 8, message, sizeof message));
    ROW(OK, files, CHOICE(report_path));
    {
        char page[512];
        snprintf(page, sizeof page, "%s/page.html", arg_directory);
        ROW(NULL_POINTER, files, PAGE(NULL, page));
        ROW(NULL_POINTER, files, PAGE(report_path, NULL));
        ROW(OK, files, PAGE(report_path, page));
        ROW(EXISTS, files, PAGE(report_path, page));
    }
    {
        char small[512], merged[512];
        const char *list[] = {target};
        snprintf(small, sizeof small, "%s/small", arg_directory);
        snprintf(merged, sizeof merged, "%s/merged", arg_directory);
        ROW(NULL_POINTER, files, PRUNE(NULL, small));
        ROW(NULL_POINTER, files, PRUNE(target, NULL));
        ROW(BAD_OPTION, prune_below_2, PRUNE(target, small));
        ROW(BAD_OPTION, prune_ratio_negative, PRUNE(target, small));
        ROW(BAD_OPTION, prune_ratio_nan, PRUNE(target, small));
        ROW(BAD_OPTION, prune_fro_2, PRUNE(target, small));
        ROW(BAD_OPTION, prune_two_rules, PRUNE(target, small));
        ROW(BAD_OPTION, prune_rule_and_rank, PRUNE(target, small));
        ROW(BAD_OPTION, prune_conv_budget, PRUNE(target, small));
        ROW(CANCELLED, prune_stop, PRUNE(target, small));
        ROW(IO, files, PRUNE("/no/such/adapter", small));
        ROW(OK, files, PRUNE(target, small));
        ROW(EXISTS, files, PRUNE(target, small));
        ROW(NULL_POINTER, files, MERGE(NULL, list, 1, merged));
        ROW(NULL_POINTER, files, MERGE(arg_base, NULL, 1, merged));
        ROW(NULL_POINTER, files, MERGE(arg_base, none, 1, merged));
        SAYS("adapters[0]: ");
        ROW(NULL_POINTER, files, MERGE(arg_base, list, 1, NULL));
        ROW(BAD_OPTION, files, MERGE(arg_base, NULL, 0, merged));
        ROW(CANCELLED, merge_stop, MERGE(arg_base, list, 1, merged));
        ROW(OK, files, MERGE(arg_base, list, 1, merged));
        ROW(EXISTS, files, MERGE(arg_base, list, 1, merged));
    }
    ROW(NULL_POINTER, files, OPEN(NULL, file_memory, sizeof file_memory, &open_file, &out.len));
    ROW(NULL_POINTER, files, OPEN(target, NULL, sizeof file_memory, &open_file, &out.len));
    ROW(NULL_POINTER, files, OPEN(target, file_memory, sizeof file_memory, NULL, &out.len));
    ROW(NULL_POINTER, files, OPEN(target, file_memory, sizeof file_memory, &open_file, NULL));
    ROW(MEMORY_TOO_SMALL, files, OPEN(target, file_memory, phlora_adapter_file_bytes() - 1, &open_file, &out.len));
    ROW(MISALIGNED, files, OPEN(target, file_memory + 1, sizeof file_memory - 1, &open_file, &out.len));
    ROW(OVERLAP, files, OPEN(target, file_memory, sizeof file_memory, &open_file, (size_t *)(void *)file_memory));
    ROW(IO, files, OPEN("/no/such/adapter", file_memory, sizeof file_memory, &open_file, &out.len));
    ROW(NOT_STARTED, files, phlora_adapter_file_close((phlora_adapter_file *)(void *)file_memory));
    ROW(NULL_POINTER, files, phlora_adapter_file_close(NULL));
    ROW(OK, files, OPEN(target, file_memory, sizeof file_memory, &open_file, &out.len));
    ROW(NULL_POINTER, files, phlora_adapter_file_module(open_file, 0, NULL, sizeof(phlora_adapter_module)));
    ROW(STRUCT_SIZE, files, phlora_adapter_file_module(open_file, 0, (phlora_adapter_module *)(void *)&out, 8));
    ROW(OVERLAP, files, phlora_adapter_file_module(open_file, 0, (phlora_adapter_module *)(void *)file_memory, sizeof(phlora_adapter_module)));
    ROW(OK, files, phlora_adapter_file_close(open_file));
    ROW(OUT_OF_ORDER, files, phlora_adapter_file_close(open_file));
    ROW(NULL_POINTER, files, CHECK(NULL, arg_base));
    ROW(NULL_POINTER, files, CHECK(target, NULL));
    ROW(NULL_POINTER, files, phlora_check_files(target, arg_base, NULL, NULL, message, sizeof message));
    ROW(MISALIGNED, files, phlora_check_files(target, arg_base, NULL, AT(size_t, &out.len, 1), message, sizeof message));
    ROW(OVERLAP, files, phlora_check_files(target, arg_base, NULL, &out.len, (char *)&out.len, sizeof out.len));
    ROW(NULL_POINTER, files, phlora_check_files(target, arg_base, NULL, &out.len, NULL, 1));
    ROW(IO, files, CHECK(target, "/no/such/model"));
    ROW(CANCELLED, check_stop, CHECK(target, arg_base));
    ROW(UNKNOWN_VALUE, check_consumer_8, CHECK(target, arg_base));
    ROW(OK, check_mlx, CHECK(target, arg_base));
    ROW(NULL_POINTER, files, DIFF(NULL, arg_tuned));
    ROW(NULL_POINTER, files, DIFF(arg_base, NULL));
    ROW(NULL_POINTER, files, phlora_diff_files(arg_base, arg_tuned, NULL, NULL, sizeof out.diff, message, sizeof message));
    ROW(STRUCT_SIZE, files, phlora_diff_files(arg_base, arg_tuned, NULL, &out.diff, 8, message, sizeof message));
    ROW(MISALIGNED, files, phlora_diff_files(arg_base, arg_tuned, NULL, AT(phlora_diff, &out.diff, 1), sizeof out.diff, message, sizeof message));
    ROW(OVERLAP, files, phlora_diff_files(arg_base, arg_tuned, NULL, &out.diff, sizeof out.diff, (char *)&out.diff, 8));
    ROW(BAD_OPTION, files, DIFF(arg_base, target));
    ROW(BAD_OPTION, diff_of_models, DIFF(arg_base, arg_tuned));
    ROW(BAD_TEXT, diff_bad_regex, DIFF(arg_base, arg_tuned));
    ROW(CANCELLED, diff_stop, DIFF(arg_base, arg_tuned));
    ROW(CANCELLED, diff_stop, DIFF(target, target));
    ROW(EXISTS, diff_report, DIFF(target, target));
    ROW(IO, files, DIFF("/no/such/model", arg_tuned));
    ROW(OK, files, DIFF(arg_base, arg_tuned));
    ROW(OK, files, DIFF(target, target));
    ROW(OK, files, CHECK(target, arg_base));
    ROW(NULL_POINTER, files, CONVERT(NULL, converted));
    ROW(NULL_POINTER, files, CONVERT(target, NULL));
    ROW(UNKNOWN_VALUE, convert_dtype_9, CONVERT(target, converted));
    ROW(UNKNOWN_VALUE, convert_format_7, CONVERT(target, converted));
    ROW(BAD_OPTION, convert_dtype_q4_k, CONVERT(target, converted));
    ROW(BAD_OPTION, convert_peft_q8_0, CONVERT(target, converted));
    ROW(BAD_OPTION, convert_kv_alone, CONVERT(target, converted));
    ROW(CANCELLED, convert_stop, CONVERT(target, converted));
    ROW(OVERLAP, files, phlora_convert_files(target, converted, NULL, &out.done, sizeof out.done, target, 4));
    ROW(IO, files, CONVERT("/no/such/adapter", converted));
    ROW(OK, files, CONVERT(target, converted));
    ROW(EXISTS, files, CONVERT(target, converted));
    ROW(OK, files, INSPECT(converted));
    ROW(NULL_POINTER, files, TO_GGUF(NULL, NULL, 0, &out.len));
    ROW(NULL_POINTER, files, TO_GGUF(target, NULL, 0, NULL));
    ROW(NULL_POINTER, files, TO_GGUF(target, NULL, 8, &out.len));
    ROW(MISALIGNED, files, TO_GGUF(target, NULL, 0, AT(size_t, &out.len, 1)));
    ROW(OVERLAP, files, TO_GGUF(target, &out.len, sizeof out.len, &out.len));
    ROW(OUTPUT_LENGTH, files, TO_GGUF(target, out.bytes, sizeof out.bytes, &out.len));
    ROW(TOO_LARGE, files, TO_GGUF(target, out.bytes, SIZE_MAX, &out.len));
    ROW(UNKNOWN_VALUE, convert_dtype_9, TO_GGUF(target, NULL, 0, &out.len));
    ROW(BAD_OPTION, convert_dtype_q4_k, TO_GGUF(target, NULL, 0, &out.len));
    ROW(BAD_OPTION, convert_peft, TO_GGUF(target, NULL, 0, &out.len));
    ROW(IO, files, TO_GGUF("/no/such/adapter", NULL, 0, &out.len));
    ROW(OK, files, TO_GGUF(target, NULL, 0, &out.len));
}
#endif


/* -- what the table cannot say ------------------------------------------------------------------------------- */
/* Refused calls in between change nothing: the same bits come out as without them. */
static void refused_calls_leave_the_state(void) {
    static struct outputs clean;
    fresh();
    finished();
    clean = out;
    fresh();
    start();
    phlora_end_pass(out.x);
    phlora_push(out.x, NULL, 8, PHLORA_DTYPE_F32, SIDE(tuned));
    while (phlora_wants_pass(out.x)) {
        for (int i = 0; i < ROWS; i++) {
            phlora_finish(out.x, FINISH_BUFFERS, &out.report, sizeof out.report);
            phlora_push(out.x, base[i], 3, PHLORA_DTYPE_F32, tuned[i], 3, PHLORA_DTYPE_F32);
            need(phlora_push(out.x, SIDE(base[i]), SIDE(tuned[i])));
            phlora_push(out.x, SIDES);
        }
        need(phlora_end_pass(out.x));
    }
    phlora_finish(out.x, out.a, 1, out.b, 1, out.s, 1, &out.report, sizeof out.report);
    need(phlora_finish(out.x, FINISH_BUFFERS, &out.report, sizeof out.report));
    expect(memcmp(&clean, &out, sizeof out) == 0, "refused calls leave the state as it was");
}

/* Exactly the bytes of the plan are used; elements beyond the factors stay untouched. */
static void no_byte_more(void) {
    int untouched = 1;
    fresh();
    need(phlora_start(&options, ROWS, COLS, memory, plan.memory_bytes, &out.x));
    while (phlora_wants_pass(out.x)) {
        need(phlora_push(out.x, SIDES));
        if (need(phlora_end_pass(out.x))) break;
    }
    need(phlora_finish(out.x, FINISH_BUFFERS, &out.report, sizeof out.report));
    for (size_t i = plan.memory_bytes; i < MEMORY; i++)
        untouched &= memory[i] == PATTERN;
    expect(untouched, "memory beyond the plan's stays untouched");
    expect(memcmp(&out.a[RANK * COLS], &before.bytes, 8) == 0, "elements behind A stay untouched");
    expect(out.report.struct_size == sizeof out.report && out.report.rank == RANK, "the report is complete");
    expect(out.report.energy > 0.5 && out.report.energy <= 1.0, "the energy is a share");
}

/* A struct of a newer header is written as far as this version knows it, the rest with zeros. */
static void newer_structs(void) {
    struct { phlora_plan known; unsigned char later[24]; } wide;
    unsigned char zeros[24] = {0};
    fresh();
    memset(&wide, PATTERN, sizeof wide);
    need(phlora_plan_init(&options, ROWS, COLS, &wide.known, sizeof wide));
    expect(memcmp(wide.later, zeros, sizeof zeros) == 0, "what only a newer header knows is 0");
    expect(wide.known.struct_size == sizeof wide.known, "the size says how much was written");
}

static void what_the_state_says(void) {
    fresh();
    failed();
    need(phlora_measure(out.x, &out.measurements, sizeof out.measurements));
    expect(out.measurements.first_non_finite_row == 3 && out.measurements.non_finite == 1, "the row of the NaN");
    expect(phlora_wants_pass(out.x) == 0 && phlora_wants_pass(NULL) == 0, "no pass after an error");
    fresh();
    need(phlora_start(&options, ROWS, COLS, memory, plan.memory_bytes, &out.x));
    need(phlora_measure(out.x, &out.measurements, sizeof out.measurements));
    expect(out.measurements.sum_squares != out.measurements.sum_squares && out.measurements.reads == 0,
           "the norm is not a number before all rows were measured");
    while (phlora_wants_pass(out.x)) {
        need(phlora_push(out.x, SIDES));
        if (need(phlora_end_pass(out.x))) break;
    }
    need(phlora_measure(out.x, &out.measurements, sizeof out.measurements));
    expect(out.measurements.sum_squares > 0 && out.measurements.max_abs > 0, "what was measured is known");
    fresh();
    unstarted();
    expect(phlora_wants_pass(out.x) == 0, "no pass where nothing was started");
    expect(phlora_version() == PHLORA_VERSION && !strcmp(phlora_version_string(), PHLORA_VERSION_STRING),
           "header and library have one version");
    expect(!strcmp(phlora_status_name(107), "PHLORA_STATUS_MEMORY_TOO_SMALL"), "a status has its name");
    int texts = 1;
    for (uint32_t status = 0; status < 1000; status++)
        texts &= phlora_status_name(status) && phlora_status_message(status);
    expect(texts, "every number has a text");
}

int main(int argc, char **argv) {
    memset(before.bytes, PATTERN, sizeof before.bytes);
    core_rows();
    refused_calls_leave_the_state();
    memset(&before, PATTERN, sizeof before);
    no_byte_more();
    newer_structs();
    what_the_state_says();
#ifdef PHLORA_TEST_FILES
    part_rows();
    parts_in_threads();
    if (argc == 4) {
        arg_base = argv[1];
        arg_tuned = argv[2];
        arg_directory = argv[3];
        file_rows();
        expect(calls >= 4, "the callback was called");
        message[0] = 'x';
        expect(phlora_inspect_file("/no/such/file", &out.contents, sizeof out.contents, message, 12)
                       == PHLORA_STATUS_IO && strlen(message) > 0 && strlen(message) < 12,
               "a message is cut and ends with a zero byte");
    }
#else
    (void)argc, (void)argv;
#endif
    printf("arguments: %d passed, %d failed\n", rows - failures, failures);
    return failures != 0;
}

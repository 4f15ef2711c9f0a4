/*
 * The functions of adapters at work with every kind of bad argument: a status, outputs untouched, no crash; then a
 * few results. The same idea as arguments.c, with a world of its own.
 */
#include "phlora.h"
#include <stdio.h>
#include <string.h>

enum { ROWS = 6, COLS = 4, RANK = 2, TOKENS = 3, ROOM = 16384, MANY = 200, PLACES = 100, PATTERN = 0xa5 };

static struct {
    float y[TOKENS * ROWS], work[2048], a[RANK * COLS], b[ROWS * RANK], s[8], weight[ROWS * COLS];
    unsigned char stash[ROWS * COLS * 4], to[ROWS * COLS * 2];
    phlora_assignment uses[TOKENS];
    phlora_combined combined;
    phlora_usage usage;
    phlora_registry *registry;
    phlora_pins *pins;
    phlora_batch *batch;
    phlora_merge *merge;
    void *value, *values[PLACES];
    size_t count;
} out, before;

static float x[TOKENS * COLS], lora_a[RANK * COLS], lora_b[ROWS * RANK], scratch[ROOM];
static phlora_adapter adapter, other;
static const phlora_adapter *one[1], *two[2], *many[MANY];
static size_t merge_len, work_len;
static union { unsigned char bytes[8 * ROOM]; double align; } store, pin_store, batch_store, merge_store;
static phlora_registry *registry;
static phlora_batch *batch;
static phlora_merge *merge;
static phlora_inputs inputs;
static phlora_outputs outputs;
static int rows, failures;

#define AT(type, pointer, bytes) ((type *)(void *)((unsigned char *)(pointer) + (bytes)))

static unsigned char *aligned(unsigned char *p) {
    return p + (PHLORA_ALIGNMENT - (uintptr_t)p % PHLORA_ALIGNMENT) % PHLORA_ALIGNMENT;
}

static void need(phlora_status status, int line) {
    if (status != PHLORA_STATUS_OK) {
        printf("line %d: preparation: %s\n", line, phlora_status_name(status));
        failures++;
    }
}

static void fresh(void) {
    memset(&out, PATTERN, sizeof out);
    for (int i = 0; i < TOKENS * COLS; i++) x[i] = (float)(i % 5 - 2);
    for (int i = 0; i < RANK * COLS; i++) lora_a[i] = (float)(i % 3 - 1);
    for (int i = 0; i < ROWS * RANK; i++) lora_b[i] = (float)(i % 4 - 1);
    for (int i = 0; i < TOKENS * ROWS; i++) out.y[i] = 1;
    for (int i = 0; i < ROWS * COLS; i++) out.weight[i] = 1;
    for (uint32_t i = 0; i < TOKENS; i++) {
        phlora_assignment use = {i, 7, 1.0f};
        out.uses[i] = use;
    }
    memset(&adapter, 0, sizeof adapter);
    adapter.struct_size = sizeof adapter;
    adapter.rows = ROWS, adapter.cols = COLS, adapter.rank = RANK, adapter.scale = 1;
    adapter.a = lora_a, adapter.a_bytes = sizeof lora_a, adapter.a_dtype = PHLORA_DTYPE_F32;
    adapter.b = lora_b, adapter.b_bytes = sizeof lora_b, adapter.b_dtype = PHLORA_DTYPE_F32;
    other = adapter;
    other.rows = COLS, other.cols = ROWS, other.a = lora_b, other.a_bytes = sizeof lora_b;
    other.b = lora_a, other.b_bytes = sizeof lora_a;
    one[0] = two[0] = &adapter;
    two[1] = &other;
    for (int i = 0; i < MANY; i++) many[i] = &adapter;
    inputs = (phlora_inputs){x, sizeof x, COLS, PHLORA_DTYPE_F32, 0};
    outputs = (phlora_outputs){out.y, sizeof out.y, ROWS, PHLORA_DTYPE_F32, 0};
    memset(store.bytes, PATTERN, sizeof store.bytes);
    memset(pin_store.bytes, PATTERN, sizeof pin_store.bytes);
    need(phlora_registry_init(PLACES, 100, aligned(store.bytes), sizeof store.bytes - 64, &registry), __LINE__);
    need(phlora_registry_add(registry, 7, &adapter, 60), __LINE__);
    need(phlora_batch_init(ROWS, COLS, TOKENS, one, 1, NULL, 0, aligned(batch_store.bytes), ROOM, &batch), __LINE__);
    work_len = phlora_batch_work(batch, 2);
    need(phlora_merge_init(one, NULL, 1, aligned(merge_store.bytes), ROOM, &merge), __LINE__);
    merge_len = phlora_merge_scratch_len(merge);
}

/* Change `what` of a fresh world, call, compare. */
#define ROW(want, what, call)                                                                                    \
    do {                                                                                                         \
        phlora_status got;                                                                                       \
        fresh();                                                                                                 \
        what;                                                                                                    \
        memcpy(&before, &out, sizeof out);                                                                       \
        got = (call);                                                                                            \
        rows++;                                                                                                  \
        if (got != PHLORA_STATUS_##want) {                                                                       \
            printf("line %d: %s instead of " #want "\n", __LINE__, phlora_status_name(got));                     \
            failures++;                                                                                          \
        } else if (got != PHLORA_STATUS_OK && memcmp(&out, &before, sizeof out) != 0) {                          \
            printf("line %d: refused, but an output is written\n", __LINE__);                                    \
            failures++;                                                                                          \
        }                                                                                                        \
    } while (0)

#define F32 PHLORA_DTYPE_F32
#define X x, sizeof x, COLS, F32
#define Y out.y, sizeof out.y, ROWS, F32
#define ONE one, 1, NULL, 0
#define LAYER ROWS, COLS, TOKENS
#define PIN(memory, values, len) \
    phlora_registry_pin(registry, out.uses, TOKENS, memory, ROOM, &out.pins, values, len, &out.count)
#define COMBINE(rank, s_len) \
    phlora_combine(one, NULL, 1, rank, scratch, ROOM, out.a, RANK * COLS, out.b, ROWS * RANK, out.s, s_len, \
                   &out.combined, sizeof out.combined)
#define MERGE(first, bytes, dtype, stash, len) \
    phlora_merge_rows(merge, first, out.weight, bytes, dtype, stash, scratch, len)
#define BATCH(adapters, adapters_len, uses, uses_len) \
    phlora_batch_init(LAYER, adapters, adapters_len, uses, uses_len, aligned(pin_store.bytes), 8 * ROOM - 64, &out.batch)
#define WORK out.work, work_len

static void adapters(void) {
    ROW(OK, (void)0, phlora_adapter_check(&adapter));
    ROW(NULL_POINTER, (void)0, phlora_adapter_check(NULL));
    ROW(MISALIGNED, (void)0, phlora_adapter_check(AT(phlora_adapter, &adapter, 2)));
    ROW(STRUCT_SIZE, adapter.struct_size = 8, phlora_adapter_check(&adapter));
    ROW(UNKNOWN_VALUE, adapter.a_dtype = 99, phlora_adapter_check(&adapter));
    ROW(NULL_POINTER, adapter.b = NULL, phlora_adapter_check(&adapter));
    ROW(FACTOR_LENGTH, adapter.a_bytes--, phlora_adapter_check(&adapter));
    ROW(FACTOR_LENGTH, adapter.b_dtype = PHLORA_DTYPE_F16, phlora_adapter_check(&adapter));
    ROW(RANK_ZERO, adapter.rank = 0, phlora_adapter_check(&adapter));
    ROW(NON_FINITE, adapter.scale = 1e38f * 10, phlora_adapter_check(&adapter));
    ROW(NON_FINITE, lora_b[3] = 1e38f * 10, phlora_adapter_check(&adapter));
    ROW(NULL_POINTER, (void)0, phlora_group(NULL, 3));
    ROW(OK, (void)0, phlora_group(NULL, 0));
}

static void forward(void) {
    ROW(OK, (void)0, phlora_forward(&adapter, TOKENS, X, Y, scratch, ROOM));
    ROW(NULL_POINTER, (void)0, phlora_forward(NULL, TOKENS, X, Y, scratch, ROOM));
    ROW(NULL_POINTER, (void)0, phlora_forward(&adapter, TOKENS, NULL, sizeof x, COLS, F32, Y, scratch, ROOM));
    ROW(NULL_POINTER, (void)0, phlora_forward(&adapter, TOKENS, X, NULL, sizeof out.y, ROWS, F32, scratch, ROOM));
    ROW(NULL_POINTER, (void)0, phlora_forward(&adapter, TOKENS, X, Y, NULL, ROOM));
    ROW(MISALIGNED, (void)0, phlora_forward(&adapter, 1, AT(void, x, 1), 16, COLS, F32, Y, scratch, ROOM));
    ROW(MISALIGNED, (void)0, phlora_forward(&adapter, 1, X, AT(void, out.y, 2), 24, ROWS, F32, scratch, ROOM));
    ROW(OVERLAP, (void)0, phlora_forward(&adapter, 1, X, x, 24, ROWS, F32, scratch, ROOM));
    ROW(OVERLAP, (void)0, phlora_forward(&adapter, 1, X, lora_b, 24, ROWS, F32, scratch, ROOM));
    ROW(OVERLAP, (void)0, phlora_forward(&adapter, 1, X, Y, out.y, 18));
    ROW(EMPTY, (void)0, phlora_forward(&adapter, 0, X, Y, scratch, ROOM));
    ROW(VECTOR_LENGTH, (void)0, phlora_forward(&adapter, TOKENS + 1, X, Y, scratch, ROOM));
    ROW(VECTOR_LENGTH, (void)0, phlora_forward(&adapter, TOKENS, x, sizeof x, COLS - 1, F32, Y, scratch, ROOM));
    ROW(VECTOR_LENGTH, (void)0, phlora_forward(&adapter, TOKENS, X, out.y, sizeof out.y, ROWS - 1, F32, scratch, ROOM));
    ROW(VECTOR_LENGTH, (void)0, phlora_forward(&adapter, TOKENS, X, out.y, sizeof out.y - 4, ROWS, F32, scratch, ROOM));
    ROW(UNKNOWN_VALUE, (void)0, phlora_forward(&adapter, 1, x, sizeof x, COLS, PHLORA_DTYPE_BF16, Y, scratch, ROOM));
    ROW(MEMORY_TOO_SMALL, (void)0, 
        phlora_forward(&adapter, TOKENS, X, Y, scratch, phlora_forward_len(ROWS, COLS, RANK, TOKENS) - 1));
    ROW(NON_FINITE, adapter.scale = 1e38f * 10, phlora_forward(&adapter, TOKENS, X, Y, scratch, ROOM));
    ROW(TOO_LARGE, (void)0, phlora_forward(&adapter, 1, x, SIZE_MAX, COLS, F32, Y, scratch, ROOM));
}

static void batches(void) {
    ROW(OK, (void)0, BATCH(one, 1, NULL, 0));
    ROW(OK, (void)0, BATCH(many, MANY, out.uses, TOKENS));
    ROW(OK, (void)0, BATCH(NULL, 0, NULL, 0));
    ROW(NULL_POINTER, (void)0, BATCH(NULL, 1, NULL, 0));
    ROW(NULL_POINTER, (void)0, BATCH(one, 1, NULL, 1));
    ROW(NULL_POINTER, (void)0, phlora_batch_init(LAYER, ONE, NULL, ROOM, &out.batch));
    ROW(NULL_POINTER, (void)0, phlora_batch_init(LAYER, ONE, aligned(pin_store.bytes), ROOM, NULL));
    ROW(MISALIGNED, (void)0, phlora_batch_init(LAYER, ONE, aligned(pin_store.bytes) + 8, ROOM, &out.batch));
    ROW(MEMORY_TOO_SMALL, (void)0,
        phlora_batch_init(LAYER, ONE, aligned(pin_store.bytes), phlora_batch_bytes(1) - 1, &out.batch));
    ROW(TOO_LARGE, (void)0, BATCH(one, SIZE_MAX / 8, NULL, 0));
    ROW(OVERLAP, (void)0, phlora_batch_init(LAYER, ONE, aligned(pin_store.bytes), ROOM, AT(phlora_batch *, aligned(pin_store.bytes), 0)));
    ROW(OVERLAP, adapter.a = aligned(pin_store.bytes), BATCH(one, 1, NULL, 0));
    ROW(EMPTY, (void)0, phlora_batch_init(ROWS, COLS, 0, ONE, aligned(pin_store.bytes), ROOM, &out.batch));
    ROW(ADAPTER_SHAPE, (void)0, phlora_batch_init(COLS, ROWS, TOKENS, ONE, aligned(pin_store.bytes), ROOM, &out.batch));
    ROW(STRUCT_SIZE, adapter.struct_size = 8, BATCH(one, 1, NULL, 0));
    ROW(RANK_ZERO, adapter.rank = 0, BATCH(one, 1, NULL, 0));
    ROW(UNKNOWN_ADAPTER, (void)0, BATCH(one, 1, out.uses, TOKENS));
    ROW(UNKNOWN_TOKEN, out.uses[0].token = 3, BATCH(many, 8, out.uses, TOKENS));
    ROW(NOT_GROUPED, out.uses[1].adapter = 0, BATCH(many, 8, out.uses, TOKENS));
    ROW(NON_FINITE, out.uses[1].weight = 1e38f * 10, BATCH(many, 8, out.uses, TOKENS));
    ROW(ADAPTER_SHAPE, memset(out.uses, 0, sizeof out.uses); out.uses[2].adapter = 1, BATCH(two, 2, out.uses, TOKENS));
    ROW(OK, many[7] = NULL, BATCH(many, 8, out.uses, TOKENS));

    ROW(OK, (void)0, phlora_batch_down(batch, &inputs, 0, 1, WORK));
    ROW(OK, (void)0, phlora_batch_down(batch, &inputs, 1, 2, WORK));
    ROW(NULL_POINTER, (void)0, phlora_batch_down(NULL, &inputs, 0, 1, WORK));
    ROW(NULL_POINTER, (void)0, phlora_batch_down(batch, NULL, 0, 1, WORK));
    ROW(NULL_POINTER, (void)0, phlora_batch_down(batch, &inputs, 0, 1, NULL, work_len));
    ROW(NULL_POINTER, inputs.data = NULL, phlora_batch_down(batch, &inputs, 0, 1, WORK));
    ROW(NOT_STARTED, (void)0, phlora_batch_down(AT(phlora_batch, aligned(pin_store.bytes), 0), &inputs, 0, 1, WORK));
    ROW(SLICE_BOUNDS, (void)0, phlora_batch_down(batch, &inputs, 2, 2, WORK));
    ROW(SLICE_BOUNDS, (void)0, phlora_batch_down(batch, &inputs, 0, 0, WORK));
    ROW(MEMORY_TOO_SMALL, (void)0, phlora_batch_down(batch, &inputs, 0, 2, out.work, work_len - 1));
    ROW(TOO_LARGE, (void)0, phlora_batch_down(batch, &inputs, 0, SIZE_MAX, WORK));
    ROW(UNKNOWN_VALUE, inputs.dtype = PHLORA_DTYPE_BF16, phlora_batch_down(batch, &inputs, 0, 1, WORK));
    ROW(VECTOR_LENGTH, inputs.bytes -= 4, phlora_batch_down(batch, &inputs, 0, 1, WORK));
    ROW(OVERLAP, (void)0, phlora_batch_down(batch, &inputs, 0, 1, x, 2048));
    ROW(OVERLAP, (void)0, phlora_batch_down(batch, &inputs, 0, 1, AT(float, aligned(batch_store.bytes), 0), 2048));

    ROW(OK, (void)0, phlora_batch_up(batch, &outputs, 0, 1, WORK));
    ROW(NULL_POINTER, outputs.data = NULL, phlora_batch_up(batch, &outputs, 0, 1, WORK));
    ROW(MISALIGNED, outputs.data = AT(void, out.y, 2), phlora_batch_up(batch, &outputs, 0, 1, WORK));
    ROW(VECTOR_LENGTH, outputs.stride = ROWS - 1, phlora_batch_up(batch, &outputs, 0, 1, WORK));
    ROW(UNKNOWN_VALUE, outputs.dtype = PHLORA_DTYPE_BF16, phlora_batch_up(batch, &outputs, 0, 1, WORK));
    ROW(OVERLAP, outputs.data = lora_b; outputs.bytes = sizeof lora_b, phlora_batch_up(batch, &outputs, 0, 1, WORK));
    ROW(OVERLAP, outputs.data = out.work; outputs.bytes = 72, phlora_batch_up(batch, &outputs, 0, 1, WORK));
    ROW(SLICE_BOUNDS, (void)0, phlora_batch_up(batch, &outputs, 1, 1, WORK));

    ROW(OK, (void)0, phlora_batch_forward(batch, &inputs, &outputs, WORK));
    ROW(OVERLAP, outputs.data = x; outputs.bytes = sizeof x; outputs.stride = COLS,
        phlora_batch_forward(batch, &inputs, &outputs, WORK));
    ROW(OVERLAP, outputs.data = lora_a; outputs.bytes = sizeof lora_a,
        phlora_batch_forward(batch, &inputs, &outputs, WORK));
    ROW(MEMORY_TOO_SMALL, (void)0,
        phlora_batch_forward(batch, &inputs, &outputs, out.work, phlora_batch_work(batch, 1) - 1));
}

static void registries(void) {
    ROW(NULL_POINTER, (void)0, phlora_registry_init(PLACES, 1, NULL, ROOM, &out.registry));
    ROW(NULL_POINTER, (void)0, phlora_registry_init(PLACES, 1, aligned(pin_store.bytes), ROOM, NULL));
    ROW(MISALIGNED, (void)0, phlora_registry_init(PLACES, 1, aligned(pin_store.bytes) + 8, 2 * ROOM, &out.registry));
    ROW(MEMORY_TOO_SMALL, (void)0,
        phlora_registry_init(PLACES, 1, aligned(pin_store.bytes), phlora_registry_bytes(PLACES) - 1, &out.registry));
    ROW(NULL_POINTER, (void)0, phlora_registry_add(NULL, 1, x, 1));
    ROW(NULL_POINTER, (void)0, phlora_registry_add(registry, 1, NULL, 1));
    ROW(NOT_STARTED, (void)0, phlora_registry_add(AT(phlora_registry, aligned(pin_store.bytes), 0), 1, x, 1));
    ROW(ID_TAKEN, (void)0, phlora_registry_add(registry, 7, x, 1));
    ROW(OVER_BUDGET, (void)0, phlora_registry_add(registry, 1, x, 41));
    ROW(OVER_BUDGET, (void)0, phlora_registry_add_evicting(registry, 1, x, 101, NULL, NULL));
    ROW(OK, (void)0, phlora_registry_add_evicting(registry, 1, x, 100, NULL, NULL));
    ROW(UNKNOWN_ADAPTER, (void)0, phlora_registry_replace(registry, 1, x, 1, &out.value));
    ROW(NULL_POINTER, (void)0, phlora_registry_replace(registry, 7, x, 1, NULL));
    ROW(UNKNOWN_ADAPTER, (void)0, phlora_registry_remove(registry, 1, &out.value));
    ROW(NULL_POINTER, (void)0, phlora_registry_reclaim(registry, NULL));
    ROW(STRUCT_SIZE, (void)0, phlora_registry_usage(registry, &out.usage, 4));
    ROW(OK, (void)0, PIN(aligned(pin_store.bytes), out.values, PLACES));
    ROW(OK, (void)0, PIN(aligned(pin_store.bytes), out.values, 1));
    ROW(MEMORY_TOO_SMALL, (void)0, PIN(aligned(pin_store.bytes), out.values, 0));
    ROW(MEMORY_TOO_SMALL, need(phlora_registry_add(registry, 9, x, 1), __LINE__); out.uses[2].adapter = 9,
        PIN(aligned(pin_store.bytes), out.values, 1));
    ROW(TOO_LARGE, (void)0, phlora_registry_init(SIZE_MAX / 8, 1, aligned(pin_store.bytes), ROOM, &out.registry));
    ROW(UNKNOWN_ADAPTER, out.uses[2].adapter = 8, PIN(aligned(pin_store.bytes), out.values, PLACES));
    ROW(NULL_POINTER, (void)0, PIN(NULL, out.values, PLACES));
    ROW(OVERLAP, (void)0, PIN(aligned(store.bytes), out.values, PLACES));
    ROW(NULL_POINTER, (void)0, phlora_pins_release(NULL));
    ROW(NOT_STARTED, (void)0, phlora_pins_release(AT(phlora_pins, aligned(pin_store.bytes), 0)));
    ROW(OUT_OF_ORDER,
        need(PIN(aligned(pin_store.bytes), out.values, PLACES), __LINE__);
        need(phlora_pins_release(out.pins), __LINE__), phlora_pins_release(out.pins));
}

static void merge_and_combine(void) {
#define MERGE_INIT(list, count, room) \
    phlora_merge_init(list, NULL, count, aligned(pin_store.bytes), room, &out.merge)
    ROW(EMPTY, (void)0, MERGE_INIT(one, 0, ROOM));
    ROW(ADAPTER_SHAPE, (void)0, MERGE_INIT(two, 2, ROOM));
    ROW(OK, (void)0, MERGE_INIT(one, 1, phlora_merge_bytes(COLS, RANK, 1)));
    ROW(OK, (void)0, MERGE_INIT(many, MANY, phlora_merge_bytes(COLS, MANY * RANK, MANY)));
    ROW(MEMORY_TOO_SMALL, (void)0, MERGE_INIT(one, 1, phlora_merge_bytes(COLS, RANK, 1) - 1));
    ROW(NULL_POINTER, (void)0, phlora_merge_init(one, NULL, 1, NULL, ROOM, &out.merge));
    ROW(NULL_POINTER, (void)0, phlora_merge_init(one, NULL, 1, aligned(pin_store.bytes), ROOM, NULL));
    ROW(NULL_POINTER, one[0] = NULL, MERGE_INIT(one, 1, ROOM));
    ROW(NON_FINITE, lora_a[1] = 1e38f * 10, MERGE_INIT(one, 1, ROOM));
    ROW(NULL_POINTER, (void)0, phlora_merge_rows(NULL, 0, out.weight, 16, F32, NULL, scratch, ROOM));
    ROW(NOT_STARTED, (void)0,
        phlora_merge_rows(AT(phlora_merge, aligned(pin_store.bytes), 0), 0, out.weight, 16, F32, NULL, scratch, ROOM));
    ROW(OK, (void)0, MERGE(0, sizeof out.weight, F32, out.stash, ROOM));
    ROW(OK, (void)0, MERGE(5, COLS * 4, F32, NULL, ROOM));
    ROW(TOO_MANY_ROWS, (void)0, MERGE(1, sizeof out.weight, F32, NULL, ROOM));
    ROW(NOT_WHOLE_ROWS, (void)0, MERGE(0, COLS * 4 - 1, F32, NULL, ROOM));
    ROW(NOT_ENCODED, (void)0, MERGE(0, COLS * 4, PHLORA_DTYPE_Q4_K, NULL, ROOM));
    ROW(UNKNOWN_VALUE, (void)0, MERGE(0, COLS * 4, 77, NULL, ROOM));
    ROW(OVERLAP, (void)0, MERGE(0, COLS * 4, F32, out.weight, ROOM));
    ROW(OVERLAP, (void)0,
        phlora_merge_rows(merge, 0, aligned(merge_store.bytes) + 128, 16, F32, NULL, scratch, ROOM));
    ROW(MEMORY_TOO_SMALL, (void)0, MERGE(0, COLS * 4, F32, NULL, merge_len - 1));
    ROW(OK, (void)0,
        phlora_merge_rows_to(merge, 0, out.weight, sizeof out.weight, F32,
                             PHLORA_DTYPE_BF16, out.to, sizeof out.to, scratch, ROOM));
    ROW(OUTPUT_LENGTH, (void)0,
        phlora_merge_rows_to(merge, 0, out.weight, sizeof out.weight, F32,
                             PHLORA_DTYPE_BF16, out.to, sizeof out.to - 1, scratch, ROOM));
    ROW(OVERLAP, (void)0, phlora_merge_toggle(out.weight, out.weight, 8));
    ROW(NULL_POINTER, (void)0, phlora_merge_toggle(NULL, out.weight, 8));

    ROW(OK, (void)0, COMBINE(RANK, RANK));
    ROW(RANK_ZERO, (void)0, COMBINE(0, RANK));
    ROW(OUTPUT_LENGTH, (void)0, COMBINE(RANK, RANK - 1));
    ROW(OUTPUT_LENGTH, (void)0, COMBINE(RANK + 1, 8));
    ROW(NON_FINITE, lora_a[1] = 1e38f * 10, COMBINE(RANK, RANK));
    ROW(STRUCT_SIZE, (void)0,
        phlora_combine(one, NULL, 1, RANK, scratch, ROOM, out.a, 8, out.b, 12, out.s, 2, &out.combined, 4));
    ROW(MEMORY_TOO_SMALL, (void)0,
        phlora_combine(one, NULL, 1, RANK, scratch, phlora_combine_len(ROWS, COLS, RANK, RANK) / 2, out.a, 8, out.b,
                       12, out.s, 2, &out.combined, sizeof out.combined));
}

/* What a call gives: beside, in slices, merged: the same. */
static void results(void) {
    float y[TOKENS * ROWS], merged[ROWS * COLS];
    int same = 1;
    fresh();
    need(phlora_forward(&adapter, TOKENS, X, Y, scratch, ROOM), __LINE__);
    memcpy(y, out.y, sizeof y);
    /* The same through a batch: as a whole, in slices, and with many adapters, the last of which is used. */
    fresh();
    need(phlora_batch_forward(batch, &inputs, &outputs, WORK), __LINE__);
    same &= memcmp(y, out.y, sizeof y) == 0;
    fresh();
    for (size_t i = 0; i < 2; i++) need(phlora_batch_down(batch, &inputs, i, 2, WORK), __LINE__);
    for (size_t i = 0; i < 2; i++) need(phlora_batch_up(batch, &outputs, i, 2, WORK), __LINE__);
    same &= memcmp(y, out.y, sizeof y) == 0;
    fresh();
    for (int i = 0; i < TOKENS; i++) out.uses[i].adapter = MANY - 1;
    for (int i = 0; i + 1 < MANY; i++) many[i] = &other;
    need(BATCH(many, MANY, out.uses, TOKENS), __LINE__);
    memset(many, 0, sizeof many);
    need(phlora_batch_forward(out.batch, &inputs, &outputs, out.work, phlora_batch_work(out.batch, 1)), __LINE__);
    same &= memcmp(y, out.y, sizeof y) == 0;
    same &= phlora_batch_work(NULL, 1) == 0 && phlora_batch_bytes(SIZE_MAX) == 0;
    need(MERGE(0, sizeof out.weight, F32, out.stash, ROOM), __LINE__);
    memcpy(merged, out.weight, sizeof merged);
    for (int t = 0; t < TOKENS; t++)
        for (int i = 0; i < ROWS; i++) {
            float expected = 1, base = 0;
            for (int j = 0; j < COLS; j++)
                base += x[t * COLS + j], expected += merged[i * COLS + j] * x[t * COLS + j];
            same &= expected - base == y[t * ROWS + i];
        }
    need(phlora_merge_toggle(out.stash, out.weight, sizeof out.weight), __LINE__);
    for (int i = 0; i < ROWS * COLS; i++) same &= out.weight[i] == 1;
    rows++;
    if (!same) {
        printf("forward, slices and merge do not agree\n");
        failures++;
    }
    fresh();
    need(PIN(aligned(pin_store.bytes), out.values, PLACES), __LINE__);
    same = out.count == 1 && out.values[0] == &adapter && out.uses[2].adapter == 0;
    need(phlora_registry_replace(registry, 7, x, 1, &out.value), __LINE__);
    same &= out.value == NULL;
    need(phlora_registry_reclaim(registry, &out.value), __LINE__);
    same &= out.value == NULL;
    need(phlora_pins_release(out.pins), __LINE__);
    need(phlora_registry_reclaim(registry, &out.value), __LINE__);
    same &= out.value == &adapter;
    need(phlora_registry_usage(registry, &out.usage, sizeof out.usage), __LINE__);
    same &= out.usage.entries == 1 && out.usage.retired == 0 && out.usage.bytes == 1 && out.usage.budget == 100 && out.usage.capacity == PLACES;
    rows++;
    if (!same) {
        printf("the registry is not as it should be\n");
        failures++;
    }
}

int main(void) {
    adapters();
    forward();
    batches();
    registries();
    merge_and_combine();
    results();
    printf("apply: %d passed, %d failed\n", rows - failures, failures);
    return failures != 0;
}

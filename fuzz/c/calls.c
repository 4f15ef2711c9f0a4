/* A C program whose calls and arguments are the bytes of an input. Buffers have the length that is told, and live as long as the
 * contract of the header asks; all else may be anything. Returns 0, or the line of the first thing that is not as promised. */
#define _POSIX_C_SOURCE 200809L
#include "phlora.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

static const uint8_t *at, *end;

static unsigned byte(void) { return at < end ? *at++ : 0; }
static size_t below(size_t n) { return n ? (byte() | (n > 256 ? byte() << 8 : 0)) % n : 0; }
static int rarely(void) { return byte() % 16 == 15; }

/* A number as callers get them wrong. */
static size_t wild(size_t usual) {
    static const size_t edges[] = {0, 1, SIZE_MAX, SIZE_MAX / 2 + 1, SIZE_MAX / 4, (size_t)1 << 32, 7, 65};
    return rarely() ? edges[byte() % 8] : usual;
}

#define FAIL_UNLESS(x) do { if (!(x)) return __LINE__; } while (0)

/* A status that the header names, and no defect. */
static int known(phlora_status status) {
    return status != PHLORA_STATUS_INTERNAL && strcmp(phlora_status_name(status), "PHLORA_STATUS_?") != 0;
}

/* Bytes at PHLORA_ALIGNMENT; freed with the run. */
static void *rooms[256];
static size_t room_count;

static void *room(size_t bytes, int fill) {
    void *place = NULL;
    if (room_count == 256 || posix_memalign(&place, PHLORA_ALIGNMENT, bytes ? bytes : 1) != 0)
        return NULL;
    memset(place, fill, bytes);
    rooms[room_count++] = place;
    return place;
}

static float *floats(size_t count, float value) {
    float *place = room(4 * count, 0);
    for (size_t i = 0; place && i < count; i++)
        place[i] = value;
    return place;
}

/* Numbers near 1, and now and then any bits at all. */
static void *numbers(size_t bytes) {
    static const uint8_t finite[] = {0x3a, 0x3b, 0x3c, 0xba, 0xbb, 0xbc};
    uint8_t *place = room(bytes, 0);
    int any = rarely();
    for (size_t i = 0; place && i < bytes; i++)
        place[i] = any ? (uint8_t)(byte() * 37 + i) : finite[(byte() + i) % 6];
    return place;
}

static int are_finite(const float *values, size_t count) {
    for (size_t i = 0; i < count; i++)
        if (!isfinite(values[i]))
            return 0;
    return 1;
}

static int are_all(const float *values, size_t count, float value) {
    for (size_t i = 0; i < count; i++)
        if (values[i] != value)
            return 0;
    return 1;
}

static const uint32_t DTYPES[] = {
    1, 2, 3, 4, 102, 103, 106, 107, 108, 110, 111, 112, 113, 114, 116, 117, 118, 119, 120, 121, 122, 123, 129, 134, 135, 139, 140, 141, 142, 0, 77, 5};

static uint32_t any_dtype(void) { return DTYPES[byte() % 32]; }

static size_t row_bytes(uint32_t dtype, size_t cols) {
    size_t bytes = 0;
    return phlora_row_bytes(dtype, cols, &bytes) == PHLORA_STATUS_OK ? bytes : 0;
}

/* Rows for one push: too few, too many, or half ones, once in a while. */
static int push(phlora_extractor *extractor, phlora_part *part, size_t rows, size_t cols, uint32_t dtype) {
    size_t bytes = rows * row_bytes(dtype, cols);
    if (rarely())
        bytes = below(2 * bytes + 1);
    void *base = numbers(bytes), *tuned = numbers(bytes);
    if (!base || !tuned)
        return 0;
    uint32_t other = rarely() ? any_dtype() : dtype;
    phlora_status status = part ? phlora_part_push(part, base, bytes, dtype, tuned, bytes, other)
                                : phlora_push(extractor, base, bytes, dtype, tuned, bytes, other);
    FAIL_UNLESS(known(status));
    return 0;
}

static int finish(phlora_extractor *extractor, const phlora_plan *plan) {
    size_t a_len = rarely() ? below(50) : plan->a_len, b_len = rarely() ? below(50) : plan->b_len;
    float *a = floats(a_len, 7), *b = floats(b_len, 7), *sigma = floats(plan->rank, 7);
    phlora_report report;
    if (!a || !b || !sigma)
        return 0;
    phlora_status status = phlora_finish(extractor, a, a_len, b, b_len, sigma, plan->rank, &report, sizeof report);
    FAIL_UNLESS(known(status));
    if (status != PHLORA_STATUS_OK) {
        FAIL_UNLESS(are_all(a, a_len, 7) && are_all(b, b_len, 7) && are_all(sigma, plan->rank, 7));
        return 0;
    }
    FAIL_UNLESS(are_finite(a, a_len) && are_finite(b, b_len) && are_finite(sigma, plan->rank));
    FAIL_UNLESS(report.energy >= 0 && isfinite(report.sum_squares) && isfinite(report.kept));
    /* Other rows in each read, which no program should push, have no sum. */
    FAIL_UNLESS(report.reads > 1 || report.kept <= report.sum_squares * 1.001);
    return 0;
}

static int extraction(void) {
    static const uint32_t plain[] = {PHLORA_DTYPE_F32, PHLORA_DTYPE_F16, PHLORA_DTYPE_BF16, PHLORA_DTYPE_Q8_0};
    phlora_options options;
    phlora_plan plan;
    phlora_extractor *extractor = NULL;
    FAIL_UNLESS(phlora_options_init(&options, sizeof options) == PHLORA_STATUS_OK);
    options.rank = wild(1 + below(6));
    options.mode = byte() % 5;
    options.parts = wild(1 + below(4));
    options.max_reads = rarely() ? byte() : options.max_reads;
    options.width = rarely() ? byte() % 20 : 0;
    options.kernel = rarely() ? byte() % 8 : 0;
    options.max_memory = rarely() ? below(60000) : 0;
    options.tolerance = rarely() ? (byte() % 2 ? NAN : -1.0) : options.tolerance;
    uint32_t dtype = plain[byte() % 4];
    size_t rows = wild(1 + below(24)), cols = wild(dtype == PHLORA_DTYPE_Q8_0 ? 32 * (1 + below(2)) : 1 + below(40));
    phlora_status status = phlora_plan_init(&options, rows, cols, &plan, sizeof plan);
    FAIL_UNLESS(known(status));
    /* Plans of what no test has memory for are only made. */
    if (status != PHLORA_STATUS_OK || plan.memory_bytes > 1 << 20 || plan.a_len > 1 << 16 || plan.b_len > 1 << 16 || rows > 100 || cols > 100)
        return 0;
    size_t bytes = plan.memory_bytes - (rarely() ? 1 + below(64) : 0);
    void *memory = room(bytes, 0xa5);
    if (!memory)
        return 0;
    status = phlora_start(&options, rows, cols, memory, bytes, &extractor);
    FAIL_UNLESS(known(status) && (bytes == plan.memory_bytes || status != PHLORA_STATUS_OK));
    if (status != PHLORA_STATUS_OK)
        return 0;
    int proper = byte() % 4 != 0, line = 0;
    for (int step = 0; step < 60 && !line; step++) {
        unsigned what = proper ? (phlora_wants_pass(extractor) ? (byte() % 3 ? 0 : 3) : 2) : byte() % 6;
        phlora_part *parts[PHLORA_MAX_PARTS];
        size_t count = 0;
        phlora_measurements measured;
        switch (what) {
        case 0:
            for (size_t done = 0; done < rows && !line && phlora_wants_pass(extractor); ) {
                size_t next = 1 + below(rows - done);
                line = push(extractor, NULL, next, cols, dtype);
                done += next;
            }
            FAIL_UNLESS(known(phlora_end_pass(extractor)));
            break;
        case 1:
            line = push(extractor, NULL, below(rows + 2), cols, dtype);
            break;
        case 2:
            line = finish(extractor, &plan);
            if (proper)
                step = 60;
            break;
        case 3:
            status = phlora_split(extractor, parts, PHLORA_MAX_PARTS, &count);
            FAIL_UNLESS(known(status));
            for (size_t i = 0; status == PHLORA_STATUS_OK && i < count && !line; i++) {
                size_t first = 0, have = 0;
                FAIL_UNLESS(phlora_part_rows(parts[i], &first, &have) == PHLORA_STATUS_OK && first + have <= rows);
                line = push(NULL, parts[i], have, cols, dtype);
            }
            FAIL_UNLESS(known(phlora_end_pass(extractor)));
            break;
        case 4:
            FAIL_UNLESS(known(phlora_end_pass(extractor)));
            break;
        default:
            FAIL_UNLESS(known(phlora_measure(extractor, &measured, rarely() ? below(sizeof measured) : sizeof measured)));
        }
    }
    return line;
}

static int codecs(void) {
    uint32_t dtype = any_dtype();
    size_t unit = phlora_block_len(dtype), count = unit * (1 + below(3)) + (rarely() ? 1 : 0);
    size_t bytes = rarely() ? below(600) : row_bytes(dtype, count);
    void *weights = numbers(bytes);
    float *values = floats(count, 7);
    if (!weights || !values)
        return 0;
    FAIL_UNLESS(known(phlora_decode(weights, bytes, dtype, values, count)));
    FAIL_UNLESS(known(phlora_encode(values, count, dtype, weights, bytes)));
    return 0;
}

static int svd(void) {
    size_t rows = 1 + below(20), cols = 1 + below(12);
    size_t a_len = rarely() ? below(99) : rows * cols, v_len = rarely() ? below(99) : cols * cols;
    float *a = numbers(4 * a_len), *sigma = floats(cols, 7), *v = floats(v_len, 7);
    phlora_svd_info info;
    if (!a || !sigma || !v)
        return 0;
    phlora_status status = phlora_svd(wild(rows), byte() % 40, a, a_len, sigma, cols, v, v_len, &info, sizeof info);
    FAIL_UNLESS(known(status));
    FAIL_UNLESS(status != PHLORA_STATUS_OK || (are_finite(sigma, cols) && are_finite(a, a_len) && are_finite(v, v_len)));
    return 0;
}

static int make_adapter(phlora_adapter *adapter, size_t rows, size_t cols) {
    static const uint32_t formats[] = {PHLORA_DTYPE_F32, PHLORA_DTYPE_F16, PHLORA_DTYPE_BF16, PHLORA_DTYPE_Q8_0};
    size_t rank = 1 + below(8);
    memset(adapter, 0, sizeof *adapter);
    adapter->struct_size = rarely() ? below(200) : sizeof *adapter;
    adapter->rows = rarely() ? below(50) : rows;
    adapter->cols = cols;
    adapter->rank = rarely() ? wild(rank) : rank;
    adapter->a_dtype = cols % 32 == 0 ? formats[byte() % 4] : formats[byte() % 3];
    adapter->b_dtype = rarely() ? any_dtype() : formats[byte() % 3];
    adapter->a_bytes = rank * row_bytes(adapter->a_dtype, cols);
    adapter->b_bytes = rows * row_bytes(adapter->b_dtype, rank);
    if (rarely())
        adapter->a_bytes -= adapter->a_bytes ? 1 : 0;
    adapter->a = numbers(adapter->a_bytes);
    adapter->b = numbers(adapter->b_bytes);
    adapter->scale = rarely() ? INFINITY : 0.5f;
    FAIL_UNLESS(!adapter->a || !adapter->b || known(phlora_adapter_check(adapter)));
    return 0;
}

static int route(const phlora_adapter *const *adapters, size_t count, size_t rows, size_t cols) {
    phlora_assignment list[12];
    size_t tokens = 1 + below(5), used = below(12), nth = 1 + below(3);
    for (size_t i = 0; i < used; i++)
        list[i] = (phlora_assignment){(uint32_t)(rarely() ? byte() : below(tokens)), (uint32_t)(rarely() ? byte() : below(count)), rarely() ? NAN : 1.0f};
    if (!rarely())
        FAIL_UNLESS(known(phlora_group(list, used)));
    uint32_t dtype = byte() % 2 ? PHLORA_DTYPE_F32 : PHLORA_DTYPE_F16;
    size_t width = dtype == PHLORA_DTYPE_F32 ? 4 : 2, stride = cols + below(3), y_stride = rarely() ? below(50) : rows;
    void *x = numbers(width * tokens * stride), *y = numbers(width * tokens * y_stride);
    if (!x || !y)
        return 0;
    phlora_batch *batch = NULL;
    size_t batch_bytes = phlora_batch_bytes(count) - (rarely() ? 1 : 0);
    void *memory = room(batch_bytes, 0xa5);
    if (!memory)
        return 0;
    phlora_status status = phlora_batch_init(rows, cols, tokens, adapters, count, list, used, memory, batch_bytes, &batch);
    FAIL_UNLESS(known(status) && (status != PHLORA_STATUS_OK || batch_bytes == phlora_batch_bytes(count)));
    size_t work_len = status == PHLORA_STATUS_OK ? phlora_batch_work(batch, nth) : 0;
    float *work = work_len < 1 << 17 ? floats(work_len, NAN) : NULL;
    if (status == PHLORA_STATUS_OK && work) {
        phlora_inputs inputs = {x, width * tokens * stride, stride, dtype, 0};
        phlora_outputs outputs = {y, width * tokens * y_stride, y_stride, dtype, 0};
        size_t told = rarely() ? below(work_len + 1) : work_len;
        for (size_t i = 0; i < nth; i++)
            FAIL_UNLESS(known(phlora_batch_down(batch, &inputs, wild(i), nth, work, told)));
        for (size_t i = 0; i < nth; i++)
            FAIL_UNLESS(known(phlora_batch_up(batch, &outputs, wild(i), nth, work, told)));
        FAIL_UNLESS(known(phlora_batch_forward(batch, &inputs, &outputs, work, told)));
    }
    size_t forward_len = phlora_forward_len(rows, cols, adapters[0]->rank, tokens);
    float *more = forward_len < 1 << 16 ? floats(forward_len, NAN) : NULL;
    if (more)
        FAIL_UNLESS(known(phlora_forward(adapters[0], tokens, x, width * tokens * stride, stride, dtype, y, width * tokens * y_stride, y_stride, dtype, more, forward_len)));
    return 0;
}

static int merge(const phlora_adapter *const *adapters, size_t count, size_t rows, size_t cols) {
    float weights[3] = {1, -0.5f, rarely() ? NAN : 2};
    size_t ranks = 0, first = below(rows), some = 1 + below(rows - first);
    for (size_t i = 0; i < count; i++)
        ranks += adapters[i]->rank < 1 << 10 ? adapters[i]->rank : 1 << 10;
    size_t merge_bytes = phlora_merge_bytes(cols, ranks, count);
    if (merge_bytes == 0 || merge_bytes > 1 << 18)
        return 0;
    merge_bytes -= rarely() ? 1 : 0;
    void *memory = room(merge_bytes, 0xa5);
    phlora_merge *merge = NULL;
    if (!memory)
        return 0;
    phlora_status status = phlora_merge_init(adapters, weights, count, memory, merge_bytes, &merge);
    FAIL_UNLESS(known(status));
    if (status != PHLORA_STATUS_OK)
        return 0;
    uint32_t dtype = any_dtype();
    size_t bytes = some * row_bytes(dtype, cols), scratch_len = phlora_merge_scratch_len(merge);
    float *scratch = floats(scratch_len, NAN);
    uint8_t *weight = numbers(bytes), *stash = room(bytes, 0), *before = room(bytes, 0);
    void *to = room(4 * some * cols, 0);
    if (!scratch || !weight || !stash || !before || !to)
        return 0;
    memcpy(before, weight, bytes);
    status = phlora_merge_rows(merge, first, weight, bytes, dtype, stash, scratch, scratch_len);
    FAIL_UNLESS(known(status));
    if (status == PHLORA_STATUS_OK)
        FAIL_UNLESS(phlora_merge_toggle(stash, weight, bytes) == PHLORA_STATUS_OK);
    FAIL_UNLESS(memcmp(weight, before, bytes) == 0);
    FAIL_UNLESS(known(phlora_merge_rows_to(merge, wild(first), weight, bytes, dtype, PHLORA_DTYPE_F32, to, 4 * some * cols, scratch, scratch_len)));
    return 0;
}

static int combine(const phlora_adapter *const *adapters, size_t count, size_t rows, size_t cols) {
    float weights[3] = {1, -0.5f, 2};
    size_t ranks = 0, rank = wild(1 + below(8));
    for (size_t i = 0; i < count; i++)
        ranks += adapters[i]->rank;
    size_t scratch_len = phlora_combine_len(rows, cols, ranks, rank);
    if (rank > 64 || ranks > 64 || scratch_len > 1 << 18)
        return 0;
    float *scratch = floats(scratch_len, NAN), *a = floats(rank * cols, 7), *b = floats(rows * rank, 7), *sigma = floats(rank, 7);
    phlora_combined combined;
    if (!scratch || !a || !b || !sigma)
        return 0;
    phlora_status status = phlora_combine(adapters, weights, count, rank, scratch, scratch_len, a, rank * cols, b, rows * rank, sigma, rank, &combined, sizeof combined);
    FAIL_UNLESS(known(status));
    if (status == PHLORA_STATUS_OK)
        FAIL_UNLESS(are_finite(a, rank * cols) && are_finite(b, rows * rank) && are_finite(sigma, rank) && isfinite(combined.energy));
    else
        FAIL_UNLESS(are_all(a, rank * cols, 7) && are_all(b, rows * rank, 7) && are_all(sigma, rank, 7));
    return 0;
}

static int adapters(void) {
    phlora_adapter made[3];
    const phlora_adapter *list[3] = {&made[0], &made[1], &made[2]};
    size_t count = 1 + below(3), rows = 1 + below(40), cols = byte() % 2 ? 32 * (1 + below(2)) : 1 + below(40);
    int line = 0;
    for (size_t i = 0; i < count && !line; i++) {
        line = make_adapter(&made[i], rows, cols);
        if (!made[i].a || !made[i].b)
            return line;
    }
    if (line)
        return line;
    line = route(list, count, rows, cols);
    if (!line)
        line = merge(list, count, rows, cols);
    return line ? line : combine(list, count, rows, cols);
}

static size_t evictions;
static void evicted(void *user, uint32_t id, void *value) { evictions += user != NULL && value != NULL && id < 1u << 30; }

static int registry(void) {
    phlora_registry *registry = NULL;
    phlora_pins *pins[3] = {NULL, NULL, NULL};
    size_t budget = rarely() ? SIZE_MAX : 100 + below(900), capacity = 1 + below(70);
    size_t bytes = phlora_registry_bytes(capacity) - (rarely() ? 1 : 0);
    void *memory = room(bytes, 0xa5), *pin_memory[3];
    for (int i = 0; i < 3; i++)
        pin_memory[i] = room(phlora_pins_bytes(6), 0xa5);
    if (!memory || !pin_memory[2])
        return 0;
    phlora_status status = phlora_registry_init(capacity, budget, memory, bytes, &registry);
    FAIL_UNLESS(known(status) && (status != PHLORA_STATUS_OK) == (bytes < phlora_registry_bytes(capacity)));
    if (status != PHLORA_STATUS_OK)
        return 0;
    static char values[8];
    for (int step = 0; step < 40 && at < end; step++) {
        uint32_t id = byte() % 8;
        size_t size = wild(below(300)), count = 0, which = byte() % 3;
        void *old = NULL, *held[6];
        phlora_assignment list[6];
        phlora_usage usage;
        switch (byte() % 8) {
        case 0: FAIL_UNLESS(known(phlora_registry_add(registry, id, &values[id], size))); break;
        case 1: FAIL_UNLESS(known(phlora_registry_add_evicting(registry, id, &values[id], size, evicted, values))); break;
        case 2: FAIL_UNLESS(known(phlora_registry_replace(registry, id, &values[id], size, &old))); break;
        case 3: FAIL_UNLESS(known(phlora_registry_remove(registry, id, &old))); break;
        case 4: FAIL_UNLESS(known(phlora_registry_reclaim(registry, &old))); break;
        case 5:
            if (pins[which])
                break;
            for (size_t i = 0; i < 6; i++)
                list[i] = (phlora_assignment){0, byte() % 10, 1.0f};
            status = phlora_registry_pin(registry, list, below(7), pin_memory[which], phlora_pins_bytes(6), &pins[which], held, rarely() ? below(7) : 6, &count);
            FAIL_UNLESS(known(status) && count <= 6);
            if (status != PHLORA_STATUS_OK)
                pins[which] = NULL;
            break;
        case 6:
            FAIL_UNLESS(!pins[which] || phlora_pins_release(pins[which]) == PHLORA_STATUS_OK);
            pins[which] = NULL;
            break;
        default: break;
        }
        FAIL_UNLESS(phlora_registry_usage(registry, &usage, sizeof usage) == PHLORA_STATUS_OK);
        FAIL_UNLESS(usage.entries <= capacity && usage.capacity == capacity && usage.budget == budget && usage.bytes <= budget);
    }
    for (int i = 0; i < 3; i++)
        FAIL_UNLESS(!pins[i] || phlora_pins_release(pins[i]) == PHLORA_STATUS_OK);
    return 0;
}

int phlora_fuzz_calls(const uint8_t *data, size_t size) {
    int line = 0;
    at = data;
    end = data + size;
    while (at < end && !line) {
        switch (byte() % 6) {
        case 0: line = codecs(); break;
        case 1: line = svd(); break;
        case 2: line = adapters(); break;
        case 3: line = registry(); break;
        default: line = extraction();
        }
        while (room_count)
            free(rooms[--room_count]);
    }
    return line;
}

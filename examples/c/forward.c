/*
 * Applies an adapter from static memory, as a microcontroller would hold it: factors as constants in flash, one
 * token at a time, and the same adapter merged into the weight and taken back. Prints how far both are from each
 * other; returns 0 when they agree.
 */
#include <phlora.h>
#include <stdio.h>
#include <string.h>

enum { ROWS = 48, COLS = 64, RANK = 4, SCRATCH = 512, MERGE_SCRATCH = 16 * RANK + 16 * 256, MEMORY = 2048 };

static float weight[ROWS][COLS], before[ROWS][COLS];
static float lora_a[RANK][COLS], lora_b[ROWS][RANK];
static float x[COLS], y[ROWS], merged_y[ROWS];
static float scratch[SCRATCH], merge_scratch[MERGE_SCRATCH];
static unsigned char stash[sizeof weight], room[MEMORY + PHLORA_ALIGNMENT];

static float noise(uint32_t *state) {
    *state = *state * 1664525u + 1013904223u;
    return (float)(*state >> 8) / 16777216.0f - 0.5f;
}

static void make(void) {
    uint32_t state = 1;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLS; j++) weight[i][j] = noise(&state);
    for (int k = 0; k < RANK; k++)
        for (int j = 0; j < COLS; j++) lora_a[k][j] = noise(&state);
    for (int i = 0; i < ROWS; i++)
        for (int k = 0; k < RANK; k++) lora_b[i][k] = noise(&state);
    for (int j = 0; j < COLS; j++) x[j] = noise(&state);
}

/* The base layer: y = W·x. */
static void base(float *to) {
    for (int i = 0; i < ROWS; i++) {
        to[i] = 0;
        for (int j = 0; j < COLS; j++) to[i] += weight[i][j] * x[j];
    }
}

#define TRY(call)                                                                     \
    do {                                                                              \
        phlora_status status = (call);                                                \
        if (status != PHLORA_STATUS_OK) {                                             \
            printf("%s: %s\n", #call, phlora_status_name(status));                    \
            return 1;                                                                 \
        }                                                                             \
    } while (0)

int main(void) {
    phlora_adapter adapter = {0};
    const phlora_adapter *adapters[1] = {&adapter};
    unsigned char *memory = room + (PHLORA_ALIGNMENT - (uintptr_t)room % PHLORA_ALIGNMENT);
    phlora_merge *merge;
    float largest = 0;

    make();
    memcpy(before, weight, sizeof weight);
    adapter.struct_size = sizeof adapter;
    adapter.rows = ROWS, adapter.cols = COLS, adapter.rank = RANK;
    adapter.a = lora_a, adapter.a_bytes = sizeof lora_a, adapter.a_dtype = PHLORA_DTYPE_F32;
    adapter.b = lora_b, adapter.b_bytes = sizeof lora_b, adapter.b_dtype = PHLORA_DTYPE_F32;
    adapter.scale = 2;
    TRY(phlora_adapter_check(&adapter));

    /* Beside the base layer: y = W·x + s·B·(A·x). */
    if (phlora_forward_len(ROWS, COLS, RANK, 1) > SCRATCH) return 1;
    base(y);
    TRY(phlora_forward(&adapter, 1, x, sizeof x, COLS, PHLORA_DTYPE_F32, y, sizeof y, ROWS, PHLORA_DTYPE_F32,
                       scratch, SCRATCH));

    /* In the base layer: W += s·B·A, then y = W·x. */
    if (phlora_merge_bytes(COLS, RANK, 1) > MEMORY) return 1;
    TRY(phlora_merge_init(adapters, NULL, 1, memory, MEMORY, &merge));
    if (phlora_merge_scratch_len(merge) > MERGE_SCRATCH) return 1;
    TRY(phlora_merge_rows(merge, 0, weight, sizeof weight, PHLORA_DTYPE_F32, stash, merge_scratch, MERGE_SCRATCH));
    base(merged_y);

    for (int i = 0; i < ROWS; i++) {
        float off = y[i] > merged_y[i] ? y[i] - merged_y[i] : merged_y[i] - y[i];
        if (off > largest) largest = off;
    }
    printf("merged and beside: largest difference %.1e\n", (double)largest);

    /* And out again, to the bit. */
    TRY(phlora_merge_toggle(stash, weight, sizeof weight));
    if (memcmp(before, weight, sizeof weight) != 0) {
        printf("the weight did not come back\n");
        return 1;
    }
    return largest < 1e-4f ? 0 : 1;
}

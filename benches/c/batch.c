/*
 * What the checks of a call cost at a layer, for a decode of 8 tokens with an adapter each, and what the batch, which is
 * checked once, took to prepare. Fails where the checks of a call take more than MOST nanoseconds.
 *
 *   batch
 */
#include <phlora.h>
#include <stdio.h>
#include <string.h>
#include <time.h>

enum { TOKENS = 8, ROWS = 32, COLS = 32, CALLS = 20000, RUNS = 25, MOST = 100 };

static float a[COLS], b[ROWS], x[TOKENS * COLS], y[TOKENS * ROWS], work[1 << 16];
static phlora_adapter adapter;
static const phlora_adapter *real[TOKENS], *none[TOKENS];
static phlora_assignment uses[TOKENS];
static _Alignas(PHLORA_ALIGNMENT) unsigned char memory[2][16384];
static const phlora_inputs inputs = {x, sizeof x, COLS, PHLORA_DTYPE_F32, 0};
static const phlora_outputs outputs = {y, sizeof y, ROWS, PHLORA_DTYPE_F32, 0};
static phlora_batch *batch;
static const phlora_adapter **list;
static unsigned char *room;
static int refused;

#define LAYER ROWS, COLS, TOKENS, list, TOKENS, uses, TOKENS
static void prepare(void) { refused |= phlora_batch_init(LAYER, room, sizeof memory[0], &batch) != 0; }
static void down(void) { refused |= phlora_batch_down(batch, &inputs, 0, 1, work, 1 << 16) != 0; }
static void up(void) { refused |= phlora_batch_up(batch, &outputs, 0, 1, work, 1 << 16) != 0; }

/* Nanoseconds of a call, the least of several runs: what else happens on the machine makes none faster. */
static double nanoseconds(void (*call)(void)) {
    double least = 1e18;
    for (int run = 0; run < RUNS; run++) {
        struct timespec start, end;
        timespec_get(&start, TIME_UTC);
        for (int i = 0; i < CALLS; i++) call();
        timespec_get(&end, TIME_UTC);
        double took = 1e9 * (double)(end.tv_sec - start.tv_sec) + (double)(end.tv_nsec - start.tv_nsec);
        if (took < least) least = took;
    }
    return least / CALLS;
}

/* Both steps of a layer; `what` says what its adapters are. */
static double layer(const char *what, const phlora_adapter **adapters, unsigned char *at) {
    double once, steps[2];
    list = adapters, room = at;
    once = nanoseconds(prepare);
    steps[0] = nanoseconds(down), steps[1] = nanoseconds(up);
    printf("%s: down %.0f ns, up %.0f ns, prepared once in %.0f ns\n", what, steps[0], steps[1], once);
    return steps[0] > steps[1] ? steps[0] : steps[1];
}

int main(void) {
    double checks;
    for (int i = 0; i < COLS; i++) a[i] = (float)(i % 3 - 1);
    for (int i = 0; i < ROWS; i++) b[i] = (float)(i % 5 - 2);
    adapter.struct_size = sizeof adapter;
    adapter.rows = ROWS, adapter.cols = COLS, adapter.rank = 1, adapter.scale = 1;
    adapter.a = a, adapter.a_bytes = sizeof a, adapter.a_dtype = PHLORA_DTYPE_F32;
    adapter.b = b, adapter.b_bytes = sizeof b, adapter.b_dtype = PHLORA_DTYPE_F32;
    for (uint32_t i = 0; i < TOKENS; i++) {
        real[i] = &adapter;
        uses[i] = (phlora_assignment){i, i, 1.0f};
    }
    layer("8 adapters of rank 1, 32 x 32", real, memory[0]);
    /* Adapters that leave the layer alone: nothing is left but the checks. */
    checks = layer("8 adapters without factors here", none, memory[1]);
    if (refused) {
        printf("a call was refused\n");
        return 1;
    }
    printf("checks of a call: %.0f ns, at most %d\n", checks, MOST);
    return checks > MOST;
}

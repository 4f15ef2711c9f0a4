/*
 * Extracts an adapter from two buffers with static memory only: what a firmware or a runtime without a heap does.
 * Prints the kept energy.
 */
#include <phlora.h>
#include <stdio.h>

enum { ROWS = 64, COLS = 64, RANK = 4, BLOCK = 16 };

static float base[ROWS][COLS], tuned[ROWS][COLS];
static float a[RANK * COLS], b[ROWS * RANK], singular_values[RANK];

#if defined(__STDC_VERSION__) && __STDC_VERSION__ >= 201112L
static _Alignas(PHLORA_ALIGNMENT) unsigned char memory[64 * 1024];
#else
static unsigned char memory[64 * 1024] __attribute__((aligned(PHLORA_ALIGNMENT)));
#endif

/* A fine-tuned weight: the base, three strong directions, and a little noise. */
static void make_pair(void) {
    unsigned state = 1;
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < COLS; j++) {
            state = state * 1664525u + 1013904223u;
            base[i][j] = (float)(state >> 8) / 16777216.0f - 0.5f;
            float strong = (float)((i % 5) * (j % 7)) + (float)((i % 3) * (j % 4)) - (float)((i % 11) * (j % 2));
            tuned[i][j] = base[i][j] + 0.01f * strong + 0.02f * ((float)(state & 0xff) / 256.0f - 0.5f);
        }
    }
}

int main(void) {
    phlora_options options;
    phlora_extractor *extractor;
    phlora_report report;
    phlora_status status;

    make_pair();
    status = phlora_options_init(&options, sizeof options);
    options.rank = RANK;
    if (status == PHLORA_STATUS_OK)
        status = phlora_start(&options, ROWS, COLS, memory, sizeof memory, &extractor);
    while (status == PHLORA_STATUS_OK && phlora_wants_pass(extractor)) {
        for (int i = 0; i < ROWS && status == PHLORA_STATUS_OK; i += BLOCK)
            status = phlora_push(extractor, base[i], BLOCK * sizeof base[0], PHLORA_DTYPE_F32,
                                 tuned[i], BLOCK * sizeof tuned[0], PHLORA_DTYPE_F32);
        if (status == PHLORA_STATUS_OK)
            status = phlora_end_pass(extractor);
    }
    if (status == PHLORA_STATUS_OK)
        status = phlora_finish(extractor, a, RANK * COLS, b, ROWS * RANK, singular_values, RANK,
                               &report, sizeof report);
    if (status != PHLORA_STATUS_OK) {
        printf("%s: %s\n", phlora_status_name(status), phlora_status_message(status));
        return 1;
    }
    printf("kept energy %.6f at rank %d in %u reads\n", report.energy, RANK, (unsigned)report.reads);
    return 0;
}

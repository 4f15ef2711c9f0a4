/*
 * A 64×64 layer on a microcontroller, from static buffers, in each mode. Prints the kept energy, the one measured
 * from the factors, and what memory and stack it took; the same source runs on a host for comparison.
 */
#include "stack.h"
#include <phlora.h>
#include <stdio.h>

enum { ROWS = 64, COLS = 64, RANK = 4, BLOCK = 16 };

static float base[ROWS][COLS], tuned[ROWS][COLS];
static float a[RANK][COLS], b[ROWS][RANK], singular_values[RANK];
static unsigned char memory[160 * 1024] __attribute__((aligned(PHLORA_ALIGNMENT)));

/* Four directions, the strongest first, over noise. */
static void make_pair(void) {
    uint32_t state = 1;
    for (int i = 0; i < ROWS; i++) {
        for (int j = 0; j < COLS; j++) {
            float strong = 8.0f * (float)(i % 5 - 2) * (float)(j % 7 - 3) + 4.0f * (float)(i % 3 - 1) * (float)(j % 4 - 2)
                           + 2.0f * (float)(i % 2) * (float)(j % 9 - 4) + (float)(i % 11 - 5) * (float)(j % 2);
            state = state * 1664525u + 1013904223u;
            base[i][j] = (float)(state >> 8) / 16777216.0f - 0.5f;
            tuned[i][j] = base[i][j] + 0.01f * strong + 0.1f * ((float)(state >> 4 & 0xff) / 256.0f - 0.5f);
        }
    }
}

static phlora_status extract(const phlora_options *options, phlora_report *report) {
    phlora_extractor *extractor;
    phlora_status status = phlora_start(options, ROWS, COLS, memory, sizeof memory, &extractor);
    while (status == PHLORA_STATUS_OK && phlora_wants_pass(extractor)) {
        for (int i = 0; i < ROWS && status == PHLORA_STATUS_OK; i += BLOCK)
            status = phlora_push(extractor, base[i], BLOCK * sizeof base[0], PHLORA_DTYPE_F32,
                                 tuned[i], BLOCK * sizeof tuned[0], PHLORA_DTYPE_F32);
        if (status == PHLORA_STATUS_OK)
            status = phlora_end_pass(extractor);
    }
    if (status != PHLORA_STATUS_OK)
        return status;
    return phlora_finish(extractor, a[0], RANK * COLS, b[0], ROWS * RANK, singular_values, RANK,
                         report, sizeof *report);
}

/* 1 − ‖Δ − B·A‖²/‖Δ‖². */
static double measured(void) {
    double all = 0, rest = 0;
    for (int i = 0; i < ROWS; i++)
        for (int j = 0; j < COLS; j++) {
            double delta = (double)(tuned[i][j] - base[i][j]), left = delta;
            for (int k = 0; k < RANK; k++)
                left -= (double)b[i][k] * (double)a[k][j];
            all += delta * delta;
            rest += left * left;
        }
    return 1.0 - rest / all;
}

int main(void) {
    static const struct { const char *name; uint32_t mode; } modes[] = {
        {"exact", PHLORA_MODE_EXACT}, {"multi-read", PHLORA_MODE_MULTI_READ}, {"stream-once", PHLORA_MODE_STREAM_ONCE}};
    make_pair();
    for (int i = 0; i < 3; i++) {
        phlora_options options;
        phlora_plan plan;
        phlora_report report;
        phlora_status status = phlora_options_init(&options, sizeof options);
        options.rank = RANK;
        options.mode = modes[i].mode;
        if (status == PHLORA_STATUS_OK)
            status = phlora_plan_init(&options, ROWS, COLS, &plan, sizeof plan);
        uint32_t *painted = stack_paint();
        if (status == PHLORA_STATUS_OK)
            status = extract(&options, &report);
        size_t stack = stack_used(painted);
        if (status != PHLORA_STATUS_OK) {
            printf("%s: %s\n", modes[i].name, phlora_status_message(status));
            return 1;
        }
        printf("%s energy %.7f measured %.7f reads %u memory %u stack %u\n", modes[i].name, report.energy, measured(),
               (unsigned)report.reads, (unsigned)plan.memory_bytes, (unsigned)stack);
        double error = report.energy - measured();
        if (error > 1e-5 || error < -1e-5)
            return 2;
    }
    return 0;
}

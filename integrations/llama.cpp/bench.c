/* Times decodes of sequences with adapters of their own. bench.py starts one of these with the unchanged libllama and
 * one with the changed, and has them measure in turns:
 *
 *   bench LIBRARIES MODEL THREADS TOKENS STEPS ADAPTER...
 *
 * A line `MODE N` on standard input measures N sequences, the first N adapters: STEPS tokens each behind a prompt of
 * TOKENS (in STEPS decodes), or, where STEPS is 0, the prompts. Printed: milliseconds of CPU and of wall time, of a step.
 * Modes: none (one decode for all), switching (a decode each, llama_set_adapters_lora before it); with the changed
 * libllama also routed (llama_set_seq_adapter, one decode for all) and stacked (the same through ggml_mul_mat_id). */
#define _POSIX_C_SOURCE 200809L
#include "common.h"
#include <time.h>

enum { MOST = 64 };

static double now(clockid_t clock) {
    struct timespec t;
    clock_gettime(clock, &t);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static llama_token token_of(int seq, int pos) {
    return (llama_token)((seq * 37 + pos * 11) % 300);
}

/* Tokens first..first+len of sequences from..to in one decode. */
static void decode(struct llama_context *ctx, struct llama_batch *batch, int from, int to, int first, int len) {
    int seq, pos;
    batch->n_tokens = 0;
    for (seq = from; seq < to; seq++)
        for (pos = first; pos < first + len; pos++)
            add(batch, token_of(seq, pos), pos, seq, pos + 1 == first + len);
    if (llama_decode(ctx, *batch) != 0)
        stop("decode failed", "");
}

int main(int count, char **words) {
    struct llama_model *model;
    struct llama_context *ctx[3] = {NULL};
    struct llama_batch batch = llama_batch_init(2048, 0, 1);
#ifndef CHANGED
    struct llama_adapter_lora *own[MOST];
#endif
    int threads, tokens, steps, adapters, i, n;
    char mode[16];
#ifdef CHANGED
    struct phlora_ggml *set;
    struct phlora_ggml_adapter *ours[MOST];
    char message[512];
#endif
    if (count < 6 || count - 6 > MOST)
        stop("usage", "LIBRARIES MODEL THREADS TOKENS STEPS ADAPTER...");
    model = load(words[1], words[2]);
    threads = atoi(words[3]), tokens = atoi(words[4]), steps = atoi(words[5]), adapters = count - 6;
#ifdef CHANGED
    set = llama_phlora_new(model);
    for (i = 0; i < adapters; i++)
        if (!(ours[i] = phlora_ggml_open(set, words[6 + i], NULL, message, sizeof message)))
            stop("adapter refused", message);
#else
    for (i = 0; i < adapters; i++)
        if (!(own[i] = llama_adapter_lora_init(model, words[6 + i])))
            stop("adapter refused", words[6 + i]);
#endif
    puts("ready");
    fflush(stdout);
    while (scanf("%15s %d", mode, &n) == 2) {
        int stacked = strcmp(mode, "stacked") == 0, routed = stacked || strcmp(mode, "routed") == 0;
        int switching = strcmp(mode, "switching") == 0, which = stacked ? 2 : routed, step;
        double cpu = 0, wall = 0;
        if (n < 1 || n > adapters)
            stop("no so many adapters", mode);
        if (!ctx[which]) {
            ctx[which] = context(model, MOST, tokens + steps + 8, 512, threads, false);
#ifdef CHANGED
            if (routed && !llama_phlora_attach(ctx[which], set, stacked))
                stop("not attached", mode);
#endif
        }
        llama_memory_clear(llama_get_memory(ctx[which]), true);
#ifdef CHANGED
        if (switching)
            stop("is measured with the unchanged libllama", mode);
        for (i = 0; routed && i < MOST; i++)
            llama_set_seq_adapter(ctx[which], i, NULL, 0);
        for (i = 0; routed && i < n; i++)
            llama_set_seq_adapter(ctx[which], i, ours[i], 1);
#else
        if (routed)
            stop("needs the changed libllama", mode);
#endif
        if (!switching)
            llama_set_adapters_lora(ctx[which], NULL, 0, NULL);
        for (step = steps ? -1 : 0; step < (steps ? steps : 1); step++) {
            int first = step < 0 || !steps ? 0 : tokens + step, len = step < 0 || !steps ? tokens : 1;
            if (step <= 0) {
                /* What is reserved once is in bench.py's first round, which is not counted; switching reserves each time. */
                cpu = now(CLOCK_PROCESS_CPUTIME_ID);
                wall = now(CLOCK_MONOTONIC);
            }
            if (!switching || step < 0) {
                decode(ctx[which], &batch, 0, n, first, len);
                if (step < 0 && !switching) {
                    decode(ctx[which], &batch, 0, n, tokens, 1);
                    for (i = 0; i < n; i++)
                        llama_memory_seq_rm(llama_get_memory(ctx[which]), i, tokens, -1);
                }
                continue;
            }
#ifndef CHANGED
            for (i = 0; i < n; i++) {
                float one = 1;
                llama_set_adapters_lora(ctx[which], &own[i], 1, &one);
                decode(ctx[which], &batch, i, i + 1, first, len);
            }
#endif
        }
        cpu = now(CLOCK_PROCESS_CPUTIME_ID) - cpu;
        wall = now(CLOCK_MONOTONIC) - wall;
        printf("%.4f %.4f\n", cpu / (steps ? steps : 1), wall / (steps ? steps : 1));
        fflush(stdout);
    }
    return 0;
}

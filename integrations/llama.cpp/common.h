/* What check.c and bench.c share: a model, its contexts, batches of sequences. */
#ifndef COMMON_H
#define COMMON_H

#include <ggml-backend.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#ifdef CHANGED
#include <phlora-llama.h>
#endif

static void say(enum ggml_log_level level, const char *text, void *unused) {
    (void)unused;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

static void stop(const char *what, const char *which) {
    fprintf(stderr, "%s: %s\n", what, which);
    exit(1);
}

static struct llama_model *load(const char *libraries, const char *path) {
    struct llama_model *model;
    llama_log_set(say, NULL);
    ggml_backend_load_all_from_path(libraries);
    llama_backend_init();
    model = llama_model_load_from_file(path, llama_model_default_params());
    if (!model)
        stop("model refused", path);
    return model;
}

static struct llama_context *context(struct llama_model *model, int sequences, int per_sequence, int ubatch, int threads,
                                     bool unified) {
    struct llama_context_params params = llama_context_default_params();
    struct llama_context *made;
    params.n_ctx = (uint32_t)(sequences * per_sequence);
    params.n_seq_max = (uint32_t)sequences;
    params.n_batch = params.n_ctx < 2048 ? params.n_ctx : 2048;
    params.n_ubatch = (uint32_t)ubatch;
    params.n_threads = params.n_threads_batch = threads;
    params.kv_unified = unified;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.no_perf = true;
    made = llama_init_from_model(model, params);
    if (!made)
        stop("no context", "");
    return made;
}

static void add(struct llama_batch *batch, llama_token token, int pos, int seq, bool logits) {
    int at = batch->n_tokens++;
    batch->token[at] = token;
    batch->pos[at] = pos;
    batch->n_seq_id[at] = 1;
    batch->seq_id[at][0] = seq;
    batch->logits[at] = logits;
}

#endif

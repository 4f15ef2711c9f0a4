/* Evaluates a sequence in llama.cpp with adapters, by phlora's operator or by llama.cpp's own path:
 *
 *   evaluate LIBRARIES MODEL IDS OUT THREADS REPEATS [operator|own ADAPTER SCALE]...
 *
 * IDS holds int32 tokens; OUT receives the float32 logits of each. Then REPEATS times the last token is decoded again by
 * itself, as in generation, and the milliseconds are printed of loading the model, of loading and checking the
 * adapters, and the least of a token. */
#include "operator.h"
#include <ggml-backend.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>
#include <time.h>

enum { MOST = 16 };

static void say(enum ggml_log_level level, const char *text, void *unused) {
    (void)unused;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

static int stop(const char *what, const char *which) {
    fprintf(stderr, "evaluate: %s: %s\n", what, which);
    return 1;
}

static double now(void) {
    struct timespec t;
    timespec_get(&t, TIME_UTC);
    return 1e3 * (double)t.tv_sec + 1e-6 * (double)t.tv_nsec;
}

static void set(struct llama_batch *batch, const llama_token *ids, size_t len, size_t first, int all) {
    size_t i;
    for (i = 0; i < len; i++) {
        batch->token[i] = ids[i];
        batch->pos[i] = (llama_pos)(first + i);
        batch->n_seq_id[i] = 1;
        batch->seq_id[i][0] = 0;
        batch->logits[i] = (int8_t)(all || i + 1 == len);
    }
    batch->n_tokens = (int32_t)len;
}

int main(int count, char **words) {
    struct llama_adapter_lora *own[MOST];
    float scales[MOST];
    size_t own_len = 0, len, i;
    struct llama_model *model;
    struct llama_context *context;
    struct llama_context_params params = llama_context_default_params();
    struct llama_batch batch;
    llama_token *ids;
    FILE *file;
    long size;
    int at, threads, repeats, used[MOST], used_len = 0;
    float used_scales[MOST];
    struct llama_model_params loading;
    double least = 1e9, started, model_loaded, adapters_loaded;

    if (count < 7 || (count - 7) % 3 != 0 || (count - 7) / 3 > MOST)
        return stop("usage", "LIBRARIES MODEL IDS OUT THREADS REPEATS [operator|own ADAPTER SCALE]...");
    threads = atoi(words[5]);
    repeats = atoi(words[6]);
    file = fopen(words[3], "rb");
    if (!file || fseek(file, 0, SEEK_END) || (size = ftell(file)) < (long)sizeof *ids || fseek(file, 0, SEEK_SET))
        return stop("cannot read", words[3]);
    len = (size_t)size / sizeof *ids;
    ids = malloc(len * sizeof *ids);
    if (!ids || fread(ids, sizeof *ids, len, file) != len)
        return stop("cannot read", words[3]);
    fclose(file);

    llama_log_set(say, NULL);
    ggml_backend_load_all_from_path(words[1]);
    llama_backend_init();
    started = now();
    loading = llama_model_default_params();
    /* Reading instead of mapping: every byte has been touched when it is ready. */
    loading.load_mode = getenv("EVALUATE_READS") ? LLAMA_LOAD_MODE_NONE : LLAMA_LOAD_MODE_MMAP;
    model = llama_model_load_from_file(words[2], loading);
    if (!model)
        return stop("model refused", words[2]);
    model_loaded = now();
    for (at = 7; at < count; at += 3) {
        float scale = strtof(words[at + 2], NULL);
        if (strcmp(words[at], "own") == 0) {
            own[own_len] = llama_adapter_lora_init(model, words[at + 1]);
            if (!own[own_len])
                return stop("adapter refused", words[at + 1]);
            scales[own_len++] = scale;
        } else {
            used[used_len] = operator_load(words[at + 1]);
            if (used[used_len] < 0)
                return 2;
            used_scales[used_len++] = scale;
        }
    }
    if (operator_check(words[2]) < 0 || operator_prepare(len, (size_t)threads) < 0)
        return 2;
    adapters_loaded = now();

    params.n_ctx = (uint32_t)(len + (size_t)repeats + 1);
    params.n_batch = params.n_ubatch = (uint32_t)len;
    params.n_threads = params.n_threads_batch = threads;
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.no_perf = true;
    context = llama_init_from_model(model, params);
    if (!context || llama_set_adapters_lora(context, own, own_len, scales) != 0)
        return stop("no context with these adapters", words[2]);
    /* From here on they work. */
    for (at = 0; at < used_len; at++)
        if (operator_use(used[at], used_scales[at]) < 0)
            return 2;

    batch = llama_batch_init((int32_t)len, 0, 1);
    if (getenv("EVALUATE_SECOND")) {
        /* Another model before this one, which the operator must not mistake for it. */
        struct llama_model *other = llama_model_load_from_file(getenv("EVALUATE_SECOND"), loading);
        struct llama_context *beside = other ? llama_init_from_model(other, params) : NULL;
        set(&batch, ids, 1, 0, 1);
        if (!beside || llama_decode(beside, batch) != 0)
            return stop("decode failed", getenv("EVALUATE_SECOND"));
    }
    set(&batch, ids, len, 0, 1);
    if (llama_decode(context, batch) != 0)
        return stop("decode failed", words[2]);
    file = fopen(words[4], "wb");
    if (!file)
        return stop("cannot write", words[4]);
    for (i = 0; i < len; i++)
        fwrite(llama_get_logits_ith(context, (int32_t)i), sizeof(float),
               (size_t)llama_vocab_n_tokens(llama_model_get_vocab(model)), file);
    if (fclose(file) != 0)
        return stop("cannot write", words[4]);
    for (at = 0; at < repeats; at++) {
        double start = now(), took;
        set(&batch, ids + len - 1, 1, len + (size_t)at, 1);
        if (llama_decode(context, batch) != 0)
            return stop("decode failed", words[2]);
        took = now() - start;
        least = took < least ? took : least;
    }
    if (repeats > 0)
        printf("%.4f %.4f %.4f\n", model_loaded - started, adapters_loaded - model_loaded, least);
    llama_batch_free(batch);
    llama_free(context);
    llama_model_free(model);
    free(ids);
    return 0;
}

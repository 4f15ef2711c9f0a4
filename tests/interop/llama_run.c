/* What the tests ask of the real llama.cpp, as a process of its own, since a malformed adapter may end it.
 *
 *   llama_run LIBRARIES logits MODEL TOKENS LENGTH OUT [HOW ADAPTER SCALE]...
 *   llama_run LIBRARIES quantize MODEL OUT FTYPE
 *
 * TOKENS holds int32 ids, OUT receives float32 logits for each of them; each LENGTH ids are a sequence by itself.
 * HOW is `path`, `buffer` (a FILE* over memory) or `inside` (a FILE* that stands 64 bytes into memory).
 * Exit: 0, 1 for bad usage, 3 model refused, 4 adapter refused, 5 evaluation refused, 6 quantisation refused.
 * Attention's cache is f32 and not fused, so that what differs is the weights' doing. */
#define _GNU_SOURCE
#include <ggml-backend.h>
#include <llama.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { BAD_USAGE = 1, MODEL = 3, ADAPTER = 4, EVALUATION = 5, QUANTIZATION = 6, MOST_ADAPTERS = 8, OFFSET = 64 };

static void say(enum ggml_log_level level, const char *text, void *unused) {
    (void)unused;
    if (level == GGML_LOG_LEVEL_WARN || level == GGML_LOG_LEVEL_ERROR || level == GGML_LOG_LEVEL_CONT)
        fputs(text, stderr);
}

static void stop(int code, const char *what, const char *which) {
    fprintf(stderr, "llama_run: %s: %s\n", what, which);
    exit(code);
}

/* The whole file, behind `before` bytes of something else. */
static char *slurp(const char *path, size_t before, size_t *size) {
    FILE *file = fopen(path, "rb");
    char *bytes;
    long length;
    if (!file || fseek(file, 0, SEEK_END) || (length = ftell(file)) < 0 || fseek(file, 0, SEEK_SET))
        stop(BAD_USAGE, "cannot read", path);
    bytes = malloc(before + (size_t)length + 1);
    if (!bytes)
        stop(BAD_USAGE, "no memory for", path);
    memset(bytes, 'x', before);
    if (fread(bytes + before, 1, (size_t)length, file) != (size_t)length)
        stop(BAD_USAGE, "cannot read", path);
    fclose(file);
    *size = before + (size_t)length;
    return bytes;
}

static struct llama_adapter_lora *load_adapter(struct llama_model *model, const char *how, const char *path) {
    struct llama_adapter_lora *adapter;
    size_t size, before = strcmp(how, "inside") == 0 ? OFFSET : 0;
    FILE *file;
    char *bytes;
    if (strcmp(how, "path") == 0)
        return llama_adapter_lora_init(model, path);
    if (strcmp(how, "buffer") != 0 && strcmp(how, "inside") != 0)
        stop(BAD_USAGE, "no such way to load", how);
    bytes = slurp(path, before, &size);
    file = fmemopen(bytes, size, "rb");
    if (!file || fseek(file, (long)before, SEEK_SET))
        stop(BAD_USAGE, "fmemopen failed for", path);
    adapter = llama_adapter_lora_init_from_file_ptr(model, file);
    fclose(file);
    free(bytes); /* adapters are copied */
    return adapter;
}

static int logits(int count, char **words) {
    struct llama_adapter_lora *adapters[MOST_ADAPTERS];
    float scales[MOST_ADAPTERS];
    struct llama_model_params model_params = llama_model_default_params();
    struct llama_context_params params = llama_context_default_params();
    struct llama_model *model;
    struct llama_context *context;
    size_t size, tokens, length, row, used = 0, vocabulary;
    const char *path;
    llama_token *ids;
    FILE *out;

    if (count < 4 || (count - 4) % 3 != 0 || (count - 4) / 3 > MOST_ADAPTERS)
        stop(BAD_USAGE, "arguments", "logits");
    ids = (llama_token *)(void *)slurp(words[1], 0, &size);
    tokens = size / sizeof *ids;
    length = strtoul(words[2], NULL, 10);
    path = words[3];
    if (length == 0 || tokens % length != 0)
        stop(BAD_USAGE, "not whole sequences", words[1]);

    model = llama_model_load_from_file(words[0], model_params);
    if (!model)
        stop(MODEL, "model refused", words[0]);
    for (words += 4, count -= 4; count > 0; words += 3, count -= 3, used++) {
        scales[used] = strtof(words[2], NULL);
        adapters[used] = load_adapter(model, words[0], words[1]);
        if (!adapters[used])
            stop(ADAPTER, "adapter refused", words[1]);
    }

    params.n_ctx = params.n_batch = params.n_ubatch = (uint32_t)length;
    params.n_threads = params.n_threads_batch = 1; /* more spin at barriers, and crawl where processors are shared */
    params.type_k = params.type_v = GGML_TYPE_F32;
    params.flash_attn_type = LLAMA_FLASH_ATTN_TYPE_DISABLED;
    params.no_perf = true;
    context = llama_init_from_model(model, params);
    if (!context || llama_set_adapters_lora(context, adapters, used, scales) != 0)
        stop(EVALUATION, "no context with these adapters", "");

    out = fopen(path, "wb");
    if (!out)
        stop(BAD_USAGE, "cannot write", path);
    vocabulary = (size_t)llama_vocab_n_tokens(llama_model_get_vocab(model));
    for (row = 0; row < tokens; row += length) {
        struct llama_batch batch = llama_batch_init((int32_t)length, 0, 1);
        size_t i;
        for (i = 0; i < length; i++) {
            batch.token[i] = ids[row + i];
            batch.pos[i] = (llama_pos)i;
            batch.n_seq_id[i] = 1;
            batch.seq_id[i][0] = 0;
            batch.logits[i] = 1;
        }
        batch.n_tokens = (int32_t)length;
        llama_memory_clear(llama_get_memory(context), true);
        if (llama_decode(context, batch) != 0)
            stop(EVALUATION, "decode failed", "");
        for (i = 0; i < length; i++)
            fwrite(llama_get_logits_ith(context, (int32_t)i), sizeof(float), vocabulary, out);
        llama_batch_free(batch);
    }
    if (fclose(out) != 0)
        stop(BAD_USAGE, "cannot write", path);
    llama_free(context);
    llama_model_free(model); /* frees its adapters */
    free(ids);
    return 0;
}

static int quantize(int count, char **words) {
    struct llama_model_quantize_params params = llama_model_quantize_default_params();
    if (count != 3)
        stop(BAD_USAGE, "arguments", "quantize");
    params.nthread = 2;
    params.ftype = (enum llama_ftype)strtol(words[2], NULL, 10);
    params.pure = true;
    if (llama_model_quantize(words[0], words[1], &params) != 0)
        stop(QUANTIZATION, "quantisation refused", words[0]);
    return 0;
}

int main(int count, char **words) {
    if (count < 3)
        stop(BAD_USAGE, "arguments", "none");
    llama_log_set(say, NULL);
    ggml_backend_load_all_from_path(words[1]);
    llama_backend_init();
    if (strcmp(words[2], "logits") == 0)
        return logits(count - 3, words + 3);
    if (strcmp(words[2], "quantize") == 0)
        return quantize(count - 3, words + 3);
    stop(BAD_USAGE, "no such command", words[2]);
    return BAD_USAGE;
}

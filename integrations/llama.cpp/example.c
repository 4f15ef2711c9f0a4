/* Several adapters in one batch of the changed llama.cpp: each answers the same prompt, 32 tokens, greedily.
 *
 *   example MODEL.gguf PROMPT ADAPTER...          without an adapter: the model alone */
#include <ggml-backend.h>
#include <phlora-llama.h>
#include <stdio.h>
#include <stdlib.h>

/* Threads of ggml wait for each other in loops: no more than processors that have nothing else to do. */
enum { ROOM = 512, ANSWER = 32, THREADS = 1 };

static void stop(const char *what, const char *why) {
    fprintf(stderr, "%s: %s\n", what, why);
    exit(1);
}

static void add(struct llama_batch *batch, llama_token token, int pos, int seq, bool logits) {
    int at = batch->n_tokens++;
    batch->token[at] = token;
    batch->pos[at] = pos;
    batch->n_seq_id[at] = 1;
    batch->seq_id[at][0] = seq;
    batch->logits[at] = logits;
}

static llama_token likeliest(const float *logits, int vocabulary) {
    int i, best = 0;
    for (i = 1; i < vocabulary; i++)
        if (logits[i] > logits[best])
            best = i;
    return best;
}

static void say(enum ggml_log_level level, const char *text, void *unused) {
    (void)unused;
    if (level == GGML_LOG_LEVEL_ERROR)
        fputs(text, stderr);
}

int main(int count, char **words) {
    const int sequences = count > 3 ? count - 3 : 1;
    struct llama_context_params params = llama_context_default_params();
    struct llama_model *model;
    struct llama_context *ctx;
    struct llama_batch batch;
    struct phlora_ggml *set;
    const struct llama_vocab *vocab;
    llama_token prompt[ROOM], (*answers)[ANSWER] = calloc((size_t)sequences, sizeof *answers);
    char message[512], text[256];
    int len, seq, i;
    if (count < 3 || !answers)
        stop("usage", "example MODEL.gguf PROMPT ADAPTER...");
    llama_log_set(say, NULL);
    ggml_backend_load_all();
    model = llama_model_load_from_file(words[1], llama_model_default_params());
    if (!model)
        stop(words[1], "no model");
    vocab = llama_model_get_vocab(model);
    for (len = 0; words[2][len]; len++) {}
    len = llama_tokenize(vocab, words[2], len, prompt, ROOM, true, true);
    if (len < 1)
        stop(words[2], "no prompt, or a longer one than 512 tokens");
    params.n_seq_max = (uint32_t)sequences;
    params.n_ctx = (uint32_t)(sequences * (len + ANSWER));
    params.n_batch = params.n_ctx;
    params.n_threads = params.n_threads_batch = THREADS;
    ctx = llama_init_from_model(model, params);
    if (!ctx)
        stop(words[1], "no context");

    set = llama_phlora_new(model);
    if (!set || !llama_phlora_attach(ctx, set, false))
        stop(words[1], "no memory for adapters");
    for (seq = 0; seq + 3 < count; seq++) {
        struct phlora_ggml_adapter *adapter = phlora_ggml_open(set, words[seq + 3], words[1], message, sizeof message);
        if (!adapter)
            stop("adapter refused", message);
        llama_set_seq_adapter(ctx, seq, adapter, 1.0f);
    }

    batch = llama_batch_init((int32_t)params.n_batch, 0, 1);
    for (seq = 0; seq < sequences; seq++)
        for (i = 0; i < len; i++)
            add(&batch, prompt[i], i, seq, i + 1 == len);
    for (i = 0; i < ANSWER; i++) {
        if (llama_decode(ctx, batch) != 0)
            stop(words[1], "llama_decode failed");
        for (seq = 0; seq < sequences; seq++) {
            int row = i == 0 ? (seq + 1) * len - 1 : seq;
            answers[seq][i] = likeliest(llama_get_logits_ith(ctx, row), llama_vocab_n_tokens(vocab));
        }
        for (batch.n_tokens = 0, seq = 0; seq < sequences; seq++)
            add(&batch, answers[seq][i], len + i, seq, true);
    }
    for (seq = 0; seq < sequences; seq++) {
        printf("%s: ", count > 3 ? words[seq + 3] : "no adapter");
        for (i = 0; i < ANSWER; i++) {
            int bytes = llama_token_to_piece(vocab, answers[seq][i], text, sizeof text, 0, true);
            fwrite(text, 1, bytes > 0 ? (size_t)bytes : 0, stdout);
        }
        printf("\n");
    }
    llama_batch_free(batch);
    llama_free(ctx);
    phlora_ggml_free(set);
    llama_model_free(model);
    free(answers);
    return 0;
}

/* Whether many adapters in a batch give what each gives by itself:
 *
 *   check LIBRARIES MODEL THREADS SCHEDULES BOUND ADAPTER...
 *
 * ADAPTER is a file, or OURS=OWN where libllama's own path takes another one.
 *
 * Logits with all adapters in the batch are compared, to the bit, with the same batch in which one sequence alone has its
 * adapter, and, within BOUND of their root mean square, with libllama's own path and with stacked factors. Then SCHEDULES
 * random schedules of sequences that join, change adapters and leave. Prints figures; exits 1 where something differs. */
#include "common.h"
#include <math.h>

enum { SEQUENCES = 8, PROMPT = 5, MOST = 64, PER_SEQUENCE = 40 };

static int vocabulary, adapters, failures;
static struct phlora_ggml_adapter *ours[MOST];
static struct llama_adapter_lora *own[MOST];
static struct llama_batch batch;

static void expect(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "check: not so: %s\n", what);
    failures++;
}

static llama_token token_of(int seq, int pos) {
    return (llama_token)((seq * 37 + pos * 11 + 3) % (vocabulary < 300 ? vocabulary : 300));
}

static void run(struct llama_context *ctx, const char *what) {
    if (llama_decode(ctx, batch) != 0)
        stop("decode failed", what);
}

/* A prompt of all sequences, of different lengths, all of whose rows are kept, then two tokens each: all logits. */
static float *logits(struct llama_context *ctx) {
    float *all = malloc(sizeof *all * (size_t)vocabulary * SEQUENCES * (PROMPT + SEQUENCES + 2)), *to = all;
    int seq, pos, step;
    llama_memory_clear(llama_get_memory(ctx), true);
    batch.n_tokens = 0;
    for (seq = 0; seq < SEQUENCES; seq++)
        for (pos = 0; pos < PROMPT + seq; pos++)
            add(&batch, token_of(seq, pos), pos, seq, pos + 2 >= PROMPT + seq);
    for (step = 0; step <= 2; step++) {
        int i;
        if (step > 0)
            for (batch.n_tokens = 0, seq = 0; seq < SEQUENCES; seq++)
                add(&batch, token_of(seq, PROMPT + seq + step), PROMPT + seq + step - 1, seq, true);
        run(ctx, "logits");
        for (seq = 0; seq < SEQUENCES; seq++) {
            const float *last = NULL;
            for (i = 0; i < batch.n_tokens; i++)
                if (batch.seq_id[i][0] == seq && batch.logits[i])
                    last = llama_get_logits_ith(ctx, i);
            memcpy(to, last, sizeof *to * (size_t)vocabulary);
            to += vocabulary;
        }
    }
    return all;
}

/* Of one sequence: the largest difference in units of the root mean square of `b`. */
static double apart(const float *a, const float *b, int seq) {
    double most = 0, squares = 0;
    int step, i;
    for (step = 0; step <= 2; step++)
        for (i = 0; i < vocabulary; i++) {
            size_t at = (size_t)(step * SEQUENCES + seq) * (size_t)vocabulary + (size_t)i;
            most = fmax(most, fabs((double)a[at] - b[at]));
            squares += (double)b[at] * b[at];
        }
    return most / sqrt(squares / (3.0 * vocabulary));
}

/* Sequence `seq` uses adapter seq % adapters, and sequence 0 two where there are two. `only`: no other does; -1: all. */
static void use(struct llama_context *ctx, int only) {
    int seq;
    for (seq = 0; seq < SEQUENCES; seq++) {
        expect(llama_set_seq_adapter(ctx, seq, NULL, 0), "nothing in use");
        if (only >= 0 && only != seq)
            continue;
        expect(llama_set_seq_adapter(ctx, seq, ours[seq % adapters], 0.5f + 0.1f * (float)seq), "in use");
        if (seq == 0 && adapters > 1)
            expect(llama_set_seq_adapter(ctx, seq, ours[1], -0.25f), "a second one in use");
    }
}

static float *own_path(struct llama_context *ctx, int seq) {
    struct llama_adapter_lora *list[2] = {own[seq % adapters], own[adapters > 1]};
    float scales[2] = {0.5f + 0.1f * (float)seq, -0.25f};
    llama_set_adapters_lora(ctx, list, seq == 0 && adapters > 1 ? 2 : 1, scales);
    return logits(ctx);
}

static void compare(struct llama_model *model, struct phlora_ggml *set, int ubatch, int threads, bool unified, double bound) {
    struct llama_context *ctx = context(model, SEQUENCES, PER_SEQUENCE, ubatch, threads, unified);
    struct llama_context *stacked = context(model, SEQUENCES, PER_SEQUENCE, ubatch, threads, unified);
    struct llama_context *plain = context(model, SEQUENCES, PER_SEQUENCE, ubatch, threads, unified);
    float *none = logits(plain), *all, *again, *side;
    double most = 0, of_stacked = 0, least = INFINITY;
    int seq;
    expect(!llama_set_seq_adapter(ctx, 0, ours[0], 1), "without a set no adapter");
    expect(llama_phlora_attach(ctx, set, false) && llama_phlora_attach(stacked, set, true), "attached");
    again = logits(ctx);
    expect(memcmp(none, again, sizeof *none * 3 * SEQUENCES * (size_t)vocabulary) == 0, "attached without use, nothing changes");
    free(again);
    use(ctx, -1);
    use(stacked, -1);
    all = logits(ctx);
    side = logits(stacked);
    for (seq = 0; seq < SEQUENCES; seq++) {
        float *alone, *reference = own_path(plain, seq);
        int step;
        use(ctx, seq);
        alone = logits(ctx);
        for (step = 0; step <= 2; step++) {
            size_t at = (size_t)(step * SEQUENCES + seq) * (size_t)vocabulary;
            expect(memcmp(all + at, alone + at, sizeof *all * (size_t)vocabulary) == 0, "bits in the batch are bits alone");
        }
        most = fmax(most, apart(all, reference, seq));
        of_stacked = fmax(of_stacked, apart(side, reference, seq));
        least = fmin(least, apart(none, reference, seq));
        free(alone);
        free(reference);
    }
    printf("ubatch %d, threads %d, %s: from its own path %.2e, stacked %.2e, without an adapter at least %.2e\n", ubatch, threads,
           unified ? "unified" : "streams", most, of_stacked, least);
    expect(most <= bound && of_stacked <= bound, "within the bound of libllama's own path");
    expect(least > 10 * bound, "adapters do something");
    free(none), free(all), free(side);
    llama_free(ctx), llama_free(stacked), llama_free(plain);
}

static uint64_t state;

static int below(int n) {
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (int)((state >> 33) % (uint64_t)n);
}

/* One schedule; the logits of sequence `watched` at each step go to `to`. `only`: no other sequence has its adapter. */
static int schedule(struct llama_context *ctx, uint64_t seed, int watched, bool only, float *to) {
    int length[SEQUENCES] = {0}, seq, step, rows = 0;
    state = seed;
    llama_memory_clear(llama_get_memory(ctx), true);
    for (seq = 0; seq < SEQUENCES; seq++)
        llama_set_seq_adapter(ctx, seq, NULL, 0);
    for (step = 0; step < 12; step++) {
        int last = -1;
        batch.n_tokens = 0;
        for (seq = 0; seq < SEQUENCES; seq++) {
            int what = below(8), adapter = below(adapters), prompt = 1 + below(6), i;
            float scale = 0.25f * (float)(1 + below(6));
            if (length[seq] > 0 && (what == 0 || length[seq] > PER_SEQUENCE - 8)) {
                llama_memory_seq_rm(llama_get_memory(ctx), seq, -1, -1);
                llama_set_seq_adapter(ctx, seq, NULL, 0);
                length[seq] = 0;
            } else if (length[seq] == 0 && what < 4) {
                if (!only || seq == watched)
                    llama_set_seq_adapter(ctx, seq, ours[adapter], scale);
                for (i = 0; i < prompt; i++)
                    add(&batch, token_of(seq + step, i), i, seq, i + 1 == prompt);
                length[seq] = prompt;
            } else if (length[seq] > 0 && what < 7) {
                if (what == 1 && (!only || seq == watched)) {
                    llama_set_seq_adapter(ctx, seq, NULL, 0);
                    llama_set_seq_adapter(ctx, seq, ours[adapter], scale);
                }
                add(&batch, token_of(seq, length[seq]), length[seq], seq, true);
                length[seq]++;
            } else {
                continue;
            }
            last = seq == watched && length[seq] > 0 ? batch.n_tokens - 1 : last;
        }
        if (batch.n_tokens == 0)
            continue;
        run(ctx, "schedule");
        if (last >= 0) {
            memcpy(to + (size_t)rows * (size_t)vocabulary, llama_get_logits_ith(ctx, last), sizeof *to * (size_t)vocabulary);
            rows++;
        }
    }
    return rows;
}

int main(int count, char **words) {
    struct llama_model *model;
    struct phlora_ggml *set;
    char message[512];
    int threads, schedules, i, rows = 0;
    double bound;
    if (count < 7 || count - 6 > MOST)
        stop("usage", "LIBRARIES MODEL THREADS SCHEDULES BOUND ADAPTER...");
    model = load(words[1], words[2]);
    vocabulary = llama_vocab_n_tokens(llama_model_get_vocab(model));
    threads = atoi(words[3]), schedules = atoi(words[4]), bound = atof(words[5]), adapters = count - 6;
    set = llama_phlora_new(model);
    batch = llama_batch_init(512, 0, 1);
    for (i = 0; i < adapters; i++) {
        char *other = strchr(words[6 + i], '=');
        if (other)
            *other++ = 0;
        ours[i] = phlora_ggml_open(set, words[6 + i], words[2], message, sizeof message);
        if (!ours[i])
            stop("adapter refused", message);
        own[i] = llama_adapter_lora_init(model, other ? other : words[6 + i]);
        if (!own[i])
            stop("adapter refused by libllama", words[6 + i]);
    }
    expect(!phlora_ggml_open(set, words[2], NULL, message, sizeof message) && message[0], "a model is no adapter");
    compare(model, set, 128, threads, true, bound);
    compare(model, set, 16, threads, true, bound);
    compare(model, set, 16, threads, false, bound);
    if (schedules > 0) {
        struct llama_context *ctx = context(model, SEQUENCES, PER_SEQUENCE, 16, threads, true);
        float *many = malloc(sizeof *many * 12 * (size_t)vocabulary), *alone = malloc(sizeof *alone * 12 * (size_t)vocabulary);
        expect(llama_phlora_attach(ctx, set, false), "attached");
        for (i = 0; i < schedules; i++) {
            int watched = i % SEQUENCES, found = schedule(ctx, (uint64_t)i, watched, false, many);
            expect(found == schedule(ctx, (uint64_t)i, watched, true, alone) &&
                       memcmp(many, alone, sizeof *many * (size_t)found * (size_t)vocabulary) == 0,
                   "a schedule gives each sequence what it gets without the others' adapters");
            rows += found;
        }
        printf("%d schedules, %d rows of logits compared\n", schedules, rows);
        expect(rows > 2 * schedules, "there was something to compare");
        for (i = 0; i < SEQUENCES; i++)
            llama_set_seq_adapter(ctx, i, ours[0], 1);
        expect(!phlora_ggml_close(ours[0]), "an adapter in use is not closed");
        llama_free(ctx);
        free(many), free(alone);
    }
    expect(phlora_ggml_close(ours[0]), "an adapter that nobody uses is closed");
    llama_batch_free(batch);
    phlora_ggml_free(set);
    llama_model_free(model);
    return failures != 0;
}

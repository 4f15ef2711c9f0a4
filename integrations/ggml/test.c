/* Adapters in a graph of ggml's own, against sums in double:
 *
 *   test LIBRARIES THREADS ADAPTER...
 *
 * The model is made here: two matrices with a selection of output rows between them, and two stacks of four experts. Every
 * adapter has factors for some of them. Exits 1 where something differs. */
#include "phlora_ggml.h"
#include <ggml-alloc.h>
#include <ggml-backend.h>
#include <math.h>
#include <phlora.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

enum { IN = 64, OUT = 96, INNER = 32, EXPERTS = 4, CHOSEN = 2, TOKENS = 40, OUTPUTS = 9, WEIGHTS = 4, MOST = 128 };

static const char *NAMES[WEIGHTS] = {"blk.0.attn_q.weight", "blk.0.attn_output.weight", "blk.0.ffn_up_exps.weight",
                                     "blk.0.ffn_down_exps.weight"};
static const int64_t SHAPES[WEIGHTS][3] = {{IN, OUT, 1}, {OUT, IN, 1}, {IN, INNER, EXPERTS}, {INNER, IN, EXPERTS}};
static int failures;

struct run {
    float y[TOKENS * OUT], z[OUTPUTS * IN], up[TOKENS * CHOSEN * INNER], down[TOKENS * CHOSEN * IN];
};

struct use {
    int token, adapter;
    float weight;
};

static struct ggml_tensor *weights[WEIGHTS];
static float x[TOKENS * IN], values[WEIGHTS][OUT * IN * EXPERTS];
static int32_t out_ids[OUTPUTS], ids[TOKENS * CHOSEN];
static struct phlora_ggml_adapter *adapters[MOST];
static struct phlora_adapter_file *files[MOST];
static size_t modules[MOST];
static ggml_backend_t backend;
static char message[512];

static void expect(bool holds, const char *what) {
    if (holds)
        return;
    fprintf(stderr, "test: not so: %s (%s)\n", what, message);
    failures++;
}

static float noise(void) {
    static uint64_t state = 1;
    state = state * 6364136223846793005u + 1442695040888963407u;
    return (float)((double)(state >> 40) / (1 << 23) - 1);
}

/* y += weight · s·B·(A·x) of module `name`, expert `expert`, in double. */
static void reference(int adapter, const char *name, size_t expert, float weight, const double *in, double *y) {
    size_t i, k, r;
    for (i = 0; i < modules[adapter]; i++) {
        struct phlora_adapter_module module;
        struct phlora_adapter *f = &module.factors;
        float *a, *b;
        phlora_adapter_file_module(files[adapter], i, &module, sizeof module);
        if (strcmp(module.weight, name) != 0 || module.expert != expert)
            continue;
        a = malloc(sizeof *a * f->rank * f->cols), b = malloc(sizeof *b * f->rank * f->rows);
        phlora_decode(f->a, f->a_bytes, f->a_dtype, a, f->rank * f->cols);
        phlora_decode(f->b, f->b_bytes, f->b_dtype, b, f->rank * f->rows);
        for (r = 0; r < f->rank; r++) {
            double t = 0;
            for (k = 0; k < f->cols; k++)
                t += a[r * f->cols + k] * in[k];
            for (k = 0; k < f->rows; k++)
                y[k] += (double)weight * f->scale * b[k * f->rank + r] * t;
        }
        free(a), free(b);
    }
}

static void layer(const struct use *uses, int count, int token, int w, size_t expert, const double *in, double *out) {
    int64_t i, k, cols = SHAPES[w][0], rows = SHAPES[w][1];
    for (i = 0; i < rows; i++)
        for (out[i] = 0, k = 0; k < cols; k++)
            out[i] += (double)values[w][((int64_t)expert * rows + i) * cols + k] * in[k];
    for (i = 0; i < count; i++)
        if (uses[i].token == token)
            reference(uses[i].adapter, NAMES[w], expert, uses[i].weight, in, out);
}

static void expected(const struct use *uses, int count, double *y, double *z, double *up, double *down) {
    double in[IN];
    int token, i;
    for (token = 0; token < TOKENS; token++) {
        for (i = 0; i < IN; i++)
            in[i] = x[token * IN + i];
        layer(uses, count, token, 0, 0, in, y + token * OUT);
        for (i = 0; i < CHOSEN; i++) {
            size_t row = (size_t)(token * CHOSEN + i), expert = (size_t)ids[row];
            layer(uses, count, token, 2, expert, in, up + row * INNER);
            layer(uses, count, token, 3, expert, up + row * INNER, down + row * IN);
        }
    }
    for (i = 0; i < OUTPUTS; i++)
        layer(uses, count, out_ids[i], 1, 0, y + out_ids[i] * OUT, z + i * IN);
}

/* Builds the graph, with experts or without, and computes it with these uses. */
static void compute(struct phlora_ggml_router *router, bool experts, const struct use *uses, int count, struct run *to) {
    struct ggml_init_params params = {1 << 20, NULL, true};
    struct ggml_context *ctx = ggml_init(params);
    struct ggml_cgraph *graph = ggml_new_graph(ctx);
    struct ggml_tensor *in = ggml_new_tensor_2d(ctx, GGML_TYPE_F32, IN, TOKENS), *of_out = ggml_new_tensor_1d(ctx, GGML_TYPE_I32, OUTPUTS);
    struct ggml_tensor *of_ids = ggml_new_tensor_2d(ctx, GGML_TYPE_I32, CHOSEN, TOKENS), *wide = ggml_reshape_3d(ctx, in, IN, 1, TOKENS);
    struct ggml_tensor *y, *z, *up = NULL, *down = NULL;
    ggml_gallocr_t allocator = ggml_gallocr_new(ggml_backend_get_default_buffer_type(backend));
    int i;
    ggml_set_input(in), ggml_set_input(of_out), ggml_set_input(of_ids);
    phlora_ggml_graph_begin(router, TOKENS, OUTPUTS);
    y = phlora_ggml_mul_mat(router, ctx, weights[0], in, ggml_mul_mat(ctx, weights[0], in));
    z = ggml_get_rows(ctx, y, of_out);
    z = phlora_ggml_mul_mat(router, ctx, weights[1], z, ggml_mul_mat(ctx, weights[1], z));
    if (experts) {
        up = phlora_ggml_mul_mat_id(router, ctx, weights[2], wide, of_ids, ggml_mul_mat_id(ctx, weights[2], wide, of_ids));
        down = phlora_ggml_mul_mat_id(router, ctx, weights[3], up, of_ids, ggml_mul_mat_id(ctx, weights[3], up, of_ids));
        ggml_set_output(up), ggml_set_output(down);
        ggml_build_forward_expand(graph, down);
    }
    ggml_set_output(y), ggml_set_output(z);
    ggml_build_forward_expand(graph, z);
    ggml_build_forward_expand(graph, of_ids);
    expect(phlora_ggml_graph_end(router, message, sizeof message) == experts, "experts are multiplied, or missed");
    expect(ggml_gallocr_alloc_graph(allocator, graph), "memory for the graph");
    ggml_backend_tensor_set(in, x, 0, sizeof x);
    ggml_backend_tensor_set(of_out, out_ids, 0, sizeof out_ids);
    ggml_backend_tensor_set(of_ids, ids, 0, sizeof ids);
    phlora_ggml_batch_begin(router, TOKENS);
    for (i = 0; i < count; i++)
        expect(phlora_ggml_use(router, uses[i].token, adapters[uses[i].adapter], uses[i].weight), "a use");
    expect(phlora_ggml_batch_end(router, out_ids, OUTPUTS), "a batch");
    expect(ggml_backend_graph_compute(backend, graph) == GGML_STATUS_SUCCESS, "computed");
    expect(!phlora_ggml_failure(router), "nothing fails");
    memset(to, 0, sizeof *to);
    ggml_backend_tensor_get(y, to->y, 0, sizeof to->y);
    ggml_backend_tensor_get(z, to->z, 0, sizeof to->z);
    if (experts) {
        ggml_backend_tensor_get(up, to->up, 0, sizeof to->up);
        ggml_backend_tensor_get(down, to->down, 0, sizeof to->down);
    }
    ggml_gallocr_free(allocator);
    ggml_free(ctx);
}

static void near(const float *found, const double *right, int len, const char *what) {
    double most = 0, squares = 0;
    int i;
    for (i = 0; i < len; i++) {
        most = fmax(most, fabs(found[i] - right[i]));
        squares += right[i] * right[i];
    }
    snprintf(message, sizeof message, "%.2e of the root mean square", most / sqrt(squares / len));
    expect(most <= 2e-5 * sqrt(squares / len), what);
}

static void model(void) {
    struct ggml_init_params params = {8 * ggml_tensor_overhead(), NULL, true};
    struct ggml_context *ctx = ggml_init(params);
    int w, i;
    for (w = 0; w < WEIGHTS; w++) {
        weights[w] = SHAPES[w][2] > 1 ? ggml_new_tensor_3d(ctx, GGML_TYPE_F32, SHAPES[w][0], SHAPES[w][1], SHAPES[w][2])
                                      : ggml_new_tensor_2d(ctx, GGML_TYPE_F32, SHAPES[w][0], SHAPES[w][1]);
        ggml_set_name(weights[w], NAMES[w]);
    }
    expect(ggml_backend_alloc_ctx_tensors(ctx, backend) != NULL, "memory for the model");
    for (w = 0; w < WEIGHTS; w++) {
        int len = (int)(SHAPES[w][0] * SHAPES[w][1] * SHAPES[w][2]);
        for (i = 0; i < len; i++)
            values[w][i] = 0.1f * noise();
        ggml_backend_tensor_set(weights[w], values[w], 0, sizeof(float) * (size_t)len);
    }
    for (i = 0; i < TOKENS * IN; i++)
        x[i] = noise();
    for (i = 0; i < TOKENS; i++) {
        ids[CHOSEN * i] = (i * 7 + 1) % EXPERTS;
        ids[CHOSEN * i + 1] = (ids[CHOSEN * i] + 1 + i % (EXPERTS - 1)) % EXPERTS;
    }
    for (i = 0; i < OUTPUTS; i++)
        out_ids[i] = 4 * i + 3;
}

int main(int count, char **words) {
    static struct run many, alone, stacked;
    static double y[TOKENS * OUT], z[OUTPUTS * IN], up[TOKENS * CHOSEN * INNER], down[TOKENS * CHOSEN * IN];
    struct phlora_ggml *set = phlora_ggml_new();
    struct phlora_ggml_router *router, *beside;
    static struct use uses[3 * TOKENS + MOST], few[3 * TOKENS + MOST];
    int len = 0, few_len = 0, i, threads, all = count - 3;
    void (*set_threads)(ggml_backend_t, int);
    if (count < 4 || all > MOST)
        return 2;
    threads = atoi(words[2]);
    ggml_backend_load_all_from_path(words[1]);
    backend = ggml_backend_init_by_type(GGML_BACKEND_DEVICE_TYPE_CPU, NULL);
    *(void **)(void *)&set_threads =
        ggml_backend_reg_get_proc_address(ggml_backend_dev_backend_reg(ggml_backend_get_device(backend)), "ggml_backend_set_n_threads");
    set_threads(backend, threads);
    model();
    for (i = 0; i < WEIGHTS; i++)
        expect(phlora_ggml_add_weight(set, weights[i], NULL), "a weight");
    router = phlora_ggml_router_new(set, threads, false);
    beside = phlora_ggml_router_new(set, threads, true);
    for (i = 0; i < all; i++) {
        void *memory = aligned_alloc(PHLORA_ALIGNMENT, (phlora_adapter_file_bytes() + 63) / 64 * 64);
        adapters[i] = phlora_ggml_open(set, words[3 + i], NULL, message, sizeof message);
        expect(adapters[i] != NULL, "an adapter");
        if (!adapters[i])
            return 1;
        expect(phlora_adapter_file_open(words[3 + i], NULL, 1, memory, phlora_adapter_file_bytes(), &files[i], &modules[i], message,
                                        sizeof message) == PHLORA_STATUS_OK, "its file");
    }
    /* Every token but each fifth has an adapter, some have three; tokens of one adapter lie apart. */
    for (i = 0; i < TOKENS; i++) {
        if (i % 5 == 4)
            continue;
        uses[len++] = (struct use){i, (i * 3) % all, 0.5f};
        if (i % 4 == 1) {
            uses[len++] = (struct use){i, (i * 3 + 1) % all, -1.25f};
            uses[len++] = (struct use){i, (i * 3 + 2) % all, 0.75f};
        }
    }
    /* One token more for each adapter that has none yet. */
    for (i = 0; i < all; i++)
        uses[len++] = (struct use){i % 3 ? 9 : 0, i, 0.01f};
    for (i = 0; i < all; i++) {
        phlora_ggml_pin(router, adapters[i], all + 3);
        phlora_ggml_pin(beside, adapters[i], all + 3);
    }
    compute(router, true, uses, len, &many);
    expected(uses, len, y, z, up, down);
    near(many.y, y, TOKENS * OUT, "a matrix");
    near(many.z, z, OUTPUTS * IN, "a matrix behind output rows");
    near(many.up, up, TOKENS * CHOSEN * INNER, "experts that share an input");
    near(many.down, down, TOKENS * CHOSEN * IN, "experts with an input each");
    compute(beside, false, uses, len, &stacked); /* a weight with factors is missing, and that is said */
    compute(beside, true, uses, len, &stacked);
    near(stacked.y, y, TOKENS * OUT, "stacked factors");
    near(stacked.z, z, OUTPUTS * IN, "stacked factors behind output rows");
    /* Token 13 alone: its rows keep their bits. */
    for (i = 0; i < len; i++)
        if (uses[i].token == 13)
            few[few_len++] = uses[i];
    compute(router, true, few, few_len, &alone);
    expect(few_len == 3 && memcmp(alone.y + 13 * OUT, many.y + 13 * OUT, sizeof(float) * OUT) == 0 &&
               memcmp(alone.down + 13 * CHOSEN * IN, many.down + 13 * CHOSEN * IN, sizeof(float) * CHOSEN * IN) == 0,
           "bits in the batch are bits alone");
    expect(memcmp(alone.y, many.y, sizeof(float) * OUT) != 0, "the others differ");
    expect(!phlora_ggml_close(adapters[0]), "what is pinned stays");
    phlora_ggml_unpin(router, adapters[0]);
    phlora_ggml_unpin(beside, adapters[0]);
    expect(phlora_ggml_close(adapters[0]), "what is not pinned goes");
    adapters[0] = phlora_ggml_open(set, words[3], NULL, message, sizeof message);
    compute(router, true, uses, len, &alone);
    expect(memcmp(&alone, &many, sizeof many) == 0, "closed and opened again it is the same");
    phlora_ggml_router_free(router);
    phlora_ggml_router_free(beside);
    phlora_ggml_free(set);
    return failures != 0;
}

/* The nodes that a graph gets, and what they compute: see phlora_ggml.h.
 *
 * A weight gets two: down writes t = s·A·x, up adds B·t to y in place, and ggml's barrier between nodes is the one that
 * phlora wants between them. The result of down is the work memory of phlora's batch, so that ggml's allocator provides it. A
 * stack of experts gets one more, shared by weights with the same ids: it groups rows by adapter and expert. Which these are
 * is known in the graph alone, so each thread prepares the batch of experts itself, behind the work memory. */
#include "phlora_ggml_internal.h"
#include <stdlib.h>
#include <string.h>

void phlora_ggml_graph_begin(struct phlora_ggml_router *router, int64_t tokens, int64_t outputs) {
    size_t i;
    router->graph_tokens = tokens;
    router->graph_outputs = outputs;
    router->graph_generation = router->set->generation;
    router->graph_width = router->width;
    router->ids = router->grouped = NULL;
    router->problem[0] = 0;
    for (i = 0; i < 2; i++)
        router->rows[i].ids = router->rows[i].strengths = NULL;
    for (i = 0; i < router->sites_len; i++)
        if (router->sites[i])
            router->sites[i]->prepared[0].wanted = router->sites[i]->prepared[1].wanted = false;
}

/* What the nodes of a weight in this context are about; lasts as long as the router. */
static struct site *site(struct phlora_ggml_router *router, struct weight *weight) {
    if (weight->index >= router->sites_len) {
        size_t len = router->set->weights_len;
        struct site **sites = realloc(router->sites, len * sizeof *sites);
        if (!sites)
            return NULL;
        memset(sites + router->sites_len, 0, (len - router->sites_len) * sizeof *sites);
        router->sites = sites;
        router->sites_len = len;
    }
    if (!router->sites[weight->index]) {
        struct site *made = calloc(1, sizeof *made);
        if (made) {
            made->router = router;
            made->weight = weight;
        }
        router->sites[weight->index] = made;
    }
    return router->sites[weight->index];
}

static const struct phlora_adapter *factors(const struct weight *weight, const struct uses *uses, size_t key) {
    const struct phlora_adapter *own = weight->slots[uses->slot[key]];
    own = own ? own + (uses->expert ? uses->expert[key] : 0) : NULL;
    return own && own->rank > 0 ? own : NULL;
}

static size_t lines(size_t bytes) {
    return (bytes + PHLORA_ALIGNMENT - 1) / PHLORA_ALIGNMENT * PHLORA_ALIGNMENT;
}

/* The list of factors, and the batch behind it. */
size_t phlora_ggml_batch_len(size_t keys) {
    return lines(keys * sizeof(struct phlora_adapter *)) + lines(phlora_batch_bytes(keys));
}

phlora_status phlora_ggml_prepare(const struct weight *weight, const struct uses *uses, size_t rows, void *memory, size_t len,
                                  struct phlora_batch **batch) {
    const struct phlora_adapter **list = memory;
    const size_t before = lines(uses->keys * sizeof *list);
    size_t key, found = 0;
    *batch = NULL;
    if (len < phlora_ggml_batch_len(uses->keys))
        return PHLORA_STATUS_MEMORY_TOO_SMALL;
    for (key = 0; key < uses->keys; key++) {
        list[key] = factors(weight, uses, key);
        found += list[key] != NULL;
    }
    if (found == 0)
        return PHLORA_STATUS_OK;
    return phlora_batch_init((size_t)weight->tensor->ne[1], (size_t)weight->tensor->ne[0], rows, list, uses->keys, uses->list,
                             uses->len, (char *)memory + before, len - before, batch);
}

static void fail(struct site *site, int ith, phlora_status status) {
    const char *why = status == PHLORA_STATUS_MEMORY_TOO_SMALL ? "more adapters per token than the graph was built for"
                                                               : phlora_status_message(status);
    /* Every thread finds the same; one says it. */
    if (ith == 0)
        phlora_ggml_refuse(site->router->failure, PROBLEM, "%s: %s", site->weight->tensor->name, why);
}

static size_t row_count(const struct ggml_tensor *of) {
    return (size_t)(of->ne[1] * of->ne[2] * of->ne[3]);
}

/* Vectors of `width` as phlora takes them. */
static phlora_inputs vectors(const struct ggml_tensor *of, size_t width) {
    size_t count = row_count(of), stride = of->ne[1] == 1 ? (size_t)of->ne[0] : of->nb[1] / sizeof(float);
    return (phlora_inputs){of->data, ((count - 1) * stride + width) * sizeof(float), stride, PHLORA_DTYPE_F32, 0};
}

/* One step for slice `ith`; `work` is the result of down, of which phlora has `work_len` floats. */
static void step(struct site *site, const struct phlora_batch *batch, const struct ggml_tensor *of, bool up,
                 struct ggml_tensor *work, size_t work_len, int ith, int nth) {
    const int slices = nth < site->router->threads ? nth : site->router->threads;
    phlora_status status;
    if (!batch || ith >= slices)
        return;
    if (up) {
        phlora_inputs y = vectors(of, (size_t)site->weight->tensor->ne[1]);
        phlora_outputs to = {of->data, y.bytes, y.stride, y.dtype, 0};
        status = phlora_batch_up(batch, &to, (size_t)ith, (size_t)slices, work->data, work_len);
    } else {
        phlora_inputs x = vectors(of, (size_t)site->weight->tensor->ne[0]);
        status = phlora_batch_down(batch, &x, (size_t)ith, (size_t)slices, work->data, work_len);
    }
    if (status != PHLORA_STATUS_OK)
        fail(site, ith, status);
}

/* Which rows of the batch a node has, by their number; -1: none. */
static int kind_of(const struct site *site, size_t count) {
    const struct rows *rows = site->router->rows;
    return (int64_t)count == rows[0].count ? 0 : (int64_t)count == rows[1].count ? 1 : -1;
}

static void unknown(const struct site *site, int ith) {
    if (ith == 0)
        phlora_ggml_refuse(site->router->failure, PROBLEM, "%s: its rows are neither the batch's tokens nor its outputs",
                           site->weight->tensor->name);
}

static void down(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    struct site *site = userdata;
    int kind = kind_of(site, row_count(dst->src[0]));
    if (kind < 0)
        unknown(site, ith);
    else
        step(site, site->prepared[kind].batch, dst->src[0], false, dst, (size_t)dst->ne[0], ith, nth);
}

static void up(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    struct site *site = userdata;
    int kind = kind_of(site, row_count(dst));
    if (kind >= 0)
        step(site, site->prepared[kind].batch, dst, true, dst->src[1], (size_t)dst->src[1]->ne[0], ith, nth);
}

/* How a node holds grouped experts: two counts, then arrays for `most` assignments: slots, experts, rows of x, rows of y. */
enum { HEAD = 2, PER_USE = 8 };

static size_t most_grouped(const struct ggml_tensor *node) {
    return (size_t)(node->ne[0] - HEAD) / PER_USE;
}

static struct uses grouped(const struct ggml_tensor *node, bool of_y) {
    const uint32_t *data = node->data;
    const size_t most = most_grouped(node);
    const struct phlora_assignment *list = (const void *)(data + HEAD + 2 * most);
    return (struct uses){data[0], data[1], data + HEAD, data + HEAD + most, list + (of_y ? most : 0)};
}

static void group_experts(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    struct site *site = userdata;
    const struct ggml_tensor *ids = dst->src[0], *x = dst->src[1];
    const size_t experts = site->weight->experts, chosen = (size_t)ids->ne[0], most = most_grouped(dst);
    const int kind = kind_of(site, (size_t)ids->ne[1]);
    const struct rows *rows;
    uint32_t *data = dst->data, *slot = data + HEAD, *expert = slot + most, last = UINT32_MAX;
    struct phlora_assignment *from = (void *)(expert + most), *list = from + most;
    size_t i, j, len = 0, keys = 0;
    (void)nth;
    if (ith != 0)
        return;
    data[0] = data[1] = 0;
    if (kind < 0) {
        unknown(site, 0);
        return;
    }
    rows = &site->router->rows[kind];
    if (rows->len * chosen > most) {
        fail(site, 0, PHLORA_STATUS_MEMORY_TOO_SMALL);
        return;
    }
    for (i = 0; i < rows->len; i++) {
        const struct phlora_assignment *use = &rows->list[i];
        const char *row = (const char *)ids->data + use->token * ids->nb[1];
        for (j = 0; j < chosen; j++) {
            int32_t of = *(const int32_t *)(const void *)(row + j * ids->nb[0]);
            list[len++] = (struct phlora_assignment){use->token * (uint32_t)chosen + (uint32_t)j,
                                                     use->adapter * (uint32_t)experts + (uint32_t)of, use->weight};
        }
    }
    if (len > 0 && phlora_group(list, len) != PHLORA_STATUS_OK)
        return;
    for (i = 0; i < len; i++) {
        uint32_t key = list[i].adapter;
        if (keys == 0 || key != last) {
            slot[keys] = rows->slot[key / experts];
            expert[keys++] = key % (uint32_t)experts;
        }
        last = key;
        list[i].adapter = (uint32_t)(keys - 1);
        from[i] = list[i];
        if (x->ne[1] == 1)
            from[i].token /= (uint32_t)chosen;
    }
    data[0] = (uint32_t)keys;
    data[1] = (uint32_t)len;
}

/* Floats of work for at most `most` assignments: what phlora_batch_work is for the router's threads, or more. */
static size_t work_len(const struct site *site, size_t most) {
    const struct weight *weight = site->weight;
    const size_t line = PHLORA_ALIGNMENT / sizeof(float), rank = weight->max_rank ? weight->max_rank : 1, t = rank * most;
    const size_t both = phlora_forward_len((size_t)weight->tensor->ne[1], (size_t)weight->tensor->ne[0], rank, most);
    if (both == 0)
        return 0;
    return (t + line) / line * line + (both - t + line) / line * line * (size_t)site->router->threads;
}

/* One step of experts: the batch of a thread lies behind the work. */
static void step_experts(struct site *site, const struct ggml_tensor *groups, const struct ggml_tensor *of, bool is_up,
                         struct ggml_tensor *work, int ith, int nth) {
    const struct uses uses = grouped(groups, is_up);
    const size_t floats = work_len(site, most_grouped(groups)), len = phlora_ggml_batch_len(most_grouped(groups));
    const size_t end = (size_t)((uintptr_t)work->data % PHLORA_ALIGNMENT) + floats * sizeof(float);
    char *memory = (char *)work->data + floats * sizeof(float) + (lines(end) - end) + (size_t)ith * len;
    struct phlora_batch *batch;
    phlora_status status;
    if (ith >= site->router->threads || uses.keys == 0)
        return;
    status = phlora_ggml_prepare(site->weight, &uses, row_count(of), memory, len, &batch);
    if (status != PHLORA_STATUS_OK)
        fail(site, ith, status);
    else
        step(site, batch, of, is_up, work, floats, ith, nth);
}

static void down_experts(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    step_experts(userdata, dst->src[1], dst->src[0], false, dst, ith, nth);
}

static void up_experts(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    step_experts(userdata, dst->src[2], dst, true, dst->src[1], ith, nth);
}

/* The node of down for at most `most` assignments, with `beside` more bytes. */
static struct ggml_tensor *down_node(struct ggml_context *ctx, struct site *site, size_t most, size_t beside,
                                     struct ggml_tensor **args, int args_len, ggml_custom_op_t fun) {
    const size_t floats = work_len(site, most);
    if (floats == 0)
        return NULL;
    return ggml_custom_4d(ctx, GGML_TYPE_F32, (int64_t)(floats + beside / sizeof(float)), 1, 1, 1, args, args_len, fun,
                          GGML_N_TASKS_MAX, site);
}

/* Whether x and y have the form that the nodes take; x is made so where that can be. */
static bool takes(struct phlora_ggml_router *router, struct ggml_context *ctx, const struct weight *weight,
                  struct ggml_tensor **x, struct ggml_tensor *y, int64_t rows) {
    const char *name = weight->tensor->name;
    if ((*x)->type != GGML_TYPE_F32 || y->type != GGML_TYPE_F32)
        return phlora_ggml_refuse(router->problem, PROBLEM, "%s: its input or product is not f32", name);
    if (rows != router->graph_tokens && rows != router->graph_outputs)
        return phlora_ggml_refuse(router->problem, PROBLEM, "%s: an input of %lld rows, where there are %lld tokens and %lld outputs",
                                  name, (long long)rows, (long long)router->graph_tokens, (long long)router->graph_outputs);
    if (!ggml_is_contiguous(y))
        return phlora_ggml_refuse(router->problem, PROBLEM, "%s: its product is a view", name);
    /* One stride is all that there is between vectors. */
    if ((*x)->nb[0] != sizeof(float) || ((*x)->ne[2] * (*x)->ne[3] > 1 && !ggml_is_contiguous(*x)))
        *x = ggml_cont(ctx, *x);
    return true;
}

struct ggml_tensor *phlora_ggml_mul_mat(struct phlora_ggml_router *router, struct ggml_context *ctx,
                                        const struct ggml_tensor *w, struct ggml_tensor *x, struct ggml_tensor *y) {
    struct weight *weight = phlora_ggml_find(router->set, w);
    struct ggml_tensor *args[1];
    struct site *of;
    int64_t rows = x->ne[1] * x->ne[2] * x->ne[3];
    if (!weight || weight->users == 0)
        return y;
    of = site(router, weight);
    if (!of || !takes(router, ctx, weight, &x, y, rows))
        return y;
    if (router->stacked || phlora_ggml_on_device(w)) {
        if (!phlora_ggml_stack(router->set, weight)) {
            phlora_ggml_refuse(router->problem, PROBLEM, "%s: no memory for its stacked factors", w->name);
            return y;
        }
        return phlora_ggml_stacked(router, ctx, weight, &router->rows[rows != router->graph_tokens], x, y);
    }
    of->prepared[rows != router->graph_tokens].wanted = true;
    args[0] = down_node(ctx, of, (size_t)(rows * router->width), 0, &x, 1, down);
    return args[0] ? ggml_custom_inplace(ctx, y, args, 1, up, GGML_N_TASKS_MAX, of) : y;
}

struct ggml_tensor *phlora_ggml_mul_mat_id(struct phlora_ggml_router *router, struct ggml_context *ctx,
                                           const struct ggml_tensor *w, struct ggml_tensor *x, struct ggml_tensor *ids,
                                           struct ggml_tensor *y) {
    struct weight *weight = phlora_ggml_find(router->set, w);
    struct ggml_tensor *args[2];
    struct site *of;
    size_t most = (size_t)(ids->ne[0] * ids->ne[1] * router->width), beside;
    if (!weight || weight->users == 0)
        return y;
    of = site(router, weight);
    if (!of || !takes(router, ctx, weight, &x, y, x->ne[2]))
        return y;
    if (phlora_ggml_on_device(w)) {
        phlora_ggml_refuse(router->problem, PROBLEM, "%s: experts in device memory: adapters for them are not supported", w->name);
        return y;
    }
    if (router->ids != ids || router->grouped->src[1]->ne[1] != x->ne[1] || router->grouped_experts != weight->experts) {
        struct ggml_tensor *from[2] = {ids, x};
        router->grouped = ggml_custom_4d(ctx, GGML_TYPE_I32, (int64_t)(PER_USE * most + HEAD), 1, 1, 1, from, 2, group_experts, 1, of);
        router->ids = ids;
        router->grouped_experts = weight->experts;
    }
    args[0] = x;
    args[1] = router->grouped;
    beside = (size_t)router->threads * phlora_ggml_batch_len(most) + PHLORA_ALIGNMENT;
    args[0] = down_node(ctx, of, most, beside, args, 2, down_experts);
    return args[0] ? ggml_custom_inplace(ctx, y, args, 2, up_experts, GGML_N_TASKS_MAX, of) : y;
}

bool phlora_ggml_graph_end(struct phlora_ggml_router *router, char *message, size_t message_len) {
    size_t i;
    if (router->problem[0])
        return phlora_ggml_refuse(message, message_len, "%s", router->problem);
    for (i = 0; i < router->set->weights_len; i++)
        if (router->set->weights[i]->users > 0 && (i >= router->sites_len || !router->sites[i]))
            return phlora_ggml_refuse(message, message_len,
                                      "%s: an adapter has factors for it, but this model's graph does not multiply it where adapters work",
                                      router->set->weights[i]->tensor->name);
    return true;
}

/* The nodes that a graph gets, and what they compute: see phlora_ggml.h.
 *
 * A weight gets two: down writes t = s·A·x, up adds B·t to y in place, and ggml's barrier between nodes is the one that
 * phlora wants between them. The result of down is a matrix whose first row is t and whose others are the threads'
 * scratch, so that ggml's allocator provides both. A stack of experts gets one more, shared by weights with the same
 * ids: it groups rows by adapter and expert. */
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
        struct site *made = malloc(sizeof *made);
        if (made)
            *made = (struct site){router, weight};
        router->sites[weight->index] = made;
    }
    return router->sites[weight->index];
}

static const struct phlora_adapter *factors(const struct weight *weight, const struct uses *uses, size_t key) {
    const struct phlora_adapter *own = weight->slots[uses->slot[key]];
    own = own ? own + (uses->expert ? uses->expert[key] : 0) : NULL;
    return own && own->rank > 0 ? own : NULL;
}

struct vectors {
    char *data;
    size_t count, stride; /* stride in elements */
};

static void fail(struct site *site, int ith, const char *why) {
    /* Every thread finds the same; one says it. */
    if (ith == 0)
        phlora_ggml_refuse(site->router->failure, PROBLEM, "%s: %s", site->weight->tensor->name, why);
}

/* One step of all adapters for slice `ith`; `node` is the result of down. */
static void step(struct site *site, const struct uses *uses, bool up, struct vectors of, struct ggml_tensor *node, int ith,
                 int nth) {
    const struct weight *weight = site->weight;
    const size_t rows = (size_t)weight->tensor->ne[1], cols = (size_t)weight->tensor->ne[0];
    const int slices = nth < site->router->threads ? nth : site->router->threads;
    const size_t room = (size_t)node->ne[0], scratch_len = room * (size_t)(node->ne[1] - 1) / (size_t)site->router->threads;
    float *t = node->data, *scratch = t + room + (size_t)ith * scratch_len;
    size_t key, used = 0;
    if (ith >= slices)
        return;
    for (key = 0; key < uses->keys; key += CALL) {
        const struct phlora_adapter *list[CALL];
        size_t count = uses->keys - key < CALL ? uses->keys - key : CALL, t_len = 0, i;
        const uint32_t *first = uses->first + key;
        phlora_status status;
        for (i = 0; i < count; i++) {
            list[i] = factors(weight, uses, key + i);
            t_len += list[i] ? list[i]->rank * (first[i + 1] - first[i]) : 0;
        }
        if (t_len == 0)
            continue;
        if (used + t_len > room) {
            fail(site, ith, "more adapters per token than the graph was built for");
            return;
        }
        if (up)
            status = phlora_route_up(rows, cols, of.count, list, count, uses->up + first[0], first[count] - first[0], t + used,
                                     t_len, (size_t)ith, (size_t)slices, of.data,
                                     ((of.count - 1) * of.stride + rows) * sizeof(float), of.stride, PHLORA_DTYPE_F32, scratch,
                                     scratch_len);
        else
            status = phlora_route_down(rows, cols, of.count, list, count, uses->down + first[0], first[count] - first[0],
                                       of.data, ((of.count - 1) * of.stride + cols) * sizeof(float), of.stride,
                                       PHLORA_DTYPE_F32, (size_t)ith, (size_t)slices, t + used, t_len, scratch, scratch_len);
        if (status != PHLORA_STATUS_OK) {
            fail(site, ith, phlora_status_message(status));
            return;
        }
        used += t_len;
    }
}

static struct vectors vectors(const struct ggml_tensor *of) {
    size_t count = (size_t)(of->ne[1] * of->ne[2] * of->ne[3]);
    return (struct vectors){of->data, count, of->ne[1] == 1 ? (size_t)of->ne[0] : of->nb[1] / sizeof(float)};
}

/* The uses of the batch by the rows of a node; false: they are none that the batch has. */
static bool of_rows(struct site *site, int ith, size_t count, struct uses *uses) {
    const struct rows *rows = site->router->rows;
    rows = (int64_t)count == rows[0].count ? &rows[0] : &rows[1];
    if ((int64_t)count != rows->count) {
        fail(site, ith, "its rows are neither the batch's tokens nor its outputs");
        return false;
    }
    *uses = (struct uses){rows->keys, rows->len, rows->slot, NULL, rows->first, rows->list, rows->list};
    return true;
}

static void down(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    struct vectors x = vectors(dst->src[0]);
    struct uses uses;
    if (of_rows(userdata, ith, x.count, &uses))
        step(userdata, &uses, false, x, dst, ith, nth);
}

static void up(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    struct vectors y = vectors(dst);
    struct uses uses;
    if (of_rows(userdata, ith, y.count, &uses))
        step(userdata, &uses, true, y, dst->src[1], ith, nth);
}

/* How a node holds grouped experts: two counts, then arrays for `most` assignments. */
static struct uses grouped(const struct ggml_tensor *node) {
    uint32_t *data = node->data;
    size_t most = (size_t)(node->ne[0] - 3) / 9;
    struct uses uses = {data[0], data[1], data + 2, data + 2 + most, data + 2 + 2 * most, NULL, NULL};
    uses.down = (const void *)(data + 3 + 3 * most);
    uses.up = uses.down + most;
    return uses;
}

static void group_experts(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    struct site *site = userdata;
    const struct ggml_tensor *ids = dst->src[0], *x = dst->src[1];
    const size_t experts = site->weight->experts, chosen = (size_t)ids->ne[0];
    uint32_t *data = dst->data;
    struct uses uses, of;
    struct phlora_assignment *list, *from;
    size_t i, k, len = 0, keys = 0;
    (void)nth;
    if (ith != 0)
        return;
    data[0] = data[1] = 0;
    of = grouped(dst);
    if (!of_rows(site, 0, (size_t)ids->ne[1], &uses))
        return;
    if (uses.len * chosen > (size_t)(dst->ne[0] - 3) / 9) {
        fail(site, 0, "more adapters per token than the graph was built for");
        return;
    }
    list = (struct phlora_assignment *)(size_t)of.up;
    from = (struct phlora_assignment *)(size_t)of.down;
    for (i = 0, k = 0; i < uses.len; i++) {
        const struct phlora_assignment *use = &uses.up[i];
        const int32_t *row = (const void *)((const char *)ids->data + use->token * ids->nb[1]);
        size_t j;
        k += i == uses.first[k + 1];
        for (j = 0; j < chosen; j++) {
            int32_t expert = *(const int32_t *)(const void *)((const char *)row + j * ids->nb[0]);
            list[len++] = (struct phlora_assignment){use->token * (uint32_t)chosen + (uint32_t)j,
                                                     (uint32_t)(k * experts) + (uint32_t)expert, use->weight};
        }
    }
    if (len > 0 && phlora_group(list, len) != PHLORA_STATUS_OK)
        return;
    for (i = 0; i < len; i++) {
        static const uint32_t NONE = UINT32_MAX;
        uint32_t key = list[i].adapter, last = keys ? data[2 + keys - 1] : NONE;
        if (keys == 0 || key != last) {
            data[2 + keys] = key;
            ((uint32_t *)(size_t)of.first)[keys++] = (uint32_t)i;
        }
        list[i].adapter = (uint32_t)((keys - 1) % CALL);
        from[i] = list[i];
        if (x->ne[1] == 1)
            from[i].token /= (uint32_t)chosen;
    }
    ((uint32_t *)(size_t)of.first)[keys] = (uint32_t)len;
    for (i = 0; i < keys; i++) {
        ((uint32_t *)(size_t)of.expert)[i] = data[2 + i] % (uint32_t)experts;
        data[2 + i] = uses.slot[data[2 + i] / experts];
    }
    data[0] = (uint32_t)keys;
    data[1] = (uint32_t)len;
}

static void down_experts(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    struct uses uses = grouped(dst->src[1]);
    step(userdata, &uses, false, vectors(dst->src[0]), dst, ith, nth);
}

static void up_experts(struct ggml_tensor *dst, int ith, int nth, void *userdata) {
    struct uses uses = grouped(dst->src[2]);
    step(userdata, &uses, true, vectors(dst), dst->src[1], ith, nth);
}

/* The node of down for at most `most` assignments. */
static struct ggml_tensor *down_node(struct ggml_context *ctx, struct site *site, size_t most, struct ggml_tensor **args,
                                     int args_len, ggml_custom_op_t fun) {
    const struct weight *weight = site->weight;
    size_t rank = weight->max_rank ? weight->max_rank : 1, room = rank * most;
    size_t both = phlora_forward_len((size_t)weight->tensor->ne[1], (size_t)weight->tensor->ne[0], rank, most);
    size_t scratch = (both - room) * (size_t)site->router->threads;
    if (both == 0)
        return NULL;
    return ggml_custom_4d(ctx, GGML_TYPE_F32, (int64_t)room, (int64_t)(1 + (scratch + room - 1) / room), 1, 1, args, args_len, fun,
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
    args[0] = down_node(ctx, of, (size_t)(rows * router->width), &x, 1, down);
    return args[0] ? ggml_custom_inplace(ctx, y, args, 1, up, GGML_N_TASKS_MAX, of) : y;
}

struct ggml_tensor *phlora_ggml_mul_mat_id(struct phlora_ggml_router *router, struct ggml_context *ctx,
                                           const struct ggml_tensor *w, struct ggml_tensor *x, struct ggml_tensor *ids,
                                           struct ggml_tensor *y) {
    struct weight *weight = phlora_ggml_find(router->set, w);
    struct ggml_tensor *args[2];
    struct site *of;
    size_t most = (size_t)(ids->ne[0] * ids->ne[1] * router->width);
    if (!weight || weight->users == 0)
        return y;
    of = site(router, weight);
    if (!of || !takes(router, ctx, weight, &x, y, x->ne[2]))
        return y;
    if (router->stacked || phlora_ggml_on_device(w)) {
        phlora_ggml_refuse(router->problem, PROBLEM, "%s: experts in device memory: adapters for them are not supported", w->name);
        return y;
    }
    if (router->ids != ids || router->grouped->src[1]->ne[1] != x->ne[1] || router->grouped_experts != weight->experts) {
        struct ggml_tensor *from[2] = {ids, x};
        router->grouped = ggml_custom_4d(ctx, GGML_TYPE_I32, (int64_t)(9 * most + 3), 1, 1, 1, from, 2, group_experts, 1, of);
        router->ids = ids;
        router->grouped_experts = weight->experts;
    }
    args[0] = x;
    args[1] = router->grouped;
    args[0] = down_node(ctx, of, most, args, 2, down_experts);
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

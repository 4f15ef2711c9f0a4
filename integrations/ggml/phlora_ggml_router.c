/* Which token of a batch uses which adapter: see phlora_ggml.h. */
#include "phlora_ggml_internal.h"
#include <math.h>
#include <stdlib.h>
#include <string.h>

struct phlora_ggml_router *phlora_ggml_router_new(struct phlora_ggml *set, int threads, bool stacked) {
    struct phlora_ggml_router *router = calloc(1, sizeof *router);
    if (!router)
        return NULL;
    router->set = set;
    router->threads = threads > 0 ? threads : 1;
    router->width = 1;
    router->stacked = stacked;
    return router;
}

void phlora_ggml_router_free(struct phlora_ggml_router *router) {
    size_t i;
    if (!router)
        return;
    for (i = 0; i < router->sites_len; i++) {
        if (!router->sites[i])
            continue;
        free(router->sites[i]->prepared[0].memory);
        free(router->sites[i]->prepared[1].memory);
        free(router->sites[i]);
    }
    for (i = 0; i < 2; i++) {
        free(router->rows[i].list);
        free(router->rows[i].slot);
    }
    free(router->sites);
    free(router->uses);
    free(router);
}

int phlora_ggml_router_width(const struct phlora_ggml_router *router) {
    return router->width;
}

void phlora_ggml_pin(struct phlora_ggml_router *router, struct phlora_ggml_adapter *adapter, int width) {
    adapter->pins++;
    if (width > router->width)
        router->width = width;
}

void phlora_ggml_unpin(struct phlora_ggml_router *router, struct phlora_ggml_adapter *adapter) {
    (void)router;
    adapter->pins -= adapter->pins > 0;
}

bool phlora_ggml_graph_reusable(const struct phlora_ggml_router *router) {
    return router->graph_generation == router->set->generation && router->graph_width == router->width;
}

const char *phlora_ggml_failure(const struct phlora_ggml_router *router) {
    return router->failure[0] ? router->failure : NULL;
}

void phlora_ggml_batch_begin(struct phlora_ggml_router *router, int64_t tokens) {
    router->tokens = tokens;
    router->uses_len = 0;
    router->failure[0] = 0;
}

bool phlora_ggml_use(struct phlora_ggml_router *router, int64_t token, struct phlora_ggml_adapter *adapter, float weight) {
    struct use *uses;
    if (token < 0 || token >= router->tokens || !isfinite(weight))
        return false;
    uses = phlora_ggml_grow(router->uses, &router->uses_cap, router->uses_len + 1, sizeof *uses);
    if (!uses)
        return false;
    router->uses = uses;
    uses[router->uses_len++] = (struct use){(uint32_t)token, (uint32_t)adapter->slot, weight};
    return true;
}

/* The uses by rows of one kind, grouped. `row_of`: the row of each token, UINT32_MAX where it has none; NULL: the same. */
static bool group(struct phlora_ggml_router *router, struct rows *rows, int64_t count, const uint32_t *row_of) {
    struct phlora_assignment *list;
    uint32_t *slot;
    size_t i;
    rows->count = count;
    rows->len = rows->keys = 0;
    list = phlora_ggml_grow(rows->list, &rows->cap, router->uses_len + 1, sizeof *list);
    if (!list)
        return false;
    rows->list = list;
    for (i = 0; i < router->uses_len; i++) {
        const struct use *use = &router->uses[i];
        uint32_t row = row_of ? row_of[use->token] : use->token;
        if (row != UINT32_MAX)
            list[rows->len++] = (struct phlora_assignment){row, use->slot, use->weight};
    }
    if (rows->len > 0 && phlora_group(list, rows->len) != PHLORA_STATUS_OK)
        return false;
    slot = phlora_ggml_grow(rows->slot, &rows->keys_cap, rows->len + 1, sizeof *slot);
    if (!slot)
        return false;
    rows->slot = slot;
    for (i = 0; i < rows->len; i++) {
        if (i == 0 || list[i].adapter != slot[rows->keys - 1])
            slot[rows->keys++] = list[i].adapter;
        list[i].adapter = (uint32_t)(rows->keys - 1);
    }
    return phlora_ggml_stack_inputs(router, rows);
}

/* Every layer's batch, checked once, for all threads and both steps. */
static bool prepare(struct phlora_ggml_router *router) {
    size_t i, kind;
    for (i = 0; i < router->sites_len; i++)
        for (kind = 0; kind < 2; kind++) {
            struct site *site = router->sites[i];
            struct prepared *to = site ? &site->prepared[kind] : NULL;
            const struct rows *rows = &router->rows[kind];
            const struct uses uses = {rows->keys, rows->len, rows->slot, NULL, rows->list};
            size_t len = phlora_ggml_batch_len(rows->keys);
            phlora_status status;
            if (!to || !to->wanted)
                continue;
            if (len > to->memory_len) {
                free(to->memory);
                to->memory = aligned_alloc(PHLORA_ALIGNMENT, 2 * len);
                to->memory_len = to->memory ? 2 * len : 0;
                if (!to->memory)
                    return false;
            }
            status = phlora_ggml_prepare(site->weight, &uses, (size_t)rows->count, to->memory, to->memory_len, &to->batch);
            if (status != PHLORA_STATUS_OK)
                phlora_ggml_refuse(router->failure, PROBLEM, "%s: %s", site->weight->tensor->name, phlora_status_message(status));
        }
    return true;
}

bool phlora_ggml_batch_end(struct phlora_ggml_router *router, const int32_t *out_ids, int64_t outputs) {
    uint32_t *row_of = malloc(((size_t)router->tokens + 1) * sizeof *row_of);
    int64_t i;
    bool done;
    if (!row_of)
        return false;
    memset(row_of, 0xff, ((size_t)router->tokens + 1) * sizeof *row_of);
    for (i = 0; i < outputs; i++)
        if (out_ids[i] >= 0 && out_ids[i] < router->tokens)
            row_of[out_ids[i]] = (uint32_t)i;
    done = group(router, &router->rows[0], router->tokens, NULL) && group(router, &router->rows[1], outputs, row_of) &&
           prepare(router);
    free(row_of);
    return done;
}

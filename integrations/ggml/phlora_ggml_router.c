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
    for (i = 0; i < router->sites_len; i++)
        free(router->sites[i]);
    for (i = 0; i < 2; i++) {
        free(router->rows[i].list);
        free(router->rows[i].slot);
        free(router->rows[i].first);
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
    size_t i, cap;
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
    cap = rows->keys_cap;
    rows->slot = phlora_ggml_grow(rows->slot, &cap, rows->len + 2, sizeof *rows->slot);
    rows->first = phlora_ggml_grow(rows->first, &rows->keys_cap, rows->len + 2, sizeof *rows->first);
    if (!rows->slot || !rows->first)
        return false;
    for (i = 0; i < rows->len; i++) {
        if (i == 0 || list[i].adapter != rows->slot[rows->keys - 1]) {
            rows->slot[rows->keys] = list[i].adapter;
            rows->first[rows->keys++] = (uint32_t)i;
        }
    }
    rows->first[rows->keys] = (uint32_t)rows->len;
    for (i = 0; i < rows->keys; i++) {
        size_t k;
        for (k = rows->first[i]; k < rows->first[i + 1]; k++)
            list[k].adapter = (uint32_t)(i % CALL);
    }
    return phlora_ggml_stack_inputs(router, rows);
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
    done = group(router, &router->rows[0], router->tokens, NULL) && group(router, &router->rows[1], outputs, row_of);
    free(row_of);
    return done;
}

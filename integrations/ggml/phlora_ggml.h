/* Adapters of phlora in ggml graphs: many adapters in one batch, without another graph when requests change adapters.
 *
 *   set = phlora_ggml_new();  phlora_ggml_add_weight(set, tensor) for each tensor of the model;
 *   adapter = phlora_ggml_open(set, "adapter.gguf", NULL, ...);
 *   router = phlora_ggml_router_new(set, threads);
 *   graph:  phlora_ggml_graph_begin; y = phlora_ggml_mul_mat(router, ctx, w, x, y) behind each product; ..._graph_end;
 *   batch:  phlora_ggml_batch_begin; phlora_ggml_use(router, token, adapter, weight); phlora_ggml_batch_end; compute.
 *
 * A set may be used by several contexts. No function may run while a graph of the set is computed, and none from two
 * threads at a time. Functions that can fail take `message`, `message_len`: the reason, NUL-terminated, cut where it is
 * too long. */
#ifndef PHLORA_GGML_H
#define PHLORA_GGML_H

#include <ggml.h>
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/* The adapters of one model. */
struct phlora_ggml;
/* One of them. */
struct phlora_ggml_adapter;
/* Which token uses which adapter, in one context. */
struct phlora_ggml_router;

/* NULL: no memory. */
struct phlora_ggml *phlora_ggml_new(void);

/* After all routers; closes the adapters. */
void phlora_ggml_free(struct phlora_ggml *set);

/* Registers a weight of the model, which must outlive the set. A weight that is multiplied by a tensor of scales
 * elsewhere than before phlora_ggml_mul_mat must be registered with `refused`, the reason why adapters may not have
 * factors for it; else NULL, a static text. False: no memory, or no name. */
bool phlora_ggml_add_weight(struct phlora_ggml *set, const struct ggml_tensor *weight, const char *refused);

/* Opens an adapter: GGUF (mapped), or PEFT and single files (converted in memory; `base` is then the model's GGUF
 * file or directory, which knows names and row orders). NULL: refused, and nothing has changed. Every pair must have a
 * weight of its name and shape, every factor finite entries. */
struct phlora_ggml_adapter *phlora_ggml_open(struct phlora_ggml *set, const char *path, const char *base,
                                             char *message, size_t message_len);

/* False where a router still uses it. */
bool phlora_ggml_close(struct phlora_ggml_adapter *adapter);

/* Changes whenever a graph that was built before can no longer serve: it must then be built and reserved again. */
uint64_t phlora_ggml_generation(const struct phlora_ggml *set);

/* `threads`: the most that will compute a graph; with fewer than that the rest is unused, with more the rest is idle.
 * `stacked`: weights in device memory always take stacked factors and ggml_mul_mat_id; true: all weights do. */
struct phlora_ggml_router *phlora_ggml_router_new(struct phlora_ggml *set, int threads, bool stacked);
void phlora_ggml_router_free(struct phlora_ggml_router *router);

/* How many adapters a token may use at once: graphs reserve memory for it. Default 1; raised by phlora_ggml_pin. */
int phlora_ggml_router_width(const struct phlora_ggml_router *router);

/* Counts a use of an adapter that lasts over batches, so that it cannot be closed; `width` raises the router's. */
void phlora_ggml_pin(struct phlora_ggml_router *router, struct phlora_ggml_adapter *adapter, int width);
void phlora_ggml_unpin(struct phlora_ggml_router *router, struct phlora_ggml_adapter *adapter);

/* A graph for `tokens` rows, of which `outputs` remain behind the selection of output rows. */
void phlora_ggml_graph_begin(struct phlora_ggml_router *router, int64_t tokens, int64_t outputs);

/* Adds what the adapters add to y = w·x (ggml_mul_mat), after a scale of w if there is one; y may be written in place.
 * Rows of x are tokens or output rows, in their order. Gives y where no adapter has factors for w. */
struct ggml_tensor *phlora_ggml_mul_mat(struct phlora_ggml_router *router, struct ggml_context *ctx,
                                        const struct ggml_tensor *w, struct ggml_tensor *x, struct ggml_tensor *y);

/* The same for a stack of experts: y = ggml_mul_mat_id(w, x, ids). */
struct ggml_tensor *phlora_ggml_mul_mat_id(struct phlora_ggml_router *router, struct ggml_context *ctx,
                                           const struct ggml_tensor *w, struct ggml_tensor *x, struct ggml_tensor *ids,
                                           struct ggml_tensor *y);

/* False where the graph does not do what an adapter says: a weight with factors that is never multiplied, or whose
 * input has another form. */
bool phlora_ggml_graph_end(struct phlora_ggml_router *router, char *message, size_t message_len);

/* Nodes that all weights together add to a graph at most. */
size_t phlora_ggml_nodes(const struct phlora_ggml *set);

/* Whether the graph built last can compute the next batch. */
bool phlora_ggml_graph_reusable(const struct phlora_ggml_router *router);

/* Who uses what in the batch that is computed next: any number of adapters for a token, up to the router's width. */
void phlora_ggml_batch_begin(struct phlora_ggml_router *router, int64_t tokens);
bool phlora_ggml_use(struct phlora_ggml_router *router, int64_t token, struct phlora_ggml_adapter *adapter, float weight);
/* `out_ids`: the token of each output row, as given to ggml_get_rows. Call when the graph has been allocated. */
bool phlora_ggml_batch_end(struct phlora_ggml_router *router, const int32_t *out_ids, int64_t outputs);

/* What went wrong in the batch computed last, NULL: nothing. Rows with another number than tokens or outputs, say. */
const char *phlora_ggml_failure(const struct phlora_ggml_router *router);

#ifdef __cplusplus
}
#endif

#endif

/* Adapters by sequence in llama.cpp: libllama's public addition. See README.md beside it. */
#ifndef PHLORA_LLAMA_H
#define PHLORA_LLAMA_H

#include "llama.h"
#include "phlora_ggml.h"

#ifdef __cplusplus
extern "C" {
#endif

/* The set of adapters for a model, which must outlive it. Open adapters in it with phlora_ggml_open; free it with
 * phlora_ggml_free, after the contexts that it was attached to. NULL: no memory. */
LLAMA_API struct phlora_ggml * llama_phlora_new(const struct llama_model * model);

/* Lets the sequences of a context use the adapters of a set; once, before the first llama_set_seq_adapter.
 * `stacked`: compute stacked factors with ggml_mul_mat_id for all weights, as is done for weights on a device. */
LLAMA_API bool llama_phlora_attach(struct llama_context * ctx, struct phlora_ggml * set, bool stacked);

/* From the next llama_decode on, tokens of the sequence use the adapter at this scale, beside others that it uses;
 * scale 0: no longer. adapter NULL: none at all. False: no set is attached, the context
 * has no such sequence, or the scale is no finite number.
 * What a sequence has in its cache stays as it was computed. */
LLAMA_API bool llama_set_seq_adapter(struct llama_context * ctx, llama_seq_id seq, struct phlora_ggml_adapter * adapter,
                                     float scale);

#ifdef __cplusplus
}

/* Inside libllama. */
struct llm_graph_params;
struct llama_phlora;

/* Frees it with its context. */
struct llama_phlora_deleter {
    void operator()(llama_phlora * phlora) const;
};

/* The router for graphs; nullptr: no adapters. */
phlora_ggml_router * phlora_router_of(const llama_phlora * phlora);

/* Begins a graph, and gives it the input that routes its batches. */
void phlora_graph_begin(const llm_graph_params & params);

/* Whether a graph that was built does what the adapters say; else the error is logged. */
bool phlora_graph_end(const llm_graph_params & params);

/* Whether the context must reserve its graphs again. */
bool phlora_must_reserve(llama_phlora * phlora);

/* Whether the batch computed last went well; else the error is logged. */
bool phlora_computed(const llm_graph_params & params);

/* Nodes to be added to a graph's. */
unsigned phlora_nodes(const llama_phlora * phlora);
#endif

#endif

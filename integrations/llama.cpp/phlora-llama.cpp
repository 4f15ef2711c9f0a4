// Adapters by sequence: what phlora_ggml needs to know of llama.cpp.
#include "phlora-llama.h"

#include "llama-context.h"
#include "llama-graph.h"
#include "llama-impl.h"
#include "llama-model.h"

#include <algorithm>
#include <cmath>
#include <map>
#include <set>
#include <string>
#include <vector>

struct llama_phlora {
    using use = std::pair<phlora_ggml_adapter *, float>;

    phlora_ggml * set = nullptr;
    phlora_ggml_router * router = nullptr;
    std::map<llama_seq_id, std::vector<use>> of; // what each sequence uses
    uint64_t generation = UINT64_MAX;            // that graphs were reserved for
    int width = 0;
};

// Tells the router what the sequences of a batch use. It is the same node for all adapters, so graphs are reused.
class llm_graph_input_phlora : public llm_graph_input_i {
public:
    llm_graph_input_phlora(llama_phlora * phlora, uint32_t n_outputs) : phlora(phlora), n_outputs(n_outputs) {}

    void set_input(const llama_ubatch * ubatch) override {
        phlora_ggml_batch_begin(phlora->router, ubatch->n_tokens);
        std::vector<int32_t> out_ids;
        bool routed = true;
        for (uint32_t i = 0; i < ubatch->n_tokens; i++) {
            // llm_graph_input_out_ids makes output rows in the same way.
            if (n_outputs == ubatch->n_tokens || (ubatch->output && ubatch->output[i])) {
                out_ids.push_back(i);
            }
            if (!ubatch->seq_id) {
                continue;
            }
            // A token of several sequences is computed once: the first one's adapters work.
            const auto it = phlora->of.find(ubatch->seq_id[i][0]);
            if (it == phlora->of.end()) {
                continue;
            }
            for (const auto & [adapter, scale] : it->second) {
                routed = routed && phlora_ggml_use(phlora->router, i, adapter, scale);
            }
        }
        if (!routed || !phlora_ggml_batch_end(phlora->router, out_ids.data(), out_ids.size())) {
            GGML_ABORT("phlora: no memory to route a batch of %u tokens", ubatch->n_tokens);
        }
    }

    bool can_reuse(const llm_graph_params & params) override {
        return n_outputs == params.n_outputs && phlora_ggml_graph_reusable(phlora->router);
    }

private:
    llama_phlora * phlora;
    const uint32_t n_outputs;
};

void llama_phlora_deleter::operator()(llama_phlora * phlora) const {
    for (auto & [seq, uses] : phlora->of) {
        for (auto & [adapter, scale] : uses) {
            phlora_ggml_unpin(phlora->router, adapter);
        }
    }
    phlora_ggml_router_free(phlora->router);
    delete phlora;
}

phlora_ggml_router * phlora_router_of(const llama_phlora * phlora) {
    return phlora ? phlora->router : nullptr;
}

void phlora_graph_begin(const llm_graph_params & params) {
    if (params.phlora) {
        phlora_ggml_graph_begin(params.phlora->router, params.ubatch.n_tokens, params.n_outputs);
        params.res->add_input(std::make_unique<llm_graph_input_phlora>(params.phlora, params.n_outputs));
    }
}

bool phlora_graph_end(const llm_graph_params & params) {
    char message[512];
    if (params.phlora && !phlora_ggml_graph_end(params.phlora->router, message, sizeof(message))) {
        LLAMA_LOG_ERROR("phlora: %s\n", message);
        return false;
    }
    return true;
}

bool phlora_computed(const llm_graph_params & params) {
    const char * failure = params.phlora ? phlora_ggml_failure(params.phlora->router) : nullptr;
    if (failure) {
        LLAMA_LOG_ERROR("phlora: %s\n", failure);
    }
    return !failure;
}

bool phlora_must_reserve(llama_phlora * phlora) {
    if (!phlora) {
        return false;
    }
    const uint64_t generation = phlora_ggml_generation(phlora->set);
    const int width = phlora_ggml_router_width(phlora->router);
    const bool must = generation != phlora->generation || width != phlora->width;
    phlora->generation = generation;
    phlora->width = width;
    return must;
}

unsigned phlora_nodes(const llama_phlora * phlora) {
    return phlora ? (unsigned) phlora_ggml_nodes(phlora->set) : 0;
}

// The reason why factors for a weight would be scaled with it; nullptr: they would not.
static const char * scaled(const std::string & name, const std::set<std::string> & names) {
    static const std::string suffix = ".weight";
    const size_t end = name.size() - std::min(name.size(), suffix.size());
    // build_ffn multiplies by such a tensor behind build_lora_mm; all else hands it to build_lora_mm, where it comes first.
    const bool dense_ffn = name.find("ffn_") != std::string::npos && name.find("_exps") == std::string::npos;
    if (dense_ffn && name.substr(end) == suffix && names.count(name.substr(0, end) + ".scale")) {
        return "the model multiplies this weight's product by a tensor of scales, which would scale the adapter as well";
    }
    return nullptr;
}

phlora_ggml * llama_phlora_new(const llama_model * model) {
    phlora_ggml * set = phlora_ggml_new();
    std::set<std::string> names;
    for (const auto & [name, tensor] : model->tensors_by_name) {
        names.insert(name);
    }
    for (const auto & [name, tensor] : model->tensors_by_name) {
        if (set && !phlora_ggml_add_weight(set, tensor, scaled(name, names))) {
            phlora_ggml_free(set);
            set = nullptr;
        }
    }
    return set;
}

bool llama_phlora_attach(llama_context * ctx, phlora_ggml * set, bool stacked) {
    const int threads = std::max(ctx->n_threads(), ctx->n_threads_batch());
    phlora_ggml_router * router = phlora_ggml_router_new(set, threads, stacked);
    if (!router || ctx->phlora) {
        phlora_ggml_router_free(router);
        return false;
    }
    ctx->phlora.reset(new llama_phlora);
    ctx->phlora->set = set;
    ctx->phlora->router = router;
    return true;
}

bool llama_set_seq_adapter(llama_context * ctx, llama_seq_id seq, phlora_ggml_adapter * adapter, float scale) {
    if (!ctx->phlora || !std::isfinite(scale) || seq < 0 || seq >= (llama_seq_id) llama_n_seq_max(ctx)) {
        return false;
    }
    llama_phlora & phlora = *ctx->phlora;
    auto & uses = phlora.of[seq];
    if (!adapter) {
        for (auto & use : uses) {
            phlora_ggml_unpin(phlora.router, use.first);
        }
        uses.clear();
    } else {
        const auto it = std::find_if(uses.begin(), uses.end(), [=](const auto & use) { return use.first == adapter; });
        if (it == uses.end() && scale != 0.0f) {
            uses.emplace_back(adapter, scale);
            phlora_ggml_pin(phlora.router, adapter, (int) uses.size());
        } else if (it != uses.end() && scale != 0.0f) {
            it->second = scale;
        } else if (it != uses.end()) {
            phlora_ggml_unpin(phlora.router, adapter);
            uses.erase(it);
        }
    }
    if (uses.empty()) {
        phlora.of.erase(seq);
    }
    return true;
}

"""A small configuration of any class: general rules by the names of fields, on the class and on all its parts."""

import dataclasses
import re

from transformers import PretrainedConfig

import special

WIDTH, HEADS, VOCABULARY = 64, 4, 128

# The first rule that matches a field's whole name decides; a function gets the default value.
RULES = [
    (r"(n_)?(vocab_size|vocabulary)|unpadded_vocab_size|(codebook|audio|text|tgt|src|decoder)_vocab_size|vocab_size_per.*", VOCABULARY),
    (r"(max|n|num)_(2d_)?position(_embedding)?s|max_(source|target)_positions|max_seq(uence)?_len(gth)?|n_ctx|context_length", 128),
    (r"max_(encoder|decoder)_position_embeddings|num_position_embeddings", 144),
    (r"kv_channels|attention_head_(dim|size)|head_dim|d_kv|dim_head|kv_dim|(swa|global|mamba|attn|local|v|qk_nope)_head_dim|d_head|mamba_d_head|mamba_head_dim|linear_(key|value)_head_dim|index_head_dim", 16),
    (r"(decoder|query|encoder|vision|cross|self|full|sliding)_(attention_)?head_dim", 16),
    (r"qk_rope_head_dim|rotary_dim", 8),
    (r".*lora_rank|.*_lora_dim|index_topk", 32),
    (r".*_rank", 16),
    (r"(num_|n_)?(swa_|global_|sliding_|multi_query_)?(num_)?(key_value|kv)_heads(_.*)?|linear_num_key_heads|n_kv_heads", lambda v: min(v, 2)),
    (r"linear_num_value_heads|index_n_heads", 4),
    (r"mamba_n_heads|mamba_num_heads", 8),
    (r"(.*_)?(num_)?(attention_|attn_)?heads|n_head|num_heads|n_heads|num_attention_heads_.*", lambda v: min(v, HEADS)),
    (r"moe_k|moe_topk|moe_top_k|.*(num_experts_per_tok(en)?|num_selected_experts|experts_per_token)|top_k_experts|topk|expert_capacity", lambda v: min(v, 2)),
    (r"(num_|n_|moe_)+(local_|routed_|total_)?(num_)?experts|num_moe_experts|.*_num_experts|zero_expert_num", lambda v: v and 4),
    (r"n_group|topk_group|num_expert_groups?|num_limited_groups", 1),
    (r"(n|num)_shared_experts|moe_num_shared_experts", lambda v: min(v, 1)),
    (r"first_k_dense_replace|num_dense_layers|moe_layer_start_index", lambda v: min(v, 1)),
    (r"moe_layer_end_index", -1),
    (r"(moe|expert|shared_expert|moe_shared_expert|shared)_(intermediate|ffn_hidden|expert_intermediate)_size|expert_dim|ffn_hidden_size_.*", lambda v: v and 48),
    (r".*(intermediate|ffn|inner|filter|feedforward|feed_forward|mlp|linear)_(size|dim|hidden_size|hidden_dim|embed_dim)|n_inner|d_ff|.*_ffn(_dim)?|ffn_hidden|dim_ff|dim_feedforward|block_ff_dim|intermediate_dim|mlp_hidden", 96),
    (r"(num_)?(.*_)?(layers|blocks)|n_layers?|depth|.*_depth|num_hidden_groups|.*_num_layers|num_layers_per_.*|num_.*_layers", lambda v: min(v, 2)),
    (r"(.*_)?(hidden|embed|embedding|emb|model|word_embed_proj|proj|projection|cross|context|kv|out|output|query|codevector|proj_codevector|qformer|image|text|vision|encoder|decoder|attention|shared|classifier_proj|global)_?(size|dim|dimension|channels)(_.*)?|d_model|n_embd|width|dim|d_embed|hidden_channels|output_dims?|embed_dim_.*|lru_width|classifier_proj_size|.*projection_size|.*_embed_dims?|.*_hidden_dim|emb_size", WIDTH),
    (r"(.*_)?image_size|img_size|input_size|pretrain_image_size|resolution|input_resolution", 32),
    (r"patch_size|encoder_stride", lambda v: min(v, 8)),
    (r"num_frames|num_image_with_embedding|frames?", lambda v: v and min(v, 4)),
    (r"num_queries|num_query_tokens|query_length|num_query|.*num_latents?|num_object_queries|num_pred_queries|two_stage_num_proposals|n_latents|num_denoising", lambda v: min(v, 16)),
    (r".*(sliding_window|window_size|attention_window|chunk_size|block_size|attention_chunk_size|local_attention)(_.*)?", lambda v: min(v, 16)),
    (r"num_mel_bins|mel_bins", 16),
    (r"spatial_merge_size|temporal_patch_size", 2),
    (r"num_codebooks|num_quantizers", lambda v: min(v, 4)),
    (r"codebook_dim", WIDTH),
    (r"codebook_size|num_embeddings|num_codevectors_per_group|image_vocab_size|codebook_num", lambda v: min(v, 64)),
    (r"ssm_state_size|mamba_d_state|d_state|state_size", 16),
    (r"num_conv_pos_embeddings", 16),
    (r"num_conv_pos_embedding_groups", 4),
    (r"conv_depthwise_kernel_size", 7),
]  # fmt: skip
RULES = [(re.compile(pattern), value) for pattern, value in RULES]
PER_LAYER = "layer_types", "mlp_layer_types", "layers_block_type", "indexer_types"
OWN = {field.name for field in dataclasses.fields(PretrainedConfig)}


def by_name(name, value, tokens):
    """The small value of an integer field."""
    if re.fullmatch(r"pad_token_id|bos_token_id|eos_token_id|decoder_start_token_id|forced_.*", name):
        return min(value, {"pad_token_id": 0, "eos_token_id": 2}.get(name, 1))
    if re.fullmatch(r".*_(token_id|token_index|token)|(image|audio|video|mask|sep|cls|boi|eoi|boa|eoa)_id", name):
        return tokens(name) if value > VOCABULARY - 1 else value
    for pattern, small in RULES:
        if pattern.fullmatch(name):
            return small(value) if callable(small) else min(small, value) if value > 0 else value
    return value


def by_list(name, value):
    if name == "depths":
        return [1] * len(value)
    if name in ("conv_dim", "tdnn_dim"):
        return [32] * len(value)
    return value


class Tokens:
    """Ids of special tokens, one for each name, from the end of the vocabulary."""

    def __init__(self):
        self.known = {}

    def __call__(self, name):
        key = re.sub(r"_(token_id|token_index|token|id)$", "", name)
        return self.known.setdefault(key, VOCABULARY - 1 - len(self.known))


def rope(parameters, head):
    """Sections of multimodal rotary embeddings add up to half of a head."""
    def small(entry):
        entry = dict(entry)
        if entry.get("mrope_section"):
            half = int(head * entry.get("partial_rotary_factor", 1)) // 2
            count = len(entry["mrope_section"])
            entry["mrope_section"] = [half // count + (i < half % count) for i in range(count)]
        return entry

    nested = any(isinstance(value, dict) for value in parameters.values())
    return {key: small(value) if isinstance(value, dict) else value for key, value in parameters.items()} if nested else small(parameters)


def fields(config, few=False, inner=False):
    """The values of `config` that make it small; with `few`, only layers, vocabulary and positions shrink; with None,
    there are as many key heads as query heads."""
    tokens, values = Tokens(), {}
    for field in dataclasses.fields(config):
        name = field.name
        if name in OWN or name.startswith("_"):
            continue
        value = special.read(config, name)
        if isinstance(value, PretrainedConfig):
            values[name] = small(type(value), value, few)
        elif name in PER_LAYER and value:
            continue
        elif isinstance(value, (bool, str, float)) and inner and value != field.default:
            values[name] = value
        elif isinstance(value, bool) or value is None:
            continue
        elif isinstance(value, int) and (not few or re.search("layers?$|depth|blocks|vocab|positions?(_emb|s$)|experts|token", name)):
            changed = by_name(name, value, tokens)
            if changed != value or inner and value != field.default:
                values[name] = changed
        elif isinstance(value, (list, tuple)) and value:
            changed = by_list(name, list(value))
            if changed != list(value):
                values[name] = changed
    values.update(layers(config, values))
    names = {field.name for field in dataclasses.fields(config)}
    values.update(special.stages(config, names, "num_hidden_layers" if "num_hidden_layers" in names else None))
    values.update(heads(config, values, few))
    return values


def heads(config, values, few):
    """Fields that follow from others, or that are empty where the models want a number."""
    names = {field.name for field in dataclasses.fields(config)}
    found = {}
    if "head_dim" in names and not few:
        found["head_dim"] = values.get("qk_rope_head_dim") or values.get("head_dim", 16)
    if {"num_key_value_heads", "num_attention_heads"} <= names and special.read(config, "num_key_value_heads") is None:
        found["num_key_value_heads"] = values.get("num_attention_heads") or config.num_attention_heads
    if "num_experts_per_tok" in names and special.read(config, "num_experts_per_tok") is None:
        found["num_experts_per_tok"] = 2
    if "vocab_size" in names and special.read(config, "vocab_size") is None:
        found["vocab_size"] = VOCABULARY
    if {"kv_lora_rank", "num_key_value_heads"} <= names:
        found["num_key_value_heads"] = values.get("num_attention_heads")
    sections = special.sections(config)
    if sections and not few:
        found["rope_parameters"] = rope({**config.rope_parameters, **sections}, found.get("head_dim", 16))
    return found


def layers(config, values):
    """Lists with an entry for each layer: one layer of each kind. Where they are computed, as many layers as show them."""
    settable = {field.name for field in dataclasses.fields(config)}
    pairs = [(name, getattr(config, name, None)) for name in PER_LAYER]
    pairs = [(name, list(value)) for name, value in pairs if isinstance(value, (list, tuple)) and value]
    if not pairs:
        return {}
    count = "num_hidden_layers" if hasattr(config, "num_hidden_layers") else "num_layers"
    computed = [value for name, value in pairs if name not in settable]
    if computed:
        last = max(value.index(kind) for value in computed for kind in set(value))
        return {count: max(2, min(last + 1, 10))}
    length = min(len(value) for _, value in pairs)
    together = [tuple(value[i] for _, value in pairs) for i in range(length)]
    chosen = [next(i for i, entry in enumerate(together) if entry == kind) for kind in dict.fromkeys(together)]
    chosen = chosen if len(chosen) > 1 else chosen * 2
    result = {name: [value[i] for i in chosen] for name, value in pairs}
    return {**result, count: len(chosen)}


def small(config_class, default=None, few=False):
    """The small configuration. Ways to fail are many; the caller tries another."""
    inner = default is not None
    default = default if inner else special.default(config_class)
    values = fields(default, few, inner)
    if few is None and "num_key_value_heads" in values:
        values["num_key_value_heads"] = values["num_attention_heads"]
    values.update(special.values(config_class.model_type, few))
    return config_class(**values)

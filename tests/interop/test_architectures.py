"""The rules of architectures.txt put the tensors of saved checkpoints where models hold them in memory.

Small models with values of their own are saved by save_pretrained; the rules, read and applied here by themselves,
must find every tensor of the file in the model's memory, with equal values.
"""

import math
import pathlib
import re

import pytest
import torch
import transformers
from safetensors.torch import load_file

FILE = pathlib.Path(__file__).parents[2] / "checkpoint/src/naming/memory/architectures.txt"

TEXT = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
        "num_key_value_heads": 2, "head_dim": 8, "vocab_size": 96, "pad_token_id": 0}
EXPERTS = {"moe_intermediate_size": 24, "num_experts": 4, "num_experts_per_tok": 2}
LOCAL = {"num_local_experts": 4, "num_experts_per_tok": 2}
VISION = {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_attention_heads": 4,
          "image_size": 16, "patch_size": 8}
QWEN_VISION = {"depth": 2, "embed_dim": 32, "hidden_size": 32, "num_heads": 4, "mlp_ratio": 2, "patch_size": 8}
ROPE = {"rope_type": "default", "rope_theta": 10000.0, "mrope_section": [1, 1, 2]}
BERT = {key: TEXT[key] for key in ("hidden_size", "intermediate_size", "num_hidden_layers", "num_attention_heads")}
DECODER = {"d_model": 32, "encoder_layers": 2, "decoder_layers": 2, "encoder_attention_heads": 4,
           "decoder_attention_heads": 4, "encoder_ffn_dim": 48, "decoder_ffn_dim": 48}
MAMBA = {"hidden_size": 32, "num_hidden_layers": 2, "vocab_size": 96, "pad_token_id": 0}
RESNET = {"use_timm_backbone": False, "backbone": None, "use_pretrained_backbone": False, "backbone_kwargs": None,
          "backbone_config": {"model_type": "resnet", "embedding_size": 8, "hidden_sizes": [8, 8, 8, 8],
                              "depths": [1, 1, 1, 1], "out_features": ["stage4"]}}

MODELS = {
    "LlamaForCausalLM": TEXT,
    "Gemma3ForConditionalGeneration": {"text_config": TEXT, "vision_config": VISION, "mm_tokens_per_image": 4},
    "Qwen2VLForConditionalGeneration": {"text_config": TEXT | {"rope_parameters": ROPE}, "vision_config": QWEN_VISION},
    "Qwen2_5_VLForConditionalGeneration": {"text_config": TEXT | {"rope_parameters": ROPE}, "vision_config": {
        "depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "out_hidden_size": 32}},
    "LlavaForConditionalGeneration": {"text_config": TEXT | {"model_type": "llama"},
                                      "vision_config": VISION | {"model_type": "clip_vision_model"}},
    "MllamaForConditionalGeneration": {
        "text_config": TEXT | {"cross_attention_layers": [1]},
        "vision_config": {"hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 2, "num_global_layers": 1,
                          "attention_heads": 4, "image_size": 16, "patch_size": 8, "vision_output_dim": 64,
                          "intermediate_layers_indices": [0]}},
    "MixtralForCausalLM": TEXT | LOCAL,
    "Qwen2MoeForCausalLM": TEXT | EXPERTS | {"shared_expert_intermediate_size": 40},
    "Qwen3MoeForCausalLM": TEXT | EXPERTS,
    "Qwen3VLMoeForConditionalGeneration": {
        "text_config": TEXT | EXPERTS | {"rope_parameters": ROPE},
        "vision_config": {"depth": 2, "hidden_size": 32, "intermediate_size": 48, "num_heads": 4, "out_hidden_size": 32,
                          "deepstack_visual_indexes": [0], "num_position_embeddings": 16}},
    "DeepseekV3ForCausalLM": TEXT | {
        "moe_intermediate_size": 24, "n_routed_experts": 4, "num_experts_per_tok": 2, "n_group": 2, "topk_group": 1,
        "first_k_dense_replace": 1, "kv_lora_rank": 8, "q_lora_rank": 8, "qk_rope_head_dim": 4, "qk_nope_head_dim": 4,
        "v_head_dim": 8},
    "GptOssForCausalLM": TEXT | LOCAL,
    "Llama4ForCausalLM": TEXT | LOCAL | {"intermediate_size_mlp": 40, "interleave_moe_layer_step": 2},
    "PhimoeForCausalLM": TEXT | LOCAL,
    "JambaForCausalLM": TEXT | EXPERTS | {"num_hidden_layers": 4, "attn_layer_period": 2, "attn_layer_offset": 1,
                                          "mamba_dt_rank": 4, "use_mamba_kernels": False},
    "DbrxForCausalLM": {"d_model": 32, "n_heads": 4, "n_layers": 2, "vocab_size": 96,
                        "attn_config": {"kv_n_heads": 2, "rope_theta": 10000.0},
                        "ffn_config": {"ffn_hidden_size": 24, "moe_num_experts": 4, "moe_top_k": 2}},
    "GraniteMoeForCausalLM": TEXT | LOCAL,
    "GraniteMoeHybridForCausalLM": TEXT | LOCAL | {"layer_types": ["mamba", "attention"], "mamba_n_heads": 8,
                                                   "mamba_d_head": 8, "mamba_d_state": 8, "shared_intermediate_size": 40},
    "Gemma4ForCausalLM": TEXT | {"enable_moe_block": True, "num_experts": 4, "top_k_experts": 2, "global_head_dim": 8,
                                 "moe_intermediate_size": 24, "hidden_size_per_layer_input": 8,
                                 "vocab_size_per_layer_input": 96, "num_kv_shared_layers": 0},
    "NemotronHForCausalLM": TEXT | {
        "layers_block_type": ["mamba", "attention", "moe", "mlp"], "mamba_num_heads": 4, "mamba_head_dim": 8,
        "ssm_state_size": 8, "n_groups": 2, "n_routed_experts": 4, "moe_intermediate_size": 24,
        "moe_shared_expert_intermediate_size": 24, "num_experts_per_tok": 2},
    "MambaForCausalLM": MAMBA | {"state_size": 4},
    "Mamba2ForCausalLM": MAMBA | {"num_heads": 8, "head_dim": 8, "state_size": 8, "n_groups": 1},
    "FalconH1ForCausalLM": TEXT | {"mamba_d_ssm": 64, "mamba_n_heads": 8, "mamba_d_head": 8, "mamba_d_state": 8},
    "BertForSequenceClassification": BERT | {"vocab_size": 96},
    "GPT2LMHeadModel": {"n_embd": 32, "n_layer": 2, "n_head": 4, "vocab_size": 96},
    "T5ForConditionalGeneration": {"d_model": 32, "d_ff": 48, "d_kv": 8, "num_layers": 2, "num_heads": 4,
                                   "vocab_size": 96},
    "WhisperForConditionalGeneration": DECODER | {"vocab_size": 96, "num_mel_bins": 8, "pad_token_id": 0,
                                                  "bos_token_id": 1, "eos_token_id": 2, "decoder_start_token_id": 3},
    "ViTForImageClassification": VISION,
    "Dinov2ForImageClassification": VISION | {"use_swiglu_ffn": True},
    "SwinForImageClassification": {"embed_dim": 16, "depths": [1, 1], "num_heads": [2, 2], "image_size": 32},
    "SegformerForSemanticSegmentation": {"hidden_sizes": [8, 8, 8, 8], "depths": [1, 1, 1, 1],
                                         "decoder_hidden_size": 16, "num_attention_heads": [1, 1, 2, 2]},
    "SiglipModel": {"text_config": BERT | {"vocab_size": 96}, "vision_config": VISION},
    "CLIPModel": {"text_config": BERT | {"vocab_size": 96}, "vision_config": VISION},
    "DINOv3ViTModel": VISION,
    "Wav2Vec2ForCTC": BERT | {"vocab_size": 32, "conv_dim": [16, 16], "conv_stride": [2, 2], "conv_kernel": [3, 3],
                              "num_feat_extract_layers": 2, "num_conv_pos_embedding_groups": 2,
                              "num_conv_pos_embeddings": 4},
    "DetrForObjectDetection": DECODER | RESNET,
}


def rules_of(name):
    """The lines of the class in the file that place weights, split into words."""
    lines = FILE.read_text().splitlines()
    at = next(at for at, line in enumerate(lines) if line.startswith("class ") and name in line.split()[1:])
    section = []
    for line in lines[at + 1:]:
        if not line.startswith("  "):
            break
        section.append(line.split())
    # What transformers finds by the shape is found so here; names of PEFT's keys place nothing.
    section = [["turn", *words[2:]] if words[0] == "turnunless" else words for words in section]
    return [words for words in section if ">" in words and words[0] != "key"]


def expression(pattern):
    return re.escape(pattern).replace(r"\*", r"(\d+)")


def filled(pattern, found):
    for number in found:
        pattern = pattern.replace("*", number, 1)
    return pattern


def moved(rules, name):
    """The name in memory by the longest rule `move` that fits, of equals the one with fewer `*`."""
    fitting = []
    for word, disk, _, place in (rule for rule in rules if rule[0] == "move"):
        found = re.match(expression(disk) + r"(?=\.|$)", name)
        if found:
            fitting.append((disk.count("."), -disk.count("*"), filled(place, found.groups()) + name[found.end():]))
    return max(fitting)[-1] if fitting else name


def put(memory, name, tensor):
    assert name not in memory, f"{name} has two sources"
    memory[name] = tensor


def placed(rules, tensors, shapes):
    """{name in memory: tensor} of the tensors of a file, and the names that rules `other` place."""
    memory, parts, left = {}, {}, set()
    for name, tensor in tensors.items():
        for word, *words in rules:
            arrow = words.index(">")
            sources, places = words[:arrow], words[arrow + 1:]
            fit = [(at, re.fullmatch(expression(source), name)) for at, source in enumerate(sources)]
            fit = [(at, found.groups()) for at, found in fit if found]
            if word == "move" or not fit:
                continue
            [(at, found)] = fit
            if word == "other":
                left.update(filled(place, found) for place in places[:places.index(":")])
            elif word == "split":
                for place, share in zip(places, tensor.chunk(len(places))):
                    put(memory, filled(place, found), share)
            elif word == "turn":
                turned = tensor if tensor.shape == shapes[filled(places[0], found)] else tensor.transpose(-1, -2)
                put(memory, filled(places[0], found), turned)
            else:
                kept = places[0].count("*")
                expert = int(found[kept]) if len(found) > kept else 0
                parts.setdefault((word, filled(places[0], found)), {})[at, expert] = tensor
            break
        else:
            put(memory, moved(rules, name), tensor)
    for (word, name), found in parts.items():
        sources, experts = (1 + max(key[axis] for key in found) for axis in (0, 1))
        joined = [torch.cat([found[at, expert] for at in range(sources)], dim=1 if word == "joinstack" else 0)
                  for expert in range(experts)]
        put(memory, name, joined[0] if joined[0].shape == shapes[name] else torch.stack(joined))
    return memory, left


@pytest.mark.parametrize("name", MODELS)
def test_saved_tensors_are_where_the_rules_say(name, tmp_path):
    cls = getattr(transformers, name)
    torch.manual_seed(0)
    model = cls(cls.config_class(**MODELS[name]))
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.copy_(torch.rand(parameter.shape))
    model.save_pretrained(tmp_path)
    parameters = dict(model.named_parameters())
    tensors = load_file(tmp_path / "model.safetensors")
    memory, left = placed(rules_of(name), tensors, {key: value.shape for key, value in model.state_dict().items()})
    for key, value in parameters.items():
        assert key in left or torch.equal(memory[key], value), key
    assert sum(math.prod(value.shape) for value in parameters.values()) < 2_000_000

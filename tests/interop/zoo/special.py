"""What the general rules do not know: values by model type."""

import importlib
import inspect
import re

from transformers import CONFIG_MAPPING

from architectures_settings import PP_OCR, SETTINGS

TOKENS = {"<image>": 120, "<image_start>": 119, "IMGIMGA": 5, "IMGIMGB": 6}
SERIES = dict(prediction_length=8, context_length=16, lags_sequence=[1, 2], num_time_features=1)


def resnet(**more):
    """A small backbone in place of timm's."""
    sizes = dict(embedding_size=16, hidden_sizes=[16, 32, 48, 64], depths=[1, 1, 1, 1], out_features=["stage2", "stage3", "stage4"])
    return CONFIG_MAPPING["resnet"](**{**sizes, **more})


def detr():
    return dict(backbone_config=resnet(out_features=["stage1", "stage2", "stage3", "stage4"]), use_timm_backbone=False)


def pair(first, second):
    """Two models in one, as the classes for any encoder and any decoder have it."""

    def build():
        import shrink

        decoder = shrink.small(CONFIG_MAPPING[second])
        decoder.is_decoder = decoder.add_cross_attention = True
        return dict(encoder=shrink.small(CONFIG_MAPPING[first]).to_dict(), decoder=decoder.to_dict())

    return build


def towers():
    import shrink

    return dict(vision_config=shrink.small(CONFIG_MAPPING["vit"]).to_dict(), text_config=shrink.small(CONFIG_MAPPING["bert"]).to_dict())


def assistant():
    import shrink

    text = shrink.small(CONFIG_MAPPING["gemma4_text"])
    return dict(backbone_hidden_size=64, text_config={**text.to_dict(), "hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0,
                                                      "num_kv_shared_layers": text.num_hidden_layers})  # fmt: skip


def eva(**more):
    """A small vision transformer of timm."""
    sizes = dict(embed_dim=64, depth=2, num_heads=4, img_size=32)
    return dict(model_type="timm_wrapper", architecture="vit_pe_core_tiny_patch16_384", model_args={**sizes, **more})


VALUES = {
    "apertus1p5": dict(image_token_offset=0, audio_token_offset=64),
    "apertus1p5_vision_tokenizer": dict(base_channels=32),
    "depth_pro": dict(image_size=256, patch_size=64, intermediate_hook_ids=[1, 0], intermediate_feature_dims=[64, 64], scaled_images_feature_dims=[64, 64, 32]),
    "dots3_note_vision_encoder": dict(adapter_in_dim=64, adapter_out_dim=64),
    "dots3_note_audio_encoder": dict(adapter_input_size=64, adapter_out_dim=64, num_key_value_heads=4, head_dim=16),
    "emu3_vqgan": dict(base_channels=32),
    "fast_vlm": dict(vision_config=dict(model_type="timm_wrapper", architecture="fastvit_t8", hidden_size=768, model_args=dict(inference_mode=True))),
    "gemma3n_vision": dict(hidden_size=2048, model_args=dict(channel_multiplier=0.1)),
    "fun_asr_nano": dict(adaptor_config=dict(hidden_size=64, num_attention_heads=4, intermediate_size=16, projector_hidden_size=96)),
    "gemma4_assistant": assistant,
    "granite4_vision": dict(downsample_rate="4/8", deepstack_layer_map=[[-2, 0], [-1, 1]], spatial_target_layers=[0, 1]),
    "moonshine_streaming": dict(num_key_value_heads=4),
    "muse_spark_audio": dict(num_hidden_layers=4, hidden_sizes=[16, 32, 48, 64], depths=[1] * 4),
    "pp_ocrv5_server_det": PP_OCR,
    "pp_ocrv6_medium_det": PP_OCR,
    "t5gemma2_text": dict(dropout_rate=0.0),
    "timm_backbone": dict(backbone="resnet18"),
    "timm_wrapper": dict(architecture="resnet18"),
    "vibevoice_acoustic_tokenizer": dict(num_filters=4),
    "vibevoice_acoustic_tokenizer_encoder": dict(num_filters=4),
    "vibevoice_acoustic_tokenizer_decoder": dict(num_filters=4),
    "vibevoice_asr": dict(acoustic_tokenizer_chunk_size=6400),
    "pe_video_encoder": dict(vision_config=eva()),
    "perception_lm": dict(vision_config=eva(global_pool="")),
    "autoformer": SERIES,
    "informer": SERIES,
    "time_series_transformer": SERIES,
    "chameleon": dict(vocabulary_map=TOKENS),
    "emu3": dict(vocabulary_map=TOKENS),
    "blt": dict(encoder_hash_byte_group_vocab=128),
    "dpt": dict(num_hidden_layers=4, backbone_out_indices=[0, 1, 2, 3]),
    "cohere_compass_text": dict(rope_parameters={kind: {"rope_theta": 1e4, "rope_type": "default"} for kind in ("sliding_attention", "full_attention")}),
    "conditional_detr": detr,
    "dab-detr": detr,
    "deformable_detr": lambda: dict(backbone_config=resnet(), use_timm_backbone=False),
    "detr": detr,
    "table-transformer": detr,
    "dbrx": dict(attn_config=dict(kv_n_heads=2, clip_qkv=8.0, rope_theta=1e4)),
    "deepseek_ocr2_text": dict(mlp_layer_types=["dense", "sparse"]),
    "unlimited_ocr_text": dict(mlp_layer_types=["dense", "sparse"]),
    "diffusion_gemma_text": dict(num_experts=4, top_k_experts=2, moe_intermediate_size=48, global_head_dim=16),
    "dory": dict(num_hidden_layers=4, n_input_layers=1, n_output_layers=1, layer_types=["full_attention", "sliding_attention"] * 2),
    "dots1": dict(n_routed_experts=4, n_shared_experts=1, num_experts_per_tok=2, first_k_dense_replace=1),
    "esm": dict(vocab_size=33, pad_token_id=1, mask_token_id=32),
    "gemma3n_text": dict(num_kv_shared_layers=0),
    "gemma4_text": dict(hidden_size_per_layer_input=16, vocab_size_per_layer_input=128, num_kv_shared_layers=0, global_head_dim=16),
    "gemma3": dict(mm_tokens_per_image=4),
    "gpt_neo": dict(attention_types=[[["global", "local"], 1]], num_layers=2),
    "hrm_text": dict(num_hidden_layers=4),
    "lfm2_moe": dict(num_hidden_layers=3, layer_types=["conv", "full_attention", "conv"], num_dense_layers=1),
    "lfm2": dict(num_hidden_layers=2, layer_types=["conv", "full_attention"]),
    "mamba2": dict(num_heads=8, head_dim=16, n_groups=2),
    "bamba": dict(num_hidden_layers=2, attn_layer_indices=[1], mamba_n_heads=8, mamba_d_head=16),
    "granitemoehybrid": dict(num_hidden_layers=2, layer_types=["mamba", "attention"], mamba_n_heads=8, mamba_d_head=16),
    "mobilebert": dict(embedding_size=32, true_hidden_size=32, intra_bottleneck_size=32),
    "molmo2_adapter": dict(vision_feature_layer=[1, 0]),
    "nemotron3_5_transcribe_asr_audio": dict(num_key_value_heads=4),
    "nemotron3_5_transcribe_word_timestamp": dict(num_key_value_heads=4),
    "nemotron3_diarization_audio": dict(num_key_value_heads=4),
    "nemotron_h": dict(mamba_num_heads=8, mamba_head_dim=16),
    "perceiver": dict(num_latents=16, d_latents=64, d_model=64, image_size=32, train_size=[32, 32], vocab_size=128),
    "qwen4_exp_text": dict(indexer_n_heads=2, indexer_kv_heads=1, indexer_head_dim=16, indexer_budget=16, indexer_compress_ratio=4),
    "speech-encoder-decoder": pair("wav2vec2", "bert"),
    "encoder-decoder": pair("bert", "bert"),
    "vision-encoder-decoder": pair("vit", "bert"),
    "vision-text-dual-encoder": towers,
    "videomae": dict(num_frames=4, tubelet_size=2),
    "vitmatte": dict(fusion_hidden_sizes=[32, 16, 16, 16]),
    "xmod": dict(languages=["en_XX", "de_DE"], default_language="en_XX"),
    "zamba": dict(num_hidden_layers=6, attention_head_dim=32, attn_layer_period=2, attn_layer_offset=1, layers_block_type=["mamba", "hybrid"] * 3),
    "zamba2": dict(num_hidden_layers=4, layers_block_type=["mamba", "hybrid"] * 2, num_mem_blocks=1, mamba_headdim=16, n_mamba_heads=8),
    "upernet": dict(use_auxiliary_head=False),
    "wavtokenizer": dict(codebook_dim=64),
    "mimi": dict(upsample_groups=64, num_filters=8),
    "pocket_tts_audio_tokenizer": dict(upsample_groups=64, num_filters=8),
    "align_vision_model": dict(width_coefficient=0.25, depth_coefficient=0.25, hidden_dim=64),
    "efficientnet": dict(width_coefficient=0.25, depth_coefficient=0.25, hidden_dim=64),
    "vitpose_backbone": dict(part_features=16, num_experts=1, image_size=[32, 32], patch_size=[8, 8]),
    "vits": dict(upsample_initial_channel=64),
    "sapiens2_head": dict(upsample_out_channels=[32, 32], upsample_kernel_sizes=[4, 4], conv_out_channels=[32], conv_kernel_sizes=[1]),
}


def default(config_class):
    """The default configuration; one that can be built where transformers' is refused by its own checks."""
    try:
        return config_class()
    except Exception:
        return config_class(**SETTINGS.get(config_class.model_type, {}))


def values(model_type, few):
    found = VALUES.get(model_type, {})
    return dict(found() if callable(found) else found)


def read(config, name):
    """A field's value; where layers differ in it, the class's."""
    try:
        return getattr(config, name)
    except Exception:
        return next((f.default for f in config.__dataclass_fields__.values() if f.name == name), None)


def sections(config):
    """Sections of multimodal rotary embeddings, from the configuration or else from the model's source."""
    rope = read(config, "rope_parameters")
    if not isinstance(rope, dict) or "rope_theta" not in rope:
        return None
    if rope.get("mrope_section"):
        return {"mrope_section": rope["mrope_section"]}
    module = type(config).__module__.replace("configuration_", "modeling_")
    found = re.search(r'get\("mrope_section", \[([\d, ]+)\]', inspect.getsource(importlib.import_module(module)))
    return {"mrope_section": [int(word) for word in found[1].split(",")]} if found else None


def stages(config, names, count):
    """Which layers a backbone hands out: as many as by default, of a model that may have fewer."""
    features = read(config, "_out_features")
    if not features or "_out_features" not in names:
        return {}
    if not count:
        return {"out_features": list(features)}
    return {count: max(2, len(features)), "out_indices": list(range(1, len(features) + 1))[-len(features) :]}

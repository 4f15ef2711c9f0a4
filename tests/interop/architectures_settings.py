"""Settings for configurations whose defaults build no model, and for those that leave kinds of layers out."""

RESNET = {"use_timm_backbone": False, "backbone": None, "use_pretrained_backbone": False, "backbone_kwargs": None,
          "backbone_config": {"model_type": "resnet", "out_features": ["stage2", "stage3", "stage4"]}}
HEADS = {"head_dim": 128, "num_key_value_heads": 8}
COMPASS = {"rope_parameters": {"full_attention": {"rope_type": "default", "rope_theta": 10000.0},
                               "sliding_attention": {"rope_type": "default", "rope_theta": 10000.0}}}
QSA = {"indexer_n_heads": 4, "indexer_kv_heads": 1, "indexer_head_dim": 256, "indexer_budget": 64,
       "indexer_compress_ratio": 4, "split_ngram_parts": 4}
OCR2 = {"mlp_layer_types": ["dense"] + ["sparse"] * 31, "num_experts_per_tok": 6}
DIFFUSION = {"num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 704}
TALKER = {"shared_expert_intermediate_size": 1408}
FORECAST = {"prediction_length": 24}
# Kernel, stride and padding of the convolutions in the detectors of PaddleOCR.
PP_OCR = {"scale_factor_list": [1, 2, 4, 8], "kernel_list": [3, 2, 2], "intraclass_block_config": {
    "reduce_channel": [1, 1, 0], "return_channel": [1, 1, 0],
    **{f"vertical_long_to_small_conv_{ratio}ratio": [[size, 1], 1, [size // 2, 0]]
       for ratio, size in (("long", 7), ("mid", 5), ("short", 3))},
    **{f"horizontal_small_to_long_conv_{ratio}ratio": [[1, size], 1, [0, size // 2]]
       for ratio, size in (("long", 7), ("mid", 5), ("short", 3))},
    **{f"symmetric_conv_long_{ratio}ratio": [size, 1, size // 2] for ratio, size in (("long", 7), ("mid", 5), ("short", 3))}}}

# By class, else by model type: fields of the configuration.
SETTINGS = {
    "autoformer": FORECAST, "informer": FORECAST, "time_series_transformer": FORECAST,
    "aya_vision": {"vision_config": {"model_type": "siglip_vision_model", "num_attention_heads": 16}},
    "BeitForSemanticSegmentation": {"out_indices": [3, 5, 7, 11]},
    "chameleon": {"vocabulary_map": {"<image>": 8711, "IMGIMGA": 4}},
    "cohere_compass_text": COMPASS,
    "cohere_compass": {"text_config": COMPASS},
    "deepseek_ocr2": {"text_config": OCR2}, "deepseek_ocr2_text": OCR2,
    "diffusion_gemma": {"text_config": DIFFUSION}, "diffusion_gemma_text": DIFFUSION,
    "dots1": {"n_routed_experts": 8, "n_shared_experts": 2, "num_experts_per_tok": 2, "first_k_dense_replace": 1},
    "emu3": {"vocabulary_map": {"<|extra_200|>": 1, "<image>": 2}},
    "gemma4": {"vision_config": {}, "audio_config": {}},
    "gemma4_unified": {"vision_config": {}, "audio_config": {}},
    "embedding_gemma2": {"vision_config": {"model_type": "gemma4_vision"}, "audio_config": {"model_type": "gemma4_audio"}},
    "perception_lm": {"vision_config": {
        "model_type": "timm_wrapper", "architecture": "vit_pe_lang_large_patch14_448", "model_args": {"embed_dim": 1024}}},
    "granite4_vision": {"downsample_rate": "4/8", "deepstack_layer_map": [[-19, 9], [-13, 6], [-7, 3], [-1, 0]]},
    "HieraForPreTraining": {"decoder_hidden_size": 512, "decoder_depth": 8, "decoder_num_heads": 16},
    "pp_ocrv5_server_det": PP_OCR, "pp_ocrv6_medium_det": PP_OCR,
    "moshi": {"audio_vocab_size": 2048},
    "moonshine_streaming": {"num_key_value_heads": 8},
    "qwen4_exp_text": QSA,
    "qwen4_exp": {"text_config": QSA},
    "sapiens2": {"head_config": {"upsample_out_channels": [64, 64], "conv_out_channels": [64, 64],
                                 "scale_conv_out_channels": [64, 64], "scale_final_hidden_sizes": [64, 64]}},
    "vitmatte": {"fusion_hidden_sizes": [256, 128, 64, 32]},
    "t5gemma2_encoder": {"text_config": {"dropout_rate": 0.0}},
    "gemma4_assistant": {"text_config": {"hidden_size_per_layer_input": 0, "vocab_size_per_layer_input": 0,
                                         "num_hidden_layers": 12, "num_kv_shared_layers": 12}},
    "qwen3_omni_moe": {"talker_config": {"spatial_merge_size": 2, "text_config": TALKER}},
    "qwen3_omni_moe_talker_text": TALKER,
    "PerceiverForImageClassificationFourier": {"num_cross_attention_heads": 1},
    "PerceiverForImageClassificationConvProcessing": {"num_cross_attention_heads": 1},
    "PerceiverForMultimodalAutoencoding": {"num_cross_attention_heads": 1},
    "PerceiverForOpticalFlow": {"num_cross_attention_heads": 1},
    "BridgeTowerForContrastiveLearning": {"contrastive_hidden_size": 512, "logit_scale_init_value": 2.6592},
    "ViltForImagesAndTextClassification": {"num_images": 2},
    "conditional_detr": RESNET, "dab-detr": RESNET, "deformable_detr": RESNET, "detr": RESNET,
    "omdet-turbo": RESNET, "table-transformer": RESNET,
    "ConvNextBackbone": {"hidden_sizes": [96, 192, 384, 768]},
    "ConvNextV2Backbone": {"hidden_sizes": [96, 192, 384, 768]},
    "FocalNetBackbone": {"hidden_sizes": [192, 384, 768, 768]},
    "dbrx": {"attn_config": {"rope_theta": 10000.0}},
    "esm": {"vocab_size": 33, "pad_token_id": 1},
    "hunyuan_v1_dense": HEADS, "hunyuan_v1_moe": HEADS | {"num_experts": 8, "moe_topk": 2}, "hunyuan_vl_text": HEADS, "ministral": HEADS,
    "hunyuan_vl": {"text_config": HEADS},
    "nemotron": HEADS,
    "lfm2_moe": {"layer_types": (["conv", "conv", "full_attention"] * 11)[:32]},
    "ReformerModelWithLMHead": {"is_decoder": True},
    "Wav2Vec2BertForCTC": {"vocab_size": 32}, "Wav2Vec2ConformerForCTC": {"vocab_size": 32},
    "wav2vec2-bert": {"vocab_size": 32}, "wav2vec2-conformer": {"vocab_size": 32},
    "T5GemmaEncoderModel": {"is_encoder_decoder": False},
}

# By model type: further fields with which a configuration has more kinds of layers.
DINOV2 = [{"backbone_config": {"model_type": "dinov2", "use_swiglu_ffn": True, "reshape_hidden_states": False,
                               "out_features": ["stage9", "stage10", "stage11", "stage12"]}}]
GEMMA4_MOE = {"enable_moe_block": True, "num_experts": 8, "top_k_experts": 2, "moe_intermediate_size": 704}
VARIANTS = {
    "depth_anything": DINOV2, "prompt_depth_anything": DINOV2,
    "tipsv2": [{"vision_config": {"use_swiglu_ffn": True}}],
    "tipsv2_dpt": [{"backbone_config": {"model_type": "tipsv2_vision_model", "use_swiglu_ffn": True}}],
    "gemma4": [{"text_config": GEMMA4_MOE}], "gemma4_text": [GEMMA4_MOE],
}

# Fields that bring further parameters when they are turned over, in any configuration that has them.
FLAGS = {
    "add_adapter": True, "add_cross_attention": True, "auxiliary_concat_input": True, "axial_pos_embds": False,
    "conv_pos_batch_norm": True, "enable_fusion": True, "enforce_input_projection": True,
    "first_layer_is_expansion": False, "is_hybrid": True, "is_moe": True, "learn_initial_query": True,
    "relative_attention": True, "two_stage": False, "use_absolute_embeddings": True,
    "use_absolute_position_embeddings": True, "use_cls_token": True, "use_conv_shortcut": True, "use_mask_token": True,
    "use_positional_encoding": True, "use_prompt": True, "use_qk_norm": True, "use_relative_position_bias": True,
    "use_relative_position_embeddings": True, "use_resampler": True, "use_shared_relative_position_bias": True,
    "use_simple_decoder": False, "use_stochastic_duration_prediction": False, "use_swiglu_ffn": True,
    "use_task_id": True,
}

# Methods that some model types do not call when they run, by their names: those types. In decoders none does.
ASIDE = {
    "MimiConv1d._get_output_length": {"mimi", "mimi_encoder", "mimi_decoder"},
    "PocketTTSAudioTokenizerConv1d._get_output_length": set(),
}

# Modules of classes that read the weight in a branch that no published model takes.
CALLED = {"DisentangledSelfAttention.in_proj"}

# Of two tied weights that which is used, where the model never calls the other's layer.
USED = {f"{unused}.{name}": f"{used}.{name}" for unused, used in [("patch_embed.proj", "encoder.embed_patches.proj")]
        for name in ("weight", "bias")}

# Model types whose layers transformers renumbers by rules that name each number.
LITERAL = {"sapiens2"}

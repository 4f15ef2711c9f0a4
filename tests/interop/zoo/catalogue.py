"""Which architectures there are: every model type of transformers' auto mappings, and one main class for each."""

import importlib

from transformers.models.auto import modeling_auto
from transformers.models.auto.configuration_auto import CONFIG_MAPPING, CONFIG_MAPPING_NAMES

# What a model is mostly used for comes first. Decoders are in several of these; encoders are masked models first.
TASKS = """
    MULTIMODAL_LM IMAGE_TEXT_TO_TEXT SPEECH_SEQ_2_SEQ SEQ_TO_SEQ_CAUSAL_LM ZERO_SHOT_IMAGE_CLASSIFICATION MASKED_LM CAUSAL_LM
    CTC TDT RNNT IMAGE_CLASSIFICATION VIDEO_CLASSIFICATION AUDIO_CLASSIFICATION OBJECT_DETECTION ZERO_SHOT_OBJECT_DETECTION
    UNIVERSAL_SEGMENTATION SEMANTIC_SEGMENTATION INSTANCE_SEGMENTATION DEPTH_ESTIMATION MASK_GENERATION IMAGE_TO_IMAGE
    IMAGE_MATTING KEYPOINT_DETECTION KEYPOINT_MATCHING POSE_ESTIMATION TIME_SERIES_PREDICTION TEXT_TO_WAVEFORM
    TEXT_TO_SPECTROGRAM VISUAL_QUESTION_ANSWERING TABLE_QUESTION_ANSWERING QUESTION_ANSWERING TOKEN_CLASSIFICATION RETRIEVAL
    TEXT_RECOGNITION TABLE_RECOGNITION PRETRAINING BACKBONE
""".split()

# Where the order above chooses what cannot be built small or is no model of its own.
CLASSES = {
    "qwen2_5_omni": "Qwen2_5OmniThinkerForConditionalGeneration",
    "qwen3_omni_moe": "Qwen3OmniMoeThinkerForConditionalGeneration",
}

# Fixed, so that figures of different days can be compared: a member or two of each family.
SAMPLE = """
    llama qwen2 gemma3 qwen2_vl qwen2_5_vl llava mllama mixtral qwen2_moe qwen3_moe deepseek_v3 gpt_oss llama4 granitemoe
    nemotron_h mamba2 bert gpt2 t5 whisper vit dinov2 siglip wav2vec2 swin
""".split()


def _mapping(task):
    name = "MODEL_MAPPING_NAMES" if task is None else f"MODEL_FOR_{task}_MAPPING_NAMES"
    return getattr(modeling_auto, name, {})


def class_name(model_type):
    """The main class, or None where the type is only a part of another model."""
    for task in [*TASKS, None]:
        name = _mapping(task).get(model_type)
        if name:
            return CLASSES.get(model_type) or (name if isinstance(name, str) else name[0])
    return CLASSES.get(model_type)


def config_class(model_type):
    return CONFIG_MAPPING[model_type]


def model_class(model_type):
    module = importlib.import_module(config_class(model_type).__module__.rsplit(".", 1)[0])
    found = getattr(module, class_name(model_type), None)
    return found or getattr(importlib.import_module("transformers"), class_name(model_type))


def types():
    """Every type with a class of its own; a second name for the same configuration (gpt-sw3) is left out."""
    seen, chosen = set(), []
    for model_type in CONFIG_MAPPING_NAMES:
        name = class_name(model_type)
        key = (CONFIG_MAPPING_NAMES[model_type], name)
        own = config_class(model_type).model_type == model_type
        if name and key not in seen and own:
            seen.add(key)
            chosen.append(model_type)
    return chosen

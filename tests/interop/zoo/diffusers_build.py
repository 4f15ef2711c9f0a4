"""Small models of diffusers' transformers and UNets, by the names of what their constructors take."""

import inspect
import re

import diffusers
import torch

import build

UNET = dict(
    sample_size=8,
    in_channels=4,
    out_channels=4,
    block_out_channels=(16, 32),
    layers_per_block=1,
    down_block_types=("CrossAttnDownBlock2D", "DownBlock2D"),
    up_block_types=("UpBlock2D", "CrossAttnUpBlock2D"),
    cross_attention_dim=32,
    attention_head_dim=4,
    norm_num_groups=4,
)
SPECIAL = {
    "UNet2DConditionModel": UNET,
    "ControlNetModel": {k: v for k, v in UNET.items() if k not in ("sample_size", "out_channels", "up_block_types")},
    "PixArtTransformer2DModel": dict(num_attention_heads=4, attention_head_dim=16, num_layers=2, cross_attention_dim=64, caption_channels=64, sample_size=8, norm_type="ada_norm_single"),
    "SanaTransformer2DModel": dict(num_attention_heads=4, attention_head_dim=16, num_layers=2, num_cross_attention_heads=4, cross_attention_head_dim=16, cross_attention_dim=64, caption_channels=64, sample_size=8),
    "WanTransformer3DModel": dict(num_attention_heads=4, attention_head_dim=16, num_layers=2, ffn_dim=96, text_dim=64, freq_dim=32),
    "CogVideoXTransformer3DModel": dict(num_attention_heads=4, attention_head_dim=16, num_layers=2, time_embed_dim=32, text_embed_dim=64, sample_width=8, sample_height=8, sample_frames=5),
    "HunyuanDiT2DModel": dict(num_attention_heads=4, attention_head_dim=16, in_channels=4, patch_size=2, sample_size=8, hidden_size=64, num_layers=2, cross_attention_dim=64, cross_attention_dim_t5=64, pooled_projection_dim=64, activation_fn="gelu-approximate", text_len=8, text_len_t5=8),
    "LatteTransformer3DModel": dict(num_attention_heads=4, attention_head_dim=16, in_channels=4, out_channels=8, num_layers=2, cross_attention_dim=64, caption_channels=64, patch_size=2, sample_size=8, norm_type="ada_norm_single", num_embeds_ada_norm=1000),
    "HiDreamImageTransformer2DModel": dict(patch_size=2, in_channels=4, out_channels=4, num_layers=2, num_single_layers=2, attention_head_dim=16, num_attention_heads=4, caption_channels=[64, 64], text_emb_dim=64, axes_dims_rope=(8, 4, 4), max_resolution=(8, 8), llama_layers=[0, 1, 2, 3]),
    "UNet2DModel": dict(sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=4, down_block_types=("DownBlock2D", "AttnDownBlock2D"), up_block_types=("AttnUpBlock2D", "UpBlock2D")),
    "UNet3DConditionModel": dict(sample_size=8, block_out_channels=(16, 32), layers_per_block=1, norm_num_groups=4, down_block_types=("CrossAttnDownBlock3D", "DownBlock3D"), up_block_types=("UpBlock3D", "CrossAttnUpBlock3D"), cross_attention_dim=32, attention_head_dim=4),
    "UNetSpatioTemporalConditionModel": dict(sample_size=8, block_out_channels=(32, 64), layers_per_block=1, down_block_types=("CrossAttnDownBlockSpatioTemporal", "DownBlockSpatioTemporal"), up_block_types=("UpBlockSpatioTemporal", "CrossAttnUpBlockSpatioTemporal"), cross_attention_dim=32, num_attention_heads=4, projection_class_embeddings_input_dim=96, addition_time_embed_dim=32),
    "WanVACETransformer3DModel": dict(num_attention_heads=4, attention_head_dim=16, num_layers=2, ffn_dim=96, text_dim=64, freq_dim=32, vace_layers=[0, 1]),
}  # fmt: skip
RULES = [
    (r"axes_dims?(_rope)?|rope_axes_dim", lambda v: {2: [8, 8], 3: [4, 6, 6], 4: [4, 4, 4, 4]}.get(len(v), v)),
    (r"(num_|n_)?.*(layers|blocks)|layers_per_block|depth", lambda v: min(v, 2)),
    (r".*(head_dim|dim_head)", 16),
    (r"(num_|n_)?(.*_)?heads|num_kv_heads|n_kv_heads|num_key_value_heads", 4),
    (r".*(ffn|ff|intermediate|mlp_hidden)_?(dim|size)", 96),
    (r"num_(routed_)?experts", 4),
    (r"vocab_size|max_seq.*|text_len.*|max_position.*", 128),
    (r"(.*_)?(hidden|attention|embed|text|caption|projection|pooled|model|cond(ition)?|time|inner|feat|cap_feat|freq|emb|adaln|cross_attention|joint_attention|context)_?(dim|size|channels|embed_dim)s?\d?|dim|inner_dim|in_text_dim\d?|caption_channels|time_step_dim|.*_embed_dim|.*_projection_dim", 64),
    (r"sample_(size|width|height)|image_size", 8),
    (r"sample_frames|num_frames|video_length", 5),
]  # fmt: skip
RULES = [(re.compile(pattern), value) for pattern, value in RULES]


def names():
    """Every model class that is a transformer or a UNet."""
    found = [n for n in dir(diffusers) if re.fullmatch(r"\w*(Transformer(1D|2D|3D)?Model|Transformer3DModel|UNet\w*Model|DiT2DModel|ControlNetModel)", n)]
    return [n for n in found if "Multi" not in n and "Motion" not in n and "VQ" not in n]


def _small(name, default):
    for pattern, value in RULES:
        if pattern.fullmatch(name):
            if callable(value):
                return value(default) if isinstance(default, (list, tuple) if "ax" in name else int) else default
            return min(value, default) if isinstance(default, int) and default > 0 else default
    return default


def arguments(model_class):
    found = dict(SPECIAL.get(model_class.__name__, {}))
    if found:
        return found
    for name, parameter in inspect.signature(model_class.__init__).parameters.items():
        default = parameter.default
        if name != "self" and default is not parameter.empty and not isinstance(default, bool) and default is not None:
            changed = _small(name, default)
            if changed != default:
                found[name] = type(default)(changed) if isinstance(default, (list, tuple)) else changed
    return found


def model(name, seed=1):
    model_class = getattr(diffusers, name)
    torch.manual_seed(seed)
    values = arguments(model_class)
    try:
        with torch.device("meta"):
            size = sum(p.numel() for p in model_class(**values).parameters())
    except Exception:  # some cannot be built without memory
        size = 0
    if size > build.LIMIT:
        raise build.Unbuildable(f"still {size / 1e6:.0f} M parameters")
    found = model_class(**values).float().eval()
    build.spread(found)
    return found

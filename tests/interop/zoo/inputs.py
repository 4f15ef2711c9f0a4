"""Small inputs for any model, by the names in the signature of its forward."""

import inspect
import operator

import torch

TOKENS, BATCH, PATCHES = 12, 2, 4


def part(model, *names):
    """The first part of the configuration that is there, else all of it."""
    for name in names:
        found = getattr(model.config, name, None)
        if found is not None and not isinstance(found, dict):
            return found
    return model.config


def get(config, names, default):
    for name in names:
        value = getattr(config, name, None)
        if isinstance(value, (int, list, tuple)) and not isinstance(value, bool):
            return value
    return default


def vision(model):
    return part(model, "vision_config", "image_config", "backbone_config", "vision_encoder", "encoder", "vision_tower_config")


def audio(model):
    return part(model, "audio_config", "encoder_config", "audio_encoder_config", "encoder", "semantic_model_config")


def tokens(model, high=100):
    config = model.config.get_text_config(decoder=True) if hasattr(model.config, "get_text_config") else model.config
    size = get(config, ["vocab_size"], high)
    return torch.randint(min(3, size - 1), min(high, size), (BATCH, TOKENS))


def image(model, *more):
    config = vision(model)
    size = get(config, ["image_size", "img_size"], None) or get(model.config, ["image_size"], 32)
    channels = get(config, ["num_channels", "in_channels", "in_chans"], 3)
    height, width = tuple(size)[-2:] if isinstance(size, (list, tuple)) else (size, size)
    return torch.randn(BATCH, *more, channels if isinstance(channels, int) else 3, height, width)


def video(model):
    frames = get(vision(model), ["num_frames", "frames_per_clip"], 4)
    return image(model, frames)


def patches(model, temporal=True):
    """Flattened patches of a picture of 4 × 4, as in the Qwen2-VL family."""
    config = vision(model)
    channels, size = get(config, ["in_channels", "in_chans", "num_channels"], 3), get(config, ["patch_size"], 8)
    frames = get(config, ["temporal_patch_size"], 1) if temporal else 1
    channels, size = (x if isinstance(x, int) else x[0] for x in (channels, size))
    return torch.randn(PATCHES**2, channels * frames * size**2)


def features(model):
    """[1, bins, length] of a spectrogram; long enough for encoders that want one length."""
    config = audio(model)
    names = ["num_mel_bins", "feature_projection_input_dim", "input_feat_per_channel", "feature_size", "input_dim", "input_channels"]
    return torch.randn(1, get(config, names, 16), 2 * get(config, ["max_source_positions"], 32))


def boxes(model):
    corner = torch.randint(0, 50, (BATCH, TOKENS, 2))
    return torch.cat([corner, corner + 20], -1)


GRID = torch.tensor([[1, PATCHES, PATCHES]])
# What forwards ask for by name, beside the main inputs.
NAMED = {
    "input_ids": tokens,
    "decoder_input_ids": tokens,
    "qformer_input_ids": tokens,
    "pixel_values": image,
    "pixel_values_videos": video,
    "input_features": features,
    "input_values": lambda m: torch.randn(BATCH, 4000),
    "bbox": boxes,
    "grid_thw": lambda m: GRID,
    "image_grid_thw": lambda m: GRID,
    "merge_sizes": lambda m: torch.tensor([1]),
    "input_features_mask": lambda m: torch.ones(1, features(m).shape[-1], dtype=torch.long),
    "query_embeds": lambda m: torch.randn(BATCH, 4, m.config.hidden_size),
    "encoder_hidden_states": lambda m: torch.randn(BATCH, 4, get(m.config, ["encoder_hidden_size"], m.config.hidden_size)),
    "visual_feats": lambda m: torch.randn(BATCH, 4, m.config.visual_feat_dim),
    "visual_pos": lambda m: torch.rand(BATCH, 4, m.config.visual_pos_dim),
    "flattened_patches": lambda m: torch.cat([torch.ones(BATCH, 6, 2), torch.randn(BATCH, 6, m.config.vision_config.patch_embed_hidden_size)], -1),
    "past_values": lambda m: torch.randn(BATCH, m.config.context_length + max(get(m.config, ["lags_sequence"], [0])), *([get(m.config, ["num_input_channels"], 1)] if "patch" in m.config.model_type else [])),
    "past_time_features": lambda m: torch.randn(BATCH, m.config.context_length + max(m.config.lags_sequence), m.config.num_time_features),
    "past_observed_mask": lambda m: torch.ones(BATCH, m.config.context_length + max(m.config.lags_sequence)),
    "dataset_index": lambda m: torch.zeros(BATCH, dtype=torch.long),
    "prompt_pixel_values": image,
    "prompt_masks": image,
    "audio_codes": tokens,
}  # fmt: skip


def _given(model, names):
    found = {}
    for name in names:
        try:
            found[name] = NAMED[name](model)
        except Exception:  # the configuration lacks what the input needs
            pass
    return found


def variations(model, arguments):
    """The same arguments in other layouts."""
    yield arguments
    if "pixel_values" in arguments:
        yield {**arguments, "pixel_values": video(model)}
        yield {**arguments, "pixel_values": image(model, 2)}
        yield {**arguments, "pixel_values": patches(model)}
        yield {**arguments, "pixel_values": patches(model, temporal=False)}
        yield {**arguments, "pixel_values": image(model), "image_sizes": torch.tensor([[32, 32]] * BATCH)}
        yield {**arguments, "pixel_values": image(model, 1), "image_sizes": torch.tensor([[32, 32]] * BATCH)}
        mask, shapes = torch.ones(1, PATCHES**2, dtype=torch.long), torch.tensor([[PATCHES, PATCHES]])
        yield {**arguments, "pixel_values": patches(model, False)[None], "pixel_attention_mask": mask, "spatial_shapes": shapes}
    if "input_features" in arguments:
        turned = arguments["input_features"].transpose(1, 2)
        yield {**arguments, "input_features": turned}
        yield {**arguments, "input_features": turned[:, None]}
        yield {**arguments, "feature_attention_mask": torch.ones(1, turned.shape[1], dtype=torch.long)}
        yield {**arguments, "input_features": turned, "input_features_mask": torch.ones(1, turned.shape[1], dtype=torch.long)}
    if len(arguments) == 1 and "input_ids" in arguments:
        yield {"input_ids": arguments["input_ids"].repeat(2, 1)}
    if "input_values" in arguments:
        yield {**arguments, "input_values": torch.randn(1, get(model.config, ["max_length"], 16), get(model.config, ["num_mel_bins"], 16))}
        yield {**arguments, "input_values": arguments["input_values"][:, None]}
        yield {**arguments, "input_values": torch.randn(1, 64, 16)}
        yield {**arguments, "input_values": torch.randn(1, 128, 16)}
        yield {**arguments, "input_values": torch.randn(1, 3840)}
        yield {**arguments, "input_values": torch.randn(1, 1, 3840)}


def candidates(model, function, main=None):
    """Sets of arguments to try, the smallest first."""
    names = inspect.signature(function).parameters
    main = main[0] if isinstance(main, list) else main
    required = [n for n, p in names.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD]
    known = [n for n in names if n in NAMED]
    decoder = ["decoder_input_ids"] if "decoder_input_ids" in names else []
    wanted = [[main, *required], [main, *decoder, *required], required, [main, "pixel_values", *required], [main, "bbox", *required], known]
    tried = []
    for chosen in wanted:
        chosen = [n for n in dict.fromkeys(chosen) if n in known]
        if chosen and chosen not in tried:
            tried.append(chosen)
            yield from variations(model, _given(model, chosen))
    if "hidden_states" in names and "grid_thw" in names:
        yield {"hidden_states": patches(model), "grid_thw": GRID}


def flat(output, found):
    """Every floating tensor of an output, caches left out."""
    if isinstance(output, torch.Tensor):
        if output.is_floating_point() and output.numel():
            found.append(output.double())
    elif hasattr(output, "items"):
        for key, value in output.items():
            if key not in ("past_key_values", "cache_params", "encoder_past_key_values"):
                flat(value, found)
    elif isinstance(output, (list, tuple)):
        for value in output:
            flat(value, found)
    return found


class Call:
    """One way to run a model: its forward, a method, or the decoder in it."""

    def __init__(self, method, arguments):
        self.method, self.arguments = method, arguments

    @torch.no_grad()
    def __call__(self, model):
        torch.manual_seed(0)
        function = operator.attrgetter(self.method)(model) if self.method else model
        function = function() if self.method == "get_decoder" else function
        return flat(function(**{n: v.clone() for n, v in self.arguments.items()}), [])

    def __str__(self):
        return f"{self.method or 'forward'}({', '.join(self.arguments)})"


def _attempt(model, method, sets, failures):
    for arguments in sets:
        call = Call(method, arguments)
        try:
            tensors = call(model)
            if tensors and all(t.isfinite().any() for t in tensors):
                return [call]
            failures.append(f"{call}: no finite output")
        except Exception as error:
            failures.append(f"{call}: {type(error).__name__}: {' '.join(str(error).split())[:160]}")
    return []


def calls(model):
    """(calls that run, why the others do not)."""
    failures = []
    torch.manual_seed(5)
    working = _attempt(model, None, candidates(model, model.forward, model.main_input_name), failures)
    for tower in ("get_image_features", "get_audio_features"):
        if hasattr(model, tower):
            working += _attempt(model, tower, candidates(model, getattr(model, tower)), failures)
    if not working and hasattr(model, "get_decoder"):
        working += _attempt(model, "get_decoder", [{"input_ids": tokens(model)}], failures)
    return working, failures

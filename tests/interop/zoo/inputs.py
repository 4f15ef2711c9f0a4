"""Small inputs for any model, by the names in the signature of its forward."""

import inspect

import torch

TOKENS, BATCH = 12, 2


def _config(model, *names):
    """The part of the configuration that has any of the names first."""
    for name in names:
        part = getattr(model.config, name, None)
        if part is not None and not isinstance(part, dict):
            return part
    return model.config


def _get(config, names, default):
    for name in names:
        value = getattr(config, name, None)
        if value is not None:
            return value
    return default


def _pair(value):
    return tuple(value)[-2:] if isinstance(value, (list, tuple)) else (value, value)


def tokens(model, high=100):
    config = model.config.get_text_config(decoder=True) if hasattr(model.config, "get_text_config") else model.config
    return torch.randint(3, min(high, getattr(config, "vocab_size", high) or high), (BATCH, TOKENS))


def _vision(model):
    return _config(model, "vision_config", "image_config", "backbone_config", "vision_encoder", "encoder", "vision_tower_config")


def image(model):
    config = _vision(model)
    size = _get(config, ["image_size", "img_size"], None) or _get(model.config, ["image_size"], 32)
    channels = _get(config, ["num_channels", "in_channels", "in_chans"], 3)
    channels = channels if isinstance(channels, int) else 3
    return torch.randn(BATCH, channels, *_pair(size))


def patches(model):
    """Flattened patches of a picture of 4 × 4, as in the Qwen2-VL family."""
    config = _vision(model)
    channels = _get(config, ["in_channels", "in_chans", "num_channels"], 3)
    return torch.randn(16, channels * _get(config, ["temporal_patch_size"], 1) * _get(config, ["patch_size"], 8) ** 2)


def features(model):
    config = _config(model, "audio_config", "encoder_config", "audio_encoder_config")
    bins = _get(config, ["num_mel_bins", "input_feat_per_channel", "feature_size", "input_dim", "input_channels"], 16)
    length = 2 * _get(config, ["max_source_positions"], 32)
    return torch.randn(1, bins, length)


def waveform(model):
    return torch.randn(BATCH, 4000)


def values(model, name):
    """The input `name`, or None where it may be absent."""
    if name in ("input_ids", "decoder_input_ids"):
        return tokens(model)
    if name == "pixel_values":
        return image(model)
    if name in ("pixel_values_videos", "video"):
        frames = _get(_vision(model), ["num_frames", "frames_per_clip"], 4)
        return image(model)[:, None].repeat(1, frames, 1, 1, 1) + torch.randn(BATCH, frames, 1, 1, 1)
    if name == "input_features":
        return features(model)
    if name in ("input_values", "audio_values", "waveform"):
        return waveform(model)
    return None


def candidates(model):
    """Sets of arguments to try, the most complete first."""
    names = inspect.signature(model.forward).parameters
    main = model.main_input_name
    chosen = {}
    for name in ("input_ids", "pixel_values", "pixel_values_videos", "input_features", "input_values", "decoder_input_ids"):
        if name in names:
            chosen[name] = values(model, name)
    required = {n for n, p in names.items() if p.default is p.empty and p.kind is p.POSITIONAL_OR_KEYWORD}
    sets = []
    if main in chosen:
        sets.append({main: chosen[main], **({"decoder_input_ids": tokens(model)} if "decoder_input_ids" in names else {})})
        sets.append({main: chosen[main]})
    sets.append({n: v for n, v in chosen.items() if n in required})
    sets.append(chosen)
    if "input_features" in chosen:
        sets += [{**s, "input_features": s["input_features"].transpose(1, 2)} for s in sets if "input_features" in s]
        sets += [{**s, "input_features": torch.randn(BATCH, 64, 16)} for s in sets[:1] if "input_features" in s]
    if main == "input_ids":
        sets.insert(0, {"input_ids": tokens(model)})
    return [s for s in sets if s]


def flat(output, found):
    """Every floating tensor of an output, caches left out."""
    if isinstance(output, torch.Tensor):
        if output.is_floating_point() and output.numel():
            found.append(output.double().flatten())
    elif hasattr(output, "items"):
        for key, value in output.items():
            if key not in ("past_key_values", "cache_params", "encoder_past_key_values"):
                flat(value, found)
    elif isinstance(output, (list, tuple)):
        for value in output:
            flat(value, found)
    return found


class Call:
    """One way to run a model; `path` names the method where it is not the forward."""

    def __init__(self, method, arguments):
        self.method, self.arguments = method, arguments

    @torch.no_grad()
    def __call__(self, model):
        torch.manual_seed(0)
        function = getattr(model, self.method) if self.method else model
        return flat(function(**{n: v.clone() if hasattr(v, "clone") else v for n, v in self.arguments.items()}), [])

    def __str__(self):
        return f"{self.method or 'forward'}({', '.join(self.arguments)})"


def _works(call, model):
    tensors = call(model)
    if not tensors or not all(t.isfinite().any() for t in tensors):
        raise ValueError("no finite output")
    return True


def _attempt(model, method, sets, failures):
    for arguments in sets:
        call = Call(method, arguments)
        try:
            if _works(call, model):
                return [call]
        except Exception as error:
            failures.append(f"{call}: {type(error).__name__}: {' '.join(str(error).split())[:160]}")
    return []


def _towers(model, name):
    parameters = inspect.signature(getattr(model, name)).parameters
    sets = []
    if "image_grid_thw" in parameters:
        sets.append({"pixel_values": patches(model), "image_grid_thw": torch.tensor([[1, 4, 4]])})
    if "pixel_values" in parameters:
        sets.append({"pixel_values": image(model)})
        sets.append({"pixel_values": image(model)[:, None], "image_sizes": torch.tensor([[32, 32]] * BATCH)})
        sets.append({"pixel_values": image(model), "image_sizes": torch.tensor([[32, 32]] * BATCH)})
    if "input_features" in parameters:
        sets.append({"input_features": features(model)})
        sets.append({"input_features": features(model), "feature_attention_mask": torch.ones(1, features(model).shape[-1], dtype=torch.long)})
    return sets


def calls(model):
    """(calls that run, why the others do not)."""
    failures = []
    torch.manual_seed(5)
    working = _attempt(model, None, candidates(model), failures)
    for tower in ("get_image_features", "get_audio_features"):
        if hasattr(model, tower):
            working += _attempt(model, tower, _towers(model, tower), failures)
    return working, failures

"""Writes tests/data/quantized: stored tensors in the layout of each library, and the weight that the library makes of them.

    python tests/interop/quantized_vectors.py [CASE...]

Codes and scales are random, so that all of them occur. `config` in the metadata is the model's `quantization_config`,
`reference` names the function of quantized_reference.py that made `expected`, `library` its package and version. Packages:
compressed-tensors (0.10.2 for ct_packed4_ordered), bitsandbytes, nvidia-modelopt, gptqmodel and autoawq; of the latter two
the unpacked sources in PYTHONPATH are enough.
"""

import importlib.metadata
import json
import sys
from pathlib import Path

import torch
from safetensors.torch import save_file

import quantized_reference

FOLDER = Path(__file__).resolve().parent.parent / "data/quantized"
E4M3, E5M2, E8M0 = torch.float8_e4m3fn, torch.float8_e5m2, torch.float8_e8m0fnu


class Draw:
    """Random tensors, the same for the same case."""

    def __init__(self, name):
        self.generator = torch.Generator().manual_seed(sum(name.encode()))

    def integers(self, low, high, *shape):
        return torch.randint(low, high, shape, generator=self.generator)

    def bytes(self, *shape):
        return self.integers(0, 256, *shape).to(torch.uint8)

    def int8(self, *shape):
        return self.bytes(*shape).view(torch.int8)

    def words(self, *shape):
        return self.integers(-(2**31), 2**31, *shape).to(torch.int32)

    def scales(self, *shape, dtype=torch.float32):
        return (torch.rand(shape, generator=self.generator) * 0.02 + 1e-4).to(dtype)

    def fp8(self, dtype, *shape):
        """Every code in turn, from a random one on."""
        first = self.integers(0, 256, 1)
        return ((torch.arange(torch.Size(shape).numel()) + first) % 256).to(torch.uint8).view(dtype).reshape(shape)

    def positive_e4m3(self, *shape):
        return self.integers(1, 0x7F, *shape).to(torch.uint8).view(E4M3)


def ct(format, num_bits, type, strategy, **weights):
    """A quantization_config of compressed-tensors."""
    weights = {"num_bits": num_bits, "type": type, "strategy": strategy, "symmetric": True, "dynamic": False} | weights
    inputs = None
    if format in ("float-quantized", "int-quantized"):
        inputs = {"num_bits": 8, "type": type, "strategy": "token", "dynamic": True, "symmetric": True}
    group = {"weights": weights, "input_activations": inputs, "output_activations": None, "format": format}
    return {"quant_method": "compressed-tensors", "format": format, "config_groups": {"group_0": group}}


def fp8_blocks(draw):
    scales = draw.scales(3, 4)
    return "fp8", {"weight": draw.fp8(E4M3, 24, 64), "weight_scale_inv": scales}, {
        "quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [8, 16],
    }  # fmt: skip


def fp8_exponents(draw):
    scales = draw.integers(60, 180, 3, 4).to(torch.uint8)
    scales[0, 0], scales[2, 3] = 0, 254
    return "fp8", {"weight": draw.fp8(E4M3, 24, 64), "weight_scale_inv": scales.view(E8M0)}, {
        "quant_method": "fp8", "fmt": "e4m3", "scale_fmt": "ue8m0", "weight_block_size": [8, 16],
    }  # fmt: skip


def e5m2_plain(draw):
    return "plain", {"weight": draw.fp8(E5M2, 8, 64)}, {}


def e4m3_plain(draw):
    return "plain", {"weight": draw.fp8(E4M3, 8, 64)}, {}


def ct_fp8_tensor(draw):
    parts = {"weight": draw.fp8(E4M3, 9, 41), "weight_scale": draw.scales(1, dtype=torch.bfloat16)}
    return "compressed_tensors", parts, ct("float-quantized", 8, "float", "tensor")


def ct_fp8_channel(draw):
    parts = {"weight": draw.fp8(E4M3, 9, 41), "weight_scale": draw.scales(9, 1, dtype=torch.bfloat16)}
    return "compressed_tensors", parts, ct("float-quantized", 8, "float", "channel")


def ct_fp8_block(draw):
    parts = {"weight": draw.fp8(E4M3, 21, 50), "weight_scale": draw.scales(3, 4, dtype=torch.float16)}
    return "compressed_tensors", parts, ct("float-quantized", 8, "float", "block", block_structure=[8, 16])


def ct_int8_channel(draw):
    parts = {"weight": draw.int8(11, 33), "weight_scale": draw.scales(11, 1, dtype=torch.bfloat16)}
    return "compressed_tensors", parts, ct("int-quantized", 8, "int", "channel")


def ct_int8_asymmetric(draw):
    parts = {"weight": draw.int8(11, 32), "weight_scale": draw.scales(11, 4), "weight_zero_point": draw.int8(11, 4)}
    return "compressed_tensors", parts, ct("int-quantized", 8, "int", "group", group_size=8, symmetric=False)


def ct_mxfp8(draw):
    scales = draw.integers(60, 180, 8, 2).to(torch.uint8)
    parts = {"weight": draw.fp8(E4M3, 8, 64), "weight_scale": scales}
    return "compressed_tensors", parts, ct("mxfp8-quantized", 8, "float", "group", group_size=32)


def ct_mxfp4(draw):
    parts = {"weight_packed": draw.bytes(12, 48), "weight_scale": draw.integers(0, 255, 12, 3).to(torch.uint8)}
    return "compressed_tensors", parts, ct("mxfp4-pack-quantized", 4, "float", "group", group_size=32)


def ct_nvfp4(draw):
    parts = {
        "weight_packed": draw.bytes(12, 40),
        "weight_scale": draw.positive_e4m3(12, 5),
        "weight_global_scale": torch.tensor([2688.0 / 0.37]),
    }
    return "compressed_tensors", parts, ct("nvfp4-pack-quantized", 4, "float", "tensor_group", group_size=16)


def packed(draw, bits, shape, group, dtype, symmetric=True):
    rows, cols = shape
    groups = cols // group
    parts = {
        "weight_packed": draw.words(rows, -(-cols * bits // 32)),
        "weight_scale": draw.scales(rows, groups, dtype=dtype),
        "weight_shape": torch.tensor(shape),
    }
    if not symmetric:
        parts["weight_zero_point"] = draw.words(-(-rows * bits // 32), groups)
    strategy = {"strategy": "channel"} if groups == 1 else {"strategy": "group", "group_size": group}
    strategy["symmetric"] = symmetric
    return "compressed_tensors", parts, ct("pack-quantized", bits, "int", **strategy)


def ct_packed4(draw):
    return packed(draw, 4, (10, 96), 32, torch.float16)


def ct_packed4_asymmetric(draw):
    return packed(draw, 4, (19, 64), 16, torch.bfloat16, symmetric=False)


def ct_packed4_channel(draw):
    return packed(draw, 4, (11, 37), 37, torch.float32)


def ct_packed8_asymmetric(draw):
    return packed(draw, 8, (11, 37), 37, torch.bfloat16, symmetric=False)


def ct_packed2(draw):
    return packed(draw, 2, (10, 96), 32, torch.float16, symmetric=False)


def ct_packed4_ordered(draw):
    _, parts, config = packed(draw, 4, (10, 96), 32, torch.float16)
    parts["weight_g_idx"] = (torch.randperm(96, generator=draw.generator) // 32).to(torch.int32)
    config["config_groups"]["group_0"]["weights"]["actorder"] = "group"
    return "compressed_tensors_ordered", parts, config


def gpt_oss(draw):
    parts = {"blocks": draw.bytes(2, 7, 3, 16), "scales": draw.integers(0, 255, 2, 7, 3).to(torch.uint8)}
    return "mxfp4", parts, {"quant_method": "mxfp4", "modules_to_not_convert": ["lm_head"]}


def modelopt_nvfp4(draw):
    from modelopt.torch.export.convert_hf_config import convert_hf_quant_config_format

    parts = {
        "weight": draw.bytes(12, 40),
        "weight_scale": draw.positive_e4m3(12, 5),
        "weight_scale_2": torch.tensor(1.37e-4),
    }
    quantization = {"quant_algo": "NVFP4", "group_size": 16, "exclude_modules": ["lm_head"]}
    return "modelopt", parts, convert_hf_quant_config_format({"quantization": quantization})


def bnb(draw, kind, shape, nested=False, block_size=64):
    from bitsandbytes.functional import quantize_4bit

    weight = torch.randn(shape, generator=draw.generator).to(torch.bfloat16)
    stored, state = quantize_4bit(weight, None, None, block_size, nested, kind)
    config = {"quant_method": "bitsandbytes", "load_in_4bit": True, "bnb_4bit_quant_type": kind}
    config |= {"bnb_4bit_use_double_quant": nested, "bnb_4bit_quant_storage": "uint8"}
    return "bitsandbytes_4bit", {"weight": stored, **state.as_dict(packed=True)}, config


def bnb_nf4(draw):
    return bnb(draw, "nf4", (10, 128))


def bnb_fp4(draw):
    return bnb(draw, "fp4", (10, 128))


def bnb_fp4_odd(draw):
    return bnb(draw, "fp4", (11, 37))


def bnb_nf4_nested(draw):
    # More than 256 blocks; rows end within blocks.
    return bnb(draw, "nf4", (104, 80), nested=True, block_size=32)


def bnb_int8(draw):
    parts = {"weight": draw.int8(11, 33), "SCB": draw.scales(11) * 200, "weight_format": torch.tensor(0, dtype=torch.uint8)}
    return "bitsandbytes_8bit", parts, {"quant_method": "bitsandbytes", "load_in_8bit": True}


def gptq(draw, bits, shape, group_size, format, act=False):
    rows, cols = shape
    groups = -(-cols // group_size)
    index = torch.arange(cols, dtype=torch.int32) // group_size
    if act:
        index = index[torch.randperm(cols, generator=draw.generator)]
    parts = {
        "qweight": draw.words(cols * bits // 32, rows),
        "qzeros": draw.words(groups, rows * bits // 32),
        "scales": draw.scales(groups, rows, dtype=torch.float16),
        "g_idx": index,
    }
    config = {"quant_method": "gptq", "bits": bits, "group_size": group_size, "desc_act": act, "sym": False}
    return "gptq", parts, config | {"checkpoint_format": format, "pack_dtype": "int32"}


def gptq2(draw):
    return gptq(draw, 2, (48, 64), 32, "gptq")


def gptq3(draw):
    return gptq(draw, 3, (32, 64), 32, "gptq")


def gptq3_v2(draw):
    return gptq(draw, 3, (32, 64), 16, "gptq_v2", act=True)


def gptq4(draw):
    return gptq(draw, 4, (40, 64), 32, "gptq")


def gptq4_act(draw):
    return gptq(draw, 4, (40, 64), 16, "gptq", act=True)


def gptq4_v2(draw):
    return gptq(draw, 4, (40, 48), 32, "gptq_v2")


def gptq8(draw):
    return gptq(draw, 8, (36, 64), 64, "gptq")


def awq(draw):
    rows, cols, group_size = 40, 64, 32
    parts = {
        "qweight": draw.words(cols, rows // 8),
        "qzeros": draw.words(cols // group_size, rows // 8),
        "scales": draw.scales(cols // group_size, rows, dtype=torch.float16),
    }
    config = {"quant_method": "awq", "bits": 4, "group_size": group_size, "zero_point": True, "version": "gemm"}
    return "awq", parts, config


CASES = [
    fp8_blocks, fp8_exponents, e5m2_plain, e4m3_plain, ct_fp8_tensor, ct_fp8_channel, ct_fp8_block, ct_int8_channel,
    ct_int8_asymmetric, ct_mxfp8, ct_mxfp4, ct_nvfp4, ct_packed4, ct_packed4_asymmetric, ct_packed4_channel,
    ct_packed8_asymmetric, ct_packed2, ct_packed4_ordered, gpt_oss, modelopt_nvfp4, bnb_nf4, bnb_fp4, bnb_fp4_odd, bnb_nf4_nested, bnb_int8,
    gptq2, gptq3, gptq3_v2, gptq4, gptq4_act, gptq4_v2, gptq8, awq,
]  # fmt: skip

PACKAGES = {
    "fp8": "transformers", "mxfp4": "transformers", "plain": "torch", "compressed_tensors": "compressed-tensors",
    "compressed_tensors_ordered": "compressed-tensors",
    "modelopt": "nvidia-modelopt", "bitsandbytes_4bit": "bitsandbytes", "bitsandbytes_8bit": "bitsandbytes",
    "gptq": "gptqmodel", "awq": "autoawq",
}  # fmt: skip


def make(case):
    """Reference, stored tensors, configuration and weight of a case."""
    reference, tensors, config = case(Draw(case.__name__))
    expected = quantized_reference.run(reference, tensors, config)
    assert expected.dtype == torch.float32
    return reference, {name: tensor.contiguous() for name, tensor in tensors.items()}, config, expected


def on_disk(reference, module, name):
    """The name that a tensor of `module` has in a checkpoint."""
    if reference == "mxfp4":
        return f"{module}_{name}"
    if reference == "bitsandbytes_4bit" and name != "weight":
        return f"{module}.weight.{name}"
    return f"{module}.{name}"


def save_checkpoint(folder, case, module, **config):
    """Writes a model of one weight, as its library would: model.safetensors and config.json. Returns the weight."""
    reference, tensors, quantization, expected = make(case)
    tensors = {on_disk(reference, module, name): tensor for name, tensor in tensors.items()}
    save_file(tensors, folder / "model.safetensors", {"format": "pt"})
    (folder / "config.json").write_text(json.dumps(config | {"quantization_config": quantization}))
    return expected


def write(case):
    reference, tensors, config, expected = make(case)
    package = PACKAGES[reference]
    metadata = {
        "reference": reference,
        "library": f"{package} {importlib.metadata.version(package)}",
        "config": json.dumps(config),
    }
    save_file(tensors | {"expected": expected}, FOLDER / f"{case.__name__}.safetensors", metadata)
    print(case.__name__, metadata["library"], tuple(expected.shape))


if __name__ == "__main__":
    FOLDER.mkdir(parents=True, exist_ok=True)
    for case in CASES:
        if len(sys.argv) == 1 or case.__name__ in sys.argv[1:]:
            write(case)

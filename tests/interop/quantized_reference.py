"""What the libraries that define quantised checkpoints make of stored tensors, in f32.

Every function takes the tensors of one weight by the names that follow the module's name in a checkpoint, and the part of
`quantization_config` that matters. It returns the weight in f32, before any rounding to the model's dtype. A library that
is not installed raises ImportError, which `pytest.importorskip` and the script quantized_vectors.py handle.
"""

import importlib.util
import sys
from pathlib import Path

import torch


def fp8(tensors, config):
    """transformers' own dequantisation of block-scaled FP8 (`quant_method` fp8)."""
    from transformers.integrations.finegrained_fp8 import Fp8Dequantize

    return Fp8Dequantize(None)._dequantize_one(tensors["weight"], tensors["weight_scale_inv"], torch.float32)


def plain(tensors, config):
    """FP8 without scales: torch's own conversion."""
    return tensors["weight"].float()


def mxfp4(tensors, config):
    """transformers' own dequantisation of gpt-oss; transposed back to the stored order."""
    from transformers.integrations.mxfp4 import convert_moe_packed_tensors

    weight = convert_moe_packed_tensors(tensors["blocks"], tensors["scales"], dtype=torch.float32)
    return weight.transpose(1, 2).flatten(0, 1)


def _scheme(config):
    from compressed_tensors.quantization import QuantizationScheme

    return QuantizationScheme(targets=["Linear"], **config["config_groups"]["group_0"])


def compressed_tensors(tensors, config):
    """decompress() of compressed-tensors, with the scales in f32."""
    from compressed_tensors.compressors import BaseCompressor
    from compressed_tensors.compressors.nvfp4.helpers import unpack_fp4_from_uint8
    from compressed_tensors.quantization.lifecycle.forward import dequantize

    scheme, scale = _scheme(config), tensors["weight_scale"]
    if config["format"] in ("nvfp4-pack-quantized", "mxfp4-pack-quantized"):
        # Its decompress() unpacks to bf16 whatever the scale is: the same steps in f32.
        rows, half = tensors["weight_packed"].shape
        compressor = BaseCompressor.get_value_from_registry(config["format"])
        return dequantize(
            x_q=unpack_fp4_from_uint8(tensors["weight_packed"], rows, 2 * half, torch.float32),
            scale=compressor._decompress_scale(scale, torch.float32),
            args=scheme.weights,
            global_scale=tensors.get("weight_global_scale"),
            dtype=torch.float32,
        )
    if config["format"] == "mxfp8-quantized":
        from compressed_tensors.compressors.mx_utils import decompress_mx_scale

        return dequantize(tensors["weight"], decompress_mx_scale(scale).float(), args=scheme.weights)
    compressor = BaseCompressor.get_value_from_registry(config["format"])
    return compressor.decompress({**tensors, "weight_scale": scale.float()}, scheme)["weight"]


def compressed_tensors_ordered(tensors, config):
    """decompress_weight() of compressed-tensors with a group index, which releases after 0.10 no longer have."""
    from compressed_tensors.compressors.quantized_compressors.pack_quantized import PackedQuantizationCompressor

    # It uses nothing of the object.
    decompress = PackedQuantizationCompressor.decompress_weight
    return decompress(None, {**tensors, "weight_scale": tensors["weight_scale"].float()}, _scheme(config).weights)


def modelopt(tensors, config):
    """dequantize() of NVIDIA's ModelOpt."""
    from modelopt.torch.quantization.qtensor.nvfp4_tensor import NVFP4QTensor

    packed = tensors["weight"]
    shape = torch.Size((packed.shape[0], 2 * packed.shape[1]))
    stored = NVFP4QTensor(shape, torch.float32, packed)
    return stored.dequantize(
        scale=tensors["weight_scale"], double_scale=tensors["weight_scale_2"], block_sizes={-1: 16}
    )


def bitsandbytes_4bit(tensors, config):
    """dequantize_4bit() of bitsandbytes, from the state that it saves.

    Where a row is not a whole number of blocks its kernel for AVX-512 takes scales of other blocks than those that were
    quantised (0.50.2); its own implementation in torch does not.
    """
    from bitsandbytes.backends.default.ops import _dequantize_4bit_compute
    from bitsandbytes.functional import QuantState, dequantize_4bit, dequantize_blockwise

    state = QuantState.from_dict({k: v.clone() for k, v in tensors.items() if k != "weight"}, torch.device("cpu"))
    state.dtype = torch.float32
    if state.shape[-1] % state.blocksize:
        absmax = dequantize_blockwise(state.absmax, state.state2) + state.offset if state.nested else state.absmax
        codes = tensors["weight"].reshape(-1)
        return _dequantize_4bit_compute(codes, absmax, state.code, state.blocksize, state.shape, torch.float32)
    return dequantize_4bit(tensors["weight"], state)


def bitsandbytes_8bit(tensors, config):
    """int8_vectorwise_dequant() of bitsandbytes."""
    from bitsandbytes.functional import int8_vectorwise_dequant

    return int8_vectorwise_dequant(tensors["weight"], tensors["SCB"])


def gptq(tensors, config):
    """dequantize_weight() of GPTQModel, which changes the format `gptq` to `gptq_v2` first."""
    from gptqmodel.nn_modules.qlinear.torch import TorchLinear
    from gptqmodel.utils.model import convert_gptq_v1_to_v2_format_module

    cols, rows = tensors["g_idx"].numel(), tensors["scales"].shape[1]
    layer = TorchLinear(
        bits=config["bits"],
        group_size=config["group_size"],
        sym=config["sym"],
        desc_act=config["desc_act"],
        in_features=cols,
        out_features=rows,
    ).eval()
    layer.qweight, layer.qzeros, layer.g_idx = (tensors[name].clone() for name in ("qweight", "qzeros", "g_idx"))
    layer.scales = tensors["scales"].float()
    if config["checkpoint_format"] == "gptq":
        convert_gptq_v1_to_v2_format_module(layer, config["bits"], torch.int32)
    return layer.dequantize_weight().T


def awq(tensors, config):
    """dequantize_gemm() of AutoAWQ: its file alone, since the package needs a GPU's."""
    # Not find_spec of the file: that would import the package.
    folder = importlib.util.find_spec("awq")
    if folder is None:
        raise ImportError("autoawq")
    path = Path(folder.submodule_search_locations[0]) / "utils/packing_utils.py"
    spec = importlib.util.spec_from_file_location("awq_packing_utils", path)
    module = importlib.util.module_from_spec(spec)
    spec.loader.exec_module(module)
    parts = (tensors["qweight"], tensors["qzeros"], tensors["scales"].float())
    group_size = config["group_size"] if config["group_size"] > 0 else tensors["qweight"].shape[0]
    return module.dequantize_gemm(*parts, config["bits"], group_size).T


def run(name, tensors, config):
    """Calls the reference called `name`; the weight, contiguous."""
    return getattr(sys.modules[__name__], name)(tensors, config).contiguous()

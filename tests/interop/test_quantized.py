"""tests/data/quantized holds what the libraries at hand make of its tensors: tests/tests/quantized compares phlora with it."""

import json

import pytest
import torch
from safetensors import safe_open

import quantized_reference
import quantized_vectors

PATHS = sorted(quantized_vectors.FOLDER.glob("*.safetensors"))


def read(path):
    """The tensors, the metadata and the configuration."""
    with safe_open(path, "pt") as file:
        tensors = {name: file.get_tensor(name) for name in file.keys()}
        return tensors, file.metadata(), json.loads(file.metadata()["config"])


def bits(weight):
    """Bits, but all NaN alike."""
    return torch.where(weight.isnan(), torch.full_like(weight, torch.nan), weight).view(torch.int32)


def test_every_case_has_its_file():
    assert {path.stem for path in PATHS} == {case.__name__ for case in quantized_vectors.CASES}


@pytest.mark.parametrize("path", PATHS, ids=lambda path: path.stem)
def test_library_makes_the_stored_weight(path):
    tensors, metadata, config = read(path)
    expected = tensors.pop("expected")
    try:
        found = quantized_reference.run(metadata["reference"], tensors, config)
    except ImportError as error:
        pytest.skip(f"{metadata['library']}: {error}")
    assert torch.equal(bits(found), bits(expected))


@pytest.mark.parametrize("path", [path for path in PATHS if path.stem.startswith("ct_")], ids=lambda path: path.stem)
def test_compressed_tensors_rounds_the_stored_weight(path):
    """decompress() as it is, in the dtype of the scales, gives the weight in f32 rounded once."""
    pytest.importorskip("compressed_tensors.compressors.nvfp4", reason="an older compressed-tensors, or none")
    from compressed_tensors.compressors import BaseCompressor

    tensors, metadata, config = read(path)
    if metadata["reference"] != "compressed_tensors":
        pytest.skip(metadata["library"])
    expected = tensors.pop("expected")
    compressor = BaseCompressor.get_value_from_registry(config["format"])
    found = compressor.decompress(tensors, quantized_reference._scheme(config))["weight"]
    assert torch.equal(found.float().nan_to_num(7.0), expected.to(found.dtype).float().nan_to_num(7.0))

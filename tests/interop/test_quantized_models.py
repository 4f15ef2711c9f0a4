"""Quantised models as a base: what transformers makes of them, plus the adapter, is the fine-tuned model."""

import json

import pytest
import torch
import transformers
from peft import PeftModel
from safetensors.torch import load_file, save_file

from command import extract, run

RANK = 4
TEXT = torch.arange(1, 13).reshape(1, -1)


def low_rank(shape, generator, size):
    *stack, rows, cols = shape
    b = torch.randn(*stack, rows, RANK, generator=generator)
    return size * (b @ torch.randn(*stack, RANK, cols, generator=generator)) / RANK


def tune(model, wanted):
    """Changes the weights of `model` that `wanted` chooses by low rank, for about a tenth of their size."""
    generator = torch.Generator().manual_seed(5)
    with torch.no_grad():
        for name, parameter in model.named_parameters():
            if wanted(name):
                size = 0.1 * parameter.std().item()
                parameter += low_rank(parameter.shape, generator, size).to(parameter.dtype)


def save_quantized(model, folder, quantize, config):
    """Saves `model` as its own library would: `quantize` maps a name and a weight to the tensors in its place."""
    model.save_pretrained(folder)
    stored = {}
    for name, tensor in load_file(folder / "model.safetensors").items():
        stored |= quantize(name, tensor)
    save_file({name: tensor.contiguous() for name, tensor in stored.items()}, folder / "model.safetensors", {"format": "pt"})
    path = folder / "config.json"
    path.write_text(json.dumps(json.loads(path.read_text()) | {"quantization_config": config}))


def load(folder, **more):
    return transformers.AutoModelForCausalLM.from_pretrained(folder, dtype=torch.float32, **more).eval()


def save_tuned(base, folder, wanted):
    tune(base, wanted)
    base.save_pretrained(folder)


def assert_matches(adapter, base, tuned):
    """The adapter on `base` has the weights and the outputs of `tuned`, and PEFT has nothing to complain about."""
    before = {name: tensor.clone() for name, tensor in base.state_dict().items()}
    expected, plain = tuned(TEXT).logits, base(TEXT).logits
    model = PeftModel.from_pretrained(base, adapter.path).eval()
    assert (model(TEXT).logits - expected).norm() < 0.01 * (plain - expected).norm()
    merged = model.merge_and_unload().state_dict()
    for name, weight in tuned.state_dict().items():
        change = (weight - before[name]).norm()
        assert (merged[name] - weight).norm() <= 0.01 * change + 1e-6, name


# FP8


def llama():
    config = transformers.LlamaConfig(
        vocab_size=64, hidden_size=256, intermediate_size=384, num_hidden_layers=2, num_attention_heads=4,
        num_key_value_heads=2, max_position_embeddings=64, tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(3)
    return transformers.LlamaForCausalLM(config)


def is_projection(name):
    return name.endswith("_proj.weight")


def fp8(name, weight):
    if not is_projection(name):
        return {name: weight}
    blocks = weight.unfold(0, 128, 128).unfold(1, 128, 128)
    scales = blocks.abs().amax((2, 3)) / 448
    codes = (weight / scales.repeat_interleave(128, 0).repeat_interleave(128, 1)).to(torch.float8_e4m3fn)
    return {name: codes, name + "_scale_inv": scales}


FP8 = {"quant_method": "fp8", "fmt": "e4m3", "activation_scheme": "dynamic", "weight_block_size": [128, 128]}


@pytest.fixture(scope="module")
def fp8_pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("fp8")
    save_quantized(llama(), folder / "base", fp8, FP8)
    save_tuned(load_fp8(folder / "base"), folder / "tuned", is_projection)
    return folder


def load_fp8(folder):
    return load(folder, quantization_config=transformers.FineGrainedFP8Config(dequantize=True))


def test_fine_tune_of_an_fp8_base(fp8_pair, tmp_path):
    adapter = extract(fp8_pair / "base", fp8_pair / "tuned", tmp_path / "adapter", RANK, "f32")
    assert adapter.report["total"]["energy"] > 0.9999
    assert_matches(adapter, load_fp8(fp8_pair / "base"), load(fp8_pair / "tuned"))


def test_the_method_is_said(fp8_pair, tmp_path):
    done = run("extract", fp8_pair / "base", fp8_pair / "tuned", "-o", tmp_path / "adapter")
    assert "base is quantised with FP8, blocks of 128 × 128" in done.stderr
    assert "quantised with FP8, blocks of 128 × 128" in run("inspect", fp8_pair / "base").stdout
    done = run("verify", fp8_pair / "base", fp8_pair / "tuned", tmp_path / "adapter")
    assert done.returncode == 0, done.stderr


def test_nothing_is_merged_into_a_quantised_weight(fp8_pair, tmp_path):
    extract(fp8_pair / "base", fp8_pair / "tuned", tmp_path / "adapter", RANK)
    done = run("merge", fp8_pair / "base", tmp_path / "adapter", "-o", tmp_path / "merged")
    assert done.returncode == 2 and "it is quantised: merge into" in done.stderr, done.stderr
    assert not (tmp_path / "merged").exists()


def test_a_quantised_fine_tune(fp8_pair, tmp_path):
    """Both sides in FP8: the report measures the difference of what the two libraries would compute with."""
    save_quantized(load(fp8_pair / "tuned"), tmp_path / "tuned", fp8, FP8)
    adapter = extract(fp8_pair / "base", tmp_path / "tuned", tmp_path / "adapter", RANK)
    base, tuned = load_fp8(fp8_pair / "base").state_dict(), load_fp8(tmp_path / "tuned").state_dict()
    for module in adapter.report["modules"]:
        expected = (tuned[module["name"] + ".weight"] - base[module["name"] + ".weight"]).norm().item()
        assert module["delta_norm"] == pytest.approx(expected, rel=1e-5)


# MXFP4


def gpt_oss():
    config = transformers.GptOssConfig(
        vocab_size=64, hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, head_dim=16,
        num_key_value_heads=2, num_local_experts=4, num_experts_per_tok=2, max_position_embeddings=64,
        layer_types=["sliding_attention", "full_attention"], tie_word_embeddings=False,
    )  # fmt: skip
    torch.manual_seed(3)
    model = transformers.GptOssForCausalLM(config)
    with torch.no_grad():
        # The class leaves some of them as they are allocated.
        for name, parameter in model.named_parameters():
            if parameter.ndim > 1 or "bias" in name or "sinks" in name:
                parameter.normal_(0, 0.05)
    return model


def is_expert(name):
    return name.endswith(("experts.gate_up_proj", "experts.down_proj"))


def mxfp4(name, weight):
    """Random codes in the place of the experts."""
    if not is_expert(name):
        return {name: weight}
    generator = torch.Generator().manual_seed(len(name))
    experts, rows, out = weight.shape
    blocks = torch.randint(0, 256, (experts, out, rows // 32, 16), generator=generator)
    scales = torch.randint(120, 124, (experts, out, rows // 32), generator=generator)
    return {name + "_blocks": blocks.to(torch.uint8), name + "_scales": scales.to(torch.uint8)}


def load_mxfp4(folder):
    return load(folder, quantization_config=transformers.Mxfp4Config(dequantize=True))


@pytest.fixture(scope="module")
def mxfp4_pair(tmp_path_factory):
    folder = tmp_path_factory.mktemp("mxfp4")
    save_quantized(gpt_oss(), folder / "base", mxfp4, {"quant_method": "mxfp4"})
    save_tuned(load_mxfp4(folder / "base"), folder / "tuned", lambda name: is_expert(name) or is_projection(name))
    return folder


def test_fine_tune_of_an_mxfp4_base(mxfp4_pair, tmp_path):
    adapter = extract(mxfp4_pair / "base", mxfp4_pair / "tuned", tmp_path / "adapter", RANK, "f32")
    assert adapter.report["total"]["energy"] > 0.9999
    assert_matches(adapter, load_mxfp4(mxfp4_pair / "base"), load(mxfp4_pair / "tuned"))


# bitsandbytes


@pytest.mark.parametrize("kind", ["nf4", "int8"])
def test_fine_tune_of_a_bitsandbytes_base(kind, tmp_path):
    pytest.importorskip("bitsandbytes")
    four = kind == "nf4"
    options = {"load_in_4bit": True, "bnb_4bit_quant_type": "nf4"} if four else {"load_in_8bit": True}
    llama().save_pretrained(tmp_path / "origin")
    config = transformers.BitsAndBytesConfig(**options, llm_int8_skip_modules=["lm_head"])
    load(tmp_path / "origin", quantization_config=config).save_pretrained(tmp_path / "base")
    tuned = load(tmp_path / "origin")
    tune(tuned, is_projection)
    tuned.save_pretrained(tmp_path / "tuned")
    # At full rank it carries the difference as a whole, the repair of the quantisation included.
    adapter = extract(tmp_path / "base", tmp_path / "tuned", tmp_path / "adapter", 256, "f32")
    assert adapter.report["total"]["energy"] > 0.9999
    base = load(tmp_path / "base")
    for name, update in adapter.updates.items():
        weight, expected = dequantized(base.get_submodule(name).weight), tuned.get_submodule(name).weight
        assert (weight + update - expected).norm() < 0.001 * (weight - expected).norm(), name
    plain, expected = base(TEXT).logits, tuned(TEXT).logits
    model = PeftModel.from_pretrained(base, adapter.path).eval()
    # Their kernels for the CPU compute in bf16 and with rounded inputs.
    bound = 0.06 if four else 0.3
    assert (model(TEXT).logits - expected).norm() < bound * (plain - expected).norm()


def dequantized(weight):
    from bitsandbytes.functional import dequantize_4bit, int8_vectorwise_dequant

    if weight.dtype == torch.int8:
        return int8_vectorwise_dequant(weight.data, weight.SCB).double()
    return dequantize_4bit(weight.data, weight.quant_state).double()

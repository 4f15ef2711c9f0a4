"""DoRA adapters that the real PEFT made: merged as PEFT merges them, and as LoRA of a rank, whose loss is that of the best one."""

import json

import peft
import pytest
import torch
from transformers import GPT2Config, GPT2LMHeadModel

import command
import made

TARGETS = ["q_proj", "k_proj", "up_proj", "down_proj"]


def gpt2():
    """Its weights are stored [in, out]."""
    return GPT2LMHeadModel(GPT2Config(vocab_size=96, n_positions=32, n_embd=48, n_layer=2, n_head=4))


KINDS = {
    "linear": (made.tied, dict(r=4, lora_alpha=6, target_modules=TARGETS)),
    "rslora": (made.tied, dict(r=4, lora_alpha=6, use_rslora=True, rank_pattern={"up_proj": 2}, target_modules=TARGETS)),
    "conv1d": (gpt2, dict(r=4, lora_alpha=6, target_modules=["c_attn", "c_proj", "c_fc"], fan_in_fan_out=True)),
}


@pytest.fixture(params=KINDS)
def dora(request, tmp_path):
    """A base, a DoRA adapter of it in which everything has moved, and the weights before and after PEFT merges it."""
    make, config = KINDS[request.param]
    torch.manual_seed(11)
    model = make()
    model.save_pretrained(tmp_path / "base")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = peft.get_peft_model(model, peft.LoraConfig(use_dora=True, **config))
    with torch.no_grad():
        for name, parameter in adapted.named_parameters():
            if "lora_B" in name:
                parameter.normal_(0, 0.05)
            if "lora_magnitude_vector" in name:
                parameter.mul_(1 + 0.05 * torch.randn_like(parameter))
    adapted.save_pretrained(tmp_path / "dora")
    return make, tmp_path, before, adapted.merge_and_unload().state_dict()


def test_it_merges_as_peft_merges_it(dora):
    make, path, before, merged = dora
    done = command.run("merge", path / "base", path / "dora", "-o", path / "model")
    assert done.returncode == 0, done.stdout + done.stderr
    found = type(make()).from_pretrained(path / "model").state_dict()
    moved = 0
    for name, tensor in merged.items():
        change = (tensor - before[name]).double().norm()
        moved += change > 0
        assert (found[name] - tensor).double().norm() <= 1e-5 * change + 1e-6, name
    assert moved >= 4
    # Half of its strength is half of the way.
    done = command.run("merge", path / "base", path / "dora", "--scale", "0.5", "-o", path / "half")
    assert done.returncode == 0, done.stdout + done.stderr
    half = type(make()).from_pretrained(path / "half").state_dict()
    for name, tensor in merged.items():
        change = (tensor - before[name]).double()
        assert (half[name] - before[name] - change / 2).double().norm() <= 1e-5 * change.norm() + 1e-6, name


def test_it_becomes_lora_at_a_rank(dora):
    make, path, before, merged = dora
    done = command.run("convert", path / "dora", "-o", path / "none", "--base", path / "base")
    assert done.returncode != 0 and "--rank" in done.stderr, done.stdout + done.stderr
    done = command.run("convert", path / "dora", "-o", path / "lora", "--base", path / "base", "--rank", "12", "--json")
    assert done.returncode == 0, done.stdout + done.stderr
    energy = json.loads(done.stdout)["energy"]
    model = make()
    model.load_state_dict(before)
    lora = peft.PeftModel.from_pretrained(model, path / "lora")
    assert not lora.peft_config["default"].use_dora
    found = lora.merge_and_unload().state_dict()
    best, all_squares = 0.0, 0.0
    for name, tensor in merged.items():
        change = (tensor - before[name]).double()
        if change.norm() == 0:
            assert torch.equal(found[name], before[name]), name
            continue
        squares = torch.linalg.svdvals(change).square()
        left = (found[name].double() - tensor.double()).norm().square()
        # No LoRA of this rank is nearer.
        assert left <= 1.01 * squares[12:].sum() + 1e-6 * squares.sum(), name
        best, all_squares = best + squares[:12].sum(), all_squares + squares.sum()
    assert abs(energy - float(best / all_squares)) < 1e-3, (energy, float(best / all_squares))


def test_it_is_said_what_it_is(dora):
    _, path, _, _ = dora
    found = command.run("check", path / "dora", "--base", path / "base")
    assert found.returncode == 0 and "DoRA" in found.stdout, found.stdout + found.stderr
    found = command.run("check", path / "dora", "--base", path / "base", "--for", "vllm")
    assert found.returncode == 1 and "phlora convert" in found.stdout, found.stdout
    done = command.run("inspect", path / "dora")
    assert done.returncode == 0 and "DoRA adapter" in done.stdout, done.stdout
    done = command.run("prune", path / "dora", "-o", path / "x", "--rank", "2")
    assert done.returncode != 0 and "phlora convert" in done.stderr, done.stdout + done.stderr

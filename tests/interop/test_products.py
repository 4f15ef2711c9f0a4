"""LoHa and LoKr adapters that the real PEFT made, read as the exact LoRA that they are."""

import peft
import pytest
import torch

import command
import made

TARGETS = ["q_proj", "k_proj", "up_proj", "down_proj"]
KINDS = {
    "loha": peft.LoHaConfig(r=2, alpha=3, target_modules=TARGETS, init_weights=False),
    "lokr": peft.LoKrConfig(r=2, alpha=3, target_modules=TARGETS, init_weights=False),
    "lokr-whole": peft.LoKrConfig(r=16, alpha=8, decompose_factor=4, target_modules=TARGETS, init_weights=False),
    "lokr-both": peft.LoKrConfig(r=2, alpha=3, decompose_both=True, target_modules=TARGETS, init_weights=False),
    "pattern": peft.LoHaConfig(
        r=2, alpha=3, rank_pattern={"up_proj": 3}, alpha_pattern={"q_proj": 1}, target_modules=TARGETS, init_weights=False
    ),
}


@pytest.mark.parametrize("kind", KINDS)
def test_it_becomes_the_lora_that_it_is(kind, tmp_path):
    torch.manual_seed(7)
    model = made.tied()
    model.save_pretrained(tmp_path / "base")
    before = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    adapted = peft.get_peft_model(model, KINDS[kind])
    adapted.save_pretrained(tmp_path / "adapter")
    merged = adapted.merge_and_unload().state_dict()

    done = command.run("convert", tmp_path / "adapter", "-o", tmp_path / "lora", "--base", tmp_path / "base")
    assert done.returncode == 0, done.stdout + done.stderr
    again = made.tied()
    again.load_state_dict(before)
    lora = peft.PeftModel.from_pretrained(again, tmp_path / "lora")
    assert lora.peft_config["default"].peft_type == peft.PeftType.LORA
    found = lora.merge_and_unload().state_dict()
    moved = 0
    for name, tensor in merged.items():
        change = (tensor - before[name]).double()
        moved += change.norm() > 0
        assert (found[name] - tensor).double().norm() <= 2e-5 * change.norm() + 1e-6, name
    assert moved >= len(TARGETS)

    done = command.run("merge", tmp_path / "base", tmp_path / "adapter", "-o", tmp_path / "model")
    assert done.returncode == 0, done.stdout + done.stderr
    # At a smaller rank, what is lost is said.
    done = command.run("prune", tmp_path / "adapter", "-o", tmp_path / "small", "--energy", "0.9")
    assert done.returncode == 0 and "%" in done.stdout, done.stdout + done.stderr
    assert command.run("check", tmp_path / "adapter", "--base", tmp_path / "base").returncode == 0
    found = command.run("check", tmp_path / "adapter", "--base", tmp_path / "base", "--for", "vllm")
    assert found.returncode == 1 and "peft-type" in found.stdout and "phlora convert" in found.stdout, found.stdout

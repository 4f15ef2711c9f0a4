"""phlora's compact form: the command's decoder against the reference, and what its adapters are to the model in PEFT."""

import json

import pytest
import torch

import command
import compact_decoder
import made
import pair
import strict

# The bytes of f16 factors of rank 8 and 4, without header, and the nats per token that they must reach.
SIZES = [(221_184, 1.56), (110_592, 1.66)]


def succeed(*arguments):
    done = command.run(*arguments)
    assert done.returncode == 0, done.stdout + done.stderr


@pytest.fixture(scope="module", params=SIZES, ids=lambda size: str(size[0]))
def adapter(request, tmp_path_factory):
    """The file, the same converted to PEFT, and the nll to reach."""
    bytes, nll = request.param
    folder = tmp_path_factory.mktemp("compact")
    compact, peft = folder / "adapter.phlora", folder / "peft"
    succeed("extract", pair.BASE, pair.TUNED, "-o", compact, "--budget", bytes, "--quiet")
    assert compact.stat().st_size <= bytes
    succeed("convert", compact, "-o", peft)
    return compact, command.Adapter(peft, None), nll


def test_the_reference_decoder_finds_the_same_bits(adapter):
    compact, peft, _ = adapter
    found = compact_decoder.read(compact)
    assert found.keys() == peft.factors.keys()
    prefix = command.PREFIX
    for name, (a, b, scale) in found.items():
        assert scale == 1.0
        for factor, letter in ((a, "A"), (b, "B")):
            stored = peft.tensors[f"{prefix}{name}.lora_{letter}.weight"]
            rank = factor.shape[0] if letter == "A" else factor.shape[1]
            # PEFT's file has one rank where all modules have.
            stored = stored[:rank] if letter == "A" else stored[:, :rank]
            assert torch.equal(torch.from_numpy(factor.copy()).view(torch.int16), stored.contiguous().view(torch.int16)), name


def test_peft_finds_the_model_as_good_as_the_bytes_allow(adapter):
    _, peft, most = adapter
    merged = strict.merge(strict.load_adapter(pair.load(pair.BASE), peft))
    assert pair.nll(merged) <= most


def test_verify_measures_what_the_reference_decodes(adapter):
    compact, _, _ = adapter
    done = command.run("verify", pair.BASE, pair.TUNED, compact, "--json")
    found = {module["name"]: module["energy"] for module in json.loads(done.stdout)["modules"]}
    for name, (a, b, scale) in compact_decoder.read(compact).items():
        update = scale * (torch.from_numpy(b.copy()).double() @ torch.from_numpy(a).double())
        kept = 1 - ((pair.delta(name) - update).norm() / pair.delta(name).norm()).item() ** 2
        assert found[name] == pytest.approx(kept, abs=1e-6), name


def test_the_configuration_is_what_it_would_have_been(tmp_path):
    """What PEFT is told after conversion is what an extraction tells it."""
    model = made.wide()
    compact, plain, peft = tmp_path / "a.phlora", tmp_path / "plain", tmp_path / "peft"
    base, tuned = tmp_path / "base", tmp_path / "tuned"
    model.save_pretrained(base)
    with torch.no_grad():
        for parameter in model.parameters():
            parameter.add_(torch.randn_like(parameter) * 1e-3)
    model.save_pretrained(tuned)
    for out in (compact, plain):
        succeed("extract", base, tuned, "-o", out, "--rank", 4, "--quiet")
    succeed("convert", compact, "-o", peft)
    settings = [json.loads((folder / "adapter_config.json").read_text()) for folder in (plain, peft)]
    assert settings[0] == settings[1]
    assert command.Adapter(plain, None).tensors.keys() == command.Adapter(peft, None).tensors.keys()

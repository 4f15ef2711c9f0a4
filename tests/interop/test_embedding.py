"""The embedding and the output head in an adapter, in the real PEFT."""

import torch
from peft import PeftModel

import command
import pair
import strict

OPTIONS = ("--include", "embed_tokens", "--include", "lm_head", "--include", "_proj")


def test_embedding_and_head_load_and_merge(tmp_path):
    adapter = command.extract(pair.BASE, pair.TUNED, tmp_path / "a", 16, "f32", None, *OPTIONS)
    base = pair.load(pair.BASE)
    with strict.no_warnings():
        loaded = PeftModel.from_pretrained(base, adapter.path)
    held = {name.replace(".default.", ".").replace(".default", ""): p for name, p in loaded.named_parameters()}
    for name, tensor in adapter.tensors.items():
        assert torch.equal(held[name], tensor), name

    ids = torch.arange(200).view(1, -1)
    with torch.no_grad():
        beside = loaded(input_ids=ids).logits
    merged = strict.merge(loaded)
    factor = lambda part: adapter.tensors[f"{command.PREFIX}model.embed_tokens.{part}"].double()
    table = pair.weights(pair.BASE)["model.embed_tokens.weight"] + (factor("lora_embedding_B") @ factor("lora_embedding_A")).T
    torch.testing.assert_close(merged.model.embed_tokens.weight.double(), table, rtol=0, atol=1e-6)
    with torch.no_grad():
        logits = merged(input_ids=ids).logits
    torch.testing.assert_close(logits, beside, rtol=0, atol=1e-4)

    # What `phlora merge` makes of it is the same to the base's own rounding, and with the head it is closer to the
    # tuned model.
    done = command.run("merge", pair.BASE, adapter.path, "-o", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    ours = pair.load(tmp_path / "merged")
    for name in ("model.embed_tokens.weight", "lm_head.weight", "model.layers.0.mlp.up_proj.weight"):
        torch.testing.assert_close(ours.state_dict()[name], merged.state_dict()[name], rtol=2**-8, atol=1e-6)
    plain = command.extract(pair.BASE, pair.TUNED, tmp_path / "plain", 16)
    without = pair.nll(strict.merge(strict.load_adapter(pair.load(pair.BASE), plain)))
    assert pair.nll(merged) < without

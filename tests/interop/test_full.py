"""What adapters hold beside factors, in the real PEFT: extracted with --also, and trained by PEFT itself."""

import copy
import warnings

import peft
import pytest
import torch
from peft import PeftModel
from safetensors.torch import load_file
from transformers import GPT2LMHeadModel, GPTNeoXConfig, GPTNeoXForCausalLM, LlamaForCausalLM, Qwen2ForCausalLM
from transformers.pytorch_utils import Conv1D

import command
import made
import pair
import strict
from test_models import gpt2, logits, qwen2, save

ALSO = ("--also", "norms,biases,tokens")
# Weights change by rank 4: at 8 the factors hold all of it.
RANK = 8


def neox():
    """LayerNorms with biases, biases in every linear layer but the output head, which has another name in files."""
    torch.manual_seed(8)
    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=2, num_attention_heads=4, vocab_size=100)
    return GPTNeoXForCausalLM(GPTNeoXConfig(**sizes, max_position_embeddings=64, tie_word_embeddings=False))


@torch.no_grad()
def tune(model, rows):
    """Exactly rank 4 in the linear weights, all norms and biases, and `rows` of the vocabularies."""
    torch.manual_seed(3)
    heads = [model.get_input_embeddings(), model.get_output_embeddings()]
    for module in model.modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)) and module not in heads:
            module.weight += 0.03 * torch.randn(module.weight.shape[0], 4) @ torch.randn(4, module.weight.shape[1])
    for table in {head.weight for head in heads[: 1 if isinstance(model, GPTNeoXForCausalLM) else 2]}:
        table[rows] += 0.5 * torch.randn(len(rows), table.shape[1])
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter += 0.2 * torch.randn_like(parameter)
    return model


def load(model, path):
    """PEFT loads it without a word, but for what it says of biases where there are none."""
    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", "`lora_bias=True` was passed but", UserWarning)
        with strict.no_warnings():
            warnings.filterwarnings("ignore", "`lora_bias=True` was passed but", UserWarning)
            return PeftModel.from_pretrained(model, path).eval()


def close(found, expected, bound=1e-4):
    scale = expected.double().square().mean().sqrt().item()
    torch.testing.assert_close(found, expected, rtol=0, atol=bound * max(scale, 1.0))


def test_every_change_of_a_neox_is_there_and_merges(tmp_path):
    base, tuned = save(neox(), tune(neox(), [3, 7, 50]), tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK, "f32", None, *ALSO)
    assert adapter.config["lora_bias"]
    assert adapter.config["trainable_token_indices"] == {"gpt_neox.embed_in": [3, 7, 50]}
    expected = logits(strict.load_base(GPTNeoXForCausalLM, tuned))
    loaded = load(strict.load_base(GPTNeoXForCausalLM, base), adapter.path)
    close(logits(loaded), expected)
    # Switched off, the base is as it was.
    with loaded.disable_adapter():
        assert torch.equal(logits(loaded), logits(strict.load_base(GPTNeoXForCausalLM, base)))
    close(logits(strict.merge(loaded)), expected)
    done = command.run("merge", base, adapter.path, "-o", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    close(logits(strict.load_base(GPTNeoXForCausalLM, tmp_path / "merged")), expected)
    # Without them the adapter is far from that.
    plain = command.extract(base, tuned, tmp_path / "plain", RANK, "f32")
    far = logits(strict.load_adapter(strict.load_base(GPTNeoXForCausalLM, base), plain))
    assert (far - expected).norm() > 0.1 * expected.norm()


def test_gpt2_whose_weights_are_the_other_way_round(tmp_path):
    base, tuned = save(gpt2(), tune(gpt2(), [1, 2]), tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK, "f32", "exact", *ALSO)
    assert adapter.config["fan_in_fan_out"] and adapter.config["lora_bias"]
    expected = logits(strict.load_base(GPT2LMHeadModel, tuned))
    loaded = load(strict.load_base(GPT2LMHeadModel, base), adapter.path)
    close(logits(loaded), expected)
    close(logits(strict.merge(loaded)), expected)


def test_a_vocabulary_and_an_output_head(tmp_path):
    base, tuned = save(made.wide(), tune(made.wide(), [0, 99]), tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK, "f32", "exact", *ALSO)
    rows = {"model.embed_tokens": [0, 99], "lm_head": [0, 99]}
    assert adapter.config["trainable_token_indices"] == rows and not adapter.config["lora_bias"]
    expected = logits(strict.load_base(LlamaForCausalLM, tuned))
    loaded = load(strict.load_base(LlamaForCausalLM, base), adapter.path)
    close(logits(loaded), expected)
    close(logits(strict.merge(loaded)), expected)


def test_some_biases_and_a_tied_vocabulary(tmp_path):
    base, tuned = save(qwen2(), tune(qwen2(), [5, 60]), tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK, "f32", None, *ALSO)
    assert adapter.config["trainable_token_indices"] == {"model.embed_tokens": [5, 60]}
    loaded = load(strict.load_base(Qwen2ForCausalLM, base), adapter.path)
    close(logits(loaded), logits(strict.load_base(Qwen2ForCausalLM, tuned)))
    # What the note of `phlora extract` says.
    with pytest.raises(RuntimeError, match="base layer has no bias"):
        loaded.merge_and_unload()
    done = command.run("merge", base, adapter.path, "-o", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    close(logits(strict.load_base(Qwen2ForCausalLM, tmp_path / "merged")), logits(strict.load_base(Qwen2ForCausalLM, tuned)))


@pytest.mark.parametrize("also", ["norms,biases,new-tokens", "norms,biases,tokens"])
def test_new_tokens_reach_a_base_that_is_resized(tmp_path, also):
    grown, tuned = qwen2(104), tune(qwen2(), [])
    table = grown.get_input_embeddings().weight.detach().clone()
    table[:100] = tuned.get_input_embeddings().weight.detach()
    state = {name: tensor for name, tensor in tuned.state_dict().items() if tensor.shape[0] != 100}
    grown.load_state_dict({**state, "model.embed_tokens.weight": table, "lm_head.weight": table})
    base, tuned = save(qwen2(), grown, tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK, "f32", None, "--also", also)
    assert adapter.config["trainable_token_indices"] == {"model.embed_tokens": [100, 101, 102, 103]}
    start = strict.load_base(Qwen2ForCausalLM, base)
    start.resize_token_embeddings(104, mean_resizing=False)
    ids = torch.arange(80, 104).view(1, -1)
    loaded, expected = load(start, adapter.path), strict.load_base(Qwen2ForCausalLM, tuned)
    with torch.no_grad():
        close(loaded(input_ids=ids).logits, expected(input_ids=ids).logits)


def trained(model, path, **config):
    """An adapter that PEFT trains for some steps, saved; and the model that it merges into."""
    adapted = peft.get_peft_model(model, peft.LoraConfig(task_type="CAUSAL_LM", r=4, lora_alpha=12, **config))
    made.train(adapted, 3e-2)
    adapted.save_pretrained(path)
    return adapted.eval().merge_and_unload()


@pytest.mark.parametrize(
    "config",
    [
        dict(target_modules=["query_key_value", "dense"], bias="all"),
        dict(target_modules=["dense_4h_to_h"], bias="lora_only"),
        dict(target_modules=["query_key_value", "dense", "dense_h_to_4h", "dense_4h_to_h"], lora_bias=True),
        dict(target_modules=["dense"], modules_to_save=["final_layer_norm", "embed_in"]),
        dict(target_modules=["dense"], trainable_token_indices=[9, 2, 30]),
    ],
    ids=["bias-all", "bias-lora-only", "lora-bias", "modules-to-save", "tokens"],
)
def test_adapters_that_peft_trained_are_merged_and_pruned(tmp_path, config):
    base, _ = save(neox(), neox(), tmp_path)
    merged = trained(neox(), tmp_path / "trained", **copy.deepcopy(config)).state_dict()
    merged["embed_out.weight"] = merged.pop("lm_head.weight")
    done = command.run("merge", base, tmp_path / "trained", "-o", tmp_path / "merged")
    assert done.returncode == 0, done.stderr
    found, before = load_file(tmp_path / "merged/model.safetensors"), load_file(base / "model.safetensors")
    changed = {name for name in found if not torch.equal(found[name], before[name])}
    assert changed == {name for name in found if not torch.equal(merged[name], before[name])}
    assert any(found[name].ndim == 1 or "embed" in name for name in changed), "something beside factors"
    for name, tensor in found.items():
        torch.testing.assert_close(tensor, merged[name], rtol=1e-5, atol=1e-6, msg=name)

    # Pruned to the same rank, PEFT makes the same of it.
    done = command.run("prune", tmp_path / "trained", "-o", tmp_path / "pruned", "--rank", 4)
    assert done.returncode == 0, done.stderr
    loaded = load(strict.load_base(GPTNeoXForCausalLM, base), tmp_path / "pruned")
    for name, tensor in loaded.merge_and_unload().state_dict().items():
        name = name.replace("lm_head", "embed_out")
        torch.testing.assert_close(tensor, merged[name], rtol=1e-4, atol=1e-5, msg=name)


def test_the_real_pair_comes_close_to_the_tuned_model(tmp_path, tuned_nll):
    """All matrices at full rank, norms and the whole vocabulary: only f16 keeps it from the tuned model itself."""
    more = ("--include", "_proj", "--include", "lm_head", "--also", "norms,tokens")
    adapter = command.extract(pair.BASE, pair.TUNED, tmp_path / "adapter", 192, "f16", None, *more)
    loaded = load(pair.load(pair.BASE), adapter.path)
    assert pair.nll(loaded) == pytest.approx(tuned_nll, abs=2e-3)

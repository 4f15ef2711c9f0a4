"""Other architectures, made here at random: GPT-2 (Conv1D), Qwen2 (biases, tied embeddings), shards."""

import copy
import json

import torch
from peft import AutoPeftModel, AutoPeftModelForFeatureExtraction, AutoPeftModelForSequenceClassification
from safetensors.torch import load_file, save_file
from transformers import (
    BertConfig,
    BertForSequenceClassification,
    BertModel,
    GPT2Config,
    GPT2LMHeadModel,
    Qwen2Config,
    Qwen2ForCausalLM,
    ViTConfig,
    ViTForImageClassification,
)
from transformers.pytorch_utils import Conv1D

import command
import strict

RANK = 8
IDS = torch.arange(96).view(4, 24)


def gpt2():
    torch.manual_seed(1)
    return GPT2LMHeadModel(GPT2Config(n_layer=2, n_embd=64, n_head=4, n_positions=64, vocab_size=100))


def qwen2(vocabulary=100):
    torch.manual_seed(2)
    sizes = dict(hidden_size=64, intermediate_size=160, num_hidden_layers=2, vocab_size=vocabulary)
    heads = dict(num_attention_heads=4, num_key_value_heads=2, max_position_embeddings=64)
    return Qwen2ForCausalLM(Qwen2Config(**sizes, **heads, tie_word_embeddings=True))


@torch.no_grad()
def tune(model, which=lambda name: True):
    """Adds a strong rank-4 part and weak noise to the linear weights chosen, and a little to every vector."""
    torch.manual_seed(3)
    for name, module in model.named_modules():
        if isinstance(module, (torch.nn.Linear, Conv1D)) and name != "lm_head" and which(name):
            rows, columns = module.weight.shape
            module.weight += 0.03 * torch.randn(rows, 4) @ torch.randn(4, columns)
            module.weight += 0.001 * torch.randn(rows, columns)
    for parameter in model.parameters():
        if parameter.ndim == 1:
            parameter += 1e-4 * torch.randn_like(parameter)
    return model


def save(base, tuned, folder, **options):
    base.save_pretrained(folder / "base", **options)
    tuned.save_pretrained(folder / "tuned", **options)
    return folder / "base", folder / "tuned"


@torch.no_grad()
def logits(model):
    return model.eval()(input_ids=IDS).logits


@torch.no_grad()
def check(model_class, base, tuned, adapter):
    """PEFT's logits, unmerged and merged, are those of base + B·A, which is most of the way to the tuned model."""
    expected = strict.load_base(model_class, base).double()
    for module, update in adapter.updates.items():
        expected.get_submodule(module).weight += update.T if adapter.config["fan_in_fan_out"] else update
    expected = logits(expected)

    loaded = strict.load_adapter(strict.load_base(model_class, base), adapter)
    torch.testing.assert_close(logits(loaded).double(), expected, rtol=0, atol=2e-5)
    torch.testing.assert_close(logits(strict.merge(loaded)).double(), expected, rtol=0, atol=2e-5)

    before, after = (logits(strict.load_base(model_class, path)).double() for path in (base, tuned))
    assert (expected - after).norm() < 0.1 * (before - after).norm()


def linear(model):
    kinds = (torch.nn.Linear, Conv1D)
    return {name for name, module in model.named_modules() if isinstance(module, kinds) and name != "lm_head"}


def test_gpt2_stores_its_weights_the_other_way_round(tmp_path):
    base, tuned = save(gpt2(), tune(gpt2()), tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK)
    assert adapter.config["fan_in_fan_out"] is True
    assert adapter.factors.keys() == linear(gpt2())
    check(GPT2LMHeadModel, base, tuned, adapter)


def test_gpt2_as_published_without_the_transformer_prefix(tmp_path):
    """The hub's GPT-2 names its tensors `h.0.…`; in the language model that PEFT wraps they are `transformer.h.0.…`."""
    base, tuned = save(gpt2(), tune(gpt2()), tmp_path)  # with its config.json, which says GPT2LMHeadModel
    for folder in (base, tuned):
        state = {name.removeprefix("transformer."): t for name, t in load_file(folder / "model.safetensors").items()}
        save_file(state, folder / "model.safetensors", metadata={"format": "pt"})
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK)
    assert adapter.factors.keys() == linear(gpt2())
    check(GPT2LMHeadModel, base, tuned, adapter)


def test_auto_peft_finds_the_class_of_an_encoder(tmp_path):
    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4, vocab_size=100)
    torch.manual_seed(4)
    bare = BertModel(BertConfig(**sizes))
    base, tuned = save(bare, tune(copy.deepcopy(bare)), tmp_path)
    # A path is no name of a model unless it is given as one.
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK, None, None, "--base-name", base)
    assert adapter.config["task_type"] == "FEATURE_EXTRACTION"
    loaded = AutoPeftModelForFeatureExtraction.from_pretrained(adapter.path)
    assert isinstance(loaded.base_model.model, BertModel)
    with torch.no_grad():
        before, found, after = (
            model.eval()(input_ids=IDS).last_hidden_state for model in (bare, loaded, BertModel.from_pretrained(tuned))
        )
    assert (found - after).norm() < 0.1 * (before - after).norm()


def test_qwen2_with_biases_and_tied_embeddings(tmp_path):
    base, tuned = save(qwen2(), tune(qwen2()), tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK)
    assert adapter.factors.keys() == linear(qwen2())
    check(Qwen2ForCausalLM, base, tuned, adapter)


def test_modules_that_did_not_change_get_no_layer_in_peft(tmp_path):
    """`q_proj` has factors in one block only: PEFT must not make an empty layer in the other and warn."""
    changed = {"model.layers.1.self_attn.q_proj", "model.layers.0.mlp.down_proj", "model.layers.1.mlp.down_proj"}
    base, tuned = save(qwen2(), tune(qwen2(), changed.__contains__), tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK)
    assert adapter.factors.keys() == changed
    check(Qwen2ForCausalLM, base, tuned, adapter)


def test_modules_left_out_by_the_user_get_no_layer_in_peft(tmp_path):
    base, tuned = save(qwen2(), tune(qwen2()), tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK, None, None, "--exclude", r"layers\.0\..*[qk]_proj")
    kept = {name for name in linear(qwen2()) if not name.startswith("model.layers.0.self_attn.") or name[-6] in "vo"}
    assert adapter.factors.keys() == kept
    strict.load_adapter(strict.load_base(Qwen2ForCausalLM, base), adapter)


def test_a_vocabulary_that_grew_leaves_the_rest_as_it_is(tmp_path):
    grown = qwen2(vocabulary=104)
    state = {name: t for name, t in tune(qwen2()).state_dict().items() if "embed" not in name and name != "lm_head.weight"}
    grown.load_state_dict(state, strict=False)
    base, tuned = save(qwen2(), grown, tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK)
    assert adapter.factors.keys() == linear(qwen2())
    strict.load_adapter(strict.load_base(Qwen2ForCausalLM, base), adapter)


def test_shards_give_the_same_adapter_to_the_bit(tmp_path):
    whole = save(qwen2(), tune(qwen2()), tmp_path / "whole")
    shards = save(qwen2(), tune(qwen2()), tmp_path / "shards", max_shard_size="100KB")
    assert len(list(shards[0].glob("model-*.safetensors"))) > 2
    first = command.extract(*whole, tmp_path / "first", RANK)
    second = command.extract(*shards, tmp_path / "second", RANK)
    assert (first.path / "adapter_model.safetensors").read_bytes() == (
        second.path / "adapter_model.safetensors"
    ).read_bytes()


def test_auto_peft_finds_a_classifier_and_its_head(tmp_path):
    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4, vocab_size=100)
    torch.manual_seed(5)
    model = BertForSequenceClassification(BertConfig(**sizes, num_labels=3, tie_word_embeddings=True))
    base, tuned = save(model, tune(copy.deepcopy(model)), tmp_path)
    adapter = tmp_path / "adapter"
    done = command.run("extract", base, tuned, "-o", adapter, "--rank", RANK, "--base-name", base)
    assert done.returncode == 0, done.stderr
    config = json.loads((adapter / "adapter_config.json").read_text())
    assert config["task_type"] == "SEQ_CLS" and config["modules_to_save"] == ["classifier"]
    loaded = AutoPeftModelForSequenceClassification.from_pretrained(adapter).base_model.model
    assert isinstance(loaded, BertForSequenceClassification)
    after = BertForSequenceClassification.from_pretrained(tuned)
    assert torch.equal(loaded.classifier.modules_to_save["default"].weight, after.classifier.weight)


def test_auto_peft_finds_the_class_of_a_model_without_a_task_of_peft(tmp_path):
    sizes = dict(hidden_size=64, intermediate_size=96, num_hidden_layers=1, num_attention_heads=4, image_size=8, patch_size=4)
    torch.manual_seed(6)
    model = ViTForImageClassification(ViTConfig(**sizes, num_labels=3))
    base, tuned = save(model, tune(copy.deepcopy(model)), tmp_path)
    adapter = command.extract(base, tuned, tmp_path / "adapter", RANK, None, None, "--base-name", base)
    assert adapter.config["task_type"] is None and "classifier" in adapter.factors
    assert isinstance(AutoPeftModel.from_pretrained(adapter.path).base_model.model, ViTForImageClassification)

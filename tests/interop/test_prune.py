"""An adapter that PEFT itself trained, pruned without its base: it loads again and is the best of its rank."""

from collections import namedtuple

import numpy as np
import peft
import pytest
import torch

import command
import made
import strict

TARGETS = ["q_proj", "v_proj", "o_proj", "up_proj", "down_proj"]
ALPHA, PATTERN = 24, {"v_proj": 8}

Trained = namedtuple("Trained", "path base products")


@pytest.fixture(scope="module")
def trained(tmp_path_factory):
    """Its `products` are s·B·A by module in float64; with a rank_pattern alone, s = alpha / r_i."""
    model = made.wide()
    base = {name: tensor.clone() for name, tensor in model.state_dict().items()}
    config = peft.LoraConfig(
        task_type="CAUSAL_LM", r=16, lora_alpha=ALPHA, rank_pattern=PATTERN, target_modules=TARGETS
    )
    adapted = peft.get_peft_model(model, config)
    made.train(adapted, 1e-2)
    path = tmp_path_factory.mktemp("trained")
    adapted.save_pretrained(path)
    products = {}
    for name, (a, b) in command.Adapter(path, None).factors.items():
        rank = PATTERN.get(name.rsplit(".", 1)[-1], 16)
        assert a.shape[0] == rank, name
        products[name] = (ALPHA / rank * (b @ a)).numpy()
    return Trained(path, base, products)


@pytest.mark.parametrize("options, share", [(["--rank", 4], None), (["--energy", 0.9], 0.9)])
def test_a_trained_adapter_is_pruned_to_the_best_of_its_rank(trained, tmp_path, options, share):
    out = tmp_path / "pruned"
    done = command.run("prune", trained.path, "-o", out, *options)
    assert done.returncode == 0, done.stdout + done.stderr
    pruned = command.Adapter(out, None)
    assert pruned.factors.keys() == trained.products.keys()
    model = made.wide()
    model.load_state_dict(trained.base)
    merged = strict.merge(strict.load_adapter(model, pruned)).state_dict()
    for name, product in trained.products.items():
        rank, squares = pruned.factors[name][0].shape[0], np.linalg.svd(product, compute_uv=False) ** 2
        if share:
            assert squares[:rank].sum() >= (share - 1e-4) * squares.sum(), name
            assert rank == 1 or squares[: rank - 1].sum() < share * squares.sum(), name
        else:
            assert rank == 4, name
        weight = f"{name}.weight"
        change = (merged[weight].double() - trained.base[weight].double()).numpy()
        lost = ((product - change) ** 2).sum()
        assert lost <= squares[rank:].sum() + 1e-4 * squares.sum(), name

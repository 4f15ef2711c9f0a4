"""What `check --for peft` says beside what the real PEFT does: layers that it does not make, names that it does not read."""

import json
import shutil
import warnings

import peft
import pytest
from safetensors.torch import load_file, save_file

import command
import pair


@pytest.fixture(scope="module")
def adapter(tmp_path_factory):
    path = tmp_path_factory.mktemp("checked") / "adapter"
    command.extract(pair.BASE, pair.TUNED, path, 4)
    return path


def loaded(path):
    """How many modules of the model have factors that are not zero, and what PEFT warned of."""
    with warnings.catch_warnings(record=True) as said:
        warnings.simplefilter("always")
        model = peft.PeftModel.from_pretrained(pair.load(pair.BASE), path)
    layers = [m for m in model.modules() if isinstance(m, peft.tuners.lora.LoraLayer)]
    used = sum(any(b.weight.abs().sum() > 0 for b in m.lora_B.values()) for m in layers)
    return used, [str(one.message) for one in said]


def checked(path):
    done = command.run("check", path, "--base", pair.BASE, "--for", "peft", "--json")
    return done.returncode, {finding["code"] for finding in json.loads(done.stdout)}


def test_a_sound_adapter_is_whole_in_peft(adapter):
    assert checked(adapter) == (0, set())
    assert loaded(adapter)[0] == 28


def test_what_is_not_targeted_is_passed_over(adapter, tmp_path):
    path = tmp_path / "targets"
    shutil.copytree(adapter, path)
    config = json.loads((path / "adapter_config.json").read_text())
    config["target_modules"] = ["q_proj", "v_proj"]
    (path / "adapter_config.json").write_text(json.dumps(config))
    assert "untargeted" in checked(path)[1]
    assert loaded(path)[0] == 8


def test_names_that_peft_does_not_know_do_nothing(adapter, tmp_path):
    path = tmp_path / "names"
    shutil.copytree(adapter, path)
    file = path / "adapter_model.safetensors"
    save_file({name.replace(".layers.", ".blocks."): t for name, t in load_file(file).items()}, file)
    code, found = checked(path)
    assert code == 1 and "unread" in found
    used, said = loaded(path)
    assert used == 0 and any("missing" in text for text in said), said


def test_names_of_memory_are_those_of_the_adapter_default(adapter, tmp_path):
    path = tmp_path / "held"
    shutil.copytree(adapter, path)
    file = path / "adapter_model.safetensors"
    save_file({name.replace(".weight", ".default.weight"): t for name, t in load_file(file).items()}, file)
    assert checked(path) == (0, {"adapter-name"})
    assert loaded(path)[0] == 28

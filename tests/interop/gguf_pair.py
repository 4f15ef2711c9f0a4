"""The two commands on pairs of models that are there as Hugging Face directories and as GGUF of any kind."""

import json

import numpy as np
from transformers import LlamaForCausalLM, Qwen2ForCausalLM

import command
import gguf_model
import llama
import made
import pair
import strict

IDS = np.fromfile(pair.FOLDER / "eval-tuned.bin", dtype="<u2")[:16384].reshape(-1, 256)
FEW = IDS[:4]
SMALL = np.arange(96).reshape(4, 24)  # ids of the models made at random


def apart(found, expected):
    """The largest difference of logits, in units of their own root mean square."""
    return np.abs(found - expected).max() / np.sqrt(np.mean(np.square(expected, dtype=np.float64)))


def convert(adapter, out, *options):
    done = command.run("convert", adapter, "-o", out, "--quiet", *options)
    assert done.returncode == 0, f"phlora convert: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return out


def extract(base, tuned, out, rank, *options):
    words = ["extract", base, tuned, "-o", out, "--rank", rank, "--report", out.with_suffix(".json"), "--quiet", *options]
    done = command.run(*words)
    assert done.returncode == 0, f"phlora extract: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return out


def merge(base, adapter, config, out, dtype=np.float32):
    """A GGUF of base + B·A, the base as its file decodes."""
    updates, tensors = gguf_model.updates(adapter), gguf_model.read(base)
    assert updates and updates.keys() <= tensors.keys()
    merged = {name: tensor.astype(np.float64) + updates.get(name, 0.0) for name, tensor in tensors.items()}
    return gguf_model.write(out, merged, config, dtype)


class Pair:
    """Two models as Hugging Face directories and, made when asked for, as GGUF of any kind."""

    def __init__(self, base, tuned, folder):
        self.hf, self.folder = {"base": base, "tuned": tuned}, folder
        self.models = {side: None for side in self.hf}
        self.adapters = {}

    def model(self, side):
        if self.models[side] is None:
            classes = {"llama": LlamaForCausalLM, "qwen2": Qwen2ForCausalLM}
            kind = json.loads((self.hf[side] / "config.json").read_text())["model_type"]
            self.models[side] = strict.load_base(classes[kind], self.hf[side])
        return self.models[side]

    @property
    def config(self):
        return self.model("base").config

    def gguf(self, side, kind="f32"):
        path = self.folder / f"{side}-{kind}.gguf"
        if not path.exists():
            if kind in ("f32", "f16"):
                made.as_gguf(self.model(side), path, np.float32 if kind == "f32" else np.float16)
            else:
                llama.quantize(self.gguf(side, "f32"), path, kind)
        return path

    def adapter(self, rank, *options):
        """The GGUF adapter extracted from the two directories, f32 unless the options say otherwise."""
        key = (rank, *options)
        if key not in self.adapters:
            out = self.folder / f"adapter-{len(self.adapters)}.gguf"
            self.adapters[key] = extract(self.hf["base"], self.hf["tuned"], out, rank, *(options or ("--dtype", "f32")))
        return self.adapters[key]


def ids_of(pair_):
    return FEW if pair_.config.vocab_size > 100 else SMALL


def save(make, folder):
    """A model of `made` and the same after a change that is of rank 4 for the most part."""
    make().save_pretrained(folder / "base")
    made.tuned(make()).save_pretrained(folder / "tuned")
    return Pair(folder / "base", folder / "tuned", folder)

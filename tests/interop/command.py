"""Runs the command under test and reads what it wrote."""

import functools
import json
import os
import subprocess
from pathlib import Path

from safetensors.torch import load_file

ROOT = Path(__file__).resolve().parents[2]
PREFIX = "base_model.model."


def binary():
    path = Path(os.environ.get("PHLORA_BIN", ROOT / "target/release/phlora"))
    if not path.is_file():
        raise FileNotFoundError(f"{path} is missing: `cargo build --release -p phlora-cli`, or set PHLORA_BIN")
    return path


def run(*arguments):
    """Runs `phlora ARGUMENTS` and returns the finished process, whatever its exit code."""
    words = [str(binary()), *map(str, arguments)]
    return subprocess.run(words, stdin=subprocess.DEVNULL, capture_output=True, text=True, timeout=120)


class Adapter:
    """An adapter directory and the report of its extraction."""

    def __init__(self, path, report):
        self.path = path
        self.report = report
        self.config = json.loads((path / "adapter_config.json").read_text())
        self.tensors = load_file(path / "adapter_model.safetensors")

    @functools.cached_property
    def factors(self):
        """{module: (A, B)} in float64, as the file holds them."""
        a = {self._module(name, "A"): t.double() for name, t in self.tensors.items() if ".lora_A." in name}
        b = {self._module(name, "B"): t.double() for name, t in self.tensors.items() if ".lora_B." in name}
        assert a.keys() == b.keys() and 2 * len(a) == len(self.tensors), "every tensor is half of a pair"
        return {module: (a[module], b[module]) for module in a}

    @functools.cached_property
    def updates(self):
        """{module: B·A, times the scale} in float64, [out, in]."""
        scale = self.config["lora_alpha"] / self.config["r"]
        return {module: scale * (b @ a) for module, (a, b) in self.factors.items()}

    @staticmethod
    def _module(name, factor):
        ending = f".lora_{factor}.weight"
        assert name.startswith(PREFIX) and name.endswith(ending), name
        return name[len(PREFIX) : -len(ending)]


def extract(base, tuned, out, rank, dtype=None, mode=None, *more):
    """`phlora extract`, which must succeed."""
    report = out.with_suffix(".json")
    options = ["--rank", rank, "--report", report, "--quiet", *more]
    options += ["--dtype", dtype] if dtype else []
    options += ["--mode", mode] if mode else []
    done = run("extract", base, tuned, "-o", out, *options)
    assert done.returncode == 0, f"phlora extract: exit {done.returncode}\n{done.stdout}{done.stderr}"
    return Adapter(out, json.loads(report.read_text()))


class Extractor:
    """Extracts a pair once for each set of options."""

    def __init__(self, base, tuned, folder):
        self.base, self.tuned, self.folder = base, tuned, folder
        self.done = {}

    def __call__(self, rank, dtype=None, mode=None):
        key = (rank, dtype, mode)
        if key not in self.done:
            out = self.folder / "-".join(map(str, key))
            self.done[key] = extract(self.base, self.tuned, out, rank, dtype, mode)
        return self.done[key]

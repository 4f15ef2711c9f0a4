"""Adapters from state dicts of torch or numpy, without files and without copies of the weights."""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from phlora import _phlora

_DTYPES = {"float32": "f32", "float16": "f16", "bfloat16": "bf16", "float64": "f64"}


@dataclass(frozen=True)
class Module:
    """The factors of one module: Δ ≈ B·A, in f32, and their figures."""

    #: [rank, in], as torch tensor or numpy array, whichever the tuned weight was.
    a: Any
    #: [out, rank].
    b: Any
    #: The kept singular values of the difference, in descending order.
    singular_values: list[float]
    #: Share of ‖Δ‖² that the factors keep.
    energy: float
    #: ‖Δ‖ in the Frobenius norm.
    delta_norm: float
    #: Times that the weights were read.
    reads: int
    #: Whether the tolerance was met.
    converged: bool

    @property
    def rank(self) -> int:
        """Rows of A, columns of B."""
        return len(self.singular_values)


@dataclass(frozen=True)
class Adapter:
    """An adapter in memory."""

    #: By path, in the order of the tuned model.
    modules: dict[str, Module]
    #: Tensors that differ and get no factors, or cannot be compared: name → reason.
    left_out: dict[str, str] = field(default_factory=dict)

    @property
    def energy(self) -> float:
        """Share of ‖Δ‖² over the modules that the factors keep."""
        everything = sum(module.delta_norm**2 for module in self.modules.values())
        kept = sum(module.energy * module.delta_norm**2 for module in self.modules.values())
        return kept / everything if everything > 0 else 1.0

    def state_dict(self) -> dict[str, Any]:
        """The factors under PEFT's names, for `peft.set_peft_model_state_dict`."""
        named = {}
        for name, module in self.modules.items():
            named[f"base_model.model.{name}.lora_A.weight"] = module.a
            named[f"base_model.model.{name}.lora_B.weight"] = module.b
        return named

    def config(self) -> dict[str, Any]:
        """Arguments of `peft.LoraConfig` with which every scale is 1."""
        ranks = {name: module.rank for name, module in self.modules.items()}
        most = max(ranks.values())
        others = {name: rank for name, rank in ranks.items() if rank != most}
        return {
            "r": most,
            "lora_alpha": most,
            "target_modules": list(ranks),
            "rank_pattern": dict(others),
            "alpha_pattern": dict(others),
        }

    def save(
        self,
        path: str | os.PathLike[str],
        *,
        format: str | None = None,
        dtype: str = "f16",
        base_name: str | None = None,
        task: str | None = "CAUSAL_LM",
        force: bool = False,
    ) -> int:
        """Writes the adapter, which appears whole or not at all; returns the bytes of its files.

        `format` is "peft", "kohya", "comfy" or what the path says. For GGUF, save for PEFT and use `phlora.convert`, which takes
        names and row order from the base.
        """
        how = {
            "format": format,
            "dtype": dtype,
            "force": force,
            "base_name": base_name,
            "architecture": None,
            "task": task,
        }
        found = [
            _Found(name, _bytes(module.a), _bytes(module.b), module.b.shape[0], module.a.shape[1], module.rank)
            for name, module in self.modules.items()
        ]
        return _phlora.save(os.fspath(path), found, how)


@dataclass(frozen=True)
class _Found:
    name: str
    a: bytes
    b: bytes
    out: int
    input: int
    rank: int


@dataclass(frozen=True)
class _Side:
    """A weight as bytes that are shared with its owner."""

    data: memoryview
    dtype: str


def _is_torch(value: Any) -> bool:
    return type(value).__module__.partition(".")[0] == "torch" or hasattr(value, "untyped_storage")


def _dtype(value: Any) -> str:
    return str(value.dtype).rpartition(".")[2]


def _side(value: Any) -> _Side:
    dtype = _DTYPES.get(_dtype(value), _dtype(value))
    if _is_torch(value):
        import torch

        # Neither copies a contiguous tensor in main memory.
        value = value.detach().cpu().contiguous().view(torch.uint8).numpy()
    else:
        import numpy

        value = numpy.ascontiguousarray(value).view(numpy.uint8)
    return _Side(memoryview(value).cast("B"), dtype)


def _bytes(value: Any) -> bytes:
    if _is_torch(value):
        value = value.detach().cpu().contiguous().numpy()
    return bytes(memoryview(value.astype("float32", copy=False)).cast("B"))


def _array(data: bytearray, shape: Sequence[int], like: Any) -> Any:
    if _is_torch(like):
        import torch

        return torch.frombuffer(data, dtype=torch.float32).reshape(tuple(shape))
    import numpy

    return numpy.frombuffer(data, dtype=numpy.float32).reshape(tuple(shape))


def _reason(name: str, base: Any, tuned: Any, include: Sequence[re.Pattern[str]], exclude: Sequence[re.Pattern[str]]) -> str | None:
    """Why a tensor gets no factors; None: it does."""
    if base is None:
        return "the base lacks it"
    if tuple(base.shape) != tuple(tuned.shape):
        return f"{list(base.shape)} in base, {list(tuned.shape)} in tuned"
    module, _, last = name.rpartition(".")
    if last != "weight" or len(tuned.shape) != 2:
        return "no linear layer"
    if any(pattern.search(module) for pattern in exclude):
        return "excluded"
    if include:
        return None if any(pattern.search(module) for pattern in include) else "not included"
    return None if _phlora.is_linear(name, list(tuned.shape)) else "no linear layer"


def extract_state_dict(
    base: Mapping[str, Any],
    tuned: Mapping[str, Any],
    *,
    rank: int = 32,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    tolerance: float = 1e-3,
    max_reads: int = 40,
    threads: int | None = None,
    progress: Callable[[int, int], object] | None = None,
) -> Adapter:
    """Factors of tuned − base for every linear layer that differs, from weights in memory.

    Values are torch tensors or numpy arrays of float32, float16, bfloat16 or float64; a side is read in blocks of 1 MiB, and only
    tensors that are not contiguous or not in main memory are copied. Names are those of the model in memory, which are PEFT's.
    Output heads and embeddings take part if `include` matches them. `progress` gets modules done and all modules. Convolutions,
    experts in one tensor, goals other than a rank, and quantised weights need files: see `extract`.
    """
    includes, excludes = [re.compile(p) for p in include], [re.compile(p) for p in exclude]
    chosen, left_out = [], {}
    for name, weight in tuned.items():
        reason = _reason(name, base.get(name), weight, includes, excludes)
        if reason is None:
            chosen.append(name)
        else:
            left_out[name] = reason
    cancel = _phlora.Cancel()

    def one(name: str) -> dict[str, Any] | None:
        before, after = base[name], tuned[name]
        shape = (int(after.shape[0]), int(after.shape[1]))
        return _phlora.factorise(name, _side(before), _side(after), shape, rank, tolerance, max_reads, cancel)

    modules: dict[str, Module] = {}
    with ThreadPoolExecutor(threads or os.cpu_count()) as pool:
        try:
            for done, (name, found) in enumerate(zip(chosen, pool.map(one, chosen)), 1):
                if found is not None:
                    out, columns = (int(n) for n in tuned[name].shape)
                    kept = found.pop("rank")
                    a = _array(found.pop("a"), (kept, columns), tuned[name])
                    b = _array(found.pop("b"), (out, kept), tuned[name])
                    modules[name.removesuffix(".weight")] = Module(a, b, **found)
                if progress is not None:
                    progress(done, len(chosen))
        except BaseException:
            cancel.set()
            pool.shutdown(wait=True, cancel_futures=True)
            raise
    if not modules:
        raise _phlora.NothingToExtract("nothing to extract: no linear layer of the state dicts differs")
    return Adapter(modules, left_out)

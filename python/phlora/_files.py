"""Jobs over paths: what the command does, with its words and its defaults."""

from __future__ import annotations

import json
import os
import warnings
from collections.abc import Callable, Mapping, Sequence
from typing import Any, TypedDict, Union

from phlora import _phlora

Path = Union[str, "os.PathLike[str]"]
#: Called about twenty times a second with the bytes read so far and an estimate of all.
Progress = Callable[[int, int], object]


class Finding(TypedDict):
    """One thing that `check` found."""

    code: str
    severity: str
    tensor: str | None
    message: str


def _path(path: Path | None) -> str | None:
    return None if path is None else os.fspath(path)


def _what(given: dict[str, Any]) -> dict[str, Any]:
    """The options of an extraction, as the native module takes them."""
    defaults: dict[str, Any] = {
        "mode": "auto",
        "dtype": None,
        "format": None,
        "names": None,
        "prefix": None,
        "base_name": None,
        "server": None,
        "also": (),
        "token_energy": 1.0,
        "include": (),
        "exclude": (),
        "save_module": (),
        "channel_scales": None,
        "tolerance": 1e-3,
        "max_reads": 40,
        "scratch": None,
        "threads": None,
    }
    what = {name: given.get(name, default) for name, default in defaults.items()}
    for name in ("also", "include", "exclude", "save_module"):
        value = what[name]
        what[name] = [value] if isinstance(value, str) else list(value)
    what["channel_scales"] = _path(what["channel_scales"])
    return what


def _written(written: tuple[list[tuple[str, str]], list[str]]) -> dict[str, dict[str, Any]]:
    saved, notes = written
    for note in notes:
        warnings.warn(f"for this server: {note}", stacklevel=3)
    return {os.fspath(path): json.loads(report) for path, report in saved}


def extract(
    base: Path,
    tuned: Path,
    output: Path,
    *,
    rank: int | None = None,
    energy: float | None = None,
    total_energy: float | None = None,
    budget: int | None = None,
    noise_floor: bool = False,
    by: str = "relative",
    max_rank: int | None = None,
    uniform: bool = False,
    multiple: int = 1,
    server: str | None = None,
    format: str | None = None,
    dtype: str | None = None,
    mode: str = "auto",
    names: str | None = None,
    prefix: str | None = None,
    base_name: str | None = None,
    also: Sequence[str] = (),
    token_energy: float = 1.0,
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    save_module: Sequence[str] = (),
    channel_scales: Path | None = None,
    deployed_base: Path | None = None,
    tolerance: float = 1e-3,
    max_reads: int = 40,
    scratch: int | None = None,
    threads: int | None = None,
    report: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Writes the adapter of the difference of two models and returns its report (docs/report.md describes it).

    Give one of `rank` (32 if nothing is given), `energy` (a share from 0 to 1 per module), `total_energy` (of all modules
    together), `budget` (bytes of the file) and `noise_floor`. `server` is "peft", "vllm", "llama.cpp", "lorax", "slora" or
    "punica" and keeps to what it accepts. The other arguments are the options of `phlora extract`; the bytes are the same as
    the command's.
    """
    place = {
        "base": _path(base),
        "tuned": _path(tuned),
        "deployed_base": _path(deployed_base),
        "output": _path(output),
        "report": _path(report),
        "force": force,
        "progress": progress,
    }
    ranks = {
        "rank": rank,
        "energy": energy,
        "total_energy": total_energy,
        "budget": budget,
        "by": by,
        "noise_floor": noise_floor,
        "max_rank": max_rank,
        "uniform": uniform,
        "multiple": multiple,
    }
    what = _what(
        {
            "mode": mode,
            "dtype": dtype,
            "format": format,
            "names": names,
            "prefix": prefix,
            "base_name": base_name,
            "server": server,
            "also": also,
            "token_energy": token_energy,
            "include": include,
            "exclude": exclude,
            "save_module": save_module,
            "channel_scales": channel_scales,
            "tolerance": tolerance,
            "max_reads": max_reads,
            "scratch": scratch,
            "threads": threads,
        }
    )
    (written,) = _written(_phlora.extract(place, ranks, what)).values()
    return written


def extract_ranks(
    base: Path,
    tuned: Path,
    output: Path,
    ranks: Sequence[int],
    *,
    deployed_base: Path | None = None,
    report: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """Writes an adapter for each of `ranks` from one factorisation, `OUTPUT-r8` for rank 8; returns path → report.

    `options` are those of `extract` that do not choose a rank.
    """
    unknown = set(options) - set(_what({}))
    if unknown:
        raise TypeError(f"extract_ranks has no option {', '.join(sorted(unknown))}")
    place = {
        "base": _path(base),
        "tuned": _path(tuned),
        "deployed_base": _path(deployed_base),
        "output": _path(output),
        "report": _path(report),
        "force": force,
        "progress": progress,
    }
    return _written(_phlora.extract_ranks(place, list(ranks), _what(options)))


#: The options of `extract` that choose ranks, with their defaults.
_RANKS: dict[str, Any] = {
    "rank": None,
    "energy": None,
    "total_energy": None,
    "budget": None,
    "by": "relative",
    "noise_floor": False,
    "max_rank": None,
    "uniform": False,
    "multiple": 1,
}


def extract_several(
    base: Path,
    adapters: Mapping[Path, Path],
    *,
    deployed_base: Path | None = None,
    report: Path | None = None,
    force: bool = False,
    progress: Progress | None = None,
    **options: Any,
) -> dict[str, dict[str, Any]]:
    """Writes an adapter of each of several fine-tunes of one base, which is read once for all; returns path → report.

    `adapters` maps the path of each adapter to its fine-tune: `{"adapters/chat": "chat", "adapters/code": "code"}`. `options`
    are those of `extract`; with `report="r.json"` each report is `r-chat.json`, by the last part of the adapter's path. What
    headers tell is refused before any work. A fine-tune that fails later does not stop the others: when they are written, the
    exception of the first that failed is raised, whose `failed` maps each such fine-tune to its exception and whose `written`
    is what this function would have returned.
    """
    unknown = set(options) - set(_what({})) - set(_RANKS)
    if unknown:
        raise TypeError(f"extract_several has no option {', '.join(sorted(unknown))}")
    places = {
        "base": _path(base),
        "tuned": [_path(tuned) for tuned in adapters.values()],
        "deployed_base": _path(deployed_base),
        "outputs": [_path(output) for output in adapters],
        "report": _path(report),
        "force": force,
        "progress": progress,
    }
    ranks = {name: options.get(name, default) for name, default in _RANKS.items()}
    saved, notes, failed = _phlora.extract_several(places, ranks, _what(options))
    written = _written((saved, notes))
    if failed:
        error = failed[0][1]
        error.failed = {os.fspath(tuned): one for tuned, one in failed}
        error.written = written
        raise error
    return written


def plan(
    base: Path,
    tuned: Path,
    *,
    max_rank: int = 128,
    dtype: str = "f16",
    include: Sequence[str] = (),
    exclude: Sequence[str] = (),
    channel_scales: Path | None = None,
    tolerance: float = 1e-3,
    scratch: int | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Reads the spectra and returns them as a report: `curve` says what so many bytes keep, `modules` has singular values."""
    place = {
        "base": _path(base),
        "tuned": _path(tuned),
        "deployed_base": None,
        "output": "",
        "report": None,
        "force": False,
        "progress": progress,
    }
    what = _what(
        {
            "dtype": dtype,
            "include": include,
            "exclude": exclude,
            "channel_scales": channel_scales,
            "tolerance": tolerance,
            "scratch": scratch,
            "threads": threads,
        }
    )
    report: dict[str, Any] = json.loads(_phlora.plan(place, max_rank, what))
    return report


def verify(
    base: Path,
    tuned: Path,
    adapter: Path,
    *,
    channel_scales: Path | None = None,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Reads the written files back and measures what the adapter keeps: `energy`, and per module `modules`."""
    found = _phlora.verify(
        os.fspath(base), os.fspath(tuned), os.fspath(adapter), _path(channel_scales), threads, progress
    )
    verified: dict[str, Any] = json.loads(found)
    return verified


def check(adapter: Path, base: Path) -> list[Finding]:
    """Finds what llama.cpp or PEFT refuses, crashes on or ignores; the worst first."""
    findings: list[Finding] = json.loads(_phlora.check(os.fspath(adapter), os.fspath(base)))
    return findings


def convert(
    adapter: Path,
    output: Path,
    *,
    format: str | None = None,
    dtype: str | None = None,
    base: Path | None = None,
    architecture: str | None = None,
    heads: tuple[int, int] | None = None,
    names: str | None = None,
    prefix: str | None = None,
    force: bool = False,
) -> dict[str, int]:
    """Writes an adapter in another format or dtype. `heads` are the attention heads of queries and of keys."""
    how = {
        "format": format,
        "dtype": dtype,
        "base": _path(base),
        "architecture": architecture,
        "heads": heads,
        "names": names,
        "prefix": prefix,
        "force": force,
    }
    converted: dict[str, int] = json.loads(_phlora.convert(os.fspath(adapter), os.fspath(output), how))
    return converted


def prune(
    adapter: Path,
    output: Path,
    *,
    rank: int | None = None,
    energy: float | None = None,
    total_energy: float | None = None,
    budget: int | None = None,
    noise_floor: bool = False,
    by: str = "relative",
    max_rank: int | None = None,
    uniform: bool = False,
    multiple: int = 1,
    drop_below: float = 0.0,
    dtype: str | None = None,
    threads: int | None = None,
    force: bool = False,
) -> dict[str, Any]:
    """Writes an adapter at smaller ranks, without its base; energies are shares of its own product."""
    ranks = {
        "rank": rank,
        "energy": energy,
        "total_energy": total_energy,
        "budget": budget,
        "by": by,
        "noise_floor": noise_floor,
        "max_rank": max_rank,
        "uniform": uniform,
        "multiple": multiple,
    }
    how = {"drop_below": drop_below, "dtype": dtype, "threads": threads, "force": force}
    pruned: dict[str, Any] = json.loads(_phlora.prune(os.fspath(adapter), os.fspath(output), ranks, how))
    return pruned


def merge(
    base: Path,
    adapters: Path | Sequence[Path | tuple[Path, float]],
    output: Path,
    *,
    force: bool = False,
    threads: int | None = None,
    progress: Progress | None = None,
) -> dict[str, Any]:
    """Adds adapters, each with a strength if it is a pair (path, strength), to the weights of a model."""
    listed = [adapters] if isinstance(adapters, (str, os.PathLike)) else list(adapters)
    pairs = [
        (os.fspath(one[0]), float(one[1])) if isinstance(one, tuple) else (os.fspath(one), 1.0) for one in listed
    ]
    merged: dict[str, Any] = json.loads(
        _phlora.merge(os.fspath(base), pairs, os.fspath(output), force, threads, progress)
    )
    return merged

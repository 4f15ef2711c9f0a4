"""The native half of the module; phlora/__init__.py has the public functions."""

from collections.abc import Callable, Mapping, Sequence
from typing import Any

__version__: str

class Error(Exception): ...
class NothingToExtract(Error): ...
class OutputExists(Error): ...

class Cancel:
    def __init__(self) -> None: ...
    def set(self) -> None: ...

class _Side:
    data: memoryview
    dtype: str

def command(arguments: Sequence[str]) -> int: ...
def extract(
    place: Mapping[str, Any], ranks: Mapping[str, Any], what: Mapping[str, Any]
) -> tuple[list[tuple[str, str]], list[str]]: ...
def extract_ranks(
    place: Mapping[str, Any], ranks: Sequence[int], what: Mapping[str, Any]
) -> tuple[list[tuple[str, str]], list[str]]: ...
def extract_several(
    places: Mapping[str, Any], ranks: Mapping[str, Any], what: Mapping[str, Any]
) -> tuple[list[tuple[str, str]], list[str], list[tuple[str, Any]]]: ...
def plan(place: Mapping[str, Any], max_rank: int, what: Mapping[str, Any]) -> str: ...
def verify(
    base: str,
    tuned: str,
    adapter: str,
    scales: str | None,
    count: int | None,
    progress: Callable[[int, int], object] | None,
) -> str: ...
def check(adapter: str, base: str) -> str: ...
def convert(adapter: str, output: str, how: Mapping[str, Any]) -> str: ...
def prune(adapter: str, output: str, ranks: Mapping[str, Any], how: Mapping[str, Any]) -> str: ...
def merge(
    base: str,
    adapters: Sequence[tuple[str, float]],
    output: str,
    force: bool,
    count: int | None,
    progress: Callable[[int, int], object] | None,
) -> str: ...
def is_linear(name: str, shape: Sequence[int]) -> bool: ...
def factorise(
    name: str,
    base: Any,
    tuned: Any,
    shape: tuple[int, int],
    rank: int,
    tolerance: float,
    max_reads: int,
    cancel: Cancel,
) -> dict[str, Any] | None: ...
def save(path: str, modules: Sequence[Any], how: Mapping[str, Any]) -> int: ...

"""A pair of checkpoints with its judge; what had to be trained is kept until the files that made it change."""

import hashlib
import json
import shutil
import time
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import torch
from packages import CACHE

HERE = Path(__file__).parent


@dataclass
class Pair:
    name: str
    what: str  # the model and the task, for the table's caption
    metric: str
    higher_is_better: bool
    base: Path  # as given to phlora
    tuned: Path
    load: Callable  # path -> the tuned model's class in torch, with the weights of that checkpoint
    judge: Callable  # model -> metric
    options: tuple[str, ...] = ()  # of every extraction
    base_metric: float | None = None  # where the base needs a head of its own; else judge(load(base))
    seconds: float = 0.0  # of making it


def stored(name, sources, make):
    """(folder, facts) of make(folder) -> facts, run once for each content of the source files."""
    digest = hashlib.sha256(b"".join((HERE / source).read_bytes() for source in [*sources, "requirements.txt"]))
    folder = CACHE / "pairs" / f"{name}-{digest.hexdigest()[:12]}"
    if not (folder / "facts.json").is_file():
        for old in folder.parent.glob(f"{name}-{'?' * 12}"):
            shutil.rmtree(old)
        folder.mkdir(parents=True)
        torch.manual_seed(1)
        start = time.monotonic()
        facts = make(folder)
        facts["seconds"] = time.monotonic() - start
        (folder / "facts.json").write_text(json.dumps(facts, indent=1))
    return folder, json.loads((folder / "facts.json").read_text())

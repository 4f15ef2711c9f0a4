"""LoRA adapters from the difference of a base and a fine-tuned model.

Functions over files: `extract`, `extract_ranks`, `extract_several`, `plan`, `verify`, `check`, `convert`, `prune`, `merge`. Over state dicts of torch
or numpy: `extract_state_dict`. All release Python's lock; Ctrl-C cancels and leaves no file behind. Words and defaults are those of
the command `phlora`, which comes with this package.
"""

from phlora._files import (
    Finding,
    check,
    convert,
    extract,
    extract_ranks,
    extract_several,
    merge,
    plan,
    prune,
    verify,
)
from phlora._memory import Adapter, Module, extract_state_dict
from phlora._phlora import Error, NothingToExtract, OutputExists, __version__

__all__ = [
    "Adapter",
    "Error",
    "Finding",
    "Module",
    "NothingToExtract",
    "OutputExists",
    "__version__",
    "check",
    "convert",
    "extract",
    "extract_ranks",
    "extract_several",
    "extract_state_dict",
    "merge",
    "plan",
    "prune",
    "verify",
]

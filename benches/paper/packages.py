"""Where the Python packages are whose files are read as data or weights."""

import importlib.util
import os
from pathlib import Path

CACHE = Path(os.environ["PHLORA_PAPER"])


def folder(name):
    """The folder of a package, which is not imported: one of requirements.txt, or one of the interop environment."""
    own = CACHE / "packages" / name
    if own.is_dir():
        return own
    return Path(next(iter(importlib.util.find_spec(name).submodule_search_locations)))

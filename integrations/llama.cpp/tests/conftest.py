"""The models of tests/interop, for the tests of the changed llama.cpp; try.sh runs them with MANY, where it has built it."""

import importlib.util
import sys
from pathlib import Path

INTEROP = Path(__file__).resolve().parents[3] / "tests/interop"
sys.path.insert(0, str(INTEROP))
spec = importlib.util.spec_from_file_location("interop_conftest", INTEROP / "conftest.py")
interop = importlib.util.module_from_spec(spec)
spec.loader.exec_module(interop)
real, wide = interop.real, interop.wide

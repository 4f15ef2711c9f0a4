"""What the parts of the comparison share: phlora's own measurements, and timing."""

import ctypes
import json
import os
import pathlib
import subprocess
import time

import scipy

ROOT = pathlib.Path(__file__).resolve().parents[2]
RELEASE = pathlib.Path(os.environ.get("CARGO_TARGET_DIR", ROOT / "target")) / "release"
THREADS = 2


def bench(*arguments):
    """Lines of JSON from phlora's side."""
    run = subprocess.run([RELEASE / "phlora-bench", *map(str, arguments)], check=True, capture_output=True, text=True)
    return [json.loads(line) for line in run.stdout.splitlines()]


def least(function, runs):
    """Least seconds of some runs, and the last result."""
    best = float("inf")
    for _ in range(runs):
        start = time.perf_counter()
        result = function()
        best = min(best, time.perf_counter() - start)
    return best, result


def openblas():
    """The LAPACK that scipy carries, on one core."""
    pattern = pathlib.Path(scipy.__file__).parent.parent / "scipy.libs"
    library = ctypes.CDLL(str(next(pattern.glob("libscipy_openblas*.so"))))
    library.scipy_openblas_set_num_threads(1)
    return library

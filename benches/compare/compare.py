"""phlora beside what users run today, measured in one run on this machine and written to a JSON file of results.

    python=$(tests/interop/setup.sh)
    cargo build --release -p phlora-cli && cargo build --release -p phlora-benches --features peers
    $python benches/compare/compare.py benches/results/NAME.json [--quick] [--only product,jacobi,…]
    python3 benches/compare/page.py            # BENCHMARKS.md and the tables in other documents

A part that was not measured keeps its figures. Every time is the least of several runs. phlora runs right before and right
after each peer, and the ratio takes the worse of the two. Peers get the same two cores. All start from bf16 (mapped, in the
page cache) and end with both factors in f32.
"""

import argparse
import datetime
import json
import pathlib
import platform
import subprocess

import numpy
import scipy
import torch

import matrix
import small
import whole
from bench import RELEASE, THREADS, bench

PARTS = {
    "product": lambda quick: {"product": small.product()},
    "jacobi": lambda quick: {"jacobi": small.jacobi()},
    "gram": lambda quick: {"gram": small.gram()},
    "matrices": lambda quick: {"matrices": matrix.matrices(quick)},
    "spectra": lambda quick: {"spectra": bench("spectra", *(("--size", 256) if quick else ()))},
    "models": lambda quick: {"models": whole.models(quick)},
    "apply": lambda quick: whole.at_work(),
    "budget": lambda quick: {"budget": whole.budgets()},
}


def machine():
    """What can be asked of the system; the rest is written by hand."""
    lines = pathlib.Path("/proc/cpuinfo").read_text().splitlines() if pathlib.Path("/proc/cpuinfo").exists() else []
    names = [line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")]
    return {"name": platform.node(), "processor": (names or [platform.machine()])[0], "cores": f"{len(names)} virtual cores"}


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("results", type=pathlib.Path, help="the JSON file, made or brought up to date")
    parser.add_argument("--quick", action="store_true", help="small sizes only")
    parser.add_argument("--only", default=",".join(PARTS), help="which parts")
    arguments = parser.parse_args()
    parts = arguments.only.split(",")
    if unknown := set(parts) - set(PARTS):
        parser.error(f"no part {', '.join(sorted(unknown))}; there are {', '.join(PARTS)}")
    torch.set_num_threads(THREADS)
    known = json.loads(arguments.results.read_text()) if arguments.results.exists() else {"machine": machine()}
    phlora = subprocess.run([RELEASE / "phlora", "--version"], check=True, capture_output=True, text=True).stdout.split()[1]
    versions = {"phlora": phlora, "torch": torch.__version__.split("+")[0], "scipy": scipy.__version__, "numpy": numpy.__version__}
    known["versions"] = {**known.get("versions", {}), **versions}
    known["measured"] = datetime.date.today().isoformat()
    for part in parts:
        known.update(PARTS[part](arguments.quick))
        arguments.results.write_text(json.dumps(known, indent=1, ensure_ascii=False) + "\n")


if __name__ == "__main__":
    main()

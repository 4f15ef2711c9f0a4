#!/usr/bin/env bash
# Derives the facts on transformers' classes again and compares them with checkpoint/src/naming/memory/architectures.txt.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 -c 'import ensurepip, venv' 2>/dev/null || bash .ci/apt.sh python3 python3-venv
python=$(bash tests/interop/setup.sh)
OMP_NUM_THREADS=1 "$python" tests/interop/architectures.py --check

#!/usr/bin/env bash
# deploy/: the manifests of Kubernetes are valid and run by a stand-in, some runs are killed and go on, and the simulation divides work as
# the command does. A real Slurm and a real Ray have scripts of their own: tests/clusters/slurm.sh and ray_cluster.py.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --quiet --release -p phlora-cli
phlora=$(realpath "${PHLORA_BIN:-${CARGO_TARGET_DIR:-target}/release/phlora}")
"$(tests/clusters/setup.sh)" tests/clusters/kubernetes.py --phlora "$phlora"
python3 tests/clusters/kills.py --phlora "$phlora" --kills 30
python3 deploy/simulate.py --check "$phlora" tests/data/tiny-llama/base tests/data/tiny-llama/tuned

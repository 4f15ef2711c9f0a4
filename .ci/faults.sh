#!/usr/bin/env bash
# Failing system calls, full disks, kills and several writers: outputs are the old or the new ones, whole. `--long` takes hours.
set -euo pipefail
cd "$(dirname "$0")/.."

bash .ci/apt.sh strace python3 util-linux

cargo build --locked --quiet --release -p phlora-cli
python3 tests/faults/run.py "${CARGO_TARGET_DIR:-target}/release/phlora" "$@"

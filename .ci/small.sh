#!/usr/bin/env bash
# The core as small devices have it, without block formats, quantised checkpoints and blocks of 16 columns: the tests that
# need none of them, on this machine.
set -euo pipefail
cd "$(dirname "$0")/.."

tests=(apply combine extract gram_svd jacobi kernels merge partitions route sampled)
cargo test --locked --quiet -p phlora-tests --no-default-features "${tests[@]/#/--test=}"

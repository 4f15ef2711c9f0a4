#!/usr/bin/env bash
# The pointer guard of the C interface under Miri; with --long whole passes too, and under both models of which pointers are
# valid. Not a step of the gate, since it needs a nightly toolchain, and
# installs its components miri and rust-src. Interpreted for RISC-V, where libm has no inline assembly, which Miri does not run.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
  rustup toolchain install nightly --profile minimal --component miri --component rust-src
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/miri
models=("") skipped=(--skip whole_passes)
if [ "${1:-}" = --long ]; then
  models+=("-Zmiri-tree-borrows") skipped=()
fi
for model in "${models[@]}"; do
  MIRIFLAGS="-Zmiri-disable-isolation $model" cargo +nightly miri test --locked --quiet \
    --target riscv64gc-unknown-linux-gnu -p phlora-ffi --lib guard -- "${skipped[@]}"
done

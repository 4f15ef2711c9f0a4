#!/usr/bin/env bash
# The pointer guard of the C interface under Miri, with both models of which pointers are valid. Needs a nightly toolchain with the
# components miri and rust-src; where there is none, it says so and fails only if one is asked for by `--must`.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
  echo "no Miri here: rustup toolchain install nightly --component miri,rust-src"
  [ "${1:-}" != "--must" ]
  exit
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/miri
for model in "" "-Zmiri-tree-borrows"; do
  MIRIFLAGS="-Zmiri-disable-isolation $model" cargo +nightly miri test --locked --quiet -p phlora-ffi --lib guard
done

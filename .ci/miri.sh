#!/usr/bin/env bash
# The pointer guard of the C interface under Miri, with both models of which pointers are valid. Needs a nightly toolchain, and
# installs its components miri and rust-src.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! cargo +nightly miri --version >/dev/null 2>&1; then
  rustup toolchain install nightly --profile minimal --component miri --component rust-src
fi
export CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/miri
for model in "" "-Zmiri-tree-borrows"; do
  MIRIFLAGS="-Zmiri-disable-isolation $model" cargo +nightly miri test --locked --quiet -p phlora-ffi --lib guard
done

#!/usr/bin/env bash
# The core-only library as wasm32, run under node: plain, and with 128-bit SIMD.
set -euo pipefail
cd "$(dirname "$0")/.."

# Bytes of the whole module: extraction, decomposition, and adapters at work.
most=131072

command -v node >/dev/null || bash .ci/apt.sh nodejs
bash .ci/apt.sh rustc-web cargo-web rust-web-src
# Debian's Rust comes without a linker for wasm; rustup's has one.
host=$(rustc -vV | sed -n 's/^host: //p')
linker=$(rustc --print sysroot)/lib/rustlib/$host/bin/rust-lld
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker
for features in "" "-Ctarget-feature=+simd128"; do
  module=$(CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc RUSTFLAGS="$features -Cstrip=symbols -Clink-arg=--export=__heap_base" \
    bash ffi/small.sh wasm32-unknown-unknown cdylib)
  size=$(stat -c %s "$module")
  echo "wasm32 $features: $size bytes"
  [ "$size" -le "$most" ] || { echo "wasm.sh: the module is over its budget of $most bytes" >&2; exit 1; }
  node tests/wasm/layer.mjs "$module"
done

#!/usr/bin/env bash
# Builds the core-only library for a target without an operating system, small: no std, no alloc, panics are a trap
# and bring no formatting code along. Prints the library's path.
#
#   ffi/small.sh TARGET TYPE [cargo options]     e.g. ffi/small.sh thumbv7em-none-eabihf staticlib
#
# Needs the source of Rust's core library (rustup component add rust-src, or Debian's rust-web-src with
# CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc). RUSTC_BOOTSTRAP: build-std and immediate-abort are not stable yet.
set -euo pipefail
target=${1:?usage: ffi/small.sh TARGET staticlib|cdylib}
type=${2:?usage: ffi/small.sh TARGET staticlib|cdylib}
shift 2
cd "$(dirname "$0")/.."

folder=${CARGO_TARGET_DIR:-target}/small
export RUSTC_BOOTSTRAP=1 CARGO_PROFILE_RELEASE_OPT_LEVEL=s CARGO_PROFILE_RELEASE_LTO=fat CARGO_PROFILE_RELEASE_CODEGEN_UNITS=1
export RUSTFLAGS="-Zunstable-options -Cpanic=immediate-abort ${RUSTFLAGS:-}"
"${CARGO:-cargo}" rustc --locked --quiet -p phlora-ffi --lib --no-default-features --features panic-handler --release \
  --crate-type "$type" -Z build-std=core --target "$target" --target-dir "$folder" "$@"
case $type in
  staticlib) echo "$folder/$target/release/libphlora_ffi.a" ;;
  *) echo "$folder/$target/release/phlora_ffi.wasm" ;;
esac

#!/usr/bin/env bash
# Builds phlora-core for a microcontroller (Cortex-M4F) with nothing below it but `core`: only that library
# is built for the target, so a use of `std` or `alloc`, in core or in what it depends on, does not compile.
#
# Debian's own Rust is used since it builds any target's library from its packaged source; rustup's stable
# needs the target downloaded, and the two compilers cannot share a library.
set -euo pipefail
cd "$(dirname "$0")/.."

bash .ci/apt.sh rustc-web cargo-web rust-web-src

RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo build --locked -p phlora-core --release \
  -Z build-std=core --target thumbv7em-none-eabihf --target-dir "${CARGO_TARGET_DIR:-target}/bare-metal"

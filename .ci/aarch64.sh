#!/usr/bin/env bash
# Runs the tests of phlora-core as 64-bit Arm code under QEMU's user mode: the NEON kernels, and the bits that
# must not depend on the machine. Debian's Rust builds the target's std from its packaged source (see
# ffi/small.sh). The real pair and the energies of many spectra are left to the native run: emulated they take minutes.
set -euo pipefail
cd "$(dirname "$0")/.."

bash .ci/apt.sh rustc-web cargo-web rust-web-src gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user

# Unwinding panics: with abort, build-std's test harness ends in "duplicate lang item".
export CARGO_PROFILE_DEV_PANIC=unwind
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_RUNNER="qemu-aarch64 -L /usr/aarch64-linux-gnu"
RUSTC=/usr/bin/rustc RUSTC_BOOTSTRAP=1 /usr/bin/cargo test --locked -p phlora-core -p phlora-tests --lib --tests \
  -Z build-std=std,panic_unwind --target aarch64-unknown-linux-gnu \
  --target-dir "${CARGO_TARGET_DIR:-target}/aarch64" -- --skip energy_of_every_module_is_near_the_optimum \
  --skip energy_is_met_at_a_rank_at_most_one_above_the_least

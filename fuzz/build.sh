#!/usr/bin/env bash
# Builds the fuzz targets and prints the directory they are in. Coverage and AddressSanitizer need no nightly toolchain with
# RUSTC_BOOTSTRAP; SANITIZER=none leaves the latter out, which makes parsers about twice as fast.
set -euo pipefail
cd "$(dirname "$0")"

bash ../.ci/apt.sh gcc g++ libc6-dev >&2
host=$(rustc -vV | sed -n 's/^host: //p')
flags=(
  --cfg fuzzing
  -Cpasses=sancov-module
  -Cllvm-args=-sanitizer-coverage-level=4
  -Cllvm-args=-sanitizer-coverage-inline-8bit-counters
  -Cllvm-args=-sanitizer-coverage-pc-table
  -Cllvm-args=-sanitizer-coverage-trace-compares
)
directory=${CARGO_TARGET_DIR:-target}/${SANITIZER:-address}
[ "${SANITIZER:-address}" = none ] || flags+=("-Zsanitizer=${SANITIZER:-address}")
RUSTC_BOOTSTRAP=1 RUSTFLAGS="${flags[*]}" cargo build --locked --quiet --release --target "$host" --target-dir "$directory" --bins >&2
realpath "$directory/$host/release"

#!/usr/bin/env bash
# Files for every published class of defects in loaders, through every command and the C functions: no crash, memory and time in
# proportion to the file.
set -euo pipefail
cd "$(dirname "$0")/.."

bash .ci/apt.sh gcc libc6-dev python3

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
target=${CARGO_TARGET_DIR:-target}
cargo build --locked --quiet --release -p phlora-cli
cargo rustc --locked --quiet --release -p phlora-ffi --lib --crate-type staticlib
gcc -std=c99 -Wall -Wextra -Wpedantic -Werror -Iinclude tests/hostile/host.c "$target/release/libphlora_ffi.a" \
  -lgcc_s -lpthread -ldl -lm -o "$work/host"
python3 tests/hostile/run.py "$target/release/phlora" "$work/host" "$@"

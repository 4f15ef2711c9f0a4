#!/usr/bin/env bash
# include/phlora.h is what cbindgen makes of ffi/, it compiles as every C and C++ in use without a warning, twice
# included, and its structs have the layout that the Rust side asserts.
set -euo pipefail
cd "$(dirname "$0")/.."

bash .ci/apt.sh gcc g++ libc6-dev clang

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
cargo clippy --locked --quiet -p phlora-ffi --all-targets --features generate -- -D warnings
cargo clippy --locked --quiet -p phlora-ffi --no-default-features -- -D warnings
cargo run --locked --quiet -p phlora-ffi --features generate --bin generate-header >"$work/phlora.h"
diff -u include/phlora.h "$work/phlora.h" || {
  echo "include/phlora.h is not the generated one: see ffi/src/bin/generate_header.rs" >&2
  exit 1
}

warnings=(-Wall -Wextra -Wpedantic -Wconversion -Wundef -Werror -Iinclude)
printf '#include "phlora.h"\n#include "phlora.h"\nint main(void) { return (int)phlora_version() * 0; }\n' >"$work/twice.c"
printf '#include "phlora.hpp"\n#include "phlora.hpp"\nint main() { phlora::extraction x; return x.wants_pass(); }\n' >"$work/layer.cpp"
cp "$work/twice.c" "$work/twice.cpp"
for compiler in gcc clang; do
  for standard in c99 c11 c17 c2x; do
    "$compiler" -std=$standard "${warnings[@]}" -fsyntax-only "$work/twice.c"
    "$compiler" -std=$standard "${warnings[@]}" -fsyntax-only tests/c/layout.c
  done
done
for compiler in g++ clang++; do
  for standard in c++11 c++14 c++17 c++20; do
    "$compiler" -std=$standard "${warnings[@]}" -fsyntax-only "$work/twice.cpp"
  done
  for standard in c++17 c++20; do
    "$compiler" -std=$standard "${warnings[@]}" -fsyntax-only "$work/layer.cpp"
    "$compiler" -std=$standard "${warnings[@]}" -fno-exceptions -fsyntax-only "$work/layer.cpp"
  done
done

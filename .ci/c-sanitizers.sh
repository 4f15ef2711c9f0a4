#!/usr/bin/env bash
# The argument table and all examples under AddressSanitizer (which sees into the Rust code as well), UBSan and
# Valgrind.
set -euo pipefail
cd "$(dirname "$0")/.."

bash .ci/apt.sh gcc g++ libc6-dev valgrind

pair=$PWD/tests/data/tiny-llama
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
target=$(rustc -vV | sed -n 's/^host: //p')
libraries=(-lgcc_s -lpthread -ldl -lm)

# build NAME LIBRARY FLAGS…: all programs, in $work/NAME.
build() {
  local to=$work/$1 library=$2
  shift 2
  mkdir "$to" "$to/scratch"
  gcc -std=c11 -g -Iinclude "$@" examples/c/static.c "$library" "${libraries[@]}" -o "$to/static"
  gcc -std=c11 -g -Iinclude "$@" examples/c/forward.c "$library" "${libraries[@]}" -o "$to/forward"
  gcc -std=c11 -g -Iinclude "$@" tests/c/apply.c "$library" "${libraries[@]}" -o "$to/apply"
  gcc -std=c11 -g -Iinclude "$@" examples/c/files.c "$library" "${libraries[@]}" -o "$to/files"
  gcc -std=c11 -g -Iinclude "$@" examples/c/open.c "$library" "${libraries[@]}" -o "$to/open"
  gcc -std=c11 -g -Iinclude "$@" -DPHLORA_TEST_FILES tests/c/arguments.c "$library" "${libraries[@]}" -o "$to/arguments"
  g++ -std=c++17 -g -Iinclude "$@" examples/cpp/runtime.cpp "$library" "${libraries[@]}" -o "$to/runtime"
  g++ -std=c++17 -g -Iinclude "$@" examples/cpp/server.cpp "$library" "${libraries[@]}" -o "$to/server"
}

# run NAME PREFIX…: all programs, each behind the prefix. The rows of the table of arguments that read files run where files=yes.
run() {
  local to=$work/$1
  shift
  "$@" "$to/static"
  "$@" "$to/forward"
  "$@" "$to/apply"
  "$@" "$to/server"
  "$@" "$to/runtime"
  "$@" "$to/files" "$pair/base" "$pair/tuned" "$to/adapter" 4
  "$@" "$to/open" "$to/adapter"
  local models=()
  [ "${files:-}" != yes ] || models=("$pair/base" "$pair/tuned" "$to/scratch")
  "$@" "$to/arguments" "${models[@]}"
}

echo "AddressSanitizer and UBSan"
RUSTC_BOOTSTRAP=1 RUSTFLAGS=-Zsanitizer=address cargo rustc --locked --quiet -p phlora-ffi --lib \
  --crate-type staticlib --target "$target" --target-dir "${CARGO_TARGET_DIR:-target}/asan"
# The Rust code is instrumented, or the run would prove little.
nm --quiet "${CARGO_TARGET_DIR:-target}/asan/$target/debug/libphlora_ffi.a" 2>/dev/null | grep 'U __asan_report_store' >/dev/null
build sanitized "${CARGO_TARGET_DIR:-target}/asan/$target/debug/libphlora_ffi.a" \
  -fsanitize=address,undefined -fno-sanitize-recover=all
files=yes run sanitized env ASAN_OPTIONS=detect_stack_use_after_return=1 UBSAN_OPTIONS=print_stacktrace=1

echo "Valgrind"
cargo rustc --locked --quiet -p phlora-ffi --lib --crate-type staticlib --target-dir "${CARGO_TARGET_DIR:-target}/c"
build plain "${CARGO_TARGET_DIR:-target}/c/debug/libphlora_ffi.a"
# Rows that read files take Valgrind minutes; the examples read them as well.
# Valgrind runs one thread at a time; by default a thread may wait for its turn until the others have ended.
run plain valgrind --fair-sched=yes --quiet --error-exitcode=99 --leak-check=full --errors-for-leak-kinds=definite --show-leak-kinds=definite

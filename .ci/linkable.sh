#!/usr/bin/env bash
# What is installed in PREFIX links wherever it should: beside another Rust library in any order, with -static, into a shared library
# that then exports nothing of it, and as a part of another CMake project, with and without cargo.
#
#   .ci/linkable.sh PREFIX
set -euo pipefail
prefix=$(realpath "${1:?usage: .ci/linkable.sh PREFIX}")
cd "$(dirname "$0")/.."

die() { echo "linkable.sh: $*" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
static=$prefix/lib/libphlora.a
shared=$prefix/lib/libphlora.so
sources=tests/c/linkable
export PKG_CONFIG_PATH=$prefix/lib/pkgconfig LD_LIBRARY_PATH=$prefix/lib:$work
read -ra include <<<"$(pkg-config --cflags phlora)"
read -ra below <<<"$(pkg-config --libs --static phlora | sed 's/-lphlora//')"

nm --quiet --extern-only --defined-only "$static" | awk 'NF == 3 { print $3 }' | LC_ALL=C sort | diff -u ffi/abi/symbols.txt - ||
  die "the global symbols of the static library are not those of ffi/abi/symbols.txt"
objdump -h "$static" | grep -E '\.llvm(bc|cmd)\b' && die "the static library holds LLVM bitcode"
readelf -SW "$shared" | grep -qE '\.symtab|\.debug_info' && die "the shared library is not stripped"
for licence in LICENSE-MIT LICENSE-APACHE; do
  cmp "$licence" "$prefix/share/licenses/phlora/$licence" || die "no licences"
done

rustc --edition 2024 -O --crate-type staticlib "$sources/other.rs" -o "$work/libother.a"
# As cargo leaves it, the library does clash: else this test would show nothing.
raw=${CARGO_TARGET_DIR:-target}/release/libphlora_ffi.a
whole="-Wl,--whole-archive"
gcc "${include[@]}" "$sources/clash.c" "$whole" "$work/libother.a" "$raw" -Wl,--no-whole-archive "${below[@]}" \
  -o "$work/clash" 2>"$work/log" && die "two unchanged Rust libraries link: the test shows nothing"
grep -q 'multiple definition' "$work/log" || { cat "$work/log" >&2; die "two unchanged Rust libraries fail otherwise"; }
for order in "$static $work/libother.a" "$work/libother.a $static"; do
  for how in "-Wl,--no-whole-archive" "$whole" "-static" "-Wl,--gc-sections" "-fvisibility=hidden"; do
    # shellcheck disable=SC2086
    gcc "${include[@]}" "$how" "$sources/clash.c" $order -Wl,--no-whole-archive "${below[@]}" -o "$work/clash" 2>"$work/log" ||
      { cat "$work/log" >&2; die "$how: the two do not link as ${order//$work\//}"; }
    "$work/clash" || die "$how: the program with two Rust libraries fails"
  done
done
gcc "${include[@]}" -static -Wl,--gc-sections examples/c/files.c "$static" "${below[@]}" -o "$work/files"
file=$(readelf -d "$work/files")
case $file in *NEEDED*) die "-static: the program needs shared libraries" ;; esac
"$work/files" tests/data/tiny-llama/base tests/data/tiny-llama/tuned "$work/adapter" 4

gcc "${include[@]}" -fPIC -fvisibility=hidden -shared "$sources/embed.c" "$static" "${below[@]}" -o "$work/libembed.so"
[ "$(nm -D --defined-only "$work/libembed.so" | awk '{ print $3 }')" = embed_rank ] || die "a library that embeds phlora exports it"
gcc "${include[@]}" "$sources/host.c" -L"$work" -lembed -L"$prefix/lib" -lphlora -o "$work/host"
"$work/host"

for how in "-DPHLORA_PREBUILT=$prefix" "-DSUBDIRECTORY=ON -DPHLORA_PREBUILT=$prefix" "-DSUBDIRECTORY=ON"; do
  # Where a prebuilt library is named, no Rust is looked for.
  path=$PATH home=$HOME
  case $how in *PREBUILT*) path=/usr/bin:/bin home=$work ;; esac
  rm -rf "$work/build"
  # shellcheck disable=SC2086
  { PATH=$path HOME=$home cmake -S "$sources" -B "$work/build" -DPHLORA="$PWD" $how &&
    PATH=$path HOME=$home cmake --build "$work/build"; } >"$work/log" 2>&1 || { cat "$work/log" >&2; die "CMake with $how"; }
  "$work/build/host"
done
echo "links beside another Rust library, statically, embedded, and as a part of a CMake project"

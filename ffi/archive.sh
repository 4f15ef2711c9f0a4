#!/usr/bin/env bash
# Makes of a Rust static library one of a single object, in which only `phlora_*` is global. Two Rust libraries then link in one
# program in any order, and a shared library that embeds this one exports nothing of it.
#
#   ffi/archive.sh IN OUT [TARGET]     BINUTILS=aarch64-linux-gnu- puts a prefix in front of ld, objcopy, ar, nm and as
#
# For ELF. Objects of mingw cannot be linked into one: there what Rust defines gets names of its own. Mach-O, MSVC and wasm have no
# such tool among binutils: the library is copied as it is.
set -euo pipefail
in=${1:?usage: ffi/archive.sh IN OUT [TARGET]}
out=${2:?usage: ffi/archive.sh IN OUT [TARGET]}
target=${3:-$(rustc -vV | sed -n 's/^host: //p')}

case $target in
  *-apple-* | *-msvc | wasm*)
    install -m 644 "$in" "$out"
    exit
    ;;
  *-windows-gnu*) prefix=${target%%-*}-w64-mingw32- ;;
  aarch64-*linux*) prefix=aarch64-linux-gnu- ;;
  thumb* | armv*-none-*) prefix=arm-none-eabi- ;;
  riscv*-none-*) prefix=riscv64-unknown-elf- ;;
  *) prefix= ;;
esac
[ "$(uname -m)-linux" != "${target%%-*}-linux" ] || case $target in *-linux-*) prefix= ;; esac
tool() { "${BINUTILS-$prefix}$1" "${@:2}"; }

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
tool nm --quiet --extern-only --defined-only "$in" | awk '$3 ~ /^phlora_/ { print $3 }' | LC_ALL=C sort -u >"$work/names"
[ -s "$work/names" ] || { echo "archive.sh: $in defines no phlora_ function" >&2; exit 1; }

case $target in
  *-windows-*)
    # Rust's mangled names and its run-time library.
    tool nm --quiet --extern-only --defined-only "$in" 2>/dev/null |
      awk 'NF == 3 && $3 ~ /^(_R|_ZN|_*rust|__rdl_|__rg_|DW\.ref)/ { print $3, "phlora." $3 }' | LC_ALL=C sort -u >"$work/renamed"
    tool objcopy --redefine-syms="$work/renamed" --strip-debug "$in" "$out"
    chmod 644 "$out"
    exit
    ;;
esac
# A symbol takes the strictest visibility that any object states: hidden ones are not exported again.
{
  sed 's/.*/.globl &\n.hidden &/' "$work/names"
  echo '.section .phlora.names,"",%progbits'
  sed 's/.*/.dc.a &/' "$work/names"
  echo '.section .note.GNU-stack,"",%progbits'
} >"$work/hidden.s"
tool as "$work/hidden.s" -o "$work/hidden.o"
# A group that two libraries have is kept once, but its symbols are local to each: groups are dissolved.
tool ld -r -o "$work/whole.o" --force-group-allocation --whole-archive "$in" "$work/hidden.o"
# Bitcode would only serve a linker plug-in of the same LLVM.
tool objcopy --wildcard --keep-global-symbol='phlora_*' --strip-debug --remove-section=.llvmbc --remove-section=.llvmcmd \
  --remove-section=.phlora.names --remove-section='.rel*.phlora.names' "$work/whole.o" "$work/phlora.o"
rm -f "$out"
tool ar rcsD "$out" "$work/phlora.o"
chmod 644 "$out"

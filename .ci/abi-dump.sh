#!/usr/bin/env bash
# Dumps the interface that C programs compile against: every function of the symbol list with its types, and the
# values of the enumerations, as libabigail sees them through include/phlora.h. (A dump of the library itself would
# hold the inside of every Rust type.) Run it with ffi/abi/phlora.abi as argument when the ABI is meant to change.
set -euo pipefail
to=$(realpath -m "${1:?usage: .ci/abi-dump.sh FILE}")
cd "$(dirname "$0")/.."

bash .ci/apt.sh abigail-tools gcc libc6-dev
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
{
  echo '#include "phlora.h"'
  # shellcheck disable=SC2016
  sed 's/.*/__typeof__(\&&) abi_& = \&&;/' ffi/abi/symbols.txt
  sed -n 's/^enum \(phlora_[a-z_]*\)$/enum \1 abi_\1;/p' include/phlora.h
} >"$work/interface.c"
gcc -g -shared -fPIC -Wl,--unresolved-symbols=ignore-all -Iinclude "$work/interface.c" -o "$work/interface.so"
# Places in the source say nothing about the ABI, and change with every edit.
abidw --no-show-locs --no-corpus-path --no-comp-dir-path "$work/interface.so" >"$to"

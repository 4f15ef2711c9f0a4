#!/usr/bin/env bash
# Looks through the release build of the command for what was not inlined into the function that has an instruction set's
# features: vector instructions that became calls, and operations or parts of them. There a loop takes ten times as long and
# computes the same.
set -euo pipefail
cd "$(dirname "$0")/.."

bash .ci/apt.sh binutils

command=${1:-${CARGO_TARGET_DIR:-target}/release/phlora}
symbols=$(nm -C "$command")
kernel='phlora_core::kernel'
# Each instruction set of the processor has functions to be looked through.
case $(uname -m) in
  x86_64) sets='avx2 avx512 avx512_vbmi' ;;
  aarch64 | arm64) sets=neon ;;
  *) sets='' ;;
esac
for set in $sets; do
  grep -q "$kernel::sets::$set::.*::call" <<<"$symbols" ||
    { echo "inlined.sh: $command has no operations of $set to look through" >&2; exit 1; }
done
found() {
  printf 'inlined.sh: these %s in %s:\n%s\n' "$1" "$command" "$2" >&2
  exit 1
}
if calls=$(grep -E ' core::core_arch::[a-z0-9_:]+::(_mm|v)[a-z0-9_]*$' <<<"$symbols"); then
  found 'instructions are called' "$calls"
fi
parts="$kernel::(isa::(Op|AutoVectorized)|(vector|formats|tiles)::[A-Z][A-Za-z]*|dots::Dot)>::"
if calls=$(grep -E " as $parts| $kernel::(dots|short|q8_0|ops::[a-z_]+)::[A-Za-z]" <<<"$symbols"); then
  found 'were compiled without the features of an instruction set' "$calls"
fi

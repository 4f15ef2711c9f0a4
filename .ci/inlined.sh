#!/usr/bin/env bash
# Looks through the release build of the command for vector instructions that became functions: where the compiler does not
# put them in their place, a loop takes ten times as long and computes the same.
set -euo pipefail
cd "$(dirname "$0")/.."

bash .ci/apt.sh binutils

command=${1:-${CARGO_TARGET_DIR:-target}/release/phlora}
symbols=$(nm -C "$command")
grep -q ' phlora_core::' <<<"$symbols" || { echo "inlined.sh: $command has no symbols to look through" >&2; exit 1; }
if calls=$(grep -E ' core::core_arch::[a-z0-9_:]+::(_mm|v)[a-z0-9_]*$' <<<"$symbols"); then
  printf 'inlined.sh: these are called in %s:\n%s\n' "$command" "$calls" >&2
  exit 1
fi

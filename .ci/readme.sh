#!/usr/bin/env bash
# Runs the first two ```sh blocks of README.md word for word: the extraction of the real pair, whose output must be that of the
# ```text block below it, then the tests. The gate has no test command of its own.
#
#   .ci/readme.sh [extract|tests]
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "readme.sh: $*" >&2; exit 1; }

# block N: the text inside the N-th ```sh fence.
block() {
  awk -v n="$1" 'inside && /^```[ \t]*$/ { inside = 0; next }
                 !inside && /^```/       { inside = 1; sh = /^```sh[ \t]*$/; k += sh; next }
                 inside && sh && k == n' README.md
}

[ -f README.md ] || die "README.md is missing"
extract=$(block 1)
tests=$(block 2)
case "$extract" in *"cargo run"*" extract "*) ;; *) die "the first sh block is no 'cargo run … extract …': ${extract:-none}" ;; esac
case "$tests" in *"cargo test"* | *"cargo nextest"*) ;; *) die "the second sh block runs no tests: ${tests:-none}" ;; esac

run() {
  printf '$ %s\n' "$1"
  bash -euo pipefail -c "$1" </dev/null
}

if [ "${1:-extract}" = extract ]; then
  # In a fresh clone the adapter cannot be there; in a used tree it is, and would rightly not be overwritten.
  out=$(sed -nE 's/.* (-o|--output|--out) +([^ ]+).*/\2/p' <<<"$extract" | head -n 1)
  if [ -n "$out" ] && git check-ignore -q -- "$out" 2>/dev/null; then rm -rf -- "$out"; fi
  printed=$(mktemp)
  trap 'rm -f "$printed"' EXIT
  run "$extract" | tee "$printed"
  python3 .ci/transcript.py README.md 1 <(sed '/^\$ /d' "$printed")
fi
if [ "${1:-tests}" = tests ]; then run "$tests"; fi

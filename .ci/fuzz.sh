#!/usr/bin/env bash
# Fuzzing, in short: builds the targets of fuzz/, runs every committed input, then fuzzes each target for FUZZ_SECONDS (default 6).
# Hours of it: fuzz/campaign.sh.
set -euo pipefail
cd "$(dirname "$0")/.."

bin=$(fuzz/build.sh)
seconds=${FUZZ_SECONDS:-6}
memory=/dev/shm
[ -w "$memory" ] || memory=${TMPDIR:-/tmp}
work=$(mktemp -d -p "$memory")
trap 'rm -rf "$work"' EXIT
export TMPDIR=$work
for target in fuzz/targets/*.rs; do
  name=$(basename "$target" .rs)
  mkdir -p "$work/corpus"
  # A slow run is a finding: no input is long. The wall clock is generous, as machines are shared.
  "$bin/$name" -max_total_time="$seconds" -timeout=60 -rss_limit_mb=4096 -max_len=4096 -seed=1 -print_final_stats=1 \
    -artifact_prefix="$PWD/fuzz/artifacts/$name-" "$work/corpus" "fuzz/seeds/$name" >"$work/log" 2>&1 || {
    tail -n 60 "$work/log" >&2
    echo "fuzz.sh: $name found something; fuzz/README.md says how to run it again" >&2
    exit 1
  }
  seeds=$(find "fuzz/seeds/$name" -type f | wc -l)
  awk -v name="$name" -v seeds="$seeds" '/number_of_executed_units/ { print name ": " $2 " runs, " seeds " committed inputs among them" }' "$work/log"
  rm -rf "$work/corpus"
done

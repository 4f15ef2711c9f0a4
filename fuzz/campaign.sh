#!/usr/bin/env bash
# Fuzzes for hours: campaign.sh RUNS [TARGET…] makes so many runs of each target, on one core, and keeps what it learns in
# fuzz/corpus. SANITIZER=none makes more runs in a time. PHLORA_FUZZ_OPEN=1 opens files and does nothing else with them.
# The counts are added to fuzz/corpus/TARGET.runs, those of the latter to TARGET.opened.
set -euo pipefail
cd "$(dirname "$0")/.."

runs=${1:?usage: fuzz/campaign.sh RUNS [TARGET…]}
shift
if [ $# -eq 0 ]; then
  for target in fuzz/targets/*.rs; do set -- "$@" "$(basename "$target" .rs)"; done
fi
bin=${FUZZ_BIN:-$(fuzz/build.sh)}
memory=/dev/shm
[ -w "$memory" ] || memory=${TMPDIR:-/tmp}
work=$(mktemp -d -p "$memory")
trap 'rm -rf "$work"' EXIT
mkdir -p fuzz/artifacts
count=${PHLORA_FUZZ_OPEN:+opened}
count=${count:-runs}
found=0
for name in "$@"; do
  mkdir -p "fuzz/corpus/$name"
  TMPDIR=$work nice -n 19 "$bin/$name" -runs="$runs" -timeout=120 -rss_limit_mb=4096 -max_len=4096 -print_final_stats=1 \
    -artifact_prefix="fuzz/artifacts/$name-" "fuzz/corpus/$name" "fuzz/seeds/$name" >"$work/log" 2>&1 || {
    found=1
    cp "$work/log" "fuzz/artifacts/$name.log"
    echo "$name found something: fuzz/artifacts/$name.log"
  }
  awk '/number_of_executed_units/ { print $2 }' "$work/log" >>"fuzz/corpus/$name.$count"
  awk -v name="$name" '{ sum += $1 } END { print name ": " sum " runs in all" }' "fuzz/corpus/$name.$count"
done
exit "$found"

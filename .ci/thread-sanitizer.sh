#!/usr/bin/env bash
# Hot swap under load for ten seconds under ThreadSanitizer: readers, and one thread that replaces, removes and writes
# what it gets back. std and the test harness are not instrumented, so what they do among themselves is left out.
set -euo pipefail
cd "$(dirname "$0")/.."

target=$(rustc -vV | sed -n 's/^host: //p')
suppressions=$(mktemp)
trap 'rm -f "$suppressions"' EXIT
printf 'race:std::sync::mpmc\nrace:test::\n' >"$suppressions"

PHLORA_STRESS_SECONDS=10 TSAN_OPTIONS="suppressions=$suppressions" RUSTC_BOOTSTRAP=1 \
  RUSTFLAGS="-Zsanitizer=thread -Cunsafe-allow-abi-mismatch=sanitizer" \
  cargo test --locked -p phlora-tests --test route --target "$target" \
  --target-dir "${CARGO_TARGET_DIR:-target}/thread-sanitizer" -- hot_swap

#!/usr/bin/env bash
# What would be published on crates.io: every crate is packaged and compiled from its package alone, nothing is uploaded.
set -euo pipefail
cd "$(dirname "$0")/.."

# A gate may run with changes that are not committed.
cargo publish --locked --workspace --dry-run --allow-dirty
for package in phlora-core phlora phlora-ffi phlora-cli; do
  # Some versions of Cargo leave it in a folder below.
  archive=$(find "${CARGO_TARGET_DIR:-target}/package" -name "$package-[0-9]*.crate" -printf '%T@ %p\n' | sort -n | tail -n 1 | cut -d ' ' -f 2-)
  [ -n "$archive" ] || { echo "publish.sh: $package was not packaged" >&2; exit 1; }
  contents=$(tar -tzf "$archive")
  for file in LICENSE-MIT LICENSE-APACHE README.md; do
    grep -q "/$file\$" <<<"$contents" || { echo "publish.sh: $package has no $file" >&2; exit 1; }
  done
done

#!/usr/bin/env bash
# What would be published on crates.io: every crate is packaged and compiled from its package alone, nothing is uploaded.
set -euo pipefail
cd "$(dirname "$0")/.."

# A gate may run with changes that are not committed.
cargo publish --locked --workspace --dry-run --allow-dirty
for package in phlora-core phlora phlora-ffi phlora-cli; do
  archive=$(find "${CARGO_TARGET_DIR:-target}/package" -maxdepth 1 -name "$package-[0-9]*.crate")
  contents=$(tar -tzf "$archive")
  for file in LICENSE-MIT LICENSE-APACHE README.md; do
    grep -q "/$file\$" <<<"$contents" || { echo "publish.sh: $package has no $file" >&2; exit 1; }
  done
done

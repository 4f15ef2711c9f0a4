#!/usr/bin/env bash
# The least Rust version that Cargo.toml states: no dependency asks for a newer one, clippy knows it (incompatible_msrv, in the
# step `lints`, refuses what std stabilised later), the documents state it, and that compiler, which rustup installs where
# it can, checks the workspace.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^rust-version = "\(.*\)"/\1/p' Cargo.toml)
grep -q "Rust $version" README.md || { echo "msrv.sh: README.md does not name Rust $version" >&2; exit 1; }
cargo metadata --locked --format-version 1 | python3 -c '
import json, sys

least = tuple(map(int, sys.argv[1].split(".")))
packages = json.load(sys.stdin)["packages"]
newer = [
    (package["name"], package["version"], package["rust_version"])
    for package in packages
    if package["rust_version"] and tuple(map(int, package["rust_version"].split(".")[:2])) > least
]
for name, at, wants in newer:
    print(f"msrv.sh: {name} {at} needs Rust {wants}", file=sys.stderr)
print(f"{len(packages)} packages, none needs more than Rust {sys.argv[1]}" if not newer else "")
sys.exit(bool(newer))
' "$version"

# Where rustup cannot fetch it, the step says so below.
has() { rustup toolchain list 2>/dev/null | grep -q "^$version\b"; }
has || rustup toolchain install --profile minimal "$version" >/dev/null 2>&1 || true
if has; then
  cargo "+$version" check --locked --workspace --target-dir "${CARGO_TARGET_DIR:-target}/msrv"
else
  echo "no compiler $version here: not compiled with it, only in .github/workflows"
fi

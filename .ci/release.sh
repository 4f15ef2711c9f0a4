#!/usr/bin/env bash
# A dry run of the release: all packages are made, and each is installed into an empty root and runs the command of README.md. Little is
# optimised here: compiling is most of the time.
set -euo pipefail
cd "$(dirname "$0")/.."

bash .ci/apt.sh rustc-web cargo-web rust-web-src binutils binutils-aarch64-linux-gnu qemu-user dpkg
python3 -c 'import ensurepip, venv' 2>/dev/null || bash .ci/apt.sh python3 python3-venv
out=$(realpath -m "${CARGO_TARGET_DIR:-target}")/release-dry
rm -rf "$out"
CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc PHLORA_BUILD_STD=1 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 CARGO_PROFILE_RELEASE_LTO=off \
  CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 bash release/make.sh "$out"
bash release/try.sh "$out"

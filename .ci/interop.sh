#!/usr/bin/env bash
# Extracts adapters with the release binary and hands them to the real PEFT, diffusers and llama.cpp (tests/interop).
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --release -p phlora-cli
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bash ffi/install.sh "$work/phlora"
# A new machine may have Python without the means to make an environment.
python3 -c 'import ensurepip, venv' 2>/dev/null || bash .ci/apt.sh python3 python3-venv
command -v npm >/dev/null || bash .ci/apt.sh nodejs npm
command -v git >/dev/null || bash .ci/apt.sh git
command -v cc >/dev/null || bash .ci/apt.sh gcc libc6-dev
command -v c++ >/dev/null || bash .ci/apt.sh g++
command -v make >/dev/null || bash .ci/apt.sh make
python=$(bash tests/interop/setup.sh)
PHLORA_LLAMA=$(bash tests/interop/llama_setup.sh)
export PHLORA_LLAMA
export PHLORA_LIB=$work/phlora/lib/libphlora.so
PHLORA_BIN="${CARGO_TARGET_DIR:-$PWD/target}/release/phlora" "$python" -m pytest -q tests/interop

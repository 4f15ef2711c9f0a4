#!/usr/bin/env bash
# Models in stores of objects: the release binary against moto (S3) and Azurite (Azure), which others wrote.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --release --quiet -p phlora-cli
tools=$(realpath -m "${CARGO_TARGET_DIR:-target}/tools/remote")
python3 -c 'import ensurepip, venv' 2>/dev/null || bash .ci/apt.sh python3 python3-venv
command -v unshare >/dev/null || bash .ci/apt.sh util-linux
command -v npm >/dev/null || bash .ci/apt.sh nodejs npm
python3 -m venv "$tools"
"$tools/bin/pip" install --quiet --disable-pip-version-check -r tests/remote/requirements.txt
PHLORA_BIN="${CARGO_TARGET_DIR:-$PWD/target}/release/phlora" "$tools/bin/python" tests/remote/stores.py

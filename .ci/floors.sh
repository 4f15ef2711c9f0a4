#!/usr/bin/env bash
# No circles of imports in a crate, and no more floors of rooms than stated here.
set -euo pipefail
cd "$(dirname "$0")/.."

python3 .ci/floors.py core 10
python3 .ci/floors.py checkpoint 9

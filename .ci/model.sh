#!/usr/bin/env bash
# loom tries every order in which the threads of a registry can take its lock; proptest compares what headers are accepted with
# 128-bit arithmetic (PROPTEST_CASES files of each container, default 4000).
set -euo pipefail
cd "$(dirname "$0")/.."

cargo test --locked --quiet --manifest-path tests/model/Cargo.toml --target-dir "${CARGO_TARGET_DIR:-target}/model"

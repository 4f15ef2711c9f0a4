#!/usr/bin/env bash
# Makes the table of docs/paper.md: installs what it needs outside the tree, trains the pairs or reuses them, and prints
# Markdown. Arguments go to paper.py; after --budgets to budgets.py, which makes benches/results/budgets.json.
#
#   cargo build --release -p phlora-cli && benches/paper/run.sh --json paper.json > paper.md
#   benches/paper/run.sh --budgets --json benches/results/budgets.json
#
# PHLORA_BIN    the command under test; default target/release/phlora
# PHLORA_PAPER  where packages and pairs are kept; default ${XDG_CACHE_HOME:-~/.cache}/phlora/paper
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
python=$("$here/../../tests/interop/setup.sh")
export PHLORA_PAPER=${PHLORA_PAPER:-${XDG_CACHE_HOME:-$HOME/.cache}/phlora/paper}
packages=$PHLORA_PAPER/packages
wanted=$(sha256sum <"$here/requirements.txt")
if [ "$(cat "$packages/requirements.sha256" 2>/dev/null)" != "$wanted" ]; then
  echo "run.sh: installing $here/requirements.txt" >&2
  rm -rf "$packages"
  # Only their files are read, so nothing that they depend on is needed.
  "$python" -m pip install --disable-pip-version-check --no-input --quiet --no-deps --no-compile \
    --target "$packages" --requirement "$here/requirements.txt" >&2
  echo "$wanted" >"$packages/requirements.sha256"
fi
program=paper.py
if [ "${1:-}" = --budgets ]; then
  program=budgets.py
  shift
fi
exec "$python" "$here/$program" "$@"

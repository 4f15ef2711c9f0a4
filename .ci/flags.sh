#!/usr/bin/env bash
# The library serves C and Rust callers as well: no text in it may name a flag of the command, which adds what to type
# (cli/src/advice.rs). Comments do not count, nor do the hub's `models--ORG--NAME` and
# the properties of styles, nor what is to be typed for another program.
set -euo pipefail
cd "$(dirname "$0")/.."
found=$(grep -rnE --include='*.rs' -e '--[a-z]' checkpoint/src core/src | grep -vE '^[^:]+:[0-9]+: *//' | grep -vE 'models--|style=|mlx_lm\.generate |start vLLM with ' || true)
if [ -n "$found" ]; then
  printf 'flags of the command in the library:\n%s\n' "$found"
  exit 1
fi

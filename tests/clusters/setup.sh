#!/usr/bin/env bash
# Prints the Python of an environment with what tests/clusters needs; `ray` as an argument adds Ray.
set -euo pipefail

venv=${XDG_CACHE_HOME:-$HOME/.cache}/phlora/clusters-venv
[ -x "$venv/bin/python" ] || python3 -m venv "$venv" >&2
packages=(kubernetes-validate==1.37.0)
[ "${1:-}" != ray ] || packages+=(ray==2.60.0)
"$venv/bin/pip" install --quiet --disable-pip-version-check "${packages[@]}" >&2
echo "$venv/bin/python"

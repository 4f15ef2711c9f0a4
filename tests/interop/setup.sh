#!/usr/bin/env bash
# Makes the Python environment of these tests (torch, transformers, PEFT, diffusers: about 3 GB, some minutes) outside
# the tree, or reuses it; prints the path of its python. Everything else it says goes to standard error.
#
#   "$(tests/interop/setup.sh)" -m pytest tests/interop
#
# PHLORA_VENV  where the environment is; default ${XDG_CACHE_HOME:-~/.cache}/phlora/interop-venv
# PYTHON       which Python (3.11 or later) makes it; default the first one found that can
set -euo pipefail
requirements=$(cd "$(dirname "$0")" && pwd)/requirements.txt
venv=${PHLORA_VENV:-${XDG_CACHE_HOME:-$HOME/.cache}/phlora/interop-venv}
python=$venv/bin/python
stamp=$venv/requirements.sha256
wanted=$(sha256sum <"$requirements")

say() { echo "setup.sh: $*" >&2; }

if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ] && "$python" -c '' 2>/dev/null; then
  echo "$python"
  exit 0
fi

if ! "$python" -m pip --version >/dev/null 2>&1; then
  # Only what is an environment, though one whose Python is gone, may be emptied.
  clear=()
  if [ -f "$venv/pyvenv.cfg" ]; then clear=(--clear); fi
  for candidate in ${PYTHON:-python3.11 python3.12 python3.13 python3}; do
    if "$candidate" -c 'import sys, ensurepip, venv; assert sys.version_info >= (3, 11)' 2>/dev/null; then
      say "making $venv with $candidate"
      "$candidate" -m venv "${clear[@]}" "$venv" >&2
      break
    fi
  done
fi
"$python" -m pip --version >/dev/null 2>&1 || { say "no Python 3.11 or later with venv and pip found"; exit 1; }

rm -f "$stamp"
for try in 1 2 3; do
  say "installing $requirements (try $try of 3)"
  if "$python" -m pip install --disable-pip-version-check --no-input --quiet --retries 10 --timeout 120 \
    --requirement "$requirements" >&2; then
    echo "$wanted" >"$stamp"
    echo "$python"
    exit 0
  fi
  sleep $((try * 5))
done
say "pip could not install the requirements"
exit 1

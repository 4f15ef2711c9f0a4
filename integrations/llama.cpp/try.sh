#!/usr/bin/env bash
# Builds the changed libllama (about ten minutes of one processor the first time) and tries it:
#
#   integrations/llama.cpp/try.sh                          tests/test_many.py
#   integrations/llama.cpp/try.sh bench                    bench.py: the whole matrix into benches/results/llama-cpp.json
#   integrations/llama.cpp/try.sh bench --adapters 1,8 ... bench.py with these arguments
#   integrations/llama.cpp/try.sh server                   builds the server too (as long again): tests/test_server.py
#
# PHLORA_MANY  where it is built; default ${XDG_CACHE_HOME:-~/.cache}/phlora/many. JOBS: compilers at once, default 2.
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
cd "$here/../.."
export MANY=${PHLORA_MANY:-${XDG_CACHE_HOME:-$HOME/.cache}/phlora/many}
mkdir -p "$MANY"
cargo build --locked --release -p phlora-cli
bash ffi/install.sh "$MANY/phlora"
python=$(bash tests/interop/setup.sh)
PHLORA_LLAMA=$(bash tests/interop/llama_setup.sh)
export PHLORA_LLAMA PHLORA_BIN="${CARGO_TARGET_DIR:-$PWD/target}/release/phlora"
source=$("$here/source.sh")
make -j"${JOBS:-2}" -f "$here/Makefile" LLAMA="$PHLORA_LLAMA" SOURCE="$source" PHLORA="$MANY/phlora" BUILD="$MANY"
if [ "${1:-}" = bench ]; then
  shift
  [ $# -gt 0 ] || set -- --json benches/results/llama-cpp.json
  exec "$python" "$here/bench.py" "$@"
fi
test=test_many.py
if [ "${1:-}" = server ]; then
  make -j"${JOBS:-2}" -f "$here/server.mk" LLAMA="$PHLORA_LLAMA" SOURCE="$source" PHLORA="$MANY/phlora" BUILD="$MANY"
  test=test_server.py
fi
"$python" -m pytest -q -s -p no:cacheprovider "$here/tests/$test"

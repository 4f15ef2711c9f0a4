#!/usr/bin/env bash
# Installs the real llama.cpp from npm outside the tree (about 65 MB fetched, some seconds), or reuses it; prints the
# directory that holds libllama.so and libggml*.so. Beside it, in ../source, is the same release's source: the
# headers, the stock converters and export-lora. Everything else it says goes to standard error. Needs npm and git.
#
# PHLORA_LLAMA_HOME  where it is put; default ${XDG_CACHE_HOME:-~/.cache}/phlora/llama
set -euo pipefail
version=3.22.1
platform=linux-x64
home=${PHLORA_LLAMA_HOME:-${XDG_CACHE_HOME:-$HOME/.cache}/phlora/llama}
stamp=$home/version
sources=(include ggml/include gguf-py conversion convert_lora_to_gguf.py convert_hf_to_gguf.py
  tools/export-lora common/arg.h common/common.h common/download.h common/hf-cache.h)
wanted="$version: ${sources[*]}"

say() { echo "llama_setup.sh: $*" >&2; }

if [ "$(cat "$stamp" 2>/dev/null)" = "$wanted" ]; then
  echo "$home/lib"
  exit 0
fi
[ "$(uname -sm)" = "Linux x86_64" ] || { say "the package of llama.cpp's libraries is for Linux on x86-64 only"; exit 1; }

mkdir -p "$(dirname "$home")"
fresh=$(mktemp -d "$home.XXXXXX")
chmod 755 "$fresh"
trap 'rm -rf "$fresh"' EXIT

# The libraries, and the package that carries their source. The latter is packed, not installed: installed it would
# draw in the libraries of every platform and graphics card.
fetch() {
  npm install --prefix "$fresh/npm" --ignore-scripts --no-audit --no-fund --no-save --loglevel error \
    "@node-llama-cpp/$platform@$version" >&2 &&
    npm pack --pack-destination "$fresh/npm" --ignore-scripts --loglevel error "node-llama-cpp@$version" >&2
}

mkdir "$fresh/npm"
for try in 1 2 3; do
  say "installing llama.cpp from node-llama-cpp $version (try $try of 3)"
  if fetch; then break; fi
  [ "$try" -lt 3 ] || { say "npm could not install it"; exit 1; }
  sleep $((try * 5))
done

mv "$fresh/npm/node_modules/@node-llama-cpp/$platform/bins/$platform" "$fresh/lib"
for library in libllama libggml; do
  versioned=("$fresh/lib/$library".v*.so)
  ln -s "$(basename "${versioned[0]}")" "$fresh/lib/$library.so"
done
tar -xzf "$fresh/npm/node-llama-cpp-$version.tgz" -C "$fresh/npm" package/llama/gitRelease.bundle
git -c init.defaultBranch=main clone --quiet --no-checkout "$fresh/npm/package/llama/gitRelease.bundle" "$fresh/npm/source" >&2
mkdir "$fresh/source"
git -C "$fresh/npm/source" archive HEAD "${sources[@]}" | tar -x -C "$fresh/source"
rm -rf "$fresh/npm"
echo "$wanted" >"$fresh/version"

rm -rf "$home"
mv "$fresh" "$home"
trap - EXIT
echo "$home/lib"

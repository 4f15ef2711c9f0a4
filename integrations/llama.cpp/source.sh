#!/usr/bin/env bash
# Gets the whole source of the llama.cpp that tests/interop/llama_setup.sh installs, and a copy with this change; prints
# the directory that holds plain/ and changed/. About 35 MB are fetched the first time. Needs npm, git and python3.
#
# PHLORA_LLAMA_SOURCE  where it is put; default ${XDG_CACHE_HOME:-~/.cache}/phlora/llama-source
set -euo pipefail
here=$(cd "$(dirname "$0")" && pwd)
version=$(sed -n 's/^version=//p' "$here/../../tests/interop/llama_setup.sh")
home=${PHLORA_LLAMA_SOURCE:-${XDG_CACHE_HOME:-$HOME/.cache}/phlora/llama-source}

if [ "$(cat "$home/version" 2>/dev/null)" != "$version" ]; then
  mkdir -p "$(dirname "$home")"
  fresh=$(mktemp -d "$home.XXXXXX")
  trap 'rm -rf "$fresh"' EXIT
  for try in 1 2 3; do
    npm pack --pack-destination "$fresh" --ignore-scripts --loglevel error "node-llama-cpp@$version" >&2 && break
    [ "$try" -lt 3 ] || { echo "source.sh: npm could not fetch node-llama-cpp $version" >&2; exit 1; }
    sleep $((try * 5))
  done
  tar -xzf "$fresh/node-llama-cpp-$version.tgz" -C "$fresh" package/llama/gitRelease.bundle
  git -c init.defaultBranch=main clone --quiet --no-checkout "$fresh/package/llama/gitRelease.bundle" "$fresh/repository" >&2
  mkdir "$fresh/plain"
  git -C "$fresh/repository" archive HEAD CMakeLists.txt cmake include src ggml common vendor tools licenses | tar -x -C "$fresh/plain"
  rm -rf "$fresh/repository" "$fresh/package" "$fresh"/*.tgz
  echo "$version" >"$fresh/version"
  rm -rf "$home"
  mv "$fresh" "$home"
  trap - EXIT
fi
# Files that stay the same keep their times, so that make builds what has changed.
changed=$(mktemp -d "$home/changed.XXXXXX")
trap 'rm -rf "$changed"' EXIT
cp -a "$home/plain/." "$changed"
python3 "$here/apply.py" "$changed" >&2
mkdir -p "$home/changed"
(cd "$changed" && find . -type f -print0) | while IFS= read -r -d '' file; do
  cmp -s "$changed/$file" "$home/changed/$file" || { mkdir -p "$home/changed/$(dirname "$file")" && cp "$changed/$file" "$home/changed/$file"; }
done
# What another revision has put there would be found first.
(cd "$home/changed" && find . -name 'phlora*' -type f) | while IFS= read -r file; do
  [ -e "$changed/$file" ] || rm "$home/changed/$file"
done
echo "$home"

#!/usr/bin/env bash
# Tries a release as its users would: checksums; each archive and Debian package in an empty root with nothing else in it, where the
# command of README.md runs and prints what README.md says; wheel and sdist in clean environments. Programs for arm64 run under QEMU.
#
#   release/try.sh OUT        what release/make.sh made
set -euo pipefail
out=$(realpath "${1:?usage: release/try.sh OUT}")
cd "$(dirname "$0")/.."

die() { echo "try.sh: $*" >&2; exit 1; }
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
(cd "$out" && sha256sum --quiet --check SHA256SUMS)
[ "$(find "$out" -type f | wc -l)" = "$(($(wc -l <"$out/SHA256SUMS") + 1))" ] || die "SHA256SUMS does not list every file"

command=$(sed -n 's/^cargo run --release -p phlora-cli -- //p' README.md | head -n 1)
read -ra arguments <<<"$command"
[ "${arguments[0]}" = extract ] || die "README.md has no extraction"

# readme NAME ROOT PROGRAM…: runs the command of README.md in ROOT and compares what it prints.
readme() {
  local name=$1 root=$2
  shift 2
  mkdir -p "$root/tests/data" "$root/target"
  cp -r tests/data/tiny-llama "$root/tests/data"
  "$@" "${arguments[@]}" >"$work/printed" || die "$name: the command of README.md fails"
  python3 .ci/transcript.py README.md 1 "$work/printed" || die "$name: README.md says otherwise"
  [ -f "$root/target/adapter/adapter_model.safetensors" ] || die "$name: no adapter"
  echo "$name: the command of README.md prints what README.md says"
}

# static NAME ROOT ARCHITECTURE PATH: the program alone in ROOT.
static() {
  readelf -l "$2/$4" | grep -q INTERP && die "$1: the program is not static"
  if [ "$(uname -m)" = "$3" ]; then
    readme "$1" "$2" chroot "$2" "/$4"
  else
    (cd "$2" && mkdir -p target) && readme "$1" "$2" env -C "$2" "qemu-$3" "$4"
  fi
}

for archive in "$out"/phlora-*-linux.tar.gz; do
  name=$(basename "$archive" .tar.gz)
  root=$work/$name
  mkdir "$root"
  tar -xzf "$archive" -C "$root" --strip-components=1
  for file in README.md share/licenses/phlora/LICENSE-MIT share/licenses/phlora/LICENSE-APACHE include/phlora.h lib/libphlora.a \
    share/phlora/ggml/phlora_ggml.h share/phlora/llama.cpp/apply.py \
    share/man/man1/phlora.1.gz share/man/man1/phlora-extract.1.gz share/bash-completion/completions/phlora; do
    [ -s "$root/$file" ] || die "$name has no $file"
  done
  case $name in *-x86_64-*) static "$name" "$root" x86_64 bin/phlora ;; *) static "$name" "$root" aarch64 bin/phlora ;; esac
done
for package in "$out"/*.deb; do
  name=$(basename "$package")
  root=$work/$name
  mkdir -p "$root/var/lib/dpkg/info" "$root/var/lib/dpkg/updates"
  touch "$root/var/lib/dpkg/status" "$root/var/lib/dpkg/available"
  dpkg --root="$root" --force-architecture --force-not-root --force-script-chrootless --install "$package" >"$work/log" 2>&1 ||
    { cat "$work/log" >&2; die "$name cannot be installed"; }
  case $name in *_amd64.deb) static "$name" "$root" x86_64 usr/bin/phlora ;; *) static "$name" "$root" aarch64 usr/bin/phlora ;; esac
done
for file in "$out"/*.whl ${PHLORA_TRY_SDIST:+"$out"/phlora-*[0-9].tar.gz}; do
  name=$(basename "$file")
  python3 -m venv "$work/venv-$name"
  "$work/venv-$name/bin/pip" install --quiet --disable-pip-version-check "$file"
  mkdir "$work/root-$name"
  readme "$name" "$work/root-$name" env -C "$work/root-$name" "$work/venv-$name/bin/phlora"
done
python3 - "$out"/*.cdx.json <<'EOF'
import json, sys
bill = json.load(open(sys.argv[1]))
known = {one["bom-ref"] for one in bill["components"]} | {bill["metadata"]["component"]["bom-ref"]}
assert all(edge["ref"] in known and set(edge["dependsOn"]) <= known for edge in bill["dependencies"])
assert all(one.get("licenses") for one in bill["components"]), "a component without a licence"
print(f"{len(bill['components'])} components, each with its licence")
EOF

#!/usr/bin/env bash
# Makes everything of a release: archives for Linux on x86-64 and arm64 (static, of musl), Debian packages of the same programs, the
# Python wheel and sdist, a list of what is inside (CycloneDX), and checksums.
#
#   release/make.sh [OUT]        default target/release-VERSION; OUT must not exist
#
# Needs cargo with the Rust libraries of both targets (`rustup target add x86_64-unknown-linux-musl aarch64-unknown-linux-musl`), or
# PHLORA_BUILD_STD=1 and their source; Python with venv, for which zig as C compiler and linker, cargo-zigbuild and maturin are
# installed into target/tools; binutils for both machines; dpkg-deb. release/try.sh tries what comes out.
set -euo pipefail
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
out=$(realpath -m "${1:-$target/release-$version}")
[ ! -e "$out" ] || { echo "make.sh: $out exists" >&2; exit 1; }
mkdir -p "$target"
# What is half done stays out of the way.
work=$(mktemp -d "$target/release.XXXXXX")
trap 'rm -rf "$work"' EXIT
mkdir "$work/out"
# The same input gives the same bytes.
SOURCE_DATE_EPOCH=$(git log -1 --format=%ct)
export SOURCE_DATE_EPOCH

tools=$target/tools/release
if [ ! -x "$tools/bin/cargo-zigbuild" ] || [ ! -x "$tools/bin/maturin" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check ziglang==0.17.0 cargo-zigbuild==0.24.0 maturin==1.16.0
fi
export PATH=$tools/bin:$PATH

pack() { tar --sort=name --owner=0 --group=0 --numeric-owner --mtime="@$SOURCE_DATE_EPOCH" -C "$1" -cf - "$2" | gzip -9n; }

# archive ARCHITECTURE DEBIAN'S
archive() {
  local triple=$1-unknown-linux-musl name=phlora-$version-$1-linux std=() link=()
  local tree=$work/$name deb=$work/deb-$1
  echo "make.sh: $name"
  # Rust without the target's library has none of its objects of musl either: zig brings them.
  [ -z "${PHLORA_BUILD_STD:-}" ] || std=(-Z "build-std=std,panic_unwind") link=(-C link-self-contained=no)
  RUSTC_BOOTSTRAP=${PHLORA_BUILD_STD:-0} cargo-zigbuild rustc --locked --quiet --release -p phlora-cli --bin phlora \
    --target "$triple" "${std[@]}" -- "${link[@]}"
  install -D -m 755 "$target/$triple/release/phlora" "$tree/bin/phlora"
  CARGO_TARGET_DIR=$target bash ffi/install.sh "$tree" --target "$triple"
  python3 release/documents.py "$tree"
  install -m 644 "$work/out/phlora-$version.cdx.json" "$tree/share/doc/phlora/phlora.cdx.json"
  # Manual pages and completions are the same on all machines; the program of this one writes them.
  [ -d "$work/generated" ] || "$tree/bin/phlora" generate "$work/generated" >/dev/null
  install -d "$tree/share/man/man1"
  install -m 644 "$work"/generated/man/man1/* "$tree/share/man/man1"
  gzip -9n "$tree"/share/man/man1/*.1
  install -D -m 644 "$work/generated/completions/phlora.bash" "$tree/share/bash-completion/completions/phlora"
  install -D -m 644 "$work/generated/completions/_phlora" "$tree/share/zsh/vendor-completions/_phlora"
  install -D -m 644 "$work/generated/completions/phlora.fish" "$tree/share/fish/vendor_completions.d/phlora.fish"
  pack "$work" "$name" >"$work/out/$name.tar.gz"

  install -d "$deb/usr" "$deb/DEBIAN"
  # Documents lead to headers and sources.
  cp -r "$tree/bin" "$tree/include" "$tree/lib" "$tree/share" "$deb/usr"
  rm -r "$deb/usr/share/licenses"
  gzip -9n <CHANGELOG.md >"$deb/usr/share/doc/phlora/changelog.gz"
  {
    printf 'Format: https://www.debian.org/doc/packaging-manuals/copyright-format/1.0/\nUpstream-Name: phlora\n\nFiles: *\n'
    printf 'Copyright: the authors of phlora\nLicense: MIT or Apache-2.0\n\nLicense: MIT\n'
    sed 's/^$/./; s/^/ /' LICENSE-MIT
    printf '\nLicense: Apache-2.0\n'
    sed 's/^ *$/./; s/^/ /' LICENSE-APACHE
  } >"$deb/usr/share/doc/phlora/copyright"
  {
    printf 'Package: phlora\nVersion: %s-1\nArchitecture: %s\nSection: science\nPriority: optional\n' "$version" "$2"
    printf 'Maintainer: %s\n' "${PHLORA_MAINTAINER:-The authors of phlora}"
    printf 'Installed-Size: %s\n' "$(du -sk --apparent-size "$deb/usr" | cut -f1)"
    printf 'Description: LoRA adapters from the difference of two models\n'
    printf ' phlora reads the base and the fine-tuned weights of a model and writes the LoRA\n'
    printf ' adapter of their difference, for PEFT, llama.cpp, kohya and ComfyUI.\n'
  } >"$deb/DEBIAN/control"
  find "$deb" -exec touch --no-dereference --date="@$SOURCE_DATE_EPOCH" {} +
  dpkg-deb --root-owner-group -Zxz --build "$deb" "$work/out/phlora_$version-1_$2.deb" >/dev/null
}

"${CARGO:-cargo}" metadata --locked --format-version 1 --filter-platform x86_64-unknown-linux-musl |
  python3 release/contents.py phlora-cli phlora-ffi >"$work/out/phlora-$version.cdx.json"
# The machine's own comes first, which generates what both have.
case $(uname -m) in
  aarch64) machines='aarch64:arm64 x86_64:amd64' ;;
  *) machines='x86_64:amd64 aarch64:arm64' ;;
esac
for machine in $machines; do archive "${machine%:*}" "${machine#*:}"; done
echo "make.sh: Python"
# The wheel is of the host's processor, for every Linux with its glibc of 2014; rustup's Rust has that library.
env -u CARGO -u RUSTC -u PHLORA_BUILD_STD maturin build --quiet --locked --release --zig --compatibility manylinux2014 \
  -m python/Cargo.toml --out "$work/out"
maturin sdist -m python/Cargo.toml --out "$work/out"
(cd "$work/out" && sha256sum -- * >SHA256SUMS)
mv "$work/out" "$out"
ls -l "$out"

#!/usr/bin/env bash
# Prints a command that runs qemu-system-arm. Where installing Debian's package would remove another one (a newer
# qemu-utils, which it conflicts with), the packages are unpacked into a private folder instead.
set -euo pipefail
cd "$(dirname "$0")/.."

if command -v qemu-system-arm; then exit 0; fi
{ apt-get update -qq && bash .ci/apt.sh dpkg; } >&2
plan=$(apt-get install -s --no-install-recommends qemu-system-arm)
if ! grep -q '^Remv' <<<"$plan"; then
  bash .ci/apt.sh qemu-system-arm >&2
  command -v qemu-system-arm
  exit 0
fi

folder=$(realpath -m "${CARGO_TARGET_DIR:-target}/qemu")
if [ ! -x "$folder/usr/bin/qemu-system-arm" ]; then
  # shellcheck disable=SC2046
  bash .ci/apt.sh $(awk '/^Inst/ && $2 !~ /^qemu-/ { print $2 }' <<<"$plan") >&2
  rm -rf "$folder" && mkdir -p "$folder" && cd "$folder"
  apt-get download -qq qemu-system-arm qemu-system-common qemu-system-data >&2
  for package in ./*.deb; do dpkg -x "$package" .; done
fi
echo "$folder/usr/bin/qemu-system-arm -L $folder/usr/share/qemu"

#!/usr/bin/env bash
# Builds libphlora and installs it: headers, static and shared library, pkg-config file, CMake package.
#
#   ffi/install.sh PREFIX            e.g. ffi/install.sh /usr/local; DESTDIR is put in front of it
#
# What is installed finds itself by its own place, so PREFIX may be moved afterwards.
set -euo pipefail
prefix=${1:?usage: ffi/install.sh PREFIX}
mkdir -p "${DESTDIR:-}$prefix"
to=$(cd "${DESTDIR:-}$prefix" && pwd)
cd "$(dirname "$0")/.."

version=$(cargo pkgid -p phlora-ffi | sed 's/.*[#@]//')
soversion=${version%%.*}
# The library is a plain crate otherwise; Cargo builds both C libraries from it in one go.
cargo rustc --locked --quiet --release -p phlora-ffi --lib --crate-type staticlib,cdylib \
  -- -C link-arg="-Wl,-soname,libphlora.so.$soversion"
built=${CARGO_TARGET_DIR:-target}/release

fill() { sed -e "s/@VERSION@/$version/g" -e "s/@SOVERSION@/$soversion/g" "$1"; }
install -d "$to/include" "$to/lib/pkgconfig" "$to/lib/cmake/phlora"
install -m 644 include/phlora.h include/phlora.hpp "$to/include"
install -m 644 "$built/libphlora_ffi.a" "$to/lib/libphlora.a"
install -m 755 "$built/libphlora_ffi.so" "$to/lib/libphlora.so.$version"
ln -sf "libphlora.so.$version" "$to/lib/libphlora.so.$soversion"
ln -sf "libphlora.so.$soversion" "$to/lib/libphlora.so"
fill ffi/packaging/phlora.pc.in >"$to/lib/pkgconfig/phlora.pc"
for file in phlora-config.cmake phlora-config-version.cmake; do
  fill "ffi/packaging/$file.in" >"$to/lib/cmake/phlora/$file"
done
echo "phlora $version is in $to"

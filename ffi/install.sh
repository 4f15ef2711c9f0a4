#!/usr/bin/env bash
# Builds libphlora and installs it: headers, static and shared library, pkg-config file, CMake package, licences, and in share/phlora
# the sources that bring it into ggml and llama.cpp.
#
#   ffi/install.sh PREFIX [--target TRIPLE]      e.g. ffi/install.sh /usr/local; DESTDIR is put in front of it
#
# Another target needs its Rust library (`rustup target add TRIPLE`), or PHLORA_BUILD_STD=1 and the source of it, and a linker in
# CARGO_TARGET_…_LINKER. Targets without an operating system get the functions that need none (ffi/small.sh). docs/c.md lists the
# names that each target has. What is installed finds itself by its own place, so PREFIX may be moved afterwards.
set -euo pipefail
usage="usage: ffi/install.sh PREFIX [--target TRIPLE]"
prefix='' target=''
while [ $# -gt 0 ]; do
  case $1 in
    --target) target=${2:?$usage}; shift 2 ;;
    --target=*) target=${1#*=}; shift ;;
    -*) echo "$usage" >&2; exit 2 ;;
    *) prefix=$1; shift ;;
  esac
done
: "${prefix:?$usage}"
mkdir -p "${DESTDIR:-}$prefix"
to=$(cd "${DESTDIR:-}$prefix" && pwd)
cd "$(dirname "$0")/.."

version=$(sed -n 's/^version = "\(.*\)"/\1/p' Cargo.toml | head -n 1)
soversion=${version%%.*}
folder=${CARGO_TARGET_DIR:-target}
[ -z "$target" ] || folder=$folder/$target
: "${target:=$("${RUSTC:-rustc}" -vV | sed -n 's/^host: //p')}"

# build CRATE-TYPES [LINKER-ARGUMENTS…]
build() {
  local options=() arguments=(-C strip=symbols) argument
  case $folder in */"$target") options=(--target "$target") ;; esac
  [ -z "${PHLORA_BUILD_STD:-}" ] || options+=(-Z "build-std=std,panic_unwind")
  for argument in "${@:2}"; do arguments+=(-C link-arg="$argument"); done
  # The library is a plain crate otherwise; Cargo builds both C libraries from it in one go.
  RUSTC_BOOTSTRAP=${PHLORA_BUILD_STD:-0} "${CARGO:-cargo}" rustc --locked --quiet --release -p phlora-ffi --lib \
    --crate-type "$1" "${options[@]}" -- "${arguments[@]}"
}

# Both libraries for Linux and what is like it.
shared() {
  build staticlib,cdylib "-Wl,-soname,libphlora.so.$soversion"
  bash ffi/archive.sh "$built/libphlora_ffi.a" "$to/lib/libphlora.a" "$target"
  install -m 755 "$built/libphlora_ffi.so" "$to/lib/libphlora.so.$version"
  ln -sf "libphlora.so.$version" "$to/lib/libphlora.so.$soversion"
  ln -sf "libphlora.so.$soversion" "$to/lib/libphlora.so"
}

built=$folder/release
only_static=''
install -d "$to/include" "$to/lib"
case $target in
  wasm32-unknown-unknown | *-none-* | *-none)
    only_static=yes
    bash ffi/archive.sh "$(bash ffi/small.sh "$target" staticlib)" "$to/lib/libphlora.a" "$target"
    if [ "$target" = wasm32-unknown-unknown ]; then
      module=$(RUSTFLAGS="${RUSTFLAGS:-} -Cstrip=symbols -Clink-arg=--export=__heap_base" bash ffi/small.sh "$target" cdylib)
      install -m 644 "$module" "$to/lib/phlora.wasm"
    fi
    ;;
  *-windows-gnu*)
    build staticlib,cdylib
    install -d "$to/bin"
    install -m 755 "$built/phlora_ffi.dll" "$to/bin/phlora.dll"
    bash ffi/archive.sh "$built/libphlora_ffi.a" "$to/lib/libphlora.a" "$target"
    # The import library names the DLL, so it is made for the installed name.
    { echo "LIBRARY phlora.dll" && echo EXPORTS && cat ffi/abi/symbols.txt; } >"$to/lib/phlora.def"
    "${BINUTILS-${target%%-*}-w64-mingw32-}dlltool" -d "$to/lib/phlora.def" -l "$to/lib/libphlora.dll.a"
    ;;
  *-windows-msvc)
    build staticlib,cdylib
    install -d "$to/bin"
    install -m 755 "$built/phlora_ffi.dll" "$to/bin/phlora_ffi.dll"
    install -m 644 "$built/phlora_ffi.dll.lib" "$to/lib/phlora.lib"
    install -m 644 "$built/phlora_ffi.lib" "$to/lib/phlora_static.lib"
    ;;
  *-apple-ios*)
    only_static=yes
    build staticlib
    bash ffi/archive.sh "$built/libphlora_ffi.a" "$to/lib/libphlora.a" "$target"
    ;;
  *-apple-*)
    build staticlib,cdylib "-Wl,-install_name,@rpath/libphlora.$soversion.dylib"
    bash ffi/archive.sh "$built/libphlora_ffi.a" "$to/lib/libphlora.a" "$target"
    install -m 755 "$built/libphlora_ffi.dylib" "$to/lib/libphlora.$soversion.dylib"
    ln -sf "libphlora.$soversion.dylib" "$to/lib/libphlora.dylib"
    ;;
  *-android*)
    build staticlib,cdylib "-Wl,-soname,libphlora.so"
    bash ffi/archive.sh "$built/libphlora_ffi.a" "$to/lib/libphlora.a" "$target"
    install -m 755 "$built/libphlora_ffi.so" "$to/lib/libphlora.so"
    ;;
  *-musl*)
    # A shared library would need the libgcc_s of a system with musl: there the target is the host's, and it is built.
    if [ "$folder" = "${CARGO_TARGET_DIR:-target}" ]; then
      export RUSTFLAGS="${RUSTFLAGS:-} -Ctarget-feature=-crt-static"
      shared
    else
      only_static=yes
      build staticlib
      bash ffi/archive.sh "$built/libphlora_ffi.a" "$to/lib/libphlora.a" "$target"
    fi
    ;;
  *) shared ;;
esac

case $target in
  *-linux-gnu*) private="-lpthread -ldl -lm -lc" ;;
  *-windows-gnu*) private="-lws2_32 -luserenv -lntdll" ;;
  *) private=-lm ;;
esac
# Without a shared library `pkg-config --libs` gives the static one, and programs need what that needs.
public=${only_static:+ $private}
fill() { sed -e "s/@VERSION@/$version/g" -e "s/@SOVERSION@/$soversion/g" -e "s/@PRIVATE@/$private/g" -e "s/@PUBLIC@/$public/g" "$1"; }
install -d "$to/lib/pkgconfig" "$to/lib/cmake/phlora" "$to/share/licenses/phlora"
install -m 644 include/phlora.h include/phlora.hpp "$to/include"
install -m 644 LICENSE-APACHE LICENSE-MIT "$to/share/licenses/phlora"
install -d "$to/share/phlora/ggml" "$to/share/phlora/llama.cpp" "$to/share/doc/phlora"
install -m 644 docs/c.md docs/llama-cpp.md "$to/share/doc/phlora"
install -m 644 integrations/ggml/phlora_ggml*.[ch] "$to/share/phlora/ggml"
install -m 644 integrations/llama.cpp/{apply.py,example.c,llama.change,server.change,phlora-llama.cpp,phlora-llama.h} "$to/share/phlora/llama.cpp"
for folder in ggml llama.cpp; do
  # Documents lie elsewhere there.
  sed 's|(../../docs/|(../../doc/phlora/|g' "integrations/$folder/README.md" >"$to/share/phlora/$folder/README.md"
done
fill ffi/packaging/phlora.pc.in >"$to/lib/pkgconfig/phlora.pc"
for file in phlora-config.cmake phlora-config-version.cmake; do
  fill "ffi/packaging/$file.in" >"$to/lib/cmake/phlora/$file"
done
echo "phlora $version for $target is in $to"

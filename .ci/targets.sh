#!/usr/bin/env bash
# libphlora for other systems, by ffi/install.sh --target: Linux on arm64 (run under QEMU), musl (static), Windows (mingw; run under
# wine where it installs), wasm32 (run under node) and Cortex-M4F (linked; .ci/cortex-m.sh runs it). Android, iOS, macOS and MSVC have
# no compiler here: docs/c.md describes them. Little is optimised: programs run for a second, and compiling is most of the time.
#
#   .ci/targets.sh [arm64|musl|windows|wasm|cortex-m]…      without a word all of them
set -euo pipefail
read -ra asked <<<"${*:-arm64 musl windows wasm cortex-m}"
cd "$(dirname "$0")/.."

bash .ci/apt.sh rustc-web cargo-web rust-web-src gcc gcc-aarch64-linux-gnu libc6-dev-arm64-cross qemu-user musl-tools \
  gcc-mingw-w64-x86-64 gcc-arm-none-eabi libnewlib-arm-none-eabi
command -v wine >/dev/null || bash .ci/apt.sh wine wine64 || echo "wine does not install: programs for Windows are only linked"
command -v node >/dev/null || bash .ci/apt.sh nodejs

work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
pair=tests/data/tiny-llama
# Debian's Rust builds any target's library from its packaged source.
export CARGO=/usr/bin/cargo RUSTC=/usr/bin/rustc
export CARGO_TARGET_AARCH64_UNKNOWN_LINUX_GNU_LINKER=aarch64-linux-gnu-gcc
export CARGO_TARGET_X86_64_UNKNOWN_LINUX_MUSL_LINKER=musl-gcc
export CARGO_TARGET_X86_64_PC_WINDOWS_GNU_LINKER=x86_64-w64-mingw32-gcc
linker=$(rustc --print sysroot)/lib/rustlib/$(rustc -vV | sed -n 's/^host: //p')/bin/rust-lld
export CARGO_TARGET_WASM32_UNKNOWN_UNKNOWN_LINKER=$linker

# hosted TRIPLE: with files and threads.
hosted() {
  CARGO_TARGET_DIR=${CARGO_TARGET_DIR:-target}/cross PHLORA_BUILD_STD=1 CARGO_PROFILE_RELEASE_OPT_LEVEL=1 \
    CARGO_PROFILE_RELEASE_LTO=off CARGO_PROFILE_RELEASE_CODEGEN_UNITS=16 bash ffi/install.sh "$work/$1" --target "$1"
}

# extracts NAME PROGRAM…: the program extracts the real pair.
extracts() {
  local name=$1
  shift
  "$@" "$pair/base" "$pair/tuned" "$work/$name" 4 | tee "$work/printed"
  grep -q '28 modules, 28.33 % kept' "$work/printed"
  echo "$name: extracts the real pair"
}

arm64() {
  local triple=aarch64-unknown-linux-gnu
  hosted $triple
  aarch64-linux-gnu-gcc -I"$work/$triple/include" examples/c/files.c "$work/$triple/lib/libphlora.a" -lpthread -ldl -lm -o "$work/arm-static"
  aarch64-linux-gnu-gcc -I"$work/$triple/include" examples/c/files.c -L"$work/$triple/lib" -lphlora -o "$work/arm-shared"
  extracts arm-static qemu-aarch64 -L /usr/aarch64-linux-gnu "$work/arm-static"
  extracts arm-shared qemu-aarch64 -L /usr/aarch64-linux-gnu -E LD_LIBRARY_PATH="$work/$triple/lib" "$work/arm-shared"
}

musl() {
  local triple=x86_64-unknown-linux-musl flags
  hosted $triple
  # There is no shared library: pkg-config gives what the static one needs.
  read -ra flags <<<"$(PKG_CONFIG_PATH=$work/$triple/lib/pkgconfig pkg-config --cflags --libs phlora)"
  musl-gcc -static examples/c/files.c "${flags[@]}" -o "$work/musl"
  case $(readelf -l "$work/musl") in *INTERP*) echo "targets.sh: musl: the program is not static" >&2; exit 1 ;; esac
  extracts musl-adapter "$work/musl"
}

windows() {
  local triple=x86_64-pc-windows-gnu
  hosted $triple
  local cc=(x86_64-w64-mingw32-gcc -I"$work/$triple/include" examples/c/files.c)
  "${cc[@]}" "$work/$triple/lib/libphlora.a" -lws2_32 -luserenv -lntdll -o "$work/static.exe"
  "${cc[@]}" -L"$work/$triple/lib" -l:libphlora.dll.a -o "$work/shared.exe"
  cp "$work/$triple/bin/phlora.dll" "$work"
  x86_64-w64-mingw32-gcc -shared tests/c/wine/bcryptprimitives.c -ladvapi32 -o "$work/bcryptprimitives.dll"
  if command -v wine >/dev/null; then
    export WINEPREFIX=$work/wine WINEDEBUG=-all
    extracts windows-static wine "$work/static.exe"
    extracts windows-shared wine "$work/shared.exe"
  else
    echo "windows: linked, not run: there is no wine here"
  fi
}

wasm() {
  bash ffi/install.sh "$work/wasm" --target wasm32-unknown-unknown
  node tests/wasm/layer.mjs "$work/wasm/lib/phlora.wasm"
}

cortex_m() {
  bash ffi/install.sh "$work/arm" --target thumbv7em-none-eabihf
  echo 'unsigned embed_rank(void); int main(void) { return (int)embed_rank(); }' >"$work/main.c"
  arm-none-eabi-gcc -mcpu=cortex-m4 -mthumb -mfloat-abi=hard -mfpu=fpv4-sp-d16 --specs=nosys.specs -Wl,--gc-sections \
    -I"$work/arm/include" "$work/main.c" tests/c/linkable/embed.c "$work/arm/lib/libphlora.a" -lm -o "$work/arm.elf"
  arm-none-eabi-size "$work/arm.elf"
}

for name in "${asked[@]}"; do
  case $name in
    arm64 | musl | windows | wasm | cortex-m) "${name/-/_}" ;;
    *) echo "targets.sh: there is no target '$name'" >&2; exit 2 ;;
  esac
done

#!/usr/bin/env bash
# Installs libphlora into an empty place and uses it from outside the repository, as a C or C++ author would:
# through pkg-config and through CMake. Compares an adapter with the command's bit by bit, and guards the ABI:
# soname, list of symbols, and the types of the committed dump. .ci/linkable.sh shows where it links.
set -euo pipefail
cd "$(dirname "$0")/.."

bash .ci/apt.sh gcc g++ libc6-dev pkg-config cmake make abigail-tools binutils

pair=$PWD/tests/data/tiny-llama
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
bash ffi/install.sh "$work/built"
# What is installed finds itself wherever it is moved.
mv "$work/built" "$work/phlora"
library=$work/phlora/lib/libphlora.so
export PKG_CONFIG_PATH=$work/phlora/lib/pkgconfig LD_LIBRARY_PATH=$work/phlora/lib

readelf -d "$library" | grep 'SONAME.*\[libphlora\.so\.0\]' >/dev/null
nm -D --defined-only "$library" | awk '{ print $3 }' | LC_ALL=C sort | diff -u ffi/abi/symbols.txt - || {
  echo "the exported symbols are not those of ffi/abi/symbols.txt" >&2
  exit 1
}
bash .ci/linkable.sh "$work/phlora"
bash .ci/abi-dump.sh "$work/phlora.abi"
abidiff ffi/abi/phlora.abi "$work/phlora.abi" || {
  echo "the ABI changed: if that is meant, write the new dump with .ci/abi-dump.sh ffi/abi/phlora.abi" >&2
  exit 1
}

cp -r examples "$work/examples"
cp tests/c/arguments.c tests/c/apply.c tests/c/adapters.c tests/parity/driver.c benches/c/batch.c "$work"
# The program that README.md shows, and what it says that it prints.
block() { awk -v kind="$1" '/^```/ { inside = ($0 == "```" kind); next } inside' README.md; }
block c >"$work/extract.c"
block "text c" >"$work/expected"
cd "$work"
strict=(-Wall -Wextra -Wpedantic -Werror)
read -ra headers <<<"$(pkg-config --cflags phlora)"
read -ra shared <<<"$(pkg-config --cflags --libs phlora)"
read -ra below <<<"$(pkg-config --libs --static phlora | sed 's/-lphlora//')"
gcc -std=c99 "${strict[@]}" examples/c/files.c -o files "${shared[@]}"
gcc -std=c11 "${strict[@]}" examples/c/static.c -o static "${headers[@]}" phlora/lib/libphlora.a "${below[@]}"
gcc -std=c99 "${strict[@]}" examples/c/forward.c -o forward "${shared[@]}"
for job in plan prune merge convert check diff inspect open several shares; do
  gcc -std=c11 "${strict[@]}" "examples/c/$job.c" -o "$job" "${shared[@]}"
done
g++ -std=c++17 "${strict[@]}" -Wconversion examples/cpp/files.cpp -o files-cpp "${shared[@]}"
g++ -std=c++17 "${strict[@]}" -Wconversion examples/cpp/runtime.cpp -o runtime "${shared[@]}"
g++ -std=c++17 "${strict[@]}" -Wconversion -pthread examples/cpp/server.cpp -o server "${shared[@]}"
gcc -std=c11 "${strict[@]}" apply.c -o apply "${shared[@]}"
gcc -std=c11 "${strict[@]}" -DPHLORA_TEST_FILES arguments.c -o arguments "${shared[@]}"
gcc -std=c11 "${strict[@]}" adapters.c -o adapters "${shared[@]}"
gcc -std=c11 "${strict[@]}" driver.c -o driver "${shared[@]}"
gcc -std=c11 "${strict[@]}" -O2 batch.c -o batch "${shared[@]}"
gcc -std=c99 "${strict[@]}" extract.c -o extract "${shared[@]}"
./extract "$pair/base" "$pair/tuned" adapter-readme | diff expected -
./static
./forward
./runtime
./server
./apply
./batch
./files "$pair/base" "$pair/tuned" adapter 16
./plan "$pair/base" "$pair/tuned" spectra.json page.html 262144
./prune adapter pruned 0.8
./convert pruned "$pair/base" pruned.gguf
./check pruned "$pair/base"
./diff "$pair/base" "$pair/tuned"
./diff adapter pruned
./merge "$pair/base" adapter 0.5 merged
for path in merged adapter pruned.gguf spectra.json; do ./inspect "$path"; done
./open adapter
./shares "$pair/base" "$pair/tuned" joined
./several "$pair/base" "$pair/tuned" several-tuned merged several-merged
mkdir cpp
./files-cpp "$pair/base" "$pair/tuned" cpp
mkdir scratch
./arguments "$pair/base" "$pair/tuned" scratch
mkdir adapters-out
./adapters "$pair/base" "$pair/tuned" adapters-out

cmake -S examples -B build -DCMAKE_PREFIX_PATH="$work/phlora" -DCMAKE_BUILD_TYPE=Release >cmake.log || { cat cmake.log; exit 1; }
cmake --build build >>cmake.log || { cat cmake.log; exit 1; }
./build/static
./build/forward
./build/runtime
./build/server
./build/files "$pair/base" "$pair/tuned" adapter-cmake 16

cd - >/dev/null
cargo build --locked --release --quiet -p phlora-cli
command=${CARGO_TARGET_DIR:-target}/release/phlora
python3 tests/parity/run.py "$command" "$work/driver" "$work/parity"
"$command" extract "$pair/base" "$pair/tuned" -o "$work/command" --rank 16 --quiet
for adapter in adapter adapter-cmake adapter-readme; do
  # The card of the model quotes the command.
  diff -r --exclude=README.md "$work/command" "$work/$adapter"
done
echo "C and the command write the same bytes"

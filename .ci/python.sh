#!/usr/bin/env bash
# The Python package: wheel and sdist are built, each is installed into a clean environment, where the command and the example of the
# package's README run word for word; types are checked; the tests run, those with PEFT in the environment of tests/interop.
set -euo pipefail
cd "$(dirname "$0")/.."

die() { echo "python.sh: $*" >&2; exit 1; }
python3 -c 'import ensurepip, venv' 2>/dev/null || bash .ci/apt.sh python3 python3-venv
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
tools=$target/tools/python
if [ ! -x "$tools/bin/maturin" ] || [ ! -x "$tools/bin/mypy" ]; then
  python3 -m venv "$tools"
  "$tools/bin/pip" install --quiet --disable-pip-version-check maturin==1.16.0 mypy==2.4.1 pytest==9.2.0
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
# What was built for the other steps is used again.
export CARGO_TARGET_DIR=$target/python
"$tools/bin/maturin" build --quiet --locked --profile dev --compatibility linux -m python/Cargo.toml --out "$work/dist" \
  --interpreter "$(command -v python3)"
"$tools/bin/maturin" sdist -m python/Cargo.toml --out "$work/dist"
ls -l "$work/dist"

repository=$PWD
# block N KIND: the N-th ```KIND fence of the package's README.
block() {
  awk -v n="$1" -v kind="$2" 'inside && /^```[ \t]*$/ { inside = 0; next }
    !inside && /^```/ { inside = 1; take = ($0 == "```" kind); k += take; next }
    inside && take && k == n' python/README.md
}
block 1 python >"$work/example.py"
block 1 text >"$work/expected"
for part in example.py expected; do
  [ -s "$work/$part" ] || die "python/README.md has no $part"
done

# try NAME FILE: installs it into an environment of its own and uses it.
try() {
  local environment=$work/$1
  python3 -m venv "$environment"
  "$environment/bin/pip" install --quiet --disable-pip-version-check --config-settings=build-args="--profile dev" "$2"
  mkdir "$environment/work"
  ln -s "$repository/tests/data/tiny-llama/base" "$repository/tests/data/tiny-llama/tuned" "$environment/work"
  (
    cd "$environment/work"
    "$environment/bin/phlora" --help >/dev/null
    "$environment/bin/phlora" extract base tuned -o command --rank 16 --quiet
    "$environment/bin/python" "$work/example.py" | diff "$work/expected" -
    # The card of the model quotes the command.
    diff -r --exclude=README.md command adapter
  )
  find "$environment" -path '*/phlora-*.dist-info/*' -name 'LICENSE-*' | grep -q APACHE || die "$1: no licences"
  find "$environment" -path '*/phlora/py.typed' | grep -q . || die "$1: not typed"
  echo "$1: installed into a clean environment; the command and the README's example run"
}
wheel=$(echo "$work"/dist/*.whl)
try wheel "$wheel"
try sdist "$(echo "$work"/dist/*.tar.gz)"

"$tools/bin/mypy" --strict --ignore-missing-imports python/phlora
"$work/wheel/bin/pip" install --quiet --disable-pip-version-check pytest==9.2.0
"$work/wheel/bin/python" -m pytest -q python/tests/test_files.py
interop=$(bash tests/interop/setup.sh)
"$interop" -m pip install --quiet --disable-pip-version-check --no-deps --target "$work/module" "$wheel"
PYTHONPATH=$work/module OMP_NUM_THREADS=1 "$interop" -m pytest -q python/tests/test_memory.py

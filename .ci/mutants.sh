#!/usr/bin/env bash
# Mutants (cargo-mutants) of what reads files, names tensors, stages outputs, chooses ranks and checks C pointers: each
# is built and tested. A mutant takes a build of the tests, so a run over all of them takes days; --shard takes a sample.
#
#   .ci/mutants.sh parsers --shard 0/100    # every 100th mutant of a group
#   .ci/mutants.sh staging --re commit      # those whose name matches
#   .ci/mutants.sh policies --list          # what they are
#
# Survivors are in target/mutants/GROUP/mutants.out/missed.txt. .ci/mutants.toml leaves out mutants that change nothing.
set -euo pipefail
cd "$(dirname "$0")/.."

group=${1:-}
[ $# -eq 0 ] || shift
files=() tests=()
case $group in
  # Of source/remote, tests need servers.
  parsers)
    crate=phlora packages=phlora,phlora-cli
    files=(--file 'checkpoint/src/source/**' --file 'checkpoint/src/adapter/**' --file 'checkpoint/src/naming/**'
      --exclude 'checkpoint/src/source/remote/**') ;;
  staging)
    crate=phlora packages=phlora,phlora-cli files=(--file 'checkpoint/src/run/staging/*')
    tests=(--lib --test output --test trusted --test merge --test shards --test page --test several) ;;
  policies)
    crate=phlora-core packages=phlora-core,phlora-tests files=(--file 'core/src/policy/*')
    tests=(--lib --test policy --test compact) ;;
  budget)
    crate=phlora packages=phlora,phlora-cli files=(--file 'checkpoint/src/jobs/extract/budget.rs')
    tests=(--lib --test ranks --test plan --test compact --test few_bits --test conv --test shards) ;;
  guard)
    crate=phlora-ffi packages=phlora-ffi files=(--file 'ffi/src/guard/*') tests=(--lib) ;;
  *)
    echo "mutants.sh: the first argument is parsers, staging, policies, budget or guard" >&2
    exit 2 ;;
esac

if ! command -v cargo-mutants >/dev/null; then
  tools=$(realpath -m "${CARGO_TARGET_DIR:-target}/tools/mutants")
  [ -x "$tools/bin/cargo-mutants" ] || cargo install --quiet --locked --root "$tools" cargo-mutants@27.1.0
  PATH=$tools/bin:$PATH
fi
out=$(realpath -m "${CARGO_TARGET_DIR:-target}/mutants/$group")
mkdir -p "$out"
# A mutant is one function: what was compiled before stays, and optimising takes longer than the tests gain.
export CARGO_INCREMENTAL=1 CARGO_PROFILE_DEV_DEBUG=0
exec cargo mutants --config .ci/mutants.toml -p "$crate" "${files[@]}" --test-package "$packages" --baseline skip --jobs 1 \
  --timeout 120 --no-shuffle -C=--locked -C=--config='profile.dev.package.phlora.opt-level=1' --output "$out" "$@" -- "${tests[@]}"

#!/usr/bin/env bash
# Submits the shares of an extraction as an array job, and the join that waits for them; prints the number of the join.
#
#   submit.sh                      one round: --rank, --energy, --noise-floor, --budget, several ranks
#   ROUNDS=2 submit.sh             two rounds: --uniform, and wherever a join asks to run every shard again
#   submit.sh --array=1-64 …       further words go to sbatch, for the array job
# Logs are written to the working directory.
set -euo pipefail
here=$(dirname "$(realpath "$0")")

# Places that every node sees, and options of `phlora extract`.
export BASE=${BASE:-/shared/base} TUNED=${TUNED:-/shared/tuned}
export PARTS=${PARTS:-/shared/parts} OUT=${OUT:-/shared/adapter}
export OPTIONS=${OPTIONS:---rank 32}
rounds=${ROUNDS:-1}

after=()
for ((round = 1; round <= rounds; round++)); do
  array=$(ROUND=$round sbatch --parsable "${after[@]}" "$@" "$here/extract.sbatch")
  echo "round $round: job $array" >&2
  # A task that failed for good leaves a job that waits for it in the queue, unless it is told to go.
  after=("--dependency=afterok:$array" --kill-on-invalid-dep=yes)
done
sbatch --parsable "${after[@]}" "$here/join.sbatch"

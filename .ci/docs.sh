#!/usr/bin/env bash
# Runs every ```sh block of the pages for users of the command as it stands, page by page, in a folder of its own with the models `base` and
# `tuned` (the real pair) and the release build of the command in the PATH.
set -euo pipefail
cd "$(dirname "$0")/.."

cargo build --locked --quiet --release -p phlora-cli
repository=$PWD
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
PATH=$(realpath "${CARGO_TARGET_DIR:-target}")/release:$PATH
export PATH
ran=0
for page in docs/{command,stories,formats,policies,serving,reproducibility}.md; do
  script=$work/$(basename "$page" .md).sh
  awk 'inside && /^```[ \t]*$/ { inside = 0; next }
       !inside && /^```/       { inside = 1; sh = /^```sh[ \t]*$/; next }
       inside && sh' "$page" >"$script"
  [ -s "$script" ] || continue
  folder=$work/$(basename "$page" .md)
  mkdir "$folder"
  ln -s "$repository/tests/data/tiny-llama/base" "$repository/tests/data/tiny-llama/tuned" "$folder"
  (cd "$folder" && bash -euo pipefail "$script" </dev/null >out 2>&1) || {
    cat "$folder/out" >&2
    echo "docs.sh: a command of $page fails" >&2
    exit 1
  }
  ran=$((ran + $(wc -l <"$script")))
done
[ "$ran" -gt 0 ] || { echo "docs.sh: no page has a command" >&2; exit 1; }
echo "$ran lines of commands in docs/ work"

for example in memory batch merge registry policy; do
  cargo run --locked --quiet -p phlora-examples --bin "$example"
done
cargo run --locked --quiet -p phlora-examples --bin files -- tests/data/tiny-llama/base tests/data/tiny-llama/tuned "$work/files"

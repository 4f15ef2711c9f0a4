#!/usr/bin/env python3
"""Writes the public interface of the libraries, as rustdoc shows it, to CRATE/api.txt; with --check, compares instead.

    .ci/api.py [--check]

Each item comes with its declaration, its methods and the traits that it implements (those derived or written here, not
the blanket ones of the standard library). A change of the interface is then a line in a review.
"""

import difflib
import html
import json
import re
import shutil
import subprocess
import sys
from pathlib import Path

ROOT = Path(__file__).resolve().parent.parent
CRATES = {"core": "phlora_core", "checkpoint": "phlora"}
KINDS = ("struct", "enum", "union", "trait", "fn", "type", "constant", "static", "macro")
HEADER = re.compile(r'<h[34] class="code-header">(.*?)</h[34]>', re.S)


def text(markup):
    """Markup as one line of source."""
    markup = re.sub(r'<details class="toggle[^>]*>\s*<summary[^>]*>.*?</summary>', "", markup, flags=re.S)
    markup = re.sub(r'<div class="where">', " ", markup)
    plain = html.unescape(re.sub(r"<[^>]*>", "", markup)).replace("\xa0", " ")
    return re.sub(r"\s+", " ", plain).replace("{ /* private fields */ }", "{ .. }").strip()


def part(page, name):
    """The list of that id, up to the next one."""
    start = page.find(f'id="{name}"')
    if start < 0:
        return ""
    ends = [page.find(mark, start + 1) for mark in ('<h2 id="', "</section></div></main>")]
    return page[start : min((end for end in ends if end > 0), default=len(page))]


def item(path, page):
    """The lines of one item."""
    found = re.search(r'<pre class="rust item-decl"><code>(.*?)</code></pre>', page, re.S)
    yield f"{path}: {text(found.group(1)) if found else ''}"
    for name in ("implementations-list", "required-methods", "provided-methods"):
        for header in HEADER.findall(part(page, name)):
            line = text(header)
            yield f"{path}:   {line}" if not line.startswith("impl") else f"{path}: {line}"
    traits = re.findall(r'<section id="impl-[^"]*" class="impl">.*?</section>', part(page, "trait-implementations-list"), re.S)
    for header in sorted(text(HEADER.search(trait).group(1)) for trait in traits):
        yield f"{path}: {header}"


def interface(folder, crate):
    for file in sorted(folder.rglob("*.html")):
        kind, _, name = file.stem.partition(".")
        if kind not in KINDS:
            continue
        path = "::".join((crate, *file.relative_to(folder).parts[:-1], name))
        page = file.read_text()
        # A page for what is shown elsewhere only leads there.
        if 'http-equiv="refresh"' not in page:
            yield from item(path, page)


def main():
    check = sys.argv[1:] == ["--check"]
    metadata = ["cargo", "metadata", "--locked", "--no-deps", "--format-version=1"]
    target = Path(json.loads(subprocess.check_output(metadata, cwd=ROOT))["target_directory"])
    for crate in CRATES.values():
        shutil.rmtree(target / "doc" / crate, ignore_errors=True)
    subprocess.run(["cargo", "doc", "--locked", "--workspace", "--no-deps"], cwd=ROOT, check=True)
    changed = False
    for room, crate in CRATES.items():
        file = ROOT / room / "api.txt"
        lines = [line + "\n" for line in interface(target / "doc" / crate, crate)]
        if len(lines) < 20:
            sys.exit(f"api.py: only {len(lines)} lines of {crate}: rustdoc's pages look different now")
        if not check:
            file.write_text("".join(lines))
            continue
        before = file.read_text().splitlines(keepends=True)
        diff = list(difflib.unified_diff(before, lines, f"{room}/api.txt", "as it is"))
        sys.stdout.writelines(diff)
        changed |= bool(diff)
    if changed:
        sys.exit("api.py: the public interface is another; .ci/api.py writes it down where that is meant")


main()

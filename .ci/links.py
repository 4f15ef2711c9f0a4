#!/usr/bin/env python3
"""Checks the links of every Markdown document in the repository: files exist, and so do the headings after `#`; also of those that packages install.

Paths of sources in code spans must exist as well, from the top of the repository, of a crate, or of the document's folder.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
SOURCES = [ROOT, *(ROOT / crate / "src" for crate in ("core", "checkpoint", "ffi", "cli", "tests", "benches"))]
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)+\.(?:rs|txt|sh|py|toml|yml|cpp|c|bin))`")


def anchors(path):
    """Headings as GitHub links to them."""
    text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
    found, seen = set(), {}
    for heading in re.findall(r"^#+ +(.*?) *$", text, re.M):
        heading = re.sub(r"\[([^\]]*)\]\([^)]*\)", r"\1", heading)
        slug = re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-")
        count = seen[slug] = seen.get(slug, -1) + 1
        found.add(slug if count == 0 else f"{slug}-{count}")
    return found


def main():
    listed = subprocess.run(["git", "ls-files", "-co", "--exclude-standard", "*.md"], cwd=ROOT, check=True, capture_output=True, text=True)
    wrong, count = [], 0
    for name in filter(None, listed.stdout.splitlines()):
        path = ROOT / name
        if not path.exists():
            continue
        text = re.sub(r"^```.*?^```", "", path.read_text(), flags=re.M | re.S)
        for source in PATH.findall(text):
            count += 1
            if not any((folder / source).exists() for folder in [*SOURCES, path.parent]):
                wrong.append(f"{name}: {source} is not there")
        for target in re.findall(r"\]\(([^()\s]+)\)", text):
            if re.match(r"[a-z]+:", target):
                continue
            count += 1
            file, _, anchor = target.partition("#")
            there = (path.parent / file).resolve() if file else path
            if not there.exists():
                wrong.append(f"{name}: {target} is not there")
            elif anchor and (there.suffix != ".md" or anchor not in anchors(there)):
                wrong.append(f"{name}: {target}: there is no such heading")
    if wrong or not count:
        raise SystemExit("\n".join(wrong) or "no document has a link")
    # What is installed without its sources.
    with tempfile.TemporaryDirectory() as tree:
        subprocess.run([sys.executable, ROOT / "release/documents.py", tree], check=True)
    print(f"{count} links and paths lead somewhere")


sys.exit(main())

#!/usr/bin/env python3
"""Checks the links of every Markdown document in the repository: files exist, and so do the headings after `#`; also of those that packages install.

Paths of sources in code spans must exist as well, from the top of the repository or from the document's folder. `FILE: NAME` and
`FILE: Type::name` say what the file declares: a function, type, constant or module, and that it names the type.
"""

import pathlib
import re
import subprocess
import sys
import tempfile

ROOT = pathlib.Path(__file__).resolve().parents[1]
PATH = re.compile(r"`([\w.-]+(?:/[\w.-]+)+\.(?:rs|txt|sh|py|toml|yml|cpp|c|bin))(?:: ([\w:]+))?`")
DECLARED = r"\b(?:fn|struct|enum|trait|type|const|static|mod)\s+%s\b"


def declares(path, name):
    """Whether a source declares `name`, which may follow a type that it names."""
    text = re.sub(r"//[^\n]*", "", path.read_text())
    *owner, last = name.split("::")
    return re.search(DECLARED % last, text) and all(re.search(rf"\b{one}\b", text) for one in owner)


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
        for source, declared in PATH.findall(text):
            count += 1
            there = next((folder / source for folder in (ROOT, path.parent) if (folder / source).exists()), None)
            if there is None:
                wrong.append(f"{name}: {source} is not there")
            elif declared and not declares(there, declared):
                wrong.append(f"{name}: {source} does not declare {declared}")
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

#!/usr/bin/env python3
"""The book of the documents: book.py gather FOLDER puts mdBook's input there, book.py check BOOK follows the links of what it made.

Documents stand in the repository where they are read; docs/SUMMARY.md names those of the book. What they link to comes with them, so
that links lead to the same files.
"""

import html.parser
import pathlib
import re
import shutil
import subprocess
import sys
import urllib.parse

ROOT = pathlib.Path(__file__).resolve().parents[1]
LINK = re.compile(r"\]\(([^()\s#]+)(?:#[^()\s]*)?\)")


def listed():
    command = ["git", "ls-files", "-co", "--exclude-standard"]
    found = subprocess.run(command, cwd=ROOT, check=True, capture_output=True, text=True)
    return [name for name in found.stdout.splitlines() if (ROOT / name).is_file()]


def put(name, source):
    to = source / name
    to.parent.mkdir(parents=True, exist_ok=True)
    shutil.copyfile(ROOT / name, to)


def gather(folder):
    source = folder / "src"
    files = listed()
    summary = (ROOT / "docs/SUMMARY.md").read_text()
    chapters = [(ROOT / "docs" / target).resolve().relative_to(ROOT).as_posix() for target in LINK.findall(summary)]
    missing = [name for name in files if name.startswith("docs/") and name.endswith(".md") and name not in [*chapters, "docs/SUMMARY.md"]]
    if missing:
        sys.exit(f"book.py: docs/SUMMARY.md does not name {', '.join(missing)}")
    for name in chapters:
        put(name, source)
        for target in LINK.findall((ROOT / name).read_text()):
            if re.match(r"[a-z]+:", target):
                continue
            linked = ((ROOT / name).parent / target).resolve().relative_to(ROOT).as_posix()
            for file in files:
                if (file == linked or file.startswith(f"{linked}/")) and not file.endswith(".md"):
                    put(file, source)
    # A path of docs/ is one from the top here.
    path = lambda link: "](" + (link[1][3:] if link[1].startswith("../") else f"docs/{link[1]}") + ")"
    (source / "SUMMARY.md").write_text(re.sub(r"\]\(([^()\s]+)\)", path, summary))
    shutil.copyfile(ROOT / "docs/book.toml", folder / "book.toml")


class Page(html.parser.HTMLParser):
    """What a page links to, and what in it can be linked to."""

    def __init__(self):
        super().__init__()
        self.links, self.ids = [], set()

    def handle_starttag(self, tag, attributes):
        named = dict(attributes)
        if named.get("id"):
            self.ids.add(named["id"])
        self.links += [named[key] for key in ("href", "src") if named.get(key)]


def check(book):
    pages = {}
    for path in book.rglob("*.html"):
        pages[path] = Page()
        pages[path].feed(path.read_text(encoding="utf-8"))
    wrong, count = [], 0
    for path, page in pages.items():
        # The page for what is not there is served from anywhere.
        if path.name == "404.html":
            continue
        for link in page.links:
            if re.match(r"[a-z]+:", link):
                continue
            count += 1
            file, _, anchor = link.partition("#")
            there = (path.parent / urllib.parse.unquote(file)).resolve() if file else path
            if not there.exists():
                wrong.append(f"{path.relative_to(book)}: {link} is not there")
            elif anchor and there in pages and urllib.parse.unquote(anchor) not in pages[there].ids:
                wrong.append(f"{path.relative_to(book)}: {link}: there is no such heading")
    if wrong or not count:
        sys.exit("\n".join(wrong) or "book.py: no page has a link")
    print(f"{len(pages)} pages, {count} links lead somewhere")


what, folder = sys.argv[1], pathlib.Path(sys.argv[2]).resolve()
{"gather": gather, "check": check}[what](folder)

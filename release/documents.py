#!/usr/bin/env python3
"""Copies what there is to read into an installed tree: documents.py TREE

A link to a file that is not installed becomes its text, with the place of the file in the sources. All other links are followed, and
one that leads nowhere is an error.
"""

import os
import pathlib
import re
import shutil
import sys

ROOT = pathlib.Path(__file__).resolve().parent.parent
SHARE = pathlib.PurePosixPath("share/doc/phlora")
# Of a link, not of an image: text and target.
LINK = re.compile(r"(?<!!)\[([^\]]*)\]\(([^)\s]+)\)")


def layout():
    """Places in the sources, each with its places in the tree; the first is what links from elsewhere lead to."""
    places = {}
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in (".md", ".svg"):
            places[path.relative_to(ROOT).as_posix()] = [SHARE / path.relative_to(ROOT / "docs").as_posix()]
    for name in ("ARCHITECTURE.md", "BENCHMARKS.md", "SECURITY.md"):
        places[name] = [SHARE / name]
    # Also where archives are opened.
    for name in ("README.md", "CHANGELOG.md"):
        places[name] = [SHARE / name, pathlib.PurePosixPath(name)]
    return places


def relinked(text, source, place, places):
    """`text` of `source` with its links as they are from `place`."""

    def one(found):
        words, target = found.groups()
        path, _, anchor = target.partition("#")
        if "://" in target or target.startswith("mailto:") or not path:
            return found.group(0)
        meant = os.path.normpath(os.path.join(os.path.dirname(source), path))
        if meant not in places:
            if not (ROOT / meant).exists():
                raise SystemExit(f"documents.py: {source}: {target} leads nowhere")
            words = words.strip("`")
            return f"`{meant}`" if words in (meant, path) else f"{words} (`{meant}` in the sources)"
        beside = [own for own in places[meant] if own.parent == place.parent]
        to = os.path.relpath((beside or places[meant])[0], place.parent)
        return f"[{words}]({to}{'#' + anchor if anchor else ''})"

    return LINK.sub(one, text)


def main(tree):
    places = layout()
    for source, owns in places.items():
        for place in owns:
            path = tree / place
            path.parent.mkdir(parents=True, exist_ok=True)
            if path.suffix == ".md":
                text = (ROOT / source).read_text(encoding="utf-8")
                path.write_text(relinked(text, source, place, places), encoding="utf-8")
            else:
                shutil.copyfile(ROOT / source, path)
            path.chmod(0o644)
    for source, owns in places.items():
        for place in owns:
            text = (tree / place).read_text(encoding="utf-8") if place.suffix == ".md" else ""
            for _, target in LINK.findall(text):
                path = target.partition("#")[0]
                if path and "://" not in target and not (tree / place.parent / path).exists():
                    raise SystemExit(f"documents.py: {place}: {target} leads nowhere")


if __name__ == "__main__":
    if len(sys.argv) != 2:
        raise SystemExit(__doc__)
    main(pathlib.Path(sys.argv[1]))

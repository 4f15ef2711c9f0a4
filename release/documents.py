#!/usr/bin/env python3
"""Copies what there is to read into an installed tree: documents.py TREE

A link to a file that is not installed becomes its text, with the place of the file in the sources. All other links are followed, and
one that leads nowhere is an error. Headers, examples in C and C++ and the integrations with ggml and llama.cpp are among what is
copied, as documents lead to them. The command of README.md is that of an installed program.
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
# Files by their places, and where they are installed: with the same names below.
COPIED = {
    "include/*.h*": "include",
    "examples/c/*.c": SHARE / "examples/c",
    "examples/cpp/*.cpp": SHARE / "examples/cpp",
    "examples/llama.cpp/*": SHARE / "examples/llama.cpp",
    "integrations/ggml/README.md": "share/phlora/ggml",
    "integrations/llama.cpp/README.md": "share/phlora/llama.cpp",
    "integrations/ggml/phlora_ggml*": "share/phlora/ggml",
    "integrations/llama.cpp/apply.py": "share/phlora/llama.cpp",
    "integrations/llama.cpp/example.c": "share/phlora/llama.cpp",
    "integrations/llama.cpp/*.change": "share/phlora/llama.cpp",
    "integrations/llama.cpp/phlora-llama.*": "share/phlora/llama.cpp",
}
# What README.md says of the sources, and what that is of an installed program.
INSTALLED = [
    ("cargo run --release -p phlora-cli -- ", "phlora "),
    ("tests/data/tiny-llama/base tests/data/tiny-llama/tuned", "base tuned"),
    ("target/adapter", "adapter"),
]
# Its section on installing, for those who have unpacked an archive or installed a package.
INSTALL = """## Install
An unpacked archive is complete: put its `bin` on the path (`export PATH=$PWD/bin:$PATH`). Manual pages are in `share/man`, which `man`
finds beside `bin`; completions are in `share/bash-completion/completions`, `share/zsh/vendor-completions` and
`share/fish/vendor_completions.d`. The Debian package has all of it in its usual places, the Python wheel the command and a module.
The C library in `lib` is static: `pkg-config` finds it with `PKG_CONFIG_PATH=$PWD/lib/pkgconfig`.

"""
SECTION = re.compile(r"## Install\n.*?(?=^## )", re.DOTALL | re.MULTILINE)


def layout():
    """Places in the sources, each with its places in the tree; the first is what links from elsewhere lead to."""
    places = {}
    for path in sorted((ROOT / "docs").rglob("*")):
        if path.suffix in (".md", ".svg"):
            places[path.relative_to(ROOT).as_posix()] = [SHARE / path.relative_to(ROOT / "docs").as_posix()]
    for name in ("ARCHITECTURE.md", "BENCHMARKS.md", "SECURITY.md"):
        places[name] = [SHARE / name]
    for pattern, folder in COPIED.items():
        found = sorted(ROOT.glob(pattern))
        if not found:
            raise SystemExit(f"documents.py: there is no {pattern}")
        for path in found:
            places[path.relative_to(ROOT).as_posix()] = [pathlib.PurePosixPath(folder) / path.name]
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
                for said, meant in INSTALLED if source == "README.md" else []:
                    if said not in text:
                        raise SystemExit(f"documents.py: README.md has no {said}")
                    text = text.replace(said, meant)
                if source == "README.md":
                    text, found = SECTION.subn(INSTALL, text)
                    if found != 1:
                        raise SystemExit("documents.py: README.md has no section on installing")
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

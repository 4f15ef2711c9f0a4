"""Puts adapters by sequence into a source tree of llama.cpp:

    apply.py TREE             llama.change, server.change where there is a server, and our own sources
    apply.py CHANGE TREE      one change alone

CHANGE is a text of blocks. `@ FILE` names a file of the tree; `> TEXT` goes on to the next line that holds TEXT, from
the beginning of the file for the first `>` behind an `@`; `+ LINE` inserts a line behind the one found, `= LINE` takes
its place (several make several lines). Nothing is written unless every line was found. What starts with # is a comment.
"""

import shutil
import sys
from pathlib import Path

HERE = Path(__file__).resolve().parent
# What programs include.
PUBLIC = ("phlora-llama.h", "phlora_ggml.h")


class Missing(Exception):
    pass


def applied(change, read):
    """{file: new text}; `read` gives a file's text."""
    files, at, name, replacing = {}, 0, None, False
    for number, line in enumerate(change.splitlines(), 1):
        kind, text = line[:1], line[2:]
        if kind == "@":
            name, at = text.strip(), -1
            files.setdefault(name, None)
            if files[name] is None:
                files[name] = read(name).splitlines()
        elif kind == ">":
            at, replacing = _found(files[name], at + 1, text, f"{number}: {name}"), False
        elif kind == "=" and not replacing:
            files[name][at], replacing = text, True
        elif kind in ("+", "="):
            at += 1
            files[name].insert(at, text)
        elif line.strip() and kind != "#":
            raise Missing(f"{number}: neither @, >, +, = nor #: {line}")
    return {name: "\n".join(lines) + "\n" for name, lines in files.items()}


def _found(lines, start, text, where):
    for at in range(start, len(lines)):
        if text in lines[at]:
            return at
    raise Missing(f"{where}: no line with {text!r} from line {start + 1} on; another release?")


def main():
    if len(sys.argv) not in (2, 3) or sys.argv[1].startswith("-"):
        sys.exit("usage: apply.py [CHANGE] TREE")
    tree, one = Path(sys.argv[-1]), sys.argv[1:-1]
    has_server = (tree / "tools/server").is_dir()
    changes = [Path(path) for path in one] or [HERE / name for name in ("llama.change", "server.change")[: 1 + has_server]]
    if not one and (tree / "src/phlora-llama.cpp").exists():
        sys.exit(f"apply.py: {tree} has the change already; start from a fresh copy")
    changed = {}
    change = None
    try:
        for change in changes:
            changed |= applied(change.read_text(), lambda name: (tree / name).read_text())
    except (Missing, OSError) as problem:
        sys.exit(f"apply.py: {change}:{problem}" if isinstance(problem, Missing) else f"apply.py: {problem}")
    for source in [] if one else [*HERE.glob("phlora-llama.*"), *(HERE.parent / "ggml").glob("phlora_ggml*.[ch]")]:
        shutil.copyfile(source, tree / ("include" if source.name in PUBLIC else "src") / source.name)
    for name, text in changed.items():
        (tree / name).write_text(text)
        print(name)


if __name__ == "__main__":
    main()

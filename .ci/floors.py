#!/usr/bin/env python3
"""Reads the `use` lines and the paths of a crate: which file imports from which, and how deep that goes.

    .ci/floors.py CRATE [MAX_FLOORS] [--files] [--edges]

A room is a module at the top of the crate. A room's floor is one above the highest that it imports from. Circles between
files, or more floors than MAX_FLOORS, fail. A name that a module re-exports counts as one of the file that defines it. Tests
do not count.
"""

import re
import sys
from pathlib import Path


def code(path):
    """The text without comments, strings, and test modules."""
    text = path.read_text()
    text = re.sub(r"//[^\n]*|pub\(in [^)]*\)", "", text)
    text = re.sub(r'"(\\.|[^"\\])*"', '""', text)
    at = text.find("#[cfg(test)]")
    while at >= 0:
        opened, depth = re.compile(r"[;{]").search(text, at), 1
        end = opened.end()
        while text[opened.start()] == "{" and depth:
            depth += {"{": 1, "}": -1}.get(text[end], 0)
            end += 1
        text = text[:at] + text[end:]
        at = text.find("#[cfg(test)]")
    return text


def modules(root):
    """{path of a module, as a tuple of names: its file}"""
    found = {(): root / "lib.rs"}
    for path in root.rglob("*.rs"):
        parts = path.relative_to(root).with_suffix("").parts
        if parts[0] in ("lib", "main", "bin"):
            continue
        found[parts[:-1] if parts[-1] == "mod" else parts] = path
    return found


def split(text):
    """The parts of a list at its commas, those within braces apart."""
    parts, depth, start = [], 0, 0
    for at, letter in enumerate(text):
        depth += {"{": 1, "}": -1}.get(letter, 0)
        if letter == "," and not depth:
            parts.append(text[start:at])
            start = at + 1
    return [part.strip() for part in parts + [text[start:]] if part.strip()]


def tree(text):
    """All paths of a `use` tree, as (names, name here)."""
    text = text.strip()
    if text.endswith("}"):
        head, inner = text[:-1].split("{", 1)
        head = [name for name in head.strip().split("::") if name]
        return [(head + names, alias) for part in split(inner) for names, alias in tree(part)]
    path, _, alias = text.partition(" as ")
    names = path.strip().split("::")
    return [(names, alias.strip() or names[-1])]


def body(text):
    """The text without `use` and `mod` lines."""
    return re.sub(r"^\s*(pub(?:\([^)]*\))?\s+)?(use\s+[^;]+|mod\s+\w+);", "", text, flags=re.M)


class Crate:
    def __init__(self, root):
        self.modules = modules(root)
        self.text = {module: code(path) for module, path in self.modules.items()}
        self.uses = {module: self._uses(text) for module, text in self.text.items()}

    @staticmethod
    def _uses(text):
        """[(public, names, name here)]"""
        lines = re.finditer(r"^\s*(pub(?:\([^)]*\))?\s+)?use\s+([^;]+);", text, re.M)
        return [(bool(line[1]), names, alias) for line in lines for names, alias in tree(line[2])]

    def absolute(self, module, names):
        """A path as seen from the top of the crate; None where it leaves it."""
        first, *rest = names
        if first == "crate":
            return tuple(rest)
        if first == "self":
            return module + tuple(rest)
        if first == "super":
            return self.absolute(module[:-1], ["self"] + rest)
        return module + tuple(names) if module + (first,) in self.modules else None

    def target(self, path, seen=frozenset()):
        """The module that defines what `path` names."""
        module = path
        while module not in self.modules:
            module = module[:-1]
        rest = path[len(module) :]
        if not rest or (module, rest[0]) in seen:
            return module
        if rest[0] == "*":
            return module
        for _, names, alias in self.uses[module]:
            if alias in ("self", rest[0]) and (alias != "self" or names[-2:-1] == [rest[0]]):
                there = self.absolute(module, names[:-1] if alias == "self" else names)
                if there is not None and there != path:
                    return self.target(there + rest[1:], seen | {(module, rest[0])})
        return module

    def edges(self):
        """{module: modules that it imports from}; what a module only re-exports is no import of its own."""
        found = {module: set() for module in self.modules}
        for module, text in self.text.items():
            paths = [names for public, names, alias in self.uses[module] if not public or self._names(module, alias)]
            paths += [path.split("::") for path in re.findall(r"(?<![:\w.])[a-z_]\w*(?:::\w+)+", body(text))]
            for names in paths:
                there = self.absolute(module, names)
                if there is None:
                    continue
                there = self.target(there)
                if there != module:
                    found[module].add(there)
        return found

    def _names(self, module, alias):
        return re.search(rf"\b{re.escape(alias)}\b", body(self.text[module])) is not None


def circles(edges):
    """Sets of nodes that reach each other (Tarjan)."""
    index, low, stack, found = {}, {}, [], []

    def visit(node):
        index[node] = low[node] = len(index)
        stack.append(node)
        for other in edges[node]:
            if other not in index:
                visit(other)
                low[node] = min(low[node], low[other])
            elif other in stack:
                low[node] = min(low[node], index[other])
        if low[node] == index[node]:
            circle = stack[stack.index(node) :]
            del stack[stack.index(node) :]
            if len(circle) > 1:
                found.append(sorted(circle))

    for node in edges:
        if node not in index:
            visit(node)
    return found


def floors(edges):
    """{node: one more than the highest that it imports from}; nodes of a circle as one."""
    group = {node: frozenset(circle) for circle in circles(edges) for node in circle}
    known = {}

    def floor(key):
        if key not in known:
            members = key if isinstance(key, frozenset) else {key}
            below = {group.get(other, other) for node in members for other in edges[node]} - {key}
            known[key] = 1 + max(map(floor, below), default=0)
        return known[key]

    return {node: floor(group.get(node, node)) for node in edges}


def main():
    words = [word for word in sys.argv[1:] if not word.startswith("--")]
    root = Path(words[0]) / "src"
    crate = Crate(root)
    edges = crate.edges()
    files = {node: others - {()} for node, others in edges.items() if node}
    rooms = {node[0]: set() for node in files}
    for node, others in files.items():
        rooms[node[0]] |= {other[0] for other in others} - {node[0]}
    name = "::".join
    problems = [f"circle of files: {', '.join(map(name, circle))}" for circle in circles(files)]
    problems += [f"circle of rooms: {', '.join(circle)}" for circle in circles(rooms)]
    by_floor = floors(rooms)
    if "--edges" in sys.argv:
        for node, others in sorted(files.items()):
            print(name(node), "->", ", ".join(sorted(map(name, others))))
    for room, floor in sorted(by_floor.items(), key=lambda item: (item[1], item[0])):
        print(f"{floor:3} {room}: {', '.join(sorted(rooms[room]))}")
    if len(words) > 1 and max(by_floor.values()) > int(words[1]):
        problems.append(f"{max(by_floor.values())} floors, expected at most {words[1]}")
    print("\n".join(problems) or "no circles", file=sys.stderr if problems else sys.stdout)
    return bool(problems)


sys.exit(main())

"""Names of weights with `*` for numbers, and the shortest rules that turn one set of names into another."""

import collections
import functools
import itertools


def star(name, kept=()):
    """The name with `*` for each component that is a number, but for those whose place among the numbers is kept."""
    parts, place = name.split("."), 0
    for index, part in enumerate(parts):
        if part.isdigit():
            parts[index] = part if place in kept else "*"
            place += 1
    return ".".join(parts)


def numbers(name, kept=()):
    """The numbers among the components of a name, but for those whose place is kept."""
    found = [part for part in name.split(".") if part.isdigit()]
    return [number for place, number in enumerate(found) if place not in kept]


def places_to_keep(count):
    """All sets of places among so many numbers, the smallest first, late places before early ones."""
    for size in range(count + 1):
        yield from itertools.combinations(reversed(range(count)), size)


def generalise(values):
    """{pattern: value} that says the same as {name: value}, with as few numbers as possible, in the same order."""
    groups = collections.defaultdict(list)
    for name in values:
        groups[star(name)].append(name)
    kept = {}
    for pattern, names in groups.items():
        for keep in places_to_keep(pattern.split(".").count("*")):
            found = collections.defaultdict(set)
            for name in names:
                found[star(name, keep)].add(values[name])
            if all(len(several) == 1 for several in found.values()):
                kept[pattern] = keep
                break
    return {star(name, kept[star(name)]): value for name, value in values.items()}


def paired(moves):
    """{pattern on disk: pattern in memory} of {name on disk: name in memory}; equal numbers in order become `*`."""
    groups, result = collections.defaultdict(list), {}
    for disk, place in moves.items():
        groups[star(disk)].append((disk, place))
    for pattern, names in groups.items():
        result.update(next(filter(None, (group_pairs(names, keep) for keep in places_to_keep(pattern.count("*"))))))
    return result


def group_pairs(names, keep):
    """The pairs of patterns if the names need no more numbers than those kept on disk, else None."""
    pairs = {}
    for disk, place in names:
        wanted = numbers(disk, keep)
        options = {star(place, other) for other in places_to_keep(len(numbers(place))) if numbers(place, other) == wanted}
        pattern = star(disk, keep)
        pairs[pattern] = pairs.get(pattern, options) & options
    if all(pairs.values()):
        return {disk: min(options, key=lambda option: (-option.count("*"), option)) for disk, options in pairs.items()}


class Node:
    """A component of names on disk: what follows it, and where the name that ends here belongs."""

    def __init__(self):
        self.children, self.place = {}, None


def tree(pairs):
    root = Node()
    for disk, place in sorted(pairs.items()):
        node = root
        for part in disk.split("."):
            node = node.children.setdefault(part, Node())
        node.place = tuple(place.split("."))
    return root


def shortest_moves(moves):
    """The fewest prefix rules [(on disk, in memory)] that move every name right; a longer rule outweighs a shorter."""

    @functools.cache
    def candidates(node):
        """Prefixes in memory that are right for some name under this node."""
        found = {node.place} if node.place else set()
        for part, child in node.children.items():
            found.update(prefix[:-1] for prefix in candidates(child) if len(prefix) > 1 and prefix[-1] == part)
        return found

    @functools.cache
    def kept(node, prefix):
        """The number of rules under this node if its names begin with this prefix."""
        own = 0 if node.place in (None, prefix) else float("inf")
        return own + sum(cost(child, prefix + (part,)) for part, child in node.children.items())

    @functools.cache
    def best(node):
        return min((kept(node, prefix), prefix) for prefix in candidates(node))

    @functools.cache
    def cost(node, prefix):
        return min(kept(node, prefix), 1 + best(node)[0]) if candidates(node) else kept(node, prefix)

    def collect(node, path, prefix):
        if path and candidates(node) and kept(node, prefix) > 0 and 1 + best(node)[0] <= kept(node, prefix):
            prefix = best(node)[1]
            yield ".".join(path), ".".join(prefix)
        for part, child in node.children.items():
            yield from collect(child, path + (part,), prefix + (part,))

    return list(collect(tree(paired(moves)), (), ()))


def match(pattern, parts):
    """The numbers at the `*` of a pattern that the first components of a name match, else None."""
    if len(pattern) > len(parts):
        return None
    found = []
    for wanted, part in zip(pattern, parts):
        if wanted == "*" and part.isdigit():
            found.append(part)
        elif wanted != part:
            return None
    return found


def fill(pattern, found):
    """The pattern with the numbers at its `*`, in order."""
    found = iter(found)
    return ".".join(next(found) if part == "*" else part for part in pattern.split("."))


def apply(lines, disk):
    """The names in memory of a name on disk: by the longest beginning, of equals the one with more numbers in it."""
    parts, best, places = disk.split("."), (0, 0), {disk}
    for line in lines:
        word, _, rest = line.partition(" ")
        sources, _, targets = rest.partition(" : ")[0].replace("~", "").partition(" > ")
        for source in sources.split():
            pattern = source.split(".")
            found = match(pattern, parts)
            if found is None or (word != "move" and len(pattern) != len(parts)):
                continue
            if word != "move":
                return {fill(target, found) for target in targets.split()}
            rank = len(pattern), -len(found)
            if rank >= best:
                moved = fill(targets, found) + "".join("." + part for part in parts[len(pattern):])
                places = {moved} | (places if rank == best else set())
                best = rank
    return places

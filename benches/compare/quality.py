"""The tables of nll against bytes, and the drawing of them, from the parts `quality` and `rate_distortion` of pair.json, and from
budgets.json."""

import math

from tables import percent, table

PEFT = {"uniform": "one rank for all, f16", "by energy": "`--budget --by energy`, f16", "budget": "`--budget`, f16"}
COMPACT = {"compact": "`--budget --format phlora`"}
GGUF = {"uniform": "one rank for all, f16", "budget f16": "`--budget --dtype f16`", "budget": "`--budget`, the format that is chosen"}
PAIRS = {
    "llama": "Llama, real", "llama-swapped": "Llama, swapped", "text-languages": "languages", "text-libraries": "libraries",
    "image": "image", "video": "video", "audio": "audio",
}

# Name in the drawing, part, rule, colour, dashes.
CURVES = [
    ("budget by energy, f16", "real", "by energy", "#b8860b", "2 4"),
    ("one rank for all, f16", "real", "uniform", "#888888", "7 4"),
    ("budget, f16", "real", "budget", "#2f6fb2", ""),
    ("budget, compact form", "real", "compact", "#b03a4a", ""),
]
WIDTH, HEIGHT, LEFT, RIGHT, TOP, BOTTOM = 720, 400, 60, 20, 16, 48


def kilobytes(size):
    return f"{size / 1000:.0f} kB"


def cell(row):
    return f"{row['nll']:.4f}, {percent(row['energy'])}"


def header(quality, title):
    sizes = [row["bytes"] for row in quality["real"]["uniform"]]
    return [title] + [f"{kilobytes(size)} (rank {rank})" for rank, size in zip(quality["ranks"], sizes)]


def rows_of(found, names):
    return [[text, *map(cell, found[rule])] for rule, text in names.items()]


def chosen(row):
    """The format as well, where it is not f16."""
    return cell(row) + ("" if row["dtype"] == "f16" else f" ({row['dtype']})")


def at_equal_bytes(pair):
    """What the README shows."""
    quality = pair["quality"]
    rows = rows_of(quality["real"], PEFT)
    rows += [[f"GGUF: {text}", *map(chosen, quality["real llama.cpp"][rule])] for rule, text in GGUF.items()]
    ends = " and ".join(f"{row['nll']:.4f} of the {name} model" for name in ("base", "tuned") for row in pair["models"] if row["model"] == name)
    return f"Without an adapter: {ends}.\n\n" + table(header(quality, "nll, energy"), rows + rows_of(quality["real"], COMPACT))


def swapped(pair):
    quality = pair["quality"]
    sizes = [f"{kilobytes(row['bytes'])} (rank {rank})" for rank, row in zip(quality["ranks"], quality["swapped"]["uniform"])]
    return table(["nll, energy", *sizes], rows_of(quality["swapped"], PEFT | COMPACT))


def in_llama_cpp(pair):
    quality = pair["quality"]
    found = {name: quality[f"{name} llama.cpp"] for name in ("real", "swapped")}
    sizes = [f"{kilobytes(row['bytes'])} (rank {rank})" for rank, row in zip(quality["ranks"], found["real"]["uniform"])]
    rows = [[f"{name}: {text}", *map(chosen, found[name][rule])] for name in found for rule, text in GGUF.items()]
    return table(["nll, energy", *sizes], rows)


def by_format(pair):
    rows = [[row["dtype"], kilobytes(row["bytes"]), f"{row['energy']:.4f}", f"{row['nll']:.4f}"] for row in pair["quality"]["rank 32"]]
    return table(["", "bytes", "energy", "nll"], rows)


def less(row, what, digits):
    return f"{row[what]:+.{digits}f} ± {row[what + '_error']:.{digits}f}" if what in row else "–"


def budgets(found):
    """A budget less one rank for all, on all pairs."""
    rows = []
    for name, text in PAIRS.items():
        for row in found[name]["rows"] if name in found else []:
            cells = [less(row[rule], "nll", 4) for rule in ("budget", "by energy")]
            right = f"{row['accuracy']:.3f}" if "accuracy" in row else "–"
            rows.append([text, str(row["rank"]), f"{row['nll']:.4f}", *cells, right, less(row["budget"], "accuracy", 3)])
    header = ["pair", "bytes of rank", "nll, one rank for all", "`--budget`", "`--budget --by energy`"]
    return table([*header, "accuracy, one rank for all", "`--budget`"], rows)


def rate_distortion(pair):
    rows = [
        [f"`--by {row['by']}`", f"{row['bytes']:,}", f"{row['kept']:.3f}", f"{row['bound']:.3f}", f"{row['needed']:,}",
         percent(row["efficiency"], 1), percent(row["needed"] / (row["bytes"] - row["header"]), 1)]
        for row in pair["rate_distortion"]
    ]
    return table(["chosen", "bytes", "kept", "at most", "bytes needed", "efficiency", "without the header"], rows)


def blocks(pair, shared):
    """{name: a function that renders it}; `shared`: what budgets.json holds."""
    return {
        "nll of the swapped pair": lambda: swapped(pair),
        "nll in llama.cpp": lambda: in_llama_cpp(pair),
        "rank 32 by format": lambda: by_format(pair),
        "budgets": lambda: budgets(shared),
        "nll of the real pair": lambda: at_equal_bytes(pair),
        "rate distortion": lambda: rate_distortion(pair),
    }


def drawing(pair):
    """nll against bytes of the file, as SVG; bytes on a logarithmic axis."""
    quality = pair["quality"]
    curves = [(name, [(row["bytes"], row["nll"]) for row in quality[of][rule]], *look) for name, of, rule, *look in CURVES]
    points = [point for _, points, *_ in curves for point in points]
    low, high = math.log(min(size for size, _ in points)) - 0.1, math.log(max(size for size, _ in points)) + 0.1
    least, most = math.floor(10 * min(nll for _, nll in points)) / 10, math.ceil(10 * max(nll for _, nll in points)) / 10
    across = lambda size: LEFT + (math.log(size) - low) / (high - low) * (WIDTH - LEFT - RIGHT)
    down = lambda nll: TOP + (most - nll) / (most - least) * (HEIGHT - TOP - BOTTOM)
    text = lambda x, y, words, more="": f'<text x="{x:.1f}" y="{y:.1f}" {more}>{words}</text>'
    parts = [
        f'<svg xmlns="http://www.w3.org/2000/svg" viewBox="0 0 {WIDTH} {HEIGHT}" font-family="sans-serif" font-size="12" '
        'fill="#777777">',
        "<title>nats per token against bytes of the adapter</title>",
    ]
    for step in range(round(10 * least), round(10 * most) + 1):
        y = down(step / 10)
        parts.append(f'<path d="M{LEFT} {y:.1f}H{WIDTH - RIGHT}" stroke="#777777" stroke-opacity="0.25"/>')
        parts.append(text(LEFT - 8, y + 4, f"{step / 10:.1f}", 'text-anchor="end"'))
    for row in quality["real"]["uniform"]:
        parts.append(text(across(row["bytes"]), HEIGHT - BOTTOM + 18, kilobytes(row["bytes"]), 'text-anchor="middle"'))
    parts.append(text((LEFT + WIDTH - RIGHT) / 2, HEIGHT - 8, "bytes of the adapter", 'text-anchor="middle"'))
    parts.append(text(14, TOP + 90, "nats per token", f'transform="rotate(-90 14 {TOP + 90})" text-anchor="middle"'))
    for at, (name, points, colour, dashes) in enumerate(curves):
        line = "L".join(f"{across(size):.1f} {down(nll):.1f}" for size, nll in points)
        look = f'stroke="{colour}" stroke-width="2" fill="none"' + (f' stroke-dasharray="{dashes}"' if dashes else "")
        parts.append(f'<path d="M{line}" {look}/>')
        parts += [f'<circle cx="{across(size):.1f}" cy="{down(nll):.1f}" r="3" fill="{colour}"/>' for size, nll in points]
        y = TOP + 16 + 18 * at
        parts.append(f'<path d="M{WIDTH - 210} {y - 4}h28" {look}/>')
        parts.append(text(WIDTH - 174, y, name))
    return "\n".join([*parts, "</svg>"]) + "\n"

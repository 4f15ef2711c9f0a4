"""The tables of many adapters in one batch of llama.cpp, from what integrations/llama.cpp/bench.py writes."""

from tables import table

MODES = ("none", "routed", "stacked", "switching")


def cells(row):
    """What a row of a table says of a measured row, behind its rank, threads and tokens."""
    cpu, wall = row["cpu"], row.get("wall", {})
    added, saved = cpu["routed"] / cpu["none"] - 1, cpu["switching"] / cpu["routed"]
    figures = [f"{cpu[mode]:.1f}" for mode in MODES]
    return [str(row["adapters"]), *figures, f"{100 * added:.1f} %", f"{saved:.2f}", f"{wall['switching'] / wall['routed']:.2f}" if wall else "–"]


HEADER = ["adapters", *MODES, "routed adds", "switching / routed", "the same in wall time"]


def every(result):
    rows = [[str(row["rank"] or "mixed"), str(row["threads"]), str(row["tokens"]), *cells(row)] for row in result["rows"]]
    return table(["rank", "threads", "tokens", *HEADER], rows)


def rank_16(result):
    rows = [[str(row["tokens"]), *cells(row)] for row in result["rows"] if row["rank"] == 16 and row["threads"] == 1]
    return table(["tokens of a sequence", *HEADER], rows)


def conditions(result):
    machine = result["machine"]
    load = f"; load average at the start {result['load']:.1f}" if "load" in result else ""
    return f"{machine['processor']}, {machine['cores']} virtual cores, {result['measured']}, medians of {result['rounds']} rounds{load}."


def blocks(result):
    return {
        "many adapters": lambda: every(result),
        "many adapters, rank 16": lambda: rank_16(result),
        "many adapters, conditions": lambda: conditions(result),
    }

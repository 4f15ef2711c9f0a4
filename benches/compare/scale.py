"""Tables of what lies past one disk and one fine-tune, from benches/results/scale.json."""

import statistics

import tables


def median(values):
    return statistics.median(values)


def server(found):
    runs = found["server"]["runs"]
    of = lambda key: median([run[key] for run in runs])  # noqa: E731
    rows = [
        ["download of both models", f"{of('download'):.2f} s"],
        ["extraction", f"{of('extract'):.2f} s, × {of('extract') / of('download'):.2f}"],
        ["processor time of the extraction", f"{of('cpu'):.2f} s"],
        ["fetched, over the bytes of both models", f"{of('fetched'):.3f}"],
        ["most memory", f"{of('memory') / 1e6:.0f} MB"],
        ["most of the spool", f"{of('spool') / 1e6:.0f} MB"],
    ]
    return tables.table([found["server"]["pair"], ""], rows)


def several(found):
    rows = []
    for cache in ("warm", "cold"):
        one, each = (median(found["several"][cache][way]) for way in ("one", "each"))
        rows.append([f"page cache {cache}", f"{one:.2f} s", f"{each:.2f} s", f"× {one / each:.2f}"])
    return tables.table([found["several"]["pair"], "one command", "one for each", "ratio"], rows)


def large(found):
    large = found["large"]
    read, extract = median(large["read"]), median(large["extract"])
    rows = [
        ["all files read, eight at a time", f"{read:.1f} s"],
        ["extraction", f"{extract:.1f} s, × {extract / read:.1f}"],
        ["processor time of the extraction", f"{median(large['cpu']):.0f} s on two cores"],
        ["most resident memory", f"{max(large['peak']) / 2**30:.2f} GiB"],
    ]
    return tables.table([large["pair"], ""], rows)


def blocks(found):
    return {
        "from a server": lambda: server(found),
        "several fine-tunes": lambda: several(found),
        "a large pair": lambda: large(found),
    }

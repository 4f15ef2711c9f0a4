"""The tables of figures: one column per machine, or one table of the first machine where methods are the columns."""

import math

METHODS = {
    "phlora": "phlora", "svd_lowrank_2": "`svd_lowrank`, niter 2", "svd_lowrank_7": "`svd_lowrank`, niter 7",
    "svds": "SciPy `svds`", "linalg_svd": "`torch.linalg.svd`", "faer": "faer `thin_svd`",
}


def table(header, rows):
    lines = ["| " + " | ".join(header) + " |", "|" + "---|" * len(header)]
    return "\n".join(lines + ["| " + " | ".join(row) + " |" for row in rows])


def between(value, text):
    """A figure, or the two ends of several runs."""
    ends = value if isinstance(value, list) else [value]
    return " to ".join(dict.fromkeys(text(end) for end in ends))


def percent(value, digits=0):
    return between(value, lambda share: f"{100 * share:.{digits}f} %") if value is not None else "–"


def times(value):
    return between(value, lambda ratio: f"{ratio:.3g}")


def ms(value):
    return between(value, lambda one: f"{one:.0f}" if one >= 9.5 else f"{one:.2g}")


def per_machine(machines, part, keys, cell, first):
    """Rows that `keys` name, a column per machine that has the part."""
    having = [machine for machine in machines if part in machine]
    rows = {}
    for at, machine in enumerate(having):
        for record in machine[part]:
            rows.setdefault(tuple(record[key] for key in keys), ["–"] * len(having))[at] = cell(record)
    header = list(first) + [machine["machine"]["name"] for machine in having]
    return table(header, [[*map(str, names), *cells] for names, cells in rows.items()])


def machine_list(machines):
    facts = lambda m: (m["machine"]["name"], m["machine"]["processor"], m["machine"]["cores"],
                       m["machine"].get("caches", "–"), m["machine"].get("memory", "–"),
                       ", ".join(f"{name} {version}" for name, version in m["versions"].items()))
    return table(["machine", "processor", "cores", "caches", "memory", "versions"], map(facts, machines))


def product(machines):
    having = [machine for machine in machines if "product" in machine]
    header = ["format (base and tuned)", "kernel"]
    for machine in having:
        name, limit = machine["machine"]["name"], machine["product"]["sgemm_gflops"]
        header += [f"{name}, width 8", f"{name}, width 16 (sgemm: {limit:.0f})"]
    rows = {}
    for at, machine in enumerate(having):
        limit = machine["product"]["sgemm_gflops"]
        for row in machine["product"]["rows"]:
            cells = rows.setdefault((row["dtype"], row["kernel"]), ["–"] * 2 * len(having))
            for width in (0, 1):
                rate = row[("width_8", "width_16")[width]]
                cells[2 * at + width] = f"{rate:.0f}, {rate / limit:.0%}"
    return table(header, [[*names, *cells] for names, cells in rows.items()])


def jacobi(machines):
    cell = lambda row: f"{row['phlora_ms']:.2f} ms; `sgesvj` × {row['sgesvj_ms'] / row['phlora_ms']:.2f}"
    return per_machine(machines, "jacobi", ["size"], cell, ["size"])


def gram(machines):
    def cell(row):
        ratio = lambda name: f"{row[name] / row['phlora_ms']:.1f}"
        some = f"`ssyevr`, as many vectors × {ratio('ssyevr_some_ms')}"
        return f"{row['phlora_ms']:.2f} ms; `ssyevd` × {ratio('ssyevd_ms')}, `ssyevr` × {ratio('ssyevr_ms')}, {some}"

    return per_machine(machines, "gram", ["size", "vectors"], cell, ["size", "vectors"])


def method(record, name):
    found = record["methods"].get(name)
    if found is None:
        return "–"
    words = [f"{ms(found['ms'])} ms"]
    words += [f"{found['energy']:.4f}"] if "energy" in found else []
    return ", ".join(words + ([f"× {times(found['times'])}"] if "times" in found else []))


def matrices(machines, square):
    """Methods are the columns here, so each machine has a table."""
    parts = []
    for machine in machines:
        records = [one for one in machine.get("matrices", []) if square == (one["rows"] == one["cols"] and one["spectrum"] == "middle")]
        names = [name for name in METHODS if any(name in one["methods"] for one in records)]
        rows = [
            [f"{one['rows']} × {one['cols']}, rank {one['rank']}" + ("" if square else f", {one['spectrum']}")]
            + [method(one, name) for name in names]
            for one in records
        ]
        if rows:
            parts.append(table([machine["machine"]["name"], *(METHODS[name] for name in names)], rows))
    return "\n\n".join(parts)


def models(machines):
    cell = lambda row: f"{row['seconds']:.3g} s, {1e9 * row['seconds'] / row['parameters']:.1f} ns per weight"
    machines = [
        {**machine, "models": [{**row, "size": f"{row['parameters'] / 1e6:.0f} M"} for row in machine["models"]]}
        for machine in machines if "models" in machine
    ]
    return per_machine(machines, "models", ["size", "rank"], cell, ["weights extracted", "rank"])


def token(machines):
    cell = lambda row: "; ".join(percent(row.get(level)) for level in ("second_level", "third_level", "memory"))
    return per_machine(machines, "token", ["dtype", "rank"], cell, ["factors", "rank"])


def together(machines):
    cell = lambda row: f"{row['microseconds']:.0f} µs, × {times(row['times_faster'])}"
    return per_machine(machines, "together", ["tokens", "dtype", "rank"], cell, ["tokens", "factors", "rank"])


def route(machines):
    return per_machine(machines, "route", ["layers"], lambda row: f"× {times(row['times_faster'])}", ["layers"])


def merge(machines):
    cell = lambda row: f"{percent(row['in_place'])}; {percent(row.get('elsewhere'))}"
    return per_machine(machines, "merge", ["dtype"], cell, ["weights"])


def merged_models(machines):
    def cell(row):
        copy, ours = (value if isinstance(value, list) else [value] for value in (row["copy_ms"], row["merge_ms"]))
        shares = sorted({copy[0] / ours[0], copy[-1] / ours[-1]})
        return f"{ms(row['merge_ms'])} ms; copy {ms(row['copy_ms'])} ms, {percent(shares)}"

    return per_machine(machines, "merged_models", ["base"], cell, ["base"])


def llama_cpp(machines):
    cell = lambda row: f"{percent(row['own'])}; {percent(row['operator'])}"
    machines = [{**one, "adapters": one["llama_cpp"]["adapters"]} for one in machines if "llama_cpp" in one]
    return per_machine(machines, "adapters", ["adapters"], cell, ["adapters"])


def budget(machines):
    rows = [
        [row["model"], str(row["rank"])] + [f"{row[name]:.3f}" for name in ("f16", "q8_0")]
        + [f"{row['budget']:.3f} in {row['budget_dtype'].lower()}"]
        for row in machines[0]["budget"] if row["model"] != "real pair"
    ]
    return table(["model", "bytes of rank", "uniform f16", "uniform q8_0", "`--budget --by energy`"], rows)


def spectra(machines):
    krylov = lambda one: f"{one['energy']:.4f} in {one['reads']} reads"
    rows = [
        [row["spectrum"], f"{row['rows']} × {row['cols']}", krylov(row["width_8"]), krylov(row["width_16"])]
        + [f"{row[name]['energy']:.4f}" for name in ("stream_1", "stream_2")]
        for row in machines[0]["spectra"]
    ]
    return table(["spectrum", "shape", "width 8", "width 16", "stream once, 1 read", "2 reads"], rows)


def kept(pair):
    """What the merged adapters of the real pair reach."""
    size = lambda row: f"{row['bytes'] / 1e6:.2f} MB" if "bytes" in row else "–"
    energy = lambda row: percent(row["energy"], 1) if "energy" in row else "–"
    rows = [
        [row["model"], size(row), energy(row), f"{row['nll']:.4f}", f"{math.exp(row['nll']):.2f}"]
        for row in pair["models"]
    ]
    return table(["model", "adapter", "of ‖Δ‖² kept", "nats per token", "perplexity"], rows)


def also(pair):
    cell = lambda nll, size: f"{nll:.4f} ({size / 1e6:.2f} MB)"
    rows = [
        [str(row["rank"]), cell(row["nll"], row["bytes"]), cell(row["also_nll"], row["also_bytes"])] for row in pair["also"]
    ]
    return table(["rank", "factors alone", "with `--also norms,tokens`"], rows)


def deployed(pair):
    rows = [[str(row["rank"]), f"{row['nll']:.4f}", f"{row['repairing_nll']:.4f}"] for row in pair["deployed_q4_0"]]
    return table(["rank", "Q4_0 base + adapter", "Q4_0 base + adapter from `--deployed-base`"], rows)


def costs(machines):
    """What the README repeats: the first machine's figures."""
    one = machines[0]
    matrix = next(m for m in one["matrices"] if (m["rows"], m["cols"], m["rank"], m["spectrum"]) == (4096, 4096, 32, "middle"))
    model = max((m for m in one["models"] if m["rank"] == 32), key=lambda m: m["parameters"])
    bf16 = next(m for m in one["merged_models"] if m["base"].startswith("bf16"))
    peer = lambda name: times(matrix["methods"][name]["times"])
    rows = [
        ["one weight, 4096 × 4096 in bf16, rank 32", f"{ms(matrix['methods']['phlora']['ms'])} ms",
         f"`torch.svd_lowrank` at the same energy × {peer('svd_lowrank_7')}, SciPy `svds` × {peer('svds')}, "
         f"`torch.linalg.svd` × {peer('linalg_svd')}"],
        [f"a model, {model['parameters'] / 1e6:.0f} M weights in bf16, rank 32", f"{model['seconds']:.3g} s", ""],
        ["merging rank 16 into 369 M weights in bf16", f"{ms(bf16['merge_ms'])} ms",
         f"`cp` and `sync` of the base × {times(bf16['copy_ms'] / bf16['merge_ms'])}"],
    ]
    return table(["two cores, no GPU", "time", "others take"], rows)


def blocks(machines, pair):
    """{name: a function that renders it}"""
    render = {
        "machines": machine_list, "product": product, "jacobi": jacobi, "gram": gram, "models": models, "token": token,
        "together": together, "route": route, "merge": merge, "merged models": merged_models, "llama.cpp": llama_cpp,
        "spectra": spectra, "costs": costs,
        "square matrices": lambda all: matrices(all, True), "other matrices": lambda all: matrices(all, False),
        "budget": budget,
    }
    found = {name: lambda function=function: function(machines) for name, function in render.items()}
    of_the_pair = {
        "kept by rank": lambda: kept(pair),
        "also": lambda: also(pair), "deployed base": lambda: deployed(pair),
    }
    return {**found, **of_the_pair}

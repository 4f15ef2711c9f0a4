"""The table in Markdown."""

COLUMNS = ["model", "metric merged", "of the gain", "metric routed", "energy: modules", "energy: whole", "bytes"]
COLUMNS += ["of the model", "load: adapter", "load: merged", "ratio"]
HEAD = "| " + " | ".join(COLUMNS) + " |"


def cell(value, form):
    return "–" if value is None else form.format(value)


def size(count):
    return f"{count / 1e6:.2f} MB" if count >= 1e6 else f"{count / 1e3:.0f} kB"


def row(facts, row):
    adapter_load, merged_load = row.get("adapter_load"), row.get("merged_load")
    ratio = merged_load / adapter_load if adapter_load and merged_load else None
    cells = [
        row["variant"],
        cell(row.get("merged"), "{:.4f}"),
        cell(row["merged_recovered"], "{:.1%}"),
        cell(row.get("routed"), "{:.4f}"),
        cell(row["energy"], "{:.3f}"),
        cell(row["whole_energy"], "{:.3f}"),
        size(row["adapter_bytes"]),
        f"{row['adapter_bytes'] / facts['tuned_bytes']:.1%}",
        cell(adapter_load and adapter_load * 1e3, "{:.0f} ms"),
        cell(merged_load and merged_load * 1e3, "{:.0f} ms"),
        cell(ratio, "{:.1f}"),
    ]
    return "| " + " | ".join(cells) + " |"


def markdown(facts):
    direction = "higher" if facts["higher_is_better"] else "lower"
    lines = [f"### {facts['pair']}", f"{facts['what']}. Metric: {facts['metric']}, {direction} is better.", "", HEAD]
    lines.append("|---" * (HEAD.count("|") - 1) + "|")
    lines.append(f"| base | {facts['base']:.4f} | 0.0% |" + " |" * 9)
    lines += [row(facts, each) for each in facts["rows"]]
    lines.append(f"| tuned | {facts['tuned']:.4f} | 100.0% | | | | {size(facts['tuned_bytes'])} | 100.0% |" + " |" * 3)
    remarks = {}
    for each in facts["rows"]:
        for remark in each["remarks"]:
            remarks.setdefault(remark, {})[each["variant"]] = None
    if remarks:
        lines += ["", "What the libraries said:", ""]
        for remark, variants in remarks.items():
            where = "every adapter" if len(variants) == len(facts["rows"]) else "; ".join(variants)
            lines.append(f"- {remark} ({where})")
    return "\n".join(lines) + "\n"


def latency(figures):
    lines = [
        "### Loading at a larger size",
        f"A Llama of {figures['parameters'] / 1e6:.0f} M random weights in bf16, an adapter of rank {figures['rank']}; medians "
        "with the page cache cold and warm. Loaded: PEFT takes the adapter into a model that is in memory, transformers makes "
        "the merged model. Read: the tensors of the file alone.",
        "",
        "| | bytes | loaded, cold | loaded, warm | read, cold | read, warm |",
        "|---|---|---|---|---|---|",
    ]
    times = {
        name: [figures[f"{name}_{what}"][cache] for what in ["load", "read"] for cache in ["cold", "warm"]]
        for name in ["adapter", "merged"]
    }
    for name, values in times.items():
        cells = " | ".join(f"{value * 1e3:.0f} ms" for value in values)
        lines.append(f"| {name} | {size(figures[name + '_bytes'])} | {cells} |")
    ratios = " | ".join(f"{merged / adapter:.1f}" for adapter, merged in zip(times["adapter"], times["merged"]))
    lines.append(f"| ratio | {figures['merged_bytes'] / figures['adapter_bytes']:.0f} | {ratios} |")
    return "\n".join(lines) + "\n"

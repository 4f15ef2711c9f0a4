"""Results as lines and as a Markdown table."""

import collections
import importlib.metadata

VERDICTS = "pass", "partial-honest", "dishonest", "error", "refused", "judge", "unbuildable"


def share(value):
    return "" if value is None else f"{100 * value:.2f} %" if value < 10 else f"{value:.0e}"


def outputs(result):
    found = [v for v in (result.get("unmerged"), result.get("merged")) if v is not None]
    return share(max(found)) if found else "weights only" if "weights_only" in result else ""


def remark(result):
    parts = list(result.get("remarks", []))
    if result["verdict"] in ("partial-honest", "dishonest"):
        parts.append(result.get("left_out", ""))
    if result["verdict"] == "dishonest" and result.get("lost"):
        parts.append("lost most: " + ", ".join(list(result["lost"])[:2]))
    return "; ".join(p for p in parts if p)


def line(result):
    figures = f"missing {share(result.get('missing')) or '-'} reported {share(result.get('reported')) or '-'} outputs {outputs(result) or '-'}"
    return f"{result['type']} {result['variant']}: {result['verdict']} {figures} {result.get('seconds', '')} s {remark(result)[:150]}"


def totals(results):
    counts = collections.Counter(r["verdict"] for r in results)
    return ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])


def versions(results):
    found = [f"{name} {importlib.metadata.version(name)}" for name in ("transformers", "peft", "torch")]
    return ", ".join(found)


def markdown(results):
    head = "| architecture | variant | class | verdict | missing | reported | outputs | remark |\n|---|---|---|---|---|---|---|---|"
    rows = []
    for r in sorted(results, key=lambda r: (VERDICTS.index(r["verdict"]), r["type"], r["variant"])):
        cells = [r["type"], r["variant"], r.get("class", ""), r["verdict"], share(r.get("missing")), share(r.get("reported")), outputs(r)]
        rows.append("| " + " | ".join([*cells, remark(r)[:300].replace("|", "\\|")]) + " |")
    return f"# The zoo\n\n{totals(results)}\n\n{versions(results)}\n\n{head}\n" + "\n".join(rows) + "\n"

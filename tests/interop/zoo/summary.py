"""Results as lines and as a Markdown table."""

import collections
import importlib.metadata

import command

VERDICTS = "pass", "partial-honest", "dishonest", "error", "refused", "unread", "peft", "judge", "unbuildable"
MEANING = """\
`pass`: all of the difference arrives. `partial-honest`: something is lost, and phlora's figure for it is within a percentage
point of the truth. `dishonest`: it is not, or PEFT warns about keys. `error`: the adapter does not load or run. `refused`:
phlora wrote none. `unread`: what loads adapters knows no name of this format in this class. `peft`: PEFT cannot adapt any layer
of the class. `unbuildable`: no small model here. Where layers that PEFT takes whole alone are lost by default, the verdict is
that with `--also layers`.

Missing: Σ‖tuned − merged‖² / Σ‖tuned − base‖² over all parameters in memory; reported: the same as phlora has it; outputs: what
is left of the difference of the outputs, the worst of merged and unmerged."""


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
    return f"{len(results)}: " + ", ".join(f"{counts[v]} {v}" for v in VERDICTS if counts[v])


def versions(*packages):
    found = [f"{name} {importlib.metadata.version(name)}" for name in (*packages, "peft", "torch")]
    return ", ".join([*found, command.run("--version").stdout.strip()])


def markdown(results, title="The zoo", packages=("transformers",), other="diffusers: [zoo-diffusers.md](zoo-diffusers.md)"):
    """The table, its totals first, what is wrong before what passes; `other` is where the other table is."""
    head = "| architecture | variant | class | verdict | missing | reported | outputs | remark |\n|---|---|---|---|---|---|---|---|"
    order = [v for v in VERDICTS if v not in ("pass", "unbuildable")] + ["pass", "unbuildable"]
    rows = []
    for r in sorted(results, key=lambda r: (order.index(r["verdict"]), r["type"], r["variant"])):
        cells = [r["type"], r["variant"], r.get("class", ""), r["verdict"], share(r.get("missing")), share(r.get("reported")), outputs(r)]
        rows.append("| " + " | ".join([*cells, remark(r)[:300].replace("|", "\\|")]) + " |")
    return f"# {title}\n\n{totals(results)}\n\n{versions(*packages)}. The zoo of {other}.\n\n{MEANING}\n\n{head}\n" + "\n".join(rows) + "\n"

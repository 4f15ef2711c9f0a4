"""What phlora says is lost, from its report."""

WHOLE = "layer that PEFT takes whole"


def reported(report):
    """Share of the whole difference that is not in the adapter, and how many norms are unknown."""
    left = report.get("left_out", [])
    unknown = sum(entry["delta_norm"] is None for entry in left)
    if report["total"].get("whole_energy") is not None:
        return 1 - report["total"]["whole_energy"], unknown
    full = sum((f["delta_norm"] or 0.0) ** 2 for f in report.get("full", []))
    whole = sum(m["delta_norm"] ** 2 for m in report["modules"]) + full
    kept = sum(m["energy"] * m["delta_norm"] ** 2 for m in report["modules"]) + full
    whole += sum(entry["delta_norm"] ** 2 for entry in left if entry["delta_norm"] is not None)
    return (1 - kept / whole if whole else 0.0), unknown


def reasons(report):
    """What is left out, by reason, the largest first: `output head 12 %`."""
    sums, whole = {}, sum(m["delta_norm"] ** 2 for m in report["modules"])
    for entry in report.get("left_out", []):
        key = entry["reason"].removeprefix("not adapted by PEFT: ").split(":")[0]
        square = (entry["delta_norm"] or 0.0) ** 2
        whole += square
        if square or entry["delta_norm"] is None:
            total, unknown = sums.get(key, (0.0, 0))
            sums[key] = total + square, unknown + (entry["delta_norm"] is None)
    texts = []
    for key, (square, unknown) in sorted(sums.items(), key=lambda item: -item[1][0]):
        texts.append(f"{key} {100 * square / max(whole, 1e-30):.1f} %" + (f" and {unknown} unknown" if unknown else ""))
    return "left out: " + ", ".join(texts) if texts else ""

"""What a pair's adapters are worth: metric re-merged and routed, energy, bytes, seconds to load."""

import logging
import math
import statistics
import tempfile
import time
import warnings
from contextlib import contextmanager
from pathlib import Path

import adapters
from peft import PeftModel

LOADS = 5
# What these versions of PEFT and transformers say to each other on every load.
PEERS_OWN = r"`is_gradient_checkpointing` is deprecated"


@contextmanager
def said(remarks, where):
    """Collects what the libraries warn of."""

    class Collector(logging.Handler):
        def emit(self, record):
            remarks.append(f"{where}: {record.getMessage().splitlines()[0]}")

    collector = Collector(logging.WARNING)
    loggers = [logging.root, logging.getLogger("transformers"), logging.getLogger("peft")]
    for logger in loggers:
        logger.addHandler(collector)
    with warnings.catch_warnings(record=True) as caught:
        warnings.simplefilter("always")
        warnings.filterwarnings("ignore", PEERS_OWN, FutureWarning)
        yield
    for logger in loggers:
        logger.removeHandler(collector)
    remarks += [f"{where}: {str(warning.message).splitlines()[0]}" for warning in caught]


def seconds(action):
    start = time.perf_counter()
    action()
    return time.perf_counter() - start


def load_seconds(model, adapter):
    """Median time in which a server that holds the base takes in one more adapter from disk, files in the page cache."""

    def once(index):
        taken = seconds(lambda: model.load_adapter(adapter.path, f"again{index}"))
        model.delete_adapter(f"again{index}")
        return taken

    return statistics.median(once(index) for index in range(LOADS))


def judged(pair, variant, folder):
    """A row of the table. What goes wrong is part of it, under `remarks`."""
    remarks: list[str] = []
    out = folder / variant.replace(" ", "-").replace(",", "")
    adapter = adapters.extract(pair, variant, out)
    row = {"variant": variant, "energy": adapter.energy, "whole_energy": adapter.whole_energy}
    row |= {"left_out": adapter.left_out, "adapter_bytes": adapter.bytes, "remarks": remarks}
    remarks += adapter.said
    try:
        merged = adapters.merge(pair, adapter, folder / "merged")
        with said(remarks, "merged"):
            model, loading = pair.load(merged)
        remarks += [f"merged: {kind}: {', '.join(sorted(map(str, keys)))}" for kind, keys in loading.items() if keys]
        row["merged"] = pair.judge(model)
        row["merged_load"] = statistics.median(seconds(lambda: pair.load(merged)) for _ in range(LOADS))
    except Exception as error:
        remarks.append(f"phlora merge: {error}")
    try:
        model, _ = pair.load(pair.base)
        with said(remarks, "routed"):
            routed = PeftModel.from_pretrained(model, adapter.path).eval()
        row["routed"] = pair.judge(routed)
        row["adapter_load"] = load_seconds(routed, adapter)
        if "merged" not in row:
            row["merged"] = pair.judge(routed.merge_and_unload())
            row["merged_load"] = statistics.median(seconds(lambda: pair.load(pair.tuned)) for _ in range(LOADS))
            remarks.append("merged: by PEFT's merge_and_unload instead; the time is that of loading the tuned model")
    except Exception as error:
        remarks.append(f"routed: {type(error).__name__}: {error}")
    places = {pair.base: "BASE", pair.tuned: "TUNED", out: "ADAPTER", folder: "OUT"}
    for place, name in places.items():
        remarks[:] = [remark.replace(str(place), name) for remark in remarks]
    return row


def recovered(pair, facts, metric):
    """Share of the way from base to tuned; None where the metric is missing."""
    if metric is None or math.isclose(facts["tuned"], facts["base"]):
        return None
    return (metric - facts["base"]) / (facts["tuned"] - facts["base"])


def facts(pair, keep):
    """All rows of a pair; `keep` gets what there is after each."""
    tuned, _ = pair.load(pair.tuned)
    base = pair.base_metric if pair.base_metric is not None else pair.judge(pair.load(pair.base)[0])
    facts = {"pair": pair.name, "what": pair.what, "metric": pair.metric, "higher_is_better": pair.higher_is_better}
    facts |= {"base": base, "tuned": pair.judge(tuned), "tuned_bytes": adapters.size(pair.tuned / "model.safetensors")}
    facts |= {"seconds_of_training": pair.seconds, "rows": []}
    for variant in adapters.VARIANTS:
        with tempfile.TemporaryDirectory() as folder:
            row = judged(pair, variant, Path(folder))
        row["merged_recovered"] = recovered(pair, facts, row.get("merged"))
        row["routed_recovered"] = recovered(pair, facts, row.get("routed"))
        facts["rows"].append(row)
        keep(facts)
    return facts

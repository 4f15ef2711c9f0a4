"""Judges one architecture: does what phlora writes reach the user, and does phlora say what does not?"""

import copy
import json
import re
import sys
import warnings
from pathlib import Path

import torch
from peft import PeftModel

sys.path.append(str(Path(__file__).resolve().parents[1]))

import build
import catalogue
import command
import strict
import tune

LIMIT = 0.01  # of the difference
KEYS = re.compile(r"\bkeys?\b|target_modules|target_parameters|not found|no match|missing|unexpected|rank_pattern|alpha_pattern", re.I)


class Messages:
    """What any library warns of in Python or in its log."""

    def __enter__(self):
        self.collector = strict._Collector()
        import logging

        loggers = [logging.getLogger(n) for n in list(logging.root.manager.loggerDict)]
        self.loggers = [logging.root, *(logger for logger in loggers if not logger.propagate)]
        for logger in self.loggers:
            logger.addHandler(self.collector)
        self.catcher = warnings.catch_warnings(record=True)
        self.caught = self.catcher.__enter__()
        warnings.simplefilter("always")
        return self

    def __exit__(self, *error):
        self.catcher.__exit__(*error)
        for logger in self.loggers:
            logger.removeHandler(self.collector)

    @property
    def texts(self):
        found = [str(w.message) for w in self.caught] + self.collector.messages
        return list(dict.fromkeys(" ".join(t.split()) for t in found if not re.search(strict.PEERS_OWN, t)))


def load(model_class, path):
    """A checkpoint as its user gets it, in float32, and what is wrong with it."""
    model, info = model_class.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    wrong = {k: sorted(map(str, v))[:3] for k, v in info.items() if v and k != "error_msgs"}
    return model.eval(), wrong


def weights(model):
    return {name: p.detach().clone() for name, p in model.named_parameters()}


def common(a, b):
    """The part of two tensors that both have, where a vocabulary grew."""
    cut = tuple(slice(0, min(x, y)) for x, y in zip(a.shape, b.shape))
    return a[cut].double(), b[cut].double()


def squares(one, other):
    """{name: ‖one − other‖²}."""
    result = {}
    for name, tensor in one.items():
        if name in other and tensor.is_floating_point():
            a, b = common(tensor, other[name])
            result[name] = (a - b).square().sum().item()
    return result


def distance(outputs, tuned, base):
    """‖outputs − tuned‖ / ‖tuned − base‖, each tensor in units of its own size."""
    lost = whole = 0.0
    for o, t, b in zip(outputs, tuned, base):
        size = min(len(o), len(t), len(b))
        o, t, b = (torch.nan_to_num(x[:size], 0, 0, 0) for x in (o, t, b))
        unit = t.square().sum().clamp_min(1e-30)
        lost += ((o - t).square().sum() / unit).item()
        whole += ((t - b).square().sum() / unit).item()
    return (lost / whole) ** 0.5 if whole > 1e-12 else None


def reported(report):
    """Share of the whole difference that is not in the adapter, as phlora has it; how many norms are unknown."""
    left = report.get("left_out", [])
    unknown = sum(entry["delta_norm"] is None for entry in left)
    if "whole_energy" in report["total"]:
        return 1 - report["total"]["whole_energy"], unknown
    full = sum(f["delta_norm"] ** 2 for f in report.get("full", []))
    whole = sum(m["delta_norm"] ** 2 for m in report["modules"]) + full
    kept = sum(m["energy"] * m["delta_norm"] ** 2 for m in report["modules"]) + full
    whole += sum(entry["delta_norm"] ** 2 for entry in left if entry["delta_norm"] is not None)
    return (1 - kept / whole if whole else 0.0), unknown


def reasons(report):
    """What is left out, by reason, the largest first: `output head 12 %`."""
    sums, whole = {}, sum(m["delta_norm"] ** 2 for m in report["modules"])
    for entry in report.get("left_out", []):
        key = entry["reason"].split(":")[0]
        square = (entry["delta_norm"] or 0.0) ** 2
        whole += square
        if square or entry["delta_norm"] is None:
            total, unknown = sums.get(key, (0.0, 0))
            sums[key] = total + square, unknown + (entry["delta_norm"] is None)
    texts = []
    for key, (square, unknown) in sorted(sums.items(), key=lambda item: -item[1][0]):
        texts.append(f"{key} {100 * square / max(whole, 1e-30):.1f} %" + (f" and {unknown} unknown" if unknown else ""))
    return "left out: " + ", ".join(texts) if texts else ""


class Judge:
    """One architecture and variant in a folder; `result` is what is known so far."""

    def __init__(self, model_type, variant, folder):
        self.type, self.variant, self.folder = model_type, variant, folder
        self.result = {"type": model_type, "variant": variant, "remarks": []}

    def remark(self, text):
        if text:
            self.result["remarks"].append(" ".join(text.split())[:300])

    def verdict(self, name, text=""):
        self.remark(text)
        self.result["verdict"] = name
        return self.result

    def __call__(self):
        try:
            model, self.calls, why = build.model(self.type, tied=self.variant == "tied")
        except Exception as error:
            return self.verdict("unbuildable", str(error) if isinstance(error, build.Unbuildable) else build._short(error))
        self.result["class"] = type(model).__name__
        self.result["parameters"] = sum(p.numel() for p in model.parameters())
        if not self.calls:
            self.result["weights_only"] = why
        self.model_class = type(model)
        try:
            self.save(model)
        except Exception as error:
            return self.verdict("unbuildable", f"transformers does not save or load it: {build._short(error)}")
        return self.extract()

    def save(self, model):
        options = {"max_shard_size": "60KB"} if self.variant == "sharded" else {}
        torch.manual_seed(0)
        tuned = tune.tune(model, self.variant)
        model.save_pretrained(self.folder / "base", **options)
        tuned.save_pretrained(self.folder / "tuned", **options)
        self.base, wrong = load(self.model_class, self.folder / "base")
        self.tuned, _ = load(self.model_class, self.folder / "tuned")
        if wrong:
            self.remark(f"transformers, of its own file: {wrong}")
        kept = weights(model)
        off = [n for n, square in squares(weights(self.base), kept).items() if square > 1e-10 * kept[n].double().square().sum()]
        if off:
            self.remark(f"transformers loads other weights than it saved: {off[:3]}")
        self.original, self.target = weights(self.base), weights(self.tuned)
        self.whole = squares(self.target, self.original)
        self.outputs = {str(c): (c(self.base), c(self.tuned)) for c in self.calls}

    def extract(self):
        report, adapter = self.folder / "report.json", self.folder / "adapter"
        options = ["--energy", "0.999"] if self.variant == "energy" else ["--rank", 8]
        done = command.run("extract", self.folder / "base", self.folder / "tuned", "-o", adapter, *options, "--report", report)
        self.result["printed"] = (done.stdout + done.stderr)[-1500:]
        if done.returncode:
            crash = done.returncode < 0 or done.returncode == 101
            return self.verdict("error" if crash else "refused", f"phlora, exit {done.returncode}: {(done.stderr or done.stdout).strip()[-250:]}")
        self.report = json.loads(report.read_text())
        self.result["reported"], self.result["unknown"] = reported(self.report)
        self.result["left_out"] = reasons(self.report)
        return self.reach(adapter)

    def reach(self, adapter):
        """What arrives in PEFT."""
        with Messages() as messages:
            try:
                loaded = PeftModel.from_pretrained(self.base, adapter).eval()
                unmerged = self.distances(loaded.get_base_model())
                merged = loaded.merge_and_unload()
                self.result["merged"] = self.distances(merged)
            except Exception as error:
                self.result["warnings"] = messages.texts
                return self.verdict("error", f"PEFT: {build._short(error)}")
        self.result["unmerged"] = unmerged
        self.result["warnings"] = messages.texts
        return self.decide(squares(self.target, weights(merged)), {n for n, _ in merged.named_parameters()})

    def distances(self, model):
        """The worst of the ways to run it."""
        found = [distance(c(model), *reversed(self.outputs[str(c)])) for c in self.calls]
        found = [f for f in found if f is not None]
        return max(found) if found else None

    def decide(self, lost, names):
        whole = sum(self.whole.values())
        absent = [n for n in self.whole if n not in names]
        missing = (sum(lost.values()) + sum(self.whole[n] for n in absent)) / whole if whole else 0.0
        self.result["missing"] = missing
        worst = sorted(((lost.get(n, w) / whole, n) for n, w in self.whole.items()), reverse=True)[:8]
        self.result["lost"] = {n: round(share, 5) for share, n in worst if share > 1e-4}
        outputs = [d for d in (self.result["unmerged"], self.result["merged"]) if d is not None]
        about_keys = [w for w in self.result["warnings"] if KEYS.search(w)]
        if about_keys:
            return self.verdict("dishonest", f"warns: {about_keys[0]}")
        if abs(missing - self.result["reported"]) > LIMIT:
            return self.verdict("dishonest")
        if missing < LIMIT and all(d < LIMIT for d in outputs):
            return self.verdict("pass")
        if missing < 1e-5:
            return self.verdict("error", "the weights agree, the outputs do not")
        return self.verdict("partial-honest")


def judge(model_type, variant, folder):
    return Judge(model_type, variant, Path(folder))()

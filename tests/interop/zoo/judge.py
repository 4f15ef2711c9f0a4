"""Judges one architecture: does what phlora writes reach the user, and does phlora say what does not?

pass            all of the difference arrives, in weights and outputs, and PEFT has nothing to say about it
partial-honest  something is lost, and phlora's figure for it is right
dishonest       something is lost that phlora does not count, or PEFT warns about keys
error           the adapter does not load or does not run, or phlora crashed
refused         phlora wrote nothing and said why
peft            PEFT cannot adapt any layer of this class, whoever made the adapter
unbuildable     there is no small model to judge
"""

import json
import sys
from pathlib import Path

import torch
from peft import PeftModel

sys.path.append(str(Path(__file__).resolve().parents[1]))

import build
import command
import compare
import said
import tune
import user

LIMIT = 0.01  # of the difference


class Judge:
    """One architecture and variant in a folder; `result` is what is known so far."""

    def __init__(self, model_type, variant, folder):
        self.type, self.variant, self.folder = model_type, variant, Path(folder)
        self.adapter = self.folder / "adapter"
        self.result = {"type": model_type, "variant": variant, "remarks": []}
        self.options = []

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
            return self.verdict("unbuildable", str(error) if isinstance(error, build.Unbuildable) else build.short(error))
        self.model_class = type(model)
        self.result["class"] = self.model_class.__name__
        self.result["parameters"] = sum(p.numel() for p in model.parameters())
        if not tune.applies(model, self.variant):
            return self.verdict("unbuildable", f"no {self.variant} variant")
        if not self.calls:
            self.result["weights_only"] = why
        try:
            self.save(model)
        except Exception as error:
            return self.verdict("unbuildable", f"transformers does not save or load it: {build.short(error)}")
        if not sum(self.whole.values()):
            return self.verdict("unbuildable", "it has no matrix to tune")
        if self.extract([]):
            self.reach()
        return self.result

    def save(self, model):
        """Both checkpoints, and what transformers makes of them: that is the truth."""
        options = {"max_shard_size": "60KB"} if self.variant == "sharded" else {}
        model.save_pretrained(self.folder / "base", **options)
        tune.tune(model, self.variant).save_pretrained(self.folder / "tuned", **options)
        base, wrong = user.load(self.model_class, self.folder / "base")
        tuned, _ = user.load(self.model_class, self.folder / "tuned")
        if wrong:
            self.remark(f"transformers, of its own file: {wrong}")
        self.original, self.target = compare.weights(base), compare.weights(tuned)
        saved = compare.weights(model)
        off = [n for n, s in compare.squares(self.original, saved).items() if s > 1e-10 * saved[n].double().square().sum()]
        if off:
            self.remark(f"transformers loads other weights than it saved: {off[:3]}")
        self.whole = compare.squares(self.target, self.original)
        self.outputs = {str(c): (c(tuned), c(base)) for c in self.calls}

    def extract(self, more):
        """Runs phlora, with more options than before; whether there is an adapter."""
        self.options += more
        report = self.folder / "report.json"
        options = ["--energy", "0.999"] if self.variant == "energy" else ["--rank", 8]
        options += ["-o", self.adapter, "--report", report, "--force", *self.options]
        done = command.run("extract", self.folder / "base", self.folder / "tuned", *options)
        self.result["printed"] = (done.stdout + done.stderr)[-1500:]
        if done.returncode:
            crash = done.returncode < 0 or done.returncode == 101
            self.verdict("error" if crash else "refused", f"exit {done.returncode}: {(done.stderr or done.stdout).strip()[-250:]}")
            return False
        read = json.loads(report.read_text())
        self.result["reported"], self.result["unknown"] = said.reported(read)
        self.result["left_out"] = said.reasons(read)
        return True

    def reach(self):
        """What arrives in PEFT."""
        model, _ = user.load(self.model_class, self.folder / "base")
        with user.Messages() as messages:
            try:
                loaded = PeftModel.from_pretrained(model, self.adapter).eval()
                self.result["unmerged"] = self.distances(loaded.get_base_model())
                merged = loaded.merge_and_unload()
                self.result["merged"] = self.distances(merged)
            except Exception as error:
                self.result["warnings"] = messages.texts
                control = user.refuses(user.load(self.model_class, self.folder / "base")[0])
                return self.verdict("peft" if control else "error", f"PEFT: {control or build.short(error)}")
        self.result["warnings"] = messages.texts
        lost, names = compare.squares(self.target, compare.weights(merged)), dict(merged.named_parameters())
        return self.decide({n: lost[n] if n in names else w for n, w in self.whole.items()})

    @torch.no_grad()
    def distances(self, model):
        """The worst of the ways to run it."""
        found = [compare.distance(c(model), *self.outputs[str(c)]) for c in self.calls]
        found = [f for f in found if f is not None]
        return max(found) if found else None

    def decide(self, lost):
        whole = sum(self.whole.values())
        self.result["missing"] = missing = sum(lost.values()) / whole
        worst = sorted(((s / whole, n) for n, s in lost.items()), reverse=True)[:8]
        self.result["lost"] = {n: round(share, 5) for share, n in worst if share > 1e-4}
        unmerged, merged = (self.result[k] or 0.0 for k in ("unmerged", "merged"))
        about_keys = [w for w in self.result["warnings"] if user.KEYS.search(w)]
        if about_keys:
            return self.verdict("dishonest", f"warns: {about_keys[0]}")
        if abs(missing - self.result["reported"]) > LIMIT:
            return self.verdict("dishonest")
        if max(unmerged, merged) < LIMIT and missing < LIMIT:
            return self.verdict("pass")
        if missing < 1e-5:
            return self.outputs_alone(unmerged, merged)
        if missing > 10 * self.result["reported"] + 1e-4:
            return self.verdict("dishonest", "little is lost, but nothing is said of it and the outputs show it")
        return self.with_whole_layers()

    def with_whole_layers(self):
        """What is lost may be layers that are stored on request alone."""
        if self.variant != "all" or said.WHOLE not in self.result["left_out"] or "layers" in self.options:
            return self.verdict("partial-honest")
        self.remark(f"{100 * self.result['missing']:.2f} % is lost without --also layers")
        return self.reach() if self.extract(["--also", "layers"]) else self.result

    def outputs_alone(self, unmerged, merged):
        """The weights agree and the outputs do not: PEFT's layer is not what the model does, or rounding shows."""
        if self.variant == "grown" and self.result["unknown"]:
            return self.verdict("partial-honest", "new rows of the vocabulary")
        if merged < LIMIT:
            return self.verdict("error", f"right when merged, but unmerged {100 * unmerged:.0f} % off: the class does not call the layer")
        if "rounds" in self.result or not self.extract(["--dtype", "f32"]):
            return self.verdict("error", "the weights agree, the outputs do not")
        self.result["rounds"] = merged
        self.remark(f"a model that amplifies: {100 * merged:.1f} % off in f16; judged in f32")
        return self.reach()


def judge(model_type, variant, folder):
    return Judge(model_type, variant, folder)()

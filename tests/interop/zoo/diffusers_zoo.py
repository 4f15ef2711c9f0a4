"""The zoo of diffusers: adapters in its models, as PEFT files and under kohya's and ComfyUI's names.

    PHLORA_BIN=… python tests/interop/zoo/diffusers_zoo.py [--only CLASS,…] [--table docs/zoo-diffusers.md]

A PEFT file goes through `model.load_lora_adapter`; the others through the loader of a pipeline that takes the model, without
a pipeline. Weights are compared after `fuse_lora`. Classes without such a method go through `PeftModel`.
"""

import argparse
import inspect
import json
import re
from pathlib import Path

import run  # first: it finds the other modules

import diffusers
from diffusers.loaders import lora_pipeline
from peft import PeftModel

import build
import compare
import diffusers_build
import judge
import summary
import tune
import user

FORMATS = "peft", "kohya", "comfy"
LOADERS = {
    "UNet2DConditionModel": "StableDiffusionLoraLoaderMixin",
    "MochiTransformer3DModel": "Mochi1LoraLoaderMixin",
    "Kandinsky5Transformer3DModel": "KandinskyLoraLoaderMixin",
    "HunyuanVideoFramepackTransformer3DModel": "HunyuanVideoLoraLoaderMixin",
    "ChromaTransformer2DModel": "FluxLoraLoaderMixin",
}


def loader(name):
    """The part of a pipeline that loads adapters into this class, or None."""
    family = re.sub(r"(Video)?Transformer[123]DModel$", "", name)
    known = LOADERS.get(name) or next((f"{f}LoraLoaderMixin" for f in (re.sub(r"Transformer[123]DModel$", "", name), family)
                                       if hasattr(lora_pipeline, f"{f}LoraLoaderMixin")), None)  # fmt: skip
    return getattr(lora_pipeline, known) if known else None


class Unread(Exception):
    """Nothing in the file has the name of a module, as this part of diffusers reads it."""


class Judge(judge.Judge):
    def __call__(self):
        try:
            model = diffusers_build.model(self.type)
        except Exception as error:
            return self.verdict("unbuildable", str(error) if isinstance(error, build.Unbuildable) else build.short(error))
        self.model_class, self.calls = type(model), []
        self.result.update(weights_only="no inputs", parameters=sum(p.numel() for p in model.parameters()))
        self.result["class"] = getattr(loader(self.type), "__name__", "") if self.variant != "peft" else "load_lora_adapter"
        if self.variant != "peft":
            self.adapter = self.folder / "adapter.safetensors"
        self.save(model)
        if self.extract([] if self.variant == "peft" else ["--format", self.variant]):
            self.reach()
        return self.result

    def load(self, folder):
        return self.model_class.from_pretrained(self.folder / folder).float().eval()

    def save(self, model):
        model.save_pretrained(self.folder / "base")
        tune.tune(model).save_pretrained(self.folder / "tuned")
        self.original, self.target = compare.weights(self.load("base")), compare.weights(self.load("tuned"))
        self.whole = compare.squares(self.target, self.original)

    def reach(self):
        model = self.load("base")
        with user.Messages() as messages:
            try:
                model = self.apply(model)
            except Unread as error:
                return self.verdict("unread", str(error))
            except Exception as error:
                return self.verdict("error", f"diffusers: {build.short(error)}")
        self.result["warnings"] = messages.texts
        self.result["unmerged"] = self.result["merged"] = None
        held = {n.replace(".base_layer", ""): p for n, p in compare.weights(model).items() if "lora_" not in n}
        lost = compare.squares(self.target, held)
        return self.decide({n: lost.get(n, w) for n, w in self.whole.items()})

    def apply(self, model):
        """The model with the adapter in its weights."""
        if self.variant == "peft" and not hasattr(model, "load_lora_adapter"):
            self.result["class"] = "PeftModel"
            return PeftModel.from_pretrained(model, self.adapter).merge_and_unload()
        if self.variant == "peft":
            model.load_lora_adapter(str(self.adapter / "adapter_model.safetensors"), prefix="base_model.model")
        else:
            self.through_pipeline(model)
        model.fuse_lora()
        return model

    def through_pipeline(self, model):
        mixin, part = loader(self.type), "unet" if "UNet" in self.type else "transformer"
        found = mixin.lora_state_dict(str(self.adapter), return_lora_metadata=False)
        state, alphas = found if isinstance(found, tuple) else (found, None)
        modules = {name for name, _ in model.named_modules() if name}
        if not modules & {re.sub(rf"^{part}\.|\.lora(_A|_B|\.down|\.up)\..*$", "", name) for name in state}:
            raise Unread(f"as {next(iter(state), 'no name at all')}")
        into = getattr(mixin, f"load_lora_into_{part}")
        more = {"network_alphas": alphas} if "network_alphas" in inspect.signature(into).parameters else {}
        into(state, **{part: model}, adapter_name="default", **more)
        if not getattr(model, "peft_config", None):
            raise ValueError(f"nothing is loaded, of {len(state)} tensors as {next(iter(state), None)}")


def judge_one(name, variant, folder):
    return Judge(name, variant, folder)()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="classes, separated by commas")
    parser.add_argument("--out", default="zoo-diffusers.jsonl", help="results, one a line")
    parser.add_argument("--table", help="write a Markdown table, as docs/zoo-diffusers.md")
    options = parser.parse_args()
    run.prepare()
    diffusers.utils.logging.disable_progress_bar()
    results = []
    with Path(options.out).open("w") as file:
        for name in options.only.split(",") if options.only else diffusers_build.names():
            for variant in FORMATS if loader(name) else FORMATS[:1]:
                results.append(run.one(name, variant, 90, judge_one))
                file.write(json.dumps(results[-1]) + "\n")
                print(summary.line(results[-1]), flush=True)
    print(summary.totals(results))
    if options.table:
        other = "transformers: [zoo.md](zoo.md)"
        Path(options.table).write_text(summary.markdown(results, "The zoo of diffusers", ("diffusers",), other))


if __name__ == "__main__":
    main()

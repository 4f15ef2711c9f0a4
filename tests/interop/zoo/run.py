"""Runs the zoo: every architecture that transformers can build small, its adapter in the real PEFT.

    PHLORA_BIN=… python tests/interop/zoo/run.py [--only TYPE,…] [--sample] [--variant V,…] [--table docs/zoo.md]
"""

import argparse
import json
import os
import shutil
import signal
import sys
import tempfile
import time
import traceback
from pathlib import Path

os.environ["HF_HUB_OFFLINE"] = os.environ["TRANSFORMERS_OFFLINE"] = "1"
sys.path[:0] = [str(Path(__file__).resolve().parent), str(Path(__file__).resolve().parents[1])]

import torch
import transformers

import catalogue
import judge
import summary
import tune

# Variants other than `all` are run for these when none is asked for.
CHOSEN = {
    "language": ["gemma3", "qwen2_vl", "qwen2_5_vl", "llava", "mllama", "llama4", "paligemma", "mistral3", "idefics3"],
    "idle": ["mixtral", "qwen2_moe", "qwen3_moe", "deepseek_v3", "gpt_oss", "llama4", "granitemoe", "jamba", "olmoe"],
    "everything": ["llama", "gpt2", "bert", "t5", "vit", "mamba2", "qwen3_moe", "llava", "wav2vec2"],
    "energy": ["llama", "mixtral", "qwen3_moe", "qwen2_5_vl", "vit"],
    "sharded": ["llama", "qwen2_vl", "mixtral", "swin"],
    "tied": ["qwen2", "gemma3", "llama", "bert", "qwen2_vl"],
    "grown": ["llama", "qwen2", "mixtral", "llava"],
}


def prepare():
    """Everything that children share is imported once."""
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_warning()
    transformers.logging.disable_progress_bar()
    small = transformers.LlamaConfig(num_hidden_layers=1, hidden_size=8, intermediate_size=8, num_attention_heads=2, num_key_value_heads=2)
    transformers.LlamaForCausalLM(small)


def one(model_type, variant, seconds, judged=judge.judge):
    """The result of one architecture, judged in a child: it may crash or hang."""
    folder = Path(tempfile.mkdtemp(prefix="zoo-"))
    started = time.monotonic()
    child = os.fork()
    if child == 0:
        _child(model_type, variant, folder, seconds, judged)
    _, status = os.waitpid(child, 0)
    try:
        result = json.loads((folder / "result.json").read_text())
    except (OSError, ValueError):
        how = os.WTERMSIG(status) if os.WIFSIGNALED(status) else os.WEXITSTATUS(status)
        reason = f"longer than {seconds} s" if how == signal.SIGALRM else f"the judge ended with {how}"
        result = {"type": model_type, "variant": variant, "verdict": "unbuildable", "remarks": [reason]}
    shutil.rmtree(folder, ignore_errors=True)
    return {**result, "seconds": round(time.monotonic() - started, 1)}


def _child(model_type, variant, folder, seconds, judged):
    signal.alarm(seconds)
    quiet = os.open(os.devnull, os.O_WRONLY)
    os.dup2(quiet, 1)
    os.dup2(quiet, 2)
    try:
        result = judged(model_type, variant, folder)
    except BaseException as error:
        where = traceback.format_exc().strip().splitlines()[-3:]
        result = {"type": model_type, "variant": variant, "verdict": "judge", "remarks": [repr(error)[:200], *where]}
    (folder / "result.json").write_text(json.dumps(result))
    os._exit(0)


def pairs(options):
    variants = options.variant.split(",") if options.variant else None
    if options.only:
        chosen = options.only.split(",")
    else:
        chosen = catalogue.SAMPLE if options.sample else catalogue.types()
    yield from ((model_type, variant) for variant in variants or ["all"] for model_type in chosen)
    if variants is None and not options.only and not options.sample:
        yield from ((model_type, variant) for variant, chosen in CHOSEN.items() for model_type in chosen)


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--only", help="types, separated by commas")
    parser.add_argument("--sample", action="store_true", help="a fixed sample of 25 architectures")
    parser.add_argument("--variant", help=", ".join(tune.VARIANTS))
    parser.add_argument("--out", default="zoo.jsonl", help="results, one a line")
    parser.add_argument("--resume", action="store_true", help="leave out what --out has already")
    parser.add_argument("--table", help="write a Markdown table of all results, as docs/zoo.md")
    parser.add_argument("--seconds", type=int, default=90, help="the most that one architecture may take")
    options = parser.parse_args()
    out = Path(options.out)
    known = [json.loads(line) for line in out.read_text().splitlines()] if options.resume and out.exists() else []
    done = {(r["type"], r["variant"]) for r in known}
    prepare()
    with out.open("a" if options.resume else "w") as file:
        for model_type, variant in pairs(options):
            if (model_type, variant) in done:
                continue
            result = one(model_type, variant, options.seconds)
            known.append(result)
            file.write(json.dumps(result) + "\n")
            file.flush()
            print(summary.line(result), flush=True)
    print(summary.totals(known))
    if options.table:
        Path(options.table).write_text(summary.markdown(known))


if __name__ == "__main__":
    main()

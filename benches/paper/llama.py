"""The tiny Llama pair, trained elsewhere: a model of text and the same after full fine-tuning on code."""

import numpy as np
import torch
from pair import Pair
from transformers import LlamaForCausalLM


def load(path):
    return LlamaForCausalLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)


def ids(path):
    """16,384 held-back tokens in batches."""
    return torch.from_numpy(np.fromfile(path, dtype="<u2")[:16384].astype(np.int64)).view(-1, 16, 256)


def llama(folder, swapped=False):
    """The pair; with its sides swapped the tuned model is the base."""
    sides, what = ("base", "tuned"), "trained on text, fine-tuned on code"
    if swapped:
        sides, what = sides[::-1], "the same with its sides swapped"
    batches = ids(folder / f"eval-{sides[1]}.bin")

    @torch.no_grad()
    def nll(model):
        return float(np.mean([model(input_ids=batch, labels=batch).loss.item() for batch in batches]))

    return Pair(
        name="llama-swapped" if swapped else "llama",
        what=f"Llama (2.2 M), {what}: 16,384 held-back tokens",
        metric="nll",
        higher_is_better=False,
        base=folder / sides[0],
        tuned=folder / sides[1],
        load=load,
        judge=nll,
    )

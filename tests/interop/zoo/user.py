"""What a user of PEFT does and sees: loading, warnings, and whether PEFT can adapt the model at all."""

import logging
import re
import warnings

import torch
from peft import LoraConfig, get_peft_model

import strict

KEYS = re.compile(r"\bkeys?\b|target_modules|target_parameters|not found|no match|missing|unexpected|rank_pattern|alpha_pattern", re.I)


class Messages:
    """What any library warns of, in Python or in its log."""

    def __enter__(self):
        self.collector = strict._Collector()
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
    return model.eval(), {k: sorted(map(str, v))[:3] for k, v in info.items() if v and k != "error_msgs"}


def refuses(model):
    """Why PEFT cannot adapt even one plain linear layer of the model, or nothing."""
    plain = [name for name, module in model.named_modules() if type(module) is torch.nn.Linear]
    plain = [name for name in plain if not re.search("out_proj|head|router|gate", name)]
    if not plain:
        return ""
    try:
        get_peft_model(model, LoraConfig(r=4, target_modules=[plain[0]]))
    except Exception as error:
        return f"{type(error).__name__}: {' '.join(str(error).split())}"
    return ""

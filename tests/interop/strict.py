"""Loads models and adapters with the real libraries; a warning of any kind is a failure."""

import contextlib
import logging
import warnings

import torch
from peft import PeftModel


# What these versions of PEFT and transformers say to each other on every load, PEFT's own adapters included.
PEERS_OWN = r"`is_gradient_checkpointing` is deprecated"


class _Collector(logging.Handler):
    def __init__(self):
        super().__init__(logging.WARNING)
        self.messages = []

    def emit(self, record):
        self.messages.append(f"{record.name}: {record.getMessage()}")


@contextlib.contextmanager
def no_warnings():
    """Python warnings raise; log records of WARNING and above, from any library, fail at the end."""
    collector = _Collector()
    known = [logging.getLogger(name) for name in list(logging.root.manager.loggerDict)]
    loggers = [logging.root, *(logger for logger in known if not logger.propagate)]
    for logger in loggers:
        logger.addHandler(collector)
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error")
            warnings.filterwarnings("ignore", PEERS_OWN, FutureWarning)
            yield
    finally:
        for logger in loggers:
            logger.removeHandler(collector)
    assert collector.messages == []


def load_base(model_class, path):
    """A checkpoint in float32."""
    with no_warnings():
        model, loading = model_class.from_pretrained(path, dtype=torch.float32, output_loading_info=True)
    assert not any(loading.values()), loading
    return model.eval()


def load_adapter(model, adapter):
    """The adapter on its base, in PEFT. Every factor of the file must be there to the bit, and no other."""
    with no_warnings():
        loaded = PeftModel.from_pretrained(model, adapter.path)
    held = {name.replace(".default.", "."): p for name, p in loaded.named_parameters() if "lora_" in name}
    assert held.keys() == adapter.tensors.keys()
    for name, parameter in held.items():
        assert torch.equal(parameter, adapter.tensors[name].float()), name
    return loaded.eval()


def merge(loaded):
    with no_warnings():
        return loaded.merge_and_unload()

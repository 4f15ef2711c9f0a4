"""What every test needs: no hub, two threads, and one adapter per set of options however many tests ask."""

import os

# Before the first import of a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import pytest
import torch
from transformers.utils import logging as transformers_logging

import command
import pair

torch.set_num_threads(2)
transformers_logging.disable_progress_bar()


@pytest.fixture(scope="session")
def adapters(tmp_path_factory):
    """Function (rank, dtype, mode) -> Adapter of the real pair."""
    return command.Extractor(pair.BASE, pair.TUNED, tmp_path_factory.mktemp("tiny-llama"))


@pytest.fixture(scope="session")
def base_nll():
    return pair.nll(pair.load(pair.BASE))


@pytest.fixture(scope="session")
def tuned_nll():
    return pair.nll(pair.load(pair.TUNED))

"""What every test needs: no hub, two threads, and one adapter per set of options however many tests ask."""

import os

# Before the first import of a library that reads them.
os.environ["HF_HUB_OFFLINE"] = "1"
os.environ["TRANSFORMERS_OFFLINE"] = "1"

import pytest
import torch
from transformers.utils import logging as transformers_logging

import command
import gguf_pair
import made
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


@pytest.fixture(scope="session")
def real(tmp_path_factory):
    """The real pair, as GGUF too."""
    return gguf_pair.Pair(pair.BASE, pair.TUNED, tmp_path_factory.mktemp("real"))


@pytest.fixture(scope="session")
def wide(tmp_path_factory):
    """A Llama wide enough for the K formats."""
    return gguf_pair.save(made.wide, tmp_path_factory.mktemp("wide"))


@pytest.fixture(scope="session")
def tied(tmp_path_factory):
    """A Qwen2 with tied embeddings."""
    return gguf_pair.save(made.tied, tmp_path_factory.mktemp("tied"))


@pytest.fixture(params=["real", "wide", "tied"])
def any_pair(request):
    return request.getfixturevalue(request.param)

"""integrations/llama.cpp/apply.py: changes go where their lines are found, or nowhere."""

import importlib.util

import pytest

from command import ROOT

spec = importlib.util.spec_from_file_location("apply", ROOT / "integrations/llama.cpp/apply.py")
apply = importlib.util.module_from_spec(spec)
spec.loader.exec_module(apply)

FILES = {"a.c": "one\ntwo\nthree\ntwo\n", "b.c": "x\n"}


def applied(change):
    return apply.applied(change, FILES.__getitem__)


def test_lines_are_inserted_and_replaced_in_their_order():
    change = "# comment\n\n@ a.c\n> one\n+ first\n+ second\n> two\n> two\n= last\n= of all\n@ b.c\n> x\n+ y\n"
    assert applied(change) == {"a.c": "one\nfirst\nsecond\ntwo\nthree\nlast\nof all\n", "b.c": "x\ny\n"}


def test_what_is_not_found_is_named():
    for change, what in (("@ a.c\n> two\n> one\n", "^3: a.c: no line with 'one' from line 3 on"), ("@ a.c\nodd\n", "^2: neither")):
        with pytest.raises(apply.Missing, match=what):
            applied(change)

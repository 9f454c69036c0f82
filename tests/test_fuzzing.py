"""A few hundred of the inputs of benchmarks/fuzz.py."""

import os

import pytest
import trees
from fuzzing import FAULTS, KINDS, outcomes

one_thread = pytest.fixture(autouse=True)(trees.one_thread)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzing")


@pytest.mark.skipif(not hasattr(os, "fork"), reason="each input runs in a fork of this process")
@pytest.mark.parametrize("kind", KINDS, ids=lambda kind: kind.name)
def test_damaged_input_is_read_or_refused_in_one_line(kind, place):
    found = list(outcomes(kind, 10, place, seed=1))
    assert [outcome for outcome in found if outcome.ending in FAULTS] == []

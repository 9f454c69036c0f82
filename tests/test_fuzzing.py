"""A few hundred of the inputs of benchmarks/fuzz.py."""

import os
import subprocess
import sys

import pytest
import trees
from fuzzing import FAULTS, KINDS, outcomes

from kdrecon.storage.places import project_root

one_thread = pytest.fixture(autouse=True)(trees.one_thread)


@pytest.fixture(scope="module")
def place(tmp_path_factory):
    return tmp_path_factory.mktemp("fuzzing")


pytestmark = pytest.mark.skipif(not hasattr(os, "fork"), reason="each input runs in a fork of this process")


@pytest.mark.parametrize("kind", [kind for kind in KINDS if not kind.computes], ids=lambda kind: kind.name)
def test_damaged_input_is_read_or_refused_in_one_line(kind, place):
    found = list(outcomes(kind, 10, place, seed=1))
    assert [outcome for outcome in found if outcome.ending in FAULTS] == []


@pytest.mark.parametrize("kind", [kind for kind in KINDS if kind.computes], ids=lambda kind: kind.name)
def test_damaged_input_of_a_network_is_read_or_refused_in_one_line(kind):
    script = [sys.executable, project_root() / "benchmarks" / "fuzz.py", "--kind", kind.name]
    alone = {"OMP_NUM_THREADS": "1", "MKL_NUM_THREADS": "1"}  # a fork of many threads computes for ever
    ended = subprocess.run([*script, "--inputs", "10", "--seed", "1"], env=os.environ | alone, capture_output=True)
    assert ended.returncode == 0, ended.stdout.decode()[-3000:] + ended.stderr.decode()[-1000:]

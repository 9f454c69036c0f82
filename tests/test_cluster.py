"""A study on a real Slurm cluster of two nodes, which the test starts: a job cancelled, a node drained and resumed."""

import time
from importlib import util

import pytest
import torch
import yaml
from cluster import cluster, lacking, slurm
from studies import MATRIX, start, wait_for, weights

from kdrecon.storage.places import study_engine

pytestmark = [
    pytest.mark.skipif(bool(lacking()), reason=lacking() or "has one"),
    pytest.mark.skipif(not util.find_spec("snakemake_executor_plugin_slurm"), reason="needs the extra study"),
]
HERE = {"slurm-status-command": "squeue", "slurm-init-seconds-before-status-checks": 2}  # no accounting, quick jobs


def job_of(environment: dict[str, str], network: str) -> tuple[str, str]:
    """Number and node of the running job of a network."""
    lines = slurm(environment, "squeue", "--noheader", "--states=RUNNING", "--format=%i %N %k").splitlines()
    (found,) = [line.split()[:2] for line in lines if network in line]
    return tuple(found)


def test_a_study_on_slurm_survives_a_cancelled_job_and_a_drained_node(tmp_path, alone):
    profile = yaml.safe_load((study_engine() / "profiles" / "slurm" / "config.yaml").read_text(encoding="utf-8"))
    profile["set-threads"] = {"network": 1}  # as the other trainings of the tests
    (tmp_path / "profile").mkdir()
    (tmp_path / "profile" / "config.yaml").write_text(yaml.safe_dump(profile | HERE), encoding="utf-8")
    (matrix := tmp_path / "matrix.yaml").write_text(MATRIX, encoding="utf-8")
    out = tmp_path / "out"
    with cluster() as environment:
        slurm(environment, "scontrol", "update", "nodename=n1", "state=drain", "reason=test")
        study = start(matrix, out, "--profile", str(tmp_path / "profile"), environment=environment)
        wait_for(out, "experiments/*/*/*teacher*/model.pt", study)
        number, node = job_of(environment, "teacher")
        assert node == "n2"
        slurm(environment, "scancel", number)
        while slurm(environment, "squeue", "--noheader", "--states=CANCELLED", "--format=%i").split() != [number]:
            time.sleep(0.1)
        slurm(environment, "scontrol", "update", "nodename=n2", "state=drain", "reason=test")
        slurm(environment, "scontrol", "update", "nodename=n1", "state=resume")
        wait_for(out, "experiments/*/*/*kd-at*/model.pt", study)
        assert job_of(environment, "kd-at")[1] == "n1"
        assert study.wait() == 0
    ours, theirs = weights(out), weights(alone)
    assert ours.keys() == theirs.keys() and all(torch.equal(ours[name], theirs[name]) for name in theirs)
    assert (out / "report.html").exists()

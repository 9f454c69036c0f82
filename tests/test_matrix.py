"""The matrix of a study: which networks a file asks for, and which files are refused."""

import json
import shutil
from dataclasses import asdict, replace
from pathlib import Path
from types import SimpleNamespace

import pytest

from kdrecon.errors import InputError
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.matrix import AXES, Job, read_matrix
from kdrecon.runs.parameters import Parameters, read_parameters
from kdrecon.runs.switches import Switches
from kdrecon.storage.places import SAMPLES, project_root

# networks, a zero-filled baseline a place among them
STUDIES = {"tiny": 11, "quick": 31, "paper": 284, "course": 154, "super_resolution": 37, "sunnybrook": 25}


def matrix(folder: Path, text: str):
    path = folder / "matrix.yaml"
    path.write_text(text, encoding="utf-8")
    return read_matrix(path)


def jobs(folder: Path, text: str) -> list[Job]:
    return list(matrix(folder, f"resolution: 48\n{text}").jobs())


@pytest.mark.parametrize("name", STUDIES)
def test_a_study_of_the_repository_has_each_network_once_and_after_what_it_needs(name):
    found = list(read_matrix(project_root() / "study" / f"{name}.yaml").jobs())
    folders = [job.experiment.folder(Path()) for job in found]
    assert len(folders) == len(set(folders)) == STUDIES[name]
    for number, job in enumerate(found):
        assert {needed.experiment.folder(Path()) for needed in job.needs} <= set(folders[:number])


def test_table_1_of_the_paper_is_280_trainings():
    found = [job for job in read_matrix(project_root() / "study" / "paper.yaml").jobs() if job.network != "zero_filled"]
    places = {(job.experiment.dataset, job.experiment.acceleration, job.experiment.seed) for job in found}
    assert len(found) == 280 and len(places) == 20 and all(job.experiment.epochs in (150, 300) for job in found)


NETWORKS = (
    "zero_filled",
    "teacher",
    "student",
    "sft",
    "kd-at",
    "sftkd-fitnets",
    "control-kd-at",
    "control-sftkd-at",
    "cost-control-kd-at",
)


@pytest.mark.parametrize(
    "switches", [{}, {"student_init": "sft"}, {"schedule": "two_stage", "student_network": "D2C5"}], ids=str
)
def test_a_job_is_the_network_that_a_laboratory_trains_under_its_name(tmp_path, monkeypatch, switches):
    """The laboratory trains nothing here: what it would train is kept."""
    p = Parameters(resolution=48, epochs=3, ready=False, run_root=str(tmp_path), switches=switches)
    lab, trained = Laboratory(**asdict(p)), []

    def found(experiment, ready=None):
        trained.append(experiment)
        return SimpleNamespace(experiment=experiment, origin="trained")

    monkeypatch.setattr(lab, "network", found)
    monkeypatch.setattr(lab, "student_steps", lambda network: steps(lab, network.experiment))
    for name in NETWORKS:
        job = Job.of(p, 48, name)
        assert job.experiment == lab.named(name).experiment
        for needed in job.needs[:1] if "control" in name else ():
            assert needed.experiment == trained[-2]
        assert "control" in name or tuple(j.experiment for j in job.needs) == job.experiment.needs()


def steps(lab: Laboratory, experiment) -> int:
    """What the records of finished trainings say of the steps behind a student."""
    start = experiment.needs()[-1].epochs if experiment.init == "sft" else 0
    return (start + len(experiment.stages) * experiment.epochs) * -(-len(lab.train) // experiment.batch_size)


def test_the_call_of_a_job_gives_its_parameters_again(tmp_path):
    text = "epochs: [3]\nlr: 1.0e-5\ndevice: cpu\nseed: 2\nalpha: 1.0e-5\npreset: kd_mri\nnetworks: [kd-fitnets]"
    job = jobs(tmp_path, text)[-1]
    assigned = [text for text in job.arguments if "=" in text]
    assert job.arguments[:2] == ["--network", "kd-fitnets"]
    again = read_parameters(project_root() / "params" / "tiny.yaml", assigned)
    assert replace(again, switches={}) == replace(job.parameters, switches={}) and again.methods == ["fitnets"]
    assert again.chosen == job.parameters.chosen and again.chosen.alpha == 1e-5


def test_a_row_stands_in_for_what_is_said_above_it_and_equal_networks_are_one(tmp_path):
    text = """
epochs: 2
networks: student
rows:
  - seed: [0, 1]
  - {seed: [1, 1, 2], epochs: 2}
  - {methods: at, teacher: sft}
  - {methods: at, student_init: random}
exclude:
  - {network: student, seed: [0, 2]}
"""
    found = [(job.network, job.experiment.seed, job.experiment.init) for job in jobs(tmp_path, text)]
    assert found == [
        ("zero_filled", 0, "random"), ("student", 1, "random"), ("sft", 0, "random"), ("sftkd-at", 0, "sft"),
        ("teacher", 0, "random"), ("kd-at", 0, "random"), ("sftkd-at", 0, "random"),
    ]  # fmt: skip


def test_a_network_that_another_one_needs_cannot_be_excluded(tmp_path):
    names = [job.network for job in jobs(tmp_path, "networks: [teacher, kd-at]\nexclude: [{network: teacher}]")]
    assert names == ["zero_filled", "teacher", "kd-at"]


def test_every_parameter_and_every_switch_is_an_axis():
    own = {"methods", "ready", "run_root", "switches"}
    assert set(asdict(Parameters())) - own | set(asdict(Switches())) | {"networks", "methods", "teacher"} == set(AXES)


SEVERAL = {
    "dataset": ["sample", "people"], "acceleration": ["4x", "5x"], "lr": [0.1, 0.01], "lr_schedule": ["steps", "one_cycle"],
    "augment": ["none", "flips"], "precision": ["fp32", "auto"], "preset": ["paper", "kd_mri"],
    "teacher_network": ["D5C5", "D6C5"], "student_network": ["D3C5", "D2C5"], "residual": [False, True],
    "fidelity": ["real", "hermitian"], "mask_type": ["line", "gaussian"],
    "imitation": ["paper", "released"], "sft_terms": ["all", "without_student"], "student_init": ["random", "sft"],
    "kd_form": ["paper", "released"], "schedule": ["joint", "two_stage"], "alpha": [0, 0.5], "selection": ["halves", "paper"],
    "networks": ["student", "sftkd-at"], "methods": ["at", "fitnets"], "teacher": ["standard", "sft"],
}  # fmt: skip


@pytest.mark.parametrize("axis", sorted({*AXES} - {"device", "data_root"}))
def test_each_value_of_an_axis_has_a_network_of_its_own(axis, tmp_path):
    """None is dropped since its folder is that of another one; those whose folders are the same are refused, below."""
    row = {"networks": ["sftkd-at"], "exclude": [{"network": "zero_filled"}], axis: SEVERAL.get(axis, [48, 60])}
    row |= {"methods": ["at"]} if axis == "teacher" else {}
    names = {"networks": ["student", "sftkd-at"], "methods": ["kd-at", "kd-fitnets"], "teacher": ["kd-at", "sftkd-at"]}
    found = matrix(tmp_path, json.dumps(row)).jobs()
    facts = [job.facts["network" if axis in names else axis] for job in found]
    assert all(value in facts for value in names.get(axis, row[axis]))


@pytest.mark.parametrize("others", ["student", "teacher", "kd-at"])
def test_one_network_has_one_folder_of_data_sets(others, tmp_path):
    for name in ("here", "there"):
        shutil.copytree(SAMPLES / "sample", tmp_path / name / "sample")
    first, second = (
        {"networks": own, "data_root": str(tmp_path / root)} for own, root in (("teacher", "here"), (others, "there"))
    )
    rows = {"dataset": "sample", "resolution": 48, "rows": [first, second], "exclude": [{"network": "zero_filled"}]}
    if others == "student":
        assert len(list(matrix(tmp_path, json.dumps(rows)).jobs())) == 2
        rows["exclude"] = []  # but their baseline is one
    with pytest.raises(InputError, match=r"_resolution-48.* with data_root '.*here' and '.*there': expected one"):
        list(matrix(tmp_path, json.dumps(rows)).jobs())


def test_what_a_network_needs_may_be_trained_elsewhere(tmp_path):
    found = jobs(tmp_path, "rows: [{networks: teacher, device: cpu}, {networks: kd-at, device: auto}]")
    assert [(job.network, job.parameters.device) for job in found][1:] == [("teacher", "cpu"), ("kd-at", "auto")]


def test_the_baseline_of_one_way_to_choose_the_epoch_can_be_left_out(tmp_path):
    text = "networks: student\nselection: [halves, paper]\nexclude: [{network: zero_filled, selection: paper}]"
    assert [job.network for job in jobs(tmp_path, text)] == ["zero_filled", "student", "student"]


def test_a_stored_size_is_looked_up_and_one_of_a_data_set_to_come_has_to_be_said(tmp_path):
    (stored,) = matrix(tmp_path, "resolution: 0\nnetworks: [student]\nexclude: [{network: zero_filled}]").jobs()
    assert stored.experiment.resolution == 240
    text = f"dataset: mine\ndata_root: {tmp_path}\nnetworks: student\nprepare: {{mine: [nifti, scans]}}\n"
    assert len(list(matrix(tmp_path, text).jobs())) == 2
    with pytest.raises(InputError, match="resolution 0 of mine, which is not prepared yet: expected its size"):
        list(matrix(tmp_path, text + "resolution: 0").jobs())


def test_a_gpu_may_be_elsewhere(tmp_path):
    """Studies are planned on machines without one."""
    assert {job.parameters.device for job in jobs(tmp_path, "device: cuda\nnetworks: kd-at")} == {"cuda"}


REFUSED = {
    "networks: [student]\nepoch: 3": "matrix.yaml: unknown name 'epoch': expected one of dataset",
    "networks: [student]\nrows: [{epoch: 3}]": "matrix.yaml: unknown name 'epoch'",
    "networks: [student]\nexclude: [{networks: student}]": "matrix.yaml: unknown name 'networks': expected one of dataset",
    "networks: [student]\nexclude: [{network: teacher}]": "exclude {'network': ['teacher']} fits no network",
    "networks: [student]\nswitches: {fidelity: hermitian}": "unknown name 'switches'",
    "networks: [student]\nrun_root: runs": "unknown name 'run_root'",
    "networks: [student]\nseed: []": "seed = []: expected at least one value",
    "networks: [student]\nrows: []": "asks for no network: expected at least one",
    "networks: [student]\nexclude: [{network: [student, zero_filled]}]": "asks for no network: expected at least one",
    "networks: [student]\ndevice: [cpu, auto]": "with device 'cpu' and 'auto': expected one, since its folder",
    "rows: [{networks: kd-at, device: auto}, {networks: teacher, device: cpu}]": "with device 'auto' and 'cpu': expected one",
    "networks: [student]\nselection: [halves, paper]": "with selection 'halves' and 'paper': expected one",
    "networks: [student]\nseed: [0, one]": "seed = 'one': expected an integer",
    "networks: [student]\nseed: [-1]": "seed = -1: expected an integer of at least 0",
    "networks: [student]\ndataset: [sample, smaple]": "data set 'smaple' is not in",
    "networks: [student]\nfidelity: [real, complex]": "switch fidelity = 'complex': expected one of real, hermitian",
    "networks: [student]\nmask_type: radial": "switch mask_type = 'radial'",
    "networks: [student]\npreset: [paper, mine]": "preset 'mine' is unknown",
    "networks: [pupil]": "network 'pupil' is unknown: expected one of teacher, student",
    "networks: [[student]]": "networks = [['student']]: expected a list of names",
    "methods: [attention]": "method 'attention' is unknown",
    "methods: [at]\nteacher: [old]": "teacher 'old' is unknown: expected one of standard, sft",
    "methods: [sp]\nbatch_size: 1": "batch_size = 1 with method 'sp'",
    "seed: [0, 1]": "without networks and methods: expected one of them",
    "networks: [student]\nseed: 0\nepochs: [0]": "epochs = 0",
    "networks: [student]\nrows: {seed: 1}\nseed: [0": "is not valid YAML",
    "[student]": "the file holds ['student']: expected names and values",
    "networks: [student]\nrows: [student]": "rows holds 'student': expected names and values",
    "networks: [student]\nprepare: [acdc]": "prepare = ['acdc']: expected names and values",
    "networks: [student]\nprepare: {mine: acdc}": "prepare mine = 'acdc': expected a list of names",
}


@pytest.mark.parametrize("text", REFUSED)
def test_a_mistyped_matrix_is_refused_in_one_line(tmp_path, text):
    with pytest.raises(InputError) as caught:
        list(matrix(tmp_path, text).jobs())
    assert REFUSED[text] in str(caught.value) and "\n" not in str(caught.value)


def test_a_matrix_that_nobody_meant_is_refused_at_once(tmp_path):
    seeds = ", ".join(map(str, range(1000)))
    with pytest.raises(InputError, match="asks for 1000000 networks: expected at most 100000"):
        list(matrix(tmp_path, f"networks: student\nseed: [{seeds}]\nepochs: [{seeds[2:]}, 1000]").jobs())


def test_no_file_is_no_matrix(tmp_path):
    with pytest.raises(
        InputError, match="nowhere.yaml does not exist: expected a matrix file such as study/quick.yaml"
    ):
        read_matrix(tmp_path / "nowhere.yaml")

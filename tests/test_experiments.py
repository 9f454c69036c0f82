from dataclasses import replace
from pathlib import Path

import pytest

from kdrecon.errors import InputError
from kdrecon.experiments import Experiment, Parameters, environment, project_root

TEACHER = Experiment("sample", "4x", 240, 150, 4, 1e-3, 0, "D5C5", "teacher")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epoch", 3, "unknown parameter 'epoch': expected one of dataset"),
        ("epochs", "ten", "epochs = 'ten': expected an integer"),
        ("epochs", 2.5, "epochs = 2.5: expected an integer"),
        ("epochs", True, "epochs = True: expected an integer"),
        ("epochs", 0, "epochs = 0: expected an integer of at least 1"),
        ("lr", "fast", "lr = 'fast': expected a number"),
        ("lr", -1.0, "lr = -1.0: expected a number between 0 and 1"),
        ("acceleration", 4, "acceleration = 4: expected text"),
        ("methods", "at", "methods = 'at': expected a list of names, such as"),
        ("methods", ["at", "magic"], "magic"),
        ("methods", ["at", "at"], "expected each method once"),
        ("device", "tpu", "device 'tpu': expected 'auto', 'cpu' or 'cuda'"),
        ("dataset", "../sample", "dataset '../sample': expected a plain name"),
        ("ready", "yes", "ready = 'yes': expected true or false"),
    ],
)
def test_bad_parameters(name, value, message):
    with pytest.raises(InputError) as caught:
        Parameters.from_mapping({name: value})
    assert message in str(caught.value) and "\n" not in str(caught.value)


def test_numbers_written_as_text_and_integers_are_read_as_floats():
    assert Parameters.from_mapping({"lr": "1e-4"}).lr == 1e-4
    assert isinstance(Parameters.from_mapping({"dataset": "sample"}).check().lr, float)


def test_batches_too_small_for_a_method():
    with pytest.raises(InputError, match="batch_size = 1 with method 'sp'.*at least 2"):
        Parameters.from_mapping({"batch_size": 1, "methods": ["at", "sp"]})
    assert Parameters.from_mapping({"batch_size": 1, "methods": ["at"]}).batch_size == 1


def test_default_places():
    assert (project_root() / "kdrecon").is_dir()
    assert Parameters().run_folder == project_root() / "runs" / "lab"
    assert Parameters(run_root="elsewhere").run_folder == project_root() / "elsewhere"
    assert Parameters(run_root="/elsewhere").run_folder == Path("/elsewhere")


def test_the_paper_preset_has_the_released_folder_names():
    place = Path("run/experiments/sample/acc_4x")
    student = replace(TEACHER, model="D3C5", role="student")
    at = replace(student, teacher="standard", method="at")
    sft_at = replace(student, teacher="sft", method="at", init="sft")
    expected = {
        "D5C5_teacher_seed-0": TEACHER,
        "D5C5_sft_seed-0": replace(TEACHER, role="sft_teacher"),
        "D3C5_student_seed-0": student,
        "D3C5_kd-at_seed-0": at,
        "D3C5_sftkd-at_seed-0": sft_at,
        "D3C5_sftkd-at_init-random_seed-1": replace(sft_at, init="random", seed=1),
        "D5C5_teacher_resolution-120_epochs-12_seed-0": replace(TEACHER, resolution=120, epochs=12),
        "D5C5_teacher_fidelity-hermitian_seed-0": replace(TEACHER, fidelity="hermitian"),
        "D3C5_kd-at_teacher_origin-ready_seed-0": replace(at, teacher_origin="ready"),
    }
    for name, experiment in expected.items():
        assert experiment.folder(Path("run")) == place / name


def test_two_different_experiments_never_share_a_folder():
    other = {
        "dataset": "mrbrain", "acceleration": "5x", "resolution": 120, "epochs": 3, "batch_size": 2, "lr": 1e-4, "seed": 1,
        "model": "D3C5", "role": "student", "method": "at", "init": "sft", "teacher_origin": "ready",
        "fidelity": "hermitian", "imitation": "released",
    }  # fmt: skip
    folders = {TEACHER.folder(Path("r")), *(replace(TEACHER, **{k: v}).folder(Path("r")) for k, v in other.items())}
    assert len(folders) == len(other) + 1


def test_environment_names_versions():
    record = environment()
    assert record["torch"].startswith("2") and record["git"]

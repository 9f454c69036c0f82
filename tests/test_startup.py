"""What a command loads before it answers: help, and the refusal of what is mistyped, wait for no numerical package."""

import subprocess
import sys

import pytest

import data_prep.__main__
from kdrecon.app import cli

HEAVY = (
    "torch", "tensorboard", "matplotlib", "pandas", "scipy", "skimage", "papermill", "IPython", "nbformat", "h5py", "pydicom",
    "nibabel", "onnx", "onnxruntime", "snakemake",
)  # fmt: skip
COMMANDS = [
    (module, *named)
    for module, app in {"kdrecon": cli.app, "data_prep": data_prep.__main__.app}.items()
    for named in [(), *((command.name or command.callback.__name__,) for command in app.registered_commands)]
]
REPORT = "import atexit, sys; atexit.register(lambda: print('LOADED', *sorted({m.split('.')[0] for m in sys.modules})))"


def started(module: str, *arguments: str) -> tuple[subprocess.CompletedProcess, set[str]]:
    """A command of its own process, and the heavy packages that it had loaded when it ended."""
    code = f"{REPORT}; import runpy; sys.argv[0] = {module!r}; runpy.run_module({module!r}, run_name='__main__')"
    done = subprocess.run([sys.executable, "-c", code, *arguments], capture_output=True, text=True, encoding="utf-8")
    shown, _, loaded = done.stdout.rpartition("LOADED ")
    done.stdout = shown
    return done, set(loaded.split()) & set(HEAVY)


@pytest.mark.parametrize("command", COMMANDS, ids=" ".join)
def test_help_loads_no_numerical_package(command):
    done, loaded = started(*command, "--help")
    assert done.returncode == 0 and "Usage" in done.stdout and not loaded


MISTYPED = {
    "epoch=3": "unknown parameter 'epoch': expected one of dataset",
    "epochs=many": "epochs = 'many': expected an integer",
    "epochs=0": "epochs = 0: expected an integer of at least 1",
    "lr=2": "lr = 2.0: expected a number between 0 and 1",
    "dataset=../x": "dataset '../x': expected a plain name",
    "device=gpu": "device 'gpu': expected 'auto', 'cpu' or 'cuda'",
    "precision=fp8": "precision 'fp8': expected 'auto', 'fp32', 'bf16' or 'fp16'",
    "methods=[attention]": "method 'attention' is unknown: expected one of at, fitnets",
    "methods=[at, at]": "methods ['at', 'at']: expected each method once",
    "preset=mine": "preset 'mine' is unknown: expected one of paper",
    "switches={fidelty: real}": "switch 'fidelty' is unknown: expected one of teacher_network",
    "switches={fidelity: complex}": "switch fidelity = 'complex': expected one of real, hermitian",
    "switches={mask_type: radial}": "switch mask_type = 'radial': expected one of line, gaussian, lowpass",
    "switches={alpha: 2}": "switch alpha = 2: expected a number from 0 to 1",
    "switches={teacher_network: ResNet}": "network name 'ResNet': expected DdCc",
    "switches={student_network: D3C4}": "expected as many cascades",
    "seed: 1": "-p 'seed: 1': expected name=value",
}


@pytest.mark.parametrize("assignment", MISTYPED)
def test_a_mistyped_parameter_is_refused_before_a_numerical_package_is_loaded(assignment):
    done, loaded = started("kdrecon", "run", "-p", assignment)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert MISTYPED[assignment] in done.stderr and not loaded


def test_a_name_that_no_network_has_is_refused_as_fast():
    done, loaded = started("kdrecon", "train", "--network", "magic")
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert (
        "network 'magic' is unknown: expected one of teacher, student, sft, sft-student, kd-at" in done.stderr
        and not loaded
    )


MISSPELT = {
    ("run", "--only", "99"): "--only 99: expected the number of a notebook",
    ("run", "--params", "nowhere.yaml"): "nowhere.yaml does not exist: expected a parameter file",
    ("train", "--network", "pupil"): "network 'pupil' is unknown",
    ("train", "--network", "student", "--seed", "-1"): "seed = -1: expected an integer of at least 0",
    ("study", "nowhere.yaml"): "nowhere.yaml does not exist: expected a matrix file",
    ("report", "runs/quick", "--against", "student"): "--against 'student': expected name=value",
    ("export", "D2C5_student", "--out", "a.onnx", "--precision", "int4"): "'int4': expected one of fp32, fp16",
    ("export", "D2C5_student", "--out", "best_model.pt"): "--out best_model.pt: expected a file that ends in .onnx",
    ("export", "D3C5_pupil", "--out", "a.onnx"): "network 'D3C5_pupil' is not there: expected an experiment folder",
    ("reconstruct", "D2C5_student", "nowhere.nii", "--out", "a.nii"): "nowhere.nii does not exist: expected a scan",
    ("reconstruct", "D3C5_pupil", "nowhere.nii", "--out", "a.nii"): "network 'D3C5_pupil' is not there",
    ("score", "targets", "reconstructions", "--out", "table.txt"): "--out table.txt: expected a CSV file",
}


@pytest.mark.parametrize("arguments", MISSPELT, ids=" ".join)
def test_a_misspelt_option_is_refused_as_early(arguments):
    done, loaded = started("kdrecon", *arguments)
    assert (done.returncode, done.stdout) == (2, "") and done.stderr.count("\n") == 1
    assert MISSPELT[arguments] in done.stderr and not loaded


def test_the_library_alone_loads_nothing():
    code = f"{REPORT}; import kdrecon, kdrecon.distillation as d; list(d.METHODS), 'at' in d.METHODS, d.FORMS"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    assert not set(done.stdout.split()) & set(HEAVY)

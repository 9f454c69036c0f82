import functools
import re
from dataclasses import asdict, replace
from pathlib import Path

import pytest
from helpers import one_line

from kdrecon.errors import InputError
from kdrecon.runs.experiment import LONGEST, Experiment
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.parameters import Parameters, with_settings
from kdrecon.runs.switches import PRESETS, Switches
from kdrecon.runs.versions import environment
from kdrecon.storage.places import project_root
from kdrecon.training.recipe import UNKNOWN_BEFORE, Recipe

TEACHER = Experiment("sample", "4x", 240, 150, 4, 1e-3, 0, "D5C5", "teacher")


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("epoch", 3, "unknown parameter 'epoch': expected one of dataset"),
        ("epochs", "ten", "epochs = 'ten': expected an integer"),
        ("epochs", 2.5, "epochs = 2.5: expected an integer"),
        ("epochs", 10**4000, "epochs = 1000"),
        ("epochs", [16**5000], "epochs = a list too long to be shown: expected an integer"),
        ("epochs", ["x"] * 9999, "...: expected an integer"),
        ("batch_size", 2**31, "batch_size = 2147483648: expected an integer below 2^31"),
        ("seed", 2**64, "seed = 18446744073709551616: expected an integer below 2^64"),
        ("lr", 10**400, "lr = inf: expected a number between 0 and 1"),
        ("dataset", "x" * 300, "...: expected a plain name"),
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
        ("dataset", "heart.", "dataset 'heart.': expected a plain name"),
        ("dataset", "aux.1", "dataset 'aux.1': expected a plain name"),
        ("dataset", "h" * 300, "dataset 'hhhh"),
        ("ready", "yes", "ready = 'yes': expected true or false"),
        ("lr_schedule", "cosine", "lr_schedule 'cosine': expected 'steps' or 'one_cycle'"),
        ("augment", "turns", "augment 'turns': expected 'none' or 'flips'"),
        ("augment", None, "augment = None: expected text"),
        ("augment", True, "augment = True: expected text"),
        ("precision", "fp8", "precision 'fp8': expected 'auto', 'fp32', 'bf16' or 'fp16'"),
        ("preset", "papers", "preset 'papers' is unknown: expected one of paper, course, as_released"),
        ("switches", "hermitian", "switches = 'hermitian': expected names and values, such as {fidelity: hermitian}"),
        (
            "switches",
            {"fidelty": "real"},
            "switch 'fidelty' is unknown: expected one of teacher_network, student_network",
        ),
        ("switches", {"fidelity": "exact"}, "switch fidelity = 'exact': expected one of real, hermitian"),
        ("switches", {"residual": "yes"}, "switch residual = 'yes': expected true or false"),
        ("switches", {"alpha": 1.5}, "switch alpha = 1.5: expected a number from 0 to 1"),
        ("switches", {"alpha": 10**400}, "...: expected a number from 0 to 1"),
        ("switches", {"student_network": "D600C600"}, "expected DdCc with d >= 2 and c >= 1, both below 100"),
        ("switches", {"student_network": "D²C5"}, "network name 'D²C5': expected DdCc"),
        ("switches", {"alpha": "half"}, "switch alpha = 'half': expected a number from 0 to 1"),
        ("switches", {"kd_form": "thesis"}, "switch kd_form = 'thesis': expected one of paper, released"),
        ("switches", {"student_network": "D1C5"}, "network name 'D1C5': expected DdCc with d >= 2"),
        ("switches", {"student_network": "D3C4"}, "student_network 'D3C4': expected as many cascades, at least 2"),
        ("switches", {"student_network": "V4"}, "with student_network 'V4': expected as many cascades"),
        ("switches", {"student_network": "V12", "teacher_network": "V4"}, "the student no deeper than the teacher"),
        ("switches", {"student_network": "D3C1", "teacher_network": "D5C1"}, "expected as many cascades, at least 2"),
    ],
)
def test_bad_parameters(name, value, message):
    with pytest.raises(InputError) as caught:
        Parameters.from_mapping({name: value})
    assert message in str(caught.value) and "\n" not in str(caught.value) and len(str(caught.value)) < 300


def test_numbers_written_as_text_and_integers_are_read_as_floats():
    assert Parameters.from_mapping({"lr": "1e-4"}).lr == 1e-4
    assert isinstance(Parameters.from_mapping({"dataset": "sample"}).check().lr, float)


def test_batches_too_small_for_a_method():
    with pytest.raises(InputError, match="batch_size = 1 with method 'sp'.*at least 2"):
        Parameters.from_mapping({"batch_size": 1, "methods": ["at", "sp"]})
    assert Parameters.from_mapping({"batch_size": 1, "methods": ["at"]}).batch_size == 1


def test_settings_are_a_mapping_or_a_file_below_what_the_notebook_shows(tmp_path, capsys):
    mine = tmp_path / "mine.yaml"
    mine.write_text("epochs: 150\nlr: 1e-4\nseed: 3\n", encoding="utf-8")
    assert with_settings({"batch_size": 4}, {"epochs": 8}) == Parameters(batch_size=4, epochs=8)
    assert with_settings("params/quick.yaml", {"ready": True}) == Parameters()  # seen from the repository
    assert capsys.readouterr().out == "the notebook's own lines win over params/quick.yaml: ready = True, not False\n"
    assert with_settings(mine, {"epochs": 8, "lr": 1e-4}) == Parameters(epochs=8, lr=1e-4, seed=3)
    assert capsys.readouterr().out == f"the notebook's own lines win over {mine}: epochs = 8, not 150\n"
    assert Laboratory({"resolution": 32}, dataset="sample").parameters == Parameters(resolution=32, dataset="sample")


SETTINGS = {
    "mistyped": ({"epohcs": 3}, "unknown parameter 'epohcs': expected one of dataset, acceleration, "),
    "not a name": ({3: 4}, "unknown parameter 3: expected one of dataset, "),
    "shown": ({"epochs": 3}, "settings name epochs, which has a line of its own: expected it there alone"),
    "type": ({"seed": "one"}, "seed = 'one': expected an integer"),
    "no settings": (8, "settings = 8: expected names and values, such as {'lr': 1.0e-3}, or a parameter file"),
    "no file": ("params/papre.yaml", "settings = 'params/papre.yaml': expected names and values"),
    "text of a file": ("seed: 1\nlr: 2", r"settings = 'seed: 1\nlr: 2': expected names and values"),
    "no name of a file": ("x" * 9999, "...: expected names and values"),
    "mistyped in a file": ("mistyped.yaml", "unknown parameter 'epoch': expected one of dataset, "),
    "type in a file": ("type.yaml", "epochs = 'ten': expected an integer"),
    "no mapping": ("list.yaml", "list.yaml holds list: expected a mapping of names to values"),
}


@pytest.mark.parametrize("case", SETTINGS)
def test_settings_that_cannot_be_meant_are_refused(case, tmp_path):
    settings, message = SETTINGS[case]
    for name, text in {"mistyped": "epoch: 3", "type": "epochs: ten", "list": "[1, 2]"}.items():
        (tmp_path / f"{name}.yaml").write_text(text, encoding="utf-8")
    if settings in ("mistyped.yaml", "type.yaml", "list.yaml"):
        settings = str(tmp_path / settings)
    with pytest.raises(InputError) as caught:
        with_settings(settings, {"epochs": 8})
    assert message in one_line(caught)


def test_switches_on_top_of_a_preset():
    chosen = Parameters.from_mapping(
        {"preset": "kd_mri", "switches": {"alpha": "2e-1", "fidelity": "hermitian"}}
    ).chosen
    assert chosen == Switches(fidelity="hermitian", residual=True, schedule="two_stage", alpha=0.2)
    assert Parameters.from_mapping({"switches": None}).chosen == Parameters().chosen == Switches.of("course")
    assert Switches.of("as_released", {"schedule": "joint"}) == Switches(imitation="released", kd_form="released")
    assert len({Switches.of(preset) for preset in PRESETS}) == len(PRESETS) == 6


def test_a_vdsr_is_the_same_network_whatever_residual_says():
    plain, residual = (Parameters(preset="super_resolution", switches={"residual": r}) for r in (False, True))
    for network in (("teacher",), ("sft_teacher",), ("student", "sft", "at", "sft")):
        assert Experiment.of(plain, 120, *network) == Experiment.of(residual, 120, *network)
    unet = [Parameters(switches={"teacher_network": "DC-UNet-author", "residual": r}) for r in (False, True)]
    assert len({Experiment.of(p, 120, "teacher") for p in unet}) == 1
    assert len({Experiment.of(p, 120, role) for p in unet for role in ("sft_teacher", "student")}) == 4


def test_a_switch_that_does_not_touch_a_network_stays_out_of_its_record():
    everything = Switches(
        "D4C5", "D2C5", "hermitian", True, "gaussian", "released", "without_student", "random", "released", "two_stage", 0.5,
        3.0, 9, 12, "paper",
    )  # fmt: skip
    base = {
        "fidelity": "hermitian",
        "residual": True,
        "mask_type": "gaussian",
        "train_slices": 12,
        "selection": "paper",
    }
    above = {"teacher_network": "D4C5", "teacher_epochs": 9}
    distillation = base | above | {"kd_form": "released", "schedule": "two_stage", "alpha": 0.5, "weight_factor": 3.0}
    sft = {"imitation": "released", "sft_terms": "without_student"}
    for network, expected in {
        ("zero_filled",): {"mask_type": "gaussian"},
        ("teacher",): base,
        ("student",): base,
        ("control",): base,
        ("sft_teacher",): base | sft | {"student_network": "D2C5"},
        ("student", "standard", "random"): distillation,
        ("student", "standard", "sft"): distillation | sft,
        ("student", "sft", "random"): distillation | sft,
        ("student", "", "sft"): base | above | sft,
        ("student", "standard", "sft_trained"): distillation | sft,
    }.items():
        assert everything.acting_on(*network).changed() == expected


@pytest.mark.parametrize("method, form", [("ikd", "paper"), ("kdsvd", "paper"), ("fsp", "released")])
def test_methods_that_need_more_than_one_cascade(method, form):
    values = {"preset": "super_resolution", "methods": ["at", method], "switches": {"kd_form": form}}
    with pytest.raises(InputError, match=f"method '{method}' with V12: expected networks of at least 2 cascades"):
        Parameters.from_mapping(values)


def test_methods_that_a_variant_does_not_have():
    with pytest.raises(InputError, match="method 'ikd' has no released form"):
        Parameters.from_mapping({"methods": ["at", "ikd"], "switches": {"kd_form": "released"}})
    for switches in ({"schedule": "two_stage"}, {"alpha": 0.5}, {"weight_factor": 3.0}):
        with pytest.raises(InputError, match=f"method 'ikd' has a single loss term: .* found {switches}"):
            Parameters.from_mapping({"methods": ["ikd"], "switches": switches})


def test_default_places():
    assert (project_root() / "kdrecon").is_dir()
    assert Parameters().run_folder == project_root() / "runs" / "lab"
    assert Parameters(run_root="elsewhere").run_folder == project_root() / "elsewhere"
    assert Parameters(run_root="/elsewhere").run_folder == Path("/elsewhere")


def test_the_paper_preset_has_the_released_folder_names():
    place = Path("run/experiments/sample/acc_4x")
    student = replace(TEACHER, architecture="D3C5", role="student")
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
        "D5C5_teacher_fidelity-hermitian_seed-0": replace(TEACHER, switches=Switches(fidelity="hermitian")),
        "D5C5_teacher_residual-true_seed-0": replace(TEACHER, switches=Switches(residual=True)),
        "D3C5_control_epochs-300_seed-0": replace(student, role="control", epochs=300),
        "D3C5_kd-at_schedule-two_stage_alpha-0.5_seed-0": replace(
            at, switches=Switches(schedule="two_stage", alpha=0.5)
        ),
        "zero_filled_resolution-240": replace(TEACHER, role="zero_filled"),
        "D5C5_teacher_precision-fp32_seed-0": replace(TEACHER, precision="fp32"),
        "D3C5_kd-at_teacher_origin-ready_seed-0": replace(at, teacher_origin="ready"),
    }
    for name, experiment in expected.items():
        assert experiment.folder(Path("run")) == place / name


@pytest.mark.parametrize("preset", PRESETS)
def test_an_experiment_names_what_it_needs(preset):
    student = "V2" if preset.startswith("super_resolution") else "D2C5"
    parameters = Parameters(preset=preset, switches={"student_network": student})
    make = functools.partial(Experiment.of, parameters, 120)
    teacher, sft = make("teacher"), make("sft_teacher")
    expected = {"standard random": (teacher,), "standard sft": (teacher, sft), "sft random": (sft,), "sft sft": (sft,)}
    for cell, needed in expected.items():
        kind, init = cell.split()
        assert make("student", kind, "at", init).needs() == needed
        assert replace(make("student", kind, "at", init), teacher_origin="ready").needs() == needed
    assert not any(make(role).needs() for role in ("zero_filled", "teacher", "student", "sft_teacher", "control"))


def test_two_different_experiments_never_share_a_folder():
    other = {
        "dataset": "mrbrain", "acceleration": "5x", "resolution": 120, "epochs": 3, "batch_size": 2, "lr": 1e-4, "seed": 1,
        "architecture": "D3C5", "role": "student", "method": "at", "init": "sft", "teacher_origin": "ready",
        "precision": "fp32", "augment": "flips", "lr_schedule": "one_cycle",
    }  # fmt: skip
    switches = {
        "teacher_network": "D4C5", "student_network": "D2C5", "fidelity": "hermitian", "residual": True,
        "mask_type": "gaussian", "imitation": "released", "sft_terms": "without_student", "schedule": "two_stage",
        "alpha": 0.1, "kd_form": "released", "weight_factor": 3.0, "teacher_epochs": 9, "train_slices": 12,
        "selection": "paper",
    }  # fmt: skip
    assert switches.keys() == asdict(Switches()).keys() - {"student_init"}  # which is the field init
    experiments = [TEACHER, *(replace(TEACHER, **{k: v}) for k, v in other.items())]
    experiments += [replace(TEACHER, switches=Switches(**{k: v})) for k, v in switches.items()]
    assert len({e.folder(Path("r")) for e in experiments}) == len(experiments)
    assert all(Experiment.from_config(e.config()) == e for e in experiments)


@pytest.mark.parametrize(
    "value",
    [
        {"seed": "x/../../../../evil"},
        {"dataset": ".."},
        {"dataset": "/evil"},
        {"acceleration": "4x/../../.."},
        {"model": "..\\evil"},
        {"epochs": "12:30"},
        {"teacher_network": "../../evil"},
    ],
)
def test_no_record_leads_out_of_its_run(value):
    with pytest.raises(InputError, match="experiment folder '.*: expected a plain name|(seed|epochs) = |network name "):
        Experiment.from_config(TEACHER.config() | value).folder(Path("run"))


def test_what_older_versions_did_not_know_is_off():
    off = asdict(Switches()) | asdict(Recipe())
    assert {name: off[name] for name in UNKNOWN_BEFORE} == UNKNOWN_BEFORE


def test_augmentation_stands_in_the_folder_name_where_it_is_on_and_an_older_record_had_none():
    flips = replace(TEACHER, augment="flips")
    assert flips.folder(Path("run")).name == "D5C5_teacher_augment-flips_seed-0"
    assert Experiment.of(Parameters(augment="flips"), 120, "student").augment == flips.config()["augment"] == "flips"
    older = TEACHER.config()
    assert older.pop("augment") == "none" and Experiment.from_config(older) == TEACHER


def test_long_names_are_shortened_and_those_of_older_versions_found(tmp_path):
    everything = Switches(
        "D4C5", "D2C5", "hermitian", True, "gaussian", "released", "without_student", "sft", "released", "two_stage", 0.5
    )  # fmt: skip
    kind = "D2C5", "student", "sft", "at", "random", "ready", "fp32"
    one = Experiment("sample", "4x", 120, 12, 2, 1e-4, 3, *kind, everything)
    others = [replace(one, seed=4), replace(one, switches=replace(everything, alpha=0.6)), replace(one, lr=2e-4)]
    folders = {e.folder(tmp_path) for e in (one, *others)}
    assert len(folders) == 4 and all(len(folder.name) <= LONGEST for folder in folders)
    assert re.fullmatch("D2C5_sftkd-at_resolution-120_.*_seed-3", one.folder(tmp_path).name)
    older = replace(one, switches=Switches(fidelity="hermitian"))
    name = older.folder(tmp_path).with_name(
        "D2C5_sftkd-at_resolution-120_epochs-12_batch_size-2_lr-0.0001_precision-fp32_init-random_teacher_origin-ready_"
        "fidelity-hermitian_seed-3"
    )
    assert older.folder(tmp_path) != name
    name.mkdir(parents=True)
    assert older.folder(tmp_path) == name


def test_environment_names_versions():
    record = environment()
    assert record["torch"].startswith("2") and record["git"]

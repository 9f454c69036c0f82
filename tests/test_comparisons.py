import json
import re
import zlib
from dataclasses import replace

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from test_statistics import people

from kdrecon import results
from kdrecon.app import cli
from kdrecon.errors import InputError
from kdrecon.results import archive, comparisons
from kdrecon.results.display import formatted_comparisons
from kdrecon.results.references import configurations
from kdrecon.results.report import write_results
from kdrecon.results.statistics import holm, judged
from kdrecon.runs.costs import epochs_of_cost
from kdrecon.storage.files import write_table

SETTINGS = {
    "dataset": "heart", "acceleration": "4x", "resolution": 150, "epochs": 12, "batch_size": 4, "lr": 1e-3, "seed": 0,
    "model": "D3C5", "role": "student", "teacher": "", "method": "", "init": "random",
    "teacher_origin": "",
}  # fmt: skip
TEACHER = {"model": "D5C5", "role": "teacher"}
SFT_TEACHER = {"model": "D5C5", "role": "sft_teacher"}
ZERO_FILLED = {"model": "zero_filled", "role": "zero_filled", "epochs": 0}
STD_AT, SFT_AT = {"teacher": "standard", "method": "at"}, {"teacher": "sft", "method": "at", "init": "sft"}
GAINS = {"student": 0.0, "control": 0.2, "teacher": 1.0, "SFT teacher": 0.8, "Std": -0.3, "SFT": 0.4}
RUN = {
    "student": {}, "control": {"epochs": 24}, "teacher": TEACHER, "SFT teacher": SFT_TEACHER, "Std": STD_AT, "SFT": SFT_AT,
}  # fmt: skip


def write_network(run_root, gain=0.0, subjects=8, slices_of="a", steps=None, **settings):
    """An evaluated experiment as an older version wrote it: newer settings and training data are not in its record.

    Its steps are ten an epoch, of an SFT training of the same epochs before it where it starts from one, unless given.
    """
    config = SETTINGS | settings
    random = np.random.default_rng(zlib.crc32(json.dumps(config, sort_keys=True).encode()))
    difficulty, subject = people(subjects, 6, effect=30, between=2, within=1)
    psnr = difficulty + gain + 0.02 * random.standard_normal(len(subject))
    table = pd.DataFrame({"volume": subject, "slice": range(len(psnr)), "subject": subject, "psnr": psnr})
    for name in ("ssim", "nmse", "mse", "hfn", "vif"):
        table[name] = psnr / 50
    parts = (f"{value}" for value in config.values())
    folder = run_root / "experiments" / config["dataset"] / f"acc_{config['acceleration']}" / "_".join(parts)
    folder.mkdir(parents=True)
    table.to_csv(folder / "metrics.csv", index=False)
    record = {"config": config, "finished": True, "parameters": 49285, "origin": "trained"}
    stages = 1 + (config["init"] == "sft") + (config.get("schedule") == "two_stage")
    record["steps"] = 10 * stages * config["epochs"] if steps is None else steps
    record["evaluation"] = {"weights": "w", "data": slices_of, "split": "validation"}
    (folder / "config.json").write_text(json.dumps(record), encoding="utf-8")
    return folder


def write_run(run_root, seeds=(0, 1), networks=RUN, **options):
    write_network(run_root, gain=-6, **ZERO_FILLED, **options)
    for name, settings in networks.items():
        for seed in seeds:
            write_network(run_root, GAINS.get(name, 0.0) + 0.02 * seed, seed=seed, **settings, **options)


def row(table, against, network, metric="psnr"):
    found = table[(table.against == against) & (table.network == network) & (table.metric == metric)]
    assert len(found) == 1, (against, network, len(found))
    return found.iloc[0]


def test_who_chose_the_epoch_of_an_older_training_is_not_told_wrong(tmp_path):
    for number, (split, expected) in enumerate({"validation": "paper", "test": "halves"}.items()):
        folder = write_network(tmp_path / str(number))
        record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        record["evaluation"]["split"] = split
        (folder / "config.json").write_text(json.dumps(record), encoding="utf-8")
        assert results.summary(tmp_path / str(number)).selection.tolist() == [expected]


def test_each_network_has_its_references(tmp_path):
    write_run(tmp_path)
    table = comparisons.comparisons(tmp_path)
    found = {(r.against, r.network, r.reference) for r in table.itertuples()}
    assert found == {
        ("student", "teacher", "student"),
        ("student", "SFT teacher", "student"),
        ("student", "Std-KD AT", "student"),
        ("student", "SFT-KD AT", "student"),
        ("student", "student, epochs 24", "student"),
        ("control", "SFT-KD AT", "student, epochs 24"),
        ("std-kd", "SFT-KD AT", "Std-KD AT"),
        ("teacher", "SFT teacher", "teacher"),
    }
    assert tuple(table.columns) == comparisons.COLUMNS and set(table.metric) == {"psnr", "ssim"}


BY_SWITCHES = {"alpha": 0.5, "weight_factor": 0.0}  # imitation alone


@pytest.mark.parametrize(
    "networks, expected",
    [
        ([STD_AT, STD_AT | BY_SWITCHES], ["Std-KD AT", "Std-KD image"]),
        ([STD_AT, STD_AT | {"method": "image", "alpha": 0.5}], ["Std-KD AT", "Std-KD image"]),
        ([SFT_AT, SFT_AT | BY_SWITCHES | {"alpha": 1.0}], ["SFT-KD AT", "SFT-KD image"]),
        (
            [STD_AT | BY_SWITCHES, STD_AT | BY_SWITCHES | {"method": "fsp"}, STD_AT | {"method": "image", "alpha": 1.0}],
            ["Std-KD image, method at", "Std-KD image, method fsp", "Std-KD image, alpha 1.0"],
        ),
        (
            [STD_AT, STD_AT | {"weight_factor": 0.0}, STD_AT | {"alpha": 0.5}],
            ["Std-KD AT", "Std-KD AT, alpha 0.5", "Std-KD AT, weight_factor 0.0"],
        ),
    ],
)  # fmt: skip
def test_a_student_is_called_what_it_learned_from(networks, expected, tmp_path):
    for settings in networks:
        write_network(tmp_path, **settings)
    assert sorted(results.formatted(results.summary(tmp_path)).network) == sorted(expected)


def test_a_student_that_started_elsewhere_is_no_plain_student(tmp_path):
    write_network(tmp_path, gain=1, init="heart-0123456789abcdef", steps=500)
    write_network(tmp_path)
    write_network(tmp_path, **STD_AT)
    write_network(tmp_path, **STD_AT | {"init": "heart-0123456789abcdef", "epochs": 20})
    table = comparisons.comparisons(tmp_path)
    assert set(table.reference) == {"student"}
    names = {"student", "student, init heart-0123456789abcdef", "Std-KD AT"}
    assert names < set(results.formatted(results.summary(tmp_path)).network)


def test_planted_gains_are_found_with_their_flags_and_gaps(tmp_path):
    write_run(tmp_path)
    table = comparisons.comparisons(tmp_path)
    std, sft = (row(table, "student", f"{kind}-KD AT") for kind in ("Std", "SFT"))
    assert (std.verdict, bool(std.below_student)) == ("worse", True)
    assert (sft.verdict, bool(sft.below_student)) == ("better", False)
    assert [sft.gap_teacher, sft.gap_sft_teacher] == pytest.approx([-0.6, -0.4], abs=0.03)
    assert row(table, "std-kd", "SFT-KD AT").difference == pytest.approx(0.7, abs=0.03)
    assert row(table, "control", "SFT-KD AT").difference == pytest.approx(0.2, abs=0.03)
    assert (sft.seeds, sft.subjects, sft.n) == (2, 8, 48) and sft.seed_sd < 0.02


def test_the_p_values_of_one_kind_of_reference_and_metric_are_one_family(tmp_path):
    write_run(tmp_path)
    table = comparisons.comparisons(tmp_path)
    for _, family in table.groupby(["against", "metric"]):
        np.testing.assert_allclose(family.p_holm, holm(family.p))
    found = row(table, "std-kd", "SFT-KD AT")
    assert found.p_holm == found.p and (table.about == "method").all()


def test_the_summary_has_a_row_a_configuration_with_the_spread_over_seeds(tmp_path):
    write_run(tmp_path, seeds=(0, 1, 2))
    table, single = results.summary(tmp_path), results.summary(tmp_path, per_seed=True)
    assert len(table) == 7 and len(single) == 19 and set(single.seed) == {"0", "1", "2"}
    student = table[(table.model == "student") & (table.method == "") & (table.epochs == 12)].iloc[0]
    means = single[(single.model == "student") & (single.method == "") & (single.epochs == 12)].psnr
    assert student.seed == "0, 1, 2" and student.psnr == pytest.approx(means.mean())
    assert student.psnr_seed_sd == pytest.approx(means.std())
    assert table.psnr_seed_sd.isna().sum() == 1 and not any(single.columns.str.endswith("seed_sd"))


def test_networks_are_grouped_by_every_setting_but_the_seed(tmp_path):
    write_run(tmp_path, networks={"student": {}, "SFT": SFT_AT})
    write_network(tmp_path, 0.1, **SFT_AT | {"init": "random"})
    write_network(tmp_path, 0.2, **SFT_AT, switch_of_tomorrow="on")
    write_network(tmp_path, 0.2, **SFT_AT, seed=5, fidelity="hermitian")
    names = {c.name: sorted(c.scores) for c in configurations(tmp_path)}
    assert names == {
        "student": [0, 1],
        "SFT-KD AT": [0, 1],
        "SFT-KD AT, init random": [0],
        "SFT-KD AT, switch_of_tomorrow on": [0],
        "SFT-KD AT, fidelity hermitian": [5],
    }
    assert len(results.summary(tmp_path)) == 6


def test_a_record_with_the_newer_settings_at_their_defaults_is_the_same_configuration(tmp_path):
    write_network(tmp_path, seed=0)
    write_network(tmp_path, seed=1, fidelity="real", imitation="paper", teacher_origin="")
    assert [sorted(c.scores) for c in configurations(tmp_path)] == [[0, 1]]


def test_the_reference_is_the_plain_student_of_the_same_architecture_and_recipe(tmp_path):
    for settings in ({}, {"epochs": 24}, {"model": "D4C5"}):
        write_network(tmp_path, **settings)
    for settings in ({"epochs": 24}, {"model": "D4C5"}, {"model": "D2C5"}):
        write_network(tmp_path, **STD_AT | settings)
    table = comparisons.comparisons(tmp_path, "student")
    assert {(r.network, r.reference) for r in table.itertuples()} == {
        ("Std-KD AT, epochs 24", "student, epochs 24"),
        ("Std-KD AT, network D4C5", "student, network D4C5"),
    }


def pairs(table, against):
    return {(r.network, r.reference) for r in table[table.against == against].itertuples()}


CONTROL = {"role": "control", "epochs": 24}
OTHER = [
    {"train_slices": 12, "data": "a few"}, {"data": "others"}, {"residual": True}, {"fidelity": "hermitian"},
    {"augment": "flips"}, {"lr": 3e-3}, {"lr_schedule": "one_cycle"}, {"batch_size": 2}, {"precision": "bf16"},
    {"selection": "halves"},
]  # fmt: skip


@pytest.mark.parametrize("other", OTHER, ids=str)
def test_a_reference_differs_in_nothing_that_the_comparison_is_not_about(other, tmp_path):
    """As many steps do not make a control of a student trained under other conditions, nor equal epochs a reference."""
    known = {"data": "all of them"}
    for settings in ({}, {"epochs": 24}, {"epochs": 24, "role": "control"}):
        write_network(tmp_path, **known | settings | other)
    for settings in (TEACHER, {"epochs": 6}, SFT_AT, STD_AT | {"init": "sft"}):
        write_network(tmp_path, **known | settings, steps=60 if settings == {"epochs": 6} else None)
    table = comparisons.comparisons(tmp_path, metrics=("psnr",))
    assert pairs(table, "control") == pairs(table, "cost") == set() and "SFT-KD AT" in set(table.network)
    plain = table[(table.against == "student") & table.network.str.contains("teacher|KD")]
    assert plain.reference_steps.tolist() == [60, 60, 60]
    write_network(tmp_path, **known | CONTROL)
    table = comparisons.comparisons(tmp_path, metrics=("psnr",))
    held = table[table.against == "control"]
    assert set(held.network) == {"SFT-KD AT", "Std-KD AT, init sft"} and set(held.reference_steps) == {240}
    assert not held.note.str.contains("against").any()


@pytest.mark.parametrize("other", [*OTHER, {"epochs": 24}], ids=str)
def test_a_friendly_teacher_and_another_start_are_held_against_their_like_and_nothing_else(other, tmp_path):
    known = {"data": "all of them"}
    elsewhere = [STD_AT | {"init": "sft"}, SFT_AT | {"init": "random"}, SFT_AT | {"init": "heart-0123456789abcdef"}]
    for settings in (SFT_TEACHER, *elsewhere):
        write_network(tmp_path, **known | settings | {"imitation": "released"})
    like = [TEACHER, STD_AT, SFT_AT | {"imitation": "released"}]
    unlike = [
        TEACHER | {"model": "D4C5"},
        *(s | {"method": "fitnets"} for s in like[1:]),
        like[1] | {"weight_factor": 3.0},
    ]
    for settings in (*unlike, *(s | other for s in like)):
        write_network(tmp_path, **known | settings)
    assert {"teacher", "start"}.isdisjoint(comparisons.comparisons(tmp_path, metrics=("psnr",)).against)
    for gain, settings in enumerate(like, 1):
        write_network(tmp_path, gain, **known | settings)
    table = comparisons.comparisons(tmp_path, metrics=("psnr",))
    assert not table[table.against.isin(("teacher", "start"))].note.str.contains("against").any()
    found = [(name.split(",")[0], round(gain)) for kind in ("teacher", "start") for name, gain in
             table.loc[table.against == kind, ["network", "difference"]].to_numpy()]  # fmt: skip
    assert sorted(found) == [("SFT teacher", -1), ("SFT-KD AT", -3), ("SFT-KD AT", -3), ("Std-KD AT", -2)]


def test_without_equal_conditions_the_plain_student_is_told_what_differs(tmp_path):
    write_network(tmp_path, data="a few", train_slices=12)
    write_network(tmp_path, data="all", **STD_AT)
    (note,) = comparisons.comparisons(tmp_path, "student", metrics=("psnr",)).note
    assert note.startswith("Std-KD AT: data all against a few, train_slices 0 against 12; one seed")


def test_a_longer_student_is_held_against_the_plain_one_of_the_networks_whose_control_it_is(tmp_path):
    """And neither against the shortest one of the study, nor is a plain student held against another one."""
    for settings in ({}, {"epochs": 3}, {"train_slices": 12, "data": "a few", "epochs": 48}):
        write_network(tmp_path, **settings)
        write_network(tmp_path, **settings | STD_AT)
    for settings in (SFT_AT, CONTROL, CONTROL | {"epochs": 18}, {"init": "sft"}):
        write_network(tmp_path, **settings, steps=240 if settings == {"init": "sft"} else None)
    table = comparisons.comparisons(tmp_path, metrics=("psnr",))
    found = {network: reference for network, reference in pairs(table, "student") if "KD" not in network}
    assert found == {
        "control, epochs 24": "student", "control, epochs 18": "student, epochs 3", "student, init sft": "student",
    }  # fmt: skip
    assert ("student, init sft", "control, epochs 24") in pairs(table, "control")


def test_teachers_stand_beside_the_plain_student_of_each_size(tmp_path):
    small = {"model": "D2C5"}
    for settings in (
        {},
        small,
        TEACHER,
        TEACHER | {"epochs": 48, "train_slices": 12},
        {"epochs": 48, "train_slices": 12},
    ):
        write_network(tmp_path, **settings)
    for size in ("D3C5", "D2C5"):
        write_network(tmp_path, **SFT_TEACHER, student_network=size)
    assert pairs(comparisons.comparisons(tmp_path), "student") == {
        ("teacher", "student"), ("teacher", "student, network D2C5"),
        ("teacher, epochs 48, train_slices 12", "student, epochs 48, train_slices 12"),
        ("SFT teacher", "student"), ("SFT teacher, student_network D2C5", "student, network D2C5"),
    }  # fmt: skip


def test_what_a_network_lacks_of_its_teacher_is_of_the_one_that_it_learned_from(tmp_path):
    write_network(tmp_path)
    for gain, settings in enumerate((STD_AT, TEACHER, TEACHER | {"epochs": 48}, TEACHER | {"model": "D4C5"})):
        write_network(tmp_path, gain, **settings | ({"teacher_epochs": 48} if settings == STD_AT else {}))
    found = row(comparisons.comparisons(tmp_path), "student", "Std-KD AT")
    assert found.gap_teacher == pytest.approx(-2, abs=0.03)


def test_names_say_of_training_data_how_many_slices_they_are_and_what_most_networks_have_goes_unsaid(tmp_path):
    few = {"train_slices": 12, "data": "12 of all"}
    for settings in (TEACHER, STD_AT, {}, STD_AT | {"method": "fitnets"}):
        write_network(tmp_path, data="all", **settings)
    for settings in (few, TEACHER | few):
        write_network(tmp_path, **settings)
    assert {c.name for c in configurations(tmp_path)} == {
        "teacher", "student", "Std-KD AT", "Std-KD FitNets", "teacher, train_slices 12", "student, train_slices 12",
    }  # fmt: skip


def test_a_switch_that_a_network_does_not_depend_on_is_not_in_its_name(tmp_path):
    learned = {"teacher_network": "V12", "schedule": "two_stage"}
    for settings in ({}, {"role": "control", "epochs": 24}, *({"method": m} for m in ("at", "ft", "nst"))):
        write_network(tmp_path, **settings if "method" not in settings else STD_AT | settings | learned)
    write_network(tmp_path, **SFT_AT | learned | {"imitation": "released"})
    write_network(tmp_path, **STD_AT | learned | {"teacher_network": "V11"})
    assert {c.name for c in configurations(tmp_path)} == {
        "student", "control, epochs 24", "Std-KD AT", "Std-KD FT", "Std-KD NST", "SFT-KD AT",
        "Std-KD AT, teacher_network V11",
    }  # fmt: skip


def test_the_control_has_as_many_steps_as_lie_behind_the_weights_of_a_student(tmp_path):
    two_stages = STD_AT | {"schedule": "two_stage"}
    for settings in ({}, {"role": "control", "epochs": 24}, {"role": "control", "epochs": 36}):
        write_network(tmp_path, **settings)
    for settings in (STD_AT, SFT_AT, two_stages, SFT_AT | {"schedule": "two_stage"}, SFT_AT | {"init": "random"}):
        write_network(tmp_path, **settings)
    table = comparisons.comparisons(tmp_path, metrics=("psnr",))
    controls = {(r.network, r.reference) for r in table[table.against == "control"].itertuples()}
    assert controls == {
        ("SFT-KD AT", "control, epochs 24"),
        ("Std-KD AT, schedule two_stage", "control, epochs 24"),
        ("SFT-KD AT, schedule two_stage", "control, epochs 36"),
    }
    plain = table[(table.against == "student")]
    assert set(plain.reference) == {"student"} and {"control, epochs 24", "control, epochs 36"} < set(plain.network)


def test_the_steps_of_a_control_are_those_of_the_start_too_wherever_that_was_trained(tmp_path):
    """A ready SFT training of 720 steps, then 14 epochs of 16: 944 steps, 59 epochs of a control, not 28."""
    write_network(tmp_path, epochs=14, steps=224)
    write_network(tmp_path, **SFT_AT, epochs=14, steps=944, teacher_origin="ready")
    write_network(tmp_path, **STD_AT, epochs=14, steps=224)
    for epochs in (28, 58, 60):  # too short, and longer by more than rounding up to a whole epoch
        write_network(tmp_path, role="control", epochs=epochs, steps=16 * epochs)
    assert comparisons.comparisons(tmp_path, "control").empty
    write_network(tmp_path, role="control", epochs=59, steps=944)
    table = comparisons.comparisons(tmp_path, "control", metrics=("psnr",))
    assert table[["network", "reference"]].to_numpy().tolist() == [
        ["SFT-KD AT, teacher_origin ready", "control, epochs 59"]
    ]


def test_the_control_of_equal_cost_pays_for_the_teacher_too(tmp_path):
    """The epochs are those that the study would train; one more or less is no control of it."""
    for settings in ({}, STD_AT, SFT_AT | {"teacher_origin": "ready"}):
        write_network(tmp_path, **settings)
    (kd,) = (c.experiment for c in configurations(tmp_path) if c.experiment.teacher == "standard")
    epochs = epochs_of_cost(kd, replace(kd, role="control", teacher="", method=""))
    assert 3.9 * kd.epochs < epochs < 5 * kd.epochs
    for other in (epochs - 1, epochs + 1):
        write_network(tmp_path, role="control", epochs=other)
    assert comparisons.comparisons(tmp_path, "cost").empty
    write_network(tmp_path, role="control", epochs=epochs)
    table = comparisons.comparisons(tmp_path, "cost", metrics=("psnr",))
    assert table[["network", "reference"]].to_numpy().tolist() == [["Std-KD AT", f"control, epochs {epochs}"]]


def test_steps_that_no_record_tells_are_not_guessed(tmp_path):
    for settings in ({}, {"role": "control", "epochs": 24}, SFT_AT):
        write_network(tmp_path, **settings, steps=0)
    assert comparisons.comparisons(tmp_path, "control").empty


def test_unequal_recipes_are_told(tmp_path):
    write_network(tmp_path, **{"epochs": 60, "lr": 3e-3, "augment": "flips", "lr_schedule": "one_cycle"})
    write_network(tmp_path, **STD_AT)
    table = comparisons.comparisons(tmp_path, "student")
    told = "Std-KD AT: epochs 12 against 60, lr 0.001 against 0.003, lr_schedule steps against one_cycle, augment none"
    assert table.note.str.startswith(told).all()
    write_network(tmp_path)
    assert (
        not comparisons.comparisons(tmp_path, "student")
        .query("network == 'Std-KD AT'")
        .note.str.contains("against")
        .any()
    )


def test_only_networks_that_saw_the_same_slices_are_compared(tmp_path):
    write_network(tmp_path)
    for place in ({"acceleration": "5x"}, {"dataset": "brain"}, {"resolution": 96}, {"slices_of": "b"}):
        write_network(tmp_path, **STD_AT, **place)
    assert comparisons.comparisons(tmp_path).empty


def test_a_subject_may_be_called_anything(tmp_path):
    write_run(tmp_path)
    before = comparisons.comparisons(tmp_path)
    for path in tmp_path.rglob("metrics.csv"):
        table = pd.read_csv(path, dtype={"subject": str})
        names = dict(zip(table.subject.unique(), ["NA", "null", "None", "nan", "007", "1e3", "TRUE", "7"], strict=True))
        table.assign(subject=table.subject.map(names)).to_csv(path, index=False)
    after = comparisons.comparisons(tmp_path)
    pd.testing.assert_frame_equal(after[["subjects", "n", "difference"]], before[["subjects", "n", "difference"]])


DAMAGE = {
    "empty record": ("config.json", "", "config.json is damaged"),
    "no record": ("config.json", None, "has lost its config.json"),
    "a list": ("config.json", "[1]", "config.json holds list"),
    "another kind": ("config.json", {"config": "x"}, "config.json is damaged .config = 'x'"),
    "no seed": ("config.json", {"config": {**SETTINGS, **STD_AT, "seed": None}}, "seed = None: expected an integer"),
    "a value too deep": ("config.json", {"config": {**SETTINGS, "data": [1]}}, "expected names and single values"),
    "no role": (
        "config.json",
        {"config": {**SETTINGS, "role": "master"}},
        "role = 'master': expected one of zero_filled",
    ),
    "a wrong switch": ("config.json", {"config": {**SETTINGS, "alpha": "x"}}, "switch alpha = 'x'"),
    "no evaluation": ("config.json", {"config": SETTINGS, "parameters": 1, "evaluation": None}, "evaluation = None"),
    "no figures": ("metrics.csv", "", "metrics.csv lacks the column 'volume'"),
    "no row": ("metrics.csv", "volume,slice,subject,psnr,ssim,nmse,mse,hfn,vif\n", "metrics.csv has no row"),
    "no file": ("metrics.csv", None, "metrics.csv cannot be read .no such file"),
    "figures of nobody knows what": (
        "config.json",
        {"config": SETTINGS, "parameters": 1},
        "expected its evaluation; delete metrics.csv",
    ),
}


@pytest.mark.parametrize("case", DAMAGE)
def test_a_network_whose_files_are_damaged_is_left_out_and_named(case, tmp_path, capsys):
    name, content, message = DAMAGE[case]
    write_run(tmp_path, seeds=(0,), networks={"student": {}, "teacher": TEACHER})
    folder = write_network(tmp_path, **STD_AT)
    (folder / "best_model.pt").touch()
    (folder / name).unlink()
    if content is not None:
        (folder / name).write_text(content if isinstance(content, str) else json.dumps(content), encoding="utf-8")
    (left_out,) = write_results(tmp_path)
    assert re.search(message, left_out) and str(folder) in left_out and "\n" not in left_out
    assert left_out in capsys.readouterr().err
    page = BeautifulSoup((tmp_path / "report.html").read_text(encoding="utf-8"), "html.parser")
    assert [note.text for note in page.find_all(class_="note")][1:] == [f"Left out: {left_out}"]
    assert "student" in set(results.summary(tmp_path).model) and len(results.summary(tmp_path)) == 3


def test_another_reference_can_be_chosen(tmp_path):
    write_run(tmp_path)
    table = comparisons.comparisons(tmp_path, {"model": "sft_teacher"}, metrics=("nmse",))
    assert set(table.reference) == {"SFT teacher"} and len(table) == 5 and set(table.metric) == {"nmse"}
    assert comparisons.comparisons(tmp_path, {"epochs": "24"}).reference.unique() == ["student, epochs 24"]
    with pytest.raises(InputError, match="column 'colour' is unknown: expected one of model, network"):
        comparisons.comparisons(tmp_path, {"colour": "red"})
    write_network(tmp_path, 0.2, **SFT_AT, switch_of_tomorrow="on")
    assert comparisons.comparisons(tmp_path, {"switch_of_tomorrow": "on"}).reference.str.endswith("_tomorrow on").all()
    with pytest.raises(InputError, match="no network of .* has method=sp, or none can be compared with it: expected"):
        comparisons.comparisons(tmp_path, {"method": "sp"})
    with pytest.raises(
        InputError, match="against 'best': expected one of student, control, cost, std-kd, teacher, start,"
    ):
        comparisons.comparisons(tmp_path, "best")


def test_networks_without_a_common_seed_are_listed_but_not_compared(tmp_path):
    write_network(tmp_path, seed=0)
    write_network(tmp_path, seed=1, **STD_AT)
    found = row(comparisons.comparisons(tmp_path), "student", "Std-KD AT")
    assert found.seeds == 0 and found.verdict == "not tested" and np.isnan(found.difference)
    assert found.note.startswith("seeds [1] and [0] of the reference: expected a common one")


def test_tables_that_do_not_match_are_listed_but_not_compared(tmp_path):
    write_network(tmp_path)
    path = write_network(tmp_path, **STD_AT) / "metrics.csv"
    path.write_text(path.read_text(encoding="utf-8").replace(",2,", ",999,"), encoding="utf-8")
    found = row(comparisons.comparisons(tmp_path), "student", "Std-KD AT")
    assert found.verdict == "not tested" and "were not evaluated on the same slices" in found.note


def test_two_subjects_are_not_tested_and_the_table_says_why(tmp_path):
    write_run(tmp_path, seeds=(0,), subjects=2)
    table = comparisons.write_comparisons(tmp_path)
    assert (table.verdict == "not tested").all() and table[["p", "p_holm", "low"]].isna().all(axis=None)
    assert table.note.str.contains("2 subjects: fewer than 6").all() and table.note.str.contains("one seed").all()
    read = pd.read_csv(tmp_path / "comparisons.csv")
    assert read.difference.tolist() == pytest.approx(table.difference.tolist())


def test_a_run_without_anything_to_compare_has_an_empty_table_with_its_columns(tmp_path):
    write_network(tmp_path)
    assert comparisons.write_comparisons(tmp_path).empty
    assert tuple(pd.read_csv(tmp_path / "comparisons.csv").columns) == comparisons.COLUMNS


def test_the_report_shows_the_comparisons_and_says_why_something_is_not_shown(tmp_path):
    write_run(tmp_path, subjects=6)
    write_results(tmp_path, {"model": "sft_teacher"})
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    reference = "Reference: student, epochs 24. 36 slices of 6 subject(s)"
    for text in ("<h2>Comparisons</h2>", "Against model=sft_teacher", reference):
        assert text in page
    assert "up to 2 seeds" in page
    std = next(line for line in page.split("<tr>") if "<td>Std-KD AT</td>" in line)
    assert "worse" in std and "<td>yes</td>" in std


def test_a_reference_that_is_no_assignment_is_refused(tmp_path, monkeypatch, capsys):
    write_run(tmp_path)
    monkeypatch.setattr("sys.argv", ["kdrecon", "report", str(tmp_path), "--against", "teacher"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 2
    assert capsys.readouterr().err.startswith("error: --against 'teacher': expected name=value")


def test_the_page_shows_markup_of_records_and_file_names_as_text(tmp_path):
    evil = "<img src=x onerror=alert(1)>"
    hostile = {"dataset": evil, "acceleration": evil, "model": evil, "method": evil, "teacher": evil, "precision": evil}
    write_run(tmp_path, networks=RUN | {"student": {"model": evil}, "evil": hostile})
    for folder in tmp_path.glob("experiments/*/*/*"):
        record = json.loads((folder / "config.json").read_text(encoding="utf-8"))
        (folder / "config.json").write_text(json.dumps(record | {"precision": evil, "layout": evil}), encoding="utf-8")
    for part in ("figures", "notebooks"):
        (tmp_path / part).mkdir()
        (tmp_path / part / f"{evil}.png").write_bytes(b"")
        (tmp_path / part / f'" onclick="{evil}.html').write_bytes(b"")
    write_results(tmp_path)
    page = BeautifulSoup((tmp_path / "report.html").read_text(encoding="utf-8"), "html.parser")
    assert {image["src"].partition(",")[0] for image in page.find_all("img")} == {"data:image/png;base64"}
    assert not page.find_all(onclick=True) and not page.find_all(onerror=True)
    assert evil in page.get_text()


@pytest.mark.parametrize("text", ["=HYPERLINK(1)", "+1", "-1", "@sum", "\t=1"])
def test_no_table_holds_a_formula(text, tmp_path):
    table = pd.DataFrame({"subject": [text, "a=b"], "psnr": [-1.5, 2.0]})
    write_table(table, tmp_path / "table.csv")
    found = pd.read_csv(tmp_path / "table.csv")
    assert found.subject.tolist() == [f"'{text}", "a=b"] and found.psnr.tolist() == [-1.5, 2.0]


def test_a_table_shows_the_bytes_of_a_name_that_is_not_utf8(tmp_path):
    write_table(pd.DataFrame({"subject": ["L\udce4ufe"]}), tmp_path / "table.csv")
    assert pd.read_csv(tmp_path / "table.csv").subject.tolist() == [r"L\udce4ufe"]


def test_a_network_is_read_once_for_all_tables_and_anew_when_its_figures_change(tmp_path, monkeypatch):
    write_run(tmp_path, seeds=(0,), networks={"student": {}})
    folder, read = write_network(tmp_path, 0.4, **STD_AT), []
    real = archive.read_metrics
    monkeypatch.setattr(archive, "read_metrics", lambda folder: read.append(folder) or real(folder))
    write_results(tmp_path)
    assert len(read) == len(set(read)) == 3
    before = results.summary(tmp_path).psnr.iloc[-1]
    table = pd.read_csv(folder / "metrics.csv")
    write_table(table.assign(psnr=table.psnr + 1), folder / "metrics.csv")
    assert results.summary(tmp_path).psnr.iloc[-1] == pytest.approx(before + 1) and len(read) == 4


def test_networks_are_equal_within_the_margin_that_is_chosen(tmp_path, monkeypatch):
    """0.05 dB on eight people and three seeds: less than 0.1 dB, more than 0.04 dB; another metric has no margin."""
    for seed in (0, 1, 2):
        for gain, settings in ((0.0, {}), (0.05, STD_AT)):
            write_network(tmp_path, gain, seed=seed, **settings)
    found = row(comparisons.comparisons(tmp_path), "student", "Std-KD AT")
    assert found.equal and found.margin == 0.1 and found.p_equal < 0.05
    assert not row(comparisons.comparisons(tmp_path, margin=0.04), "student", "Std-KD AT").equal
    ssim = row(comparisons.comparisons(tmp_path), "student", "Std-KD AT", "ssim")
    assert np.isnan([ssim.equal, ssim.p_equal, ssim.margin]).all()
    monkeypatch.setattr("sys.argv", ["kdrecon", "report", str(tmp_path), "--margin", "0.04"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert caught.value.code == 0 and set(pd.read_csv(tmp_path / "comparisons.csv").margin.dropna()) == {0.04}
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "equal within" not in page


@pytest.mark.parametrize(
    ("p", "text", "verdict"),
    [
        (0.0496, "< 0.05", "better"), (0.0499999, "< 0.05", "better"), (0.0494, "0.049", "better"),
        (0.0004, "< 0.001", "better"), (0.05, "0.050", "not shown"), (0.0504, "0.050", "not shown"),
        (1.0, "1.000", "not shown"),
    ],
)  # fmt: skip
def test_a_p_value_reads_as_its_verdict(p, text, verdict, tmp_path):
    write_run(tmp_path, networks={"student": {}, "teacher": TEACHER})
    table = comparisons.comparisons(tmp_path, "student", ("psnr",))
    shown = formatted_comparisons(judged(table.assign(p=p), "psnr"))
    assert (shown["p (Holm)"] == text).all() and (shown.verdict == verdict).all()


@pytest.mark.parametrize("margin", [0.0, -0.1, np.nan, np.inf])
def test_a_margin_that_is_none_is_refused(margin, tmp_path):
    with pytest.raises(InputError, match="margin .*: expected a number above 0, in dB of PSNR"):
        comparisons.comparisons(tmp_path, margin=margin)

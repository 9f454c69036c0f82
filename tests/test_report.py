"""The page of a run: the sentence it opens with, its forest plots, its tables."""

import re

import numpy as np
import pandas as pd
import pytest
from bs4 import BeautifulSoup
from test_comparisons import RUN, SFT_AT, SFT_TEACHER, STD_AT, TEACHER, write_network, write_run

from kdrecon.results import comparisons, display
from kdrecon.results.answer import answer
from kdrecon.results.evaluation import typical_slice
from kdrecon.results.forest import Axis, forest
from kdrecon.results.report import write_results
from kdrecon.results.studies import shipped_study
from kdrecon.results.tables import summary

ROW = {
    "against": "control", "network": "SFT-KD AT", "reference": "control", "metric": "psnr", "difference": 0.2,
    "low": 0.1, "high": 0.3, "verdict": "better", "subjects": 9, "seeds": 3, "steps": 20, "reference_steps": 20, "note": "",
    "equal": False, "margin": 0.1,
}  # fmt: skip
LIMITS = "What limits these comparisons: standard deviations of the differences"
UNSEEN = {"low": np.nan, "high": np.nan, "verdict": "not tested"}
STD = {"network": "Std-KD AT", "against": "student", "reference": "student"}
ANSWERS = {
    "better": (
        [{}],
        "Distillation helped here: against a student trained alone for as many steps, SFT-KD AT is better, at +0.20 dB "
        "PSNR (95 % interval +0.10 to +0.30; 9 subjects, 3 seeds).",
    ),
    "worse": (
        [{"difference": -0.2, "low": -0.3, "high": -0.1, "verdict": "worse"}],
        "Distillation did harm here: against a student trained alone for as many steps, SFT-KD AT is worse, at -0.20 dB "
        "PSNR (95 % interval -0.30 to -0.10; 9 subjects, 3 seeds).",
    ),
    "both, and one that is neither": (
        [
            {}, STD | {"difference": -0.3, "low": -0.4, "high": -0.2, "verdict": "worse"},
            STD | {"network": "Std-KD SP", "verdict": "not shown"},
        ],
        "Whether distillation helps depends on the method here: against a student trained alone for as many steps, 1 of 3 "
        "distilled students (SFT-KD AT) is better, at +0.20 dB PSNR (95 % interval +0.10 to +0.30; 9 subjects, 3 seeds), "
        "1 of 3 distilled students (Std-KD AT) is worse, at -0.30 dB PSNR (95 % interval -0.40 to -0.20; 9 subjects, "
        "3 seeds), nothing is shown of the rest.",
    ),
    "two better": (
        [{}, STD | {"difference": 0.3, "low": 0.05, "high": 0.55, "seeds": 2}],
        "Distillation helped here: against a student trained alone for as many steps, 2 of 2 distilled students are better, "
        "at +0.20 to +0.30 dB PSNR (95 % intervals within +0.05 to +0.55; 9 subjects, 2 to 3 seeds).",
    ),
    "equal, and one that is not": (
        [
            {"difference": 0.01, "low": -0.05, "high": 0.07, "verdict": "not shown", "equal": True},
            STD | {"verdict": "not shown"},
        ],
        "Distillation made no difference here: against a student trained alone for as many steps, 1 of 2 distilled students "
        "(SFT-KD AT) is equal within 0.1 dB, at +0.01 dB PSNR (95 % interval -0.05 to +0.07; 9 subjects, 3 seeds), nothing "
        "is shown of the rest.",
    ),
    "better by less than the margin": (
        [{"difference": 0.03, "low": 0.01, "high": 0.05, "equal": True}],
        "Distillation helped here: against a student trained alone for as many steps, SFT-KD AT is better, at +0.03 dB "
        "PSNR (95 % interval +0.01 to +0.05; 9 subjects, 3 seeds).",
    ),
    "not to be told": (
        [{"difference": 0.0, "low": -0.1, "high": 0.1, "verdict": "not shown"}],
        "Whether distillation helps cannot be told here: SFT-KD AT lies +0.00 dB PSNR (95 % interval -0.10 to +0.10; "
        "9 subjects, 3 seeds) from a student trained alone for as many steps, and no difference is shown.",
    ),
    "one seed": (
        [{"verdict": "not tested", "seeds": 1}],
        "Whether distillation helps was not tested here: SFT-KD AT lies +0.20 dB PSNR (95 % interval +0.10 to +0.30; "
        "9 subjects, 1 seed) from a student trained alone for as many steps, and what others would give takes at least "
        "2 seeds.",
    ),
    "one person": (
        [UNSEEN | {"subjects": 1, "seeds": 1}, UNSEEN | STD | {"subjects": 1, "seeds": 1, "difference": -0.4}],
        "Whether distillation helps was not tested here: 2 distilled students lie -0.40 to +0.20 dB PSNR (1 subject, 1 seed) "
        "from a student trained alone for as many steps, and what others would give takes at least 6 subjects and 2 seeds.",
    ),
    "no control": (
        [STD | {"network": "SFT-KD AT", "reference_steps": 10}],
        "Whether distillation helps cannot be told here: against the plain student, which took fewer steps (this run has no "
        "control), SFT-KD AT is better with more steps behind it, at +0.20 dB PSNR (95 % interval +0.10 to +0.30; "
        "9 subjects, 3 seeds).",
    ),
    "no control, and worse": (
        [STD | {"reference_steps": 10, "difference": -0.2, "low": -0.3, "high": -0.1, "verdict": "worse"}],
        "Distillation did harm here: against the plain student, which took fewer steps (this run has no control), Std-KD AT "
        "is worse, at -0.20 dB PSNR (95 % interval -0.30 to -0.10; 9 subjects, 3 seeds).",
    ),
    "a longer plain student": (
        [STD | {"reference_steps": 30, "difference": -0.2, "low": -0.3, "high": -0.1, "verdict": "worse"}],
        "Whether distillation helps cannot be told here: against the plain student, which took more steps (this run has no "
        "control), Std-KD AT is worse with fewer steps behind it, at -0.20 dB PSNR (95 % interval -0.30 to -0.10; "
        "9 subjects, 3 seeds).",
    ),
    "no control for one": (
        [STD, STD | {"network": "SFT-KD AT", "reference_steps": 10}],
        "Distillation helped here: against a student trained alone for as many steps (fewer beside SFT-KD AT: no control), "
        "1 of 2 distilled students (Std-KD AT) is better, at +0.20 dB PSNR (95 % interval +0.10 to +0.30; 9 subjects, "
        "3 seeds), 1 of 2 distilled students (SFT-KD AT) is better with more steps behind it, at +0.20 dB PSNR "
        "(95 % interval +0.10 to +0.30; 9 subjects, 3 seeds).",
    ),
    "a control below the plain student": (
        [{}, {"against": "student", "reference": "student", "reference_steps": 10, "verdict": "not shown"}],
        "Whether distillation helps cannot be told here: against a student trained alone for as many steps, SFT-KD AT is "
        "better, but not shown to beat every student trained alone, at +0.20 dB PSNR (95 % interval +0.10 to +0.30; "
        "9 subjects, 3 seeds).",
    ),
    "at equal cost": (
        [{"against": "cost", "reference_steps": 10}],
        "Distillation helped here: against a student trained alone at equal cost, SFT-KD AT is better, at +0.20 dB PSNR "
        "(95 % interval +0.10 to +0.30; 9 subjects, 3 seeds).",
    ),
    "at equal cost for one": (
        [{"against": "cost"}, STD],
        "Distillation helped here: against a student trained alone at equal cost or for as many steps, 2 of 2 distilled "
        "students are better, at +0.20 dB PSNR (95 % intervals within +0.10 to +0.30; 9 subjects, 3 seeds).",
    ),
    "no common seed": (
        [UNSEEN | {"difference": np.nan, "seeds": 0, "subjects": np.nan}],
        "Whether distillation helps was not tested here: no distilled student shares seed and slices with a student trained "
        "alone for as many steps.",
    ),
    "nothing distilled": (
        [STD | {"network": "teacher"}],
        "Whether distillation helps was not asked here: no distilled student stands beside one trained alone.",
    ),
}  # fmt: skip


@pytest.mark.parametrize("case", ANSWERS)
def test_the_answer_of_a_run(case):
    changes, sentence = ANSWERS[case]
    assert answer(pd.DataFrame([ROW | change for change in changes])) == sentence


def test_the_fairest_reference_answers():
    cost = {"against": "cost", "difference": 0.5, "low": 0.4, "high": 0.6}
    assert "at equal cost, SFT-KD AT is better, at +0.50 dB" in answer(pd.DataFrame([ROW, ROW | cost]))
    rows = [
        STD | {"network": "SFT-KD AT", "difference": 9.0, "reference_steps": 10},
        {"against": "std-kd", "difference": 8.0},
        {},
    ]
    assert answer(pd.DataFrame([ROW | row for row in rows])) == ANSWERS["better"][1]


SHIPPED = {
    "course": (
        "Whether distillation helps cannot be told here",
        "(SFT-KD AT, epochs 12, teacher_epochs 50) is better with",
    ),
    "super_resolution": (
        "Whether distillation helps cannot be told here",
        "2 of 4 distilled students are better, but not",
    ),
    "sunnybrook": ("Whether distillation helps cannot be told here", "no difference is shown"),
}


@pytest.mark.parametrize("name", SHIPPED)
def test_the_answers_of_the_shipped_studies(name):
    """No distilled student of theirs is shown to be better than all that were trained alone."""
    sentence, (opening, part) = answer(shipped_study(name).comparisons), SHIPPED[name]
    assert sentence.startswith(f"{opening}: ") and part in sentence


def test_the_axis_holds_zero_and_all_values_between_round_ones():
    axis = Axis.of([0.2, 0.9, np.nan])
    assert axis.low < 0 < 0.9 < axis.high and axis.ticks == [0, 0.5]
    assert Axis.of([]).place(0.0) == "50.0%"
    places = [float(axis.place(value).removesuffix("%")) for value in (axis.low, 0.0, 0.9, axis.high)]
    assert places == sorted(places) and (places[0], places[-1]) == (0, 100)


def test_the_rows_of_the_forest_plot():
    rows = [
        {},
        {"network": "Std-KD AT", "verdict": "not shown"} | UNSEEN,
        {"network": "other seeds", "difference": np.nan},
    ]
    axis = Axis(-0.3, 0.7, [])
    shown, seen = forest(pd.DataFrame([ROW | row for row in rows]), axis)
    assert (shown.network, shown.centre, shown.low, shown.high) == ("SFT-KD AT", "50.0%", "40.0%", "60.0%")
    assert (shown.difference, shown.interval, shown.shown) == ("+0.20", "(+0.10 to +0.30)", True)
    assert (seen.network, seen.low, seen.high, seen.interval, seen.shown) == ("Std-KD AT", "", "", "", False)


def page_of(run_root):
    write_results(run_root)
    return BeautifulSoup((run_root / "report.html").read_text(encoding="utf-8"), "html.parser")


def test_the_page_opens_with_answer_picture_and_forest_plots(tmp_path):
    write_run(tmp_path, networks=RUN | {"control": {"role": "control", "epochs": 24}})
    (tmp_path / "figures").mkdir()
    for name in ("box_plots", "comparison"):
        (tmp_path / "figures" / f"{name}.png").write_bytes(b"")
    page = page_of(tmp_path)
    opening = page.h1.find_next_sibling()
    assert opening["class"] == ["answer"] and opening.text.startswith(
        "Whether distillation helps depends on the method here"
    )
    assert page.img["alt"] == "comparison" and page.img.find_previous("table") is None
    table = page.find("table")
    assert table["class"] == ["forest"] and table.find_all("th", scope="rowgroup")[1].text.startswith(
        "Against a student"
    )
    compared = comparisons.comparisons(tmp_path, metrics=("psnr",))
    named = [cell.next for cell in table.find_all("th", scope="row")]
    assert named == compared.network.tolist() and len(table.find_all(class_="interval")) == len(compared)
    assert len(table.find_all("circle", class_="shown")) == compared.verdict.isin(["better", "worse"]).sum()


def test_a_place_has_its_own_answer_and_plots(tmp_path):
    write_run(tmp_path)
    write_run(tmp_path, seeds=(0,), dataset="brain")
    page = page_of(tmp_path)
    brain, heart = (part.text for part in page.find_all(class_="answer"))
    assert brain.startswith("brain, 4x, 150, validation: Whether distillation helps was not tested")
    assert heart.startswith("heart, 4x, 150, validation: Whether distillation helps depends")
    assert (
        len(page.find_all(class_="forest")) == 2
        and "brain, 4x, 150 x 150, validation split, 48 slices; heart" in page.text
    )


def test_tables_use_the_names_of_the_lessons_and_have_no_empty_column(tmp_path):
    write_run(tmp_path, seeds=(0,), subjects=2, networks=RUN | {"control": {"role": "control", "epochs": 24}})
    page = page_of(tmp_path)
    cells = {cell.text for cell in page.find_all("td")}
    assert not {"sft_teacher", "zero_filled", "standard"} & cells and page.text.count("2 subjects: fewer than 6") == 1
    table = page.find("h2", string="Table").find_next("table")
    names = [row.td.text for row in table.find_all("tr")[1:]]
    assert names == ["zero-filled", "teacher", "student", "SFT teacher", "control, epochs 24", "Std-KD AT", "SFT-KD AT"]
    for shown in page.find_all("table", class_="dataframe"):
        for column in zip(*[[cell.text for cell in row.find_all("td")] for row in shown.find_all("tr")[1:]]):
            assert any(column), shown.th.text
    heads = {cell.text for cell in page.find_all("th")}
    assert {"PSNR (dB)", "difference (dB)"} < heads and not {"verdict", "p (Holm)", "95 % interval (dB)"} & heads
    assert {fold.summary.text: fold.table is not None for fold in page.find_all("details")} == {
        "Networks, parameters, epochs and best epochs": True, "Parameters": False, LIMITS: True,
    }  # fmt: skip
    assert "epochs" not in {cell.text for cell in table.find_all("th")}


def test_a_setting_is_told_of_the_networks_that_it_makes_a_difference_to(tmp_path):
    small, of_small = {"model": "D2C5"}, {"student_network": "D2C5"}
    write_run(tmp_path, seeds=(0,), networks={"teacher": TEACHER | {"lr": 1e-4}, "SFT teacher": SFT_TEACHER | of_small})
    write_network(tmp_path, **small | {"fidelity": "hermitian"})
    write_network(tmp_path, **small | SFT_AT | {"kd_form": "released", "imitation": "released"})
    differing = {"init", "lr", "fidelity", "imitation"}
    told = display.filled(display.formatted_settings(summary(tmp_path))).set_index("network")
    assert set(told) == {"architecture", "parameters", "epochs", "seeds"} | differing
    assert (told.loc["zero-filled", list(differing)] == "").all()
    assert told.imitation[told.imitation != ""].to_dict() == {"SFT teacher": "paper", "SFT-KD AT": "released"}
    write_network(tmp_path, **SFT_TEACHER)
    told = display.formatted_settings(summary(tmp_path))
    assert sorted(told.student_network[told.student_network != ""]) == ["D2C5", "D3C5"]


def test_a_note_that_holds_for_some_networks_names_them(tmp_path):
    write_run(tmp_path, networks={"student": {}, "teacher": TEACHER})
    write_network(tmp_path, **STD_AT)
    (note,) = [item.text for item in page_of(tmp_path).find_all("li")]
    assert note.startswith("Std-KD AT: one seed: the interval is about these two networks")


def test_the_page_fits_a_phone_and_the_dark(tmp_path):
    write_run(tmp_path)
    page = page_of(tmp_path)
    assert page.find("meta", {"name": "viewport"})["content"] == "width=device-width, initial-scale=1"
    style = page.style.text
    assert "prefers-color-scheme: dark" in style and re.search(r"td:first-child \{ position: sticky; left: 0", style)
    assert all(table.parent["class"] == ["scroll"] for table in page.find_all("table"))


def test_names_tell_apart_what_differs_within_a_place_alone(tmp_path):
    for place in ({}, {"dataset": "brain"}):
        for settings in ({}, STD_AT, SFT_AT, SFT_AT | {"init": "random"}):
            write_network(tmp_path, **settings, **place)
    write_network(tmp_path, **STD_AT, switch_of_tomorrow="on")
    table = display.formatted(summary(tmp_path))
    usual = ["student", "Std-KD AT", "SFT-KD AT, init random", "SFT-KD AT"]
    assert table.network[table.dataset == "brain"].tolist() == usual
    assert set(table.network[table.dataset == "heart"]) == {*usual, "Std-KD AT, switch_of_tomorrow on"}


def test_the_slice_to_look_at_is_typical_of_the_volume_with_most_slices():
    volumes = ["bare"] + ["head"] * 4 + ["bare 2"] * 3 + ["other head"] * 4
    psnr = [26.0, 20.0, 29.0, 22.0, 24.0, 26.0, 26.5, 26.2, 30.0, 31.0, 32.0, 33.0]
    table = pd.DataFrame({"volume": volumes, "psnr": psnr})
    assert typical_slice(table) == 4
    assert typical_slice(table.iloc[::-1].reset_index(drop=True)) == 1  # the other head comes first here
    assert typical_slice(table.iloc[:1]) == 0


def test_of_people_the_slice_to_look_at_is_of_a_whole_head():
    slices = shipped_study("course").slices
    for _, table in slices.groupby(["network", "seed"]):
        found = table.reset_index(drop=True)
        assert not found.subject[typical_slice(found)].startswith("antspyx")

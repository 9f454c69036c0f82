import re
from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_comparisons import RUN, SFT_AT, SFT_TEACHER, STD_AT, TEACHER, ZERO_FILLED, write_network, write_run

from kdrecon.app import cli, study
from kdrecon.errors import InputError
from kdrecon.metrics import PSNR
from kdrecon.results import shipped_study
from kdrecon.results.power import typical_spread
from kdrecon.results.references import AGAINST
from kdrecon.results.statistics import compare
from kdrecon.results.studies import FILES, PAGE, export_study, read_study
from kdrecon.results.study_page import page
from kdrecon.runs.matrix import read_matrix
from kdrecon.storage.places import PACKAGES, shipped_studies

STUDIES = sorted(path.name for path in shipped_studies().iterdir())


def check(study, tolerance):
    """The three tables speak of the same networks, and the differences are those of the slices."""
    assert set(study.slices.network) == set(study.summary.name)
    assert {*study.comparisons.network, *study.comparisons.reference} <= set(study.summary.name)
    seeds = {name: ", ".join(map(str, sorted(set(rows.seed)))) for name, rows in study.slices.groupby("network")}
    trained = study.summary[study.summary.model != "zero_filled"]
    assert trained.seed.tolist() == [seeds[name] for name in trained.name]
    scores = {
        name: dict(tuple(rows.reset_index(drop=True).groupby("seed"))) for name, rows in study.slices.groupby("network")
    }
    compared = study.comparisons[(study.comparisons.metric == "psnr") & study.comparisons.difference.notna()]
    for row in compared.itertuples():
        found = compare({name: scores[name] for name in (row.network, row.reference)}, row.reference).iloc[0]
        assert found.difference == pytest.approx(row.difference, abs=tolerance)


def test_the_tables_of_a_study_are_those_of_its_networks(tmp_path):
    write_run(tmp_path / "run")
    write_network(tmp_path / "run", seed=3, **STD_AT, lr=2e-3)
    written = export_study(tmp_path / "run", tmp_path / "out", {"matrix": "mine.yaml", "left": []})
    check(written, 1e-3)
    assert written.about["networks"] == len(RUN) * 2 + 1 and written.about["matrix"] == "mine.yaml"
    assert written.summary.teacher.tolist().count("") == 5 and written.slices.subject.map(type).eq(str).all()
    assert written.comparisons.low.dtype == written.comparisons.p.dtype == np.float64
    before = {name: (tmp_path / "out" / name).read_bytes() for name in FILES}
    export_study(tmp_path / "run", tmp_path / "out", {"matrix": "mine.yaml", "left": []})
    assert before == {name: (tmp_path / "out" / name).read_bytes() for name in FILES}


def test_a_person_may_be_called_anything_in_a_shipped_table(tmp_path):
    path = write_network(tmp_path / "run") / "metrics.csv"
    table = pd.read_csv(path, dtype={"subject": str})
    names = dict(zip(table.subject.unique(), ["NA", "null", "007", "1e3", "TRUE", "7", "nan", "None"], strict=True))
    table.assign(subject=table.subject.map(names)).to_csv(path, index=False)
    assert set(export_study(tmp_path / "run", tmp_path / "out", {"matrix": "a", "left": []}).slices.subject) == set(
        names.values()
    )


def test_one_command_writes_the_tables_of_what_is_done_and_names_what_is_not(tmp_path, monkeypatch, capsys):
    matrix = tmp_path / "mine.yaml"
    matrix.write_text("{dataset: sample, resolution: 150, epochs: 12, networks: [student, teacher]}", encoding="utf-8")
    baseline, *_, teacher, student = (job.experiment for job in read_matrix(matrix).jobs())
    folder = write_network(tmp_path / "run", **student.config())
    folder.rename(student.folder(tmp_path / "run"))
    monkeypatch.setattr(
        "sys.argv", ["kdrecon", "study", f"{matrix}", "--out", f"{tmp_path / 'run'}", "--export", f"{tmp_path / 'out'}"]
    )
    with pytest.raises(SystemExit) as ended:
        cli.main()
    assert not ended.value.code and "tables of 1 of 3 networks" in capsys.readouterr().out
    about = read_study(tmp_path / "out").about
    assert about["matrix"] == "mine.yaml"
    places = [experiment.folder(Path("sample/acc_4x")).name for experiment in (baseline, teacher)]
    assert about["left"] == [f"sample/acc_4x/{name.replace('_seed-0', ', seed 0')}" for name in places]
    (damaged := teacher.folder(tmp_path / "run")).mkdir()
    for name, text in {"metrics.csv": "nothing", "config.json": "{"}.items():
        (damaged / name).write_text(text, encoding="utf-8")
    study.export(matrix, tmp_path / "run", tmp_path / "out")
    printed = capsys.readouterr()
    assert read_study(tmp_path / "out").about["left"] == about["left"] and "1 of 3 networks" in printed.out
    assert f"left out: {damaged / 'config.json'} is damaged" in printed.err


def test_a_network_that_the_matrix_does_not_ask_for_is_in_no_table_of_it(tmp_path):
    (matrix := tmp_path / "mine.yaml").write_text("{dataset: sample, networks: [student]}", encoding="utf-8")
    strange = [write_network(tmp_path / "run", seed=seed) for seed in (0, 1)]
    with pytest.raises(InputError, match=f"{strange[0].name} and 1 more: expected no network that .* does not ask for"):
        study.export(matrix, tmp_path / "run", tmp_path / "out")
    assert not (tmp_path / "out").exists()


SMALL = {"model": "D2C5"}
FEW = {"train_slices": 12, "data": "a few"}
MADE_UP = [
    {}, {"epochs": 24}, TEACHER, SFT_TEACHER, STD_AT, SFT_AT, STD_AT | {"init": "sft"}, SFT_AT | {"init": "random"},
    {"init": "sft"}, STD_AT | {"weight_factor": 3.0}, TEACHER | {"epochs": 48}, STD_AT | {"teacher_epochs": 48},
    TEACHER | FEW, STD_AT | FEW, FEW, FEW | {"epochs": 24}, SFT_AT | FEW,
    *(SMALL | network for network in (
        {}, STD_AT, SFT_AT, {"epochs": 24, "role": "control"}, SFT_AT | FEW, FEW,
    )),
]  # fmt: skip


def made_up(folder, networks, seeds=(0, 1), **options):
    """The tables of a study of made-up networks, the larger ones with more parameters."""
    for settings in networks:
        for seed in [settings["seed"]] if "seed" in settings else seeds:
            write_network(folder / "run", **options | settings | {"seed": seed})
    study = export_study(folder / "run", folder / "out", {"matrix": "mine.yaml", "left": []})
    return replace(study, summary=study.summary.assign(parameters=study.summary.network.map(PARAMETERS)))


PARAMETERS = {"zero_filled": 0, "D2C5": 2, "D3C5": 3, "D4C5": 4, "D5C5": 5}


def sections(study):
    """The page of a study: what stands under each title."""
    text = page(study.about, study.summary, study.comparisons, study.slices)
    return dict(part.split("\n", 1) for part in text.split("\n## "))


@pytest.mark.parametrize("name", [*STUDIES, "made up"])
def test_every_comparison_stands_on_the_page(name, tmp_path):
    study = made_up(tmp_path, MADE_UP, (0,)) if name == "made up" else shipped_study(name)
    tables = [(title, text) for title, part in sections(study).items() for text in part.split("Against ")[1:]]
    compared = study.comparisons[study.comparisons.metric == "psnr"]
    for row in compared.itertuples():
        names = rf"^\| {re.escape(row.network)} \| {re.escape(row.reference)} \|"
        line = re.compile(rf"{names}.* {re.escape(PSNR.signed(row.difference))} \|", re.MULTILINE)
        found = [title for title, text in tables if text.startswith(AGAINST[row.against]) and line.search(text)]
        assert found, (row.against, row.network, row.reference)
    if name == "made up":
        assert set(compared.against) == {*AGAINST} - {"cost"}


def test_a_page_asks_question_by_question():
    """And person by person what the teacher is above the students."""
    study = shipped_study("course")
    study.about["left"] = ["a, seed 0", "a, seed 1"]
    found = sections(study)
    opening, first = [*found.values()][:2]
    assert "asks for 2 networks more, which these tables lack: a (2)." in opening
    assert [*found][1:] == [
        "Is the teacher better?", "Does distillation help?", "Which first weights?",
        "Short trainings below a finished teacher", "The weight of the distillation", "Few training slices",
        "A student that trains alone for as long, or for as much", "At equal cost, the teacher's included",
        "The student D2C5", "Who gains", "What limits a claim",
    ]  # fmt: skip
    assert "teacher minus student, network D2C5 |" in first and first.count("\n| antspyx-") == 6
    assert "| **3 whole heads** |" in first and "| **6 skull-stripped slices** |" in first
    assert "2400 against 1200" in found["Does distillation help?"] and "D2C5" not in found["Does distillation help?"]
    assert "weight_factor" not in found["Short trainings below a finished teacher"]
    people = study.slices.groupby(["network", "subject"]).psnr.mean().unstack()
    gain = people.loc["Std-KD FitNets"] - people.loc["student"]
    heads = PSNR.signed(gain[~gain.index.str.startswith("antspyx")].mean())
    stripped = PSNR.signed(gain[gain.index.str.startswith("antspyx")].mean())
    told = " | ".join(["Std-KD FitNets", heads, stripped, *map(PSNR.signed, gain)])
    assert f"| {told} |" in found["Who gains"] and "SFT teacher" not in found["Who gains"]
    spread = typical_spread(study.comparisons)
    assert (
        f"{PSNR.text(spread.sd_people)} dB over people, {PSNR.text(spread.sd_seeds)} dB" in found["What limits a claim"]
    )


@pytest.mark.parametrize("size", ["D2C5", "D4C5"])
def test_the_largest_student_is_asked_first_whichever_is_most_frequent(size, tmp_path):
    """And a size beside it has all its comparisons in a part of its own, those with its control among them."""
    each = [{}, STD_AT, SFT_AT, {"epochs": 24, "role": "control"}]
    often = [STD_AT | {"method": key} for key in ("cc", "sp", "nst")]
    networks = [network | {"model": model} for model in ("D3C5", size) for network in each + often * (model == "D2C5")]
    study = made_up(tmp_path, networks, (0,))
    largest, other = sorted(("D3C5", size), reverse=True)
    found = {title: part for title, part in sections(study).items() if "| network |" in part and title != "Who gains"}
    assert [*found] == [
        "Does distillation help?", "A student that trains alone for as long, or for as much", f"The student {other}"
    ]  # fmt: skip
    of_size = dict(zip(study.summary.name, study.summary.network))
    for title, part in found.items():
        networks = {line.split(" | ")[0][2:] for line in part.splitlines() if line.startswith("| ")} - {"network"}
        assert {of_size[name] for name in networks} == {other if title == f"The student {other}" else largest}
    assert "for as many steps" in found[f"The student {other}"]


ONE_SEED = "with one seed the 95 % interval is about the two networks alone, and nothing is tested."
ALONE = "No network has another one here that it can be compared with."


@pytest.mark.parametrize(
    "networks, options, opening, limits",
    [
        ([{}, TEACHER], {"seeds": (3,)}, f"over seeds; {ONE_SEED} 8 people, 1 seed.", ["one seed: the interval is about"]),
        ([{}, TEACHER], {"subjects": 3}, "over seeds. 3 people, 2 seeds.", ["3 subjects: fewer than 6, so no interval"]),
        ([{}, TEACHER | {"seed": 7}], {}, "over seeds. 8 people, 3 seeds.", ["seeds [7] and [0, 1] of the reference: "]),
        ([{}, TEACHER, STD_AT | {"seed": 1}], {}, f"kind of reference; {ONE_SEED} 8 people, 2 seeds.", ["Std-KD AT: one"]),
        ([{}], {"seeds": (1,)}, f"{ALONE} 8 people, 1 seed.", []),
        ([{}], {"subjects": 1}, f"{ALONE} 1 person, 2 seeds.", []),
    ],
)  # fmt: skip
def test_a_page_says_what_its_intervals_are_about_and_why_there_are_none(networks, options, opening, limits, tmp_path):
    write_network(tmp_path / "run", gain=-6, **ZERO_FILLED, subjects=options.get("subjects", 8))
    first, *found = sections(made_up(tmp_path, networks, **options)).items()
    assert first[1].rstrip().endswith(opening)
    listed = [
        line
        for title, part in found
        if title == "What limits a claim"
        for line in part.splitlines()
        if line[:2] == "- "
    ]
    assert len(listed) == len(limits) and all(map(str.startswith, listed, (f"- {text}" for text in limits)))


def test_a_page_without_a_teacher_does_not_ask_whether_it_is_better(tmp_path):
    study = made_up(tmp_path, [{}, STD_AT])
    assert [*sections(study)][1:] == ["Does distillation help?", "Who gains", "What limits a claim"]
    study = made_up(tmp_path / "teachers", [TEACHER, SFT_TEACHER])
    (title, part), _ = [*sections(study).items()][1:]
    assert title == "Is the teacher better?" and "| SFT teacher | teacher |" in part and "Person by person" not in part


def test_a_page_has_a_part_for_each_place(tmp_path):
    for acceleration in ("4x", "5x"):
        for settings in ({}, TEACHER):
            write_network(tmp_path / "run", **settings, acceleration=acceleration)
    export_study(tmp_path / "run", tmp_path / "out", {"matrix": "mine.yaml", "left": []})
    text = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert re.findall("^## .*", text, re.MULTILINE) == [
        f"## {title}, heart, {acceleration}, 150, validation"
        for acceleration in ("4x", "5x")
        for title in ("Is the teacher better?", "What limits a claim")
    ]


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_page_shows_the_shipped_tables(name):
    study = shipped_study(name)
    written = (shipped_studies() / name / PAGE).read_text(encoding="utf-8")
    assert written == page(study.about, study.summary, study.comparisons, study.slices)


def test_what_is_told_of_the_course_is_in_its_tables():
    """But for hundredths, by which intervals change with every network that the study gets."""
    compared = shipped_study("course").comparisons.query("metric == 'psnr'")
    told = (PACKAGES / "docs" / "study.md").read_text(encoding="utf-8")
    rows = re.findall(r"^\| (.+) \| (.+) \| (\S+) \((\S+) to (\S+)\)(, shown)? \|$", told, re.MULTILINE)
    for network, reference, *figures, shown in rows:
        found = compared[(compared.network == network) & (compared.reference == reference)].iloc[0]
        assert [found.difference, found.low, found.high] == pytest.approx([*map(float, figures)], abs=0.03), network
        assert bool(shown) == (found.verdict in ("better", "worse")), network
    assert len(rows) == 15


@pytest.mark.parametrize("name", STUDIES)
def test_a_shipped_study_is_whole(name):
    study = shipped_study(name)
    check(study, 2e-3)
    assert (PACKAGES / "study" / study.about["matrix"]).is_file()
    networks = study.summary[study.summary.model != "zero_filled"].seed.str.split(", ").map(len).sum()
    assert networks == study.about["networks"] == sum(part["networks"] for part in study.about["trainings"])


def test_the_shipped_studies_are_small():
    assert sum(path.stat().st_size for path in shipped_studies().rglob("*.*")) < 2**20 and "course" in STUDIES


def test_a_study_that_is_not_there_is_refused(tmp_path, monkeypatch):
    with pytest.raises(InputError, match="study 'curse': expected one of .*course.*; check the name"):
        shipped_study("curse")
    with pytest.raises(InputError, match="has no about.json: expected it; kdrecon study --export writes it"):
        read_study(tmp_path)
    monkeypatch.setattr("kdrecon.storage.places.PACKAGES", tmp_path)
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match="or studies, which are not installed .* expected to be started in a checkout"):
        shipped_study("course")

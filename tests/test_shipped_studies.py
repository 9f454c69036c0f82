import re
from pathlib import Path

import numpy as np
import pandas as pd
import pytest
from test_comparisons import RUN, STD_AT, TEACHER, write_network, write_run

from kdrecon.app import cli, study
from kdrecon.errors import InputError
from kdrecon.metrics import PSNR
from kdrecon.results import shipped_study
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


def test_a_page_asks_question_by_question():
    """Every comparison of PSNR stands on it, and person by person what the teacher is above the students."""
    study = shipped_study("course")
    study.about["left"] = ["a, seed 0", "a, seed 1"]
    text = page(study.about, study.summary, study.comparisons, study.slices)
    sections = dict(part.split("\n", 1) for part in text.split("\n## ")[1:])
    assert "asks for 2 networks more, which these tables lack: a (2)." in text
    for row in study.comparisons[study.comparisons.metric == "psnr"].itertuples():
        assert re.search(rf"\| {re.escape(row.network)} \|.* \| {re.escape(PSNR.signed(row.difference))} \|", text)
    assert list(sections) == [
        "Is the teacher better?", "Does distillation help?", "Which first weights?",
        "Short trainings below a finished teacher", "The weight of the distillation", "Few training slices",
        "A smaller student", "A student that trains alone for as long, or for as much",
        "At equal cost, the teacher's included",
    ]  # fmt: skip
    first = sections["Is the teacher better?"]
    assert "teacher minus student, network D2C5 |" in first and first.count("\n| antspyx-") == 6
    assert "| **3 whole heads** |" in first and "| **6 skull-stripped slices** |" in first
    assert (
        "2400 against 1200" in sections["Does distillation help?"] and "D2C5" not in sections["Does distillation help?"]
    )
    assert "weight_factor" not in sections["Short trainings below a finished teacher"]


def test_a_page_has_a_part_for_each_place(tmp_path):
    for acceleration in ("4x", "5x"):
        for settings in ({}, TEACHER):
            write_network(tmp_path / "run", **settings, acceleration=acceleration)
    export_study(tmp_path / "run", tmp_path / "out", {"matrix": "mine.yaml", "left": []})
    text = (tmp_path / "out" / PAGE).read_text(encoding="utf-8")
    assert re.findall("^## .*", text, re.MULTILINE) == [
        f"## Is the teacher better?, heart, {acceleration}, 150, validation" for acceleration in ("4x", "5x")
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

import json
import os
import re

import h5py
import nbformat
import numpy as np
import pandas as pd
import pytest
import torch
import yaml
from conftest import TINY, kdrecon
from filelock import FileLock

from kdrecon import data
from kdrecon.app import batch, cli
from kdrecon.app.cli import choose_notebooks
from kdrecon.choices import SPLITS
from kdrecon.errors import InputError
from kdrecon.runs.parameters import read_parameters
from kdrecon.storage.places import notebooks
from kdrecon.training.recipe import JOBS

METHODS = ["at", "cc", "fitnets", "fsp", "sp"]


def test_a_run_leaves_everything_it_promises(tiny_run):
    out, done = tiny_run
    assert done.returncode == 0, done.stderr
    names = [path.stem for path in choose_notebooks(notebooks())]
    assert re.findall(r"\[\d+/\d+\] (\w+): done, \d+ s", done.stdout) == names and len(names) > 9
    for name in names:
        text = (out / "notebooks" / f"{name}.html").read_text(encoding="utf-8")
        assert len(text) > 10_000 and "<script" not in text and str(out) not in text
        notebook = nbformat.read(out / "notebooks" / f"{name}.ipynb", as_version=4)
        assert all(cell.execution_count for cell in notebook.cells if cell.cell_type == "code" and cell.source)
    page = (out / "report.html").read_text(encoding="utf-8")
    assert "A shortened run: 1 epochs" in page and page.count("data:image/png;base64,") >= 2
    assert yaml.safe_load((out / "params.yaml").read_text(encoding="utf-8"))["resolution"] == 48


def test_the_summary_of_a_run(tiny_run):
    table = pd.read_csv(tiny_run[0] / "summary.csv", keep_default_na=False)
    kinds = list(zip(table.model, table.teacher, table.method, table.init))
    assert kinds[:4] == [(m, "", "", "random") for m in ("zero_filled", "teacher", "student", "sft_teacher")]
    assert kinds[4] == ("control", "", "", "random") and table.epochs[4] == 2 * table.epochs[3]
    others = [("student", "standard", m, "random") for m in ("image", *METHODS[1:])]
    assert sorted(kinds[5:12]) == sorted([("student", "standard", "at", i) for i in ("random", "sft")] + others)
    assert kinds[12:] == [("student", "sft", "at", i) for i in ("random", "sft")] + [
        ("student", "sft", m, "sft") for m in METHODS[1:]
    ]
    assert np.isfinite(table.select_dtypes("number")).all(axis=None)
    assert (table.split == "test").all() and (table.n == 20).all()


def test_eighteen_networks_have_eighteen_different_weights(tiny_run):
    paths = list(tiny_run[0].glob("experiments/sample/acc_4x/*/best_model.pt"))
    weights = [torch.load(path, weights_only=True)["model"] for path in paths]
    assert len(weights) == 18
    assert len({b"".join(t.numpy().tobytes() for t in state.values()) for state in weights}) == 18


def test_a_second_run_repeats_nothing(tiny_run):
    out, _ = tiny_run
    before = {path: path.stat().st_mtime_ns for path in out.glob("experiments/**/*.pt")}
    done = kdrecon("run", "--params", TINY, "--out", out)
    assert done.returncode == 0 and done.stdout.count("already done") == len(choose_notebooks(notebooks()))
    assert before == {path: path.stat().st_mtime_ns for path in out.glob("experiments/**/*.pt")}


def test_other_parameters_run_anew(tiny_run):
    done = kdrecon("run", "--params", TINY, "--out", tiny_run[0], "--only", "01", "-p", "seed=1")
    assert done.returncode == 0 and "[1/1] 01_kspace_undersampling: done" in done.stdout


def test_report_is_written_anew(tiny_run):
    out, _ = tiny_run
    (out / "report.html").unlink()
    assert kdrecon("report", out).returncode == 0 and (out / "report.html").exists()


def notebook(folder, name, source):
    folder.mkdir(exist_ok=True)
    parameters = nbformat.v4.new_code_cell("run_root = ''", metadata={"tags": ["parameters"]})
    cells = [parameters, nbformat.v4.new_code_cell(source)]
    book = nbformat.v4.new_notebook(cells=cells, metadata={"language_info": {"name": "python"}})
    nbformat.write(book, folder / f"{name}.ipynb")


def test_notebooks_are_not_executed_into_themselves(tmp_path):
    notebook(tmp_path / "notebooks", "00_fine", "print('fine')")
    before = (tmp_path / "notebooks" / "00_fine.ipynb").read_bytes()
    with pytest.raises(InputError, match="holds the notebooks that are to be executed: .*choose another --out"):
        batch.run(read_parameters(TINY, []), tmp_path, choose_notebooks(tmp_path / "notebooks"))
    assert [p.name for p in tmp_path.iterdir()] == ["notebooks"]
    assert (tmp_path / "notebooks" / "00_fine.ipynb").read_bytes() == before


def test_a_failed_notebook_is_kept_and_a_rerun_continues(tmp_path, capsys):
    parameters = read_parameters(TINY, [])
    books, out = tmp_path / "books", tmp_path / "out {x} {{y}}"  # papermill fills in what stands in braces
    notebook(books, "00_fine", "print('fine')")
    notebook(books, "01_broken", "assert run_root == '', run_root")
    with pytest.raises(batch.NotebookFailed, match="01_broken failed in cell .*AssertionError"):
        batch.run(parameters, out, choose_notebooks(books))
    assert "AssertionError" in (out / "notebooks" / "01_broken.html").read_text(encoding="utf-8")
    notebook(books, "01_broken", "print('mended')")
    batch.run(parameters, out, choose_notebooks(books))
    printed = capsys.readouterr().out
    assert "[1/2] 00_fine: already done" in printed and "[2/2] 01_broken: done" in printed


def test_a_kernel_that_dies_fails_its_notebook_and_a_rerun_continues(tmp_path, capsys):
    parameters, books = read_parameters(TINY, []), tmp_path / "books"
    notebook(books, "00_fine", "print('fine')")
    notebook(books, "01_dying", "import os; os._exit(1)")
    with pytest.raises(batch.NotebookFailed, match="the kernel of 01_dying died"):
        batch.run(parameters, tmp_path / "out", choose_notebooks(books))
    record = json.loads((tmp_path / "out" / "notebooks" / "finished.json").read_text(encoding="utf-8"))
    assert record["01_dying"].startswith("failed: the kernel of 01_dying died") and "failed" not in record["00_fine"]
    notebook(books, "01_dying", "print('mended')")
    batch.run(parameters, tmp_path / "out", choose_notebooks(books))
    printed = capsys.readouterr().out
    assert "[1/2] 00_fine: already done" in printed and "[2/2] 01_dying: done" in printed


def test_a_run_passes_jobs_to_its_notebooks_and_another_number_finds_what_is_finished(tmp_path, capsys, monkeypatch):
    monkeypatch.delenv(JOBS, raising=False)
    notebook(tmp_path / "books", "00_jobs", f"import os; assert os.environ['{JOBS}'] == '3'")
    for jobs in (3, 1):
        batch.run(read_parameters(TINY, []), tmp_path / "out", choose_notebooks(tmp_path / "books"), jobs)
    assert [line.split(",")[0] for line in capsys.readouterr().out.splitlines() if "00_jobs" in line] == [
        "[1/1] 00_jobs: done",
        "[1/1] 00_jobs: already done",
    ]
    assert JOBS not in os.environ


def test_a_notebook_whose_packages_are_not_installed_is_left_out_with_a_word(tmp_path, capsys):
    notebook(tmp_path / "books", "09_more", "import os\nimport no_such.module\nfrom nor_this import x\nimport no_such")
    batch.run(read_parameters(TINY, []), tmp_path / "out", choose_notebooks(tmp_path / "books"))
    said = capsys.readouterr().out.splitlines()[0]
    assert said == "[1/1] 09_more: left out, it needs no_such, nor_this; install that and run the same command again"
    assert not list((tmp_path / "out" / "notebooks").iterdir())


def test_a_network_that_cannot_be_read_has_its_notebooks_run_again(tmp_path, capsys):
    parameters, books = read_parameters(TINY, []), tmp_path / "books"
    notebook(books, "00_fine", "print('fine')")
    folder = tmp_path / "out" / "experiments" / "sample" / "acc_4x" / "D3C5_student"
    folder.mkdir(parents=True)
    for _ in range(2):
        batch.run(parameters, tmp_path / "out", choose_notebooks(books))
        (folder / "best_model.pt").touch()  # and its record is lost
    printed = capsys.readouterr()
    assert printed.out.count("00_fine: done") == 2
    assert printed.err.startswith(f"the notebooks run again, because {folder} has lost its config.json")


def test_a_damaged_list_of_finished_notebooks_is_refused_with_the_remedy(tmp_path):
    (tmp_path / "finished.json").write_text("{", encoding="utf-8")
    with pytest.raises(InputError, match="finished.json is damaged .*delete it and run the same command again"):
        batch._execute(tmp_path / "00.ipynb", tmp_path, {})


def test_a_run_without_evaluated_networks_names_what_it_has_written(tmp_path, capsys):
    batch.run(read_parameters(TINY, []), tmp_path / "out", [])
    assert capsys.readouterr().out == f"results: {tmp_path / 'out' / 'notebooks'}\n"


def test_what_a_notebook_does_not_show_is_given_to_its_settings(tmp_path):
    notebook(tmp_path / "books", "00_few", "assert epochs == 1 and settings['seed'] == 3 and 'lr' not in settings")
    path = tmp_path / "books" / "00_few.ipynb"
    path.write_text(
        path.read_text(encoding="utf-8").replace("run_root = ''", "epochs = 8; settings = {}"), encoding="utf-8"
    )
    batch.run(read_parameters(TINY, ["seed=3", "lr=3.0e-3"]), tmp_path / "out", [path])
    page = (tmp_path / "out" / "notebooks" / "00_few.html").read_text(encoding="utf-8")
    assert str(tmp_path) not in page and "settings" in page


def test_choosing_notebooks(tmp_path):
    for name in ("00_a", "01_b", "02_c"):
        notebook(tmp_path / "books", name, "1")
    stems = [[p.stem for p in choose_notebooks(tmp_path / "books", *choice)] for choice in (("01", ""), ("", "02"))]
    assert stems == [["01_b", "02_c"], ["02_c"]]
    with pytest.raises(InputError, match="--from 07: expected the number of a notebook, one of 00, 01, 02"):
        choose_notebooks(tmp_path / "books", "07")


def test_a_second_run_in_the_same_folder_is_refused(tmp_path):
    (tmp_path / "out").mkdir()
    with FileLock(tmp_path / "out" / ".lock"), pytest.raises(InputError, match="another process is at work"):
        batch.run(read_parameters(TINY, []), tmp_path / "out", [])


BAD = {
    "unknown name": (["-p", "epoch=3"], "unknown parameter 'epoch'"),
    "text for a number": (["-p", "epochs=ten"], "epochs = 'ten': expected an integer"),
    "unknown method": (["-p", "methods=[at, magic]"], "method 'magic' is unknown: expected one of at"),
    "acceleration without mask": (["-p", "acceleration=3x"], "acceleration '3x' has no mask: expected one of 4x"),
    "wrong path": (["-p", "data_root=/no/such/folder"], "data_root '/no/such/folder' is not a folder"),
    "unknown data set": (["-p", "dataset=knees"], "data set 'knees' is not in"),
    "resolution": (["-p", "resolution=500"], "resolution 500 is above the stored 240"),
    "missing file": (["--params", "nowhere.yaml"], "nowhere.yaml does not exist"),
    "no assignment": (["-p", "epochs"], "-p 'epochs': expected name=value"),
    "notebook number": (["--only", "33"], "--only 33: expected the number of a notebook"),
    "run_root": (["-p", "run_root=here"], "name the folder with --out"),
    "name not in UTF-8": (["--out", "L\udce4ufe"], r"L\udce4ufe: expected a name in UTF-8"),
    "broken YAML": (["-p", "methods=[at"], "is not valid YAML"),
    "unknown preset": (
        ["-p", "preset=papers"],
        "preset 'papers' is unknown: expected one of paper, course, as_released, kd_mri",
    ),
    "unknown switch": (
        ["-p", "switches={fidelty: real}"],
        "switch 'fidelty' is unknown: expected one of teacher_network",
    ),
    "unknown value": (
        ["-p", "switches={fidelity: exact}"],
        "switch fidelity = 'exact': expected one of real, hermitian",
    ),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_refused_before_anything_starts(case, tmp_path, monkeypatch, capsys):
    arguments, message = BAD[case]
    assert_refused(["--params", str(TINY), *arguments], message, tmp_path, monkeypatch, capsys)


@pytest.mark.parametrize("case", ["empty folder", "no volfs", "NaN", "mask of another size"])
def test_bad_data_is_refused_before_anything_starts(case, tmp_path, monkeypatch, capsys):
    folder = tmp_path / "data" / "sample"
    images, arrays, message = np.ones((2, 48, 48), np.float32), {}, "no .h5 file for split 'train'"
    if case == "NaN":
        images[0, 0, 0] = np.nan
        message = "volfs holds 1 values that are NaN"
    if case == "mask of another size":
        arrays, message = {"mask_4x": np.ones((9, 48), bool)}, r"mask_4x is of size (9, 48), volfs of (48, 48)"
    folder.mkdir(parents=True)
    if case != "empty folder":
        for split in SPLITS:
            data.write_volume(folder / split / "1.h5", images, {}, **arrays)
    if case == "no volfs":
        with h5py.File(folder / "train" / "1.h5", "a") as file:
            file.move("volfs", "images")
        message = "has no dataset 'volfs'"
    arguments = ["--params", str(TINY), "-p", f"data_root={tmp_path / 'data'}"]
    assert_refused(arguments, message, tmp_path, monkeypatch, capsys)


def assert_refused(arguments, message, tmp_path, monkeypatch, capsys):
    monkeypatch.setattr("sys.argv", ["kdrecon", "run", "--out", str(tmp_path / "out"), *arguments])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    printed = capsys.readouterr().err
    assert caught.value.code == 2
    assert printed.startswith("error: ") and message in printed and printed.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_info(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["kdrecon", "info"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    assert not caught.value.code
    assert re.search(r"D5C5 +141,765 parameters", capsys.readouterr().out)


def test_info_measures_the_cost(capsys, monkeypatch):
    monkeypatch.setattr("sys.argv", ["kdrecon", "info", "--cost", "--size", "16"])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    printed = capsys.readouterr().out
    assert not caught.value.code and "16 x 16:" in printed
    assert re.search(r"D2C5 +3045 +\S+ +fp32 +16 +\S+ +\S+", printed)

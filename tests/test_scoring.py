import shutil
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import pytest
import trees

from kdrecon import metrics, results
from kdrecon.app import cli
from kdrecon.data.volumes import write_volume
from kdrecon.errors import InputError
from kdrecon.results import scoring
from kdrecon.results.report import write_report, write_results
from kdrecon.runs.laboratory import Laboratory


@pytest.fixture(scope="module")
def run(tmp_path_factory):
    """The zero-filled baseline of the sample, evaluated by kdrecon: laboratory, its folder and its table."""
    lab = Laboratory(
        dataset="sample",
        preset="paper",
        run_root=str(tmp_path_factory.mktemp("run")),
        resolution=64,
        ready=False,
        device="cpu",
    )
    network = lab.zero_filled()
    return lab, network.folder, results.evaluate(lab, network)


def write(folder, name, **arrays):
    folder.mkdir(exist_ok=True)
    with h5py.File(folder / name, "w") as file:
        for key, array in arrays.items():
            file[key] = array


def called(monkeypatch, *arguments):
    monkeypatch.setattr("sys.argv", ["kdrecon", "score", *map(str, arguments)])
    with pytest.raises(SystemExit) as caught:
        cli.main()
    return caught.value.code or 0


def test_it_agrees_with_the_metrics_of_a_run(run, tmp_path, monkeypatch, capsys):
    _, folder, table = run
    assert called(monkeypatch, folder / "results", folder / "results", "--out", tmp_path / "metrics.csv") == 0
    read = pd.read_csv(tmp_path / "metrics.csv", dtype={"volume": str, "subject": str})
    pd.testing.assert_frame_equal(read, pd.read_csv(folder / "metrics.csv", dtype={"volume": str, "subject": str}))
    printed = capsys.readouterr().out
    assert "20 slices of 1 subject(s)" in printed and f"psnr {table.psnr.mean():.5g}" in " ".join(printed.split())


def test_hidden_files_are_neither_scored_nor_shown(run, tmp_path):
    lab, folder, table = run
    copy = Path(shutil.copytree(lab.parameters.run_root, tmp_path / "run"))
    for name in ("figures/map.png", "notebooks/00_start_here.html"):
        (copy / name).parent.mkdir()
        (copy / name).write_bytes(b"shown")
    plain = write_report(copy, results.summary(copy)).read_text(encoding="utf-8")
    whole = results.volume_wise(copy)
    trees.litter(copy)
    place = copy / folder.relative_to(lab.parameters.run_root) / "results"
    pd.testing.assert_frame_equal(scoring.score_folders(place, place), table)
    pd.testing.assert_frame_equal(results.volume_wise(copy), whole)
    assert write_report(copy, results.summary(copy)).read_text(encoding="utf-8") == plain


def test_a_table_does_not_overwrite_a_volume(run, monkeypatch, capsys):
    _, folder, _ = run
    path = next((folder / "results").glob("*.h5"))
    before = path.read_bytes()
    assert called(monkeypatch, folder / "results", folder / "results", "--out", path) == 2
    assert "expected a CSV file" in capsys.readouterr().err and path.read_bytes() == before


def test_targets_in_the_released_layout_agree_too(run, tmp_path):
    lab, folder, table = run
    name = next((folder / "results").iterdir()).name
    write_volume(tmp_path / name, 1000 * lab.test.x[:, 0].numpy(), {"subject": "someone"})
    found = scoring.score_folders(tmp_path, folder / "results")
    np.testing.assert_allclose(found[list(metrics.METRICS)], table[list(metrics.METRICS)], rtol=1e-5)
    assert set(found.subject) == {"someone"} and list(found.columns) == list(table.columns)


def test_volume_wise_by_hand(run, tmp_path, monkeypatch, capsys):
    lab, folder, table = run
    with h5py.File(next((folder / "results").iterdir())) as file:
        x, p = file["target"][:].astype(float), file["reconstruction"][:].astype(float)
    found = scoring.score_folders(folder / "results", folder / "results", volume_wise=True)
    assert len(found) == 1 and found.psnr[0] == pytest.approx(10 * np.log10(x.max() ** 2 / np.mean((x - p) ** 2)))
    assert found.nmse[0] == pytest.approx(((x - p) ** 2).sum() / (x**2).sum())
    assert found.ssim[0] == pytest.approx(np.mean([metrics.ssim(a, b, x.max()) for a, b in zip(x, p)]))
    whole = results.volume_wise(lab.parameters.run_folder)
    assert whole.psnr.tolist() == pytest.approx(found.psnr.tolist()) and abs(found.psnr[0] - table.psnr.mean()) > 0.1
    assert called(monkeypatch, folder / "results", folder / "results", "--volume-wise") == 0
    assert "1 volumes" in capsys.readouterr().out


def test_volume_wise_figures_of_a_run_are_a_table_of_their_own(run):
    lab, _, table = run
    out = lab.parameters.run_folder
    write_results(out)
    assert not (out / "volume_wise.csv").exists() and "Volume-wise" not in (out / "report.html").read_text(
        encoding="utf-8"
    )
    write_results(out, by_volume=True)
    volumes, slices = (pd.read_csv(out / name) for name in ("volume_wise.csv", "summary.csv"))
    assert volumes.network.tolist() == ["zero-filled"] and volumes.volumes.tolist() == [1] and "vif" not in volumes
    assert slices.psnr[0] == pytest.approx(table.psnr.mean()) != volumes.psnr[0]
    assert "They do not compare with the slice-wise figures above" in (out / "report.html").read_text(encoding="utf-8")


@pytest.mark.parametrize("damage", ["missing", "truncated", "without target", "another shape"])
def test_results_that_cannot_be_read_are_left_out_and_named(damage, run, tmp_path):
    out = shutil.copytree(run[0].parameters.run_folder, tmp_path / "run")
    (path,) = out.rglob("results/*.h5")
    content = path.read_bytes()
    path.unlink()
    if damage == "truncated":
        path.write_bytes(content[:900])
    elif damage != "missing":
        targets = {"target": IMAGES[:1]} if damage == "another shape" else {}
        write(path.parent, path.name, reconstruction=IMAGES, **targets)
    (message,) = write_results(out, by_volume=True)
    assert str(path.parent) in message and "; delete metrics.csv beside it and run again" in message
    assert "Volume-wise" not in (out / "report.html").read_text(encoding="utf-8")
    with pytest.raises(InputError, match="delete metrics.csv beside it"):
        results.volume_wise(out)


IMAGES = np.random.default_rng(0).random((3, 24, 24)).astype(np.float32)
BAD = {
    "missing": ({"1.h5": IMAGES, "2.h5": IMAGES}, {"1.h5": IMAGES}, "2.h5 has no counterpart in"),
    "too many": ({"1.h5": IMAGES}, {"1.h5": IMAGES, "7.h5": IMAGES}, "7.h5 has no counterpart in"),
    "shapes": ({"1.h5": IMAGES}, {"1.h5": IMAGES[:2]}, "reconstruction is (2, 24, 24), target (3, 24, 24)"),
    "axes": (
        {"1.h5": IMAGES},
        {"1.h5": np.moveaxis(IMAGES, 0, 2)},
        "reconstruction is (24, 24, 3), target (3, 24, 24)",
    ),
    "NaN": (
        {"1.h5": IMAGES},
        {"1.h5": np.where(IMAGES > 0.9, np.nan, IMAGES)},
        "values that are NaN or infinite: expected none",
    ),
    "scale": ({"1.h5": IMAGES}, {"1.h5": 255 * IMAGES}, "times 0.00392 the reconstruction fits its target best"),
    "empty slice": ({"1.h5": IMAGES * [[[0]], [[1]], [[1]]]}, {"1.h5": IMAGES}, "the target slice is zero everywhere"),
    "nothing": ({}, {"1.h5": IMAGES}, "holds no .h5 file"),
}


@pytest.mark.parametrize("case", BAD)
def test_bad_input_is_one_line_and_writes_nothing(case, tmp_path, monkeypatch, capsys):
    targets, reconstructions, message = BAD[case]
    for folder, files, key in (("t", targets, "target"), ("r", reconstructions, "reconstruction")):
        (tmp_path / folder).mkdir()
        for name, images in files.items():
            write(tmp_path / folder, name, **{key: images})
    assert called(monkeypatch, tmp_path / "t", tmp_path / "r", "--out", tmp_path / "metrics.csv") == 2
    printed = capsys.readouterr().err
    assert printed.startswith("error: ") and message in printed and printed.count("\n") == 1
    assert not (tmp_path / "metrics.csv").exists()


def test_files_without_the_expected_content(tmp_path, monkeypatch, capsys):
    for folder, content in (("t", {"target": IMAGES}), ("r", {"images": IMAGES})):
        write(tmp_path / folder, "1.h5", **content)
    assert called(monkeypatch, tmp_path / "t", tmp_path / "r") == 2
    assert "has no dataset 'reconstruction' (found: images)" in capsys.readouterr().err
    (tmp_path / "r" / "1.h5").write_bytes(b"no HDF5")
    assert called(monkeypatch, tmp_path / "t", tmp_path / "r") == 2
    assert "cannot be read as HDF5" in capsys.readouterr().err
    assert called(monkeypatch, tmp_path / "nowhere", tmp_path / "r") == 2
    assert "is not a folder" in capsys.readouterr().err

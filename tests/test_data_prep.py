import os
import subprocess
import sys
from pathlib import Path

import h5py
import matplotlib.image
import numpy as np
import pandas as pd
import pytest

from data_prep import pipeline, sample
from data_prep.sunnybrook import Sunnybrook
from kdrecon import data
from kdrecon.errors import InputError
from kdrecon.experiments import project_root
from kdrecon.sampling import published_mask

SAMPLES = project_root() / "data_prep" / "samples"
REAL_SUNNYBROOK = Path(os.environ.get("KDRECON_SUNNYBROOK", project_root().parent / "shared" / "data" / "sunnybrook"))


def data_prep(*arguments: str) -> subprocess.CompletedProcess:
    return subprocess.run([sys.executable, "-m", "data_prep", *arguments], capture_output=True, text=True, cwd="/")


def test_the_embedded_sample():
    manifest = pd.read_csv(SAMPLES / "sample" / "manifest.csv", index_col="split")
    levels = {}
    for split, (count, subject) in {
        "train": (48, "pycortex-S1"),
        "validation": (8, "pycortex-S1"),
        "test": (20, "Colin27"),
    }.items():
        with h5py.File(SAMPLES / "sample" / split / "1.h5") as file:
            assert file["volfs"].shape == (240, 240, count) and file["volfs"].dtype == np.uint8
            assert file.attrs["subject"] == subject == manifest.subject[split]
            assert manifest.slices[split] == count == len(file.attrs["levels"])
            levels[split] = file.attrs["levels"]
    assert levels["train"].min() - levels["validation"].max() > 5
    data.check_manifest(SAMPLES / "sample")


def test_the_embedded_sample_is_small_and_carries_its_licences():
    files = [path for path in SAMPLES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 5 * 2**20
    assert "BSD" in (SAMPLES / "LICENCE-mricron.txt").read_text()
    assert "Redistribution" in (SAMPLES / "LICENCE-pycortex.txt").read_text()
    provenance = (SAMPLES / "PROVENANCE.md").read_text()
    assert all(p.name in provenance and p.sha256 in provenance for p in (sample.PYCORTEX, sample.MRICRON))


def test_the_sample_is_rebuilt_byte_for_byte(tmp_path):
    source = os.environ.get("KDRECON_SAMPLE_SOURCES")
    if not source:
        pytest.skip("KDRECON_SAMPLE_SOURCES names no folder with the two source packages")
    sample.build(Path(source), tmp_path)
    built = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(built) == 6
    for path in built:
        assert (tmp_path / path).read_bytes() == (SAMPLES / path).read_bytes(), path


def test_a_missing_or_wrong_package_is_refused(tmp_path):
    with pytest.raises(InputError, match="pycortex-1.4.0.tar.gz does not exist"):
        sample.build(tmp_path, tmp_path / "out")
    (tmp_path / sample.PYCORTEX.name).write_bytes(b"something else")
    with pytest.raises(InputError, match="sha256 .* expected 9fdb292a"):
        sample.build(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("shape", [(5, 4), (10, 13)])
def test_centred_puts_the_centre_in_the_middle(shape):
    images = np.zeros((1, *shape))
    images[0, 3, 2] = 1
    assert pipeline.centred(images, 8, centre=(3, 2))[0, 4, 4] == 1
    assert pipeline.centred(images, 8).shape == (1, 8, 8)


def sunnybrook_tree(root: Path, patients: int = 4, size: int = 160) -> Path:
    rng = np.random.default_rng(0)
    folder = root / "Train" / "Images" / "Part1"
    folder.mkdir(parents=True)
    for patient in range(1, patients + 1):
        for frame in (7, 20):
            grey = rng.uniform(0.1, 1, (size, size, 1)).repeat(3, 2)
            matplotlib.image.imsave(folder / f"SC-HF-I-{patient:02d}-IM-0001-{frame:04d}.dcm.png", grey)
    return root


def test_sunnybrook(tmp_path):
    source = sunnybrook_tree(tmp_path / "source")
    done = data_prep("sunnybrook", str(source), "--out", str(tmp_path), "--split", "2,1,1", "-a", "4x", "-a", "8x")
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "sunnybrook"
    manifest = pd.read_csv(folder / "manifest.csv")
    assert manifest.split.value_counts().to_dict() == {"train": 2, "validation": 1, "test": 1}
    assert manifest.subject.nunique() == 4 and (manifest.slices == 2).all()
    assert (folder / "contact_sheet.png").stat().st_size > 1000
    assert [p.name for p in tmp_path.iterdir() if p.name.startswith(".")] == []
    slices = data.load_split("sunnybrook", "train", "8x", data_root=str(tmp_path))
    assert slices.x.shape == (4, 1, 150, 150) and len(set(slices.subject)) == 2
    assert (slices.mask == published_mask("cardiac", "8x")).all()
    with h5py.File(folder / "train" / "acc_8x" / "1.h5") as file:
        y = np.moveaxis(file["kspace_volus_8x"][:], 2, 0)
        np.testing.assert_allclose(y, slices.y[:2, 0].numpy(), atol=1e-5)
        assert file["img_volus_8x"].shape == (150, 150, 2) and file.attrs["split"] == "train"
        first = matplotlib.image.imread(source / "Train" / "Images" / "Part1" / file.attrs["source"][0])
        images = np.moveaxis(file["volfs"][:], 2, 0)
    assert np.corrcoef(images[0].ravel(), first[5:155, 5:155, 0].ravel())[0, 1] > 0.9999


def test_the_split_is_by_patient_and_depends_on_the_seed():
    subjects = [f"p{i}" for i in range(30)]
    one, again, other = (pipeline.split_subjects(subjects, "20,4,6", seed) for seed in (0, 0, 1))
    assert one == again != other
    numbers = [n for part, n in one.values() if part == "train"]
    assert sorted(numbers) == list(range(1, 21))


@pytest.mark.parametrize("split", ["20,4", "3,1,1", "0,2,2", "a,b,c", "5,-1,0"])
def test_a_split_that_does_not_add_up(split):
    with pytest.raises(InputError, match="expected three numbers train,validation,test that add up to the 4 subjects"):
        pipeline.split_subjects(list("abcd"), split, 0)


def break_source(case: str, root: Path) -> Path:
    if case == "missing":
        return root / "nowhere"
    if case == "empty":
        root.mkdir()
        return root
    sunnybrook_tree(root, size=100 if case == "small" else 160)
    path = next(root.rglob("*.png"))
    if case == "unreadable":
        path.write_bytes(b"no picture")
    elif case == "unnamed":
        path.rename(path.with_name("heart.png"))
    return root


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "is not a folder: expected"),
        ("empty", "holds no Train/Images"),
        ("small", "expected a frame of at least 150 x 150"),
        ("unreadable", "cannot be read"),
        ("unnamed", "expected a name that begins with the patient"),
    ],
)
def test_an_unusable_source_is_refused(case, message, tmp_path):
    with pytest.raises(InputError, match=message) as caught:
        pipeline.prepare(Sunnybrook(break_source(case, tmp_path / "in")), tmp_path / "out", ["4x"], "2,1,1", 0)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out/*"))


def test_the_command_line_says_what_is_wrong(tmp_path):
    done = data_prep("sunnybrook", str(tmp_path / "nowhere"), "--out", str(tmp_path / "out"))
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_real_sunnybrook(tmp_path):
    if not REAL_SUNNYBROOK.is_dir():
        pytest.skip(f"no Sunnybrook data at {REAL_SUNNYBROOK}; set KDRECON_SUNNYBROOK")
    source = Sunnybrook(REAL_SUNNYBROOK)
    assert len(source.subjects()) == 30 and sum(map(len, source.files.values())) == 526
    images, _ = source.read("SC-HF-I-01")
    assert images.shape == (18, 256, 256) and images.max() <= 1

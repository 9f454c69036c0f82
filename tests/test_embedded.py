"""The embedded data sets: what is in them, and that they are rebuilt from public packages."""

import gzip
import os
import subprocess
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
import trees

from data_prep import packages, people, sample
from data_prep.inspection import check
from kdrecon import data, results
from kdrecon.errors import InputError
from kdrecon.physics.sampling import published_mask
from kdrecon.runs.laboratory import Laboratory
from kdrecon.storage.places import EMBEDDED, SAMPLES

one_thread = pytest.fixture(autouse=True)(trees.one_thread)
SAMPLE, PEOPLE = (SAMPLES / name for name in EMBEDDED)
PACKAGES = {
    "sample": (packages.PYCORTEX, packages.MRICRON),
    "people": (packages.PYCORTEX, packages.MRICRON, packages.PYRADIOMICS, packages.ANTSPYX),
}


def volume(path: Path) -> tuple[np.ndarray, dict]:
    """The stored images (S, H, W) of a volume file, and its attributes."""
    with h5py.File(path) as file:
        return np.moveaxis(file["volfs"][:], 2, 0), dict(file.attrs)


def test_the_embedded_sample():
    manifest = pd.read_csv(SAMPLE / "manifest.csv", index_col="split")
    levels = {}
    for split, (count, subject) in {
        "train": (48, "pycortex-S1"),
        "validation": (8, "pycortex-S1"),
        "test": (20, "Colin27"),
    }.items():
        images, attributes = volume(SAMPLE / split / "1.h5")
        assert images.shape == (count, 240, 240) and images.dtype == np.uint8
        assert attributes["subject"] == subject == manifest.subject[split]
        assert manifest.slices[split] == count == len(attributes["levels"])
        levels[split] = attributes["levels"]
    assert levels["train"].min() - levels["validation"].max() > 5


STRIPPED = [f"antspyx-r{number}" for number in (16, 27, 30, 62, 64, 85)]
VOLUMES = {  # of people: subject, plane, slices, lowest and highest level: below and before them there are faces
    "train/1": ("pycortex-S1", "axial", 48, 118, 165),
    "train/2": ("pycortex-S1", "coronal", 45, 52, 140),
    "validation/1": ("pycortex-S1", "axial", 8, 171, 178),
    "test/1": ("Colin27", "axial", 12, 76, 142),
    "test/2": ("pyradiomics-brain1", "axial", 11, 12, 22),
    "test/3": ("pyradiomics-brain2", "axial", 11, 11, 21),
    **{f"test/{number}": (subject, "axial", 1, 0, 0) for number, subject in enumerate(STRIPPED, 4)},
}


def test_the_embedded_people():
    manifest = pd.read_csv(PEOPLE / "manifest.csv")
    assert [f"{row.split}/{row.volume}" for row in manifest.itertuples()] == list(VOLUMES)
    for row, (subject, plane, count, low, high) in zip(manifest.itertuples(), VOLUMES.values()):
        images, attributes = volume(PEOPLE / row.split / f"{row.volume}.h5")
        levels = attributes["levels"]
        assert images.shape == (count, 240, 240) and images.dtype == np.uint8
        assert images.max() > 190 and (images.max(axis=(1, 2)) > 100).all()
        assert (attributes["subject"], attributes["plane"]) == (row.subject, plane) == (subject, plane)
        assert (len(levels), levels.min(), levels.max(), row.slices) == (count, low, high, count)
    train, validation, test = (
        set(manifest.subject[manifest.split == split]) for split in ("train", "validation", "test")
    )
    assert train == validation and len(train) == 1 and len(test) == 9 and not train & test
    assert manifest.groupby("subject").group.nunique().max() == 1 and manifest.group.nunique() == 4


def test_nothing_of_the_validation_slab_is_in_a_training_slice_of_either_plane():
    """A row of a coronal slice is a row of an axial one, at the level and in the orientation that both say."""
    (axial, of_axial), (coronal, of_coronal), (_, of_validation) = (
        volume(PEOPLE / name) for name in ("train/1.h5", "train/2.h5", "validation/1.h5")
    )
    meetings = set()
    for level in (118, 140, 165):
        slice_ = axial[list(of_axial["levels"]).index(level)]
        for number, y in enumerate(of_coronal["levels"]):
            line = np.trim_zeros(coronal[number, 165 - level])
            rows = [row for row in range(240) if np.array_equal(np.trim_zeros(slice_[row]), line)]
            meetings |= {row + y for row in rows} if len(rows) == 1 else {None}
    assert len(meetings) == 1 and meetings != {None}
    assert of_validation["levels"].min() - 165 > 5


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_data_set_has_no_faults_and_is_measured_with_published_masks(name):
    assert check(SAMPLES / name).faults == []
    for acceleration in ("4x", "5x", "8x"):
        slices = data.load_split(data.Split(name, "validation", acceleration))
        assert torch.equal(slices.task.mask, published_mask("mrbrain", acceleration))


@pytest.mark.parametrize("name", EMBEDDED)
def test_an_embedded_data_set_carries_its_licences_and_says_where_it_comes_from(name):
    provenance = (SAMPLES / name / "PROVENANCE.md").read_text(encoding="utf-8")
    for package in PACKAGES[name]:
        assert package.name in provenance and package.sha256 in provenance
        licence = (SAMPLES / name / f"LICENCE-{package.short}.txt").read_text(encoding="utf-8")
        assert "Redistribution" in licence or "BSD" in licence or "Apache License" in licence
    files = [path for path in SAMPLES.rglob("*") if path.is_file()]
    assert sum(path.stat().st_size for path in files) <= 5 * 2**20


def test_people_is_evaluated_by_subject(tmp_path):
    lab = Laboratory(dataset="people", resolution=48, run_root=str(tmp_path), ready=False, device="cpu", methods=["at"])
    table = results.evaluate(lab, lab.zero_filled())
    assert lab.zero_filled().folder.parent == tmp_path / "experiments" / "people" / "acc_4x"
    assert table.subject.nunique() == 9 and len(table) == 40 and table.psnr.between(15, 40).all()


@pytest.mark.parametrize(("module", "number"), [(sample, 6), (people, 17)], ids=EMBEDDED)
def test_an_embedded_data_set_is_rebuilt_byte_for_byte(module, number, tmp_path):
    source = os.environ.get("KDRECON_SAMPLE_SOURCES")
    if not source:
        pytest.skip("KDRECON_SAMPLE_SOURCES names no folder with the source packages")
    module.build(Path(source), tmp_path)
    built = sorted(p.relative_to(tmp_path) for p in tmp_path.rglob("*") if p.is_file())
    assert len(built) == number
    for path in built:
        assert (tmp_path / path).read_bytes() == (SAMPLES / path).read_bytes(), path


@pytest.mark.parametrize("module", [sample, people], ids=EMBEDDED)
def test_a_missing_or_wrong_package_is_refused(module, tmp_path):
    with pytest.raises(InputError, match="pycortex-1.4.0.tar.gz does not exist"):
        module.build(tmp_path, tmp_path / "out")
    (tmp_path / packages.PYCORTEX.name).write_bytes(b"something else")
    with pytest.raises(InputError, match="sha256 .* expected 9fdb292a"):
        module.build(tmp_path, tmp_path / "out")
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize("package", PACKAGES["people"], ids=lambda package: package.short)
def test_the_packages_are_fetched_by_name_through_their_clients(package, monkeypatch):
    """What imports packages that it does not ask for is prepared where they are installed."""
    commands = []

    def client(command, cwd, **_):
        commands.append([*command, *(path.read_text(encoding="utf-8").strip() for path in Path(cwd).iterdir())])
        (Path(cwd) / package.name).write_bytes(b"of another version")

    monkeypatch.setattr(packages.subprocess, "run", client)
    with pytest.raises(InputError, match="has sha256"):
        packages.fetch(package)
    (command,) = commands
    if package == packages.MRICRON:
        assert command == ["apt-get", "download", "mricron-data=1.2.20211006+dfsg-4"]
        return
    assert command[1:4] == ["-m", "pip", "download"]
    assert command[-1] == f"{package.version} --hash=sha256:{package.sha256}"
    assert ("--no-build-isolation" in command) == (package == packages.PYRADIOMICS)


NOTES = b"""
      ModuleNotFoundError: No module named 'numpy'
      [end of output]

  note: This error originates from a subprocess, and is likely not a problem with pip.
"""


@pytest.mark.parametrize(
    ("error", "said"),
    [
        (FileNotFoundError("no client"), "no client"),
        (subprocess.CalledProcessError(1, [], stderr=b"Ign\nE: no client\n"), "E: no client"),
        (subprocess.CalledProcessError(1, [], stderr=NOTES), "ModuleNotFoundError: No module named 'numpy'"),
        (subprocess.CalledProcessError(1, ["pip"], stderr=b""), "Command '['pip']' returned non-zero exit status 1."),
    ],
)
def test_a_client_that_is_missing_or_fails_is_told_in_one_line(error, said, tmp_path, monkeypatch):
    monkeypatch.setattr(packages.subprocess, "run", lambda *_, **__: (_ for _ in ()).throw(error))
    with pytest.raises(InputError) as told:
        sample.build(None, tmp_path / "out")
    assert str(told.value).startswith(f"pycortex==1.4.0 cannot be fetched ({said}): ")
    assert str(told.value).endswith(
        "; get pycortex-1.4.0.tar.gz at https://pypi.org/project/pycortex/1.4.0/#files and name the folder with all packages "
        "as SOURCE"
    )
    assert not (tmp_path / "out").exists()


def nrrd(array: np.ndarray, directions: str, **other: str) -> bytes:
    """An NRRD file of int16 values with a header as those of pyradiomics have it."""
    told = {"type": "short", "dimension": "3", "space": "left-posterior-superior"}
    told |= {"sizes": " ".join(map(str, array.shape)), "space directions": directions, "endian": "little"}
    header = "".join(f"{key}: {value}\n" for key, value in (told | {"encoding": "gzip"} | other).items())
    return f"NRRD0004\n# comment\n{header}\n".encode() + gzip.compress(array.astype("<i2").tobytes(order="F"))


def test_an_nrrd_scan_is_turned_upright_as_its_header_says():
    """Axes to the left, to the front and up: the header of brain1."""
    array = np.arange(24).reshape(2, 3, 4)
    scan = people.read_scan("a.nrrd", nrrd(array, "(0.75,0,0) (0,-0.5,0) (0,0,6.5)"))
    assert nibabel.aff2axcodes(scan.affine) == ("R", "A", "S") and scan.header.get_zooms() == (0.75, 0.5, 6.5)
    np.testing.assert_array_equal(scan.dataobj, array[::-1])
    part = people.PARTS[0]._replace(levels=[1, 3])
    same = people.read_scan("a.nrrd", nrrd(array, "(1,0,0) (0,-1,0) (0,0,6.5)"))
    np.testing.assert_array_equal(people.take(same, part), [array[::-1, ::-1, level].T for level in (1, 3)])


@pytest.mark.parametrize("other", [{"type": "float"}, {"encoding": "raw"}, {"space": "right-anterior-superior"}])
def test_another_kind_of_nrrd_is_refused(other):
    with pytest.raises(InputError, match="a.nrrd is .*: expected an NRRD file with"):
        people.read_scan("a.nrrd", nrrd(np.zeros((2, 2, 2)), "(1,0,0) (0,1,0) (0,0,1)", **other))


def test_finer_pixels_become_one_millimetre_by_cropping_k_space():
    j = np.arange(32)
    wave = 2 + np.cos(2 * np.pi * 3 * j / 32)
    scan = nibabel.Nifti1Image(np.broadcast_to(wave[:, None, None], (32, 32, 2)).copy(), np.diag([0.75, 0.75, 5, 1]))
    images = people.take(scan, people.PARTS[0]._replace(levels=[0]))
    expected = 2 + np.cos(2 * np.pi * 3 * np.arange(24) / 24)
    np.testing.assert_allclose(images, np.broadcast_to(expected, (1, 24, 24)), atol=1e-12)


def test_more_than_8_bits_become_8_with_few_pixels_clipped():
    images = np.arange(10_000).reshape(1, 100, 100)
    found = people.eight_bits(images)
    assert found.dtype == np.uint8 and found.max() == 255 and (images[found == 255] > 9950).all()
    assert np.abs(found[found < 255] - images[found < 255] / 9989 * 255).max() < 0.6
    assert people.eight_bits(found) is found


def test_a_head_is_centred_unless_the_field_of_view_cuts_it_at_the_top():
    images = np.zeros((1, 300, 200), np.uint8)
    images[0, 90:200, 10:60] = 99
    rows, columns = np.nonzero(people.framed(images)[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (65, 174, 95, 144)
    rows, columns = np.nonzero(people.framed(images[:, 90:])[0])
    assert (rows.min(), rows.max(), columns.min(), columns.max()) == (0, 109, 95, 144)

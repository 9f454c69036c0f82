"""Every reader, on trees in the exact layout of its source."""

import itertools
import re
import shutil
import sys
from importlib import resources
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
import trees

from data_prep.dicom import Dicom
from data_prep.kspace import Calgary, FastMRI, Ismrmrd
from data_prep.nifti import MRBrainS, Nifti, read_nifti
from data_prep.options import Options
from data_prep.pipeline import prepare
from data_prep.registry import SOURCES
from data_prep.source import Scan
from kdrecon import data
from kdrecon.errors import InputError
from kdrecon.physics.fourier import ifft2

one_thread = pytest.fixture(autouse=True)(trees.one_thread)


def found(source) -> list[Scan]:
    scans = list(source.scans())
    assert not [s for s in scans if isinstance(s, InputError)]
    return scans


def subjects(source) -> dict[str, list[str]]:
    """Subjects of each official split."""
    scans = found(source)
    return {part: [s.subject for s in scans if s.split == part] for part in dict.fromkeys(s.split for s in scans)}


def assert_same(images: np.ndarray, expected: np.ndarray, tolerance: float = 1e-5) -> None:
    """Equal up to one factor: every volume is scaled by its maximum."""
    np.testing.assert_allclose(images / images.max(), expected / expected.max(), atol=tolerance)


@pytest.mark.parametrize("kind", SOURCES.values(), ids=SOURCES)
def test_every_source_says_what_it_is(kind):
    assert kind.__doc__ and kind.layout and kind.dataset and kind.small in ("pad", "skip")
    assert list(kind.__dataclass_fields__)[0] == "folder"
    with pytest.raises(InputError, match="nowhere is not a folder"):
        list(kind(Path("/nowhere")).scans())


def test_mrbrains_2018(tmp_path):
    source = MRBrainS(trees.mrbrains2018(tmp_path))
    assert subjects(source) == {"train": ["1", "4", "5", "7", "14"], "validation": ["070", "148"]}
    (first, *_) = found(source)
    volume = source.read(first)
    np.testing.assert_array_equal(volume.images, trees.picture(2, (240, 240)))
    assert volume.voxel_size_mm == (1.5, 1.5, 10)


def test_mrbrains_2013(tmp_path):
    source = MRBrainS(trees.mrbrains2013(tmp_path))
    assert subjects(source) == {
        "train": [f"training-{n}" for n in range(1, 6)],
        "validation": ["test-1", "test-2"],
        "test": ["test-3"],
    }
    (fifth,) = [s for s in found(source) if s.subject == "training-5"]
    np.testing.assert_array_equal(source.read(fifth).images, trees.picture(2, (240, 240), seed=5))


def test_mrbrains_is_measured_with_the_published_mask(tmp_path):
    prepare(MRBrainS(trees.mrbrains2018(tmp_path / "in")), tmp_path, Options(jobs=1))
    text = (tmp_path / "mrbrain" / "summary.txt").read_text(encoding="utf-8")
    assert "train:      10 slices (the paper reports 240)" in text and "(the paper reports 96)" in text
    with h5py.File(tmp_path / "mrbrain" / "train" / "acc_4x" / "1.h5") as file:
        assert file.attrs["mask"] == "mrbrain 4x, published" and file["volfs"].shape == (240, 240, 2)


def test_a_bids_tree_is_split_by_person(tmp_path):
    source = Nifti(trees.bids(tmp_path / "in"))
    assert [s.subject for s in found(source)] == ["sub-01", "sub-01", "sub-02", "sub-02", "sub-03", "sub-03"]
    prepare(source, tmp_path, Options(split="1,1,1", jobs=1))
    manifest = pd.read_csv(tmp_path / "nifti" / "manifest.csv")
    assert len(manifest) == 6 and (manifest.groupby("subject").split.nunique() == 1).all()


@pytest.mark.parametrize(
    ("paths", "pattern", "expected"),
    [
        (["a.nii", "b.nii.gz"], "", ["a", "b"]),
        (["p1/t1.nii", "p1/deep/t2.nii", "p2/t1.nii"], "", ["p1", "p1", "p2"]),
        (["IXI002-Guys.nii", "IXI012-HH.nii"], r"(IXI\d+)", ["IXI002", "IXI012"]),
        (["x/7_1.nii", "x/7_2.nii", "x/8_1.nii"], r"\d+(?=_)", ["7", "7", "8"]),
    ],
)
def test_who_was_scanned(paths, pattern, expected, tmp_path):
    for path in paths:
        trees.nifti(tmp_path / path, trees.picture(1, (8, 8)))
    (tmp_path / ".hidden.nii").write_text("as some systems leave them behind", encoding="utf-8")
    assert [s.subject for s in found(Nifti(tmp_path, subject=pattern))] == expected


def test_a_pattern_that_does_not_fit(tmp_path):
    trees.nifti(tmp_path / "a.nii", trees.picture(1, (8, 8)))
    for pattern in (r"IXI(\d+)", "^", r"(b)?\.nii"):  # the last two match, and find nothing
        (error,) = Nifti(tmp_path, subject=pattern).scans()
        assert "a.nii does not match --subject" in str(error)
    with pytest.raises(InputError, match=r"--subject '\(' is no regular expression .*: expected one; correct it"):
        list(Nifti(tmp_path, subject="(").scans())


STEPS = {  # of the value along slices, rows and columns: 1 to the right, 10 to anterior, 100 upwards; and voxel sizes
    "axial": ((100, -10, -1), (2, 1, 3)),
    "coronal": ((10, -100, -1), (3, 1, 2)),
    "sagittal": ((1, -100, -10), (3, 2, 1)),
}


@pytest.mark.parametrize("plane", ["acquired", *STEPS])
@pytest.mark.parametrize("order", list(itertools.permutations(range(3))), ids=str)
def test_slices_are_upright_and_left_stays_left_however_the_scan_is_stored(plane, order, tmp_path):
    right, anterior, up = np.meshgrid(np.arange(5.0), np.arange(6.0), np.arange(7.0), indexing="ij")
    anatomy = nibabel.Nifti1Image((right + 10 * anterior + 100 * up).astype(np.float32), np.diag([1.0, 2, 3, 1]))
    for signs in itertools.product((1, -1), repeat=3):
        stored = anatomy.as_reoriented(np.c_[order, signs])
        nibabel.save(stored, tmp_path / "scan.nii")
        volume = read_nifti(tmp_path / "scan.nii", plane)
        step = volume.images[1, 1, 1] - volume.images[[0, 1, 1], [1, 0, 1], [1, 1, 0]]
        shown = plane if plane != "acquired" else ("sagittal", "coronal", "axial")[order.index(2)]
        assert (tuple(step), volume.voxel_size_mm) == STEPS[shown], nibabel.aff2axcodes(stored.affine)


def test_time_points_follow_one_another_at_each_position(tmp_path):
    frames = np.arange(2 * 3 * 4 * 5, dtype=np.float32).reshape(2, 3, 4, 5)
    nibabel.save(nibabel.Nifti1Image(frames, np.diag([-1, -1, 1, 1])), tmp_path / "cine.nii")
    volume = read_nifti(tmp_path / "cine.nii")
    assert volume.images.shape == (20, 3, 2) and volume.frames == 5
    np.testing.assert_array_equal(volume.images[7], frames[:, :, 1, 2].T)


@pytest.mark.parametrize(
    "kind", [nibabel.AnalyzeImage, nibabel.Spm99AnalyzeImage, nibabel.Nifti1Pair, nibabel.Nifti2Pair]
)
def test_a_pair_of_header_and_image_is_read(kind, tmp_path):
    images = trees.picture(2, (40, 48)).astype(np.int16)
    for number in (1, 2):
        nibabel.save(kind(images.transpose(2, 1, 0), np.diag([-1, -1, 5, 1])), tmp_path / f"scan{number}.img")
    scans = found(Nifti(tmp_path))
    assert [(s.subject, [f.name for f in s.files]) for s in scans] == [
        (f"scan{n}", [f"scan{n}.hdr", f"scan{n}.img"]) for n in (1, 2)
    ]
    flipped = kind is nibabel.AnalyzeImage  # it names no directions, and is taken as rows that run to anterior
    np.testing.assert_array_equal(Nifti(tmp_path).read(scans[0]).images, images[:, ::-1] if flipped else images)
    (tmp_path / "scan2.img").unlink()
    assert "scan2.hdr has no scan2.img beside it: expected the pair" in str(list(Nifti(tmp_path).scans())[1])


def test_real_nifti_scans_that_come_with_nibabel(tmp_path):
    folder = resources.files("nibabel") / "tests" / "data"
    for number, name in enumerate(("anatomical.nii", "example4d.nii.gz")):
        (tmp_path / "in" / str(number)).mkdir(parents=True)
        shutil.copy(folder / name, tmp_path / "in" / str(number) / name)
    assert prepare(Nifti(tmp_path / "in"), tmp_path, Options(split="1,1,0", size="64", jobs=1)) == ([], [])
    slices = data.load_split(data.Split("nifti", "train", "4x", data_root=str(tmp_path)))
    assert slices.x.shape[1:] == (1, 64, 64) and float(slices.x.max()) == 1 and len(slices) > 10


@pytest.mark.parametrize("form", ["pairs", "channels", "complex", "image", "centred"])
def test_calgary(form, tmp_path):
    source = Calgary(trees.calgary(tmp_path, form))
    parts = subjects(source)
    assert {part: len(names) for part, names in parts.items()} == {"test": 1, "train": 2, "validation": 1}
    scan = next(s for s in found(source) if s.subject == "e14082s3_P53252.7")
    assert_same(source.read(scan).images, trees.picture(3, (64, 64), seed=2))


def undersample(kind: str, shape: tuple[int, int]) -> np.ndarray:
    """What was sampled (H, W), with DC in the middle."""
    rows, columns = np.ogrid[: shape[0], : shape[1]]
    middle = abs(rows - shape[0] // 2) + abs(columns - shape[1] // 2) < 12
    return {
        "rows": (rows % 4 == 0) | middle | (0 * columns > 0),
        "columns": (columns % 4 == 0) | middle | (0 * rows > 0),
        "points": (np.random.default_rng(0).random(shape) < 0.2) | middle,
        "partial Fourier": (rows < 40) & (columns > 3),
        "ellipse": (rows - shape[0] // 2) ** 2 + (columns - shape[1] // 2) ** 2 < 900,
    }[kind]


@pytest.mark.parametrize("form", ["pairs", "channels", "complex", "centred"])
@pytest.mark.parametrize("kind", ["rows", "columns", "points", "partial Fourier", "ellipse"])
def test_undersampled_arrays_are_no_target(kind, form, tmp_path):
    path = next(trees.calgary(tmp_path, form).glob("Train/*.npy"))
    k = np.load(path)
    sampled = undersample(kind, (64, 64))
    sampled = sampled if form == "centred" else np.fft.ifftshift(sampled)
    np.save(path, (k * (sampled[..., None] if k.ndim == 4 else sampled)).astype(k.dtype))
    read = lambda: Calgary(tmp_path).read(Scan("one", (path,)))  # noqa: E731
    if kind in ("partial Fourier", "ellipse"):
        assert read().images.shape == (3, 64, 64)
    else:
        with pytest.raises(
            InputError, match=r"npy lacks points between those that were measured, \d\d% of all .*no target"
        ):
            read()


def test_an_array_that_is_no_complex_volume(tmp_path):
    np.save(tmp_path / "a.npy", np.ones((3, 8, 8)))
    with pytest.raises(InputError, match=r"a.npy holds float64 \(3, 8, 8\): expected complex"):
        Calgary(tmp_path).read(found(Calgary(tmp_path))[0])


@pytest.mark.parametrize("kind", ["multicoil", "singlecoil"])
def test_fastmri(kind, tmp_path):
    source = FastMRI(trees.fastmri(tmp_path / "in", kind))
    assert subjects(source) == {"train": ["patient-0", "patient-1"], "validation": ["patient-2"]}
    volume = source.read(found(source)[0])
    assert_same(volume.images, trees.picture(3, (40, 36)))
    assert volume.voxel_size_mm == (2, 2.5) + (4.5,) and volume.raw is None
    with h5py.File(found(source)[0].files[0]) as file:
        np.testing.assert_allclose(volume.images[:, 4:-4, 2:-2], file["reconstruction_rss"], rtol=1e-4)


def test_fastmri_with_its_measured_k_space(tmp_path):
    source = FastMRI(trees.fastmri(tmp_path / "in"), raw=True)
    prepare(source, tmp_path, Options(accelerations=("4x", "8x"), size="keep", slices="1:", jobs=1))
    with h5py.File(tmp_path / "knee" / "train" / "acc_4x" / "1.h5") as file:
        raw, x = file["raw"][:], np.moveaxis(file["volfs"][:], 2, 0)
    assert raw.shape == (2, 3, 40, 36) and raw.dtype == np.complex64
    combined = ifft2(torch.from_numpy(raw)).abs().square().sum(1).sqrt().numpy()
    np.testing.assert_allclose(combined, x, atol=1e-5)
    with h5py.File(tmp_path / "knee" / "train" / "acc_8x" / "1.h5") as file:
        assert "raw" not in file
    assert data.load_split(data.Split("knee", "train", "4x", data_root=str(tmp_path))).x.shape == (4, 1, 40, 36)


@pytest.mark.parametrize("partitions", [False, True])
def test_ismrmrd(partitions, tmp_path):
    images = trees.picture(4, (32, 30))
    source = Ismrmrd(tmp_path, raw=True)
    trees.raw_scan(tmp_path / "scan.h5", images, partitions=partitions)
    (scan,) = found(source)
    volume = source.read(scan)
    assert scan.subject == "Doe, Jane" and volume.voxel_size_mm == (1.5, 1, 5) and volume.raw.shape == (4, 3, 32, 30)
    assert_same(volume.images, images)


def test_accelerated_raw_data_has_no_target(tmp_path):
    trees.raw_scan(tmp_path / "scan.h5", trees.picture(2, (32, 30)), measured=np.arange(32) % 3 > 0)
    with pytest.raises(InputError, match="scan.h5 lacks 10 lines between those that were measured: .* fully sampled"):
        Ismrmrd(tmp_path).read(found(Ismrmrd(tmp_path))[0])


def test_undersampled_fastmri_files_without_a_mask_are_no_target(tmp_path):
    path = next(trees.fastmri(tmp_path).glob("multicoil_train/*.h5"))
    with h5py.File(path, "a") as file:
        file["kspace"][...] *= np.arange(36) % 4 == 0
    with pytest.raises(InputError, match="lacks points between those that were measured, 75% of all in a slice"):
        FastMRI(tmp_path).read(found(FastMRI(tmp_path))[0])
    with h5py.File(path, "a") as file:
        del file["kspace"]
        file["kspace"] = np.pad(trees.centred_k(trees.coils(trees.picture(2, (40, 36)), 3)), [(0, 0)] * 3 + [(2, 5)])
        del file["ismrmrd_header"]
        file["ismrmrd_header"] = trees.FASTMRI_HEADER.replace("fieldOfView_mm", "fov")
    volume = FastMRI(tmp_path).read(found(FastMRI(tmp_path))[0])
    assert volume.images.shape == (2, 40, 43) and volume.voxel_size_mm == ()


@pytest.mark.parametrize(
    ("part", "said"),
    [
        (
            "reconSpace",
            "without reconSpace/matrixSize, reconSpace/fieldOfView_mm: expected the matrix and the field of view",
        ),
        ("encodedSpace", "without encodedSpace/matrixSize: expected"),
        ("trajectory", "without trajectory: expected"),
        (
            "encoding",
            "without trajectory, encodedSpace/matrixSize, reconSpace/matrixSize, reconSpace/fieldOfView_mm: exp",
        ),
        ("encodingLimits", "without 'encodingLimits' in its encodingType: expected all that ISMRMRD requires; add it"),
        (
            "H1resonanceFrequency_Hz",
            "without 'H1resonanceFrequency_Hz' in its experimentalConditionsType: expected all",
        ),
    ],
)
def test_what_a_raw_header_lacks_is_said(part, said, tmp_path):
    path = trees.raw_scan(tmp_path / "in" / "scan.h5", trees.picture(2, (32, 30)))
    with h5py.File(path, "a") as file:
        header = file["dataset/xml"][0].decode()
        file["dataset/xml"][0] = re.sub(rf"<((?:\w+:)?{part})>.*?</\1>", "", header, flags=re.DOTALL)
    with pytest.raises(InputError, match=f"scan.h5 has a header {said}") as caught:
        prepare(Ismrmrd(tmp_path / "in"), tmp_path / "out", Options(jobs=1, all_in="test"))
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("space", ["encodedSpace", "reconSpace"])
def test_a_matrix_that_no_memory_holds_is_refused(space, tmp_path):
    path = trees.raw_scan(tmp_path / "scan.h5", trees.picture(2, (32, 30)))
    with h5py.File(path, "a") as file:
        before, name, after = file["dataset/xml"][0].decode().partition(space)
        file["dataset/xml"][0] = before + name + re.sub(r">\d+<", ">60000<", after, count=3)
    with pytest.raises(
        InputError,
        match="scan.h5 says a matrix of 60000 x 60000 x 60000, .* for 3 coils and 2 images: expected at most",
    ):
        Ismrmrd(tmp_path).read(found(Ismrmrd(tmp_path))[0])


@pytest.mark.parametrize("kind", [FastMRI, Ismrmrd])
def test_a_file_that_is_no_hdf5_is_named(kind, tmp_path):
    (tmp_path / "broken.h5").write_bytes(b"no HDF5")
    (error,) = kind(tmp_path).scans()
    assert "broken.h5 cannot be read" in str(error)


@pytest.mark.parametrize("kind, package", [(Dicom, "pydicom"), (Ismrmrd, "ismrmrd")])
def test_a_missing_package_says_how_to_get_it(kind, package, tmp_path, monkeypatch):
    for patient in "ab":
        trees.raw_scan(tmp_path / "in" / f"{patient}.h5", trees.picture(1, (16, 16)), patient)
    (tmp_path / "in" / "a.dcm").touch()
    monkeypatch.setitem(sys.modules, package, None)
    with pytest.raises(
        InputError, match=f"needs {package}, which is not installed: expected it; pip install {package}"
    ):
        prepare(kind(tmp_path / "in"), tmp_path / "out", Options(jobs=1, split="1,1,0"))

"""data_prep check: on sound data sets, on the released layout, and on one with a fault planted."""

import os
import re
import shutil
import unicodedata
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import trees

from data_prep.__main__ import main
from data_prep.inspection import check
from data_prep.nifti import Nifti
from data_prep.options import Options
from data_prep.pipeline import prepare
from kdrecon.choices import SPLITS
from kdrecon.data.volumes import write_volume
from kdrecon.errors import InputError
from kdrecon.physics.sampling import mask_for, undersample

H, W = 40, 48
one_thread = pytest.fixture(autouse=True)(trees.one_thread)


@pytest.fixture(scope="module")
def sound(tmp_path_factory) -> Path:
    """A prepared data set of five people at two accelerations."""
    root = tmp_path_factory.mktemp("sound")
    for number in range(1, 6):
        trees.nifti(root / "in" / f"{number}.nii", trees.picture(3, (H, W), seed=number))
    prepare(Nifti(root / "in"), root, Options("own", ("4x", "8x"), split="3,1,1", jobs=1))
    return root / "own"


def change(path: Path, **arrays) -> None:
    """Replace arrays of a volume file; a function is applied to the one that is there, None removes it."""
    with h5py.File(path, "a") as file:
        for name, value in arrays.items():
            old = file[name][()] if name in file else None
            if old is not None:
                del file[name]
            if value is not None:
                file[name] = value(old) if callable(value) else value


def test_hidden_files_are_not_checked(sound, tmp_path):
    copy = Path(shutil.copytree(sound, tmp_path / "own"))
    trees.litter(copy)
    (copy / "train" / "acc_4x" / "._1.partial").touch()
    assert check(copy).faults == check(sound).faults == []


def shift(k: np.ndarray) -> np.ndarray:
    return np.fft.fftshift(k, (0, 1))


def every(folder: Path, **arrays) -> None:
    for path in folder.glob("*/acc_4x/*.h5"):
        change(path, **arrays)


def unmarked(path: Path, shape: tuple[int, ...], **attributes) -> None:
    """A volume file of random values with these attributes and no others."""
    path.parent.mkdir(parents=True)
    with h5py.File(path, "w") as file:
        file["volfs"] = np.random.default_rng(0).random(shape, np.float32) + 0.1
        file.attrs.update(attributes)


@pytest.mark.parametrize(
    ("shape", "attributes", "told"),
    [
        ((20, 64, 50), {"format_version": 1, "slices": 50}, False),  # coronal, of few rows
        ((20, 64, 50), {"format_version": 1}, False),
        ((20, 64, 64), {"format_version": 1, "slices": 64}, False),
        ((20, 64, 50), {"format_version": 1, "slices": 20}, True),
        ((20, 64, 50), {}, False),
        ((20, 64, 56), {}, True),
    ],
)
def test_exchanged_axes_are_told_where_something_speaks_for_it(shape, attributes, told, tmp_path):
    unmarked(tmp_path / "train" / "1.h5", shape, **attributes)
    assert any("looks like (S, H, W)" in fault for fault in check(tmp_path).faults) == told


def plant(case: str, folder: Path) -> None:
    one = folder / "train" / "acc_4x" / "1.h5"
    match case:
        case "axes exchanged":
            change(one, volfs=lambda x: np.moveaxis(x, 2, 0), img_volus_4x=None, kspace_volus_4x=None)
        case "shape of k-space":
            change(one, kspace_volus_4x=lambda y: y[:, :, :2])
        case "dtype of images":
            change(one, volfs=lambda x: x.astype(np.complex64))
        case "dtype of k-space":
            change(one, kspace_volus_4x=lambda y: y.real)
        case "not finite":
            change(one, volfs=lambda x: np.where(x == x.max(), np.nan, x))
        case "range":
            change(one, volfs=lambda x: x - 0.5)
        case "empty slice":
            change(one, volfs=lambda x: x * [1, 0, 1], kspace_volus_4x=None, img_volus_4x=None)
        case "k-space of another image":
            change(one, volfs=lambda x: x[::-1, ::-1, ::-1])
        case "polarity":
            full = lambda x: np.fft.fft2(x, axes=(0, 1), norm="ortho")  # noqa: E731
            with h5py.File(one) as file:
                x, sampled = file["volfs"][:], file["kspace_volus_4x"][:] != 0
            change(one, img_volus_4x=None, kspace_volus_4x=(full(x) * ~sampled.any(2)[:, :, None]).astype(np.complex64))
        case "polarity of a stored mask":
            change(one, mask_4x=lambda _: ~(h5py.File(one)["kspace_volus_4x"][:, :, 0] != 0))
        case "centring":
            every(folder, kspace_volus_4x=shift)
        case "normalisation":
            every(folder, kspace_volus_4x=lambda y: y * np.float32(np.sqrt(H * W)))
        case "scale":
            every(folder, volfs=lambda x: x * 255)
        case "another mask":
            change(one, kspace_volus_4x=lambda y: y * (np.arange(H) != 1)[:, None, None], img_volus_4x=None)
        case "fully sampled":
            change(one, kspace_volus_4x=lambda y: np.fft.fft2(h5py.File(one)["volfs"][:], axes=(0, 1), norm="ortho"))
        case "zero-filled images":
            change(one, img_volus_4x=lambda x: x[::-1])
        case "real part":
            change(
                one,
                img_volus_4x=lambda _: (
                    np.fft.ifft2(h5py.File(one)["kspace_volus_4x"][:], axes=(0, 1), norm="ortho").real
                ),
            )
        case "subject in two splits":
            text = (folder / "manifest.csv").read_text(encoding="utf-8")
            subject = text.partition("test,1,")[2][:2]
            mine = text.partition("train,1,")[2][:2]
            (folder / "manifest.csv").write_text(text.replace(f"test,1,{subject}", f"test,1,{mine}"), encoding="utf-8")
        case "a long subject in two splits" | "a long volume":
            mine, number = ("s" * 9999, 1) if case == "a long subject in two splits" else ("s1", "1" * 9999)
            text = (folder / "manifest.csv").read_text(encoding="utf-8")
            text += "".join(f"{split},{number},{mine},3,subject,volume,0,0\n" for split in ("train", "test"))
            (folder / "manifest.csv").write_text(text, encoding="utf-8")
        case "long names":
            os.rename(one, folder / "train" / "1.h5")
            change(folder / "train" / "1.h5", **{"kspace_volus_" + "x" * 9999: np.ones((H, W, 3), "c8")})
        case "a manifest that is no table":
            (folder / "manifest.csv").write_bytes(b"\x00")
        case "the same images in two splits":
            for acceleration in ("4x", "8x"):
                place = folder / "test" / f"acc_{acceleration}" / "1.h5"
                with h5py.File(folder / "train" / f"acc_{acceleration}" / "2.h5") as file:
                    arrays = {name: file[name][()] for name in file}
                change(place, **arrays)
                change(place, volfs=lambda x: x * 0.5, kspace_volus_4x=None, kspace_volus_8x=None)
        case "sizes":
            images = trees.picture(2, (H, H))
            write_volume(folder / "train" / "acc_4x" / "2.h5", images, {"subject": "s2"})
        case "truncated":
            one.write_bytes(one.read_bytes()[:3000])
        case "missing volume":
            one.unlink()
        case "half-written":
            one.with_suffix(".partial").write_bytes(b"")
        case "misplaced":
            (folder / "training").mkdir()
            shutil.copy(one, folder / "training")
        case "no validation":
            shutil.rmtree(folder / "validation")


FAULTS = {
    "axes exchanged": r"volfs is of shape \(3, 40, 48\), which looks like \(S, H, W\): expected \(H, W, S\)",
    "shape of k-space": r"kspace_volus_4x is of shape \(40, 48, 2\): expected \(40, 48, 3\) like volfs",
    "dtype of images": "volfs is of dtype complex64: expected real numbers",
    "dtype of k-space": "kspace_volus_4x is of dtype float32: expected complex",
    "not finite": "volfs holds .* values that are NaN or infinite: expected none",
    "range": "volfs spans -0.4.* to 0.5: expected magnitudes",
    "empty slice": r"slices \[1\] of volfs are empty",
    "k-space of another image": "kspace_volus_4x does not belong to volfs: .*the best of 4 conventions is .* off",
    "polarity": "kspace_volus_4x is sampled exactly where the mask kdrecon uses says it is not: .*invert the mask",
    "polarity of a stored mask": r"mask_4x does not sample DC at \[0, 0\]: .*invert it",
    "centring": "kspace_volus_4x is centred, DC in the middle, orthonormal: .*apply np.fft.ifftshift over its first two axes",
    "normalisation": "kspace_volus_4x is unshifted, not normalised .NumPy's default.: .*a factor of 0.02282",
    "scale": "kspace_volus_4x is unshifted, 0.003922 times the transform of volfs.* a factor of 255",
    "another mask": "kspace_volus_4x samples 22.5% of k-space, 0 points off the mask kdrecon uses, which samples 25.0%",
    "fully sampled": "kspace_volus_4x is fully sampled: expected zeros off the mask",
    "zero-filled images": r"img_volus_4x is something else: expected \|F\^-1 kspace_volus_4x\|",
    "real part": r"img_volus_4x is its real part: expected \|F\^-1",
    "subject in two splits": "manifest.csv: subject 's.' is in .* and in .*: expected each subject in one split",
    "a long subject in two splits": "manifest.csv: subject 's{76}... is in train and in test",
    "a long volume": "manifest.csv: train/1{77}....h5 is listed and not there: expected it",
    "long names": "train/1.h5: kspace_volus_x+[.]{3}",
    "a manifest that is no table": "manifest.csv is not text that can be read: expected UTF-8",
    "the same images in two splits": "train/acc_.x/2.h5: 3 slices are in .*test/acc_.x/1.h5 too: expected none in two splits",
    "sizes": r"2.h5: slices of \(40, 40\) .1 files., the others of \(40, 48\): expected one size",
    "truncated": "1.h5 cannot be read as HDF5 .*expected an intact file",
    "missing volume": "line 4x: lacks train/1.h5 and 0 more, which others have",
    "half-written": "1.partial is half-written: expected none; delete it",
    "misplaced": "training/1.h5 is not read there: expected .split./acc_.4x./",
    "no validation": "line 4x: no volume in validation: expected at least one",
}


def test_a_sound_data_set_has_no_faults(sound):
    report = check(sound)
    assert report.faults == []
    assert "line 4x: k-space of 5 files is unshifted, orthonormal; 25.0% of it sampled" in report.notes


def test_a_data_set_of_format_version_1_is_measured_with_its_own_masks(tmp_path):
    mask = mask_for("own", "4x", (H, W), format_version=1)
    for seed, split in enumerate(SPLITS):
        images = (trees.picture(3, (H, W), seed=seed) / 4000).astype(np.float32)
        y = np.moveaxis(undersample(torch.from_numpy(images), mask)[1].numpy(), 0, 2)
        attributes = {"dataset": "own", "subject": split, "format_version": 1}
        write_volume(tmp_path / "own" / split / "acc_4x" / "1.h5", images, attributes, kspace_volus_4x=y)
    assert check(tmp_path / "own").faults == []
    assert not torch.equal(mask, mask_for("own", "4x", (H, W)))


@pytest.mark.parametrize("case", FAULTS)
def test_a_planted_fault_is_found(case, sound, tmp_path):
    folder = Path(shutil.copytree(sound, tmp_path / "own"))
    plant(case, folder)
    faults = check(folder).faults
    assert [fault for fault in faults if re.search(FAULTS[case], fault)], faults
    assert all("\n" not in fault and len(fault) < 1500 for fault in faults)


def test_a_manifest_that_excel_has_saved_is_sound(sound, tmp_path):
    folder = shutil.copytree(sound, tmp_path / "own")
    text = (sound / "manifest.csv").read_text(encoding="utf-8").replace(",", ";").replace("s1", "Jürgen")
    (folder / "manifest.csv").write_bytes((text + ";;;;;;;\n").encode("cp1252"))
    for path in folder.rglob("*.h5"):
        with h5py.File(path, "a") as file:
            if file.attrs["subject"] == "s1":
                file.attrs["subject"] = unicodedata.normalize("NFD", "Jürgen")
    assert check(folder).faults == []


def test_the_released_layout_from_elsewhere(sound, tmp_path):
    folder = tmp_path / "heart"
    for part in ("train", "validation", "test"):
        (folder / "cartesian" / part).mkdir(parents=True)
        shutil.copytree(sound / part / "acc_4x", folder / "cartesian" / part / "acc_4x")
    report = check(folder)
    assert report.faults == [] and any("no manifest.csv" in note for note in report.notes)
    with h5py.File(folder / "cartesian" / "test" / "acc_4x" / "1.h5", "a") as file:
        file.attrs["subject"] = h5py.File(folder / "cartesian" / "train" / "acc_4x" / "1.h5").attrs["subject"]
    (fault,) = check(folder).faults
    assert "is in train too: expected one split" in fault or "is in test too: expected one split" in fault


def test_the_command_prints_and_its_exit_status_tells(sound, tmp_path, monkeypatch, capsys):
    folder = Path(shutil.copytree(sound, tmp_path / "own"))
    for status, case in ((0, ""), (1, "range")):
        plant(case, folder)
        monkeypatch.setattr("sys.argv", ["data_prep", "check", str(folder)])
        with pytest.raises(SystemExit) as caught:
            main()
        assert (caught.value.code or 0) == status
    printed = capsys.readouterr().out
    assert "own: no faults" in printed and "fault: " in printed and "own: 1 faults" in printed


@pytest.mark.parametrize(
    ("make", "message"), [(False, "is not a folder: expected a prepared"), (True, "holds no volume file")]
)
def test_no_data_set(make, message, tmp_path):
    if make:
        (tmp_path / "own").mkdir()
    with pytest.raises(InputError, match=message):
        check(tmp_path / "own")

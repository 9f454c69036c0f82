import errno
import os
import re
import resource
import subprocess
import sys
import unicodedata
from dataclasses import replace
from pathlib import Path

import h5py
import matplotlib.image
import nibabel
import numpy as np
import pandas as pd
import pytest
import torch
import trees

from data_prep import pipeline, steps
from data_prep.__main__ import main
from data_prep.nifti import ACDC, Nifti
from data_prep.options import Options
from data_prep.pipeline import prepare
from data_prep.source import Scan, each_once
from data_prep.sunnybrook import Sunnybrook
from kdrecon import data
from kdrecon.choices import SPLITS
from kdrecon.errors import InputError
from kdrecon.physics.fourier import ifft2
from kdrecon.physics.sampling import published_mask
from kdrecon.storage.places import project_root

one_thread = pytest.fixture(autouse=True)(trees.one_thread)
SAMPLE = project_root() / "kdrecon" / "data" / "sample"
REAL_SUNNYBROOK = Path(os.environ.get("KDRECON_SUNNYBROOK", project_root().parent / "shared" / "data" / "sunnybrook"))


def data_prep(*arguments: str | Path, **options) -> subprocess.CompletedProcess:
    command = [sys.executable, "-m", "data_prep", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, text=True, cwd="/", **options)


def from_nifti(source: Path, out: Path) -> list:
    """The arguments that make the data set out/own in one process."""
    return ["nifti", source, "--out", out, "--name", "own", "--jobs", "1"]


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


def scans(root: Path, people: int = 5, **options) -> Path:
    """A folder of NIfTI scans, one a person."""
    for number in range(1, people + 1):
        trees.nifti(root / f"scan{number}.nii.gz", trees.picture(2, (40, 48), seed=number, **options))
    return root


ONE = Options(jobs=1, split="3,1,1", name="own")


@pytest.mark.parametrize("shape", [(5, 4), (10, 13)])
def test_centred_puts_the_centre_in_the_middle(shape):
    images = np.zeros((1, *shape))
    images[0, 3, 2] = 1
    assert steps.centred(images, 8, centre=(3, 2))[0, 4, 4] == 1
    assert steps.centred(images, (8, 6)).shape == (1, 8, 6)


def test_sunnybrook(tmp_path):
    source = trees.sunnybrook_png(tmp_path / "source")
    done = data_prep(
        "sunnybrook",
        source,
        "--out",
        tmp_path,
        "--split",
        "2,1,1",
        "-a",
        "4x",
        "-a",
        "8x",
        "--keep-names",
        "--jobs",
        "1",
    )
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "sunnybrook"
    manifest = pd.read_csv(folder / "manifest.csv")
    assert manifest.split.value_counts().to_dict() == {"train": 2, "validation": 1, "test": 1}
    assert manifest.subject.nunique() == 4 and (manifest.slices == 2).all()
    assert (folder / "contact_sheet.png").stat().st_size > 1000
    assert "4 slices in 2 volumes of 2 subjects" in (folder / "summary.txt").read_text(encoding="utf-8")
    assert sorted(p.name for p in tmp_path.iterdir()) == ["source", "sunnybrook"]
    slices = data.load_split(data.Split("sunnybrook", "train", "8x", data_root=str(tmp_path)))
    assert slices.x.shape == (4, 1, 150, 150) and len(set(slices.subject)) == 2
    assert (slices.task.mask == published_mask("cardiac", "8x")).all()
    with h5py.File(folder / "train" / "acc_8x" / "1.h5") as file:
        y = np.moveaxis(file["kspace_volus_8x"][:], 2, 0)
        np.testing.assert_allclose(y, slices.whole.y[:2, 0].numpy(), atol=1e-5)
        assert file["img_volus_8x"].shape == (150, 150, 2) and file.attrs["split"] == "train"
        first = matplotlib.image.imread(source / file.attrs["source"][0])
        images = np.moveaxis(file["volfs"][:], 2, 0)
    assert np.corrcoef(images[0].ravel(), first[5:155, 5:155, 0].ravel())[0, 1] > 0.9999


def test_kept_names_are_text_in_the_tables_and_on_the_contact_sheet(tmp_path):
    names = ["=HYPERLINK(1)", "a$^$", "@sum"]
    for seed, name in enumerate(names):
        trees.nifti(tmp_path / "source" / name / "scan.nii.gz", trees.picture(seed=seed))
    options = Options(name="own", split="1,1,1", keep_names=True, jobs=1)
    assert prepare(Nifti(tmp_path / "source"), tmp_path, options) == ([], [])
    manifest = pd.read_csv(tmp_path / "own" / "manifest.csv")
    assert sorted(manifest.subject) == ["'=HYPERLINK(1)", "'@sum", "a$^$"]
    assert not manifest.source.str.match("[=@]").any()


def test_acdc(tmp_path, capsys):
    source = trees.acdc(tmp_path / "acdc")
    prepare(ACDC(source), tmp_path, Options(accelerations=("4x", "5x"), jobs=1))
    printed = capsys.readouterr().out
    assert "train:      12 slices (the paper reports 1841) in 4 volumes of 2 subjects" in printed
    assert "validation: 6 slices (the paper reports 1076) in 2 volumes of 1 subjects" in printed
    slices = data.load_split(data.Split("cardiac", "train", "5x", data_root=str(tmp_path)))
    assert slices.x.shape == (12, 1, 150, 150) and set(slices.subject) == {"s1", "s2"}
    assert torch.equal(slices.task.mask, published_mask("cardiac", "5x"))
    expected = trees.picture(seed=11)[:, 5:155, 1:151]
    np.testing.assert_allclose(slices.x[:3, 0].numpy(), expected / expected.max(), atol=1e-6)


def test_acdc_takes_a_frame_from_the_cine_where_the_frame_file_is_missing(tmp_path):
    source = trees.acdc(tmp_path / "acdc")
    prepare(ACDC(source), tmp_path / "1", Options(jobs=1))
    for path in source.rglob("*_frame03.nii.gz"):
        path.unlink()
    prepare(ACDC(source), tmp_path / "2", Options(jobs=1))
    assert contents(tmp_path / "1") == contents(tmp_path / "2")


def test_acdc_leaves_out_and_counts_what_is_smaller_than_the_crop(tmp_path, capsys):
    source = trees.acdc(tmp_path / "acdc", training=3)
    trees.nifti(source / "training" / "patient002" / "patient002_frame03.nii.gz", trees.picture(5, (160, 149)))
    prepare(ACDC(source), tmp_path, Options(jobs=1))
    assert "5 slices of 1 volumes smaller than the crop" in capsys.readouterr().out
    manifest = pd.read_csv(tmp_path / "cardiac" / "manifest.csv")
    assert len(manifest) == 7 and len(list(tmp_path.glob("cardiac/*/acc_4x/*.h5"))) == 7
    data.check_manifest(tmp_path / "cardiac")


@pytest.mark.parametrize("mask", ["line", "gaussian", "lowpass"])
def test_k_space_under_a_full_mask_gives_the_image_back(mask, tmp_path):
    prepare(Nifti(scans(tmp_path / "in")), tmp_path, Options(("full"), ("1x",), mask, split="3,1,1", jobs=1))
    with h5py.File(tmp_path / "full" / "train" / "acc_1x" / "1.h5") as file:
        x, x_u, y = (np.moveaxis(file[name][:], 2, 0) for name in ("volfs", "img_volus_1x", "kspace_volus_1x"))
        assert file["mask_1x"][:].all() and x.max() == 1
    assert np.abs(ifft2(torch.from_numpy(y)).numpy() - x).max() < 1e-6 and np.abs(x_u - x).max() < 1e-6
    assert data.load_split(data.Split("full", "train", "1x", data_root=str(tmp_path))).task.mask.all()


@pytest.mark.parametrize("mask", ["line", "gaussian", "lowpass"])
def test_the_mask_that_was_measured_with_is_the_one_that_is_read(mask, tmp_path):
    options = Options("own", ("3x", "4x"), mask, split="3,1,1", jobs=1)
    prepare(Nifti(scans(tmp_path / "in")), tmp_path, options)
    for acceleration in ("3x", "4x"):
        slices = data.load_split(data.Split("own", "train", acceleration, data_root=str(tmp_path)))
        assert bool(slices.task.mask.all(1).any()) == (mask == "line")
        with h5py.File(tmp_path / "own" / "train" / f"acc_{acceleration}" / "1.h5") as file:
            assert torch.equal(torch.from_numpy(file[f"kspace_volus_{acceleration}"][:, :, 0]) != 0, slices.task.mask)


def test_equal_input_and_seed_give_equal_bytes_with_any_number_of_processes(tmp_path):
    source = scans(tmp_path / "in")
    for folder, options in {"1": ONE, "2": replace(ONE, jobs=2), "3": replace(ONE, seed=1)}.items():
        prepare(Nifti(source), tmp_path / folder, options)
    one, two, other = (contents(tmp_path / folder) for folder in "123")
    assert len(one) == 8 and one == two and one.keys() == other.keys()
    assert one["own/train/acc_4x/1.h5"] != other["own/train/acc_4x/1.h5"]


def test_empty_slices_are_dropped_and_counted(tmp_path):
    for number in range(1, 6):
        images = trees.picture(4, (40, 48), seed=number)
        images[0] = 0
        images[3] *= 0.01
        trees.nifti(tmp_path / "in" / f"{number}.nii", images)
    prepare(Nifti(tmp_path / "in"), tmp_path, ONE)
    manifest = pd.read_csv(tmp_path / "own" / "manifest.csv")
    assert (manifest.slices == 2).all() and (manifest.empty_slices == 2).all()
    assert "10 empty slices" in (tmp_path / "own" / "summary.txt").read_text(encoding="utf-8")


@pytest.mark.parametrize("dim", [20, 1])
def test_one_bright_time_point_does_not_make_the_others_empty(dim, tmp_path, capsys):
    for number in range(1, 6):
        images = trees.picture(4, (40, 48), seed=number)
        images[3] = images[3] * 0.01  # seen in no time point
        frames = np.stack([images * 30, images / dim, images / dim])
        trees.nifti(tmp_path / "in" / f"{number}.nii", frames.transpose(3, 2, 1, 0), dtype=np.float32)
    prepare(Nifti(tmp_path / "in"), tmp_path, ONE)
    manifest = pd.read_csv(tmp_path / "own" / "manifest.csv")
    assert (manifest.slices == 9).all() and (manifest.empty_slices == 3).all()
    assert "warning" not in capsys.readouterr().err


def test_a_volume_that_lost_more_than_a_third_of_its_slices_is_told(tmp_path, capsys):
    source = scans(tmp_path / "in")
    images = trees.picture(5, (40, 48))
    images[:2] = 0
    trees.nifti(source / "scan1.nii.gz", images)
    prepare(Nifti(source), tmp_path, ONE)
    assert "1 of 5 volumes lost more than a third of their slices as empty (2 of 5): look" in capsys.readouterr().err


def test_nan_outside_the_field_of_view_becomes_zero_and_is_counted(tmp_path):
    source = scans(tmp_path / "in")
    images = trees.picture(3, (40, 48))
    images[2] = images[:, :5] = images[0, 5:9, 20] = np.nan
    trees.nifti(source / "scan1.nii.gz", images, dtype=np.float32)
    assert prepare(Nifti(source), tmp_path, ONE).faults == []
    text = (tmp_path / "own" / "summary.txt").read_text(encoding="utf-8")
    assert f"set to 0:   {40 * 48 + 2 * 5 * 48 + 4} NaN voxels outside the field of view" in text
    images[0, 20, 20] = np.nan
    trees.nifti(source / "scan1.nii.gz", images, dtype=np.float32)
    with pytest.raises(InputError, match="scan1.nii.gz holds 1 voxels that are NaN or infinite"):
        prepare(Nifti(source), tmp_path, ONE)


@pytest.mark.parametrize("bits", [8, 5])
def test_a_real_image_of_few_grey_values_is_no_segmentation(bits):
    with h5py.File(SAMPLE / "train" / "1.h5") as file:
        images = np.moveaxis(file["volfs"][:], 2, 0)
    assert not steps.is_label_map((images >> (8 - bits)).astype(np.float32))


def test_a_slice_that_shows_something_only_outside_the_crop_is_empty(tmp_path):
    source = scans(tmp_path / "in")
    images = trees.picture(3, (40, 48))
    images[1, 8:-8, 8:-8] = 0
    trees.nifti(source / "scan1.nii.gz", images)
    assert prepare(Nifti(source), tmp_path, replace(ONE, size="24x32")).faults == []
    assert sorted(pd.read_csv(tmp_path / "own" / "manifest.csv").empty_slices) == [0, 0, 0, 0, 1]


def test_slices_and_size_can_be_chosen(tmp_path):
    source = scans(tmp_path / "in")
    prepare(Nifti(source), tmp_path, replace(ONE, slices="1:", size="32x60"))
    assert data.load_split(data.Split("own", "train", "4x", data_root=str(tmp_path))).x.shape == (3, 1, 32, 60)


def test_the_central_slices_can_be_chosen(tmp_path):
    source, images = scans(tmp_path / "in"), trees.picture(5, (40, 48))
    for number in range(1, 6):
        trees.nifti(source / f"scan{number}.nii.gz", images)
    prepare(Nifti(source), tmp_path, replace(ONE, slices="1:4"))
    first = contents(tmp_path / "own" / "train")
    prepare(Nifti(source), tmp_path, replace(ONE, central=3))
    assert contents(tmp_path / "own" / "train") == first and first
    with pytest.raises(
        InputError, match="scan1.nii.gz has 5 slices: expected at least the 6 of --central; choose fewer"
    ):
        prepare(Nifti(source), tmp_path, replace(ONE, central=6))


def test_the_central_slices_of_a_series_are_those_of_all_times():
    positions = np.repeat(np.arange(7), 2)
    assert positions[steps.central_slices(3, 7, 2, "scan")].tolist() == [2, 2, 3, 3, 4, 4]
    assert np.arange(256)[steps.central_slices(110, 256, 1, "scan")][[0, -1]].tolist() == [73, 182]


def test_small_negative_values_of_interpolation_become_zero(tmp_path):
    source = scans(tmp_path / "in")
    images = trees.picture(2, (40, 48))
    images[0, :2] = -5
    trees.nifti(source / "scan1.nii.gz", images)
    prepare(Nifti(source), tmp_path, ONE)
    assert "96 slightly negative voxels" in (tmp_path / "own" / "summary.txt").read_text(encoding="utf-8")
    assert pd.read_csv(tmp_path / "own" / "manifest.csv").negative_voxels.sum() == 96


def test_names_stay_inside_unless_they_are_asked_for(tmp_path):
    for number in range(1, 6):
        trees.nifti(tmp_path / "in" / f"Doe_Jane_{number}.nii.gz", trees.picture(2, (40, 48), seed=number))
    prepare(Nifti(tmp_path / "in"), tmp_path / "hidden", ONE)
    assert not any(b"Doe" in content or b"1970" in content for content in contents(tmp_path / "hidden").values())
    prepare(Nifti(tmp_path / "in"), tmp_path / "kept", replace(ONE, keep_names=True))
    manifest = pd.read_csv(tmp_path / "kept" / "own" / "manifest.csv")
    assert sorted(manifest.subject) == [f"Doe_Jane_{n}" for n in range(1, 6)]
    assert not any(b"1970" in content for content in contents(tmp_path / "kept").values())


def test_the_split_is_by_subject_and_depends_on_the_seed():
    subjects = [f"p{i}" for i in range(30)]
    one, again, other = (steps.split_subjects(subjects, {}, "20,4,6", seed) for seed in (0, 0, 1))
    assert one == again != other
    assert [list(one.values()).count(part) for part in SPLITS] == [20, 4, 6]


@pytest.mark.parametrize(
    ("n", "ratio", "counts"),
    [(10, "8,1,1", [8, 1, 1]), (3, "8,1,1", [1, 1, 1]), (7, "2,1,0", [5, 2, 0]), (2, "1,1,0", [1, 1, 0])],
)
def test_a_ratio_leaves_no_part_empty(n, ratio, counts):
    assigned = steps.split_subjects([f"p{i}" for i in range(n)], {}, ratio, 0)
    assert [list(assigned.values()).count(part) for part in SPLITS] == counts


def test_a_list_is_read_as_excel_and_macos_write_it(tmp_path):
    path, decomposed = tmp_path / "split.TXT", unicodedata.normalize("NFD", "Jürgen")
    path.write_text("Subject\tSplit\t\nJürgen \ttrain\t\nNA\tvalidation\t\n\t\t\n", encoding="utf-16")
    assigned = steps.split_subjects([decomposed, "NA", "007"], {}, str(path), 0)
    assert assigned == {decomposed: "train", "NA": "validation"}


def test_one_name_in_two_forms_of_unicode_is_one_subject():
    scans = [Scan(unicodedata.normalize(form, "Jürgen"), (Path(form),), form) for form in ("NFC", "NFD")]
    assert [scan.subject for scan in each_once(scans)] == ["Jürgen", "Jürgen"]


def test_the_subjects_found_are_told_before_anything_is_written(tmp_path, capsys):
    source = scans(tmp_path / "in", people=4)
    for number in (2, 3, 4):
        trees.nifti(source / "scan2" / f"{number}.nii", trees.picture(2, (40, 48), seed=10 * number))
    (tmp_path / "file").touch()
    with pytest.raises(InputError, match="cannot be written"):
        prepare(Nifti(source), tmp_path / "file" / "out", ONE)
    assert capsys.readouterr().out.splitlines() == [
        "found:      7 scans of 4 subjects",
        "  scan1: scan1.nii.gz",
        "  scan2: scan2.nii.gz, scan2/2.nii and 2 more files",
        "  scan3: scan3.nii.gz",
        "  and 1 more subjects",
    ]


@pytest.mark.parametrize(
    ("folders", "named"),
    [
        (["t1", "fl", "anna"], "fl, t1"),
        (["train", "val", "test"], "test, train, val"),
        (["imagesTr", "imagesTs"], "imagesTr, imagesTs"),
        (["T1w", "T2_post"], "T1w, T2_post"),
        (["Training_data", "Ground-truth", "seg masks"], "Ground-truth, Training_data, seg masks"),
        (["anna", "patient1", "test7", "segal", "p1"], ""),
    ],
)
def test_folders_that_are_named_after_no_person_are_pointed_out(folders, named, tmp_path, capsys):
    for number, folder in enumerate(folders):
        trees.nifti(tmp_path / "in" / folder / "scan.nii", trees.picture(2, (40, 48), seed=number))
    assert prepare(Nifti(tmp_path / "in"), tmp_path / "out", replace(ONE, split="1,1,0")) == ([], [])
    warning = [line for line in capsys.readouterr().err.splitlines() if line.startswith("warning: ")]
    expected = f"warning: {named}: folders with such names hold kinds of scan or splits.* --subject REGEX"
    assert [bool(re.match(expected, line)) for line in warning] == ([True] if named else [])


def test_one_subject_can_be_told_apart_or_prepared_to_look_at(tmp_path, monkeypatch, capsys):
    deep = scans(tmp_path / "in" / "all" / "raw", people=2)
    with pytest.raises(
        InputError, match=f"holds one subject only, 'all' .2 scans, first {deep / 'scan1.nii.gz'}"
    ) as caught:
        prepare(Nifti(tmp_path / "in"), tmp_path / "out", ONE)
    (deep / "scan3.nii").symlink_to("gone")
    with pytest.raises(
        InputError, match=r"scan1.nii.gz\) and 1 unusable files \(.*scan3.nii is a link that leads nowhere"
    ):
        prepare(Nifti(tmp_path / "in"), tmp_path / "out", replace(ONE, skip_bad=True))
    (deep / "scan3.nii").unlink()
    remedies = f"--subject REGEX, or choose a deeper SOURCE, such as {deep}; to look at one person's .*: --all-in test"
    assert re.search(remedies, str(caught.value)) and not list(tmp_path.glob("out/*"))
    arguments = ["nifti", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--name", "own", "--jobs", "1"]
    monkeypatch.setattr("sys.argv", ["data_prep", *arguments, "--all-in", "test"])
    with pytest.raises(SystemExit) as done:
        main()
    assert done.value.code == 0 and "split:      all in test, by subject" in capsys.readouterr().out
    assert len(data.load_split(data.Split("own", "test", "4x", data_root=str(tmp_path / "out")))) == 4
    assert not data.Split("own", "train", "4x", data_root=str(tmp_path / "out")).files


@pytest.mark.parametrize("options", [{"all_in": "tests", "split": ""}, {"all_in": "test", "split": "8,1,1"}])
def test_all_in_one_split_is_instead_of_a_split(options, tmp_path):
    with pytest.raises(InputError, match="all-in .*: expected one of train, validation, test, and no --split with it"):
        prepare(Nifti(scans(tmp_path / "in")), tmp_path / "out", replace(ONE, **options))


@pytest.mark.parametrize(
    ("all_in", "said"), [("", "for train and validation, .* --all-in test"), ("test", "for test, .*size$")]
)
def test_a_preparation_that_leaves_nothing_says_for_what(all_in, said, tmp_path):
    for number in (1, 2):
        trees.nifti(tmp_path / "in" / f"{number}.nii", np.full((2, 40, 48), 7))
    options = Options(jobs=1, skip_bad=True, all_in=all_in)
    with pytest.raises(InputError, match=f"in leaves no volume {said}"):
        prepare(Nifti(tmp_path / "in"), tmp_path / "out", options)
    assert not list(tmp_path.glob("out/*"))


def test_the_split_is_drawn_over_what_can_be_read(tmp_path):
    source = scans(tmp_path / "in", people=6)
    drawn = steps.split_subjects([f"scan{n}" for n in range(1, 7)], {}, "3,1,2", 0)
    (lost,) = [subject for subject, part in drawn.items() if part == "validation"]
    trees.nifti(source / f"{lost}.nii.gz", np.full((2, 40, 48), 7))
    options = replace(ONE, split="3,1,2", keep_names=True)
    with pytest.raises(InputError, match="is constant"):
        prepare(Nifti(source), tmp_path / "1", options)
    for folder in "12":
        outcome = prepare(Nifti(source), tmp_path / folder, replace(options, skip_bad=True))
        assert len(outcome.left_out) == 1 and outcome.faults == []
    assert contents(tmp_path / "1") == contents(tmp_path / "2")
    manifest = pd.read_csv(tmp_path / "1" / "own" / "manifest.csv")
    assert manifest.split.value_counts().to_dict() == {"train": 2, "validation": 1, "test": 2}
    moved = [row for row in manifest.itertuples() if drawn[row.subject] != row.split]
    assert len(moved) == 1 and set(manifest.subject) == drawn.keys() - {lost}
    for row in manifest.itertuples():
        with h5py.File(tmp_path / "1" / "own" / row.split / "acc_4x" / f"{row.volume}.h5") as file:
            assert (file.attrs["split"], file.attrs["subject"]) == (row.split, row.subject)


def test_a_split_given_as_a_list(tmp_path):
    path = tmp_path / "split.csv"
    path.write_text("subject,split\nscan1,validation\nscan3,train\nscan2,train\n", encoding="utf-8")
    prepare(Nifti(scans(tmp_path / "in")), tmp_path, replace(ONE, split=str(path), keep_names=True))
    manifest = pd.read_csv(tmp_path / "own" / "manifest.csv").set_index("subject").split.to_dict()
    assert manifest == {"scan2": "train", "scan3": "train", "scan1": "validation"}


@pytest.mark.parametrize(
    ("split", "message"),
    [
        ("20,4", "expected official, a CSV file, or a ratio"),
        ("0,2,2", "expected official, a CSV file, or a ratio"),
        ("a,b,c", "expected official, a CSV file, or a ratio"),
        ("5,-1,0", "expected official, a CSV file, or a ratio"),
        ("official", "has none for train"),
        ("nowhere.csv", "nowhere.csv cannot be read"),
    ],
)
def test_a_split_that_cannot_be_made(split, message):
    with pytest.raises(InputError, match=message):
        steps.split_subjects(list("abcd"), dict.fromkeys("abcd", ""), split, 0)


@pytest.mark.parametrize("row", ["x,train", "a,tests", "a,test\na,train", f"{'x' * 9999},train", f"a,{'9' * 9999}"])
def test_a_list_that_does_not_fit(row, tmp_path):
    (tmp_path / "split.csv").write_text(f"subject,split\n{row}\n", encoding="utf-8")
    with pytest.raises(InputError, match=r"split.csv says subject .*such as 'a'") as caught:
        steps.split_subjects(list("abcd"), {}, str(tmp_path / "split.csv"), 0)
    assert len(str(caught.value)) < 1000


# --- what can go wrong -------------------------------------------------------------------------------------------


def spoil(case: str, root: Path) -> None:
    """Make scan2.nii.gz of a folder of five scans unusable."""
    path = root / "scan2.nii.gz"
    images = trees.picture(2, (40, 48))
    match case:
        case "truncated gzip":
            path.write_bytes(path.read_bytes()[:-400])
        case "zero bytes":
            path.write_bytes(b"")
        case "2-D":
            trees.nifti(path, np.ones((40, 48)))
        case "5-D":
            trees.nifti(path, np.ones((8, 8, 2, 2, 2)))
        case "not finite":
            images[1, 2, 3] = np.nan
            trees.nifti(path, images, dtype=np.float32)
        case "segmentation":
            trees.nifti(path, (images // 250) * (images > 400))
        case "constant":
            trees.nifti(path, images * 0 + 7)
        case "negative":
            trees.nifti(path, images - 900)
        case "mixed sizes":
            trees.nifti(path, trees.picture(2, (48, 48)))
        case "duplicate subject":
            trees.nifti(root / "scan1.nii", images)
            path.unlink()
        case "symlink loop":
            (root / "loop").symlink_to(root)
            path.unlink()
        case "dangling link":
            path.unlink()
            path.symlink_to(root / "gone.nii.gz")
        case "link to itself":
            path.unlink()
            path.symlink_to(path)


SPOILT = {
    "truncated gzip": "scan2.nii.gz cannot be read .EOFError.*get it again",
    "zero bytes": "scan2.nii.gz cannot be read .*get it again",
    "2-D": r"scan2.nii.gz is 2-dimensional int16 \(40, 48\): expected numbers in three dimensions, or four",
    "5-D": "scan2.nii.gz is 5-dimensional.* leave the file out",
    "not finite": "scan2.nii.gz holds 1 voxels that are NaN or infinite: expected none; repair",
    "segmentation": "scan2.nii.gz holds flat areas of whole numbers, as a segmentation does: .* leave the file out",
    "constant": "scan2.nii.gz is constant .7 everywhere.: expected an image; leave the file out",
    "negative": "scan2.nii.gz spans -.*: expected magnitudes, not negative",
    "mixed sizes": r"scan2.nii.gz has slices of \(48, 48\), the first volume of \(40, 48\).*--size 40x48, or .*--match",
    "duplicate subject": "scan1.nii.gz is subject 'scan1' again, after .*scan1.nii: .*remove one of them",
    "symlink loop": "loop is a link back to .*: expected no circles; remove the link",
    "dangling link": "scan2.nii.gz is a link that leads nowhere .*remove the link",
    "link to itself": "scan2.nii.gz is a link that leads nowhere .*remove the link",
}


@pytest.mark.parametrize("case", SPOILT)
def test_an_unusable_file_is_named_and_can_be_left_out(case, tmp_path):
    source = Nifti(scans(tmp_path / "in"))
    spoil(case, tmp_path / "in")
    options = replace(ONE, split="2,1,1")
    with pytest.raises(InputError, match=SPOILT[case]) as caught:
        prepare(source, tmp_path / "out", options)
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out/own")) and not list(tmp_path.rglob("*.h5.partial"))
    (bad,) = prepare(source, tmp_path / "out", replace(options, skip_bad=True)).left_out
    assert bad == str(caught.value)
    assert [p.name for p in (tmp_path / "out").iterdir()] == ["own"]
    assert len(pd.read_csv(tmp_path / "out" / "own" / "manifest.csv")) == 4
    assert data.load_split(data.Split("own", "train", "4x", data_root=str(tmp_path / "out")))
    assert "1 unusable files" in (tmp_path / "out" / "own" / "summary.txt").read_text(encoding="utf-8")
    assert not list((tmp_path / "out").rglob("*.partial"))


def pass_over(case: str, root: Path) -> None:
    """Put two files beside the scans of a folder that cannot be read, and are no fault."""
    for number in (1, 2):
        path = root / f"more{number}.nii.gz"
        match case:
            case "annex link":
                path.symlink_to(Path(".git") / "annex" / "objects" / "Xk" / f"MD5E-s77--{number}.nii.gz")
            case "annex pointer":
                path.write_text(f"/annex/objects/MD5E-s77--{number}.nii.gz\n", encoding="utf-8")
            case "LFS pointer":
                path.write_text(
                    "version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 12345\n", encoding="utf-8"
                )
            case "other extension":
                path.with_name(f"more{number}.mnc.gz").touch()
            case "no extension":
                path.with_name(f"LICENSE{number}").touch()
            case "pipe":
                os.mkfifo(path)


PASSED_OVER = {
    "annex link": r"2 files that this clone has not fetched \(datalad get\)",
    "annex pointer": r"2 files that this clone has not fetched \(datalad get\)",
    "LFS pointer": r"2 files that this clone has not fetched \(git lfs pull\)",
    "other extension": "2 .mnc.gz files",
    "no extension": "2 files without an extension",
    "pipe": "2 pipes, sockets or devices",
}


@pytest.mark.parametrize("case", PASSED_OVER)
def test_what_was_seen_and_passed_over_is_said(case, tmp_path, capsys):
    (tmp_path / "alone").mkdir()
    pass_over(case, tmp_path / "alone")
    for options in ONE, replace(ONE, skip_bad=True):
        with pytest.raises(
            InputError, match=f"alone holds no scan for this reader; passed over: {PASSED_OVER[case]}: exp"
        ):
            prepare(Nifti(tmp_path / "alone"), tmp_path / "out", options)
    pass_over(case, scans(tmp_path / "in"))
    trees.nifti(tmp_path / "in" / ".git" / "annex" / "objects" / "key.nii.gz", trees.picture(2, (8, 8)))
    assert prepare(Nifti(tmp_path / "in"), tmp_path / "out", ONE) == ([], [])
    assert re.search(f"^passed over: {PASSED_OVER[case]}$", capsys.readouterr().out, re.MULTILINE)


@pytest.mark.skipif(not hasattr(os, "mkfifo"), reason="needs named pipes")
@pytest.mark.parametrize("kind", ["frame that Info.cfg names", "image beside a header"])
def test_a_pipe_in_place_of_a_file_that_another_one_names_is_not_waited_for(kind, tmp_path):
    folder = tmp_path / "in"
    folder.mkdir()
    if kind == "image beside a header":
        for name in ("a.hdr", "b.hdr"):
            nibabel.save(nibabel.Nifti1Pair(trees.picture(2, (24, 20)), np.eye(4)), folder / name)
        source, split, path = Nifti(folder), "1,1,0", folder / "b.img"
    else:
        trees.acdc(folder, 1, 1, size=(32, 24))
        source, split = ACDC(folder), "official"
        path = next(path for path in folder.rglob("*_frame*.nii.gz") if "_gt" not in path.name)
    path.unlink()
    os.mkfifo(path)
    with pytest.raises(InputError, match=rf"{path.name} is a folder, pipe, socket or device: expected a file"):
        prepare(source, tmp_path / "out", Options(jobs=1, split=split))


def test_the_unusable_files_are_counted_where_nothing_is_left(tmp_path):
    scans(tmp_path / "in", people=2)
    for path in (tmp_path / "in").iterdir():
        path.unlink()
        path.symlink_to("gone")
    with pytest.raises(
        InputError, match="holds no scan for this reader; unusable: 2, .*scan1.nii.gz is a link that leads"
    ):
        prepare(Nifti(tmp_path / "in"), tmp_path / "out", replace(ONE, skip_bad=True))


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("ES: 3\n", "Info.cfg has no number for ED"),
        (f"ED: {'9' * 5000}\nES: 3\n", "Info.cfg has no number for ED"),
        ("ED: 1\nES: two\n", "Info.cfg has no number for ES: expected a line such as 'ES: 12'"),
    ],
)
def test_a_missing_key_in_acdc(text, message, tmp_path):
    source = trees.acdc(tmp_path / "acdc", training=3)
    (source / "training" / "patient002" / "Info.cfg").write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        prepare(ACDC(source), tmp_path, Options(jobs=1))
    assert len(prepare(ACDC(source), tmp_path, Options(jobs=1, skip_bad=True)).left_out) == 1
    assert len(pd.read_csv(tmp_path / "cardiac" / "manifest.csv")) == 7


def test_an_acdc_patient_in_both_parts(tmp_path):
    source = trees.acdc(tmp_path / "acdc")
    (source / "training" / "patient001").rename(source / "testing" / "patient101" / "patient001")
    (source / "testing" / "patient101" / "patient001").rename(source / "testing" / "patient001")
    trees.acdc(source, training=1, testing=0)
    with pytest.raises(InputError, match="is subject 'patient001' again, after .*testing.*: expected each once"):
        prepare(ACDC(source), tmp_path, Options(jobs=1))


@pytest.mark.parametrize(
    ("case", "message"),
    [
        ("missing", "is not a folder: expected"),
        ("empty", "holds no scan for this reader: expected Train/Images"),
        ("unreadable", "cannot be read"),
        ("unnamed", "expected a name that begins with the patient"),
    ],
)
def test_an_unusable_source_is_refused(case, message, tmp_path):
    root = tmp_path / "in"
    if case == "empty":
        root.mkdir()
    elif case != "missing":
        trees.sunnybrook_png(root)
        path = next(root.rglob("*.png"))
        path.write_bytes(b"no picture") if case == "unreadable" else path.rename(path.with_name("heart.png"))
    with pytest.raises(InputError, match=message) as caught:
        prepare(Sunnybrook(root), tmp_path / "out", Options(split="2,1,1", jobs=1))
    assert "\n" not in str(caught.value)
    assert not list(tmp_path.glob("out/*")) or case == "unreadable"


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"accelerations": ("0.5x",)}, "acceleration '0.5x': expected a factor of at least 1"),
        ({"accelerations": ("fast",)}, "acceleration 'fast': expected a factor"),
        ({"mask": "radial"}, "mask type 'radial' is unknown: expected one of line, gaussian, lowpass"),
        ({"size": "12x13x14"}, "size '12x13x14': expected keep, one number, or HEIGHTxWIDTH"),
        ({"size": "big"}, "size 'big': expected keep"),
        ({"slices": "3"}, "slices '3': expected START:STOP"),
        ({"slices": "3:", "central": 4}, "slices '3:', central 4: expected one of the two"),
        ({"central": -1}, "central -1: expected a number from 0"),
        ({"slices": "9:"}, "expected real slices"),
        ({"slices": "-:3"}, "slices '-:3': expected START:STOP"),
        ({"size": "4²"}, "size '4²': expected keep"),
        ({"size": "9" * 5000}, "size '9{76}...: expected keep"),
        ({"slices": "9" * 5000 + ":"}, "slices '9{76}...: expected START:STOP"),
        ({"accelerations": ("9" * 5000 + "x",)}, "acceleration '9{76}...: expected a factor"),
        ({"seed": -1}, "seed -1: expected a number from 0 to"),
        ({"jobs": -1}, "jobs -1: expected a number from 0 to 1000"),
        ({"foreground": float("nan")}, "foreground nan: expected a number from 0 to 1"),
        ({"name": "../x"}, "name '../x': expected a plain name"),
    ],
)
def test_options_that_do_not_fit(options, message, tmp_path):
    with pytest.raises(InputError, match=message):
        prepare(Nifti(scans(tmp_path / "in")), tmp_path / "out", replace(ONE, **options))
    assert not list(tmp_path.glob("out/*"))


def test_the_command_line_says_what_is_wrong(tmp_path):
    done = data_prep("sunnybrook", tmp_path / "nowhere", "--out", tmp_path / "out")
    assert done.returncode == 2 and done.stderr.startswith("error: ") and done.stderr.count("\n") == 1
    assert not (tmp_path / "out").exists()


def test_the_exit_status_tells_that_something_was_left_out(tmp_path, monkeypatch, capsys):
    spoil("constant", scans(tmp_path / "in"))
    arguments = ["nifti", str(tmp_path / "in"), "--out", str(tmp_path / "out"), "--split", "2,1,1", "--jobs", "1"]
    for extra, status in ([], 2), (["--skip-bad"], 1):
        monkeypatch.setattr("sys.argv", ["data_prep", *arguments, *extra])
        with pytest.raises(SystemExit) as caught:
            main()
        assert caught.value.code == status
    assert re.search(r"left out, unusable:\n  .*scan2.nii.gz is constant", capsys.readouterr().err)


def test_equal_scans_under_two_names_are_found_when_they_fall_into_two_splits(tmp_path, monkeypatch, capsys):
    source = scans(tmp_path / "in", people=2)
    trees.nifti(source / "scan2.nii.gz", 3 * trees.picture(2, (40, 48), seed=1))
    arguments = ["nifti", str(source), "--out", str(tmp_path), "--name", "own", "--split", "1,1,0", "--jobs", "1"]
    monkeypatch.setattr("sys.argv", ["data_prep", *arguments])
    with pytest.raises(SystemExit) as caught:
        main()
    assert caught.value.code == 1
    assert "own/train/acc_4x/1.h5: 2 slices are in" in capsys.readouterr().err
    assert "check:      1 faults" in (tmp_path / "own" / "summary.txt").read_text(encoding="utf-8")


def test_a_folder_that_may_not_be_searched_is_named(tmp_path, monkeypatch):
    source = scans(tmp_path / "in")
    (source / "closed").mkdir()
    scandir = os.scandir

    def closed(path):
        if str(path).endswith("closed"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return scandir(path)

    monkeypatch.setattr(os, "scandir", closed)
    assert "closed cannot be searched (Permission denied)" in str(list(Nifti(source).scans())[-1])


def test_a_folder_that_cannot_be_written(tmp_path):
    source = Nifti(scans(tmp_path / "in"))
    (tmp_path / "file").write_text("in the way", encoding="utf-8")
    with pytest.raises(InputError, match="file/out cannot be written .Not a directory.*choose another --out"):
        prepare(source, tmp_path / "file" / "out", ONE)
    if os.geteuid() == 0:
        pytest.skip("root may write anywhere: the permission itself cannot be tested")
    (tmp_path / "closed").mkdir(mode=0o555)
    with pytest.raises(InputError, match="closed cannot be written .Permission denied.*choose another --out"):
        prepare(source, tmp_path / "closed", ONE)


def test_a_disk_that_is_full_half_way_and_a_second_call_that_continues(tmp_path):
    source = scans(tmp_path / "in")
    trees.nifti(source / "scan3.nii.gz", np.random.default_rng(0).uniform(1, 30000, (40, 40, 48)))
    arguments = [*from_nifti(source, tmp_path / "out"), "--split", "3,1,1", "--skip-bad"]
    limit = lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, 200_000))  # noqa: E731
    done = data_prep(*arguments, preexec_fn=limit)
    assert done.returncode == 2, done.stderr
    assert f"error: {tmp_path / 'out'} cannot be written ({os.strerror(errno.EFBIG)})" in done.stderr
    assert "free some space" in done.stderr and "the same command continues there" in done.stderr
    (work,) = (tmp_path / "out").iterdir()
    kept = {p: p.stat().st_mtime_ns for p in work.rglob("*.h5")}
    assert len(kept) == 2 and work.name == ".own.partial" and not list(work.rglob("*.partial"))
    assert data_prep(*arguments).returncode == 0
    own = tmp_path / "out" / "own"
    assert {own / path.relative_to(work): t for path, t in kept.items()}.items() <= {
        p: p.stat().st_mtime_ns for p in own.rglob("*.h5")
    }.items()
    prepare(Nifti(source), tmp_path / "again", ONE)
    assert contents(tmp_path / "again" / "own") == contents(own)


def test_other_options_begin_anew(tmp_path, monkeypatch):
    source = scans(tmp_path / "in")
    spoil("constant", source)
    with pytest.raises(InputError, match="constant"):
        prepare(Nifti(source), tmp_path / "out", ONE)
    assert list((tmp_path / "out" / ".own.partial").rglob("*.h5"))
    trees.nifti(source / "scan2.nii.gz", trees.picture(2, (40, 48)))
    prepare(Nifti(source), tmp_path / "out", replace(ONE, size="32"))
    assert {h5py.File(p)["volfs"].shape[:2] for p in (tmp_path / "out").rglob("*.h5")} == {(32, 32)}


def test_an_edited_list_begins_anew(tmp_path, monkeypatch):
    source, path = Nifti(scans(tmp_path / "in", people=3)), tmp_path / "split.csv"
    options = replace(ONE, split=str(path), keep_names=True)
    path.write_text("subject,split\nscan1,train\nscan2,validation\n", encoding="utf-8")
    with monkeypatch.context() as patch:
        patch.setattr(pipeline.sheet, "draw", None)
        with pytest.raises(TypeError):
            prepare(source, tmp_path, options)
    path.write_text("subject,split\nscan2,train\nscan1,validation\n", encoding="utf-8")
    prepare(source, tmp_path, options)
    with h5py.File(tmp_path / "own" / "train" / "acc_4x" / "1.h5") as file:
        assert file.attrs["subject"] == "scan2"


INTERRUPTED = """
import signal
from data_prep import __main__, conversion
write, written = conversion.write_volume, []


def write_and_interrupt(*arguments, **arrays):
    write(*arguments, **arrays)
    written.append(arguments)
    if len(written) == 3:
        signal.raise_signal(signal.SIGINT)  # as if somebody had pressed Ctrl-C at this point


conversion.write_volume = write_and_interrupt
signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits it ignored
__main__.main()
"""


def test_interrupted_and_continued(tmp_path):
    source = scans(tmp_path / "in", people=6)
    command = [sys.executable, "-c", INTERRUPTED, *map(str, from_nifti(source, tmp_path / "out"))]
    done = subprocess.run(command, capture_output=True, text=True)
    assert done.returncode == 130 and "Traceback" not in done.stderr
    assert "the same command continues there" in done.stderr
    work = tmp_path / "out" / ".own.partial"
    assert not (tmp_path / "out" / "own").exists() and len(list(work.rglob("*.h5"))) == 3
    assert not list(work.rglob("*.partial"))
    prepare(Nifti(source), tmp_path / "out", Options(name="own", jobs=1))
    prepare(Nifti(source), tmp_path / "again", Options(name="own", jobs=1))
    assert contents(tmp_path / "out") == contents(tmp_path / "again")


def test_a_folder_of_something_else_is_never_replaced(tmp_path):
    (tmp_path / "own").mkdir()
    (tmp_path / "own" / "thesis.tex").write_text("years of work", encoding="utf-8")
    with pytest.raises(InputError, match="own is there and is no prepared data set"):
        prepare(Nifti(scans(tmp_path / "in")), tmp_path, ONE)
    assert (tmp_path / "own" / "thesis.tex").exists()


def test_real_sunnybrook():
    if not REAL_SUNNYBROOK.is_dir():
        pytest.skip(f"no Sunnybrook data at {REAL_SUNNYBROOK}; set KDRECON_SUNNYBROOK")
    source = Sunnybrook(REAL_SUNNYBROOK)
    found = list(source.scans())
    assert len(found) == 30 and sum(len(scan.files) for scan in found) == 526
    images = source.read(found[0]).images
    assert images.shape == (18, 256, 256) and images.max() <= 1

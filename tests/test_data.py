import json
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch
import trees

from kdrecon import data
from kdrecon.data.images import Values, image_faults
from kdrecon.data.splits import BYTES_PER_PIXEL
from kdrecon.data.volumes import FORMAT_VERSION
from kdrecon.errors import InputError
from kdrecon.physics.sampling import mask_for, undersample
from kdrecon.storage.places import SHIPPED


def volume(n=3, size=(16, 16), seed=0) -> np.ndarray:
    return np.random.default_rng(seed).uniform(0.1, 7, (n, *size)).astype(np.float32)


def write(root: Path, split: str, number: int = 1, images=None, subject="a", place="acc_4x", **arrays) -> Path:
    path = root / "heart" / split / place / f"{number}.h5"
    data.write_volume(path, volume() if images is None else images, {"subject": subject}, **arrays)
    return path


def load(root: Path, split="train", acceleration="4x", limit=None, **options) -> data.Slices:
    return data.load_split(data.Split("heart", split, acceleration, data_root=str(root), **options), limit=limit)


def test_written_and_read_again(tmp_path):
    images = volume()
    path = write(tmp_path, "train", images=images)
    read, attributes = data.read_volume(path)
    np.testing.assert_array_equal(read, images / images.max())
    assert attributes["subject"] == "a" and attributes["format_version"] == FORMAT_VERSION
    with h5py.File(path) as file:
        assert file["volfs"].shape == (16, 16, 3)


def test_equal_input_gives_equal_bytes(tmp_path):
    first, second = write(tmp_path / "1", "train"), write(tmp_path / "2", "train")
    assert first.read_bytes() == second.read_bytes()
    assert [p.name for p in first.parent.iterdir()] == ["1.h5"]


def test_hidden_files_are_no_volumes(tmp_path):
    for split in ("train", "validation"):
        write(tmp_path, split)
    trees.litter(tmp_path)
    assert load(tmp_path).volume == ["1"] * 3 and not data.Split("heart", "test", "4x", data_root=str(tmp_path)).files
    with pytest.raises(InputError, match=r"at '5x' \(found: acc_4x\): expected"):
        load(tmp_path, acceleration="5x")
    with pytest.raises(InputError, match=r"is not in .* \(found: heart\): expected"):
        data.load_split(data.Split("brain", "train", "4x", data_root=str(tmp_path)))


def test_slices_of_a_split(tmp_path):
    for number in (1, 2, 10):
        write(tmp_path, "train", number, volume(seed=number), subject=f"s{number}")
    slices = load(tmp_path)
    assert slices.volume == ["1"] * 3 + ["2"] * 3 + ["10"] * 3 and slices.index == [0, 1, 2] * 3
    assert slices.subject[-1] == "s10" and slices.x.shape == (9, 1, 16, 16)
    assert slices.x.dtype == torch.float32 and [float(slices.x[i : i + 3].max()) for i in (0, 3, 6)] == [1, 1, 1]
    x_u, y = undersample(slices.x, mask_for("heart", "4x", (16, 16)))
    torch.testing.assert_close((slices.whole.x_u, slices.whole.y), (x_u, y))  # a volume at a time, or all in one batch


def test_integers_are_read(tmp_path):
    images = (volume() * 30).astype(np.uint8)
    write(tmp_path, "train", images=images)
    assert torch.equal(load(tmp_path).x[:, 0], torch.from_numpy(images / np.float32(images.max())))


@pytest.mark.parametrize("resolution, lines", [(0, [0, 1, 3, 4, 8, 11, 23, 26, 34, 39]), (16, [0, 1, 10, 14])])
def test_files_written_before_the_density_changed_keep_their_masks(tmp_path, resolution, lines):
    path = write(tmp_path, "train", images=volume(size=(40, 40)))
    new = mask_for("heart", "4x", load(tmp_path, resolution=resolution).x.shape[-2:])
    assert torch.equal(load(tmp_path, resolution=resolution).task.mask, new)
    for version in (1, None):
        with h5py.File(path, "a") as file:
            file.attrs.pop("format_version") if version is None else file.attrs.modify("format_version", version)
        mask = load(tmp_path, resolution=resolution).task.mask
        assert torch.nonzero(mask[:, 0]).flatten().tolist() == lines and not torch.equal(mask, new)


def test_the_networks_that_ship_know_the_people_by_their_images_and_mask():
    train, validation = (data.load_split(data.Split("people", split, "4x", 120)) for split in ("train", "validation"))
    for record in SHIPPED.glob("*.json"):
        trained_on = json.loads(record.read_text(encoding="utf-8"))["config"]["data"]
        assert trained_on == f"{train.fingerprint} {validation.fingerprint}"


@pytest.mark.parametrize("place", ["acc_4x", "."])
def test_layouts(tmp_path, place):
    write(tmp_path, "train", place=place)
    assert len(load(tmp_path)) == 3


def test_released_layout(tmp_path):
    for kind, seed in (("cartesian", 0), ("gaussian", 1)):
        path = tmp_path / "heart" / kind / "train" / "acc_4x" / "1.h5"
        data.write_volume(path, volume(seed=seed), {})
    line, points = load(tmp_path), load(tmp_path, mask_type="gaussian")
    assert not torch.equal(line.x, points.x) and line.task.mask.all(1).any() and not points.task.mask.all(1).any()


def test_a_stored_mask_serves_an_acceleration_of_its_own(tmp_path):
    mask = np.zeros((16, 16), bool)
    mask[::3] = True
    write(tmp_path, "train", place="acc_3x", mask_3x=mask)
    assert torch.equal(load(tmp_path, acceleration="3x").task.mask, torch.from_numpy(mask))


def test_low_resolution_is_that_of_the_images_whatever_mask_the_files_hold(tmp_path):
    write(tmp_path, "train", place="acc_2x", mask_2x=np.ones((16, 16), bool))
    for resolution, side in ((0, 8), (12, 6)):
        mask = load(tmp_path, acceleration="2x", mask_type="lowpass", resolution=resolution).task.mask
        assert mask.sum() == side**2 and mask[:3, :3].all()


def test_resolution_crops_k_space_and_scales_anew(tmp_path):
    write(tmp_path, "train")
    slices = load(tmp_path, resolution=8)
    assert slices.x.shape == (3, 1, 8, 8) and float(slices.x.max()) == 1
    assert slices.fingerprint != load(tmp_path).fingerprint


def test_batches(tmp_path):
    write(tmp_path, "train", images=volume(5))
    slices = load(tmp_path)
    assert [len(batch.x) for batch in slices.batches(2)] == [2, 2, 1]
    assert torch.equal(torch.cat([batch.x for batch in slices.batches(2)]), slices.x)
    order = torch.tensor([4, 0, 2])
    assert torch.equal(torch.cat([batch.y for batch in slices.batches(2, order)]), slices.whole.y[order])
    batch = slices.batch(torch.tensor([3]))
    assert torch.equal(batch.x[0], slices.x[3]) and torch.equal(batch.x_u[0], slices.whole.x_u[3])


def test_subset_keeps_slices_with_their_names(tmp_path):
    write(tmp_path, "train", images=volume(9))
    subset = load(tmp_path).subset(3)
    assert subset.index == [0, 4, 8] and len(subset) == 3 and torch.equal(subset.whole.y[1], load(tmp_path).whole.y[4])


@pytest.mark.parametrize("resolution", [0, 8])
def test_streamed_slices_equal_those_in_memory(tmp_path, resolution):
    for number in (1, 2):
        write(tmp_path, "train", number, volume(5, seed=number), subject=f"s{number}")
    memory, streamed = load(tmp_path, resolution=resolution), load(tmp_path, resolution=resolution, limit=9999)
    assert (memory.storage, streamed.storage) == ("memory", "files")
    for name in ("labels", "volume", "index", "subject", "fingerprint"):
        assert getattr(memory, name) == getattr(streamed, name), name
    order = torch.randperm(10, generator=torch.Generator().manual_seed(0))
    for ours, theirs in zip(memory.batches(3, order), streamed.batches(3, order), strict=True):
        for a, b in zip(ours, theirs, strict=True):
            torch.testing.assert_close(a, b)
    torch.testing.assert_close(memory.x, streamed.x)
    assert streamed.subset(2).storage == "memory" and len(streamed) == 10


def test_what_fits_stays_in_memory(tmp_path):
    write(tmp_path, "train", images=volume(5))
    size = 5 * 16 * 16 * BYTES_PER_PIXEL
    assert [load(tmp_path, limit=limit).storage for limit in (size, size - 1)] == ["memory", "files"]


@pytest.mark.parametrize(
    "images, negative, fault",
    [
        (volume()[0], 0.0, "is float32 (16, 16): expected real images"),
        (volume()[:0], 0.0, "is float32 (0, 16, 16): expected real images"),
        (volume() + 1j, None, "is complex64 (3, 16, 16): expected real images"),
        (np.where(volume() > 6, np.nan, volume()), None, "values that are NaN or infinite: expected none"),
        (volume() - 7, 0.1, "expected magnitudes, not negative"),
        (-volume(), 0.1, "expected magnitudes, not negative"),
        (volume() - 0.5, 0.0, "expected magnitudes, not negative"),
        (0 * volume(), 0.0, "spans 0 to 0: expected magnitudes, not negative and not all 0"),
        (volume() - 0.5, 0.1, ""),
        (-volume(), None, ""),
        (volume(), 0.0, ""),
    ],
)
def test_every_reader_asks_one_rule_what_is_wrong_with_images(images, negative, fault):
    faults = [str(found) for found in image_faults(images, lambda: Values.of(images), negative=negative)]
    assert len(faults) == bool(fault) and fault in "".join(faults)


def damaged(case: str, root: Path) -> None:
    """Make the data set of a case in which loading the training split must be refused."""
    images = volume()
    match case:
        case "missing data_root":
            pass
        case "missing data set":
            root.mkdir(exist_ok=True)
        case "empty folder":
            (root / "heart" / "train").mkdir(parents=True)
        case "not HDF5":
            write(root, "train").write_bytes(b"this is no HDF5 file")
        case "truncated":
            path = write(root, "train")
            path.write_bytes(path.read_bytes()[:900])
        case "no volfs":
            with h5py.File(write(root, "train"), "a") as file:
                file.move("volfs", "images")
        case "NaN" | "infinite":
            images[1, 2, 3] = np.nan if case == "NaN" else np.inf
            write(root, "train", images=images)
        case "negative":
            write(root, "train", images=images - 1)
        case "zero":
            write(root, "train", images=0 * images)
        case "complex":
            write(root, "train", images=images + 1j)
        case "two-dimensional":
            with h5py.File(write(root, "train"), "a") as file:
                del file["volfs"]
                file["volfs"] = images[0]
        case "sizes differ":
            write(root, "train")
            write(root, "train", 2, volume(size=(16, 18)))
        case "k-space of another size":
            write(root, "train", kspace_volus_4x=np.zeros((8, 8, 3), np.complex64))
        case "mask of another size":
            write(root, "train", mask_4x=np.ones((8, 16), bool))
        case "masks differ":
            write(root, "train", mask_4x=np.ones((16, 16), bool))
            write(root, "train", 2, mask_4x=np.eye(16, dtype=bool))
        case "subject in two splits":
            write(root, "train")
            (root / "heart" / "manifest.csv").write_text(
                "split,volume,subject,slices,split_by\ntrain,1,a,3,subject\ntest,1,a,3,subject\n", encoding="utf-8"
            )
        case "manifest without subjects":
            write(root, "train")
            (root / "heart" / "manifest.csv").write_text("split,volume\ntrain,1\n", encoding="utf-8")


DAMAGE = {
    "missing data_root": "is not a folder: expected the folder that holds heart/",
    "missing data set": "data set 'heart' is not in .* expected a prepared data set",
    "empty folder": "no .h5 file for split 'train' at '4x'.* expected train/acc_4x",
    "not HDF5": "1.h5 cannot be read as HDF5.* expected an intact file",
    "truncated": "1.h5 cannot be read as HDF5",
    "no volfs": "no dataset 'volfs' .found: images.: expected fully sampled images",
    "NaN": "volfs holds 1 values that are NaN or infinite, expected none",
    "infinite": "volfs holds 1 values that are NaN or infinite",
    "negative": "volfs spans -.* expected magnitudes",
    "zero": "volfs spans 0 to 0, expected magnitudes",
    "complex": "volfs is complex.* expected real images",
    "two-dimensional": r"volfs is float32 \(16, 16\), expected real images \(H, W, S\)",
    "sizes differ": r"2.h5 has slices of \(16, 18\), 1.h5 of \(16, 16\): expected one size",
    "k-space of another size": r"kspace_volus_4x is of size \(8, 8\), volfs of \(16, 16\)",
    "mask of another size": r"mask_4x is of size \(8, 16\), volfs of \(16, 16\): expected equal sizes",
    "masks differ": "2.h5: mask_4x differs from that of 1.h5: expected one mask",
    "subject in two splits": "subject 'a' is in train and in test: expected each subject in one split",
    "manifest without subjects": r"manifest.csv lacks the column 'subject' .found: split, volume.: expected split, subject",
}


@pytest.mark.parametrize("case", DAMAGE)
def test_unusable_data_is_refused_in_one_line(case, tmp_path):
    damaged(case, tmp_path / "root")
    with pytest.raises(InputError, match=DAMAGE[case]) as caught:
        load(tmp_path / "root")
    assert "\n" not in str(caught.value)


def test_resolution_above_the_stored_one(tmp_path):
    write(tmp_path, "train")
    with pytest.raises(InputError, match="resolution 20 is above the stored 16 x 16"):
        load(tmp_path, resolution=20)


def test_a_stored_mask_does_not_fit_a_cropped_resolution(tmp_path):
    write(tmp_path, "train", mask_4x=np.ones((16, 16), bool))
    with pytest.raises(InputError, match=r"mask_4x .* is of size \(16, 16\), the images of \(8, 8\).*resolution to 0"):
        load(tmp_path, resolution=8)


@pytest.mark.parametrize(("splits", "allowed"), [(("train", "validation"), True), (("validation", "test"), False)])
def test_slabs_of_one_scan_may_train_and_validate_but_never_test(splits, allowed, tmp_path):
    rows = "".join(f"{split},1,a,slab\n" for split in splits)
    (tmp_path / "manifest.csv").write_text("split,volume,subject,split_by\n" + rows, encoding="utf-8")
    if allowed:
        data.check_manifest(tmp_path)
    else:
        with pytest.raises(InputError, match="subject 'a' is in validation and in test"):
            data.check_manifest(tmp_path)

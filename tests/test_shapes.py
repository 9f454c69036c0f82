"""Images that are not square, through the whole course: H x W everywhere."""

from pathlib import Path

import numpy as np
import pytest
import torch
from helpers import PAPER, random_image

from kdrecon import results
from kdrecon.data.splits import Split, load_split
from kdrecon.data.volumes import write_volume
from kdrecon.errors import InputError
from kdrecon.models.dccnn import dc_cnn
from kdrecon.models.sft import SFT, sft_loss
from kdrecon.physics.fidelity import DataFidelity
from kdrecon.physics.sampling import published_mask
from kdrecon.results.report import write_results
from kdrecon.runs.experiment import Experiment, resolution_of, sides
from kdrecon.runs.laboratory import Laboratory
from kdrecon.teaching import plots, widgets

TALL, WIDE, KNEE = (64, 48), (48, 64), (640, 368)
TINY = PAPER | {
    "dataset": "heart",
    "epochs": 1,
    "batch_size": 4,
    "lr": 1e-3,
    "methods": ["at"],
    "device": "cpu",
    "resolution": 0,
    "ready": False,
}


def write(root, shape, dataset="heart", slices=4, **splits) -> str:
    """Smooth random images of the given size as a data set; returns its data_root."""
    for seed, split in enumerate(splits or ("train", "validation", "test")):
        coarse = random_image(slices, 1, 8, 8, dtype=torch.float32, seed=seed)
        x = torch.nn.functional.interpolate(coarse, shape, mode="bicubic").clamp(0, 1)[:, 0].numpy()
        write_volume(root / dataset / split / "1.h5", splits.get(split, x), {"subject": split})
    return str(root)


@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_networks_of_images_that_are_not_square(shape, tmp_path):
    small = {"teacher_network": "D3C2", "student_network": "D2C2"}
    place = {"data_root": write(tmp_path, shape), "run_root": str(tmp_path / "run")}
    lab = Laboratory(**place, **TINY, switches=small)
    networks = {"zero": lab.zero_filled(), "student": lab.student(), "SFT-KD": lab.distilled("at", "sft")}
    for network in networks.values():
        results.evaluate(lab, network)
    size = f"{shape[0]}x{shape[1]}"
    assert lab.student().experiment.resolution == size and f"_resolution-{size}_" in lab.student().folder.name
    assert f"{shape[0]} x {shape[1]}" in (lab.student().folder / "report.txt").read_text(encoding="utf-8")
    assert write_results(tmp_path / "run") == []
    assert f"4x, {shape[0]} x {shape[1]}, test split" in (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert set(results.summary(tmp_path / "run").resolution) == {size}


@pytest.mark.parametrize("limit", [None, 0])
@pytest.mark.parametrize("shape", [TALL, WIDE])
def test_a_resolution_makes_images_square(shape, limit, tmp_path):
    root = write(tmp_path, shape)
    for resolution, expected in {0: shape, 48: (48, 48), 32: (32, 32)}.items():
        slices = load_split(Split("heart", "train", "4x", resolution, root), limit=limit)
        assert slices.x.shape[-2:] == slices.task.mask.shape == expected
    with pytest.raises(InputError, match=f"resolution 64 is above the stored {shape[0]} x {shape[1]}.*at most 48"):
        load_split(Split("heart", "train", "4x", 64, root))


def test_the_knee_from_file_to_figure(tmp_path):
    slices = load_split(Split("knee", "train", "4x", data_root=write(tmp_path, KNEE, "knee", slices=2)))
    mask, one = published_mask("knee", "4x"), slices.batch(torch.tensor([0]))
    assert torch.equal(slices.task.mask, mask) and mask.all(0).any() and not mask.all(1).any()  # whole columns
    with torch.no_grad():
        _, branches = outputs = SFT(dc_cnn("D2C2"), dc_cnn("D2C2"))(one.x_u, one.y, one.mask)
        assert branches.shape == (1, 1, 1, *KNEE) and torch.isfinite(sft_loss(one.x, *outputs).total)
        fast, x_cnn = DataFidelity()(one.x_u, one.y, one.mask), one.x_u.double()
        k = torch.fft.fft2(x_cnn, norm="ortho")
        plain = torch.fft.ifft2(torch.where(one.mask, one.y.to(k.dtype), k), norm="ortho").real
        torch.testing.assert_close(fast.double(), plain, atol=1e-5, rtol=0)
    target, zero_filled = slices.x[:, 0].numpy(), slices.whole.x_u[:, 0].numpy()
    assert np.isfinite(results.score(target[:1], zero_filled[:1])).all(axis=None)
    for figure in (
        plots.comparison(target[0], {"zero-filled": zero_filled[0]}),
        widgets.brush_figure(slices.x[0, 0]),
        widgets.undersampling_figure(slices.x[0, 0]),
        widgets.cascade_figure({"D2C2": dc_cnn("D2C2")}, one, "D2C2"),
        widgets.reconstruction_figure(target, {"zero-filled": zero_filled}, "zero-filled"),
    ):
        assert any(KNEE in {image.get_array().shape for image in ax.images} for ax in figure.axes)


def test_sizes_in_records():
    assert [resolution_of(shape) for shape in (TALL, (48, 48), KNEE)] == ["64x48", 48, "640x368"]
    assert [sides(resolution_of(shape)) for shape in (TALL, (48, 48))] == [TALL, (48, 48)]
    knee = Experiment("knee", "4x", "640x368", 150, 4, 1e-3, 0, "D3C5", "student")
    assert knee.folder(Path()).name == "D3C5_student_seed-0"  # as the paper has it
    assert Experiment.from_config(knee.config()) == knee
    assert sorted([150, "64x48", "640x368", 48], key=sides) == [48, "64x48", 150, "640x368"]
    with pytest.raises(InputError, match="resolution = '64xx48': expected a number, or two such as 640x368"):
        Experiment.from_config(knee.config() | {"resolution": "64xx48"})


def test_images_too_small_for_a_metric_are_refused_before_training(tmp_path):
    with pytest.raises(InputError, match="images of 16 x 48: expected at least 17 x 17, which the metric vif needs"):
        Laboratory(data_root=write(tmp_path, (16, 48)), **TINY)


@pytest.mark.parametrize("value", [0, 0.5])
@pytest.mark.parametrize("resolution", [0, 32])
def test_a_slice_without_an_image_is_named_when_it_would_be_scored(value, resolution, tmp_path):
    x = np.random.default_rng(0).random((3, *TALL), np.float32)
    spoilt = np.concatenate([x, np.full_like(x[:1], value)])
    parameters = TINY | {"resolution": resolution}
    Laboratory(**parameters, data_root=write(tmp_path / "a", TALL, train=spoilt, validation=spoilt, test=x))
    for name, splits in {"b": {"test": spoilt}, "c": {"validation": spoilt}}.items():
        root = write(tmp_path / name, TALL, **({"train": x, "validation": x} | splits))
        with pytest.raises(
            InputError, match=rf"/1.h5 slice 3 is {value:g} everywhere \(1 such slices\): expected an image"
        ):
            Laboratory(**parameters, data_root=root)

"""What a network was trained on, and in what a scan differs from it.

>>> from kdrecon.deploy.training_data import TrainingData
>>> from kdrecon.runs.experiment import Experiment
>>> student = Experiment("sample", "4x", 120, 14, 3, 3e-3, 0, "D3C5", "student")
>>> data = TrainingData.of(student)
>>> data.size, data.mask_for((64, 48)).shape
((120, 120), torch.Size([64, 48]))
"""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch
from torch import Tensor

from kdrecon.data.splits import Split
from kdrecon.data.volumes import FORMAT_VERSION, format_version, open_volume
from kdrecon.errors import InputError
from kdrecon.physics.fourier import crop_kspace
from kdrecon.physics.sampling import acceleration_factor, choose_mask, line_axis
from kdrecon.runs.experiment import Experiment, sides

LOOKED_AT = 3  # training volumes, for the range of intensities
LARGEST = 4096  # side of an image
FORMS = {0: "rows", 1: "columns", None: "points"}  # what a mask samples, by the axis along which it chooses
BRIGHT = 99  # percentile of a slice that stands for its intensities


@dataclass(frozen=True)
class TrainingData:
    """What the images were like that a network learned from.

    Attributes:
        experiment: of the network.
        mask: (H, W), bool, that they were measured with.
        version: of the format of their files, which decides how masks of other sizes are drawn.
        intensity: lowest and highest 99th percentile of slices that are scaled by their volume's maximum; () where the
            data set is not there.
    """

    experiment: Experiment
    mask: Tensor
    version: int = FORMAT_VERSION
    intensity: tuple[float, ...] = ()

    @classmethod
    def of(cls, experiment: Experiment) -> "TrainingData":
        """As the data set tells, where it is still there; else with the mask that a data set of this name has."""
        e, size = experiment, sides(experiment.resolution)
        split = Split(e.dataset, "train", e.acceleration, 0, "", e.switches.mask_type)
        version, stored, bright = FORMAT_VERSION, None, list[float]()
        try:
            for path in split.files[:LOOKED_AT]:
                with open_volume(path) as volume:
                    version, stored = format_version(volume.attributes), volume.attributes.get(f"mask_{e.acceleration}")
                    bright += _bright(next(iter(volume.pieces)), size)
        except InputError:  # another network's data set, or none: it is not needed to use this network
            bright = []
        intensity = (min(bright), max(bright)) if bright else ()
        if stored is not None and stored.shape == size and e.switches.mask_type != "lowpass":
            return cls(e, torch.from_numpy(stored), version, intensity)
        return cls(e, _drawn(e, size, version), version, intensity)

    @property
    def size(self) -> tuple[int, int]:
        """(H, W) of the images."""
        height, width = self.mask.shape
        return height, width

    def mask_for(self, shape: tuple[int, int]) -> Tensor:
        """The mask (H, W), bool, that images of a size are undersampled with: the one of training where it fits."""
        return self.mask if shape == self.size else _drawn(self.experiment, shape, self.version)

    def unlike(self, x_u: Tensor, mask: Tensor) -> list[str]:
        """In what a scan differs from the training data, a sentence each.

        Args:
            x_u: zero-filled images (S, 1, H, W), float32, scaled by the volume's maximum.
            mask: (H, W), bool, that they were measured with.
        """
        e, found = self.experiment, []
        shape, size = tuple(mask.shape), self.size
        if shape != size:
            found.append(f"size: {shape[0]} x {shape[1]}, in training {size[0]} x {size[1]}")
        factors = acceleration_factor(mask), acceleration_factor(self.mask)
        if abs(factors[0] / factors[1] - 1) > 0.1:
            found.append(f"acceleration: {factors[0]:.2g}-fold, in training {factors[1]:.2g}-fold")
        if (kinds := (FORMS[line_axis(mask)], FORMS[line_axis(self.mask)]))[0] != kinds[1]:
            found.append(f"mask: {kinds[0]}, in training {kinds[1]}")
        bright = float(np.percentile(x_u.numpy(), BRIGHT))
        if self.intensity and not 0.8 * self.intensity[0] <= bright <= 1.25 * self.intensity[1]:
            low, high = self.intensity
            found.append(
                f"intensities: 99 % are below {bright:.2g} of the maximum, in training below {low:.2g} to {high:.2g}"
            )
        return [*found, f"anatomy and contrast: not known here; the network has seen those of {e.dataset!r} only"]

    def metadata(self) -> dict[str, str]:
        """All of it as text by name, for a file."""
        return {
            "config": json.dumps(self.experiment.config()),
            "mask": json.dumps({"samples": FORMS[line_axis(self.mask)], "sampled": _sampled(self.mask)}),
            "mask_version": str(self.version),
            "intensity": json.dumps(self.intensity),
        }

    @classmethod
    def from_metadata(cls, said: dict[str, str]) -> "TrainingData":
        """The inverse of :meth:`metadata`.

        Raises:
            InputError: something is missing or is not what it writes.
        """
        try:
            config, mask, intensity = (json.loads(said[name]) for name in ("config", "mask", "intensity"))
            e = Experiment.from_config(config)
            if len(intensity) not in (0, 2) or not np.isfinite(np.array(intensity, float)).all():
                raise ValueError("intensity")
            return cls(e, _read_mask(mask, sides(e.resolution)), int(said["mask_version"]), tuple(intensity))
        except InputError:
            raise
        except (LookupError, ValueError, TypeError, RecursionError, OverflowError, RuntimeError) as error:
            raise InputError(f"metadata without what a network was trained on ({error}): expected it") from None


def _drawn(e: Experiment, shape: tuple[int, int], version: int) -> Tensor:
    return choose_mask(e.dataset, e.acceleration, shape, e.switches.mask_type, version)[0]


def _bright(images: np.ndarray, size: tuple[int, int]) -> list[float]:
    """The 99th percentile of each slice (S, H, W), after a crop of k-space to a size and scaled by their maximum."""
    x = torch.from_numpy(images)
    x = crop_kspace(x, size[0]) if x.shape[1:] != size and size[0] == size[1] <= min(x.shape[1:]) else x
    return [float(value) for value in np.percentile((x / x.max()).numpy(), BRIGHT, axis=(1, 2))]


def _sampled(mask: Tensor) -> list[int]:
    """The numbers of the rows, columns or points that a mask (H, W) samples."""
    return {0: mask[:, 0], 1: mask[0], None: mask.flatten()}[line_axis(mask)].nonzero()[:, 0].tolist()


def _read_mask(said: dict[str, Any], size: tuple[int, int]) -> Tensor:
    """A mask (H, W) as :meth:`TrainingData.metadata` writes it; ValueError, or the like, for another one."""
    if max(size) > LARGEST or said["samples"] not in FORMS.values():
        raise ValueError("mask")
    mask = torch.zeros(size, dtype=torch.bool)
    whole = {"rows": mask[:, 0], "columns": mask[0], "points": mask.view(-1)}[said["samples"]]
    sampled = torch.tensor(said["sampled"], dtype=torch.int64)
    if sampled.ndim != 1 or not len(sampled) or sampled.min() < 0 or sampled.max() >= len(whole):
        raise ValueError("mask")
    whole[sampled] = True
    return {"rows": mask[:, :1], "columns": mask[:1], "points": mask}[said["samples"]].expand(size).clone()

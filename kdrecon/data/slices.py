"""The slices of a split, in memory or streamed from the files.

>>> from kdrecon.data.splits import load_split
>>> slices = load_split("sample", "test", "8x", resolution=60)
>>> [len(batch.x) for batch in slices.batches(8)]
[8, 8, 4]
"""

import copy
from collections import deque
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
import psutil
import torch
from torch import Tensor

from kdrecon.errors import InputError
from kdrecon.physics.fourier import crop_kspace
from kdrecon.physics.sampling import undersample
from kdrecon.storage import hdf5
from kdrecon.tasks import MeasuredBatch, Reconstruction


@dataclass
class Slices:
    """All slices of one split, in memory.

    Attributes:
        x: images (N, 1, H, W), float32, scaled by their volume's maximum to [0, 1].
        x_u, y: zero-filled images (N, 1, H, W) float32 and k-space (N, 1, H, W) complex64, on the mask.
        mask: (H, W), bool.
        volume: file stem of each slice; index: its number within the volume; subject: who was scanned.
        fingerprint: of the stored images, the mask and the resolution; equal on every machine.
        files: path of each slice's volume file.
    """

    x: Tensor
    x_u: Tensor
    y: Tensor
    mask: Tensor
    volume: list[str]
    index: list[int]
    subject: list[str]
    fingerprint: str = ""
    files: list[Path] | None = None

    storage = "memory"

    def __len__(self) -> int:
        return len(self.x)

    @property
    def task(self) -> Reconstruction:
        """What networks do with these slices."""
        return Reconstruction(self.mask)

    @property
    def device(self) -> torch.device:
        return self.mask.device

    def name(self, i: int) -> str:
        """File and number of slice i, for messages."""
        return f"{self.files[i] if self.files else self.volume[i]} slice {self.index[i]}"

    def batch(self, indices: Tensor) -> MeasuredBatch:
        """The slices at the given indices (B,)."""
        indices = indices.to(self.device)
        return MeasuredBatch(self.x[indices], self.x_u[indices], self.y[indices], self.mask)

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[MeasuredBatch]:
        """The slices at the indices ``order`` (by default all) in batches of the given size, the last one shorter."""
        order = torch.arange(len(self)) if order is None else order
        return (self.batch(indices) for indices in order.split(size))

    def spread(self, n: int) -> Tensor:
        """Indices of n slices (all, if there are fewer), evenly spaced."""
        return torch.linspace(0, len(self) - 1, min(n, len(self))).round().long()

    def subset(self, n: int) -> "Slices":
        """n slices (all, if there are fewer), evenly spaced, in memory."""
        keep = self.spread(n)
        names = ("volume", "index", "subject", *(["files"] if self.files else []))
        kept = {name: [getattr(self, name)[i] for i in keep] for name in names}
        return Slices(*self.batch(keep), **kept, fingerprint=f"{self.fingerprint}, {len(keep)} slices")

    def to(self, device: torch.device) -> "Slices":
        """The same slices on another device."""
        return replace(self, **{name: getattr(self, name).to(device) for name in ("x", "x_u", "y", "mask")})


class Source(NamedTuple):
    """A volume file that is streamed, as it was when it was read first."""

    stamp: tuple[int, int]  # see kdrecon.storage.hdf5.stamp
    maximum: np.float32  # of the stored volume
    cropped_maximum: Tensor  # of the volume scaled by it, after the crop


class StreamedSlices(Slices):
    """The slices of a split that is too large for memory: two threads read ahead of the training from the volume files.

    Calls and values are those of :class:`Slices`; ``x`` reads all images, a quarter of what :class:`Slices` would hold.

    Args:
        sources: the files as they were read at the start.
        resolution: side of the image matrix; 0 keeps the stored one.
        mask: (H, W), bool.
        **names: volume, index, subject, files and fingerprint, as in :class:`Slices`.

    Raises:
        InputError: a file is gone, changed or cannot be read any more (when slices of it are asked for).
    """

    storage = "files"
    THREADS, AHEAD = 2, 8

    def __init__(self, sources: dict[Path, Source], resolution: int, mask: Tensor, **names):
        self.sources, self.resolution, self.mask = sources, resolution, mask
        vars(self).update(names)

    def __len__(self) -> int:
        return len(self.volume)

    @property
    def x(self) -> Tensor:
        return torch.stack([self._image(i) for i in range(len(self))]).to(self.device)

    def batch(self, indices: Tensor) -> MeasuredBatch:
        x = torch.stack([self._image(i) for i in indices.tolist()])
        return MeasuredBatch(*(part.to(self.device) for part in (x, *undersample(x, self.mask.cpu()))), self.mask)

    def batches(self, size: int, order: Tensor | None = None) -> Iterator[MeasuredBatch]:
        order = torch.arange(len(self)) if order is None else order
        with ThreadPoolExecutor(self.THREADS) as pool:
            read = deque()
            for indices in order.split(size):
                read.append(pool.submit(self.batch, indices))
                if len(read) > self.AHEAD:
                    yield read.popleft().result()
            while read:
                yield read.popleft().result()

    def to(self, device: torch.device) -> "StreamedSlices":
        moved = copy.copy(self)
        moved.mask = self.mask.to(device)
        return moved

    def _image(self, i: int) -> Tensor:
        path = self.files[i]
        source = self.sources[path]
        if (found := hdf5.stamp(path)) != source.stamp:
            raise InputError(
                f"{path} cannot be read any more (it {'was changed' if found else 'is gone'}): expected the file that was "
                "there at the start; bring it back and run the same command again"
            )
        with hdf5.opened(path) as file:
            image = file["volfs"][..., self.index[i]].astype(np.float32)
        x = torch.from_numpy(image / source.maximum)[None]
        return crop_kspace(x, self.resolution) / source.cropped_maximum if self.resolution else x


def memory_limit(device: torch.device) -> int:
    """Bytes that a split may take up in memory: a quarter of the machine's, and of the GPU's where one is used."""
    total = psutil.virtual_memory().total
    if device.type == "cuda":
        total = min(total, torch.cuda.get_device_properties(device).total_memory)
    return total // 4

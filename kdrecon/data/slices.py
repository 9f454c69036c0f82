"""The slices of a split, in memory or streamed from the files.

>>> from kdrecon.data.splits import Split, load_split
>>> slices = load_split(Split("sample", "test", "8x", resolution=60))
>>> [len(batch.x) for batch in slices.batches(8)]
[8, 8, 4]
"""

import hashlib
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Collection, Iterable, Iterator, Mapping, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import dataclass, replace
from pathlib import Path
from typing import ClassVar, NamedTuple, Self

import numpy as np
import psutil
import torch
from torch import Tensor

from kdrecon.errors import InputError
from kdrecon.physics.fourier import crop_kspace
from kdrecon.storage import hdf5
from kdrecon.tasks import Batch, Task

CPU = torch.device("cpu")
Change = Callable[[Tensor, Tensor], Tensor]  # of images (B, 1, H, W), which are the slices at the indices (B,)
THREADS, AHEAD = 2, 8  # that read from the files, and how many batches before they are asked for


class Label(NamedTuple):
    """Which slice of which volume this is."""

    file: Path
    volume: str
    number: int
    subject: str


@dataclass(frozen=True, kw_only=True)
class Slices(ABC):
    """All slices of one split, wherever they are kept.

    Attributes:
        task: what networks do with them.
        labels: which slice each is.
        fingerprint: of the stored images, the mask and the resolution; equal on every machine.
        device: where batches are.
        storage: how the slices are kept, for records.
    """

    task: Task
    labels: Sequence[Label]
    fingerprint: str = ""
    device: torch.device = CPU
    storage: ClassVar[str]

    def __len__(self) -> int:
        return len(self.labels)

    @property
    @abstractmethod
    def x(self) -> Tensor:
        """The images (N, 1, H, W), float32, scaled by their volume's maximum to [0, 1]."""

    @property
    def volume(self) -> list[str]:
        """File stem of each slice."""
        return [label.volume for label in self.labels]

    @property
    def index(self) -> list[int]:
        """Number of each slice within its volume."""
        return [label.number for label in self.labels]

    @property
    def subject(self) -> list[str]:
        """Who was scanned, of each slice."""
        return [label.subject for label in self.labels]

    def name(self, i: int) -> str:
        """File and number of slice i, for messages."""
        return f"{self.labels[i].file} slice {self.labels[i].number}"

    @abstractmethod
    def _read(self, indices: Tensor, change: Change | None = None) -> tuple[Tensor, ...]:
        """The images at the indices (B,), changed, and what the task observes of them then, on the device."""

    def batch(self, indices: Tensor, change: Change | None = None) -> Batch:
        """The slices at the given indices (B,); the task observes them after the change, where there is one."""
        return self.task.batch(*self._read(indices, change))

    def batches(self, size: int, order: Tensor | None = None, change: Change | None = None) -> Iterator[Batch]:
        """The slices at the indices ``order`` (by default all) in batches of the given size, the last one shorter."""
        order = torch.arange(len(self)) if order is None else order
        return (self.batch(indices, change) for indices in order.split(size))

    @property
    def whole(self) -> Batch:
        """All slices as one batch."""
        return self.batch(torch.arange(len(self)))

    def spread(self, n: int) -> Tensor:
        """Indices of n slices (all, if there are fewer), evenly spaced."""
        return torch.linspace(0, len(self) - 1, min(n, len(self))).round().long()

    def subset(self, n: int) -> "MemorySlices":
        """n slices (all, if there are fewer), evenly spaced, in memory."""
        keep = self.spread(n)
        return MemorySlices(
            task=self.task,
            labels=[self.labels[i] for i in keep],
            fingerprint=f"{self.fingerprint}, {len(keep)} slices",
            device=self.device,
            parts=self._read(keep),
        )

    def of_subjects(self, subjects: Collection[str]) -> Self:
        """The slices of these subjects, kept as they are kept here."""
        rows = [i for i, subject in enumerate(self.subject) if subject in subjects]
        told = "\n".join([self.fingerprint, *sorted(subjects)]).encode("utf-8", "surrogateescape")
        return self._at(rows, hashlib.sha256(told).hexdigest()[:16])

    def _at(self, rows: Sequence[int], fingerprint: str) -> Self:
        return replace(self, labels=[self.labels[i] for i in rows], fingerprint=fingerprint)

    def to(self, device: torch.device) -> Self:
        """The same slices on another device."""
        return replace(self, task=self.task.to(device), device=device)


@dataclass(frozen=True, kw_only=True)
class MemorySlices(Slices):
    """The slices of a split in memory.

    Attributes:
        parts: the images (N, 1, H, W) and what the task observes of them, (N, ...).
    """

    parts: tuple[Tensor, ...]
    storage = "memory"

    @classmethod
    def of(cls, x: Tensor, task: Task, labels: Sequence[Label], fingerprint: str = "") -> "MemorySlices":
        """The slices of images x (N, 1, H, W)."""
        return cls(task=task, labels=labels, fingerprint=fingerprint, parts=(x, *task.observe(x)))

    @property
    def x(self) -> Tensor:
        return self.parts[0]

    def _read(self, indices: Tensor, change: Change | None = None) -> tuple[Tensor, ...]:
        here = indices.to(self.device)
        if change is None:
            return tuple(part[here] for part in self.parts)
        x = change(self.x[here], indices)
        return x, *self.task.observe(x)

    def _at(self, rows: Sequence[int], fingerprint: str) -> Self:
        return replace(super()._at(rows, fingerprint), parts=tuple(part[list(rows)] for part in self.parts))

    def to(self, device: torch.device) -> Self:
        return replace(super().to(device), parts=tuple(part.to(device) for part in self.parts))


class StreamedFile(NamedTuple):
    """A volume file that is streamed, as it was when it was read first."""

    stamp: tuple[int, int] | None  # see kdrecon.storage.hdf5.stamp
    maximum: np.float32  # of the stored volume
    cropped_maximum: Tensor  # of the volume scaled by it, after the crop


@dataclass(frozen=True, kw_only=True)
class StreamedSlices(Slices):
    """The slices of a split that is too large for memory: two threads read ahead of the training from the volume files.

    ``x`` reads all images, a quarter of what :class:`MemorySlices` would hold.

    Attributes:
        sources: the files as they were read at the start.
        resolution: side of the image matrix; 0 keeps the stored one.

    Raises:
        InputError: a file is gone, changed or cannot be read any more (when slices of it are asked for).
    """

    sources: Mapping[Path, StreamedFile]
    resolution: int
    storage = "files"

    @property
    def x(self) -> Tensor:
        return self._images(range(len(self))).to(self.device)

    def batches(self, size: int, order: Tensor | None = None, change: Change | None = None) -> Iterator[Batch]:
        order = torch.arange(len(self)) if order is None else order
        with ThreadPoolExecutor(THREADS) as pool:
            read: deque[Future[Batch]] = deque()
            for indices in order.split(size):
                read.append(pool.submit(self.batch, indices, change))
                if len(read) > AHEAD:
                    yield read.popleft().result()
            while read:
                yield read.popleft().result()

    def _read(self, indices: Tensor, change: Change | None = None) -> tuple[Tensor, ...]:
        x = self._images(indices.tolist())
        x = x if change is None else change(x, indices)
        return tuple(part.to(self.device) for part in (x, *self.task.to(CPU).observe(x)))

    def _images(self, indices: Iterable[int]) -> Tensor:
        return torch.stack([self._image(self.labels[i]) for i in indices])

    def _image(self, label: Label) -> Tensor:
        path, source = label.file, self.sources[label.file]
        if (found := hdf5.stamp(path)) != source.stamp:
            raise InputError(
                f"{path} cannot be read any more (it {'was changed' if found else 'is gone'}): expected the file that was "
                "there at the start; bring it back and run the same command again"
            )
        with hdf5.opened(path) as file:
            image = file["volfs"][..., label.number].astype(np.float32)
        x = torch.from_numpy(image / source.maximum)[None]
        return crop_kspace(x, self.resolution) / source.cropped_maximum if self.resolution else x


def memory_limit(device: torch.device) -> int:
    """Bytes that a split may take up in memory: a quarter of the machine's, and of the GPU's where one is used."""
    total = psutil.virtual_memory().total
    if device.type == "cuda":
        total = min(total, torch.cuda.get_device_properties(device).total_memory)
    return total // 4

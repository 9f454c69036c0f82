"""One volume on its way: read, taken through all steps, written.

>>> from pathlib import Path
>>> from data_prep.conversion import Task
>>> from data_prep.nifti import Nifti
>>> from data_prep.options import Options
>>> from data_prep.source import Scan
>>> scan = Scan("ann", (Path("scans/ann.nii"),))
>>> task = Task(Nifti(Path("scans")), scan, Options(), Path("datasets/nifti"), "train", 1, "ann", (), ())
>>> [path.as_posix() for path in task.paths.values()]
['datasets/nifti/train/acc_4x/1.h5']
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep import steps
from data_prep.options import Options
from data_prep.source import Scan, Source, Volume
from data_prep.workplace import cannot_write
from kdrecon.data.volumes import write_volume
from kdrecon.errors import InputError, first_line
from kdrecon.storage import hdf5
from kdrecon.storage.files import as_text


@dataclass(frozen=True)
class Task:
    """One volume to be made: everything a worker process needs."""

    source: Source
    scan: Scan
    options: Options
    folder: Path
    split: str
    number: int
    subject: str
    size: tuple[int, ...]  # of the crop; () keeps the size
    expected: tuple[int, ...]  # size of the other volumes; () for the first one

    @property
    def where(self) -> str:
        """What a message calls the scan: its first file."""
        return str(self.scan.files[0])

    @property
    def paths(self) -> dict[str, Path]:
        """The file of each acceleration."""
        place = self.folder / self.split
        return {factor: place / f"acc_{factor}" / f"{self.number}.h5" for factor in self.options.accelerations}

    def written_size(self) -> tuple[int, ...]:
        """Height and width of the slices in its files, which are there."""
        with hdf5.opened(next(iter(self.paths.values()))) as file:
            return file["volfs"].shape[:2]


def convert(task: Task) -> dict:
    """Read one volume, take it through all steps and write its files; the attributes of the files.

    Raises:
        InputError: the scan cannot be used.
        CannotWrite: the files cannot be written.
    """
    volume = _read(task)
    chosen, images, counts = _magnitudes(volume, task)
    if task.size and task.source.small == "skip" and any(n < m for n, m in zip(images.shape[1:], task.size)):
        return {"slices": 0, "small_slices": len(images)}
    images, keep = _not_empty(images, chosen % volume.frames, task)
    if task.expected and images.shape[1:] != task.expected:
        choose = "choose scans of one kind with --match" if hasattr(task.source, "match") else "leave the file out"
        raise InputError(
            f"{task.where} has slices of {images.shape[1:]}, the first volume of {task.expected}: expected one size; "
            f"crop or pad all with --size {task.expected[0]}x{task.expected[1]}, or {choose}"
        )
    scale = images.max()
    images /= scale
    counts = {"slices": len(images), "small_slices": 0, "empty_slices": int((~keep).sum())} | counts
    attributes = _attributes(task, volume) | counts
    _write(task, images, attributes, {} if volume.raw is None else {"raw": volume.raw[chosen[keep]] / scale})
    return attributes


def _read(task: Task) -> Volume:
    try:
        return task.source.read(task.scan)
    except InputError:
        raise
    except Exception as error:  # whatever a library raises on a damaged file
        raise InputError(
            f"{task.where} cannot be read ({type(error).__name__}: {first_line(error)}): expected an intact file; get it "
            "again, or go on without it: --skip-bad"
        ) from error


def _magnitudes(volume: Volume, task: Task) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """The slices that are chosen and are magnitudes: their numbers (S,), images (S, H, W), and what was found in them."""
    chosen = steps.parse_slices(task.options.slices)
    images, outside = steps.fill_outside(volume.images[chosen])
    signed = steps.signed_slices(images)
    images, negative = steps.check_images(images[~signed], task.where)
    counts = {"signed_slices": int(signed.sum()), "negative_voxels": negative, "outside_voxels": outside}
    return np.arange(len(volume.images))[chosen][~signed], images, counts


def _not_empty(images: np.ndarray, frame: np.ndarray, task: Task) -> tuple[np.ndarray, np.ndarray]:
    """The slices that show something, cropped (some of S, H, W), and which they are (S,), bool."""
    keep = steps.not_empty(images, task.options.foreground, frame)
    images = steps.centred(images, task.size) if task.size else images
    keep &= images.max((1, 2)) > images.min((1, 2))
    if not keep.any():
        raise InputError(
            f"{task.where} has only empty slices in the central {images.shape[1:]}: expected some that are not; choose "
            "other --slices, a larger --size or a lower --foreground"
        )
    return images[keep], keep


def _attributes(task: Task, volume: Volume) -> dict:
    """What the files of a volume say about where it is from."""
    files = task.scan.files if len(task.scan.files) <= 30 else task.scan.files[:1]
    names = [as_text(path.relative_to(task.source.folder).as_posix()) for path in files]
    return {
        "dataset": task.options.name,
        "subject": task.subject,
        "split": task.split,
        "source": names if task.options.keep_names else [task.scan.label or "volume"],
        "voxel_size_mm": np.array(volume.voxel_size_mm) if volume.voxel_size_mm else "unknown",
    }


def _write(task: Task, images: np.ndarray, attributes: dict, extra: dict[str, np.ndarray]) -> None:
    """A file an acceleration; the measured k-space is large and goes with the first one."""
    try:
        for acceleration, path in task.paths.items():
            arrays, mask = steps.measured(images, task.options.name, acceleration, task.options.mask)
            write_volume(path, images, attributes | {"mask": mask}, **arrays, **extra)  # type: ignore[arg-type]
            extra = {}
    except OSError as error:
        raise cannot_write(task.folder.parent, error) from error

"""One volume on its way: read, taken through all steps, written.

>>> from pathlib import Path
>>> from data_prep.conversion import Conversion
>>> from data_prep.nifti import Nifti
>>> from data_prep.options import Options
>>> from data_prep.source import Scan
>>> scan = Scan("ann", (Path("scans/ann.nii"),))
>>> conversion = Conversion(Nifti(Path("scans")), scan, Options(), Path("datasets/nifti"), "train", 1, "ann", (), ())
>>> [path.as_posix() for path in conversion.paths.values()]
['datasets/nifti/train/acc_4x/1.h5']
"""

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from data_prep import steps
from data_prep.options import Options
from data_prep.source import GO_ON, Scan, Source, Volume
from data_prep.workplace import cannot_write
from kdrecon.data.volumes import write_volume
from kdrecon.errors import InputError, first_line
from kdrecon.storage import hdf5
from kdrecon.storage.files import as_text


@dataclass(frozen=True)
class Conversion:
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


def convert(conversion: Conversion) -> dict:
    """Read one volume, take it through all steps and write its files; the attributes of the files.

    Raises:
        InputError: the scan cannot be used.
        CannotWrite: the files cannot be written.
    """
    volume = _read(conversion)
    chosen, images, counts = _magnitudes(volume, conversion)
    if (
        conversion.size
        and conversion.source.small == "skip"
        and any(n < m for n, m in zip(images.shape[1:], conversion.size))
    ):
        return {"slices": 0, "small_slices": len(images)}
    images, keep = _not_empty(images, chosen % volume.frames, conversion)
    if conversion.expected and images.shape[1:] != conversion.expected:
        choose = (
            "choose scans of one kind with --match" if hasattr(conversion.source, "match") else "leave the file out"
        )
        raise InputError(
            f"{conversion.where} has slices of {images.shape[1:]}, the first volume of {conversion.expected}: expected one "
            f"size; crop or pad all with --size {conversion.expected[0]}x{conversion.expected[1]}, or {choose}"
        )
    scale = images.max()
    images /= scale
    counts = {"slices": len(images), "small_slices": 0, "empty_slices": int((~keep).sum())} | counts
    attributes = _attributes(conversion, volume) | counts
    _write(conversion, images, attributes, {} if volume.raw is None else {"raw": volume.raw[chosen[keep]] / scale})
    return attributes


def _read(conversion: Conversion) -> Volume:
    if odd := next((path for path in conversion.scan.files if path.exists() and not path.is_file()), None):
        raise InputError(f"{odd} is a folder, pipe, socket or device: expected a file; get it again{GO_ON}")
    try:
        return conversion.source.read(conversion.scan)
    except InputError:
        raise
    except Exception as error:  # whatever a library raises on a damaged file
        raise InputError(
            f"{conversion.where} cannot be read ({type(error).__name__}: {first_line(error)}): expected an intact file; get "
            f"it again{GO_ON}"
        ) from error


def _magnitudes(volume: Volume, conversion: Conversion) -> tuple[np.ndarray, np.ndarray, dict[str, int]]:
    """The slices that are chosen and are magnitudes: their numbers (S,), images (S, H, W), and what was found in them."""
    chosen = _chosen(volume, conversion)
    images, outside = steps.fill_outside(volume.images[chosen])
    signed = steps.signed_slices(images)
    images, negative = steps.check_images(images[~signed], conversion.where)
    counts = {"signed_slices": int(signed.sum()), "negative_voxels": negative, "outside_voxels": outside}
    return np.arange(len(volume.images))[chosen][~signed], images, counts


def _chosen(volume: Volume, conversion: Conversion) -> slice:
    options = conversion.options
    if not options.central:
        return steps.parse_slices(options.slices)
    positions = len(volume.images) // volume.frames
    return steps.central_slices(options.central, positions, volume.frames, conversion.where)


def _not_empty(images: np.ndarray, frame: np.ndarray, conversion: Conversion) -> tuple[np.ndarray, np.ndarray]:
    """The slices that show something, cropped (some of S, H, W), and which they are (S,), bool."""
    keep = steps.not_empty(images, conversion.options.foreground, frame)
    images = steps.centred(images, conversion.size) if conversion.size else images
    keep &= images.max((1, 2)) > images.min((1, 2))
    if not keep.any():
        raise InputError(
            f"{conversion.where} has only empty slices in the central {images.shape[1:]}: expected some that are not; choose "
            "other --slices, a larger --size or a lower --foreground"
        )
    return images[keep], keep


def _attributes(conversion: Conversion, volume: Volume) -> dict:
    """What the files of a volume say about where it is from."""
    files = conversion.scan.files if len(conversion.scan.files) <= 30 else conversion.scan.files[:1]
    names = [as_text(path.relative_to(conversion.source.folder).as_posix()) for path in files]
    return {
        "dataset": conversion.options.name,
        "subject": conversion.subject,
        "split": conversion.split,
        "source": names if conversion.options.keep_names else [conversion.scan.label or "volume"],
        "voxel_size_mm": np.array(volume.voxel_size_mm) if volume.voxel_size_mm else "unknown",
    }


def _write(conversion: Conversion, images: np.ndarray, attributes: dict, extra: dict[str, np.ndarray]) -> None:
    """A file an acceleration; the measured k-space is large and goes with the first one."""
    try:
        for acceleration, path in conversion.paths.items():
            arrays, mask = steps.measured(images, conversion.options.name, acceleration, conversion.options.mask)
            write_volume(path, images, attributes | {"mask": mask}, **arrays, **extra)  # type: ignore[arg-type]
            extra = {}
    except OSError as error:
        raise cannot_write(conversion.folder.parent, error) from error

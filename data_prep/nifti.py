"""Readers of NIfTI scans: ACDC, MRBrainS, and any folder or BIDS tree.

>>> from pathlib import Path
>>> from data_prep.nifti import ACDC, MRBrainS
>>> ACDC(Path("scans")).size, MRBrainS(Path("scans")).size
((150, 150), (240, 240))
"""

import math
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Any, ClassVar

import numpy as np
import psutil
import typer

from data_prep.source import Passed, Scan, Source, Volume, extension, find, subject_of
from kdrecon.errors import InputError, shown
from kdrecon.storage.files import natural

HEADROOM = 2**24  # bytes before the values of a scan: header and extensions
PLANES = {"sagittal": 0, "coronal": 1, "axial": 2}


@dataclass(frozen=True)
class Cut:
    """How the stored axes of a NIfTI scan become upright slices.

    Attributes:
        axes: of what is stored, those through the slices, down and across; time, if there is any, is the fourth.
        flipped: those that run the other way.
    """

    axes: tuple[int, int, int]
    flipped: tuple[int, ...]

    @classmethod
    def of(cls, affine: np.ndarray, plane: str) -> "Cut":
        """The cut along an anatomical plane, or "acquired"; a ValueError where the affine matrix names no directions."""
        import nibabel

        axes = nibabel.io_orientation(affine)  # of each stored axis: anatomical axis (R, A, S), and its sign
        if np.isnan(axes).any():
            raise ValueError("no directions")
        anatomy, signs = axes[:, 0].astype(int), axes[:, 1]
        through = 2 if plane == "acquired" else int(np.flatnonzero(anatomy == PLANES[plane])[0])
        across, down = sorted((axis for axis in range(3) if axis != through), key=lambda axis: anatomy[axis])
        wanted = {down: -1, across: -1, through: 1}  # 1 is to the right, to anterior, upwards
        return cls((through, down, across), tuple(axis for axis in range(3) if signs[axis] != wanted[axis]))

    def slices(self, stored: np.ndarray) -> np.ndarray:
        """Slices (S, H, W) of what is stored, (X, Y, Z) or (X, Y, Z, time): of each position all times in a row."""
        through, down, across = self.axes
        data = np.flip(stored.reshape(*stored.shape[:3], -1), self.flipped).transpose(through, 3, down, across)
        return data.reshape(-1, *data.shape[2:])

    def stored(self, slices: np.ndarray, shape: tuple[int, ...]) -> np.ndarray:
        """The inverse of :meth:`slices`, for the shape that is stored."""
        through, down, across = self.axes
        data = slices.reshape(shape[through], -1, shape[down], shape[across])
        back = data.transpose(*(int(axis) for axis in np.argsort((through, 3, down, across))))
        return np.flip(back, self.flipped).reshape(shape)


def open_nifti(path: Path, plane: str = "acquired") -> tuple[Any, Cut]:
    """A NIfTI scan, whose values nibabel has not read yet, and how it is cut.

    Raises:
        InputError: not three- or four-dimensional, complex or colour data, an unknown plane, a scan that needs more than
            half of the memory, or a compressed file that holds more than its header says.
    """
    import nibabel

    if plane != "acquired" and plane not in PLANES:
        raise InputError(f"plane {shown(plane)}: expected acquired, {', '.join(PLANES)}")
    _check_content(path)
    image: Any = nibabel.load(path)
    if image.ndim not in (3, 4) or image.get_data_dtype().kind not in "iuf":
        raise InputError(
            f"{path} is {image.ndim}-dimensional {image.get_data_dtype()} {image.shape}: expected numbers in three "
            "dimensions, or four with time; leave the file out"
        )
    try:
        return image, Cut.of(image.affine, plane)
    except ValueError:
        raise InputError(
            f"{path} has an affine matrix that names no directions: expected one; repair the header"
        ) from None


def _check_content(path: Path) -> None:
    """Refuse a header that asks for more memory than there is, and a compressed file that is longer than its header says."""
    from nibabel import Nifti1Header, Nifti2Header, openers

    with openers.ImageOpener(str(path)) as stream:
        start = stream.read(Nifti2Header.sizeof_hdr)
        kinds = (kind for kind in (Nifti1Header, Nifti2Header) if kind.may_contain_header(start))
        if (kind := next(kinds, None)) is None:
            return
        header = kind(start[: kind.sizeof_hdr], check=False)
        size = math.prod(header.get_data_shape()) * max(header.get_data_dtype().itemsize, 4)
        if size > psutil.virtual_memory().total // 2:
            raise InputError(
                f"{path} says that it is of shape {header.get_data_shape()}, {size / 2**30:.3g} GiB: expected at most half "
                "of this machine's memory; cut it, or get the file again"
            )
        left = size + HEADROOM - len(start) if extension(path) == ".nii.gz" else 0
        while left > 0 and (piece := stream.read(2**20)):
            left -= len(piece)
            if left < 0:
                raise InputError(
                    f"{path} holds more than {size + HEADROOM} bytes, its header says {size}: expected what the header says; "
                    "get the file again"
                )


def read_nifti(path: Path, plane: str = "acquired") -> Volume:
    """A NIfTI scan as upright slices.

    Slices run along the third stored axis ("acquired"), or along the anatomical axis of a plane. As on a DICOM viewer,
    rows run down to posterior, or to inferior in coronal and sagittal slices, and columns to the patient's left, or to
    posterior in sagittal slices, as nearly as the axes of the scan allow: axes are exchanged and flipped, nothing is
    interpolated. Of a four-dimensional scan all time points of the first slice come first, then those of the second.

    Raises:
        InputError: see :func:`open_nifti`.
    """
    import nibabel

    image, cut = open_nifti(path, plane)
    images = cut.slices(np.asanyarray(image.dataobj, dtype=np.float32))
    sizes = [float(size) for size in nibabel.affines.voxel_sizes(image.affine)]
    through, down, across = cut.axes
    voxel = (sizes[down], sizes[across], sizes[through])
    return Volume(images, voxel, frames=image.shape[3] if image.ndim == 4 else 1)


@dataclass(frozen=True)
class ACDC(Source):
    """ACDC short-axis cardiac cine: end-diastolic and end-systolic frames of 100 + 50 patients, central 150 x 150."""

    dataset: ClassVar[str] = "cardiac"
    size: ClassVar[tuple[int, ...]] = (150, 150)
    small: ClassVar[str] = "skip"
    split: ClassVar[str] = "official"
    published: ClassVar[dict[str, int]] = {"train": 1841, "validation": 1076}
    layout: ClassVar[str] = "patientNNN/Info.cfg with patientNNN_frameNN.nii.gz, or patientNNN_4d.nii.gz, beside it"

    def scans(self, passed: Passed | None = None) -> Iterator[Scan | InputError]:
        for path in find(self.folder, lambda path: path.name == "Info.cfg", passed):
            yield from [path] if isinstance(path, InputError) else self._patient(path)

    def _patient(self, info: Path) -> Iterator[Scan | InputError]:
        try:
            text = info.read_text(encoding="utf-8", errors="replace")
        except OSError as error:
            yield InputError(f"{info} cannot be read ({error.strerror}): expected a text file; get it again")
            return
        values = dict(re.findall(r"^\s*(\w+)\s*:\s*(\S+)", text, re.MULTILINE))
        name = info.parent.name
        number = re.search(r"\d+$", name)
        testing = "testing" in info.parts or (number and int(number[0]) > 100)
        for label in ("ED", "ES"):
            if not re.fullmatch(r"\d{1,6}", values.get(label, "")):
                yield InputError(f"{info} has no number for {label}: expected a line such as '{label}: 12'; add it")
                continue
            frame = int(values[label])
            single = [info.parent / f"{name}_frame{frame:02d}.nii{gz}" for gz in (".gz", "")]
            cine = [info.parent / f"{name}_4d.nii{gz}" for gz in (".gz", "")]
            if path := next((path for path in single + cine if path.exists()), None):
                files = (path,) if path in single else (path, info)
                yield Scan(name, files, label, "validation" if testing else "train")
            else:
                yield InputError(f"{single[0]} does not exist, nor {cine[0].name}: expected one of them; get it again")

    def read(self, scan: Scan) -> Volume:
        volume = read_nifti(scan.files[0])
        if len(scan.files) == 1:
            return volume
        info = scan.files[1].read_text(encoding="utf-8")
        found = re.search(rf"^\s*{scan.label}\s*:\s*(\d+)", info, re.MULTILINE)
        frame = int(found[1]) if found else 0
        if not 1 <= frame <= volume.frames:
            raise InputError(
                f"{scan.files[1]} says {scan.label}: {frame}: expected a frame from 1 to {volume.frames}; correct it"
            )
        return volume._replace(images=volume.images[frame - 1 :: volume.frames], frames=1)


@dataclass(frozen=True)
class MRBrainS(Source):
    """MRBrainS T1-weighted brain scans, 2013 or 2018, 240 x 240: five volumes to train and two to validate with."""

    dataset: ClassVar[str] = "mrbrain"
    size: ClassVar[tuple[int, ...]] = (240, 240)
    split: ClassVar[str] = "official"
    published: ClassVar[dict[str, int]] = {"train": 240, "validation": 96}
    layout: ClassVar[str] = "TrainingData/N/T1.nii (2013) or training/N/pre/reg_T1.nii.gz (2018)"

    def scans(self, passed: Passed | None = None) -> Iterator[Scan | InputError]:
        passed = {} if passed is None else passed
        found: dict[str, list[Scan]] = {"": []}
        for path in find(self.folder, lambda path: bool(re.fullmatch(r"(reg_)?T1\.nii(\.gz)?", path.name)), passed):
            if isinstance(path, InputError):
                yield path
            elif path.name.startswith("reg_") and path.parent.name == "pre":
                found[""].append(Scan(path.parents[1].name, (path,), "T1"))
            elif path.name.startswith("T1") and path.parents[1].name in ("TrainingData", "TestData"):
                kind = "training" if path.parents[1].name == "TrainingData" else "test"
                found.setdefault(kind, []).append(Scan(f"{kind}-{path.parent.name}", (path,), "T1"))
            else:
                passed[path] = "T1 scans outside pre/, TrainingData/ and TestData/"
        for kind, scans in found.items():
            for rank, scan in enumerate(sorted(scans, key=lambda scan: natural(scan.subject))):
                position = rank + (5 if kind == "test" else 0)
                part = "train" if position < 5 else "validation" if position < 7 else "test"
                yield Scan(scan.subject, scan.files, scan.label, part)

    def read(self, scan: Scan) -> Volume:
        return read_nifti(scan.files[0])


@dataclass(frozen=True)
class Nifti(Source):
    """Any folder of NIfTI scans, or a BIDS tree. Label maps and anything that is no magnitude image have to stay out."""

    match: Annotated[str, typer.Option(help="file names to use; *_T1w.nii* in a BIDS tree unless given")] = ""
    plane: Annotated[str, typer.Option(help="slices to cut: acquired, axial, coronal or sagittal")] = "acquired"
    subject: Annotated[str, typer.Option(help="regular expression that finds the subject in a path")] = ""
    dataset: ClassVar[str] = "nifti"
    layout: ClassVar[str] = "*.nii, *.nii.gz, or *.hdr with *.img, at any depth"

    def scans(self, passed: Passed | None = None) -> Iterator[Scan | InputError]:
        passed = {} if passed is None else passed
        bids = (self.folder / "dataset_description.json").exists()
        match = self.match or ("*_T1w.nii*" if bids else "*")
        wanted = lambda path: path.match(match) and extension(path) in (".nii", ".nii.gz", ".hdr")  # noqa: E731
        for path in find(self.folder, wanted, passed):
            if isinstance(path, InputError):
                yield path
            elif bids and "derivatives" in path.relative_to(self.folder).parts:
                passed[path] = "derivatives"
            else:
                yield self._scan(path)

    def _scan(self, path: Path) -> Scan | InputError:
        subject = subject_of(path, self.folder, self.subject)
        if isinstance(subject, InputError) or extension(path) != ".hdr":
            return subject if isinstance(subject, InputError) else Scan(subject, (path,))
        image = path.with_suffix(".img")
        if not image.exists():
            return InputError(f"{path} has no {image.name} beside it: expected the pair; get it again")
        return Scan(subject, (path, image))

    def read(self, scan: Scan) -> Volume:
        return read_nifti(scan.files[0], self.plane)

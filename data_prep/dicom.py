"""Reader of DICOM: any folder of MR series.

>>> from pathlib import Path
>>> from data_prep.dicom import Dicom
>>> Dicom(Path("scans")).layout
'DICOM files of MR series, at any depth'
"""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Annotated, ClassVar, NamedTuple

import numpy as np
import typer
from tqdm.auto import tqdm

from data_prep.header import Header, read_header, reading, transfer_syntax, unreadable
from data_prep.source import Passed, Scan, Source, Volume, find, optional_import, regex, subject_of
from kdrecon.errors import InputError, bare
from kdrecon.storage.files import natural

TIMES = ("TriggerTime", "NominalCardiacTriggerDelayTime", "TemporalPositionIdentifier", "TemporalPositionIndex")
SAME_PLACE = 0.05  # mm
SAME_DIRECTION = 0.01  # of a unit vector's component


class Stored(NamedTuple):
    """Where the pixels of an image lie, and how they become values: slope x pixel + intercept."""

    file: Path
    frame: int
    slope: float
    intercept: float


@dataclass(frozen=True)
class Image:
    """What finding a series needs to know of one magnitude image."""

    stored: Stored
    subject: str  # "" where neither the header nor the path says it
    study: str
    series: str
    number: int  # of the series
    echo: tuple
    size: tuple[int, int]  # height, width
    direction: tuple[float, ...]  # of rows and of columns, 6 numbers; () where it is unknown
    position: tuple[float, ...]  # in mm; () where it is unknown
    location: float  # along the normal, as the scanner says it, in mm
    time: tuple
    spacing: tuple[float, ...]  # row to row, column to column, in mm
    thickness: float  # in mm


@dataclass(frozen=True)
class Series(Scan):
    """A scan of DICOM images of one direction, size and echo.

    Attributes:
        images: in order.
        times: how many images follow one another at each position.
        voxel_size_mm: as in :class:`data_prep.source.Volume`.
    """

    images: tuple[Stored, ...] = ()
    times: int = 1
    voxel_size_mm: tuple[float, ...] = ()


def find_series(
    folder: Path,
    subject: Callable[[Path, Header], str | InputError],
    unwanted: Callable[[Path, Header], str] = lambda path, header: "",
    passed: Passed | None = None,
) -> Iterator[Series | InputError]:
    """The MR series of a folder, each sorted by position, then by time; of what files are called nothing is believed.

    Images of one series that differ in matrix, direction or echo time become volumes of their own. What is no magnitude
    image, by its own frame type, is passed over, as are other modalities and files that are not DICOM. An image that does
    not say whose it is belongs to whom the rest of its series, else of its study, belongs.

    Args:
        folder: searched at any depth.
        subject: names who was scanned, from a file's path and its header; "" where they do not say.
        unwanted: why not to use a file, in the plural, from the same; "" to use it.
        passed: takes what is passed over.
    """
    optional_import("pydicom")  # or say once that it is absent
    passed = {} if passed is None else passed
    images: list[Image] = []
    faults: dict[tuple[str, str], list[str]] = defaultdict(list)  # of a whole series: one message each
    seen: dict[str, Path] = {}
    for path in tqdm(find(folder, lambda path: True, passed), desc="headers", unit="file", leave=False, delay=2):
        try:
            if isinstance(path, InputError):
                raise path
            header = read_header(path)
            if isinstance(header, str):
                passed[path] = header
                continue
            with reading(path):
                if why := unwanted(path, header):
                    passed[path] = why
                elif frames := _magnitudes(header, passed):
                    name = subject(path, header)
                    first = seen.setdefault(header.text("SOPInstanceUID") or str(path), path)
                    if isinstance(name, InputError):
                        faults[_series(header), "subject"].append(str(name))
                    elif kind_and_message := _unusable(header, first):
                        kind, message = kind_and_message
                        faults[_series(header), kind].append(message)
                    else:
                        images += [_image(frame, name) for frame in frames]
        except InputError as error:
            yield error
    for messages in faults.values():
        message, *others = messages
        yield InputError(message + (f" (and {len(others)} more images of this series)" if others else ""))
    yield from _sorted(_named(images, folder))


def _magnitudes(header: Header, passed: Passed) -> list[Header]:
    """The frames of a file that are magnitude images, all of whose pixels are there; the others are noted."""
    frames = header.frames()
    kinds = [frame.not_magnitude() for frame in frames]
    passed |= {header.path / str(i) if len(kinds) > 1 else header.path: kind for i, kind in enumerate(kinds) if kind}
    if not all(kinds):
        _check_pixels(header, len(frames))
    return [frame for frame, kind in zip(frames, kinds) if not kind]


def _unusable(header: Header, first: Path) -> tuple[str, str] | None:
    """Why a file of magnitude images is not used: the kind of fault, one message a series; what to say. None to use it."""
    if fault := _fault(header):
        return fault, f"{header.path} {fault}"
    if first != header.path:
        return "twice", f"{header.path} is the same image as {first}: expected each once; remove one of them"
    return None


def read_series(scan: Series) -> Volume:
    """Magnitude images of a series, with the rescale slope and intercept applied.

    Raises:
        InputError: pixel data that cannot be decoded.
    """
    places = defaultdict(list)
    for i, stored in enumerate(scan.images):
        places[stored.file].append((i, stored))
    images = np.empty(0, np.float32)
    for path, here in places.items():
        pixels = _pixels(path)
        if not len(images):
            images = np.empty((len(scan.images), *pixels.shape[1:]), np.float32)
        for i, stored in here:
            images[i] = pixels[stored.frame] * stored.slope + stored.intercept
    return Volume(images, scan.voxel_size_mm, frames=scan.times)


def _series(header: Header) -> str:
    """What tells a series from others: its UID, or its number and folder where it has none."""
    uid = header.text("SeriesInstanceUID")
    return uid or f"{header.text('StudyInstanceUID')} {header.text('SeriesNumber')} {header.path.parent}"


def _fault(header: Header) -> str:
    """What keeps a whole series of magnitude images from being used, and what to do; "" for nothing."""
    pydicom = optional_import("pydicom")
    if any("MOSAIC" in header.texts(name) for name in ("ImageType", "FrameType")):
        return "is a mosaic of several slices: expected one slice, or frames; convert it with dcm2niix and use nifti"
    if header.text("PhotometricInterpretation") == "MONOCHROME1":
        return "is MONOCHROME1, with inverted grey values: expected MONOCHROME2; leave the series out"
    if header.is_mixed():
        return "says that its frames differ in kind, and not which are magnitudes: expected a frame type each; export it anew"
    syntax = header.dataset.file_meta.TransferSyntaxUID
    if syntax.is_compressed and not pydicom.pixels.get_decoder(syntax).is_available:
        return (
            f"has pixel data compressed as {bare(syntax.name)}, which no installed decoder reads: expected one; "
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or decompress the files first (gdcmconv --raw)"
        )
    return ""


def _check_pixels(header: Header, frames: int) -> None:
    """Refuse a file that was cut, or whose pixel data is not of the size that its header says."""
    bits = int(header.number("BitsAllocated"))
    if bits not in (8, 16, 32, 64):
        raise header.fault(f"says {bits} bits allocated a pixel", "8, 16, 32 or 64")
    if header.pixel_bytes is None:
        return
    held, said = header.pixel_bytes
    one = int(header.number("Rows")) * int(header.number("Columns")) * bits // 8
    needed = 8 * frames if header.dataset.file_meta.TransferSyntaxUID.is_compressed else one * frames
    if held < max(said, needed):
        raise unreadable(header.path, f"it holds {max(held, 0)} of {max(said, needed)} bytes of pixel data")
    if said >= needed + one and needed > 8 * frames:
        raise header.fault(f"holds {said} bytes of pixel data", f"{needed} for {frames} image(s) of its size")


def _image(header: Header, subject: str) -> Image:
    """What finding needs to know of a frame."""
    direction = header.numbers("ImageOrientationPatient", 6)
    if np.linalg.norm(np.cross(direction[:3], direction[3:]) if direction else 0) < 0.5:
        direction = ()
    echo = header.number("EffectiveEchoTime") or header.number("EchoTime")
    return Image(
        stored=Stored(
            header.path, header.frame, header.number("RescaleSlope") or 1.0, header.number("RescaleIntercept")
        ),
        subject=subject,
        study=header.text("StudyInstanceUID"),
        series=_series(header),
        number=int(header.number("SeriesNumber")),
        echo=(header.text("EchoNumbers"), round(echo, 2)),
        size=(int(header.number("Rows")), int(header.number("Columns"))),
        direction=direction,
        position=header.numbers("ImagePositionPatient", 3),
        location=header.number("SliceLocation"),
        time=(*(header.number(name) for name in TIMES), header.number("InstanceNumber")),
        spacing=header.numbers("PixelSpacing", 2),
        thickness=header.number("SliceThickness"),
    )


def _named(images: list[Image], folder: Path) -> list[Image]:
    """The images, each with a subject: its own, that of its series or study; else the study or the series itself."""
    known: dict[str, set[str]] = defaultdict(set)
    for image in images:
        known[image.series].add(image.subject)
        known[image.study].add(image.subject)

    def whose(image: Image) -> str:
        candidates = (known[uid] - {""} for uid in (image.series, image.study) if uid)
        others = next((names for names in candidates if len(names) == 1), {image.study or image.series})
        return image.subject or min(others)

    return [replace(image, subject=whose(image)) for image in images]


def _sorted(images: list[Image]) -> Iterator[Series]:
    """The volumes that images make up, each in order."""
    groups: dict[tuple, list[Image]] = defaultdict(list)
    for image in images:
        groups[image.subject, image.series, image.echo, image.size].append(image)
    stacks = [stack for group in groups.values() for stack in _stacks(group)]
    stacks.sort(key=lambda s: (natural(s[0].subject), s[0].number, s[0].series, s[0].echo, s[0].size, s[0].direction))
    of_subject: dict[str, int] = defaultdict(int)
    for stack in stacks:
        of_subject[stack[0].subject] += 1
        yield _in_order(stack, f"series {of_subject[stack[0].subject]}")


def _stacks(images: list[Image]) -> list[list[Image]]:
    """Images parted by direction; those that say none join the first."""
    stacks: list[list[Image]] = []
    for image in sorted(images, key=lambda image: not image.direction):
        for stack in stacks:
            if not image.direction or np.allclose(stack[0].direction, image.direction, rtol=0, atol=SAME_DIRECTION):
                stack.append(image)
                break
        else:
            stacks.append([image])
    return stacks


def _in_order(stack: list[Image], label: str) -> Series:
    """A stack of images of one direction, sorted by position, then by time."""
    places = np.array([_place(image, stack[0].direction) for image in stack])
    ranks = np.argsort(places, kind="stable")
    slots = np.empty(len(stack), int)
    slots[ranks] = np.cumsum(np.diff(places[ranks], prepend=places[ranks[0]]) > SAME_PLACE)
    order = sorted(
        range(len(stack)),
        key=lambda i: (slots[i], stack[i].time, natural(str(stack[i].stored.file)), stack[i].stored.frame),
    )
    positions = np.array([places[slots == slot].mean() for slot in range(slots.max() + 1)])
    steps = np.diff(positions)
    gap = float(np.quantile(steps, 0.5, method="lower")) if len(steps) else stack[0].thickness
    counts = np.bincount(slots)
    located = any(image.position or image.location for image in stack)
    spacing = stack[0].spacing
    return Series(
        stack[0].subject,
        tuple(dict.fromkeys(stack[i].stored.file for i in order)),
        label,
        missing=int((np.round(steps / gap)[steps > 1.5 * gap] - 1).sum()) if len(steps) else 0,
        images=tuple(stack[i].stored for i in order),
        times=int(counts[0]) if located and (counts == counts[0]).all() else 1,
        voxel_size_mm=(*spacing, gap) if spacing else (),
    )


def _place(image: Image, direction: tuple[float, ...]) -> float:
    """Position of a slice along the normal of its plane, in mm."""
    if not direction or not image.position:
        return image.location
    return float(np.dot(np.cross(direction[:3], direction[3:]), image.position))


def _pixels(path: Path) -> np.ndarray:
    """The pixels of a file as they are stored, (frames, height, width)."""
    pydicom = optional_import("pydicom")
    with reading(path):
        dataset = pydicom.dcmread(path, force=True)
        header = Header(path, dataset, None)
        dataset.file_meta.TransferSyntaxUID = transfer_syntax(dataset)
        dataset.NumberOfFrames = len(header.frames())
        for name, value in (
            ("SamplesPerPixel", 1),
            ("PhotometricInterpretation", "MONOCHROME2"),
            ("PixelRepresentation", 0),
        ):
            if not header.text(name):
                setattr(dataset, name, value)
        return dataset.pixel_array.reshape(-1, dataset.Rows, dataset.Columns)


@dataclass(frozen=True)
class Dicom(Source):
    """Any folder of DICOM files with MR series, split by PatientID. Needs pydicom."""

    match: Annotated[str, typer.Option(help="regular expression that the series description has to match")] = ""
    subject: Annotated[str, typer.Option(help="regular expression that finds the subject in a path, not PatientID")] = (
        ""
    )
    dataset: ClassVar[str] = "dicom"
    layout: ClassVar[str] = "DICOM files of MR series, at any depth"

    def scans(self, passed: Passed | None = None) -> Iterator[Scan | InputError]:
        for pattern, option in ((self.match, "--match"), (self.subject, "--subject")):
            regex(pattern, option)
        yield from find_series(self.folder, self._patient, self._unwanted, passed)

    def _patient(self, path: Path, header: Header) -> str | InputError:
        return subject_of(path, self.folder, self.subject) if self.subject else header.text("PatientID")

    def _unwanted(self, path: Path, header: Header) -> str:
        """Images of series that --match does not name; without it, of localisers that only their description tells."""
        description = header.text("SeriesDescription")
        if self.match:
            return "" if re.search(self.match, description, re.IGNORECASE) else "images of series that do not match"
        return "localisers" if re.search(r"locali[sz]er|scout|\bsurvey\b", description, re.IGNORECASE) else ""

    def read(self, scan: Scan) -> Volume:
        assert isinstance(scan, Series)
        return read_series(scan)

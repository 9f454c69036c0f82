"""Reader of DICOM: any folder of MR series."""

import re
from collections import defaultdict
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar

import numpy as np
import typer
from tqdm.auto import tqdm

from data_prep.source import Passed, Scan, Volume, find, optional_import, subject_of
from kdrecon.data import natural
from kdrecon.errors import InputError, first_line

NOT_MAGNITUDE = {"P", "PHASE", "PHASE MAP", "R", "REAL", "I", "IMAGINARY"}
SORTED_BY = ("TriggerTime", "TemporalPositionIdentifier", "InstanceNumber")


def find_series(
    folder: Path,
    subject: Callable[[Path, object], str | InputError],
    wanted: Callable[[Path, object], bool] = lambda path, header: True,
    passed: Passed | None = None,
) -> Iterator[Scan | InputError]:
    """The MR series of a folder, each sorted by position, then by time; of what files are called nothing is believed.

    Images of one series that differ in matrix or direction, as those of a localiser do, become volumes of their own.
    Phase, real and imaginary parts, other modalities and files that are not DICOM are passed over.

    Args:
        folder: searched at any depth.
        subject: names who was scanned, from a file's path and its header.
        wanted: whether to use a file, from the same.
        passed: takes what is passed over.
    """
    series, seen = defaultdict(list), {}
    for path in tqdm(find(folder, lambda path: True, passed), desc="headers", unit="file", leave=False, delay=2):
        header = path if isinstance(path, InputError) else read_header(path)
        if isinstance(header, InputError):
            yield header
        elif header is not None and wanted(path, header):
            name = subject(path, header)
            first = seen.setdefault(header.get("SOPInstanceUID", path), path)
            if isinstance(name, InputError) or first != path:
                yield (
                    name
                    if isinstance(name, InputError)
                    else InputError(f"{path} is the same image as {first}: expected each once; remove one of them")
                )
                continue
            direction = tuple(round(float(v), 3) for v in header.get("ImageOrientationPatient", ()))
            multiframe = path if int(header.get("NumberOfFrames") or 1) > 1 else ""
            number = int(header.get("SeriesNumber") or 0)
            key = (
                name,
                number,
                str(header.get("SeriesInstanceUID", "")),
                header.Rows,
                header.Columns,
                direction,
                str(multiframe),
            )
            series[key].append((_order(header), natural(str(path)), path))
    of_subject: dict[str, int] = defaultdict(int)
    for (name, *_), images in sorted(series.items(), key=lambda item: (natural(item[0][0]), item[0][1:])):
        of_subject[name] += 1
        yield Scan(name, tuple(path for *_, path in sorted(images)), f"series {of_subject[name]}")


def read_header(path: Path):
    """The DICOM header of an MR image; None for anything else; an InputError for what cannot be used."""
    pydicom = optional_import("pydicom")
    try:
        header = pydicom.dcmread(path, stop_before_pixels=True)
    except (pydicom.errors.InvalidDicomError, OSError, EOFError, AttributeError, ValueError) as error:
        if path.suffix.lower() not in (".dcm", ".ima"):
            return None
        return InputError(f"{path} cannot be read ({first_line(error)}): expected a DICOM file; get it again")
    kind = {str(value).upper() for value in (header.get("ImageType") or [])}
    if header.get("Modality") != "MR" or "Rows" not in header or kind & NOT_MAGNITUDE:
        return None
    if "MOSAIC" in kind:
        return InputError(
            f"{path} is a mosaic of several slices: expected one slice, or frames; convert it with dcm2niix and use nifti"
        )
    return header


def read_series(files: tuple[Path, ...]) -> Volume:
    """Magnitude images of sorted DICOM files, or of a multi-frame file, with the rescale slope and intercept applied.

    Raises:
        InputError: compressed pixel data that no installed decoder reads, colour or inverted grey values.
    """
    pydicom = optional_import("pydicom")
    images, places, header = [], [], None
    for path in files:
        header = pydicom.dcmread(path)
        if header.get("PhotometricInterpretation") != "MONOCHROME2":
            raise InputError(
                f"{path} is {header.get('PhotometricInterpretation')}: expected MONOCHROME2; leave the series out"
            )
        pixels = _pixels(header, path)
        if pixels.ndim == 2:
            images.append(pydicom.pixels.apply_rescale(pixels, header).astype(np.float32))
            places.append(_place(header))
            continue
        frames = sorted((_frame(header, i) for i in range(len(pixels))), key=lambda frame: (frame[0] or 0, frame[1]))
        for place, i, slope, intercept in frames:
            images.append((pixels[i] * slope + intercept).astype(np.float32))
            places.append(place)
    spacing = header.get("PixelSpacing") or _group(header, 0, "PixelMeasuresSequence").get("PixelSpacing")
    distinct = sorted({round(place, 2) for place in places if place is not None})
    gap = float(np.median(np.diff(distinct))) if len(distinct) > 1 else float(header.get("SliceThickness") or 0)
    return Volume(np.stack(images), (*(float(v) for v in spacing), gap) if spacing else ())


def _pixels(header, path: Path) -> np.ndarray:
    try:
        return header.pixel_array
    except (RuntimeError, NotImplementedError, ImportError) as error:
        syntax = header.file_meta.TransferSyntaxUID
        if not syntax.is_compressed:
            raise
        raise InputError(
            f"{path} has pixel data compressed as {syntax.name}, which no installed decoder reads: expected one; "
            "pip install pylibjpeg pylibjpeg-libjpeg pylibjpeg-openjpeg, or decompress the files first (gdcmconv --raw)"
        ) from error


def _place(header) -> float | None:
    """Position of a slice along the normal of its plane, in mm."""
    position, direction = header.get("ImagePositionPatient"), header.get("ImageOrientationPatient")
    if not position or not direction:
        return None
    return float(np.dot(np.cross([*map(float, direction[:3])], [*map(float, direction[3:])]), [*map(float, position)]))


def _order(header) -> tuple[float, ...]:
    times = (header.get(name) for name in SORTED_BY)
    return (round(_place(header) or 0, 2), *(float(v) if v not in (None, "") else 0.0 for v in times))


def _group(header, frame: int, name: str):
    """An item of the functional groups of a frame: its own, or the one that all frames share; empty where absent."""
    groups = (header.get("PerFrameFunctionalGroupsSequence") or [])[frame : frame + 1]
    for group in [*groups, *(header.get("SharedFunctionalGroupsSequence") or [])]:
        if name in group:
            return group[name][0]
    return {}


def _frame(header, i: int) -> tuple[float | None, int, float, float]:
    """Position, number, rescale slope and intercept of a frame."""
    scale = _group(header, i, "PixelValueTransformationSequence") or header
    position = _group(header, i, "PlanePositionSequence").get("ImagePositionPatient")
    direction = _group(header, i, "PlaneOrientationSequence").get("ImageOrientationPatient")
    place = _place({"ImagePositionPatient": position, "ImageOrientationPatient": direction})
    return place, i, float(scale.get("RescaleSlope", 1)), float(scale.get("RescaleIntercept", 0))


@dataclass(frozen=True)
class Dicom:
    """Any folder of DICOM files with MR series, split by PatientID. Needs pydicom."""

    folder: Path
    match: Annotated[str, typer.Option(help="regular expression that the series description has to match")] = ""
    subject: Annotated[str, typer.Option(help="regular expression that finds the subject in a path, not PatientID")] = (
        ""
    )
    dataset: ClassVar[str] = "dicom"
    size: ClassVar[tuple] = ()
    small: ClassVar[str] = "pad"
    split: ClassVar[str] = "8,1,1"
    published: ClassVar[dict] = {}
    layout: ClassVar[str] = "DICOM files of MR series, at any depth"

    def scans(self, passed: Passed | None = None) -> Iterator[Scan | InputError]:
        def subject(path: Path, header) -> str | InputError:
            patient = str(header.get("PatientID") or "")
            return patient if patient and not self.subject else subject_of(path, self.folder, self.subject)

        def wanted(path: Path, header) -> bool:
            return bool(re.search(self.match, str(header.get("SeriesDescription", "")), re.IGNORECASE))

        yield from find_series(self.folder, subject, wanted, passed)

    def read(self, scan: Scan) -> Volume:
        return read_series(scan.files)

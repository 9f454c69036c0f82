"""DICOM series: read with the reader of data preparation, written as a new derived series in the same place.

>>> from pathlib import Path
>>> from kdrecon.app.scans.dicom import read
>>> read(Path("scans"))
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: scans is not a folder: expected the one that holds the scans; check the path
"""

import contextlib
import hashlib
import os
import shutil
from collections import Counter, defaultdict
from pathlib import Path
from typing import Any

import numpy as np

from data_prep.dicom import Dicom, Series, Stored, read_series
from data_prep.header import reading
from data_prep.source import Passed, optional_import
from kdrecon.app.scans.images import checked
from kdrecon.app.scans.scan import Scan
from kdrecon.errors import InputError, first_line

UNTRUE = (  # of other pixels: their range, their thumbnails, signatures, overlays' and display's own copies
    "SmallestImagePixelValue", "LargestImagePixelValue", "PixelPaddingValue", "PixelPaddingRangeLimit", "IconImageSequence",
    "DigitalSignaturesSequence", "MACParametersSequence", "OriginalAttributesSequence", "SeriesNumber",
)  # fmt: skip


def read(folder: Path, match: str = "") -> Scan:
    """The one MR series in a folder.

    Args:
        folder: searched at any depth.
        match: regular expression for the series description, where there are several.

    Raises:
        InputError: no series, several, or a damaged one.
    """
    passed: Passed = {}
    found = list(Dicom(folder, match).scans(passed))
    if faults := [one for one in found if isinstance(one, InputError)]:
        raise faults[0]
    if len(found) != 1:
        what = Counter(passed.values()).most_common(1)
        seen = f"{len(found)} MR volumes" if found else f"no MR series (but {what[0][0]})" if what else "no MR series"
        raise InputError(
            f"{folder} holds {seen}: expected one series, of one direction and echo; name its folder, or choose with --match"
        )
    (series,) = found
    assert isinstance(series, Series)
    with reading(folder):
        images = read_series(series).images
    values, notes = checked(images, str(folder))

    def write(images: np.ndarray, out: Path, said: dict[str, str]) -> None:
        write_series(series, images, out, said)

    return Scan(values, None, write, notes)


def write_series(series: Series, images: np.ndarray, out: Path, said: dict[str, str]) -> None:
    """Write images (S, H, W) of a series as a new derived one, a file for each of its files, into a new folder.

    Patient, study, geometry and acquisition are those of the source; UIDs, pixels, image type and descriptions are new.
    Values are stored with the slope and intercept of the source, in 16 bits. Private elements are left out.

    Raises:
        InputError: a file has other frames, too, or the folder cannot be written; nothing is left then.
    """
    frames: dict[Path, list[tuple[int, Stored]]] = defaultdict(list)
    for i, stored in enumerate(series.images):
        frames[stored.file].append((i, stored))
    pydicom = optional_import("pydicom")
    digest = hashlib.sha256(np.ascontiguousarray(images).tobytes() + said["description"].encode()).hexdigest()
    temporary = out.with_name(f"{out.name}.partial")
    try:
        shutil.rmtree(temporary, ignore_errors=True)
        temporary.mkdir(parents=True)
        for number, (path, here) in enumerate(frames.items(), start=1):
            here.sort(key=lambda pair: pair[1].frame)
            with reading(path):
                derived = _derived(path, here, images, digest, said)
                place = temporary / f"{number:05d}.dcm"
                pydicom.dcmwrite(place, derived, implicit_vr=False, little_endian=True, enforce_file_format=True)
        with contextlib.suppress(FileNotFoundError):
            out.rmdir()
        os.replace(temporary, out)
    except OSError as error:
        raise InputError(
            f"{out} cannot be written ({first_line(error)}): expected room in a writable folder; choose another one"
        ) from error
    finally:
        shutil.rmtree(temporary, ignore_errors=True)


def _derived(path: Path, here: list[tuple[int, Stored]], images: np.ndarray, digest: str, said: dict[str, str]) -> Any:
    """The dataset of a source file with the pixels of reconstructed images."""
    pydicom = optional_import("pydicom")
    ds = pydicom.dcmread(path, force=True)
    if (count := int(ds.get("NumberOfFrames") or 1)) != len(here):
        raise InputError(
            f"{path} has {count} frames, {len(here)} of them magnitude images: expected those alone; export them anew"
        )
    ds.decode()
    ds.remove_private_tags()
    for name in UNTRUE:
        ds.pop(name, None)
    for tag in [
        element.tag for element in ds if element.tag.group // 256 == 0x60 or element.keyword.endswith("PixelData")
    ]:
        del ds[tag]
    source = pydicom.Dataset()
    source.ReferencedSOPClassUID = ds.get("SOPClassUID") or pydicom.uid.MRImageStorage
    source.ReferencedSOPInstanceUID = ds.get("SOPInstanceUID") or pydicom.uid.generate_uid(entropy_srcs=[str(path)])
    ds.SourceImageSequence = [source]
    ds.SOPClassUID = source.ReferencedSOPClassUID
    new = lambda *parts: pydicom.uid.generate_uid(entropy_srcs=[*map(str, parts), digest])  # noqa: E731
    ds.SeriesInstanceUID = new("series", ds.get("SeriesInstanceUID"), ds.get("StudyInstanceUID"))
    ds.SOPInstanceUID = new("image", source.ReferencedSOPInstanceUID)
    ds.SeriesNumber = None
    ds.SeriesDescription, ds.DerivationDescription = said["title"][:64], said["description"][:1024]
    _say_derived(ds)
    _set_pixels(ds, here, images)
    ds.file_meta = pydicom.dataset.FileMetaDataset()
    ds.file_meta.TransferSyntaxUID = pydicom.uid.ExplicitVRLittleEndian
    return ds


def _say_derived(ds: Any) -> None:
    """The image type, of all frames, too: DERIVED and SECONDARY, then what the source says."""
    groups = [*(ds.get("SharedFunctionalGroupsSequence") or []), *(ds.get("PerFrameFunctionalGroupsSequence") or [])]
    kinds = [kind for group in groups for kind in (group.get("MRImageFrameTypeSequence") or [])]
    for dataset, name in [(ds, "ImageType"), *((kind, "FrameType") for kind in kinds)]:
        before = dataset.get(name) or []
        setattr(dataset, name, ["DERIVED", "SECONDARY", *(before[2:] if not isinstance(before, str) else [])])


def _set_pixels(ds: Any, here: list[tuple[int, Stored]], images: np.ndarray) -> None:
    """Pixels of 16 bits, or 32 where the source has them, in the source's scale."""
    bits = 32 if int(ds.BitsAllocated) > 16 else 16
    signed = int(ds.get("PixelRepresentation") or 0)
    kind = np.dtype(f"<{'i' if signed else 'u'}{bits // 8}")
    limits = np.iinfo(kind)
    stack = [np.rint((images[i].astype(np.float64) - stored.intercept) / stored.slope) for i, stored in here]
    ds.BitsAllocated = ds.BitsStored = bits
    ds.HighBit, ds.PixelRepresentation = bits - 1, signed
    ds.SamplesPerPixel, ds.PhotometricInterpretation = 1, "MONOCHROME2"
    ds.Rows, ds.Columns = images.shape[1:]
    ds.PixelData = np.clip(np.stack(stack), limits.min, limits.max).astype(kind).tobytes()
    ds["PixelData"].VR = "OW"

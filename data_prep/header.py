"""What the header of a DICOM file says: whether it is one, its values, and what its images are.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from data_prep.header import read_header
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "notes.txt"
...     _ = path.write_bytes(b"no scan")
...     read_header(path)
'.txt files'
"""

import contextlib
import math
import os
import re
import warnings
from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, BinaryIO

from data_prep.source import GO_ON, extension, kind_of_file, optional_import
from kdrecon.errors import InputError, first_line

MR, MR_SPECTROSCOPY = "1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.2"
MR_IMAGES = (MR, f"{MR}.1", f"{MR}.3", f"{MR}.4")  # classic, enhanced, enhanced in colour, legacy converted
GE_COMPONENT = 0x0043102F  # private to GE
GE_NOT_MAGNITUDE = {1: "phase images", 2: "real parts", 3: "imaginary parts"}
COMPONENTS = {"PHASE": "phase images", "REAL": "real parts", "IMAGINARY": "imaginary parts"}
NOT_MAGNITUDE = {  # values of ImageType or FrameType, of the standard and of Siemens, Philips and GE
    "phase images": r"(SW_)?P(_.*)?|PHASE|PHASE[ _]?MAP|VELOCITY.*",
    "real parts": r"R(_.*)?|REAL",
    "imaginary parts": r"I(_.*)?|IMAGINARY",
    "ADC maps": r"E?ADC([ _].*)?|APPARENT DIFFUSION COEFFICIENT",
    "FA maps": r"FA([ _].*)?|FRACTIONAL ANISOTROPY|DIFFUSION_ANISO",
    "derived maps": r".*MAP|TENSOR.*|FF|FAT[ _]FRACTION|[A-Z]*(CBF|CBV|MTT|TTP)([ _].*)?|TCONC|METABOLITE.*|TEMPERATURE",
    "localisers": r".*LOCALI[SZ]ER.*|SCOUT|SURVEY",
    "screenshots": r"SCREEN[ _]?(SAVE|SHOT).*",
}
ABSENT = {"", "N/A", "NA", "NONE", "NULL"}
GROUPS = {  # in which functional group of a multi-frame file a value of a frame stands
    "FrameType": "MRImageFrameTypeSequence",
    "ComplexImageComponent": "MRImageFrameTypeSequence",
    "PixelPresentation": "MRImageFrameTypeSequence",
    "ImagePositionPatient": "PlanePositionSequence",
    "ImageOrientationPatient": "PlaneOrientationSequence",
    "PixelSpacing": "PixelMeasuresSequence",
    "SliceThickness": "PixelMeasuresSequence",
    "RescaleSlope": "PixelValueTransformationSequence",
    "RescaleIntercept": "PixelValueTransformationSequence",
    "EffectiveEchoTime": "MREchoSequence",
    "TemporalPositionIndex": "FrameContentSequence",
    "NominalCardiacTriggerDelayTime": "CardiacSynchronizationSequence",
}


@dataclass(frozen=True)
class Header:
    """The header of a DICOM file with images, as one of its frames has it; an absent or empty value is a default.

    Attributes:
        path: of the file, for messages.
        dataset: of pydicom, without pixels.
        pixel_bytes: how many bytes of pixel data the file holds, and how many it says; None where that is not known.
        frame: number of the frame, from 0.
    """

    path: Path
    dataset: Any
    pixel_bytes: tuple[int, int] | None
    frame: int = 0

    def texts(self, name: str | int) -> list[str]:
        """The values of an element as text: of the frame, of all frames, or of the file; without padding."""
        dataset, element = self._find(name)
        value = "" if element is None else element.value
        if isinstance(value, bytes) and element.VR not in ("DS", "IS"):  # numbers as text stay as they are written
            value = dataset[name].value
        if isinstance(value, bytes):
            value = value.decode("latin-1")
        if isinstance(value, str):
            value = value.split("\\")
        texts = [str(part).strip(" \t\r\n\0") for part in (value if isinstance(value, Sequence) else [value])]
        return texts if any(texts) else []

    def text(self, name: str | int) -> str:
        """A value as text, "" where it is absent."""
        return "\\".join(self.texts(name))

    def numbers(self, name: str | int, count: int) -> tuple[float, ...]:
        """A value of so many numbers; () where it is absent. A decimal comma is read as a point.

        Raises:
            InputError: other text, or another number of values.
        """
        texts = self.texts(name)
        if all(text.upper() in ABSENT for text in texts):
            return ()
        try:
            values = tuple(float(text.replace(",", ".")) for text in texts)
        except ValueError:
            values = ()
        if len(values) != count or not all(math.isfinite(value) for value in values):
            raise self.fault(f"says {name} {self.text(name)[:60]!r}", f"{count} number{'s' * (count > 1)}")
        return values

    def number(self, name: str | int, default: float = 0.0) -> float:
        """A value of one number."""
        return (*self.numbers(name, 1), default)[0]

    def fault(self, what: str, expected: str) -> InputError:
        """An error about what this header says."""
        return InputError(f"{self.path} {what}: expected {expected}; correct it{GO_ON}")

    def frames(self) -> list["Header"]:
        """The header for each image in the file.

        Raises:
            InputError: their number is no number, or not that of the groups that describe them.
        """
        count = self.number("NumberOfFrames") or 1
        described = len(self.dataset.get("PerFrameFunctionalGroupsSequence") or []) or count
        if count != described or not 1 <= count < 2**20:
            raise self.fault(f"says {count:g} frames and describes {described:g}", "as many descriptions as frames")
        return [replace(self, frame=i) for i in range(int(count))]

    def not_magnitude(self) -> str:
        """What an image of this frame is, in the plural, where it is no magnitude image of a slice; "" where it is."""
        colour = self.text("PhotometricInterpretation").startswith(("RGB", "YBR", "PALETTE"))
        if colour or "COLOR" in self.text("PixelPresentation").upper():
            return "colour images"
        if (component := self.text("ComplexImageComponent").upper()) in COMPONENTS:
            return COMPONENTS[component]
        if (number := self._ge_component()) in GE_NOT_MAGNITUDE:
            return GE_NOT_MAGNITUDE[number]
        kinds = self._kinds()
        fitting = (
            what for what, pattern in NOT_MAGNITUDE.items() if any(re.fullmatch(pattern, kind) for kind in kinds)
        )
        return next(fitting, "")

    def is_mixed(self) -> bool:
        """Whether the file has frames of several kinds and does not say of which this one is."""
        component = self.text("ComplexImageComponent").upper()
        return component == "MIXED" or not component and "MIXED" in self._kinds()

    def _kinds(self) -> list[str]:
        return [kind.upper() for kind in self.texts("FrameType") or self.texts("ImageType")]

    def _ge_component(self) -> int:
        _, element = self._find(GE_COMPONENT)
        value = getattr(element, "value", 0)
        if (
            isinstance(value, bytes) and not value.strip(b" \0").isdigit()
        ):  # two bytes, or text where the header says so
            return int.from_bytes(value[:2], "little" if element.is_little_endian else "big")
        return int(self.number(GE_COMPONENT))

    def _find(self, name: str | int) -> tuple[Any, Any]:
        """The innermost dataset that gives an element a value, and the element as it is stored; None for none."""
        layers = [self.dataset]
        if name in GROUPS:
            groups = (self.dataset.get("PerFrameFunctionalGroupsSequence") or [])[self.frame : self.frame + 1]
            groups = [*groups, *(self.dataset.get("SharedFunctionalGroupsSequence") or [])]
            layers = [item for group in groups for item in (group.get(GROUPS[name]) or [])[:1]] + layers
        for dataset in layers:
            element = dataset.get_item(name)
            if element is not None and element.value not in (None, "", b"", []):
                return dataset, element
        return self.dataset, None


def read_header(path: Path) -> Header | str:
    """The header of a file with MR images; else what the file is, in the plural.

    Raises:
        InputError: a DICOM file that is damaged, or one by name that is none.
    """
    with reading(path), open(path, "rb") as file:
        start = file.read(2000)
        if not _looks_like_dicom(start):
            if path.suffix.lower() not in (".dcm", ".ima"):
                packed = extension(path).startswith((".dcm.", ".ima."))
                return (
                    ("" if start else "empty ") + kind_of_file(path) + (" (unpack them to use them)" if packed else "")
                )
            raise unreadable(path, "no DICOM header" if start else "it is empty", "a DICOM file")
        file.seek(0)
        header = Header(path, *_parse(file))
        return _what_else(header) or header


@contextlib.contextmanager
def reading(path: Path) -> Iterator[None]:
    """Whatever a library raises on a damaged file becomes an InputError that names it; what it warns of is judged here."""
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")
            yield
    except InputError:
        raise
    except Exception as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else first_line(error)
        raise unreadable(path, f"{type(error).__name__}: {reason[:80]}") from error


def unreadable(path: Path, reason: str, expected: str = "an intact file") -> InputError:
    """What to say of a damaged file."""
    return InputError(f"{path} cannot be read ({reason}): expected {expected}; get it again{GO_ON}")


def _looks_like_dicom(start: bytes) -> bool:
    """Whether a file that starts so is DICOM: with the preamble of 128 bytes, without it, or with nothing else."""
    first_group = start[:2] in (b"\2\0", b"\b\0", b"\0\b")
    cut = 0 < len(start) < 132 and not start[:128].strip(b"\0")
    return start[128:132] == b"DICM" or cut or first_group and (b"1.2.840.10008." in start or b"ACR-NEMA" in start)


def _parse(file: BinaryIO) -> tuple[Any, tuple[int, int] | None]:
    """A dataset without its pixels, and how many bytes of them there are and should be."""
    pydicom = optional_import("pydicom")
    dataset = pydicom.dcmread(file, stop_before_pixels=True, force=True)
    dataset.file_meta.TransferSyntaxUID = transfer_syntax(dataset)
    implicit, little = dataset.original_encoding
    if dataset.file_meta.TransferSyntaxUID.is_deflated:
        return dataset, None
    lead = file.read(8 if implicit else 12)
    held = os.fstat(file.fileno()).st_size - file.tell()
    said = int.from_bytes(lead[-4:], "little" if little else "big")
    return dataset, (held, held if said == 0xFFFFFFFF else said)


def transfer_syntax(dataset: Any) -> Any:
    """How a dataset is written: the UID of its file header, or what was found where it has none."""
    uid = optional_import("pydicom").uid
    if known := dataset.file_meta.get("TransferSyntaxUID"):
        return known
    implicit, little = dataset.original_encoding
    return uid.ImplicitVRLittleEndian if implicit else uid.ExplicitVRLittleEndian if little else uid.ExplicitVRBigEndian


def _what_else(header: Header) -> str:
    """What a DICOM file without MR images is, in the plural; "" for one with them."""
    pydicom = optional_import("pydicom")
    kind = header.text("SOPClassUID") or str(header.dataset.file_meta.get("MediaStorageSOPClassUID", ""))
    modality = header.text("Modality") or ("MR" if kind in MR_IMAGES else "")
    image = header.number("Rows") > 0 and header.number("Columns") > 0
    if not image and (modality == "MR" and kind in ("", *MR_IMAGES) or not modality and not kind):
        raise unreadable(header.path, "its header lacks the kind or size of an image")
    if kind == MR_SPECTROSCOPY:
        return "MR spectra"
    if modality == "MR" and image:
        return ""
    if not modality and kind in pydicom.uid.UID_dictionary:
        return f"DICOM files of {pydicom.uid.UID(kind).name}"
    shown = modality if re.fullmatch(r"[A-Z]{2,9}", modality) else "DICOM"
    return (
        f"{shown} {'images' if modality else 'images of no modality'}" if image else f"{shown} files without an image"
    )

"""Readouts of raw Cartesian data in the ISMRMRD format, and the k-space that they make up.

>>> import numpy as np
>>> from data_prep.readouts import gaps
>>> gaps(np.array([False, True, False, False, True]))
2
"""

import math
import re
from collections import defaultdict
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import Any, NamedTuple
from xml.etree import ElementTree

import numpy as np
import psutil

from data_prep.source import GO_ON
from kdrecon import storage
from kdrecon.errors import InputError, first_line, shortened

SPACES = (
    "encodedSpace/matrixSize",
    "reconSpace/matrixSize",
    "reconSpace/fieldOfView_mm",
)  # what has to be known of them
NOT_IMAGES = (
    "NOISE_MEASUREMENT", "NAVIGATION_DATA", "PHASECORR_DATA", "PARALLEL_CALIBRATION", "DUMMYSCAN_DATA", "HPFEEDBACK_DATA",
    "RTFEEDBACK_DATA",
)  # fmt: skip


class Assembled(NamedTuple):
    """The readouts of one slice, phase, contrast, ... where they belong.

    Attributes:
        k: (Z, C, Y, X), complex64, with DC in the middle; 0 where nothing was measured.
        sampled: (Z, Y, X), bool, where something was.
    """

    k: np.ndarray
    sampled: np.ndarray


def is_raw(file: "storage.hdf5.File") -> bool:
    """Whether an HDF5 file holds raw data in the ISMRMRD format."""
    return "dataset/data" in file and "dataset/xml" in file


def header(file: "storage.hdf5.File") -> ElementTree.Element:
    """The header of raw data, which tells the matrix and the field of view of the measurement and of the image.

    Raises:
        InputError: it does not, or is no XML.
    """
    try:
        found = ElementTree.fromstring(file.text("dataset/xml"))
    except InputError:
        raise
    except (ElementTree.ParseError, ValueError) as error:
        raise InputError(
            f"{file.path} cannot be read ({first_line(error)}): expected an intact header; get it again"
        ) from error
    if lacking := _lacking(found):
        raise InputError(
            f"{file.path} has a header without {', '.join(lacking)}: expected the matrix and the field of view of the "
            f"measurement and of the image; add them{GO_ON}"
        )
    return found


def read_lines(ismrmrd: ModuleType, file: "storage.hdf5.File") -> tuple[Any, list[Any]]:
    """The Cartesian encoding of raw data, and the readouts of its images.

    Raises:
        InputError: another encoding, several, none of an image, or a damaged file.
    """
    found = _encodings(ismrmrd, file)
    kinds = [encoding.trajectory.value for encoding in found]
    if kinds != ["cartesian"]:
        raise InputError(
            f"{file.path} has {len(kinds)} encodings ({shortened(', '.join(kinds))}): expected one cartesian encoding; "
            f"grid it to one{GO_ON}"
        )
    lines = [_readout(ismrmrd, record) for record in file.records("dataset/data")]
    if not (lines := [line for line in lines if is_image(ismrmrd, line)]):
        raise InputError(f"{file.path} has no readout of an image: expected some; export it anew{GO_ON}")
    return found[0], lines


def _encodings(ismrmrd: ModuleType, file: "storage.hdf5.File") -> list[Any]:
    try:
        return ismrmrd.xsd.CreateFromDocument(file.text("dataset/xml")).encoding
    except TypeError as error:  # xsdata's way to say what is missing
        missing = re.search(r"(\w+)\.__init__.* arguments?: (.*)", first_line(error))
        what = f"without {missing[2]} in its {missing[1]}" if missing else f"that cannot be used ({first_line(error)})"
        raise InputError(
            f"{file.path} has a header {what}: expected all that ISMRMRD requires; add it{GO_ON}"
        ) from error


def _lacking(header: ElementTree.Element) -> list[str]:
    """What a header does not say of its first encoding, and has to."""
    needed = ["trajectory", *(f"{space}/{axis}" for space in SPACES for axis in "xyz")]
    paths = {name: "{*}encoding/" + "/".join(f"{{*}}{part}" for part in name.split("/")) for name in needed}
    absent = [name for name, path in paths.items() if not (header.findtext(path) or "").strip()]
    return list(dict.fromkeys(name.rpartition("/")[0] or name for name in absent))


def _readout(ismrmrd: ModuleType, record: np.void) -> Any:
    """A readout as ISMRMRD stores it: its header, and its samples (coils, X) as pairs of float32."""
    line = ismrmrd.Acquisition(record["head"])
    line.data[:] = record["data"].view(np.complex64).reshape(line.data.shape)
    return line


def is_image(ismrmrd: ModuleType, line: Any) -> bool:
    """Whether a readout belongs to the image, and not to noise, navigators, calibration or corrections."""
    return not any(line.is_flag_set(getattr(ismrmrd, f"ACQ_IS_{kind}")) for kind in NOT_IMAGES)


def assemble(ismrmrd: ModuleType, lines: list[Any], encoding: Any, path: Path) -> Iterator[Assembled]:
    """k-space of each slice, phase, contrast, ... of Cartesian readouts; repeated ones are averaged.

    Raises:
        InputError: matrices that together are larger than half of the memory, or a readout that lies outside its matrix.
    """
    size, limits = encoding.encodedSpace.matrixSize, encoding.encodingLimits
    groups = defaultdict(list)
    for line in lines:
        i = line.idx
        groups[i.slice, i.contrast, i.phase, i.repetition, i.set].append(line)
    channels = lines[0].active_channels
    for matrix in (size, encoding.reconSpace.matrixSize):
        _check_size(matrix, channels, len(groups), path)
    centres = [getattr(limits, f"kspace_encoding_step_{axis}") for axis in (1, 2)]
    shift_y, shift_z = (n // 2 - (limit.center if limit else n // 2) for limit, n in zip(centres, (size.y, size.z)))
    for _, group in sorted(groups.items()):
        k = np.zeros((size.z, channels, size.y, size.x), np.complex64)
        count = np.zeros((size.z, size.y, size.x), np.int32)
        for line in group:
            y, z = line.idx.kspace_encode_step_1 + shift_y, line.idx.kspace_encode_step_2 + shift_z
            _add(ismrmrd, line, k, count, y, z, path)
        k /= np.maximum(count, 1)[:, None]
        yield Assembled(k, count > 0)


def planes(volume: Assembled, path: Path) -> np.ndarray:
    """k-space (Z, C, Y, X) of the slices of a full measurement; of a three-dimensional one the third axis is transformed.

    What is missing as far as an edge, an asymmetric echo or partial Fourier, stays 0.

    Raises:
        InputError: lines are missing between the outermost ones: an accelerated scan.
    """
    k, sampled = volume.k, np.any(volume.sampled, 2)
    if missing := gaps(np.any(sampled, 1)) + sum(gaps(row) for row in sampled):
        raise InputError(
            f"{path} lacks {missing} lines between those that were measured: expected a fully sampled scan; an "
            "accelerated one has no target to learn from; leave the file out"
        )
    return np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(k, 0), axis=0, norm="ortho"), 0) if len(k) > 1 else k


def _add(ismrmrd: ModuleType, line: Any, k: np.ndarray, count: np.ndarray, y: int, z: int, path: Path) -> None:
    """Add a readout to k-space (Z, C, Y, X) where it belongs, and count it there (Z, Y, X)."""
    samples = line.data[:, ::-1] if line.is_flag_set(ismrmrd.ACQ_IS_REVERSE) else line.data
    depth, channels, height, width = k.shape
    x = width // 2 - line.center_sample
    inside = 0 <= y < height and 0 <= z < depth and 0 <= x <= width - samples.shape[1]
    if not inside or len(samples) != channels:
        raise InputError(
            f"{path} has {samples.shape[1]} samples of {len(samples)} coils at column {x}, line {y}, partition {z}: expected "
            f"them inside the encoded matrix {width} x {height} x {depth}, of {channels} coils; correct the header"
        )
    place = slice(x, x + samples.shape[1])
    k[z, :, y, place] += samples
    count[z, y, place] += 1


def _check_size(matrix: Any, channels: int, images: int, path: Path) -> None:
    size = 8 * channels * images * math.prod((matrix.x, matrix.y, matrix.z))
    if size > psutil.virtual_memory().total // 2:
        raise InputError(
            f"{path} says a matrix of {matrix.x} x {matrix.y} x {matrix.z}, {size / 2**30:.3g} GiB for {channels} coils "
            f"and {images} images: expected at most half of this machine's memory; correct the header, or cut the file"
        )


def gaps(sampled: np.ndarray) -> int:
    """How many entries between the first and the last sampled one are not sampled."""
    places = np.flatnonzero(sampled)
    return int(places[-1] + 1 - places[0] - len(places)) if len(places) else 0

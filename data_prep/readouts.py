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
from typing import Any
from xml.etree import ElementTree

import numpy as np
import psutil

from kdrecon import storage
from kdrecon.errors import InputError, first_line

SPACES = (
    "encodedSpace/matrixSize",
    "reconSpace/matrixSize",
    "reconSpace/fieldOfView_mm",
)  # what has to be known of them
NOT_IMAGES = (
    "NOISE_MEASUREMENT", "NAVIGATION_DATA", "PHASECORR_DATA", "PARALLEL_CALIBRATION", "DUMMYSCAN_DATA", "HPFEEDBACK_DATA",
    "RTFEEDBACK_DATA",
)  # fmt: skip


def encodings(ismrmrd: ModuleType, file: "storage.hdf5.File") -> list[Any]:
    """The encodings of a header.

    Raises:
        InputError: the header lacks what its schema requires.
    """
    try:
        return ismrmrd.xsd.CreateFromDocument(file.text("dataset/xml")).encoding
    except TypeError as error:  # xsdata's way to say what is missing
        missing = re.search(r"(\w+)\.__init__.* arguments?: (.*)", first_line(error))
        what = f"without {missing[2]} in its {missing[1]}" if missing else f"that cannot be used ({first_line(error)})"
        raise InputError(
            f"{file.path} has a header {what}: expected all that ISMRMRD requires; add it, or leave the file out"
        ) from error


def lacking(header: ElementTree.Element) -> list[str]:
    """What a header does not say of its first encoding, and has to."""
    needed = ["trajectory", *(f"{space}/{axis}" for space in SPACES for axis in "xyz")]
    paths = {name: "{*}encoding/" + "/".join(f"{{*}}{part}" for part in name.split("/")) for name in needed}
    absent = [name for name, path in paths.items() if not (header.findtext(path) or "").strip()]
    return list(dict.fromkeys(name.rpartition("/")[0] or name for name in absent))


def readout(ismrmrd: ModuleType, record: np.void) -> Any:
    """A readout as ISMRMRD stores it: its header, and its samples (coils, X) as pairs of float32."""
    line = ismrmrd.Acquisition(record["head"])
    line.data[:] = record["data"].view(np.complex64).reshape(line.data.shape)
    return line


def is_image(ismrmrd: ModuleType, line: Any) -> bool:
    """Whether a readout belongs to the image, and not to noise, navigators, calibration or corrections."""
    return not any(line.is_flag_set(getattr(ismrmrd, f"ACQ_IS_{kind}")) for kind in NOT_IMAGES)


def assemble(ismrmrd: ModuleType, lines: list[Any], encoding: Any, path: Path) -> Iterator[np.ndarray]:
    """k-space (Z, C, Y, X), complex64, with DC in the middle, of each slice, phase, contrast, ... of Cartesian readouts.

    Repeated readouts are averaged; an asymmetric echo or partial Fourier is filled with zeros; of a three-dimensional
    scan the third axis is transformed to the image.

    Raises:
        InputError: no readout at all, a matrix larger than half of the memory, or lines are missing between the outermost
            ones: an accelerated scan.
    """
    size, limits = encoding.encodedSpace.matrixSize, encoding.encodingLimits
    groups = defaultdict(list)
    for line in lines:
        i = line.idx
        groups[i.slice, i.contrast, i.phase, i.repetition, i.set].append(line)
    if not groups:
        raise InputError(f"{path} has no readout of an image: expected some; leave the file out")
    for matrix in (size, encoding.reconSpace.matrixSize):
        _check_size(matrix, lines[0].active_channels, path)
    centres = [getattr(limits, f"kspace_encoding_step_{axis}") for axis in (1, 2)]
    shift_y, shift_z = (n // 2 - (limit.center if limit else n // 2) for limit, n in zip(centres, (size.y, size.z)))
    for _, group in sorted(groups.items()):
        k = np.zeros((size.z, group[0].active_channels, size.y, size.x), np.complex64)
        count = np.zeros((size.z, size.y), int)
        for line in group:
            y, z = line.idx.kspace_encode_step_1 + shift_y, line.idx.kspace_encode_step_2 + shift_z
            _add(ismrmrd, line, k, y, z, path)
            count[z, y] += 1
        sampled = count > 0
        if missing := gaps(np.any(sampled, 1)) + sum(gaps(row) for row in sampled):
            raise InputError(
                f"{path} lacks {missing} lines between those that were measured: expected a fully sampled scan; an "
                "accelerated one has no target to learn from; leave the file out"
            )
        k /= np.maximum(count, 1)[:, None, :, None]
        yield np.fft.fftshift(np.fft.ifft(np.fft.ifftshift(k, 0), axis=0, norm="ortho"), 0) if size.z > 1 else k


def _add(ismrmrd: ModuleType, line: Any, k: np.ndarray, y: int, z: int, path: Path) -> None:
    """Add a readout to k-space (Z, C, Y, X) where it belongs."""
    samples = line.data[:, ::-1] if line.is_flag_set(ismrmrd.ACQ_IS_REVERSE) else line.data
    depth, _, height, width = k.shape
    x = width // 2 - line.center_sample
    if not (0 <= y < height and 0 <= z < depth and 0 <= x <= width - samples.shape[1]):
        raise InputError(
            f"{path} has {samples.shape[1]} samples at column {x}, line {y}, partition {z}: expected them inside the "
            f"encoded matrix {width} x {height} x {depth}; correct the header"
        )
    k[z, :, y, x : x + samples.shape[1]] += samples


def _check_size(matrix: Any, channels: int, path: Path) -> None:
    size = 8 * channels * math.prod((matrix.x, matrix.y, matrix.z))
    if size > psutil.virtual_memory().total // 2:
        raise InputError(
            f"{path} says a matrix of {matrix.x} x {matrix.y} x {matrix.z}, {size / 2**30:.3g} GiB for {channels} coils: "
            "expected at most half of this machine's memory; correct the header"
        )


def gaps(sampled: np.ndarray) -> int:
    """How many entries between the first and the last sampled one are not sampled."""
    places = np.flatnonzero(sampled)
    return int(places[-1] + 1 - places[0] - len(places)) if len(places) else 0

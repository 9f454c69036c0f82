"""The one way to read HDF5: plain arrays out of files that anybody wrote and anything may have happened to.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> import h5py
>>> from kdrecon.storage import hdf5
>>> with TemporaryDirectory() as folder:
...     path = Path(folder) / "1.h5"
...     with h5py.File(path, "w") as file:
...         file["volfs"] = [[1, 2], [3, 4]]
...     with hdf5.opened(path) as file:
...         file["volfs"].shape, file["volfs"][0]
((2, 2), array([1, 2]))
"""

import contextlib
import io
import math
import re
import struct
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import h5py
import numpy as np
import psutil

from kdrecon.errors import InputError, bare, first_line, shortened, shown

HEAP = re.compile(b"GCOL\1")  # how a global heap begins, where texts and arrays of varying length are stored
METADATA = 2**20  # bytes of metadata that libhdf5 reads at once, at most
PAIRS = (("r", "i"), ("real", "imag"))  # the fields of complex numbers as h5py and as MATLAB and ISMRMRD write them


@contextlib.contextmanager
def opened(path: Path) -> Iterator["File"]:
    """An HDF5 file, open for reading without a lock, which network file systems may not have.

    Raises:
        InputError: there is no regular file, or it is not HDF5 or damaged; here or whenever something of it is read.
    """
    with _refusing(path):
        if not path.is_file():
            what = "is not a regular file" if path.exists() else "does not exist"
            raise InputError(f"{path} {what}: expected an HDF5 file (.h5); check the path")
        stream = _Stream(io.FileIO(path))
    with stream:
        with _refusing(path):
            handle = h5py.File(stream, "r")
        try:
            yield File(path, handle)
        finally:
            with _refusing(path):
                handle.close()


class _Stream(io.BufferedReader):
    """The bytes of a file for libhdf5, which would walk for ever over a global heap where an object is followed by itself."""

    def readinto(self, buffer: Any) -> int:
        start, count = self.tell(), super().readinto(buffer)
        for heap in HEAP.finditer(memoryview(buffer)[:METADATA]):
            self._check_heap(start + heap.start())
        if count < len(buffer):
            raise OSError("it ends too early")
        return count

    def _check_heap(self, place: int) -> None:
        """Follow the objects: index (0 is free space), references, nothing, size; then, with an index, their content."""
        (size,) = struct.unpack("<8xQ", self._header(place))
        end, place = place + size, place + 16
        while place + 16 <= end and (header := self._header(place)):
            index, size = struct.unpack("<H6xQ", header)
            step = (16 + (size + 7) // 8 * 8 if index else size) % 2**64
            if not step:
                raise OSError("a global heap without an end")
            place += step

    def _header(self, place: int) -> bytes:
        """16 bytes of the file; none where it ends."""
        self.seek(place)
        header = self.read(16)
        return header if len(header) == 16 else b""


class File:
    """What :func:`opened` gives: names, arrays and attributes. Links are not followed, neither here nor to other files."""

    def __init__(self, path: Path, handle: h5py.File):
        self.path, self._handle = path, handle

    @property
    def names(self) -> list[str]:
        """Names of what the file holds, arrays or not."""
        with _refusing(self.path):
            return list(self._handle)

    @property
    def found(self) -> str:
        """The first names, for messages."""
        names = self.names
        return ", ".join([*map(bare, names[:8])] + [f"and {len(names) - 8} more"] * (len(names) > 8)) or "nothing"

    @property
    def attributes(self) -> dict:
        """The file's attributes, text decoded."""
        with _refusing(self.path):
            return {name: _decoded(value) for name, value in self._handle.attrs.items()}

    def __contains__(self, name: str) -> bool:
        with _refusing(self.path):
            return self._find(name) is not None

    def __getitem__(self, name: str) -> "Array":
        """A numeric array of the file.

        Raises:
            InputError: it is missing, a link, a group, no numbers, stored in other files, never written, or larger than
                half of the memory.
        """
        return Array(self.path, name, self._dataset(name))

    def kspace(self, name: str) -> "Array":
        """A complex array; a real one of at least four axes, the last of size 2, is taken as real and imaginary parts."""
        array = self[name]
        pairs = array.dtype.kind in "fiu" and len(array.shape) > 3 and array.shape[-1] == 2
        return Array(self.path, name, self._dataset(name), last_axis=True) if pairs else array

    def text(self, name: str) -> str:
        """The first, or only, string of an array of strings."""
        with _refusing(self.path):
            value = self._complete(name)[()]
            return text(_decoded(value if isinstance(value, str | bytes) else np.ravel(value)[:1]))

    def records(self, name: str) -> np.ndarray:
        """An array of records, such as the readouts of ISMRMRD, as it is stored."""
        with _refusing(self.path):
            return self._complete(name)[()]

    def _complete(self, name: str) -> h5py.Dataset:
        """A dataset none of whose texts and fields of varying length says that it is longer than the file.

        Where it is filtered, the filters' checksums have to do.
        """
        dataset, room = self._dataset(name), self.path.stat().st_size
        kind, filters = dataset.id.get_type(), dataset.id.get_create_plist().get_nfilters()
        places = [] if filters else list(_varying(kind))
        for stored in _stored(self.path, dataset) if places else ():
            for place, size in places:
                counts = stored[:, place : place + 4].copy().view("<u4")
                if (longest := int(counts.max(initial=0)) * size) > room:
                    raise InputError(
                        f"{self.path}: {name} says that one of its entries has {longest} bytes: expected no more than the "
                        f"file, {room}; get it again, or write it anew"
                    )
        return dataset

    def _find(self, name: str) -> tuple[h5py.Group, bytes] | None:
        """The group that holds the last part of a path such as dataset/data, and that part."""
        group, (*parents, last) = self._handle, [part.encode("utf-8", "surrogateescape") for part in name.split("/")]
        for part in parents:
            group = group[part] if group.id.links.exists(part) and _is_hard(group, part) else None
            if not isinstance(group, h5py.Group):
                return None
        return (group, last) if group.id.links.exists(last) else None

    def _dataset(self, name: str) -> h5py.Dataset:
        with _refusing(self.path):
            if not (place := self._find(name)):
                raise InputError(
                    f"{self.path} has no dataset {shown(name)} (found: {self.found}): expected it; check the file"
                )
            dataset = place[0][place[1]] if _is_hard(*place) else None
            if not isinstance(dataset, h5py.Dataset) or dataset.shape is None:
                empty = isinstance(dataset, h5py.Dataset)
                what = "a link" if dataset is None else "empty" if empty else "a group or a type"
                raise InputError(
                    f"{self.path}: {bare(name)} is {what}: expected an array; store the values under this name"
                )
            if dataset.is_virtual or dataset.external:
                raise InputError(
                    f"{self.path}: {bare(name)} lies in other files: expected its values here; store them in it"
                )
            size = math.prod(dataset.shape) * dataset.dtype.itemsize
            chunk = math.prod(dataset.chunks or ()) * dataset.dtype.itemsize
            if max(size, chunk) > psutil.virtual_memory().total // 2:
                raise InputError(
                    f"{self.path}: {bare(name)} is of shape {dataset.shape}, {size / 2**30:.3g} GiB: expected at most half "
                    "of this machine's memory; cut it into several files, or get the file again"
                )
            if size and not dataset.id.get_storage_size():
                raise InputError(f"{self.path}: {bare(name)} was never written: expected values; get the file again")
            return dataset


class Array:
    """A numeric array of an open file, read by indexing, in this machine's byte order.

    Attributes:
        shape, dtype: of what is read; pairs of a real and an imaginary part are complex numbers.
    """

    def __init__(self, path: Path, name: str, dataset: h5py.Dataset, last_axis: bool = False):
        with _refusing(path):
            self._path, self._dataset, self._last_axis = path, dataset, last_axis
            self.shape = dataset.shape[:-1] if last_axis else dataset.shape
            self._fields = next((pair for pair in PAIRS if set(dataset.dtype.names or ()) == set(pair)), None)
            part = dataset.dtype[self._fields[0]] if self._fields else dataset.dtype
        if part.kind not in "biufc" or (self._fields and part.kind == "c"):
            raise InputError(
                f"{path}: {shown(name)} is of type {shortened(str(dataset.dtype))}: expected numbers; store "
                "them as plain numbers"
            )
        if last_axis or self._fields:
            self.dtype = np.result_type(part.newbyteorder("="), np.complex64)
        else:
            self.dtype = part.newbyteorder("=")

    def __getitem__(self, key: Any) -> np.ndarray:
        with _refusing(self._path):
            stored = self._dataset[key]
            if not (self._fields or self._last_axis):
                return np.asarray(stored, self.dtype)
            parts = [stored[name] for name in self._fields] if self._fields else np.moveaxis(stored, -1, 0)
            values = np.empty(np.shape(parts[0]), self.dtype)
            values.real, values.imag = parts
            return values


def text(value: Any, default: str = "") -> str:
    """An attribute as text: an array of one element is that element, and what is absent or empty the default."""
    if value is None or isinstance(value, h5py.Empty):
        return default
    return ", ".join(map(str, np.ravel(value))) or default


def stamp(path: Path) -> tuple[int, int] | None:
    """Size in bytes and time of the last change in ns of a file: another stamp, another file. None where there is none."""
    try:
        status = path.stat()
    except OSError:
        return None
    return status.st_size, status.st_mtime_ns


def _varying(kind: h5py.h5t.TypeID, place: int = 0) -> Iterator[tuple[int, int]]:
    """Where in a stored record the parts of varying length stand, and the size of one of their elements in bytes."""
    if isinstance(kind, h5py.h5t.TypeCompoundID):
        for i in range(kind.get_nmembers()):
            yield from _varying(kind.get_member_type(i), place + kind.get_member_offset(i))
    elif isinstance(kind, h5py.h5t.TypeVlenID):
        yield place, kind.get_super().get_size()
    elif isinstance(kind, h5py.h5t.TypeStringID) and kind.is_variable_str():
        yield place, 1


def _stored(path: Path, dataset: h5py.Dataset) -> Iterator[np.ndarray]:
    """The entries of an array without filters as they lie in the file, (entries, bytes), uint8, chunk by chunk."""
    size, starts = dataset.id.get_type().get_size(), [dataset.id.get_offset()]
    if dataset.chunks:
        starts = []
        dataset.id.chunk_iter(lambda chunk: starts.append(chunk.byte_offset))
    with open(path, "rb") as file:
        for start in filter(None, starts):
            file.seek(start)
            yield np.frombuffer(file.read(size * math.prod(dataset.chunks or dataset.shape)), np.uint8).reshape(
                -1, size
            )


def _is_hard(group: h5py.Group, name: bytes) -> bool:
    return group.id.links.get_info(name).type == h5py.h5l.TYPE_HARD


def _decoded(value: Any) -> Any:
    """Bytes as text, alone or in an array; text that is not UTF-8 counts as Latin-1."""
    if isinstance(value, str):
        value = value.encode("utf-8", "surrogateescape")
    if isinstance(value, bytes):
        try:
            return value.decode("utf-8")
        except UnicodeDecodeError:
            return value.decode("latin-1")
    if isinstance(value, np.ndarray) and value.dtype.kind in "SO":
        return np.array([_decoded(one) for one in value.flat], object).reshape(value.shape)
    return value


@contextlib.contextmanager
def _refusing(path: Path) -> Iterator[None]:
    """Whatever h5py raises over a file, which may be any error where it is damaged, as one InputError."""
    try:
        yield
    except InputError:
        raise
    except Exception as error:
        raise InputError(
            f"{path} cannot be read as HDF5 ({first_line(error)}): expected an intact file; get it again, or write it anew"
        ) from error

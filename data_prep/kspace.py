"""Readers of measured k-space: Calgary-Campinas, fastMRI, and raw Cartesian data in the ISMRMRD format.

>>> from pathlib import Path
>>> from data_prep.kspace import FastMRI
>>> FastMRI(Path("scans"), raw=True).size
(640, 368)
"""

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, ClassVar
from xml.etree import ElementTree

import numpy as np
import typer

from data_prep import readouts
from data_prep.source import Passed, Scan, Source, Volume, find, optional_import, subject_of
from kdrecon import storage
from kdrecon.errors import InputError

Raw = Annotated[bool, typer.Option("--raw", help="keep the measured k-space of the coils beside the images")]
PARTS = {"train": "train", "val": "validation", "validation": "validation", "test": "test"}


def fully_sampled(k: np.ndarray, path: Path, centred: bool = True) -> np.ndarray:
    """k-space (C, H, W) of a slice as it is, refused where it lacks points between the measured ones.

    What is zero as far as an edge, with DC in the middle, is partial Fourier or padding, and stays.

    Raises:
        InputError: rows or columns are missing between the outermost ones, or more than a twentieth of the points are.
    """
    sampled = np.any(k, 0) if centred else np.fft.fftshift(np.any(k, 0))
    lines = readouts.gaps(np.any(sampled, 1)) + readouts.gaps(np.any(sampled, 0))
    points = sum(readouts.gaps(row) for row in sampled)
    if lines or points > 0.05 * sampled.size:
        raise InputError(
            f"{path} lacks points between those that were measured, {np.mean(~sampled):.0%} of all in a slice: expected a "
            "fully sampled scan; an undersampled one has no target to learn from; leave the file out"
        )
    return k


def part_of(path: Path) -> str:
    """The official split that the folder of a file is named after: Train, multicoil_val, ...; "" for none."""
    match = re.search(r"(?:^|_)(train|val|validation|test)$", path.parent.name.lower())
    return PARTS[match[1]] if match else ""


@dataclass(frozen=True)
class Calgary(Source):
    """Calgary-Campinas complex-valued brain volumes (.npy): k-space or images, one or several channels."""

    dataset: ClassVar[str] = "calgary"
    layout: ClassVar[str] = "{Train,Val,Test}/*.npy, complex (S, H, W) or (S, H, W, 2 x channels)"

    def scans(self, passed: Passed | None = None) -> Iterator[Scan | InputError]:
        for path in find(self.folder, lambda path: path.suffix == ".npy", passed):
            yield path if isinstance(path, InputError) else Scan(path.stem, (path,), "volume", part_of(path))

    def read(self, scan: Scan) -> Volume:
        import torch

        from data_prep.coils import coil_images, combine, domain_of

        (path,) = scan.files
        stored = np.load(path, mmap_mode="r", allow_pickle=False)
        pairs = stored.ndim == 4 and not np.iscomplexobj(stored) and stored.shape[3] % 2 == 0
        if not pairs and not (stored.ndim == 3 and np.iscomplexobj(stored)):
            raise InputError(
                f"{path} holds {stored.dtype} {stored.shape}: expected complex (S, H, W), or real and imaginary parts in "
                "turn, (S, H, W, 2 x channels)"
            )
        domain = domain_of(self._coils(stored[len(stored) // 2]))
        coils = (self._coils(one) for one in stored)
        if domain == "image":
            return combine(map(torch.from_numpy, coils), (), raw=False)
        dc = domain == "centred"
        return combine((coil_images(fully_sampled(one, path, dc), dc) for one in coils), (), raw=False)

    @staticmethod
    def _coils(one: np.ndarray) -> np.ndarray:
        """A stored slice as (C, H, W), complex64."""
        coils = one[None] if one.ndim == 2 else np.moveaxis(one[..., ::2] + 1j * one[..., 1::2], 2, 0)
        return np.array(coils, np.complex64)


@dataclass(frozen=True)
class FastMRI(Source):
    """fastMRI single- or multi-coil k-space (.h5): root-sum-of-squares images, split by patient as published."""

    raw: Raw = False
    dataset: ClassVar[str] = "knee"
    size: ClassVar[tuple[int, ...]] = (640, 368)
    split: ClassVar[str] = "official"
    layout: ClassVar[str] = (
        "{multicoil,singlecoil}_{train,val}/*.h5; those of the test sets are undersampled and passed over"
    )

    def scans(self, passed: Passed | None = None) -> Iterator[Scan | InputError]:
        passed = {} if passed is None else passed
        for path in find(self.folder, lambda path: path.suffix == ".h5", passed):
            if isinstance(path, InputError):
                yield path
                continue
            try:
                with storage.hdf5.opened(path) as file:
                    if "kspace" not in file or "mask" in file:
                        passed[path] = "undersampled files" if "mask" in file else "HDF5 files without kspace"
                        continue
                    patient = storage.hdf5.text(file.attributes.get("patient_id"), path.stem)
                yield Scan(patient, (path,), "", part_of(path))
            except InputError as error:
                yield error

    def read(self, scan: Scan) -> Volume:
        from data_prep.coils import coil_images, combine

        with storage.hdf5.opened(scan.files[0]) as file:
            k = file.kspace("kspace")
            if k.dtype.kind != "c" or len(k.shape) not in (3, 4) or 0 in k.shape:
                raise InputError(
                    f"{file.path}: kspace is {k.dtype} {k.shape}: expected complex (S, H, W) or (S, coils, H, W), or real "
                    "and imaginary part along one more axis of 2; leave the file out"
                )
            coils = (k[i] if len(k.shape) == 4 else k[i][None] for i in range(k.shape[0]))
            slices = (coil_images(fully_sampled(one, file.path)) for one in coils)
            return combine(slices, self._voxel(file), self.raw)

    @staticmethod
    def _voxel(file: "storage.hdf5.File") -> tuple[float, ...]:
        if "ismrmrd_header" not in file:
            return ()
        header = ElementTree.fromstring(file.text("ismrmrd_header"))
        view, matrix = (
            [header.findtext(f".//{{*}}encodedSpace/{{*}}{kind}/{{*}}{axis}", "") for axis in "xyz"]
            for kind in ("fieldOfView_mm", "matrixSize")
        )
        return tuple(float(v) / float(m) for v, m in zip(view, matrix)) if all(view + matrix) else ()


@dataclass(frozen=True)
class Ismrmrd(Source):
    """Raw Cartesian data in the ISMRMRD format (.h5, .mrd), fully sampled. Needs ismrmrd."""

    raw: Raw = False
    dataset: ClassVar[str] = "ismrmrd"
    layout: ClassVar[str] = "*.h5 or *.mrd that hold dataset/xml and dataset/data"

    def scans(self, passed: Passed | None = None) -> Iterator[Scan | InputError]:
        passed = {} if passed is None else passed
        for path in find(self.folder, lambda path: path.suffix in (".h5", ".mrd"), passed):
            if isinstance(path, InputError):
                yield path
                continue
            try:
                with storage.hdf5.opened(path) as file:
                    if not readouts.is_raw(file):
                        passed[path] = "HDF5 files without dataset/xml and dataset/data"
                        continue
                    header = readouts.header(file)
                patient = header.findtext(".//{*}patientID") or subject_of(path, self.folder, "")
                yield Scan(patient, (path,)) if isinstance(patient, str) else patient
            except InputError as error:
                yield error

    def read(self, scan: Scan) -> Volume:
        from data_prep.coils import coil_images, combine, fit

        ismrmrd = optional_import("ismrmrd")
        (path,) = scan.files
        with storage.hdf5.opened(path) as file:
            encoding, lines = readouts.read_lines(ismrmrd, file)
        recon = encoding.reconSpace
        volumes = readouts.assemble(ismrmrd, lines, encoding, path)
        slices = (
            fit(coil_images(plane), (recon.matrixSize.y, recon.matrixSize.x))
            for volume in volumes
            for plane in readouts.planes(volume, path)
        )
        view, matrix = recon.fieldOfView_mm, recon.matrixSize
        return combine(slices, (view.y / matrix.y, view.x / matrix.x, view.z / matrix.z), self.raw)

"""What evaluations leave in the folders of a run: metrics.csv and results/, written, read and checked.

>>> from pathlib import Path
>>> from kdrecon.results.archive import damaged
>>> damaged(Path("run"))
[]
"""

import os
from collections import defaultdict
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from functools import cached_property, lru_cache
from pathlib import Path

import h5py
import numpy as np
import pandas as pd

from kdrecon.data.images import Values, image_faults
from kdrecon.errors import InputError
from kdrecon.metrics import METRICS
from kdrecon.results.names import Identity
from kdrecon.runs.record import REMEDY, Evaluation, Record, read_record, require_record
from kdrecon.storage import hdf5
from kdrecon.storage.files import replacing, visible
from kdrecon.storage.records import read_table

LARGEST = 20_000  # networks that are kept in memory once they are read
Stamp = tuple[int, int, int] | None


@dataclass(frozen=True, eq=False)
class EvaluatedNetwork:
    """An evaluated experiment of a run: folder, record, and scores with a row a slice."""

    folder: Path
    record: Record
    evaluation: Evaluation
    scores: pd.DataFrame

    @cached_property
    def identity(self) -> Identity:
        """What makes it what it is, without its seed."""
        return Identity.of(self.record, self.evaluation)

    @cached_property
    def seed(self) -> int:
        """That of its training."""
        return self.record.experiment.seed

    @property
    def gradient_ratio(self) -> float | None:
        """|grad w L_KD| / |grad L_rec| at the first training step of a distilled student.

        None for other networks, where the two are not trained together, or where the record does not hold them.
        """
        norms = self.record.gradient_norms
        if not norms.get("reconstruction") or "distillation" not in norms:
            return None
        return norms["distillation"] / norms["reconstruction"]


def evaluated(run_root: Path) -> list[EvaluatedNetwork]:
    """The evaluated experiments of a run, the baseline among them, without those that :func:`damaged` names.

    Raises:
        InputError: the folder holds no evaluated experiment.
    """
    found = [network for network in _networks(run_root) if not isinstance(network, InputError)]
    if not found:
        raise InputError(
            f"{run_root} holds no evaluated experiment: expected experiments/*/acc_*/*/metrics.csv; run first"
        )
    return found


def damaged(run_root: Path) -> list[str]:
    """What cannot be read of the experiments of a run, each with its remedy."""
    return [str(network) for network in _networks(run_root) if isinstance(network, InputError)]


def grouped(networks: Iterable[EvaluatedNetwork], per_seed: bool = False) -> list[list[EvaluatedNetwork]]:
    """Networks that differ in the seed alone together, or, per seed, each alone, in the order in which tables are read."""
    groups: dict[tuple[Identity, int | None], list[EvaluatedNetwork]] = defaultdict(list)
    for network in networks:
        groups[network.identity, network.seed if per_seed else None].append(network)
    return sorted(groups.values(), key=lambda group: group[0].identity.reading_order)


def _networks(run_root: Path) -> Iterator[EvaluatedNetwork | InputError]:
    for folder in sorted(Path(run_root).glob("experiments/*/acc_*/*/")):
        stamps = tuple(_stamp(folder / name) for name in ("config.json", "metrics.csv"))
        if found := _network(folder.absolute(), os.path.exists(folder / "best_model.pt"), stamps):
            yield found


@lru_cache(LARGEST)
def _network(folder: Path, trained: bool, stamps: tuple[Stamp, ...]) -> EvaluatedNetwork | InputError | None:
    """The network of a folder, read once as long as its files stay as they are: the tables of a run all ask for it."""
    try:
        record = require_record(folder) if trained else read_record(folder)
        if record and record.evaluation:
            return EvaluatedNetwork(folder, record, record.evaluation, read_metrics(folder))
        if record and stamps[1]:
            raise InputError(
                f"{folder / 'metrics.csv'}: config.json beside it does not say of which weights and data it is: expected its "
                f"evaluation; delete metrics.csv and {REMEDY}"
            )
        return None
    except InputError as error:
        return error


def _stamp(path: Path) -> Stamp:
    try:
        found = os.stat(path)
    except OSError:
        return None
    return found.st_ino, found.st_mtime_ns, found.st_size


def read_metrics(folder: Path) -> pd.DataFrame:
    """The metrics.csv of an experiment: volume, slice, subject, and a column a metric; a row a slice.

    Raises:
        InputError: it cannot be read, lacks a column, or has no row.
    """
    columns = {"volume": str, "slice": int, "subject": str} | dict.fromkeys(METRICS, float)
    try:
        table = read_table(folder / "metrics.csv", columns)
        if table.empty:
            raise InputError(f"{folder / 'metrics.csv'} has no row: expected one a slice")
    except InputError as error:
        raise InputError(f"{error}; or {REMEDY}") from None
    return table


def write_result(path: Path, target: np.ndarray, reconstruction: np.ndarray, subject: str) -> None:
    """Write target and reconstruction (S, H, W) of a volume, with the subject as an attribute."""
    with replacing(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        for name, images in {"reconstruction": reconstruction, "target": target}.items():
            file.create_dataset(name, data=images, compression="gzip", shuffle=True)
        file.attrs["subject"] = subject


def read_results(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Target and reconstruction (S, H, W) of each volume.

    Raises:
        InputError: there is no file, or one that does not hold both as real and finite images of equal shape.
    """
    remedy = f"delete metrics.csv beside it and {REMEDY}"
    if not (paths := visible(folder)):
        raise InputError(f"{folder} holds no .h5 file: expected the reconstructions; {remedy}")
    for path in paths:
        try:
            with hdf5.opened(path) as file:
                target, reconstruction = (read_images(file, name) for name in ("target", "reconstruction"))
        except InputError as error:
            raise InputError(f"{error}; {remedy}") from None
        if target.shape != reconstruction.shape:
            raise InputError(
                f"{path} holds {target.shape} and {reconstruction.shape}: expected equal (S, H, W); {remedy}"
            )
        yield target, reconstruction


def read_images(file: hdf5.File, name: str) -> np.ndarray:
    """Images (S, H, W) of a file of results, real and finite.

    Raises:
        InputError: they are missing, or others than that.
    """
    if name not in file:
        raise InputError(f"{file.path} has no dataset {name!r} (found: {file.found}): expected images (S, H, W)")
    images = file[name][()]
    for fault in image_faults(images, lambda: Values.of([images]), negative=None):
        raise InputError(f"{file.path}: {name} {fault.found}: expected {fault.expected}")
    return images

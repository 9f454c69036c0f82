"""Finished studies that ship with the repository: their tables, small enough to be kept, without networks and images.

>>> from kdrecon.results.studies import FILES
>>> FILES
('about.json', 'summary.csv', 'comparisons.csv', 'slices.csv.gz')
"""

import gzip
import json
from collections import defaultdict
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pandas as pd

from kdrecon.choices import BASELINES
from kdrecon.errors import InputError, shown
from kdrecon.metrics import HFN, MSE, PSNR, SSIM, VIF
from kdrecon.results.archive import EvaluatedNetwork, evaluated, grouped
from kdrecon.results.comparisons import comparisons
from kdrecon.results.names import PLACE, kind_name
from kdrecon.results.references import configurations
from kdrecon.results.statistics import SLICE
from kdrecon.results.study_page import page
from kdrecon.results.tables import summary
from kdrecon.storage.files import replacing, visible, write_json, write_text
from kdrecon.storage.places import shipped_studies
from kdrecon.storage.records import read_json

FILES = ("about.json", "summary.csv", "comparisons.csv", "slices.csv.gz")
PAGE = "README.md"
DIGITS = 6  # significant ones, of all figures
TEXT = (  # columns whose empty cells are empty texts
    "dataset", "acceleration", "split", "slices", "name", "model", "network", "teacher", "method", "init", "teacher_origin",
    "data", "origin", "precision", "layout", "best_epoch", "against", "reference", "metric", "about", "verdict", "note",
    "curve", "volume", "subject",
)  # fmt: skip


@dataclass(frozen=True)
class ShippedStudy:
    """The tables of a finished study.

    Attributes:
        about: "matrix" (the file's name), "networks" (how many are in the tables), "left" (what the matrix asks for and the
            tables lack), and "trainings": of each machine and version that trained some "device", "precision",
            "environment", "networks" and "hours", the time of their trainings added up, also of those side by side.
        summary: of :func:`kdrecon.results.tables.summary`, and "name", as the other two tables call a network.
        comparisons: of :func:`kdrecon.results.comparisons.comparisons`.
        slices: a row a slice of each network and seed: where (the columns of :data:`kdrecon.results.names.PLACE`),
            network, seed, volume, slice, subject, psnr in dB, ssim, mse, hfn, vif.
    """

    about: dict[str, Any]
    summary: pd.DataFrame
    comparisons: pd.DataFrame
    slices: pd.DataFrame


def shipped_study(name: str) -> ShippedStudy:
    """The tables of a study that ships with the repository.

    Args:
        name: of a folder in docs/study, such as "course".

    Raises:
        InputError: there is no such study, or no checkout of the repository.
    """
    root = shipped_studies()
    known = {path.name: path for path in visible(root, "*/")}
    if name not in known:
        raise InputError(f"study {shown(name)}: expected one of {', '.join(known)}; check the name")
    return read_study(known[name])


def read_study(folder: Path) -> ShippedStudy:
    """The tables that :func:`export_study` wrote.

    Raises:
        InputError: a file is missing.
    """
    for name in FILES:
        if not (folder / name).is_file():
            raise InputError(f"{folder} has no {name}: expected it; kdrecon study --export writes it")
    tables = (pd.read_csv(folder / name, **_kinds_of_columns(folder / name)) for name in FILES[1:])
    return ShippedStudy(read_json(folder / FILES[0]) or {}, *tables)


def export_study(run_root: Path, folder: Path, about: Mapping[str, Any]) -> ShippedStudy:
    """Write the tables of a study's networks to a folder, in round figures, and return them.

    Args:
        run_root: folder of the study.
        folder: that gets :data:`FILES`, and a page that shows them, :data:`PAGE`.
        about: what stands in about.json besides.

    Raises:
        InputError: no evaluated experiment, or the folder cannot be written.
    """
    networks = evaluated(run_root)
    names = {c.identity: c.name for c in configurations(run_root)}
    table = summary(run_root)
    table.insert(0, "name", [_name(group[0], names) for group in grouped(networks)])
    slices = pd.concat([_slices(network, names) for network in networks], ignore_index=True)
    trained = [network for network in networks if network.record.steps]
    known = {**about, "networks": len(trained), "trainings": _trainings(trained)}
    for name, written in zip(FILES[1:], (table, comparisons(run_root), slices)):
        text = written.to_csv(index=False, float_format=f"%.{DIGITS}g")
        if name.endswith(".gz"):
            with replacing(folder / name) as temporary:
                temporary.write_bytes(gzip.compress(text.encode(), mtime=0))
        else:
            write_text(folder / name, text)
    write_json(folder / FILES[0], known)
    study = read_study(folder)
    write_text(folder / PAGE, page(study.about, study.summary, study.comparisons, study.slices))
    return study


def _kinds_of_columns(path: Path) -> dict[str, Any]:
    """Arguments of pandas.read_csv by which texts stay texts, and other empty cells become NaN."""
    others = [name for name in pd.read_csv(path, nrows=0) if name not in TEXT]
    return {"dtype": dict.fromkeys(TEXT, str), "keep_default_na": False, "na_values": dict.fromkeys(others, [""])}


def _name(network: EvaluatedNetwork, names: Mapping[Any, str]) -> str:
    role = network.record.experiment.role
    return kind_name(role, "", "") if role in BASELINES else names[network.identity]


def _slices(network: EvaluatedNetwork, names: Mapping[Any, str]) -> pd.DataFrame:
    where = dict(zip(PLACE, network.identity.place)) | {"network": _name(network, names), "seed": network.seed}
    values = network.scores[[*SLICE, *(metric.name for metric in (PSNR, SSIM, MSE, HFN, VIF))]]
    return pd.DataFrame(where, values.index).join(values)


def _trainings(networks: list[EvaluatedNetwork]) -> list[dict[str, Any]]:
    """Who trained how many of the networks, and how long."""
    found: dict[str, list[float]] = defaultdict(list)
    for network in networks:
        record = network.record
        told = {"device": record.others.get("device", ""), "environment": record.others.get("environment", {})}
        told["precision"] = record.precision
        found[json.dumps(told, sort_keys=True)].append(float(record.others.get("seconds", 0)))
    return [
        json.loads(told) | {"networks": len(seconds), "hours": round(sum(seconds) / 3600, 2)}
        for told, seconds in sorted(found.items())
    ]

"""The tables of a run, as numbers: a row a network or a configuration.

>>> from pathlib import Path
>>> from kdrecon.results.tables import summary
>>> summary(Path("run"))
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: run holds no evaluated experiment: expected experiments/*/acc_*/*/metrics.csv; run first
"""

from collections.abc import Iterable
from pathlib import Path

import numpy as np
import pandas as pd

from kdrecon.errors import InputError
from kdrecon.metrics import METRICS
from kdrecon.results.archive import EvaluatedNetwork, evaluated, grouped, read_results
from kdrecon.results.evaluation import volume_score
from kdrecon.results.names import PLACE, network_names
from kdrecon.storage.files import write_table

FIRST = ("dataset", "acceleration", "resolution", "model", "network", "teacher", "method", "init")
LAST = ("slices", "data", "origin")
TRAINED = ("seed", "precision", "layout", "best_epoch", "parameters", "n", "gradient_ratio")  # no setting, nor a metric


def summary(run_root: Path, per_seed: bool = False) -> pd.DataFrame:
    """One row a configuration of a run: what it is, then mean and standard deviation over slices of each metric.

    Networks that differ in the seed alone share a row: means are means over seeds, ``psnr_sd`` and its siblings the
    spread over slices (the mean of the seeds'), and ``psnr_seed_sd`` and its siblings, where a run has several seeds,
    the standard deviation over seeds of the means.

    Args:
        run_root: folder of a run.
        per_seed: a row a network instead.

    Raises:
        InputError: the folder holds no evaluated experiment.
    """
    groups = grouped(evaluated(run_root), per_seed)
    several = any(len(group) > 1 for group in groups)
    return pd.DataFrame([_row(group, several) for group in groups])


def volume_wise(run_root: Path, left_out: list[str] | None = None) -> pd.DataFrame:
    """One row a network of a run: mean and standard deviation over volumes of :func:`volume_score`.

    Args:
        run_root: folder of a run.
        left_out: receives a message for each network whose reconstructions cannot be read; without it the first one is
            raised.

    Raises:
        InputError: no evaluated experiment, or one without its reconstructions.
    """
    found = sorted(evaluated(run_root), key=lambda network: network.identity.reading_order)
    names, rows = network_names([network.identity.columns for network in found]), []
    for network, name in zip(found, names):
        try:
            scores = pd.DataFrame([volume_score(*result) for result in read_results(network.folder / "results")])
        except InputError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
            continue
        row = {column: network.identity.columns[column] for column in PLACE if column != "slices"}
        row |= {"network": name, "seed": network.seed, "volumes": len(scores)}
        for metric in map(str, scores):
            row |= {metric: scores[metric].mean(), f"{metric}_sd": scores[metric].std()}
        rows.append(row)
    return pd.DataFrame(rows)


def settings(table: pd.DataFrame) -> list[str]:
    """The columns of a :func:`summary` that say what a network is, those of a newer version among them."""
    measured = {f"{metric}{kind}" for metric in METRICS for kind in ("", "_sd", "_seed_sd")}
    return [name for name in map(str, table) if name not in measured.union(TRAINED)]


def write_summary(run_root: Path) -> pd.DataFrame:
    """Write :func:`summary` to {run_root}/summary.csv and return it."""
    table = summary(run_root)
    write_table(table, Path(run_root) / "summary.csv")
    return table


def _row(networks: list[EvaluatedNetwork], several: bool) -> dict[str, object]:
    """The row of networks that differ in the seed alone; several: some row of the table has two seeds."""
    columns, records = networks[0].identity.columns, [network.record for network in networks]
    ratios = [network.gradient_ratio for network in networks if network.gradient_ratio is not None]
    return {
        **{name: columns[name] for name in FIRST},
        "seed": _joined(sorted(network.seed for network in networks)),
        **{name: value for name, value in columns.items() if name not in (*FIRST, "split", *LAST)},
        "precision": _joined(sorted({record.precision for record in records} - {""})),
        "layout": _joined(sorted({record.layout for record in records} - {""})),
        "best_epoch": _joined(record.best_epoch for record in records if record.best_epoch is not None),
        "parameters": records[0].parameters,
        "split": columns["split"],
        "n": len(networks[0].scores),
        **_quality([network.scores for network in networks], several),
        "gradient_ratio": np.mean(ratios) if ratios else "",
        **{name: columns[name] for name in LAST},
    }


def _quality(scores: list[pd.DataFrame], several: bool) -> dict[str, float]:
    """Mean and spreads of each metric over the slice-wise tables of several seeds."""
    row: dict[str, float] = {}
    for name in METRICS:
        means = [table[name].mean() for table in scores]
        row |= {name: float(np.mean(means)), f"{name}_sd": float(np.mean([table[name].std() for table in scores]))}
        if several:
            row[f"{name}_seed_sd"] = float(np.std(means, ddof=1)) if len(means) > 1 else np.nan
    return row


def _joined(values: Iterable[object]) -> str:
    return ", ".join(map(str, values))

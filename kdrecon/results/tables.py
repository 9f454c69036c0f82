"""The tables of a run: a row a network or a configuration."""

import json
from pathlib import Path

import numpy as np
import pandas as pd

from kdrecon.errors import InputError
from kdrecon.metrics import METRICS
from kdrecon.results.evaluation import evaluated, read_results, volume_score
from kdrecon.results.names import PLACE, identity, network_name, reading_order
from kdrecon.runs.record import Record
from kdrecon.storage.files import write_table


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
    groups: dict[str, list] = {}
    for _, record, scores in evaluated(run_root):
        key = json.dumps([identity(record), record.experiment.seed if per_seed else ""], sort_keys=True)
        groups.setdefault(key, []).append((record, scores))
    several = any(len(group) > 1 for group in groups.values())
    ordered = sorted(groups.values(), key=lambda group: reading_order(identity(group[0][0])))
    return pd.DataFrame([_row(group, several) for group in ordered])


def volume_wise(run_root: Path, left_out: list[str] | None = None) -> pd.DataFrame:
    """One row a network of a run: mean and standard deviation over volumes of :func:`volume_score`.

    Args:
        run_root: folder of a run.
        left_out: receives a message for each network whose reconstructions cannot be read; without it the first one is
            raised.

    Raises:
        InputError: no evaluated experiment, or one without its reconstructions.
    """
    found = sorted(evaluated(run_root), key=lambda network: reading_order(identity(network[1])))
    identities, rows = [identity(record) for _, record, _ in found], []
    for network, (folder, record, _) in zip(identities, found):
        try:
            scores = pd.DataFrame([volume_score(*result) for result in read_results(folder / "results")])
        except InputError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
            continue
        row = {key: network[key] for key in PLACE[:-1]}
        row |= {"network": network_name(network, identities), "seed": record.experiment.seed, "volumes": len(scores)}
        for name in scores:
            row |= {name: scores[name].mean(), f"{name}_sd": scores[name].std()}
        rows.append(row)
    return pd.DataFrame(rows)


def write_summary(run_root: Path) -> pd.DataFrame:
    """Write :func:`summary` to {run_root}/summary.csv and return it."""
    table = summary(run_root)
    write_table(table, Path(run_root) / "summary.csv")
    return table


def gradient_ratio(record: Record) -> float | str:
    """|grad w L_KD| / |grad L_rec| at the first training step of a distilled student, from its run record.

    "" for other networks, where the two are not trained together, or where the record does not hold them.
    """
    norms = record.gradient_norms
    if not norms.get("reconstruction") or "distillation" not in norms:
        return ""
    return norms["distillation"] / norms["reconstruction"]


def _row(networks: list[tuple[Record, pd.DataFrame]], several: bool) -> dict:
    """The row of a configuration: its networks differ in the seed alone; several: some configuration has two seeds."""
    record, scores = networks[0]
    settings = identity(record)
    first = ("dataset", "acceleration", "resolution", "model", "network", "teacher", "method", "init")
    last = ("split", "slices", "data", "origin")
    row = {name: settings[name] for name in first}
    row |= {"seed": ", ".join(str(seed) for seed in sorted(record.experiment.seed for record, _ in networks))}
    row |= {name: value for name, value in settings.items() if name not in first + last}
    for name in ("precision", "layout"):
        row[name] = ", ".join(sorted({getattr(found, name) for found, _ in networks} - {""}))
    row["best_epoch"] = ", ".join(str(found.best_epoch) for found, _ in networks if found.best_epoch is not None)
    row |= {"parameters": record.parameters, "split": settings["split"], "n": len(scores)}
    for name in METRICS:
        means = [scores[name].mean() for _, scores in networks]
        row |= {name: np.mean(means), f"{name}_sd": np.mean([scores[name].std() for _, scores in networks])}
        if several:
            row[f"{name}_seed_sd"] = np.std(means, ddof=1) if len(means) > 1 else np.nan
    ratios = [ratio for record, _ in networks if (ratio := gradient_ratio(record)) != ""]
    row["gradient_ratio"] = np.mean(ratios) if ratios else ""
    return row | {name: settings[name] for name in last[1:]}

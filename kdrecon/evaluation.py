"""Reconstruct, score, tabulate: every figure is a slice's, averaged over slices only in the tables."""

import os
from dataclasses import asdict
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from torch import nn

from kdrecon.data import Slices
from kdrecon.errors import InputError
from kdrecon.laboratory import Laboratory, Network, read_record, weights_hash
from kdrecon.metrics import METRICS
from kdrecon.presets import Switches
from kdrecon.training import write_json

ROLES = ("zero_filled", "teacher", "student", "sft_teacher", "control")


@torch.no_grad()
def reconstruct(model: nn.Module, slices: Slices, batch_size: int = 16) -> np.ndarray:
    """Reconstructions (N, H, W), float32, of all slices by a network in evaluation mode, in fp32."""
    model.eval()
    outputs = [model(batch.x_u, batch.y, batch.mask) for batch in slices.batches(batch_size)]
    return torch.cat(outputs)[:, 0].cpu().numpy()


def score(target: np.ndarray, prediction: np.ndarray) -> pd.DataFrame:
    """All metrics of :mod:`kdrecon.metrics`, a row a slice, for target and prediction (S, H, W)."""
    return pd.DataFrame({name: metric(target, prediction) for name, metric in METRICS.items()})


def evaluate(lab: Laboratory, network: Network) -> pd.DataFrame:
    """Score a network on the evaluation split, slice by slice, and keep everything in its experiment folder.

    Writes ``results/{volume}.h5`` (``reconstruction`` and ``target``, (S, H, W) float32), ``metrics.csv`` (a row a
    slice) and ``report.txt``. A second call reads them back, as long as weights and data are the same.

    Returns:
        a row a slice: volume, slice, subject, psnr, ssim, nmse, mse, hfn, vif.
    """
    slices, folder, record = lab.test, network.folder, read_record(network.folder)
    made_from = {"weights": weights_hash(network.model), "data": slices.fingerprint, "split": lab.evaluation_split}
    if record.get("evaluation") == made_from:
        return pd.read_csv(folder / "metrics.csv", dtype={"volume": str, "subject": str})
    target, prediction = slices.x[:, 0].cpu().numpy(), reconstruct(network.model, slices)
    place = pd.DataFrame({"volume": slices.volume, "slice": slices.index, "subject": slices.subject})
    table = pd.concat([place, score(target, prediction)], axis=1)
    (folder / "results").mkdir(exist_ok=True)
    for volume, rows in place.groupby("volume", sort=False).groups.items():
        _write_result(folder / "results" / f"{volume}.h5", target[rows], prediction[rows])
    table.to_csv(folder / "metrics.csv", index=False)
    (folder / "report.txt").write_text(_report(network, table, lab.evaluation_split))
    write_json(folder / "config.json", record | {"evaluation": made_from})
    return table


def summary(run_root: Path) -> pd.DataFrame:
    """One row a model of a run: what it is, then mean and standard deviation over slices of each metric.

    Raises:
        InputError: the folder holds no evaluated experiment.
    """
    rows = []
    for path in sorted(Path(run_root).glob("experiments/*/acc_*/*/config.json")):
        record = read_record(path.parent)
        if "evaluation" in record:
            rows.append(_row(record, pd.read_csv(path.parent / "metrics.csv")))
    if not rows:
        raise InputError(
            f"{run_root} holds no evaluated experiment: expected experiments/*/acc_*/*/metrics.csv; run first"
        )
    table = pd.DataFrame(rows)
    order = table.model.map(ROLES.index) + table.method.ne("") * len(ROLES) + table.teacher.eq("sft")
    keys = [table.dataset, table.acceleration, order, table.method, table.init, table.seed]
    return table.iloc[np.lexsort([key.to_numpy() for key in reversed(keys)])].reset_index(drop=True)


def write_summary(run_root: Path) -> pd.DataFrame:
    """Write :func:`summary` to {run_root}/summary.csv and return it."""
    table, path = summary(run_root), Path(run_root) / "summary.csv"
    table.to_csv(path.with_suffix(".partial"), index=False)
    os.replace(path.with_suffix(".partial"), path)
    return table


def quality_table(networks: dict[str, Network], scores: dict[str, pd.DataFrame], reference: str = "student") -> pd.DataFrame:
    """Mean +/- standard deviation over slices of each metric, a row a network, as formatted text.

    Args:
        networks: name -> network.
        scores: the same names -> a row a slice, as :func:`evaluate` returns it.
        reference: the network whose mean PSNR the last column subtracts, where both had the same number of
            epochs.
    """
    rows = {}
    for name, table in scores.items():
        epochs = networks[name].experiment.epochs
        gap = f"{round(table.psnr.mean() - scores[reference].psnr.mean(), 2) + 0.0:+.2f}"
        if epochs not in (0, networks[reference].experiment.epochs):
            gap = "other epochs"
        rows[name] = {
            "epochs": str(epochs or "-"),
            "PSNR (dB)": f"{table.psnr.mean():.2f} ± {table.psnr.std():.2f}",
            "SSIM": f"{table.ssim.mean():.4f} ± {table.ssim.std():.4f}",
            **{key.upper(): f"{table[key].mean():.4f}" for key in ("nmse", "hfn", "vif")},
            f"PSNR minus {reference} (dB)": "" if name == reference else gap,
        }
    return pd.DataFrame(rows).T


def method_name(key: str) -> str:
    """How papers write a distillation method: "at" -> "AT", "fitnets" -> "FitNets"."""
    return {"fitnets": "FitNets"}.get(key, key.upper())


def epochs_note(networks: dict[str, Network]) -> str:
    """Which networks may be compared: a sentence about the numbers of epochs they were trained for.

    Args:
        networks: name -> network.
    """
    groups: dict[int, list[str]] = {}
    for name, network in networks.items():
        if network.experiment.epochs:
            groups.setdefault(network.experiment.epochs, []).append(name)
    if len(groups) < 2:
        return f"All networks: {next(iter(groups), 0)} epochs."
    parts = "; ".join(f"{epochs} epochs: {', '.join(names)}" for epochs, names in sorted(groups.items()))
    return f"Note: only rows with equal epochs compare. {parts}."


def gradient_ratio(record: dict) -> float | str:
    """|grad w L_KD| / |grad L_rec| at the first training step of a distilled student, from its run record.

    "" for other networks, where the two are not trained together, or where the record does not hold them.
    """
    norms = record.get("gradient_norms", {})
    if not {"distillation", "reconstruction"} <= norms.keys():
        return ""
    return norms["distillation"] / norms["reconstruction"]


def _row(record: dict, table: pd.DataFrame) -> dict:
    config = record["config"]
    row = {key: config[key] for key in ("dataset", "acceleration", "resolution")}
    row |= {"model": config["role"], "network": config["model"], "parameters": record["parameters"]}
    row |= {key: config[key] for key in ("teacher", "teacher_origin", "method", "init", "seed")}
    row |= {key: config[key] for key in ("epochs", "batch_size", "lr")}
    switches = {name: default for name, default in asdict(Switches()).items() if name != "student_init"}
    row |= switches | {name: config[name] for name in switches if name in config}
    row |= {"split": record["evaluation"]["split"], "n": len(table)}
    for name in METRICS:
        row |= {name: table[name].mean(), f"{name}_sd": table[name].std()}
    return row | {"gradient_ratio": gradient_ratio(record), "origin": record.get("origin", "")}


def _write_result(path: Path, target: np.ndarray, reconstruction: np.ndarray) -> None:
    temporary = path.with_suffix(".partial")
    with h5py.File(temporary, "w") as file:
        for name, images in {"reconstruction": reconstruction, "target": target}.items():
            file.create_dataset(name, data=images, compression="gzip", shuffle=True)
    os.replace(temporary, path)


def _report(network: Network, table: pd.DataFrame, split: str) -> str:
    e = network.experiment
    lines = [
        f"{e.model} {e.model_type}: {e.dataset} {e.acceleration}, {e.resolution} x {e.resolution}, {split} split, "
        f"{len(table)} slices of {table.subject.nunique()} subject(s), {e.epochs} epochs, seed {e.seed}",
        "mean +/- standard deviation over slices; the data range is each slice's target maximum",
        *(f"{name:5s} {table[name].mean():.5g} +/- {table[name].std():.3g}" for name in METRICS),
    ]
    return "\n".join(lines) + "\n"

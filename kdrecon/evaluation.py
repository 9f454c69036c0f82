"""Reconstruct, score, tabulate: every figure is a slice's, averaged over slices only in the tables."""

import json
import os
from collections import Counter
from collections.abc import Iterator
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from torch import nn

from kdrecon import hdf5
from kdrecon.checkpoints import alone_in, as_text, replacing, write_json, write_text
from kdrecon.data import Slices, visible
from kdrecon.errors import InputError
from kdrecon.experiments import ROLES, Experiment, sides
from kdrecon.laboratory import Laboratory, Network, read_record, weights_hash
from kdrecon.metrics import METRICS
from kdrecon.records import read_table

REMEDY = "run again with its parameters, which writes it anew"
PATIENCE = 600.0  # seconds to wait for another process that evaluates the same network
PLACE = ("dataset", "acceleration", "resolution", "split", "slices")


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

    Writes ``results/{volume}.h5`` (``reconstruction`` and ``target``, (S, H, W) float32; attribute ``subject``),
    ``metrics.csv`` (a row a slice) and ``report.txt``. A second call reads them back, as long as weights and data are
    the same; where another process is evaluating the same network, it waits for that.

    Returns:
        a row a slice: volume, slice, subject, psnr, ssim, nmse, mse, hfn, vif.

    Raises:
        InputError: the folder cannot be written, or another process keeps it for ten minutes.
    """
    slices, folder = lab.test, network.folder
    made_from = {"weights": weights_hash(network.model), "data": slices.fingerprint, "split": lab.evaluation_split}
    if (table := _evaluated(folder, made_from)) is not None:
        return table
    with alone_in(folder, patience=PATIENCE):
        if (table := _evaluated(folder, made_from)) is not None:
            return table
        target, prediction = slices.x[:, 0].cpu().numpy(), reconstruct(network.model, slices)
        place = pd.DataFrame({"volume": slices.volume, "slice": slices.index, "subject": slices.subject})
        table = pd.concat([place, score(target, prediction)], axis=1)
        for volume, rows in place.groupby("volume", sort=False).groups.items():
            subject = place.subject[rows[0]]
            _write_result(folder / "results" / f"{volume}.h5", target[rows], prediction[rows], subject)
        write_table(table, folder / "metrics.csv")
        write_text(folder / "report.txt", _report(network, table, lab.evaluation_split, target.shape[1:]))
        write_json(folder / "config.json", read_record(folder) | {"evaluation": made_from})
    return table


def _evaluated(folder: Path, made_from: dict) -> pd.DataFrame | None:
    """The table of an earlier evaluation of the same weights and data; None where there is none that can be read."""
    if read_record(folder).get("evaluation") != made_from:
        return None
    try:
        return _read_metrics(folder)
    except InputError as error:
        print(f"{error}: evaluated anew")
        return None


def evaluated(run_root: Path) -> Iterator[tuple[Path, dict, pd.DataFrame]]:
    """Folder, run record and slice-wise table of each evaluated experiment of a run, the baseline among them.

    Those that :func:`damaged` names are left out.

    Raises:
        InputError: the folder holds no evaluated experiment.
    """
    found = [network for network in _networks(run_root) if not isinstance(network, InputError)]
    if not found:
        raise InputError(
            f"{run_root} holds no evaluated experiment: expected experiments/*/acc_*/*/metrics.csv; run first"
        )
    yield from found


def damaged(run_root: Path) -> list[str]:
    """What cannot be read of the experiments of a run, each with its remedy."""
    return [str(network) for network in _networks(run_root) if isinstance(network, InputError)]


def _networks(run_root: Path) -> Iterator[tuple[Path, dict, pd.DataFrame] | InputError]:
    for folder in sorted(Path(run_root).glob("experiments/*/acc_*/*/")):
        try:
            record = read_record(folder)
            if not record and os.path.exists(folder / "best_model.pt"):
                raise InputError(f"{folder} has lost its config.json: expected it there; {REMEDY}")
            if "evaluation" in record:
                yield folder, record, _read_metrics(folder)
        except InputError as error:
            yield error


def identity(record: dict) -> dict:
    """What makes a network what it is, without its seed: settings, training data, origin, and the slices it was scored on.

    A record of an older version lacks the newer settings: they had their defaults.
    """
    config = {"data": ""} | Experiment.from_record(record["config"]).record() | record["config"]
    settings = {name: value for name, value in config.items() if name not in ("model", "role", "seed", "weight")}
    scored = {"split": record["evaluation"]["split"], "slices": record["evaluation"]["data"]}
    return {
        "model": config["role"],
        "network": config["model"],
        **settings,
        **scored,
        "origin": record.get("origin", ""),
    }


def network_name(network: dict, others: list[dict]) -> str:
    """A short name for a network among others: its kind, then every setting in which it differs from the usual one.

    Args:
        network: an :func:`identity`.
        others: identities of all networks of the table, this one among them. The usual value is the most frequent
            one among those with the same role (a control is a student), and for init the paper's.
    """
    kind = {"sft_teacher": "SFT teacher", "zero_filled": "zero-filled"}.get(network["model"], network["model"])
    if network["method"]:
        kind = f"{'SFT-KD' if network['teacher'] == 'sft' else 'Std-KD'} {method_name(network['method'])}"
    role = "student" if network["model"] == "control" else network["model"]
    peers = [other for other in others if other["model"] == role] or [network]
    usual = {name: Counter(str(peer.get(name, "")) for peer in peers).most_common(1)[0][0] for name in network}
    usual["init"] = "sft" if network["teacher"] == "sft" else "random"
    told = ("model", "teacher", "method", "origin")
    differing = [f"{name} {value}" for name, value in network.items() if name not in told and str(value) != usual[name]]
    return ", ".join([kind, *differing])


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
        key = json.dumps([identity(record), record["config"]["seed"] if per_seed else ""], sort_keys=True)
        groups.setdefault(key, []).append((record, scores))
    several = any(len(group) > 1 for group in groups.values())
    ordered = sorted(groups.values(), key=lambda group: reading_order(identity(group[0][0])))
    return pd.DataFrame([_row(group, several) for group in ordered])


def reading_order(network: dict) -> tuple:
    """Sort key of an :func:`identity`: baseline, teacher, student, SFT teacher, controls, Std-KD, SFT-KD."""
    kind = ROLES.index(network["model"]), bool(network["method"]), network["teacher"] == "sft"
    place = network["dataset"], network["acceleration"], sides(network["resolution"])
    return *place, kind[1], kind, network["method"], network["init"], network["epochs"]


def volume_score(target: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """PSNR, SSIM, NMSE and MSE of a whole volume (S, H, W): one error over all its voxels, range its maximum.

    SSIM is the mean over slices, with the volume's range. These figures do not compare with slice-wise ones.

    Source: evaluation script released with KD-MRI and SFT-KD-Recon.
    """
    target, prediction = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    data_range, error = target.max(), np.mean((target - prediction) ** 2)
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(data_range**2 / error)
    ssim = METRICS["ssim"](target, prediction, data_range).mean()
    return {"psnr": psnr, "ssim": ssim, "nmse": error / np.mean(target**2), "mse": error}


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
            scores = pd.DataFrame([volume_score(*result) for result in _read_results(folder / "results")])
        except InputError as error:
            if left_out is None:
                raise
            left_out.append(str(error))
            continue
        row = {key: network[key] for key in PLACE[:-1]}
        row |= {"network": network_name(network, identities), "seed": record["config"]["seed"], "volumes": len(scores)}
        for name in scores:
            row |= {name: scores[name].mean(), f"{name}_sd": scores[name].std()}
        rows.append(row)
    return pd.DataFrame(rows)


def write_summary(run_root: Path) -> pd.DataFrame:
    """Write :func:`summary` to {run_root}/summary.csv and return it."""
    table = summary(run_root)
    write_table(table, Path(run_root) / "summary.csv")
    return table


def write_table(table: pd.DataFrame, path: Path) -> None:
    """Replace a CSV file by a table, atomically."""
    write_text(path, table.map(lambda cell: as_text(cell) if isinstance(cell, str) else cell).to_csv(index=False))


def quality_table(
    networks: dict[str, Network], scores: dict[str, pd.DataFrame], reference: str = "student"
) -> pd.DataFrame:
    """Mean +/- standard deviation over slices of each metric, a row a network, as formatted text.

    Args:
        networks: name -> network.
        scores: the same names -> a row a slice, as :func:`evaluate` returns it.
        reference: the network whose mean PSNR the last column subtracts; not between networks that were trained for
            different numbers of epochs.
    """
    rows = {}
    for name, table in scores.items():
        epochs = networks[name].experiment.epochs
        gap = f"{round(table.psnr.mean() - scores[reference].psnr.mean(), 2) + 0.0:+.2f}"
        if 0 < epochs != networks[reference].experiment.epochs > 0:
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
    if not norms.get("reconstruction") or "distillation" not in norms:
        return ""
    return norms["distillation"] / norms["reconstruction"]


def _row(networks: list[tuple[dict, pd.DataFrame]], several: bool) -> dict:
    """The row of a configuration: its networks differ in the seed alone; several: some configuration has two seeds."""
    record, scores = networks[0]
    settings = identity(record)
    first = ("dataset", "acceleration", "resolution", "model", "network", "teacher", "method", "init")
    last = ("split", "slices", "data", "origin")
    row = {name: settings[name] for name in first}
    row |= {"seed": ", ".join(str(seed) for seed in sorted(record["config"]["seed"] for record, _ in networks))}
    row |= {name: value for name, value in settings.items() if name not in first + last}
    for name in ("precision", "layout"):
        row[name] = ", ".join(sorted({found[name] for found, _ in networks if name in found}))
    row["best_epoch"] = ", ".join(str(found["best_epoch"]) for found, _ in networks if "best_epoch" in found)
    row |= {"parameters": record["parameters"], "split": settings["split"], "n": len(scores)}
    for name in METRICS:
        means = [scores[name].mean() for _, scores in networks]
        row |= {name: np.mean(means), f"{name}_sd": np.mean([scores[name].std() for _, scores in networks])}
        if several:
            row[f"{name}_seed_sd"] = np.std(means, ddof=1) if len(means) > 1 else np.nan
    ratios = [ratio for record, _ in networks if (ratio := gradient_ratio(record)) != ""]
    row["gradient_ratio"] = np.mean(ratios) if ratios else ""
    return row | {name: settings[name] for name in last[1:]}


def _read_metrics(folder: Path) -> pd.DataFrame:
    columns = {"volume": str, "slice": int, "subject": str} | dict.fromkeys(METRICS, float)
    try:
        table = read_table(folder / "metrics.csv", columns)
        if table.empty:
            raise InputError(f"{folder / 'metrics.csv'} has no row: expected one a slice")
    except InputError as error:
        raise InputError(f"{error}; or {REMEDY}") from None
    return table


def _write_result(path: Path, target: np.ndarray, reconstruction: np.ndarray, subject: str) -> None:
    with replacing(path) as temporary, h5py.File(temporary, "w", locking=False) as file:
        for name, images in {"reconstruction": reconstruction, "target": target}.items():
            file.create_dataset(name, data=images, compression="gzip", shuffle=True)
        file.attrs["subject"] = subject


def read_images(file: hdf5.File, name: str) -> np.ndarray:
    """Images (S, H, W) of a file of results, real and finite.

    Raises:
        InputError: they are missing, or others than that.
    """
    if name not in file:
        raise InputError(f"{file.path} has no dataset {name!r} (found: {file.found}): expected images (S, H, W)")
    stored = file[name]
    if len(stored.shape) != 3 or 0 in stored.shape or stored.dtype.kind == "c":
        raise InputError(
            f"{file.path}: {name} is {stored.dtype} {stored.shape}: expected real images (S, H, W); check the axes"
        )
    images = stored[()]
    if not np.isfinite(images).all():
        raise InputError(f"{file.path}: {name} holds NaN or infinite values: expected finite ones")
    return images


def _read_results(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
    """Target and reconstruction (S, H, W) of each volume."""
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


def _report(network: Network, table: pd.DataFrame, split: str, size: tuple[int, int]) -> str:
    e = network.experiment
    lines = [
        f"{e.model} {e.model_type}: {e.dataset} {e.acceleration}, {size[0]} x {size[1]}, {split} split, "
        f"{len(table)} slices of {table.subject.nunique()} subject(s), {e.epochs} epochs, seed {e.seed}",
        "mean +/- standard deviation over slices; the data range is each slice's target maximum",
        *(f"{name:5s} {table[name].mean():.5g} +/- {table[name].std():.3g}" for name in METRICS),
    ]
    return "\n".join(lines) + "\n"

"""Reconstruct and score: every figure is a slice's, averaged over slices only in the tables."""

import os
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from torch import nn

from kdrecon.data.images import Values, image_faults
from kdrecon.data.slices import Slices
from kdrecon.errors import InputError
from kdrecon.metrics import METRICS
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import Network, weights_hash
from kdrecon.runs.record import Evaluation, Record, read_record, write_record
from kdrecon.storage import hdf5
from kdrecon.storage.files import alone_in, replacing, visible, write_table, write_text
from kdrecon.storage.records import read_table

REMEDY = "run again with its parameters, which writes it anew"
PATIENCE = 600.0  # seconds to wait for another process that evaluates the same network


@torch.no_grad()
def reconstruct(model: nn.Module, slices: Slices, batch_size: int = 16) -> np.ndarray:
    """Reconstructions (N, H, W), float32, of all slices by a network in evaluation mode, in fp32."""
    model.eval()
    outputs = [model(*batch.inputs) for batch in slices.batches(batch_size)]
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
    made_from = Evaluation(weights_hash(network.model), data=slices.fingerprint, split=lab.evaluation_split)
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
        write_record(replace(_record(folder), evaluation=made_from), folder)
    return table


def _record(folder: Path) -> Record:
    if not (record := read_record(folder)):
        raise InputError(f"{folder} has lost its config.json: expected it there; {REMEDY}")
    return record


def _evaluated(folder: Path, made_from: Evaluation) -> pd.DataFrame | None:
    """The table of an earlier evaluation of the same weights and data; None where there is none that can be read."""
    if _record(folder).evaluation != made_from:
        return None
    try:
        return _read_metrics(folder)
    except InputError as error:
        print(f"{error}: evaluated anew")
        return None


def evaluated(run_root: Path) -> Iterator[tuple[Path, Record, pd.DataFrame]]:
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


def _networks(run_root: Path) -> Iterator[tuple[Path, Record, pd.DataFrame] | InputError]:
    for folder in sorted(Path(run_root).glob("experiments/*/acc_*/*/")):
        try:
            record = read_record(folder)
            if not record and os.path.exists(folder / "best_model.pt"):
                raise InputError(f"{folder} has lost its config.json: expected it there; {REMEDY}")
            if record and record.evaluation:
                yield folder, record, _read_metrics(folder)
        except InputError as error:
            yield error


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
    images = file[name][()]
    for fault in image_faults(images, lambda: Values.of([images]), negative=None):
        raise InputError(f"{file.path}: {name} {fault.found}: expected {fault.expected}")
    return images


def read_results(folder: Path) -> Iterator[tuple[np.ndarray, np.ndarray]]:
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
        f"{e.architecture} {e.kind}: {e.dataset} {e.acceleration}, {size[0]} x {size[1]}, {split} split, "
        f"{len(table)} slices of {table.subject.nunique()} subject(s), {e.epochs} epochs, seed {e.seed}",
        "mean +/- standard deviation over slices; the data range is each slice's target maximum",
        *(f"{name:5s} {table[name].mean():.5g} +/- {table[name].std():.3g}" for name in METRICS),
    ]
    return "\n".join(lines) + "\n"

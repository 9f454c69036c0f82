"""Reconstruct and score: every figure is a slice's, averaged over slices only in the tables.

>>> import numpy as np
>>> from kdrecon.results.evaluation import score
>>> x = np.random.default_rng(0).random((2, 64, 64))
>>> score(x, x).ssim.tolist()
[1.0, 1.0]
"""

from dataclasses import replace
from pathlib import Path

import numpy as np
import pandas as pd
import torch
from torch import nn

from kdrecon.data.slices import Slices
from kdrecon.errors import InputError
from kdrecon.metrics import METRICS, SSIM
from kdrecon.results.archive import read_metrics, write_result
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import Network, weights_hash
from kdrecon.runs.record import Evaluation, require_record, write_record
from kdrecon.storage.files import alone_in, write_table, write_text

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


def volume_score(target: np.ndarray, prediction: np.ndarray) -> dict[str, float]:
    """PSNR, SSIM, NMSE and MSE of a whole volume (S, H, W): one error over all its voxels, range its maximum.

    SSIM is the mean over slices, with the volume's range. These figures do not compare with slice-wise ones.

    Source: evaluation script released with KD-MRI and SFT-KD-Recon.
    """
    target, prediction = np.asarray(target, np.float64), np.asarray(prediction, np.float64)
    data_range, error = target.max(), np.mean((target - prediction) ** 2)
    with np.errstate(divide="ignore"):
        psnr = 10 * np.log10(data_range**2 / error)
    ssim = np.mean(SSIM(target, prediction, data_range))
    return {"psnr": psnr, "ssim": ssim, "nmse": error / np.mean(target**2), "mse": error}


def typical_slice(scores: pd.DataFrame) -> int:
    """The row of a slice to look at: median PSNR in the volume with most slices, the first of several such volumes.

    A median over all slices would often be one of those that show little: of a volume of one slice, or of a bare edge.

    Args:
        scores: a row a slice, as :func:`evaluate` returns it.
    """
    volume = scores.volume.value_counts(sort=False).idxmax()
    psnr = scores.psnr[scores.volume == volume].sort_values(kind="stable")
    return int(psnr.index[len(psnr) // 2])


def evaluate(lab: Laboratory, network: Network) -> pd.DataFrame:
    """Score a network on the evaluation split, slice by slice, and keep everything in its experiment folder.

    Writes ``results/{volume}.h5`` (``reconstruction`` and ``target``, (S, H, W) float32; attribute ``subject``),
    ``report.txt``, the record's ``evaluation``, and last ``metrics.csv`` (a row a slice): where that is, all is. A second
    call reads it back, as long as weights and data are the same; where another process is evaluating the same network, it
    waits for that.

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
        if (table := _evaluated(folder, made_from)) is None:
            table = _score(network, slices, lab.evaluation_split)
            (folder / "metrics.csv").unlink(missing_ok=True)  # of other weights or data than the record names next
            write_record(replace(require_record(folder), evaluation=made_from), folder)
            write_table(table, folder / "metrics.csv")
    return table


def _score(network: Network, slices: Slices, split: str) -> pd.DataFrame:
    """Score a network and write its reconstructions and report.txt; the table."""
    target, prediction = slices.x[:, 0].cpu().numpy(), reconstruct(network.model, slices)
    place = pd.DataFrame({"volume": slices.volume, "slice": slices.index, "subject": slices.subject})
    table = pd.concat([place, score(target, prediction)], axis=1)
    for volume, rows in place.groupby("volume", sort=False).groups.items():
        path = network.folder / "results" / f"{volume}.h5"
        write_result(path, target[rows], prediction[rows], subject=place.subject[rows[0]])
    write_text(network.folder / "report.txt", _report(network, table, split, target.shape[1:]))
    return table


def _evaluated(folder: Path, made_from: Evaluation) -> pd.DataFrame | None:
    """The table of an earlier evaluation of the same weights and data; None where there is none that can be read."""
    if require_record(folder).evaluation != made_from:
        return None
    try:
        return read_metrics(folder)
    except InputError as error:
        print(f"{error}: evaluated anew")
        return None


def _report(network: Network, table: pd.DataFrame, split: str, size: tuple[int, int]) -> str:
    e = network.experiment
    lines = [
        f"{e.architecture} {e.kind}: {e.dataset} {e.acceleration}, {size[0]} x {size[1]}, {split} split, "
        f"{len(table)} slices of {table.subject.nunique()} subject(s), {e.epochs} epochs, seed {e.seed}",
        "mean +/- standard deviation over slices; the data range is each slice's target maximum",
        *(f"{name:5s} {table[name].mean():.5g} +/- {table[name].std():.3g}" for name in METRICS),
    ]
    return "\n".join(lines) + "\n"

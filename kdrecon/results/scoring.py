"""Metrics of reconstructions that were made elsewhere, in the file layout of the released code.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> import h5py
>>> import numpy as np
>>> from kdrecon.results.scoring import score_folders
>>> x = np.random.default_rng(0).random((3, 32, 32))
>>> with TemporaryDirectory() as name:
...     folder = Path(name)
...     for part, key in (("targets", "target"), ("ours", "reconstruction")):
...         (folder / part).mkdir()
...         with h5py.File(folder / part / "1.h5", "w") as file:
...             file[key] = x
...     score_folders(folder / "targets", folder / "ours").ssim.tolist()
[1.0, 1.0, 1.0]
"""

from pathlib import Path

import numpy as np
import pandas as pd

from kdrecon.data.volumes import read_volume
from kdrecon.errors import InputError, first_line
from kdrecon.results.archive import read_images
from kdrecon.results.evaluation import score, volume_score
from kdrecon.storage import hdf5
from kdrecon.storage.files import visible


def score_folders(targets: Path, reconstructions: Path, volume_wise: bool = False) -> pd.DataFrame:
    """Score every reconstruction against the target of the same file name.

    Args:
        targets: folder of .h5 files with ``volfs`` (H, W, S), which is scaled by its maximum as everywhere here, or
            with ``target`` (S, H, W), as :func:`kdrecon.results.evaluation.evaluate` writes it.
        reconstructions: folder of .h5 files with ``reconstruction`` (S, H, W), on the target's scale.
        volume_wise: a row a volume, scored by :func:`kdrecon.results.evaluation.volume_score`, instead of a row a slice.

    Returns:
        volume, slice, subject, psnr, ssim, nmse, mse, hfn, vif; or volume, subject, psnr, ssim, nmse, mse.

    Raises:
        InputError: no files, a file without its counterpart, an unusable file, other shapes, NaN, or another scale.
    """
    paths = {folder: _files(folder) for folder in (targets, reconstructions)}
    for folder, other in ((targets, reconstructions), (reconstructions, targets)):
        if alone := [name for name in paths[folder] if name not in paths[other]]:
            raise InputError(
                f"{folder / alone[0]} has no counterpart in {other} ({len(alone)} such files): expected equal file names"
            )
    tables = []
    for name, path in paths[targets].items():
        target, subject = _target(path)
        prediction = _reconstruction(paths[reconstructions][name], target)
        place = {"volume": path.stem, "slice": range(len(target)), "subject": subject}
        try:
            if volume_wise:
                tables.append(
                    pd.DataFrame([{"volume": path.stem, "subject": subject, **volume_score(target, prediction)}])
                )
            else:
                tables.append(pd.concat([pd.DataFrame(place), score(target, prediction)], axis=1))
        except ValueError as error:
            raise InputError(f"{paths[reconstructions][name]} cannot be scored: {first_line(error)}") from None
    return pd.concat(tables, ignore_index=True)


def _files(folder: Path) -> dict[str, Path]:
    if not folder.is_dir():
        raise InputError(f"{folder} is not a folder: expected one that holds .h5 files; check the path")
    if not (paths := visible(folder)):
        raise InputError(f"{folder} holds no .h5 file: expected one a volume; give the folder that holds them directly")
    return {path.name: path for path in paths}


def _target(path: Path) -> tuple[np.ndarray, str]:
    """Images (S, H, W) and subject."""
    with hdf5.opened(path) as file:
        if "target" in file:
            return read_images(file, "target"), hdf5.text(file.attributes.get("subject"), path.stem)
    images, attributes = read_volume(path)
    return images, hdf5.text(attributes.get("subject"), path.stem)


def _reconstruction(path: Path, target: np.ndarray) -> np.ndarray:
    with hdf5.opened(path) as file:
        images = read_images(file, "reconstruction")
    if images.shape != target.shape:
        raise InputError(f"{path}: reconstruction is {images.shape}, target {target.shape}: expected equal (S, H, W)")
    factor = float((target * images).sum() / max((images.astype(np.float64) ** 2).sum(), 1e-30))
    if images.any() and not 0.2 < factor < 5:
        raise InputError(
            f"{path}: times {factor:.3g} the reconstruction fits its target best: expected the same scale, that of images "
            "divided by their volume's maximum"
        )
    return images

"""kdrecon reconstruct: a scan through a network, into a file of the scan's kind and a picture beside it.

>>> from pathlib import Path
>>> from kdrecon.app.reconstruct import picture_of
>>> picture_of(Path("out/T1w.nii.gz")).as_posix()
'out/T1w.png'
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure

from kdrecon.app.scans.scan import Scan, read_scan, without_preparation
from kdrecon.deploy.deployed import Deployed, open_deployed
from kdrecon.deploy.reconstruction import Reconstructed, reconstruct
from kdrecon.storage.files import replacing

ENDINGS = (".nii.gz", ".nii", ".h5")


def reconstruct_scan(network: str, path: Path, out: Path, options: dict[str, str], full: bool = False) -> None:
    """Reconstruct a scan, write it and its picture, and print how it was done.

    Args:
        network: see :func:`kdrecon.deploy.deployed.open_deployed`.
        path: the scan.
        out: what to write; the picture lies beside it.
        options: see :func:`kdrecon.app.scans.scan.read_scan`.
        full: see :func:`kdrecon.deploy.reconstruction.reconstruct`.

    Raises:
        InputError: network or scan cannot be used; nothing is written.
    """
    deployed = open_deployed(network)
    with without_preparation():
        scan = read_scan(path, options)
    result = reconstruct(deployed, scan.values, scan.mask, str(path), full)
    how = told(deployed, scan, result)
    with replacing(picture_of(out)) as temporary, without_preparation():
        with open(temporary, "wb") as file:
            sheet(result, how).savefig(file, format="png", dpi=100, metadata={"Software": None})
        scan.write(result.images, out, {"title": f"{deployed.title}, not for clinical use", "description": how})
    print(f"{out}: {len(result.images)} slices, {picture_of(out).name} beside it")
    print(how)
    for note in scan.notes:
        print(f"note: {note}")
    if result.psnr:
        before, after = result.psnr
        print(f"PSNR of {len(result.shown)} slices: zero-filled {before:.2f} dB, reconstructed {after:.2f} dB")
    print("unlike the training data, so that the result may be wrong and look right:")
    print(*(f"  {what}" for what in result.unlike), sep="\n")


def told(deployed: Deployed, scan: Scan, result: Reconstructed) -> str:
    """What the output says of itself, the most important within the 79 characters that NIfTI has for it."""
    e = deployed.data.experiment
    source, more = "measured", ""
    if scan.mask is None:
        source = "simulated"
        more = (
            "; the scan was taken for fully sampled magnitude images, and their k-space undersampled to try the network"
        )
    return (
        f"Not for clinical use: kdrecon {deployed.title}, {source} k-space, {result.acceleration:.2g}-fold; trained on "
        f"{e.dataset} {e.acceleration}{more}"
    )


def picture_of(out: Path) -> Path:
    """Where the picture of an output lies."""
    ending = next((ending for ending in ENDINGS if out.name.lower().endswith(ending)), "")
    return out.with_name(f"{out.name[: len(out.name) - len(ending)]}.png")


def sheet(result: Reconstructed, title: str) -> Figure:
    """Zero-filled, reconstructed and their difference, a row a slice."""
    rows = len(result.shown)
    height, width = result.images.shape[1:]
    tall = min(4.0, 2.6 * height / width)
    figure = Figure(figsize=(8.6, tall * rows + 0.9), layout="constrained")
    grid = figure.subplots(rows, 3, squeeze=False)
    recon = result.images[result.shown]
    differences = np.abs(recon - result.zero_filled)
    top, most = float(np.percentile(recon, 99.8)) or 1.0, float(np.percentile(differences, 99.5)) or 1.0
    for axes, number, images in zip(grid, result.shown, zip(result.zero_filled, recon, differences)):
        for ax, image in zip(axes[:2], images):
            ax.imshow(image, cmap="gray", vmin=0, vmax=top, interpolation="nearest")
        shown = axes[2].imshow(images[2], cmap="magma", vmin=0, vmax=most, interpolation="nearest")
        axes[0].set_ylabel(f"slice {number}")
        for ax in axes:
            ax.set(xticks=[], yticks=[])
    for ax, name in zip(grid[0], ("zero-filled", "reconstructed", "|difference|")):
        ax.set_title(name, fontsize=10)
    figure.colorbar(shown, ax=grid[:, 2], extend="max", fraction=0.06, pad=0.02)
    figure.suptitle(title.partition(";")[0], fontsize=9, parse_math=False)
    return figure

"""What to look at after a preparation: the contact sheet and the summary.

>>> from data_prep.options import Options
>>> from data_prep.sheet import summary
>>> print(summary([], Options(name="mine", split="8,1,1"), {}, bad=0).splitlines()[-1])
data set:   mine at 4x, line masks
"""

from pathlib import Path

import numpy as np
from matplotlib.figure import Figure, SubFigure

from data_prep.options import Options
from data_prep.steps import is_ratio
from kdrecon.choices import MASK_TYPES, SPLITS
from kdrecon.physics.sampling import choose_mask
from kdrecon.storage import hdf5

COLUMNS = 8
SHOWN = {"train": 24, "validation": 16, "test": 16}


def draw(folder: Path, rows: list[dict], accelerations: tuple[str, ...]) -> None:
    """Write {folder}/contact_sheet.png: one volume with what was measured of it, and a slice of volumes of each split.

    Args:
        folder: of the prepared data set.
        rows: of its manifest.
        accelerations: those it holds.
    """
    rows = [row for row in rows if row["slices"]]
    parts = [(part, _spread([row for row in rows if row["split"] == part], SHOWN[part])) for part in SPLITS]
    parts = [(part, chosen) for part, chosen in parts if chosen]
    lines = [-(-len(chosen) // COLUMNS) for _, chosen in parts]
    figure = Figure(figsize=(1.7 * COLUMNS, 3.2 + sum(1.95 * n + 0.3 for n in lines)), layout="constrained")
    heights = [3.2, *(1.95 * n + 0.3 for n in lines)]
    top, *others = figure.subfigures(len(parts) + 1, 1, squeeze=False, height_ratios=heights)[:, 0]
    _draw_measured(top, folder, rows[0], accelerations)
    for (part, chosen), line, area in zip(parts, lines, others):
        total = [row for row in rows if row["split"] == part]
        people = len({row["subject"] for row in total})
        slices = sum(row["slices"] for row in total)
        count = f"{len(chosen)} of {len(total)}" if len(chosen) < len(total) else f"all {len(total)}"
        area.suptitle(
            f"{part}: {slices} slices of {people} subject(s); middle slice of {count} volume(s)", x=0.01, ha="left"
        )
        grid = area.add_gridspec(line, COLUMNS)
        for tile, row in zip(grid, chosen):
            axes = area.add_subplot(tile)
            axes.set_axis_off()
            with hdf5.opened(_path(folder, row, accelerations[0])) as file:
                axes.imshow(file["volfs"][:, :, row["slices"] // 2], cmap="gray", vmin=0)
            axes.set_title(f"{row['volume']}.h5, subject {row['subject']}", fontsize=7, parse_math=False)
    figure.savefig(folder / "contact_sheet.png", dpi=80, metadata={"Software": None})


def summary(rows: list[dict], options: Options, published: dict[str, int], bad: int) -> str:
    """What a preparation came to, as text: counts a split beside the published ones, what was dropped, what was chosen."""
    lines = []
    for part in SPLITS:
        kept = [row for row in rows if row["split"] == part and row["slices"]]
        slices, people = sum(row["slices"] for row in kept), len({row["subject"] for row in kept})
        paper = f" (the paper reports {published[part]})" if part in published else ""
        lines.append(f"{part + ':':12s}{slices} slices{paper} in {len(kept)} volumes of {people} subjects")
    small = [row for row in rows if row["small_slices"]]
    dropped = {
        "empty slices": sum(row["empty_slices"] for row in rows),
        f"slices of {len(small)} volumes smaller than the crop": sum(row["small_slices"] for row in small),
        "unusable files": bad,
    }
    if signed := sum(row["signed_slices"] for row in rows):
        dropped["slices with negative values, which are no magnitudes"] = signed
    lines.append("left out:   " + ", ".join(f"{count} {what}" for what, count in dropped.items()))
    zeroed = {
        "slightly negative voxels": sum(row["negative_voxels"] for row in rows),
        "NaN voxels outside the field of view": sum(row["outside_voxels"] for row in rows),
    }
    if any(zeroed.values()):
        lines.append("set to 0:   " + ", ".join(f"{count} {what}" for what, count in zeroed.items() if count))
    seed = f", seed {options.seed}" if is_ratio(options.split) else ""
    lines.append(f"split:      {Path(options.split).name}, by subject{seed}")
    lines.append(f"data set:   {options.name} at {', '.join(options.accelerations)}, {options.mask} masks")
    return "\n".join(lines) + "\n"


def _draw_measured(figure: SubFigure, folder: Path, row: dict, accelerations: tuple[str, ...]) -> None:
    """Target of the first volume; mask and zero-filled image of each acceleration."""
    shown = accelerations[: (COLUMNS - 1) // 2]
    tiles = figure.subplots(1, 1 + 2 * len(shown))
    tiles = np.atleast_1d(tiles)
    figure.suptitle(f"{row['split']}/{row['volume']}.h5: fully sampled, and what is measured of it", x=0.01, ha="left")
    for axes in tiles:
        axes.set_axis_off()
    middle = row["slices"] // 2
    for i, acceleration in enumerate(shown):
        with hdf5.opened(_path(folder, row, acceleration)) as file:
            x, x_u = (file[name][:, :, middle] for name in ("volfs", f"img_volus_{acceleration}"))
            dataset, kind = file.attributes["dataset"], file.attributes["mask"]
        mask_type = next((name for name in MASK_TYPES if kind.startswith(name)), "line")
        mask, _, _ = choose_mask(dataset, acceleration, x.shape, mask_type)
        share = f"{float(mask.float().mean()):.1%}"
        for axes, image, title in (
            (tiles[2 * i + 1], np.fft.fftshift(mask.numpy()), f"mask {kind}\n{share} sampled, DC in the middle"),
            (tiles[2 * i + 2], x_u, f"zero-filled {acceleration}"),
            (tiles[0], x, "target"),
        ):
            axes.imshow(image, cmap="gray", vmin=0, vmax=1, interpolation="nearest" if "mask" in title else None)
            axes.set_title(title, fontsize=8)


def _spread(rows: list[dict], number: int) -> list[dict]:
    """At most this many of the rows, evenly spaced."""
    keep = np.unique(np.linspace(0, len(rows) - 1, min(number, len(rows))).round().astype(int))
    return [rows[i] for i in keep]


def _path(folder: Path, row: dict, acceleration: str) -> Path:
    return folder / row["split"] / f"acc_{acceleration}" / f"{row['volume']}.h5"

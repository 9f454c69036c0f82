"""Volumes a minute of data preparation, and what the compression level costs: python benchmarks/preparation.py.

Volumes of the size of ACDC frames (10 slices of 256 x 216, int16, gzipped NIfTI) are made up, read, cropped to
150 x 150, undersampled at 4x and written. All figures are of one run on this machine.
"""

import argparse
import os
import tempfile
import time
from pathlib import Path

import nibabel
import numpy as np

from data_prep.nifti import ACDC
from data_prep.options import Options
from data_prep.pipeline import prepare
from data_prep.steps import measured
from kdrecon.data.volumes import write_volume


def acdc(folder: Path, patients: int) -> None:
    """Challenge folders with two frames a patient: smooth shapes with the noise of a scan."""
    rng = np.random.default_rng(0)
    rows, columns = np.mgrid[-1:1:216j, -1:1:256j]
    for number in range(1, patients + 1):
        name = f"patient{number:03d}"
        place = folder / ("testing" if number % 3 == 0 else "training") / name
        place.mkdir(parents=True)
        for frame in (1, 12):
            shape = 300 * np.exp(-3 * ((rows - rng.uniform(-0.2, 0.2)) ** 2 + columns**2))[..., None]
            image = np.abs(shape + rng.normal(0, 8, (216, 256, 10))).astype(np.int16)
            nibabel.save(
                nibabel.Nifti1Image(image, np.diag([-1.5, -1.5, 10, 1])), place / f"{name}_frame{frame:02d}.nii.gz"
            )
        (place / "Info.cfg").write_text("ED: 1\nES: 12\n", encoding="utf-8")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--patients", type=int, default=30)
    patients = parser.parse_args().patients
    with tempfile.TemporaryDirectory() as folder:
        root = Path(folder)
        acdc(root / "acdc", patients)
        images = np.asarray(nibabel.load(next((root / "acdc").rglob("*.nii.gz"))).dataobj, np.float32)[33:183, 53:203]
        images = np.moveaxis(images, 2, 0) / images.max()
        arrays, _ = measured(images, "cardiac", "4x", "line")
        print("writing a volume of 10 x 150 x 150:")
        for level in (0, 1, 4, 9):
            times = []
            for _ in range(5):
                started = time.perf_counter()
                write_volume(root / "one.h5", images, {}, level=level, **arrays)
                times.append(time.perf_counter() - started)
            size = (root / "one.h5").stat().st_size / 1e6
            print(f"  gzip level {level}: {1000 * min(times):6.1f} ms, {size:.2f} MB")
        for jobs in sorted({1, min(2, os.cpu_count())}):
            started = time.perf_counter()
            prepare(ACDC(root / "acdc"), root / str(jobs), Options(jobs=jobs))
            seconds = time.perf_counter() - started
            rate = 120 * patients / seconds
            print(f"{jobs} processes: {2 * patients} volumes in {seconds:.1f} s, {rate:.0f} volumes a minute")


if __name__ == "__main__":
    main()

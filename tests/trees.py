"""Scans in the layouts of their sources, written with the real file libraries."""

from pathlib import Path

import matplotlib.image
import nibabel
import numpy as np

LPS = np.diag([-1.5, -1.5, 10, 1])  # as an ITK program writes a scan with the directions of DICOM


def picture(slices: int = 3, size: tuple[int, int] = (160, 152), seed: int = 0) -> np.ndarray:
    """Smooth integer images (S, H, W) with a bright mark that is off the middle: seen mirrored or turned, it moves."""
    rng = np.random.default_rng(seed)
    rows, columns = (np.linspace(-1, 1, n) for n in size)
    head = np.exp(-2 * (rows[:, None] ** 2 + columns[None] ** 2))
    waves = sum(np.cos(k * rows[:, None] + rng.uniform(0, 6)) * np.cos(k * columns + rng.uniform(0, 6)) for k in (3, 7))
    images = np.stack([head * (800 + 100 * waves + 40 * s) for s in range(slices)])
    images[:, size[0] // 3 : size[0] // 3 + 6, size[1] // 4 : size[1] // 4 + 6] = 1500 + seed % 100
    return images.round()


def nifti(path: Path, images: np.ndarray, affine: np.ndarray = LPS, dtype=np.int16) -> Path:
    """Write images (S, H, W) so that the first stored axis is the columns, as converters from DICOM do."""
    path.parent.mkdir(parents=True, exist_ok=True)
    stored = images.transpose(2, 1, 0) if images.ndim == 3 else images
    image = nibabel.Nifti1Image(stored.astype(dtype), affine)
    image.header["descrip"] = b"Doe^Jane 1970-01-01"
    nibabel.save(image, path)
    return path


def acdc(root: Path, training: int = 2, testing: int = 1, **options) -> Path:
    """{training,testing}/patientNNN/ with Info.cfg, the cine and the two frames that were segmented."""
    for number in [*range(1, training + 1), *range(101, 101 + testing)]:
        name = f"patient{number:03d}"
        folder = root / ("testing" if number > 100 else "training") / name
        frames = {frame: picture(seed=10 * number + frame, **options) for frame in (1, 2, 3)}
        for frame in (1, 3):
            nifti(folder / f"{name}_frame{frame:02d}.nii.gz", frames[frame])
            nifti(folder / f"{name}_frame{frame:02d}_gt.nii.gz", (frames[frame] > 900).astype(np.int16))
        nifti(folder / f"{name}_4d.nii.gz", np.stack([f.transpose(2, 1, 0) for f in frames.values()], 3))
        lines = ["ED: 1", "ES: 3", "Group: DCM", "Height: 184.0", "NbFrame: 3", "Weight: 95.0"]
        (folder / "Info.cfg").write_text("\n".join(lines) + "\n")
    return root


def mrbrains2013(root: Path) -> Path:
    """TrainingData/1..5 and TestData/1..3 with the scans and labels of the 2013 challenge."""
    for kind, count in (("TrainingData", 5), ("TestData", 3)):
        for number in range(1, count + 1):
            folder = root / kind / str(number)
            for name in ("T1", "T1_IR", "T2_FLAIR"):
                nifti(folder / f"{name}.nii", picture(2, (240, 240), seed=number + 10 * (kind == "TestData")))
            nifti(folder / "T1_1mm.nii", picture(2, (60, 60)))
            if kind == "TrainingData":
                nifti(folder / "LabelsForTraining.nii", picture(2, (240, 240)) > 900)
    return root


def mrbrains2018(root: Path) -> Path:
    """training/{1, 4, 5, 7, 14, 070, 148}/{orig,pre}/ of the 2018 challenge."""
    for seed, number in enumerate(("1", "4", "5", "7", "14", "070", "148")):
        for kind in ("orig", "pre"):
            for name in ("reg_T1", "reg_IR", "FLAIR"):
                images = picture(2, (240, 240), seed) + (kind == "orig")
                nifti(root / "training" / number / kind / f"{name}.nii.gz", images)
        nifti(root / "training" / number / "segm.nii.gz", picture(2, (240, 240)) > 900)
    return root


def bids(root: Path, people: int = 3) -> Path:
    """sub-NN/ses-M/anat/ with two sessions a person, a time series, and a derivative that is none of the scans."""
    for number in range(1, people + 1):
        for session in (1, 2):
            stem = f"sub-{number:02d}_ses-{session}"
            folder = root / f"sub-{number:02d}" / f"ses-{session}"
            nifti(folder / "anat" / f"{stem}_T1w.nii.gz", picture(2, (40, 48), seed=10 * number + session))
            nifti(folder / "func" / f"{stem}_task-rest_bold.nii.gz", np.ones((4, 4, 2, 3)))
        nifti(root / "derivatives" / f"sub-{number:02d}" / f"sub-{number:02d}_T1w.nii.gz", picture(2, (40, 48)))
    (root / "dataset_description.json").write_text('{"Name": "three people", "BIDSVersion": "1.9.0"}')
    return root


def sunnybrook_png(root: Path, patients: int = 4, size: int = 160) -> Path:
    rng = np.random.default_rng(0)
    folder = root / "Train" / "Images" / "Part1"
    folder.mkdir(parents=True)
    for patient in range(1, patients + 1):
        for frame in (7, 20):
            grey = rng.uniform(0.1, 1, (size, size, 1)).repeat(3, 2)
            matplotlib.image.imsave(folder / f"SC-HF-I-{patient:02d}-IM-0001-{frame:04d}.dcm.png", grey)
    return root

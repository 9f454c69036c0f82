# ---
# jupyter:
#   jupytext:
#     text_representation:
#       extension: .py
#       format_name: percent
#   kernelspec:
#     display_name: Python 3
#     language: python
#     name: python3
# ---

# %% [markdown]
# # 07 · Your own data
#
# From a folder of scans to a trained student: what happens to images before a network sees them, and how to tell that it went
# right.
#
# **What you will learn**
#
# - how one command turns scans into a data set: NIfTI (the usual files of research), DICOM (those of scanners and hospitals) or raw
#   data;
# - why the split is by person;
# - how to look at a data set, and how to let a program look for what the eye misses;
# - what of a scan's header stays behind.
#
# **Before you start:** [01 · k-space and undersampling](./01_kspace_undersampling.ipynb) and
# [02 · DC-CNN](./02_dccnn.ipynb).
#
# **Minutes:** 30 to read; the machine takes under 1 in quick mode on two cores: one student is trained.
#
# [previous: 06 · Evaluation](./06_evaluation.ipynb) · [next: 08 · The study](./08_the_study.ipynb)

# %% tags=["parameters"] shown=["acceleration", "resolution", "epochs", "seed"]

# %% tags=["laboratory"]

# %% [markdown]
# ## A folder of scans
#
# Name a folder of NIfTI files here, and the rest of this notebook works with it. As it stands, the folder is made from two of the
# embedded people: two scans of Anna (in truth two slabs of one) and one of Colin. `volfs` in their files is the volume, fully sampled.

# %%
from pathlib import Path

import h5py
import nibabel
import numpy as np

from kdrecon import data, storage

my_scans = ""  # a folder of NIfTI files, such as "~/scans"; "" makes one from the embedded people
place = lab.parameters.run_folder / "your_own_data"
scans = Path(my_scans).expanduser() if my_scans else place / "scans"


# %%
def write_scan(path, images, spacing):
    """A NIfTI file of slices (S, H, W), anterior up, patient's left on the left, 1 mm pixels."""
    path.parent.mkdir(parents=True, exist_ok=True)
    volume = np.flip(images, 1).transpose(2, 1, 0)  # axes to the right, to anterior, upwards
    nibabel.save(nibabel.Nifti1Image(volume, np.diag([1.0, 1, spacing, 1])), path)


if not my_scans:
    for split, name, spacing in (
        ("train", "sub-anna/anat/sub-anna_run-1_T1w", 1),
        ("validation", "sub-anna/anat/sub-anna_run-2_T1w", 1),
        ("test", "sub-colin/anat/sub-colin_T1w", 6),
    ):
        with h5py.File(data.dataset_folder("people") / split / "1.h5", locking=False) as file:
            write_scan(scans / f"{name}.nii.gz", np.moveaxis(file["volfs"][:], 2, 0), spacing)
found = storage.visible(scans, "**/*.nii*")
print(*(path.relative_to(scans) for path in found), sep="\n")

# %% [markdown]
# ## Upright
#
# A NIfTI file stores an array and, beside it, which way its axes point in the body. Two scans of one head may lie differently in
# memory.

# %%
import matplotlib.pyplot as plt

from data_prep.nifti import read_nifti
from kdrecon.teaching import checks, plots

scan = nibabel.load(found[0])
raw = np.asarray(scan.dataobj)[:, :, scan.shape[2] // 2].astype(float)
volume = read_nifti(found[0])
plots.images(
    {"as stored": raw, "as prepared": volume.images[len(volume.images) // 2]}, same_scale=False
)
axes = "".join(nibabel.aff2axcodes(scan.affine))
print("axes point to", axes, "· voxel size", volume.voxel_size_mm, "mm")
plt.show()

# %% [markdown]
# *What to see:* the stored array lies on its side; RAS means that its axes point to right, anterior (front) and superior (up).
# Prepared, the forehead is up and the patient's left is on the right, as on a DICOM viewer. Axes are exchanged and flipped; no value is
# interpolated.
#
# ### Exercise 7.1 · Upright by hand
#
# `volume` is an array with three axes, `codes` says which way each points, such as "RAS": R or L, A or P, S or I (inferior), in any
# order. Return axial slices (S, H, W): the lowest first, anterior on top, the patient's left on the right.


# %% tags=["exercise"]
def my_upright(volume, codes):
    """Axial slices (S, H, W)."""
    ...  # your code


# %% tags=["solution"]
def my_upright(volume, codes):
    """Axial slices (S, H, W)."""
    wanted = ["SI", "PA", "LR"]  # which axes, and first the way each shall point
    axes = [next(k for k, code in enumerate(codes) if code in pair) for pair in wanted]
    upright = volume.transpose(axes)
    turned = [j for j, k in enumerate(axes) if codes[k] != wanted[j][0]]
    return np.flip(upright, turned)


# %%
checks.upright(my_upright)

# %% [markdown]
# ## One command
#
# ```
# python -m data_prep nifti SCANS --name own --split 1,1,0
# ```
#
# drops empty slices, scales images to [0, 1], assigns people to training and validation at random, computes and undersamples k-space,
# and writes a file per volume. It reads the person from the path: folders as here, `sub-NAME/...`, follow **BIDS**, the brain
# imaging data structure, where `ses-` is a visit and `run-` a scan of it.
#
# ### Exercise 7.2 · Who was scanned? (warm-up)
#
# `paths` lists the files of a BIDS folder. Return the set of people, without `sub-`.


# %% tags=["exercise"]
def my_people(paths):
    """A set of names."""
    ...  # your code


# %% tags=["solution"]
def my_people(paths):
    """A set of names."""
    return {path.split("/")[0].removeprefix("sub-") for path in paths}


# %%
checks.people(my_people)

# %% [markdown]
# **Before you run it:** our three files are split into training and validation. How many volumes can training get?

# %%
from data_prep.nifti import Nifti
from data_prep.options import Options
from data_prep.pipeline import prepare

options = Options(name="own", accelerations=(acceleration,), split="1,1,0", seed=seed, jobs=1)
outcome = prepare(Nifti(scans), place / "datasets", options)
own = place / "datasets" / "own"
manifest = storage.read_table(own / "manifest.csv", data.MANIFEST)
manifest

# %%
subjects = manifest.groupby("subject").split.nunique()
assert (subjects == 1).all(), "a person is in two splits"
assert outcome == ([], []), outcome

# %% [markdown]
# *What to see:* either Anna (now `s1`) trains, with two volumes, or Colin, with one. A person is never divided: a network that has seen
# your left half would look good on your right half. Nobody is left to test with; `--split 8,1,1` suits more people.
#
# ## Look at it
#
# Every preparation leaves a contact sheet. Ten seconds here save a week of training on upside-down hearts.

# %%
from IPython.display import Image

Image(filename=own / "contact_sheet.png", width=900)

# %% [markdown]
# *What to see:* is the anatomy upright, inside the frame, not cut off? Does the zero-filled image show ghosts along the direction in
# which lines are missing? Do the splits look alike? Not quite: Colin's scan is an average of many and smoother, Anna's is darker, because a
# few bright voxels set its maximum.
#
# ## Let the program look
#
# `python -m data_prep check datasets/own` verifies what the eye cannot see: does the stored k-space belong to image and mask? Is
# anyone in two splits?

# %%
import shutil
import tempfile

from data_prep.inspection import check

report = check(own)
print(*report.notes, *report.faults, sep="\n")
assert report.faults == []

# %% [markdown]
# Software disagrees about where the centre of k-space is stored. Let us make the commonest mistake in a copy, and move DC to the
# middle, as scanners do.
#
# **Before you run it:** will a network crash on it?

# %%
with tempfile.TemporaryDirectory() as folder:
    spoilt = Path(shutil.copytree(own, Path(folder) / "spoilt"))
    with h5py.File(storage.visible(spoilt, "train/*/*.h5")[0], "a") as file:
        name = f"kspace_volus_{acceleration}"
        file[name][...] = np.fft.fftshift(file[name][:], axes=(0, 1))
    faults = check(spoilt).faults
for fault in faults:
    print(fault.replace(str(spoilt), "spoilt"))
assert any("DC in the middle" in fault for fault in faults)

# %% [markdown]
# *What to see:* the check names the file, the convention it found and the remedy. Nothing would have crashed: sizes and types are right,
# only the numbers are in the wrong place. A network would have learnt something from them, too.
#
# ### Exercise 7.3 · Open: what does `check` not see?
#
# Spoil the copy so that a training on it is worth little and `check` finds no fault. Who would notice, and when? What would a program have
# to know?
#
# ## What stays behind
#
# A scan's header may hold a name, a birthday, a hospital. Only geometry goes into the data set.

# %%
import pandas as pd

with h5py.File(storage.visible(own, "train/*/*.h5")[0], locking=False) as file:  # a volume file
    kept = {key: str(value) for key, value in sorted(file.attrs.items())}
assert not any(name in value for value in kept.values() for name in ("anna", "colin", "sub-"))
pd.DataFrame({"attribute of the file": kept})

# %% [markdown]
# **Pixels** are another matter. A face can be recognised in a head scan, and nothing here removes it. Use a defacing tool before you
# pass on head scans, and look for text that is burnt into the image.
#
# ## Train a student on it
#
# From here on everything is as in the other notebooks. Half as many epochs will do to see that it runs.

# %%
from dataclasses import asdict

changed = {"dataset": "own", "data_root": str(place / "datasets"), "run_root": str(place)}
changed |= {"resolution": min(resolution, 240), "epochs": (epochs + 1) // 2}
my_lab = Laboratory(**asdict(lab.parameters) | changed, listeners=[live.curve])
student = my_lab.student()

# %%
from kdrecon import results

networks = {"zero-filled": my_lab.zero_filled(), "student": student}
scores = {name: results.evaluate(my_lab, network) for name, network in networks.items()}
results.quality_table(networks, scores, reference="zero-filled")

# %%
i = len(my_lab.test) // 2
shown = {
    name: results.reconstruct(network.model, my_lab.test)[i] for name, network in networks.items()
}
plots.comparison(my_lab.test.x[i, 0].cpu().numpy(), shown)
plt.show()

# %% [markdown]
# *What to see:* the student has learnt from one person and reconstructs another, who also chose the best epoch, which is a little
# optimistic. Two people say nothing about how good the method is on your scans.
#
# ## Summary
#
# - One command prepares a folder: `python -m data_prep --help` lists the scans it reads.
# - People, not files or slices, are divided.
# - Look at the contact sheet, then run `check`. Names stay behind; faces do not.
#
# ## Questions
#
# <details><summary>1. Why is each volume scaled by its own maximum, and what does one very bright voxel do?</summary>
#
# MR has no unit of brightness: scans differ by arbitrary factors. One bright voxel makes all else dark, on the contact sheet, too.
# </details>
#
# <details><summary>2. A folder holds 20 sessions of 4 people. How many people can test, if each part needs one?</summary>
#
# Two: one trains, one validates. Sessions do not count, people do.
# </details>
#
# <details><summary>3. Your scans are magnitude images from a hospital archive. What is their k-space here, and what not?</summary>
#
# The Fourier transform of the magnitude, after all processing: no phase, no coils, less noise than was measured. Only raw data
# ([where to get them](../docs/where_next.md)) hold that.
# </details>
#
# <details><summary>4. Why are slices that show nothing dropped?</summary>
#
# They teach nothing and spoil averages: their PSNR is meaningless.
# </details>
#
# <details><summary>5. Two files in different splits hold the same images under other names. What finds it?</summary>
#
# No list of names can. `check` compares the images themselves across splits.
# </details>
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`. Formats and layouts:
# [data](../docs/data.md).
#
# [next: 08 · The study](./08_the_study.ipynb)

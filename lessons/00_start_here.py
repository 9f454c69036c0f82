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
# # 00 · Start here
#
# A small network learns from a large one how to reconstruct MR images. Can the large one be trained so that the small one learns more?
#
# ![Differences in PSNR from the plain student, with 95 % intervals, for two students](../docs/comparison.png)
#
# **What you will find:** trained equally, a large network (the teacher) leads the smallest small one (the student) by 0.79 dB on
# nine people whom no network has seen, though people differ so much that 06 will ask what that shows. What a student gains by *learning
# from* the teacher (distillation, in two kinds: Std-KD and SFT-KD) is too little to tell from nothing.
#
# *A row is a network; right of 0 is better than the student trained alone; a bar is the 95 % interval.*
#
# **What you will learn**
#
# - how accelerated MRI, distillation and student-friendly training belong together;
# - what a small network saves on your machine;
# - who was scanned for this course, and what that can show.
#
# **Before you start:** Python and the basics of PyTorch. Nothing about MRI is needed.
#
# **Minutes:** 25 to read; the machine takes less than one.
#
# **How to read:** take the guess that *Before you run the next cell* asks for; it shows what is not understood yet. A check answers every
# exercise.
#
# [next: 01 · k-space and undersampling](./01_kspace_undersampling.ipynb)

# %% tags=["parameters"] shown=["dataset", "epochs", "methods", "ready"]

# %% tags=["laboratory"]

# %% [markdown]
# `settings` takes all parameters that a notebook does not show; `params/quick.yaml` lists them. Change a value, run again, and all below
# follows. What was trained once with the same values is found again.
#
# ## Why small matters
#
# **DdCc** names a network with c cascades of d convolutions (notebook 02). The teacher is the D5C5, the student the D2C5. In a run
# with other networks or masks, tables and figures are theirs, while the text goes on speaking of D5C5, of lines and of data fidelity;
# [10](./10_super_resolution.ipynb) is about super-resolution.
#
# *Before you run the next cell:* without three of five convolutions, what share of the weights is left, and of the time?

# %%
from kdrecon import results
from kdrecon.models import dc_cnn

models = {name: dc_cnn(name) for name in ("D5C5", "D4C5", "D3C5", "D2C5")}
cost = results.inference_cost(
    models, lab.test.task, lab.test.x.shape[-2:], lab.device, batches=(1,), repeats=5
)
cost = cost[cost.precision == "fp32"].set_index("network")
assert cost.parameters["D5C5"] == 141_765 and cost.parameters["D2C5"] == 3_045
cost["weights (MB)"] = 4 * cost.parameters / 1e6  # four bytes each
cost["share of the time"] = cost["ms per slice"] / cost["ms per slice"]["D5C5"]
table = cost[["parameters", "weights (MB)", "ms per slice", "share of the time"]]
table.style.format({"parameters": "{:,}", "share of the time": "{:.0%}"}, precision=2)

# %% [markdown]
# *What to see:* a fiftieth of the weights is left, without the large convolutions from 32 to 32 channels. Times are your machine's, for
# one slice; a scan has hundreds.
#
# ## The question
#
# An MR scanner measures **k-space**, the Fourier transform of the image, line by line, and every line takes time. A quarter of the
# lines makes the scan four times faster, and the image ambiguous: many images fit. A network that has seen images chooses a likely one.
#
# Large networks choose better, small ones fit into a scanner. **Knowledge distillation** trains a small network, the *student*,
# with the help of a large one, the *teacher*. Usually the teacher is trained for its own sake. **SFT-KD-Recon** trains it together
# with pieces of the student, so that a student can follow it: *student-friendly training*, SFT for short.

# %%
import matplotlib.pyplot as plt

from kdrecon.teaching import checks, plots

boxes = {
    "images": ("fully sampled\nimages", 0, 1.5, "white"),
    "student": ("student\ntrained alone (02)", 1, 2.7, plots.COLOURS["student"]),
    "teacher": ("teacher\ntrained alone (02)", 1, 1.5, plots.COLOURS["teacher"]),
    "SFT": ("SFT teacher\ntrained with branches (04)", 1, 0.3, plots.COLOURS["SFT teacher"]),
    "Std-KD": ("student\nby Std-KD (03)", 2, 1.5, plots.COLOURS["Std-KD"]),
    "SFT-KD": ("student\nby SFT-KD (05)", 2, 0.3, plots.COLOURS["SFT-KD"]),
}
with plots.style():
    figure, ax = plt.subplots(figsize=(9, 3), layout="constrained")
    arrows = [("images", "student"), ("images", "teacher"), ("images", "SFT")]
    arrows += [("teacher", "Std-KD"), ("SFT", "SFT-KD")]
    for start, end in arrows:
        (_, x0, y0, _), (_, x1, y1, _) = boxes[start], boxes[end]
        left = x0 + (0.25 if start == "images" else 0.34)
        ax.annotate("", (x1 - 0.34, y1), (left, y0), arrowprops=plots.ARROW)
    for label, x, y, face in boxes.values():
        ink = "white" if x == 1 and y == 1.5 else "black"
        frame = {"boxstyle": "round,pad=0.5", "fc": face, "ec": "0.4"}
        ax.text(x, y, label, ha="center", va="center", color=ink, bbox=frame)
    ax.set(xlim=(-0.35, 2.35), ylim=(-0.2, 3.2))
    ax.set_axis_off()
plt.show()

# %% [markdown]
# *What to see:* all networks learn from fully sampled images; the green and the purple student also learn from a teacher. The
# colours stay.
#
# - [01](./01_kspace_undersampling.ipynb) what is lost when lines of k-space are left out
# - [02](./02_dccnn.ipynb) the network; teacher and student trained alone
# - [03](./03_standard_kd.ipynb) standard distillation
# - [04](./04_sft_joint_training.ipynb) a teacher trained with student branches
# - [05](./05_sft_kd.ipynb) distillation from that teacher
# - [06](./06_evaluation.ipynb) who is better, and is it shown?
# - [07](./07_your_own_data.ipynb) your own scans
# - [08](./08_the_study.ipynb) a finished study of 153 networks
# - [09](./09_deploy.ipynb) the student as a file that runs without PyTorch
# - [10](./10_super_resolution.ipynb) the same idea at another task
# - [11](./11_more_losses.ipynb) more losses, and your own
#
# ## The images
#
# The data set `people` has real T1-weighted MR images of heads.

# %%
import pandas as pd

reported = "test" if lab.evaluation_split == "test" else "reported"
rows = {"train": lab.train, "validation": lab.validation, reported: lab.test}
people = {split: pd.Series(s.subject).value_counts(sort=False) for split, s in rows.items()}
pd.DataFrame(people).rename_axis("person").map("{:.0f}".format).replace("nan", "")

# %% [markdown]
# One person trains the networks, and validates them in eight further slices. **Nine others** test them.
#
# *Before you run the next cell:* what besides anatomy may differ between ten people?

# %%
first = {person: lab.test.subject.index(person) for person in people[reported].index}
last = {person: first[person] + count // 2 for person, count in people[reported].items()}
shown = {"trained with": lab.train.subset(len(last)).x[:, 0].cpu().numpy()}
plots.strips(shown)
plt.show()

# %%
names = [person.replace("-", "\n") for person in last]
plots.strips({"tested with": lab.test.x[list(last.values()), 0].cpu().numpy()}, names)
plt.show()

# %% [markdown]
# *What to see:* training slices are axial (seen from above) and coronal (from behind). The test people come from other scanners:
#
# - **three whole heads**: Colin27, an average of 27 scans, is smooth and has little noise; two patients (pyradiomics) have a tumour,
#   contrast agent in their vessels, thick slices, and scalp fat far brighter than the brain;
# - **six people** (antspyx), one slice each: no skull, three quarters black, stored as JPEG with losses: easy images.
#
# A mean hides much, so 02 shows them one by one. Nine people give differences an interval, and are too few for small ones.
# [PROVENANCE](../kdrecon/data/people/PROVENANCE.md) says what is known of them.
#
# These are **magnitude images**: their k-space is computed, not measured. 01 shows what that flatters.

# %% [markdown]
# ### Exercise 0.1 · Nobody twice (warm-up)
#
# A network can look good on a test person whom it remembers from training. **Who occurs in both?** `train` and `test` list a name per
# slice.
#
# All exercises look like this: `...` stands for your code, and the cell after it checks it. Run both as they are, write your answer,
# run both again.


# %% tags=["exercise"]
def my_shared_subjects(train, test):
    """The set of subjects that occur in both splits."""
    ...  # your code


# %% tags=["solution"]
def my_shared_subjects(train, test):
    """The set of subjects that occur in both splits."""
    return set(train) & set(test)


# %%
checks.shared_subjects(my_shared_subjects)

# %% [markdown]
# ### Exercise 0.2 · Everybody counts once
#
# Colin27 has twelve test slices, a person of antspyx one, and another slice of the same head is hardly news. `psnr` has a number per
# slice, `subjects` their names, not sorted. Return the mean in which **every person** weighs the same.


# %% tags=["exercise"]
def my_mean_over_people(psnr, subjects):
    """One number."""
    ...  # your code


# %% tags=["solution"]
def my_mean_over_people(psnr, subjects):
    """One number."""
    own = {}
    for value, person in zip(psnr, subjects):
        own.setdefault(person, []).append(value)
    means = [sum(values) / len(values) for values in own.values()]
    return sum(means) / len(means)


# %%
checks.mean_over_people(my_mean_over_people)

# %% [markdown]
# ### Open · Whom would you leave out?
#
# No result is known yet: a good moment to decide. Would you report all nine people, leave some out, or form two groups? Write down the
# rule, its reason, and what would make it unfair; do not change it after notebook 02.
#
# ## Quick and full
#
# The defaults are the **quick mode**: `resolution = 120` crops k-space to 120 x 120, as a coarser scan would, and trainings are short.
# It shows how things work; what is *found* stands in the picture at the top (50 epochs, three seeds,
# [all figures](../docs/study.md)). On the command line
#
# ```
# kdrecon run --params params/quick.yaml     # all notebooks without a click, about ten minutes
# kdrecon run --params params/paper.yaml     # the paper's recipe; bring a GPU
# ```
#
# executes all notebooks. Results land in `runs/quick/` (from JupyterLab in `runs/lab/`): `report.html`, `summary.csv`, the executed
# notebooks, and each network with its log and metrics in `experiments/`.
#
# With `ready = True`, notebooks 03 to 06 open on networks that ship with the repository, trained for 50 epochs. `False` trains all here.
#
# Where papers and their code disagree, a **switch** chooses; a **preset** is a named set of switches.
# `settings = {"preset": "paper", "switches": {"fidelity": "hermitian"}}` is the paper with another data fidelity. What is empty below is as
# in the paper.
#
# **Where the course departs from the paper, and why:** residual blocks (drawn in KD-MRI's figure, missing in its code), flips, and one cycle of the
# learning rate up to 3e-3 in place of steps from 1e-3, because with 93 slices of one person the teacher is ahead only so
# ([how they were chosen](../docs/study.md)); the paper's smallest student, D2C5, because the teacher leads it most; 120 × 120 and
# few epochs in place of 150 × 150 and 150, to save hours. `params/paper.yaml` is the paper's recipe.

# %%
from dataclasses import asdict

from kdrecon.runs import PRESETS, Switches

pd.DataFrame({**PRESETS, "paper": asdict(Switches())}).rename_axis("switch").fillna("")

# %% [markdown]
# ### Exercise 0.3 · A run of your own
#
# Every training shall take 30 epochs, and attention transfer, `at`, be the only method. Which two parameters do you give which values?

# %% tags=["exercise"]
my_parameters = {}  # your values

# %% tags=["solution"]
my_parameters = {"epochs": 30, "methods": ["at"]}

# %%
checks.parameters(my_parameters)

# %% [markdown]
# ## Is everything in place?

# %%
from kdrecon.runs import environment
from kdrecon.training import resolve_precision

facts = environment() | {
    "device": str(lab.device),
    "training precision": resolve_precision(lab.parameters.precision, lab.device),
    "results": str(lab.parameters.run_folder.name) + "/experiments",
}
assert len(lab.train) > 0 and lab.mask.shape == lab.train.x.shape[-2:]
pd.DataFrame({"this machine": facts})

# %% [markdown]
# ## Summary
#
# - A teacher helps a student to reconstruct images from a part of k-space; SFT trains the teacher with the student in mind.
# - The student has a fiftieth of the teacher's weights.
#
# ## Questions
#
# <details><summary>1. In the picture at the top, whose bar excludes 0, and what do the others mean?</summary>
#
# Those of the two teachers beside D2C5. Other people or seeds could turn the others round; that does not mean that they are 0.
# </details>
#
# <details><summary>2. A method gains 1 dB on Colin27 and nothing on the eight others. What do the means over 40 slices and over people
# say?</summary>
#
# 12/40 = 0.3 dB, and 1/9 = 0.11 dB. The people one by one say more than either.
# </details>
#
# <details><summary>3. Why may training and validation slices not be neighbours, or test slices be drawn at random?</summary>
#
# Neighbours are nearly the same image: a network that memorises one looks good on the other. Drawn at random, everybody is in both
# splits.
# </details>
#
# <details><summary>4. What is the difference between Std-KD and SFT-KD?</summary>
#
# The teacher, trained alone or with student branches; and the SFT-KD student starts from those branches.
# </details>
#
# <details><summary>5. You change <code>epochs</code> and run notebook 02 again. What happens to the old network?</summary>
#
# It stays: the number of epochs is part of its folder's name.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `murugesan2020`, `gao2015`,
# `holmes1998`, `okabe2008`.
#
# [next: 01 · k-space and undersampling](./01_kspace_undersampling.ipynb)

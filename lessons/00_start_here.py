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
# A course in notebooks: how a small network learns to reconstruct MR images from a large one, and
# whether a teacher can be trained so that the small one learns more from it.
#
# ![Target, zero-filled image and reconstructions of one test slice, with zoom and residues](../docs/comparison.png)
#
# *One slice of a person whom no network has seen, measured four times faster than usual. Zero-filled: what is left of the
# image. Then what a large network (teacher), a small one (student) and two small ones that learned from a large one (Std-KD,
# SFT-KD) make of it. Bottom: what each gets wrong. You will train all of them, and say what their differences are worth.*
#
# **What you will learn**
#
# - what accelerated MRI, DC-CNN, knowledge distillation and student-friendly training have to do with each
#   other;
# - who was scanned for the images in this course, and what such images can and cannot show;
# - how notebooks, batch runs and parameters relate, and where results land.
#
# **Before you start:** Python and the basics of PyTorch. Nothing about MRI is needed.
#
# **Minutes:** less than one, in every mode.
#
# **How to read:** *Before you run the next cell* asks for a guess; take one, it is the best way to notice what one does
# not understand yet. *What to see* follows every figure. Exercises have a check that answers at once. The questions at
# the end unfold their answers.
#
# [next: 01 · k-space and undersampling](./01_kspace_undersampling.ipynb)

# %% tags=["parameters"]

# %% tags=["laboratory"]

# %% [markdown]
# The cell with the parameters is the same in all notebooks. Change a value, run the notebook again, and
# everything below follows. What was trained once with the same values is found again, not trained again.
#
# ## The question
#
# An MR scanner measures the Fourier transform of the image, **k-space**, line by line, and every line takes
# time. Measuring a quarter of the lines makes the scan four times faster and the image ambiguous: many
# images fit what was measured. A network that has seen many images chooses a likely one.
#
# Large networks can choose better, small ones fit into a scanner. **Knowledge distillation** trains the small
# network, the *student*, with help of a large one, the *teacher*. The usual way is to train the teacher for
# its own sake first. **SFT-KD-Recon** asks: what if the teacher is trained together with pieces of the
# student from the start, so that what it learns can be followed by a student? That is *student-friendly
# training*, SFT for short.

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
    arrows = {"images": ["student", "teacher", "SFT"], "teacher": ["Std-KD"], "SFT": ["SFT-KD"]}
    for a, b in [(a, b) for a, ends in arrows.items() for b in ends]:
        (_, x0, y0, _), (_, x1, y1, _) = boxes[a], boxes[b]
        left = x0 + (0.25 if a == "images" else 0.34)
        ax.annotate("", (x1 - 0.34, y1), (left, y0), arrowprops=plots.ARROW)
    for label, x, y, face in boxes.values():
        ink = "white" if x == 1 and y == 1.5 else "black"
        frame = {"boxstyle": "round,pad=0.5", "fc": face, "ec": "0.4"}
        ax.text(x, y, label, ha="center", va="center", color=ink, bbox=frame)
    ax.set(xlim=(-0.35, 2.35), ylim=(-0.2, 3.2))
    ax.set_axis_off()
plt.show()

# %% [markdown]
# *What to see:* all networks learn from fully sampled images. The students in green and purple learn from a
# teacher as well; they differ in who the teacher is. Each kind of network keeps its colour through the
# whole course.
#
# | notebook | what happens |
# |---|---|
# | [01](./01_kspace_undersampling.ipynb) | k-space, masks, aliasing: what is lost when lines are left out |
# | [02](./02_dccnn.ipynb) | DC-CNN and data fidelity; teacher and student trained alone |
# | [03](./03_standard_kd.ipynb) | standard distillation: the teacher's image, features and attention |
# | [04](./04_sft_joint_training.ipynb) | a teacher trained together with student branches |
# | [05](./05_sft_kd.ipynb) | distillation from that teacher |
# | [06](./06_evaluation.ipynb) | who is better, by how much, and is it shown? |
# | [07](./07_your_own_data.ipynb) | from a folder of your own scans to a trained student |
# | [08](./08_the_study.ipynb) | a finished study of a hundred networks: what it shows, and what not |
# | [09](./09_deploy.ipynb) | the student as a file that runs without PyTorch |
# | [10](./10_super_resolution.ipynb) | the same idea at another task, without data fidelity |
# | [11](./11_more_losses.ipynb) | losses that compare how slices and layers relate, and your own |
#
# ## The networks
#
# **DdCc** names a DC-CNN with c cascades of d convolutions. The teacher is D5C5, the student D3C5. A run may have other networks and
# other masks (`preset`, `switches`). Tables and figures are theirs then, while the text goes on speaking of D5C5, of lines and of data
# fidelity; for super-resolution [10](./10_super_resolution.ipynb) says what is different.
#
# *Before you run the next cell:* two of five convolutions are taken away. What share of the weights is left?

# %%
import pandas as pd

from kdrecon.models import count_parameters, dc_cnn

sizes = {name: count_parameters(dc_cnn(name)) for name in ("D5C5", "D4C5", "D3C5", "D2C5")}
assert sizes["D5C5"] == 141_765 and sizes["D3C5"] == 49_285
shares = {name: f"{size / sizes['D5C5']:.0%}" for name, size in sizes.items()}
pd.DataFrame({"parameters": sizes, "share of D5C5": shares})

# %% [markdown]
# ## The images
#
# The repository carries a small data set of real MR images, called `sample`: T1-weighted brain scans at
# 1 mm, axial slices of the cerebrum.

# %%
reported = "test" if lab.evaluation_split == "test" else "reported"
rows = {"train": lab.train, "validation": lab.validation, reported: lab.test}
facts = {
    "slices": {split: len(s) for split, s in rows.items()},
    "subjects": {split: ", ".join(sorted(set(s.subject))) for split, s in rows.items()},
    "matrix": {split: " x ".join(map(str, s.x.shape[-2:])) for split, s in rows.items()},
}
pd.DataFrame(facts)

# %% [markdown]
# *Before you run the next cell:* do you see a difference between the people, besides the anatomy?

# %%
plots.strips({split: s.subset(6).x[:, 0].cpu().numpy() for split, s in rows.items()})
plt.show()

# %% [markdown]
# *What to see:* in the sample, training and validation slices come from **one** person (two slabs of one
# scan, at least five slices apart). The test slices come from **another** person, Colin27, and from an
# average of 27 scans: they look smoother, with less noise.
#
# That is little. It is enough to see every effect of this course at work on real anatomy, and the test
# subject is honest in that no network has seen it. It is not enough to say how well a method generalises:
# that takes many people, and the data sets of the paper have them.
# [Where the images come from](../kdrecon/data/sample/PROVENANCE.md) says it in detail.
#
# Both packages publish **magnitude images**, so k-space is computed here by a Fourier transform instead of
# being measured. Notebook 01 shows what that flatters.

# %% [markdown]
# ### Exercise 0.1 · Nobody twice
#
# If slices of one person stand in the training *and* in the test split, a network can look good by
# remembering that person. Write the question that one asks first of every data set: **who occurs in both
# splits?** `train` and `test` are lists of names, one entry a slice.
#
# Exercises look like this all through the course: a stub in which `...` stands for your code, and a check
# that answers at once. Run both as they are, then write your answer and run both again. Nothing that
# follows depends on it.


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
# ## Quick and full
#
# The defaults are the **quick mode**: `resolution = 120` crops k-space to 120 x 120, which is what a coarser
# scan would measure, and a handful of epochs train each network. Quick results show how things work. They
# are not the paper's figures, which took 150 epochs on other data.
#
# The same notebooks are the full run as well. On the command line
#
# ```
# kdrecon run --params params/quick.yaml     # all notebooks without a click, about ten minutes
# kdrecon run --params params/paper.yaml     # the paper's recipe; bring a GPU
# ```
#
# executes them in order with other parameters. Results land in `runs/quick/`: `summary.csv`, `report.html`,
# the executed notebooks and a folder `experiments/` with each network's checkpoint, training log,
# reconstructions and metrics. In JupyterLab they land in `runs/lab/`.
#
# With `ready = True`, notebooks 03 to 06 open on networks that were trained longer and ship with the
# repository. Set it to `False` to train everything yourself.

# %% [markdown]
# ### Exercise 0.2 · A run of your own
#
# You want to know what 30 epochs do, and of the five methods you only need attention transfer, `at`. Which
# parameters do you change, and to what? Name only those that change.

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
    "training precision": resolve_precision(precision, lab.device),
    "results": str(lab.parameters.run_folder.name) + "/experiments",
}
pd.DataFrame({"this machine": facts})

# %% [markdown]
# If you can see this table, everything is in place.

# %%
assert len(lab.train) > 0 and lab.mask.shape == lab.train.x.shape[-2:]

# %% [markdown]
# ## Summary
#
# - A teacher helps a student to reconstruct images from a part of k-space; SFT trains the teacher with the
#   student in mind.
# - The embedded sample is two people: fine for learning, too little for claims.
# - The parameters are the same everywhere, for JupyterLab and for batch runs.
#
# ## Questions
#
# <details><summary>1. Why is a student wanted if the teacher is better?</summary>
#
# It needs about a third of the weights and of the computation, so it reconstructs faster and fits on smaller
# machines.
# </details>
#
# <details><summary>2. What does the test split of the sample tell you, and what not?</summary>
#
# How the networks do on one person they have not seen, scanned differently. Not how they do on people in
# general.
# </details>
#
# <details><summary>3. Why may training and validation slices not be neighbours?</summary>
#
# Neighbouring slices are nearly the same image. A network that memorises one would look good on the other.
# </details>
#
# <details><summary>4. Somebody draws training and test slices at random from all slices of ten people. What is wrong?</summary>
#
# Everybody is in both splits, and neighbouring slices are nearly the same image. The test measures memory.
# </details>
#
# <details><summary>5. What is the difference between Std-KD and SFT-KD?</summary>
#
# The teacher. In Std-KD it was trained alone, in SFT-KD together with student branches; and the SFT-KD
# student starts from those branches.
# </details>
#
# <details><summary>6. You change <code>epochs</code> and run notebook 02 again. What happens to the old
# network?</summary>
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

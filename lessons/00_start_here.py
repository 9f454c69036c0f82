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
# How a small network learns to reconstruct MR images from a large one, and whether a teacher can be trained so that the
# small one learns more from it.
#
# ![Differences in PSNR from the plain student, with 95 % intervals, for a student of 3,045 and one of 49,285 parameters](../docs/comparison.png)
#
# **What you will find:** with equal training a large network (teacher) is better than the smallest small one (student), by 0.79 dB
# on nine people whom no network has seen; how much of that a student gets by *learning from* the teacher (Std-KD, SFT-KD) is
# less than nine people and three repetitions can tell from nothing, and simply training it longer reaches as much.
#
# *A row is a network, right of 0 is better than the student trained alone, a bar is the 95 % interval. You will train all of them, and
# say yourself what their differences are worth.*
#
# **What you will learn**
#
# - what accelerated MRI, DC-CNN, knowledge distillation and student-friendly training have to do with each other;
# - what a small network saves, in milliseconds and megabytes on your machine;
# - who was scanned for the images of this course, and what they can and cannot show;
# - how notebooks, batch runs and parameters relate, and where results land.
#
# **Before you start:** Python and the basics of PyTorch. Nothing about MRI is needed.
#
# **Minutes:** 15 to read; the machine takes less than one.
#
# **How to read:** *Before you run the next cell* asks for a guess; take one, it is the best way to notice what one does
# not understand yet. *What to see* follows every figure. Exercises have a check that answers at once. The questions at
# the end unfold their answers.
#
# [next: 01 · k-space and undersampling](./01_kspace_undersampling.ipynb)

# %% tags=["parameters"] shown=["dataset", "epochs", "methods", "ready"]

# %% tags=["laboratory"]

# %% [markdown]
# A notebook begins with the parameters that its reader will want to change; `settings` takes all others, which
# `params/quick.yaml` lists. Change a value, run the notebook again, and everything below follows. What was trained once with
# the same values is found again, not trained again.
#
# ## Why small matters
#
# **DdCc** names a network (a DC-CNN, notebook 02) with c cascades of d convolutions. The teacher is the D5C5, the student the
# D2C5; two others stand between them. A run may have other networks and other masks (`preset`, `switches`). Tables and figures are
# theirs then, while the text goes on speaking of D5C5, of lines and of data fidelity; for super-resolution
# [10](./10_super_resolution.ipynb) says what is different.
#
# *Before you run the next cell:* three of five convolutions are taken away. What share of the weights is left, and what share
# of the time?

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
# *What to see:* the D2C5 has a fiftieth of the weights, for what its blocks lack are the large convolutions from 32 to 32
# channels. The times are of your machine, one slice a call; a scan has hundreds of slices, and a scanner's console has other
# work to do.
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
# ## The images
#
# The repository carries real MR images of heads, T1-weighted, in a data set called `people`.

# %%
import pandas as pd

reported = "test" if lab.evaluation_split == "test" else "reported"
rows = {"train": lab.train, "validation": lab.validation, reported: lab.test}
people = {split: pd.Series(s.subject).value_counts(sort=False) for split, s in rows.items()}
pd.DataFrame(people).rename_axis("person").map("{:.0f}".format).replace("nan", "")

# %% [markdown]
# One person trains the networks, and validates them in eight other slices; **nine others** test them.
#
# *Before you run the next cell:* do you expect differences between ten people, besides the anatomy?

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
# *What to see:* the training slices lie in two planes, axial (seen from below) and coronal (from the front). The test people come from
# other scanners, and differ more than in anatomy:
#
# - **three whole heads**: Colin27 is an average of 27 scans, smoother and with less noise; the two patients (pyradiomics) have a tumour, a
#   contrast agent in their vessels, thick slices, and scalp fat far brighter than the brain;
# - **six people** (antspyx) with one slice each whose skull was removed, three quarters of it black, stored as JPEG: easy images, and
#   compressed with losses.
#
# So a mean over them hides much, and notebook 02 shows them one by one. Nine people are enough to give differences an
# interval, and too few for small ones. [Where the images come from](../kdrecon/data/people/PROVENANCE.md) says who was scanned, and what
# nobody has documented.
#
# Published are **magnitude images**, so k-space is computed here by a Fourier transform instead of being measured. Notebook 01
# shows what that flatters.

# %% [markdown]
# ### Exercise 0.1 · Nobody twice (warm-up)
#
# If slices of one person stand in the training *and* in the test split, a network can look good by
# remembering that person. **Who occurs in both splits?** `train` and `test` are lists of names, one entry per slice.
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
# ### Exercise 0.2 · Everybody counts once
#
# Colin27 has twelve test slices, a person of antspyx one. In a mean over slices Colin27 weighs twelve times as much, though
# both are one person, and another slice of the same head is hardly news. `psnr` is a list of numbers, one per slice, `subjects` the list
# of names in the same order, not sorted. Return the mean in which **every person** weighs the same.


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
# No result is known yet: a good moment to decide. Would you report all nine people, leave some out, or report two groups? Write three
# sentences that you will not be allowed to change after notebook 02: the rule, the reason, and what would make the rule
# unfair. There is no check; compare with a neighbour.
#
# ## Quick and full
#
# The defaults are the **quick mode**: `resolution = 120` crops k-space to 120 x 120, which is what a coarser
# scan would measure, and a handful of epochs train each network. It shows how things work. What is *found* stands in the picture
# at the top: 50 epochs, three seeds, [all its figures](../docs/study.md). The paper took 150 epochs on other data.
#
# The same notebooks are the full run as well. On the command line
#
# ```
# kdrecon run --params params/quick.yaml     # all notebooks without a click, ten to twenty minutes
# kdrecon run --params params/paper.yaml     # the paper's recipe; bring a GPU
# ```
#
# executes them in order with other parameters. Results land in `runs/quick/`: `report.html`, `summary.csv`,
# the executed notebooks and a folder `experiments/` with each network's checkpoint, training log,
# reconstructions and metrics. In JupyterLab they land in `runs/lab/`.
#
# With `ready = True`, notebooks 03 to 06 open on networks that were trained for 50 epochs and ship with the
# repository. Set it to `False` to train everything yourself.
#
# Where papers and their code disagree, a **switch** says which way to go; a **preset** is a named set of switches. `preset` chooses
# one, `switches` changes single ones on top: `settings = {"preset": "paper", "switches": {"fidelity": "hermitian"}}` trains the
# paper's networks with another data fidelity. Empty below means as in the paper.

# %%
from dataclasses import asdict

from kdrecon.runs import PRESETS, Switches

pd.DataFrame({**PRESETS, "paper": asdict(Switches())}).rename_axis("switch").fillna("")

# %% [markdown]
# ### Exercise 0.3 · A run of your own
#
# All trainings shall take 30 epochs, and attention transfer, `at`, shall be the only method of distillation. Everything else stays as the
# parameters cell has it. Which of its names do you give which values? Name only those two.

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
# - The student has a fiftieth of the teacher's weights and takes a fraction of its time.
# - One person trains, nine others test: three whole heads, six without skull. Every person counts once.
# - The parameters are the same everywhere, for JupyterLab and for batch runs.
#
# ## Questions
#
# <details><summary>1. Why is a student wanted if the teacher is better?</summary>
#
# It needs a fiftieth of the weights and a fraction of the computation, so it reconstructs faster and fits on smaller
# machines.
# </details>
#
# <details><summary>2. In the picture at the top, whose bar excludes 0, and what does it mean that the others do not?</summary>
#
# Those of the two teachers beside D2C5. The other differences may be chance: other people or other seeds could turn them round. It does
# not mean that they are 0.
# </details>
#
# <details><summary>3. A method gains 1 dB on Colin27 and nothing on the eight others. What does the mean over 40 slices say, and what
# the mean over people?</summary>
#
# 12/40 = 0.3 dB, and 1/9 = 0.11 dB. The people one by one say more than either.
# </details>
#
# <details><summary>4. Why may training and validation slices not be neighbours?</summary>
#
# Neighbouring slices are nearly the same image. A network that memorises one would look good on the other.
# </details>
#
# <details><summary>5. Somebody draws training and test slices at random from all slices of ten people. What is wrong?</summary>
#
# Everybody is in both splits, and neighbouring slices are nearly the same image. The test measures memory.
# </details>
#
# <details><summary>6. What is the difference between Std-KD and SFT-KD?</summary>
#
# The teacher. In Std-KD it was trained alone, in SFT-KD together with student branches; and the SFT-KD
# student starts from those branches.
# </details>
#
# <details><summary>7. You change <code>epochs</code> and run notebook 02 again. What happens to the old
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

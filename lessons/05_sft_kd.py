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
# # 05 · SFT-KD: learning from the student-friendly teacher
#
# The same distillation as before, with two changes: the teacher has been trained to be followed, and the
# student does not start from nothing.
#
# **What you will learn**
#
# - how the student is assembled from the blocks of the joint training, and which of its blocks is
#   untrained;
# - how to check that weights were really loaded (a famous silent failure);
# - how SFT-KD compares with standard distillation, method by method, in your run and in the paper;
# - which question the comparison leaves open: the 2×2 of teacher and start, and equal compute.
#
# **Before you start:** [03 · Standard knowledge distillation](./03_standard_kd.ipynb) and
# [04 · Student-friendly joint training](./04_sft_joint_training.ipynb). What they trained is loaded here;
# what is missing is trained now.
#
# **Minutes:** about 2 in quick mode on two cores, after 03 and 04; alone about 6. With the paper's recipe
# some hours, on a GPU far less.
#
# [previous: 04 · Student-friendly joint training](./04_sft_joint_training.ipynb) ·
# [next: 06 · Evaluation](./06_evaluation.ipynb)

# %% tags=["parameters"]

# %% tags=["laboratory"]

# %% [markdown]
# ## Two routes to a distilled student
#
# | | Std-KD | SFT-KD |
# |---|---|---|
# | step 1 | teacher alone | teacher and student branches together (04) |
# | step 2, teacher | the standard teacher, frozen | the SFT teacher, frozen |
# | step 2, student starts from | random weights | the SFT student blocks S2 to S5, S1 fresh |
# | step 2, loss | reconstruction + $w\,L_{KD}$ | the same, with the same $w$ |
#
# Two things change at once: the teacher, and the start of the student. Keep this in mind for the end.

# %%
friendly = lab.sft_teacher()
teacher = lab.teacher()
student = lab.student(ready=False)  # the yardstick: as many epochs as the students distilled here

# %% [markdown]
# ## The start of the student
#
# The joint training of 04 has left trained student blocks behind. They are copied into a new D3C5.
#
# **Before you run it:** how many of the student's 30 tensors (5 blocks × 3 convolutions × weight and bias)
# will be copied?

# %%
import copy

import pandas as pd
import torch

from kdrecon.runs import start_from_sft
from kdrecon.teaching import checks, plots

fresh = lab.new_student()
started = copy.deepcopy(fresh)
loaded = start_from_sft(started, friendly.student)
tensors = len(fresh.state_dict())
print(f"{len(loaded)} of {tensors} tensors copied, from {loaded[0]} to {loaded[-1]}")

# %%
rows = {}
for k, blocks in enumerate(zip(started.parts, friendly.student.parts, fresh.parts)):
    state, source, random = (block.state_dict() for block in blocks)
    copied = sum(torch.equal(state[name], source[name]) for name in state)
    kept = sum(torch.equal(state[name], random[name]) for name in state)
    rows[f"S{k + 1}"] = {"tensors": len(state), "equal to SFT block": copied, "still random": kept}
start = pd.DataFrame(rows).T.rename_axis("block")
assert (start["equal to SFT block"][1:] == start["tensors"][1:]).all(), "S2 to S5 are copies"
assert start["still random"]["S1"] == start["tensors"]["S1"], "S1 is fresh"
assert (start["still random"][1:] == 0).all()
start

# %% [markdown]
# ### Exercise 5.1 · Copy, and leave one out
#
# Write that start. `student` is a fresh D3C5, `branches` the trained student of the joint training, the same
# architecture; their tensors are called `blocks.0.convs.0.weight` and so on. Copy $S_2 \dots S_N$ into the
# student, leave $S_1$ (`blocks.0`) as it is, and return the student.


# %% tags=["exercise"]
def my_start(student, branches):
    """The student with S2 to SN copied."""
    ...  # your code


# %% tags=["solution"]
def my_start(student, branches):
    """The student with S2 to SN copied."""
    for k in range(1, len(student.blocks)):
        student.blocks[k].load_state_dict(branches.blocks[k].state_dict())
    return student


# %%
checks.start(my_start)

# %% [markdown]
# $S_1$ is fresh because no branch passes it: there is nothing to copy that was ever trained.
#
# Why so many checks for a copy? In the code that was released with the paper, one loader matches the
# tensors of the two networks by position in two different orders, and skips what does not fit: 0 of 30
# tensors are loaded, without a word. Another loads 30 of 30 by name, the untrained $S_1$ among them, and
# belongs to a stage that the paper does not mention (its scripts call it *studentSFTN*): the student goes on
# from the SFT blocks, trained alone with L1 for 150 epochs, and the distillation starts from the result. Which
# of these starts made the published figures is not known. Here, loading nothing is an error.
#
# How good is such a student before its first training step? Its first block is random, the other four have
# never seen the output of that block.

# %%
from kdrecon import metrics, results

target = lab.validation.x[:, 0].cpu().numpy()
candidates = {
    "zero-filled": lab.zero_filled().model,
    "student, random start": fresh,
    "student, SFT start": started,
    "SFT teacher": friendly.model,
}
psnr = {}
for name, model in candidates.items():
    images = results.reconstruct(model, lab.validation)
    psnr[name] = metrics.psnr(target, images).mean()
pd.Series(psnr, name="mean PSNR on the validation split (dB)").map("{:.2f}".format).to_frame()

# %% [markdown]
# *What to see:* four trained blocks and data fidelity repair some of what an untrained first block does, but
# not all: compare with the zero-filled image and with the SFT teacher. The start is a start, not a result.
#
# ## The 2×2 at the first step
#
# Two teachers, two starts: four cells. Before anybody has learned anything, we can ask how far the student
# is from its teacher in each of them.

# %%
from kdrecon.training import distil

method = methods[0]
batch = next(lab.train.subset(batch_size).batches(batch_size))
cells = {}
for teacher_name, frozen in (("standard teacher", teacher), ("SFT teacher", friendly)):
    for start_name, model in (("random start", fresh), ("SFT start", started)):
        learner = copy.deepcopy(model)
        objective = distil(learner, frozen.model, method, kd_form=lab.switches.kd_form)
        objective.to(lab.device).prepare(batch)
        with torch.no_grad():
            terms = objective(batch).terms
        cells[teacher_name, start_name] = {name: float(term) for name, term in terms.items()}
print(f"loss terms at the first step, method {results.method_name(method)}")
pd.DataFrame(cells).T.map("{:.4f}".format)

# %% [markdown]
# *What to see:* the reconstruction term depends on the start alone. The distillation term depends on both.
# Is it smallest where student and teacher were trained side by side (last row)? One batch of one run is a
# hint, not a proof.
#
# ## Distil
#
# One student for each method, from the student-friendly teacher. A quick run shows the mechanics, not the
# paper's figures.

# %%
names = [f"SFT-KD {results.method_name(key)}" for key in methods]
wanted = [lab.distillation(key, teacher="sft") for key in methods]
friendly_students = dict(zip(names, lab.networks(wanted)))

# %%
import matplotlib.pyplot as plt

curves = {"student": student.history}
curves |= {name: network.history for name, network in friendly_students.items()}
plots.validation_curves(curves)
plt.show()

# %% [markdown]
# *What to see:* the SFT-KD students (purple) beside the plain student (orange). Look at the first epoch: do
# those who start with trained blocks start lower? Who ends lowest? Remember the order: the test below has another person and
# another measure, and may order them differently. Then there is no winner.
#
# ## Beside standard distillation
#
# The Std-KD students come from 03, or are trained now.

# %%
names = [f"Std-KD {results.method_name(key)}" for key in methods]
wanted = [lab.distillation(key) for key in methods]
standard_students = dict(zip(names, lab.networks(wanted)))

# %%
networks = {"zero-filled": lab.zero_filled(), "teacher": teacher, "SFT teacher": friendly}
networks |= {"student": student, **standard_students, **friendly_students}
scores = {name: results.evaluate(lab, network) for name, network in networks.items()}
print(results.epochs_note(networks))
results.quality_table(networks, scores, reference="student")

# %%
mean = {name: table.psnr.mean() for name, table in scores.items()}
names = [results.method_name(key) for key in methods]
standard = {name: mean[f"Std-KD {name}"] for name in names}
sft = {name: mean[f"SFT-KD {name}"] for name in names}
undistilled = {name: mean[name] for name in ("student", "teacher", "SFT teacher")}
plots.distillation_gains(standard, sft, undistilled)
plt.show()

# %% [markdown]
# *What to see:* a grey bar a method, from Std-KD (green) to SFT-KD (purple). To the right is better. The
# dashed lines are the networks that were trained without distillation. Where the teachers lie left of the student, as
# they may after a short training, a long bar says only that one teacher harms less than the other.

# %%
gains = pd.Series(sft) - pd.Series(standard)
spread = f"{gains.min():+.2f} to {gains.max():+.2f} dB, mean {gains.mean():+.2f} dB"
print(f"In your run: SFT-KD minus Std-KD {spread}; {epochs} epochs, one seed,")
print(f"{len(lab.test)} slices of {len(set(lab.test.subject))} subject(s).")

# %% [markdown]
# ### Exercise 5.2 · Two causes, four cells
#
# Somebody has trained all four combinations of teacher and start and got these figures (invented):
#
# | mean PSNR (dB) | random start | SFT start |
# |---|---|---|
# | standard teacher | 30.0 | 30.1 |
# | SFT teacher | 30.4 | 30.9 |
#
# Return the effect of the **teacher** and the effect of the **start** in dB: change one of them, keep the
# other, and take the mean over both values of the other. `psnr["sft", "random"]` is the cell 30.4.


# %% tags=["exercise"]
def my_effects(psnr):
    """Effect of the teacher and effect of the start, in dB."""
    ...  # your code


# %% tags=["solution"]
def my_effects(psnr):
    """Effect of the teacher and effect of the start, in dB."""
    of_teacher = [psnr["sft", start] - psnr["standard", start] for start in ("random", "sft")]
    of_start = [psnr[teacher, "sft"] - psnr[teacher, "random"] for teacher in ("standard", "sft")]
    return sum(of_teacher) / 2, sum(of_start) / 2


# %%
checks.effects(my_effects)

# %% [markdown]
# ## The published figures, for orientation
#
# PSNR in dB / SSIM, **as published** in Table 1 of [`gayathri2023`], Std-KD → SFT-KD. Other data (MRBrainS
# and ACDC, several subjects), 150 epochs: not to be compared with your run, and not reproduced here.
#
# | published | brain 4x | cardiac 4x |
# |---|---|---|
# | zero-filled | 31.38 / .6651 | 24.27 / .6996 |
# | teacher | 40.05 / .9785 → 40.23 / .9799 | 32.15 / .9108 → 32.26 / .9126 |
# | student | 39.49 / .9759 | 31.68 / .9013 |
# | FitNets | 39.52 / .9762 → 40.08 / .9790 | 31.90 / .9050 → 31.95 / .9067 |
# | AT | 39.76 / .9769 → 40.07 / .9789 | 31.95 / .9060 → 32.03 / .9070 |
# | CC | 39.64 / .9762 → 40.06 / .9789 | 31.83 / .9049 → 31.96 / .9070 |
# | FSP | 39.45 / .9756 → 40.01 / .9786 | 31.71 / .9024 → 31.91 / .9060 |
# | SP | 39.53 / .9762 → 39.93 / .9782 | 31.58 / .9004 → 31.91 / .9060 |
#
# Over all 20 pairs of that table (two organs, 4x and 5x) SFT-KD is above Std-KD by 0.27 dB on average, from
# 0.05 to 0.56 dB.
#
# ## What the comparison leaves open
#
# **Teacher or start?** SFT-KD differs from Std-KD in the teacher *and* in the start. To know which of them
# helps, one needs all four cells:
#
# | | random start | SFT start |
# |---|---|---|
# | **standard teacher** | Std-KD (published; trained here) | *not in the paper* |
# | **SFT teacher** | published for AT, brain 4x: 39.99 dB (Table 5) | SFT-KD (40.07 dB; trained here) |
#
# For that one case (AT, brain 4x; Std-KD 39.76 dB), **from a random start** the SFT teacher adds 0.23 dB, and below the
# SFT teacher the start adds another 0.08 dB. What the start adds below the standard teacher, and the teacher from the SFT
# start, the empty cell hides: so it cannot be said which of the two makes most of the 0.31 dB. Here are all four cells of
# your run, for the first method, with equal epochs of distillation.
#
# **Before you run it:** suppose that only the start helps. Which two cells are good then?

# %%
pairs = [(teacher, start) for teacher in ("standard", "sft") for start in ("random", "sft")]
wanted = [lab.distillation(method, teacher=teacher, init=start) for teacher, start in pairs]
cells = dict(zip(pairs, lab.networks(wanted, ready=False)))

# %%
psnr = {cell: results.evaluate(lab, network).psnr.mean() for cell, network in cells.items()}
two_by_two = pd.Series(psnr).rename_axis(["teacher", "start"]).unstack().loc[["standard", "sft"]]
print(f"{results.method_name(method)}, mean PSNR (dB); the plain student: {mean['student']:.2f}")
of_teacher = (two_by_two.loc["sft"] - two_by_two.loc["standard"]).mean()
of_start = (two_by_two["sft"] - two_by_two["random"]).mean()
print(f"effect of the teacher {of_teacher:+.2f} dB, of the start {of_start:+.2f} dB")
two_by_two.map("{:.2f}".format)

# %% [markdown]
# *What to see:* down a column the teacher changes, along a row the start. If only the start helped, the right
# column would be the good one. In a quick run rounding alone (sums taken in another order) can move a cell by some tenths
# of a dB; smaller effects show nothing.
#
# **Or simply more training?** The weights of the student have been trained twice in SFT-KD: as branches in
# step 1, and as a student in step 2. Let us count.

# %%
std_kd, sft_kd = cells["standard", "random"], cells["sft", "sft"]
chosen = {"plain student": student, "Std-KD": std_kd, "SFT-KD": sft_kd}
steps = {name: lab.student_steps(network) for name, network in chosen.items()}
route = steps | {"Std-KD": steps["Std-KD"] + lab.student_steps(teacher)}
pd.DataFrame({"steps that moved the student's weights": steps, "steps of the whole route": route})

# %% [markdown]
# With equal epochs in each training, the blocks $S_2 \dots S_5$ of an SFT-KD student have seen twice as
# many steps as those of a Std-KD student or of a plain one. Some of the gain may be just that, and in a
# quick run, where no network has finished learning, twice the steps is a great deal. The control is a
# student without any teacher that takes as many steps, with its learning-rate schedule stretched over them:
# `lab.control(sft_kd)`. [06](./06_evaluation.ipynb) puts it beside the four cells.
#
# In the released code it may be more than twice. With the stage named above and the distillation in two stages, 150
# epochs each, four trainings lie behind $S_2 \dots S_5$ of an SFT-KD student: 600 epochs, against 300 of a Std-KD student and
# 150 of the plain one.
#
# The paper has no such control; without it, nobody can say how much of a gain is due to the *friendliness*
# of the teacher.
#
# ## Summary
#
# - SFT-KD changes two things: the teacher, and the start of the student ($S_2 \dots S_5$ copied, $S_1$
#   fresh).
# - A copy of weights deserves a check: count the tensors, compare them, and let "nothing loaded" be an
#   error.
# - The comparison with Std-KD needs the 2×2 of teacher and start, and a control of equal compute, before
#   one may say *why* it is better.
#
# ## Questions
#
# <details><summary>1. Why is S1 not copied from the SFT training?</summary>
#
# No branch passes $S_1$, so it got no gradient and holds its random start.
# </details>
#
# <details><summary>2. Why does the reconstruction term at the first step not depend on the teacher?</summary>
#
# It compares the student's output with the fully sampled image; the teacher does not occur in it.
# </details>
#
# <details><summary>3. A loader skips every tensor that does not fit. Why is that dangerous?</summary>
#
# If nothing fits, training simply starts from random weights. It still works, only the experiment is
# another one than the label says.
# </details>
#
# <details><summary>4. SFT-KD is 0.3 dB above Std-KD. Name three explanations.</summary>
#
# A teacher that is easier to follow; a better start of the student; more training steps for the student's
# weights. (And with one seed: chance.)
# </details>
#
# <details><summary>5. Which cell of the 2×2 would separate "better start" from "better teacher" on the side
# of the standard teacher?</summary>
#
# Standard teacher with SFT start, compared with Std-KD: same teacher, other start.
# </details>
#
# <details><summary>6. Is the equal-compute control fair if it counts steps?</summary>
#
# It is a beginning. A step of SFT also runs teacher and branches, and a step of distillation the teacher,
# so seconds or operations would be stricter. Say which one you count.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `murugesan2020`.
#
# [next: 06 · Evaluation](./06_evaluation.ipynb)

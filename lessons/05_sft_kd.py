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
# The same distillation with two changes: the teacher has been trained to be followed, and the student does not start from
# nothing.
#
# **What you will learn**
#
# - how the student is assembled, and how to check that weights were really loaded;
# - how SFT-KD compares with standard distillation, in your run and in the paper;
# - how to tell the teacher, the start and mere training apart: a 2×2 and two controls.
#
# **Before you start:** [04 · Student-friendly joint training](./04_sft_joint_training.ipynb).
#
# **Minutes:** about 45 to read; the machine needs 1 with ready networks and 3 in quick mode on two cores after 03
# and 04, 2 with bf16 units, alone about 8. With the paper's recipe some hours, on a GPU far less.
#
# [previous: 04 · Student-friendly joint training](./04_sft_joint_training.ipynb) ·
# [next: 06 · Evaluation](./06_evaluation.ipynb)

# %% tags=["parameters"] shown=["epochs", "methods", "seed", "ready"]

# %% tags=["laboratory"]

# %% [markdown]
# Which networks are these? Where each comes from when it is asked for, and what `ready=False` changes:

# %%
from kdrecon import results

results.origins(lab)

# %% [markdown]
# ## Two routes to a distilled student
#
# | | Std-KD | SFT-KD |
# |---|---|---|
# | frozen teacher | trained alone | trained with student branches (04) |
# | student starts from | random weights | SFT student blocks S2 to S5, S1 fresh |
#
# The loss is the same, with the same $w$.

# %%
friendly = lab.sft_teacher()
teacher = lab.teacher()
student = lab.student()

# %% [markdown]
# ## The start of the student
#
# The student blocks of the joint training are copied into a new student (of a VDSR its convolutions).
#
# **Before you run it:** which share of its tensors, the weights and biases of its convolutions, will be copied?

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
    state, source, untrained = (block.state_dict() for block in blocks)
    copied = sum(torch.equal(state[name], source[name]) for name in state)
    kept = sum(torch.equal(state[name], untrained[name]) for name in state)
    rows[f"S{k + 1}"] = {"tensors": len(state), "equal to SFT block": copied, "still random": kept}
start = pd.DataFrame(rows).T.rename_axis("block")
assert (start["equal to SFT block"][1:] == start["tensors"][1:]).all(), "S2 to S5 are copies"
assert start["still random"]["S1"] == start["tensors"]["S1"], "S1 is fresh"
assert (start["still random"][1:] == 0).all()
start

# %% [markdown]
# ### Exercise 5.1 · Copy, and leave one out (warm-up)
#
# `student` is fresh, `branches` the student of the joint training; their tensors are called
# `blocks.0.convs.0.weight` and so on. Copy $S_2\dots S_N$ into the student, leave $S_1$ (`blocks.0`) as it is, and return
# the student. It is looked at below.


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
# Why so many checks for a copy? The code released with the paper has two loaders. One pairs the tensors of two networks by
# position, and skips a pair that does not fit; the other goes by name. In miniature:

# %%
asked = ["scascade1.conv1.weight", "scascade2.conv1.weight", "scascade3.conv1.weight"]
held = ["scascade2.conv1.weight", "scascade3.conv1.weight", "scascade1.conv1.weight"]
by_position = [a for a, b in zip(asked, held) if a == b]
by_name = [a for a in asked if a in held]
print(f"by position: {len(by_position)} of 3 loaded, and no word about it")
print(f"by name: {len(by_name)} of 3 loaded, {by_name[0]} of the untrained S1 among them")

# %% [markdown]
# The paper's D3C5 has 30 tensors. In the released code a loader by position loads none of them; another one, by name, loads all 30,
# for a stage that the paper does not mention: 150 epochs of the student alone from there. Which start made the published figures is
# not known. Here, loading nothing is an error.
#
# How good is such a student before its first training step?

# %%
from kdrecon import metrics

if checks.start(my_start).right and len(fresh.blocks) > 1:
    started = my_start(lab.new_student(), friendly.student)
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
# *What to see:* trained blocks repair some of what an untrained first block leaves, not all.
#
# ## Distil
#
# One student per method from the student-friendly teacher, and its counterpart of 03.

# %%
names, method = [results.method_name(key) for key in methods], methods[0]
experiments = [lab.distillation(key, side) for side in ("standard", "sft") for key in methods]
students = lab.networks(experiments)
standard_students = dict(zip(names, students))
friendly_students = dict(zip(names, students[len(names) :]))

# %%
import matplotlib.pyplot as plt

curves = {"student": student.history}
curves |= {f"SFT-KD {name}": network.history for name, network in friendly_students.items()}
plots.validation_curves(curves)
plt.show()

# %% [markdown]
# *What to see:* the SFT-KD students (purple) begin with a lower error than the plain student (orange).

# %%
networks = {"teacher": teacher, "SFT teacher": friendly, "student": student}
networks |= {f"Std-KD {name}": network for name, network in standard_students.items()}
networks |= {f"SFT-KD {name}": network for name, network in friendly_students.items()}
scores = {name: results.evaluate(lab, network) for name, network in networks.items()}


def by_group(table):
    """Mean PSNR in dB of each group of people, every person counted once."""
    person = table.groupby("subject").psnr.mean()
    stripped = person.index.str.startswith("antspyx")
    groups = {"whole heads": person[~stripped], "skull-stripped": person[stripped], "all": person}
    return {group: f"{values.mean():.2f}" for group, values in groups.items() if len(values)}


rows = {}
for name, network in networks.items():
    steps = lab.student_steps(network)
    told = {"epochs": network.experiment.epochs, "steps of its weights": steps}
    rows[name] = told | by_group(scores[name])
print("PSNR (dB), mean over people. One training of each: some tenths of a dB are chance.")
pd.DataFrame(rows).T

# %% [markdown]
# *What to see:* equal epochs are not equal training. The *steps* say that blocks S2 to S5 of an SFT-KD student have been trained
# twice. A network may be better for one group and worse for the other.

# %%
mean = {name: table.groupby("subject").psnr.mean().mean() for name, table in scores.items()}
standard = {name: mean[f"Std-KD {name}"] for name in names}
sft = {name: mean[f"SFT-KD {name}"] for name in names}
undistilled = {name: mean[name] for name in ("student", "teacher", "SFT teacher")}
plots.distillation_gains(standard, sft, undistilled)
plt.show()

# %% [markdown]
# *What to see:* a grey bar per method, from Std-KD (green) to SFT-KD (purple); to the right is better. Does either kind bring a
# student from the orange dashed line to the blue ones, the teachers?
#
# ### Exercise 5.2 · Does the start help equally?
#
# Somebody has trained all four combinations of teacher and start (invented figures):
#
# | mean PSNR (dB) | random start | SFT start |
# |---|---|---|
# | standard teacher | 30.0 | 30.1 |
# | SFT teacher | 30.4 | 30.9 |
#
# "The start brings 0.3 dB" is true on average and of nobody. Return three numbers in dB: what the start brings under the
# **standard** teacher, what under the **SFT** teacher, and by how much the second exceeds the first (the *interaction*).
# `psnr["sft", "random"]` is the cell 30.4.


# %% tags=["exercise"]
def my_interaction(psnr):
    """Start under the standard teacher, start under the SFT teacher, their difference, in dB."""
    ...  # your code


# %% tags=["solution"]
def my_interaction(psnr):
    """Start under the standard teacher, start under the SFT teacher, their difference, in dB."""
    below_standard = psnr["standard", "sft"] - psnr["standard", "random"]
    below_sft = psnr["sft", "sft"] - psnr["sft", "random"]
    return below_standard, below_sft, below_sft - below_standard


# %%
checks.interaction(my_interaction)

# %% [markdown]
# ## The published figures, for orientation
#
# PSNR in dB, **as published** in Table 1 of [`gayathri2023`], Std-KD → SFT-KD, 150 epochs on other data:
#
# | published | brain 4x | cardiac 4x |
# |---|---|---|
# | teacher | 40.05 → 40.23 | 32.15 → 32.26 |
# | student | 39.49 | 31.68 |
# | FitNets | 39.52 → 40.08 | 31.90 → 31.95 |
# | AT | 39.76 → 40.07 | 31.95 → 32.03 |
#
# Over all 20 pairs of that table SFT-KD is above Std-KD by 0.27 dB on average, from 0.05 to 0.56 dB
# ([08](./08_the_study.ipynb)).
#
# ## Teacher or start?
#
# To know which of them helps, one needs four cells; the paper has three, for one case (AT, brain 4x):
#
# | as published | random start | SFT start |
# |---|---|---|
# | **standard teacher** | Std-KD, 39.76 dB | *not in the paper* |
# | **SFT teacher** | 39.99 dB (Table 5) | SFT-KD, 40.07 dB |
#
# **From a random start** the SFT teacher adds 0.23 dB, and below it the start adds 0.08 dB. Without the fourth cell nobody knows
# whether the start helps equally with both. Here are all four of your run, for the first method.
#
# **Before you run it:** suppose that only the start helps. Which two cells are good then?

# %%
pairs = [(side, start) for side in ("standard", "sft") for start in ("random", "sft")]
wanted = [lab.distillation(method, teacher=side, init=start) for side, start in pairs]
cells = dict(zip(pairs, lab.networks(wanted)))

# %%
psnr = {
    cell: results.evaluate(lab, network).groupby("subject").psnr.mean().mean()
    for cell, network in cells.items()
}
two_by_two = pd.Series(psnr).rename_axis(["teacher", "start"]).unstack().loc[["standard", "sft"]]
start_below = two_by_two["sft"] - two_by_two["random"]
interaction = start_below["sft"] - start_below["standard"]
print(f"{results.method_name(method)}, PSNR (dB), mean over people; student: {mean['student']:.2f}")
print(f"the start brings {start_below['standard']:+.2f} dB under the standard teacher,")
print(f"{start_below['sft']:+.2f} dB under the SFT teacher: interaction {interaction:+.2f} dB")
two_by_two.map("{:.2f}".format)

# %% [markdown]
# *What to see:* down a column the teacher changes, along a row the start. Compare the interaction with the tenths of a dB by
# which one training differs from the next.
#
# ## Or simply more training?
#
# A **control** is a student without any teacher that takes as many steps as lie behind the SFT-KD student, its schedule
# stretched over them. But somebody had to train the teacher, too: the last column counts the multiply-adds of all trainings
# behind a network.
#
# **Before you run it:** how many trainings of the plain student does one SFT-KD student cost: 2, 10, more than 50?

# %%
from kdrecon.runs import behind, training_cost

std_kd, sft_kd = cells["standard", "random"], cells["sft", "sft"]
control = lab.control(sft_kd)
once = training_cost([student.experiment]) / student.experiment.epochs
rows = {}
chosen = {"student": student, "Std-KD": std_kd, "SFT-KD": sft_kd, "control": control}
for name, network in chosen.items():
    cost = training_cost(behind(network.experiment)) / once
    rows[name] = {
        "steps of its weights": lab.student_steps(network),
        **by_group(results.evaluate(lab, network)),
    }
    rows[name]["cost in epochs of the student"] = f"{cost:,.0f}"
assert rows["control"]["steps of its weights"] == rows["SFT-KD"]["steps of its weights"]
pd.DataFrame(rows).T

# %% [markdown]
# *What to see:* where the control gains as much as SFT-KD, no teacher was needed. And nearly all of the cost is the teacher's.
#
# The course's study ([06](./06_evaluation.ipynb)) has made both comparisons with three seeds and the student D3C5: SFT-KD by AT
# minus the control of **equal steps** 0.00 dB, 95 % interval -0.38 to +0.38; minus the control of **equal cost**
# -0.23 dB, from -0.76 to +0.30. The paper has no such control; in its released code 600 epochs may lie behind an SFT-KD
# student, against 150 of the plain one.
#
# ### Exercise 5.3 · Which control is fair? (open)
#
# What would you hold constant to decide whether to distil: steps, multiply-adds, seconds, or the size of what is deployed? Write
# down what you expect, take the rows above that answer it (or train what is missing: with `ready = False`
# `lab.control(sft_kd, equal="cost")` is the other control, a quarter of an hour and more), and argue in five sentences. Name the strongest objection.
#
# ## Summary
#
# - SFT-KD changes the teacher, and the start of the student ($S_2\dots S_5$ copied, $S_1$ fresh).
# - A copy of weights deserves a check: count tensors, compare them, and let "nothing loaded" be an error.
# - To say *why* SFT-KD is better takes the 2×2, a control of equal steps, and one of equal cost.
#
# ## Questions
#
# <details><summary>1. Why is S1 not copied from the SFT training?</summary>
#
# No branch passes $S_1$, so it got no gradient and holds its random start.
# </details>
#
# <details><summary>2. A loader skips every tensor that does not fit. Why is that dangerous?</summary>
#
# Training simply starts from random weights, and the label says otherwise.
# </details>
#
# <details><summary>3. SFT-KD is 0.3 dB above Std-KD. Name three explanations.</summary>
#
# A teacher that is easier to follow; a better start; more training steps. (And with one seed: chance.)
# </details>
#
# <details><summary>4. Which cell tells the start from the teacher on the side of the standard teacher?</summary>
#
# Standard teacher with SFT start, compared with Std-KD: same teacher, other start.
# </details>
#
# <details><summary>5. Is a control fair if it counts steps?</summary>
#
# A step of SFT also runs the branches, one of distillation the teacher: multiply-adds are stricter.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `murugesan2020`.
#
# [next: 06 · Evaluation](./06_evaluation.ipynb)

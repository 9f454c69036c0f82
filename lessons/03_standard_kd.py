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
# # 03 · Standard knowledge distillation
#
# A large network teaches a small one: the small network sees not only the right image, but also what the large one
# makes of it.
#
# **What you will learn**
#
# - why a wrong answer of a teacher says something, and what takes its place when the answer is an image;
# - three things that a student can imitate, each an answer to a weakness of the one before: the teacher's image, its
#   features (FitNets), its attention (AT);
# - the few lines that turn the training loop of 02 into a distillation;
# - how to read a table of distilled students without fooling yourself.
#
# **Before you start:** you know the DC-CNN and its training from [02 · DC-CNN](./02_dccnn.ipynb). PyTorch basics are
# enough.
#
# **Minutes:** about 45 to read; the machine needs about 2 in quick mode on two cores, with the paper's recipe some hours.
#
# [previous: 02 · DC-CNN](./02_dccnn.ipynb) ·
# [next: 04 · Student-friendly joint training](./04_sft_joint_training.ipynb)

# %% tags=["parameters"] shown=["epochs", "methods", "lr", "seed", "ready"]

# %% tags=["laboratory"]

# %% [markdown]
# Which networks are these? Where each comes from when it is asked for, and what `ready=False` changes:

# %%
from kdrecon import results

results.origins(lab, "teacher", "student", *(f"kd-{key}" for key in methods))

# %% [markdown]
# ## Why small matters
#
# A network is of use where it runs: beside the scanner, in a browser ([09](./09_deploy.ipynb)). The **teacher** is a D5C5,
# the **student** has as many cascades of fewer convolutions. What is the difference on your machine?
#
# Both were trained alone. We ask for a student of this run: it is the yardstick of those that we distil, and must have as many
# epochs.

# %%
teacher, student = lab.teacher(), lab.student(ready=False)
models = {"teacher": teacher.model, "student": student.model}
cost = results.inference_cost(models, lab.test.task, lab.mask.shape, lab.device, batches=(1,))
cost = cost[cost.precision == "fp32"].set_index("network")
cost["MB"] = 4 * cost.parameters / 1e6  # four bytes a weight
cost[["parameters", "MB", "multiply-adds (G)", "ms per slice"]].round(3)

# %% [markdown]
# And what is the size worth? The test people are of two kinds: whole heads, and brains without skull, one compressed slice
# each ([00](./00_start_here.ipynb)). Each person counts once.

# %%
import pandas as pd


def by_people(networks):
    """Mean PSNR in dB of the people of each group, each person counted once."""
    rows = {}
    for name, network in networks.items():
        person = results.evaluate(lab, network).groupby("subject").psnr.mean()
        bare = person.index.str.startswith("antspyx")
        rows[name] = {
            "epochs": network.experiment.epochs,
            "whole heads": person[~bare].mean(),
            "skull-stripped": person[bare].mean(),
            "all people": person.mean(),
        }
    return pd.DataFrame.from_dict(rows, orient="index")


by_people({"zero-filled": lab.zero_filled(), "teacher": teacher, "student": student}).round(2)

# %% [markdown]
# *What to see:* what there is to gain between student and teacher, and for whom. This is one training each; over three seeds
# of 50 epochs the teacher leads this student by 1.9 dB on whole heads, and by 0.2 dB on the others.
#
# ## A wrong answer says something
#
# Distillation began with classifiers [`hinton2015`]. Show a photograph to an expert. The label says *van*. The expert
# says: a van; it might pass for a lorry; certainly no banana. The label knows less: to it a lorry is as wrong as a banana.
# **How wrong the wrong answers are** tells a student what vans look like.
#
# A classifier ends in one number $z_c$ a class, which softmax turns into shares. A *temperature* $T$ makes them softer, so
# that the small ones can be heard:
#
# $$p_c = \frac{e^{z_c/T}}{\sum_j e^{z_j/T}}$$

# %%
import torch

from kdrecon.teaching import checks

z = torch.tensor([9.0, 6.0, 1.0, -4.0])
shares = {f"T = {T}": (z / T).softmax(0).numpy() for T in (1, 4, 100)}
pd.DataFrame(shares, index=["van", "lorry", "bicycle", "banana"]).map("{:.1%}".format)

# %% [markdown]
# *What to see:* at $T = 1$ hardly more than the label, at $T = 4$ the order of the wrong answers, at $T = 100$ nothing.
#
# ### Exercise 3.1 · Soft answers
#
# `z` (B, C) holds one image a row. Return the shares (B, C) at temperature `T`, each row with the sum 1.


# %% tags=["exercise"]
def my_soft_answers(z, T):
    """Shares (B, C)."""
    ...  # your code


# %% tags=["solution"]
def my_soft_answers(z, T):
    """Shares (B, C)."""
    return (z / T).softmax(dim=1)


# %%
checks.soft_answers(my_soft_answers)

# %% [markdown]
# ## The teacher's image
#
# Our answer is an image: there are no classes and no wrong ones. What comes nearest is to **imitate the teacher's image**
# $x_T$ beside the right one, as KD-MRI [`murugesan2020`] does with $\alpha = 0.5$; $\langle\cdot\rangle$ is a mean over
# pixels:
#
# $$L = (1 - \alpha)\,\langle|x - x_S|\rangle + \alpha\,\langle|x_T - x_S|\rangle$$
#
# **Before you run the next cell:** think of one pixel, where $x = 0.5$ and the teacher says 0.6. Where will $L$ be smallest?

# %%
import matplotlib.pyplot as plt

from kdrecon.teaching import plots

value = torch.linspace(0.4, 0.7, 61)
to_x, to_teacher = (value - 0.5).abs(), (value - 0.6).abs()
half = (to_x + to_teacher) / 2
pixel = {"to x": to_x, "to the teacher": to_teacher, "half of each": half}
plots.lines(value.numpy(), {k: v.tolist() for k, v in pixel.items()}, "student's pixel", "loss")
plt.show()

# %%
between = (value > 0.501) & (value < 0.599)
assert torch.allclose(half[between], torch.tensor(0.05)), "flat between x and the teacher"

# %% [markdown]
# *What to see:* a flat valley. Every value from $x$ to $x_T$ costs the same; outside, both terms pull the same way. So
# this loss is *lenient* where the teacher fails: the student need not be better there. **At best** it reaches $x$, which it
# was told anyway, and with $\alpha = 1$ its teacher. We train one, with the switches `alpha` 0.5 and `weight_factor` 0,
# which leaves out what comes below.

# %%
from dataclasses import asdict

imitation = {"alpha": 0.5, "weight_factor": 0, "schedule": "joint"}
changed = {"switches": lab.parameters.switches | imitation, "methods": ["at"]}
lab_image = Laboratory(**asdict(lab.parameters) | changed, listeners=[live.curve])
distilled = {"Std-KD image": lab_image.distilled("at", ready=False)}

# %% [markdown]
# ## On the way: hints
#
# The weakness of that: an image says where to *end*, and the label says it better. A teacher could also show the *way*.
# Weights of two architectures cannot be compared, but what they make of the same slice can: the 32 images after a
# convolution, its **feature maps**. The usual place to look is the middle of each cascade.


# %%
from kdrecon.distillation import layer_pairs
from kdrecon.teaching import widgets


def look(model, batch, number):
    """The output, and for each cascade the maps (B, 32, H, W) after a convolution and its ReLU."""
    inside = number - 1
    x, maps = model.features(batch.x_u, batch.y, batch.mask, layers=[inside])
    return x, [cascade[inside].after for cascade in maps]


(middle_s,), (middle_t,) = layer_pairs("middle", student.model, teacher.model)
batch = next(lab.train.subset(8).batches(8))
with torch.no_grad():
    students = look(student.model, batch, middle_s)[1]
    teachers = look(teacher.model, batch, middle_t)[1]
depths = f"conv {middle_s} of {student.model.depth} beside conv {middle_t} of {teacher.model.depth}"
print(f"{len(teachers)} cascades, maps {tuple(teachers[0].shape)}: {depths}")

# %%
slice_number, cascade = len(batch.x) // 2, min(1, len(teachers) - 1)
strongest, numbers = {}, {}
for name, maps in {"teacher": teachers, "student": students}.items():
    z = maps[cascade][slice_number]
    order = z.std(dim=(1, 2)).argsort(descending=True)[:6]
    strongest[name] = (z[order] / z.std()).cpu().numpy()
    numbers[name] = [f"channel {c + 1}" for c in order]
columns = ["strongest", "2nd", "3rd", "4th", "5th", "6th"]
figure = plots.map_rows(strongest, columns, "feature / its std. deviation", "viridis", numbers)
figure.suptitle(f"the six strongest feature maps in cascade {cascade + 1}")
plt.show()

# %% [markdown]
# *What to see:* edges, flat tissue, ripples of aliasing. The strongest maps sit in different channels: the order of the 32
# is arbitrary in every network.
#
# **FitNets** [`romero2015`] takes the teacher's features $t$ as a *hint* for the student's $s$, both divided by the
# standard deviation of the teacher's, so that their units do not matter. Against the arbitrary order of channels it has a
# regressor $r$, a convolution of 1×1 that mixes the student's channels and is trained with the student:
#
# $$L_{hint} = \tfrac12 \,\big\langle (t - r(s))^2 \big\rangle$$
#
# How much can mixing do? The best $r$ for the student as it is follows from least squares. Beside it one that sees no
# student, and says the mean of each channel.


# %%
def best_hint(s, t):
    """The hint loss channel by channel, after the best mixing, and of one constant a channel."""
    s, t = (z.double().movedim(1, -1).flatten(0, 2) / t.std() for z in (s, t))  # (pixels, channels)
    one = torch.ones_like(s[:, :1])
    mixed, constant = (z @ (torch.linalg.pinv(z) @ t) for z in (torch.cat([s, one], 1), one))
    return [0.5 * float((t - z).square().mean()) for z in (s, mixed, constant)]


hints = pd.DataFrame(
    [best_hint(s, t) for s, t in zip(students, teachers)],
    [f"cascade {k + 1}" for k in range(len(teachers))],
    ["channel by channel", "best mixing", "no student, a constant"],
)
assert (hints["best mixing"] <= hints.min(axis=1) * 1.001).all()
hints.round(3)

# %% [markdown]
# *What to see:* channel by channel the hint is far off; mixing removes most of that, never all. In the course's student that
# layer is a filter of 3×3 pixels, while the teacher's third convolution has seen 7×7: it cannot be what the teacher's is.
#
# ## Only where: attention
#
# The weakness of hints: they ask for everything, 32 numbers a pixel, of a network that is meant to be small. **Attention
# transfer** [`zagoruyko2017`] asks only *where* the features are strong. Channels are squared and summed, which needs no
# order and no regressor:
#
# $$q = \sum_c F_c^2, \qquad \hat q = \frac{q}{\|q\|_2}, \qquad
# L_{AT} = \big\langle\, \|\hat q_S - \hat q_T\|_2 \,\big\rangle_{\text{slices, cascades}}$$
#
# ### Exercise 3.2 · Attention transfer by hand
#
# `s` and `t` are the maps (B, C, H, W) of student and teacher in one cascade. Return $L_{AT}$ of this
# cascade: attention maps of both, each **slice's** map divided by its own length, the distance for each
# slice, and the mean of the distances. Where your function is right, the loop below trains with it.


# %% tags=["exercise"]
def my_attention_loss(s, t):
    """L_AT of one cascade, a scalar."""
    ...  # your code


# %% tags=["solution"]
def my_attention_loss(s, t):
    """L_AT of one cascade, a scalar."""

    def attention(maps):
        q = maps.square().sum(dim=1).flatten(1)  # (B, H W)
        return q / q.norm(dim=1, keepdim=True)

    return (attention(s) - attention(t)).norm(dim=1).mean()


# %%
checks.attention_loss(my_attention_loss)

# %% [markdown]
# **Why one length a slice, and not one for the whole batch?** The code released with KD-MRI takes one for the batch. Try
# both: the distance of one slice, alone in its batch, and beside a neighbour of three times its strength.

# %%
from kdrecon.distillation import attention_map


def whole_batch(maps):
    q = maps.square().sum(dim=1).flatten(1)
    return q / q.norm()


rows = {}
for name, others in {"alone": 0, "beside a strong neighbour": 1}.items():
    s, t = (
        torch.cat([maps[cascade][:1], *[3 * maps[cascade][-1:]] * others])
        for maps in (students, teachers)
    )
    rows[name] = {
        "one length a slice": float((attention_map(s) - attention_map(t))[0].norm()),
        "one length a batch": float((whole_batch(s) - whole_batch(t))[0].norm()),
    }
assert abs(rows["alone"]["one length a slice"] / rows[name]["one length a slice"] - 1) < 1e-3
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# *What to see:* with one length a batch, what a slice is asked depends on which slices happen to be drawn with it: beside a
# strong neighbour it hardly counts. With a batch of one both are the same.
#
# **Before you run the next cell:** in which cascade will teacher and student attend to the same places most?


# %%
def picture(maps):
    """The attention map (H, W) of one slice, in units of its root mean square."""
    h, w = maps.shape[-2:]
    return attention_map(maps)[slice_number].reshape(h, w).cpu().numpy() * (h * w) ** 0.5


def distances(students):
    """The distance to the teacher's attention in each cascade, a mean over slices."""
    pairs = zip(students, teachers)
    return [float((attention_map(s) - attention_map(t)).norm(dim=1).mean()) for s, t in pairs]


rows = {"teacher": [picture(maps) for maps in teachers]}
rows["student"] = [picture(maps) for maps in students]
rows["|difference|"] = [abs(t - s) for t, s in zip(rows["teacher"], rows["student"])]
cells = {"|difference|": [f"distance {d:.2f}" for d in distances(students)]}
columns = [f"cascade {k + 1}" for k in range(len(teachers))]
figure = plots.map_rows(rows, columns, "attention (1 = root mean square)", cells=cells)
figure.suptitle("attention maps of the middle convolution")
plt.show()

# %% [markdown]
# *What to see:* in each column both networks at the same stage, below where they disagree: 0 for equal patterns,
# $\sqrt 2$ for maps that never overlap. Empty air can be bright, too: where a convolution sees zeros, its bias alone passes
# the ReLU. AT asks the student to make the bottom row dark.
#
# AT has its own weakness: it forgets *what* was seen there, and how slices and layers relate. Losses for that, and one of
# your own, are in [11 · More losses](./11_more_losses.ipynb), which may be skipped.
#
# ## The loop, with four lines more
#
# A distilled student minimises
#
# $$L = \langle|x - x_S|\rangle + w\, L_{KD}$$
#
# with one weight $w$ per method. The teacher is **frozen**: it shows and must not move. Apart from the lines marked *new*
# this is the training of 02.
#
# **Before you go on:** what would you check to be sure that the teacher is frozen?


# %%
def library_attention_loss(s, t):
    return (attention_map(s) - attention_map(t)).norm(dim=1).mean()


right = checks.attention_loss(my_attention_loss).right
attention_loss = my_attention_loss if right else library_attention_loss
print("this trains with", attention_loss.__name__)


def train(student, teacher, w, steps):
    optimiser = torch.optim.Adam(student.parameters(), lr=lr)
    losses = []
    for _ in range(steps):
        x_student, own = look(student, batch, middle_s)
        with torch.no_grad():  # new: no graph, no gradient, for the teacher
            _, shown = look(teacher, batch, middle_t)  # new
        terms = [attention_loss(s, t) for s, t in zip(own, shown)]  # new: one a cascade
        loss = (batch.x - x_student).abs().mean() + w * sum(terms) / len(terms)  # new: + w L_KD
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        losses.append(float(loss.detach()))
    return losses


# %% [markdown]
# And the library: `distil` makes the loss of a method, which every training of this course minimises. The same student,
# the same steps:

# %%
from kdrecon.runs import weights_hash
from kdrecon.training import distil

novice = lab.new_student()  # the same first weights, whenever it is asked for
objective = distil(novice, teacher.model, "at").to(lab.device)
objective.prepare(batch)  # measures the standard deviation of the teacher's maps
before = weights_hash(teacher.model), weights_hash(novice)
by_hand = train(lab.new_student(), teacher.model, objective.weight, steps=4)

optimiser, library = torch.optim.Adam(novice.parameters(), lr=lr), []
for _ in range(4):
    loss = objective(batch).total
    optimiser.zero_grad()
    loss.backward()
    optimiser.step()
    library.append(float(loss.detach()))
pd.DataFrame({"by hand": by_hand, "library": library}, [f"step {k}" for k in range(1, 5)])

# %%
assert all(abs(a - b) < 1e-3 * b for a, b in zip(by_hand, library))
assert weights_hash(teacher.model) == before[0], "the teacher has moved"
assert weights_hash(novice) != before[1], "the student has not moved"
assert all(p.grad is None for p in teacher.model.parameters())
print("equal losses; the teacher is bit-identical and has no gradients; the student has moved")

# %% [markdown]
# From here on `lab.distillation("at")` stands for that: the same random start, the same order of slices, as many epochs as
# the plain student. Only the second term differs. The parameter `methods` says which.

# %%
names = [f"Std-KD {results.method_name(key)}" for key in methods]
wanted = [lab.distillation(key) for key in methods]
distilled |= dict(zip(names, lab.networks(wanted, ready=False)))

# %%
curves = {"student": student.history}
curves |= {name: network.history for name, network in distilled.items()}
plots.validation_curves(curves)
plt.show()

# %% [markdown]
# *What to see:* the validation error of the distilled students (green) beside the plain one (orange). All flatten towards
# the end, where the learning rate has become small.
#
# ## How loud does the teacher speak?
#
# The sizes of the two *gradients* decide who is heard. If the second is tiny, the student is trained alone under another
# name; if it is huge, the right image hardly counts. Every training writes down both at its start.

# %%
from kdrecon.runs import read_record

rows = {}
for name, network in distilled.items():
    norms = read_record(network.folder).gradient_norms
    rows[name] = {f"gradient of the {term}": f"{norm:.2g}" for term, norm in norms.items()}
    second = sum(norm for term, norm in norms.items() if term != "reconstruction")
    rows[name]["second term / reconstruction"] = f"{second / norms['reconstruction']:.2f}"
pd.DataFrame(rows).T.fillna("-")

# %% [markdown]
# *What to see:* the weights $w$ were set once, to a ratio of about a half for the paper's pair of networks and a teacher
# trained long; another pair has another ratio. Would a louder teacher help? The course's study tried 1/9, 1/3, 3 and 9
# times the $w$ of AT (D3C5, 12 epochs, three seeds): all between −0.14 and +0.03 dB beside the plain student, none shown
# to differ.
#
# ## The table
#
# **Before you run it:** how large must a difference be before you believe it?

# %%
networks = {"zero-filled": lab.zero_filled(), "teacher": teacher, "student": student, **distilled}
table = by_people(networks)
table["minus student"] = table["all people"] - table["all people"]["student"]
people = pd.DataFrame(
    {n: results.evaluate(lab, m).groupby("subject").psnr.mean() for n, m in networks.items()}
)
above = people.gt(people["student"], axis=0).sum()
table["people above student"] = [f"{n} of {len(people)}" for n in above]
table.round(2)

# %% [markdown]
# *What to see:* first the teacher: is there a lead to pass on, and for whom? Then the distilled students: do they gain
# where it leads? Another seed easily moves such a network by tenths of a dB: this table is a quick run, one seed. The
# course's study trained each network three times, for 50 epochs, and gives intervals over people and seeds, in dB:

# %%
study = results.shipped_study("course").comparisons
study = study[(study.against == "student") & (study.metric == "psnr")].set_index("network")
chosen = ["teacher", "Std-KD AT", "Std-KD AT, network D2C5", "Std-KD FitNets"]
study.loc[chosen, ["reference", "difference", "low", "high", "verdict"]].round(2)

# %% [markdown]
# *What to see:* "student" alone is the paper's D3C5, D2C5 the course's. The teacher's lead on the D2C5 has an interval just
# above 0, on its own: "not shown" counts how many comparisons were made ([06](./06_evaluation.ipynb)). Every distilled
# student is above its plain one, and every interval of theirs holds 0: a gain of some tenths of a dB may be there or
# not, nine people and three seeds do not decide it.
#
# ## Where do they look now?
#
# Has the second term done what it says? The distance to the teacher's attention on slices that no network has seen.

# %%
unseen = lab.test.subset(3)
batch = next(unseen.batches(3))
models = {name: network.model for name, network in {"student": student, **distilled}.items()}
with torch.no_grad():
    teachers = look(teacher.model, batch, middle_t)[1]
    rows = {name: distances(look(model, batch, middle_s)[1]) for name, model in models.items()}
pd.DataFrame(rows, columns).T.round(2)

# %%
widgets.attention_figure(teacher.model, models, unseen, next(iter(models)), cascade=cascade + 1)
plt.show()

# %% [markdown]
# *What to see:* the plain student in one cascade of one slice. The table says which student has come closer to its teacher,
# and where. A student may look where its teacher looks and still reconstruct no better.
#
# *Try:* go through the networks. Is the student of AT closer in layers that AT did not compare, too?

# %%
widgets.attention_viewer(teacher.model, models, unseen)

# %% [markdown]
# ## Exercise 3.3 · Is it the teacher? (open)
#
# A second term changes a training even if it knows nothing. Find out what the *knowledge* is worth: distil from a teacher
# that has none, `Laboratory.new_student` has a sibling in `kdrecon.models.dc_cnn("D5C5")`, untrained. Choose the number of
# steps, the slices, the measure and the seeds; write down what you expect; run `train` with both teachers and with
# $w = 0$; argue in five sentences what your numbers show, and what they do not.
#
# ## Reading it honestly
#
# - A mean over people can hide that the whole heads gain and the others lose. Look at the groups.
# - PSNR and SSIM, validation and test may disagree about who is ahead. Then there is no winner.
# - If a distilled student is below the plain one, say so. In the paper's Table 1, the PSNR of Std-KD is below that
#   of the plain student in 5 of 20 cells [`gayathri2023`].
# - Distillation costs time, which a plain student could have had for more epochs.
#
# ## Summary
#
# - Soft answers say how wrong the wrong ones are. An image has none; imitating the teacher's makes a student lenient where
#   the teacher fails, and no better.
# - FitNets compares the features themselves and needs a regressor; AT only where they are strong, slice by slice.
# - A distillation is a training with a second term: reconstruction + $w$ × distillation, below a frozen teacher.
# - Gradient norms, not loss sizes, say how loud the teacher speaks.
#
# ## Questions
#
# <details><summary>1. Why can we not compare the weights of teacher and student directly?</summary>
#
# There are weights without a counterpart. And even equal architectures can hold the same function with permuted
# channels.
# </details>
#
# <details><summary>2. With α = 0.5, why is a student between x and the teacher's image not pulled to either?</summary>
#
# The two absolute differences add up to the distance between them, a constant: their gradients cancel.
# </details>
#
# <details><summary>3. What happens to the AT loss if all teacher maps are multiplied by 10?</summary>
#
# Nothing: $\hat q$ is normalised to length 1.
# </details>
#
# <details><summary>4. Which of FitNets and AT would notice if someone permuted the teacher's 32 channels?</summary>
#
# FitNets, until its regressor has learned to undo it. AT does not: a sum does not depend on the order.
# </details>
#
# <details><summary>5. How do you show that the teacher is frozen?</summary>
#
# Its weights are bit-identical before and after, no parameter has a gradient, and its outputs require none.
# </details>
#
# <details><summary>6. A method's distillation loss is 100 times smaller than the reconstruction loss. Is it without
# effect?</summary>
#
# Not necessarily: what moves the weights is the gradient. Compare gradient norms.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `murugesan2020`, `hinton2015`,
# `zagoruyko2017`, `romero2015`.
#
# [next: 04 · Student-friendly joint training](./04_sft_joint_training.ipynb)

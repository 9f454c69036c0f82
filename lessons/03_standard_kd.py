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
# A large network teaches a small one, which sees not only the right image, but also what the large one makes of it.
#
# **What you will learn**
#
# - why a wrong answer of a teacher says something;
# - what to imitate: images, features (FitNets), attention (AT), each for a weakness of the one before;
# - the few lines that turn the training of 02 into a distillation;
# - how to read a table of distilled students.
#
# **Before you start:** [02 · DC-CNN](./02_dccnn.ipynb).
#
# **Minutes:** about 60 to read; the machine needs 2 in quick mode on two cores, 1.5 with bf16 units, with the paper's recipe some hours.
#
# [previous: 02 · DC-CNN](./02_dccnn.ipynb) ·
# [next: 04 · Student-friendly joint training](./04_sft_joint_training.ipynb)

# %% tags=["parameters"] shown=["epochs", "methods", "lr", "seed", "ready"]

# %% tags=["laboratory"]

# %% [markdown]
# Which networks are these? Where each comes from when it is asked for, and what `ready=False` changes:

# %%
from kdrecon import results

results.origins(lab, "teacher", "student", "kd-image", *(f"kd-{key}" for key in methods))

# %% [markdown]
# ## Why small matters
#
# A network is of use where it runs: beside the scanner, in a browser ([09](./09_deploy.ipynb)). The **student** has as many
# cascades as its **teacher**, of fewer convolutions. What is the difference on your machine?
#
# The plain student is trained here, as long as those that we distil.

# %%
teacher, student = lab.teacher(), lab.student(ready=False)
models = {"teacher": teacher.model, "student": student.model}
print(f"{teacher.model.name} teaches {student.model.name}, cascades: {len(teacher.model.blocks)}")
cost = results.inference_cost(models, lab.test.task, lab.mask.shape, lab.device, batches=(1,))
cost = cost[cost.precision == "fp32"].set_index("network")
cost["MB"] = 4 * cost.parameters / 1e6  # four bytes a weight
cost[["parameters", "MB", "multiply-adds (G)", "ms per slice"]].round(3)

# %% [markdown]
# What is the size worth?

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
# *What to see:* what there is to gain, and for whom. Where *epochs* differ (the ready teacher has 50), longer training is part
# of it. In the course's study (three seeds, 50 epochs each) the D5C5 leads the D2C5 by 1.9 dB on whole heads, and by 0.2 dB on the others.
#
# ## A wrong answer says something
#
# Distillation began with classifiers [`hinton2015`]. The label of a photograph says *van*. An expert says: a van; it might
# pass for a lorry; certainly no banana. To the label a lorry is as wrong as a banana. **How wrong the wrong answers are**
# tells a student what vans look like.
#
# A classifier ends in one number $z_c$ per class, which softmax turns into shares. A *temperature* $T$ softens them:
#
# $$p_c=\frac{e^{z_c/T}}{\sum_j e^{z_j/T}}$$

# %%
import torch

from kdrecon.teaching import checks

z = torch.tensor([9.0, 6.0, 1.0, -4.0])
shares = {f"T = {T}": (z / T).softmax(0).numpy() for T in (1, 4, 100)}
pd.DataFrame(shares, index=["van", "lorry", "bicycle", "banana"]).map("{:.1%}".format)

# %% [markdown]
# *What to see:* at $T=1$ hardly more than the label, at $T=4$ the order of the wrong answers, at $T=100$ nothing.
#
# ### Exercise 3.1 · Hinton's loss (warm-up)
#
# `z_s` and `z_t` (B, C) are what student and teacher say of B images. Return, with shares $p^S$ and $p^T$ at temperature `T`,
#
# $$L=T^2\,\Big\langle\sum_c p^T_c\,\ln\frac{p^T_c}{p^S_c}\Big\rangle_{\text{images}}$$
#
# $T^2$ makes up for the gradients, which softening shrinks.


# %% tags=["exercise"]
def my_hinton_loss(z_s, z_t, T):
    """A scalar."""
    ...  # your code


# %% tags=["solution"]
def my_hinton_loss(z_s, z_t, T):
    """A scalar."""
    log_s, log_t = ((z / T).log_softmax(dim=1) for z in (z_s, z_t))
    return T**2 * (log_t.exp() * (log_t - log_s)).sum(dim=1).mean()


# %%
checks.hinton_loss(my_hinton_loss)

# %% [markdown]
# ## The teacher's image
#
# An image has no classes. What comes nearest is to **imitate the teacher's image** $x_T$ beside the right one $x$, as KD-MRI
# [`murugesan2020`] does with $\alpha = 0.5$; $\langle\cdot\rangle$ is a mean over pixels:
#
# $$L=(1-\alpha)\,\langle|x-x_S|\rangle+\alpha\,\langle|x_T-x_S|\rangle$$
#
# **Before you run the next cell:** in one pixel $x = 0.5$, and the teacher says 0.6. Where will $L$ be smallest?

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
# *What to see:* a flat valley. Every value from $x$ to $x_T$ costs the same: this loss is *lenient* where the teacher fails.
# **At best** the student reaches $x$, which it was told anyway. We train one.

# %%
distilled = {"Std-KD image": lab.distilled("image", ready=False)}

# %% [markdown]
# ## On the way: hints
#
# The weakness of that: an image says where to *end*, and the right image says it better. A teacher could also show the
# *way*. Weights of two architectures cannot be compared, but what both make of a slice can: the images after a
# convolution, one per channel, its **feature maps**. We look at the middle of each cascade.


# %%
from kdrecon.distillation import layer_pairs
from kdrecon.teaching import widgets


def look(model, batch, number):
    """The output, and for each cascade the maps (B, 32, H, W) after a convolution and its ReLU."""
    inside = number - 1
    x, maps = model.features(batch.x_u, batch.y, batch.mask, layers=[inside])
    return x, [cascade[inside].after for cascade in maps]


(middle_s,), (middle_t,) = layer_pairs("middle", student.model, teacher.model)
few = lab.train.subset(8)
batch = next(few.batches(8))
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
# *What to see:* edges, tissue, ripples. The strongest maps sit in different channels: their order is arbitrary.
#
# **FitNets** [`romero2015`] takes the teacher's features $t$ as a *hint* for the student's $s$, both divided by the
# standard deviation of $t$. Against the arbitrary order it has a *regressor* $r$, a convolution of 1×1 that mixes the
# student's channels and is trained with it:
#
# $$L_{hint}=\tfrac12\,\big\langle(t-r(s))^2\big\rangle$$
#
# How much can mixing do? Least squares gives the best $r$ for the student as it is, and the best that sees no student.


# %%
def best_hint(s, t):
    """The hint loss channel by channel, after the best mixing, and of one constant per channel."""
    unit = t.double().std()
    s, t = (z.double().movedim(1, -1).flatten(0, 2) / unit for z in (s, t))  # (pixels, channels)
    one = torch.ones_like(s[:, :1])
    guesses = [s]
    for known in (torch.cat([s, one], dim=1), one):
        guesses.append(known @ (torch.linalg.pinv(known) @ t))
    return [0.5 * float((t - guess).square().mean()) for guess in guesses]


hints = pd.DataFrame(
    [best_hint(s, t) for s, t in zip(students, teachers)],
    [f"cascade {k + 1}" for k in range(len(teachers))],
    ["channel by channel", "best mixing", "no student, a constant"],
)
assert (hints["best mixing"] <= hints.min(axis=1) * 1.001).all()
hints.round(3)

# %% [markdown]
# *What to see:* mixing helps much, and a rest remains. In the D2C5 this layer sees 3×3 pixels, in its teacher 7×7.
#
# ## Only where: attention
#
# The weakness of hints: they ask a small network for everything. **Attention transfer** [`zagoruyko2017`] asks only *where*
# the features are strong. Channels are squared and summed, which needs no order and no regressor:
#
# $$q=\sum_c F_c^2,\qquad\hat q=\frac{q}{\|q\|_2},\qquad
# L_{AT}=\big\langle\,\|\hat q_S-\hat q_T\|_2\,\big\rangle_{\text{slices, cascades}}$$
#
# ### Exercise 3.2 · Attention transfer by hand
#
# `s` and `t` are the maps (B, C, H, W) of student and teacher in one cascade. Return its $L_{AT}$: each **slice's** $q$
# divided by its own length, the distance for each slice, the mean over slices. If it is right, students below train with it.


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
# **Why one length per slice, and not one per batch,** as the code released with KD-MRI has it? The distance of one slice,
# alone and beside a neighbour three times as strong:

# %%
from kdrecon.distillation import attention_map


def whole_batch(maps):
    q = maps.square().sum(dim=1).flatten(1)
    return q / q.norm()


rows = {}
for company, neighbours in {"alone": 0, "beside a strong neighbour": 1}.items():
    s, t = [
        torch.cat([maps[cascade][:1], 3 * maps[cascade][-1:][:neighbours]])
        for maps in (students, teachers)
    ]
    rows[company] = {
        "one length per slice": float((attention_map(s) - attention_map(t))[0].norm()),
        "one length per batch": float((whole_batch(s) - whole_batch(t))[0].norm()),
    }
table = pd.DataFrame(rows).T
assert table["one length per slice"].max() < 1.001 * table["one length per slice"].min()
table.round(3)

# %% [markdown]
# *What to see:* with one length per batch, a slice hardly counts beside a strong neighbour: what it is asked depends on who
# is drawn with it. With a batch of one both are the same.
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
# *What to see:* in each column both networks at the same stage, below where they disagree: a distance of 0 for equal maps,
# $\sqrt2$ for maps that never overlap. Empty air can be bright, too, where a bias alone passes the ReLU.
#
# AT has a weakness, too: it forgets *what* was seen, and how slices relate. [11](./11_more_losses.ipynb) has losses for that.
#
# ## The loop, with four lines more
#
# A distilled student minimises
#
# $$L=\langle|x-x_S|\rangle+w\,L_{KD}$$
#
# with one weight $w$ per method, taught by a **frozen** teacher, which must not move. But for the lines marked *new* this is the
# training of 02, on one batch.
#
# **Before you go on:** how would you check that it is frozen?


# %%
def library_attention_loss(s, t):
    return (attention_map(s) - attention_map(t)).norm(dim=1).mean()


right = checks.attention_loss(my_attention_loss).right
attention_loss = my_attention_loss if right else library_attention_loss
print("this trains with", attention_loss.__name__)


def train(student, teacher, w, steps):
    optimiser = torch.optim.Adam(student.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, steps + 1, cycle_momentum=False)
    losses = []
    for _ in range(steps):
        x_student, own = look(student, batch, middle_s)
        with torch.no_grad():  # new: no graph, no gradient, for the teacher
            _, shown = look(teacher, batch, middle_t)  # new
        terms = [attention_loss(s, t) for s, t in zip(own, shown)]  # new: one per cascade
        loss = (batch.x - x_student).abs().mean() + w * sum(terms) / len(terms)  # new: + w L_KD
        optimiser.zero_grad()
        loss.backward()
        optimiser.step()
        schedule.step()
        losses.append(float(loss.detach()))
    return losses


# %% [markdown]
# The same student in the library's training, with the loss that `distil` makes:

# %%
import tempfile
from pathlib import Path

from kdrecon.runs import weights_hash
from kdrecon.training import Recipe, distil, fit

novice = lab.new_student()  # the same first weights, whenever it is asked for
before = weights_hash(teacher.model), weights_hash(novice)
objective = distil(novice, teacher.model, "at").to(lab.device)
recipe = Recipe(4, 8, lr, seed, precision="fp32", layout="contiguous", lr_schedule="one_cycle")
with tempfile.TemporaryDirectory() as folder:
    history = fit(objective, few, few, recipe, Path(folder), config={})
by_hand = train(lab.new_student(), teacher.model, objective.weight, steps=4)
losses = {"by hand": by_hand, "library": history.total.tolist()}
pd.DataFrame(losses, [f"step {k}" for k in range(1, 5)]).style.format("{:.6f}")

# %%
assert all(abs(a - b) < 1e-2 * b for a, b in zip(*losses.values()))
assert weights_hash(teacher.model) == before[0], "the teacher has moved"
assert weights_hash(novice) != before[1], "the student has not moved"
assert all(p.grad is None for p in teacher.model.parameters())
print("equal losses; the teacher is bit-identical and has no gradients; the student has moved")

# %% [markdown]
# From here on `lab.distillation("at")` stands for that, with the start, the order of slices and the epochs of the plain
# student. A function will do: where 3.2 is solved, `lab.distilled` trains one more student with yours, under its name.

# %%
names = [f"Std-KD {results.method_name(key)}" for key in methods]
wanted = [lab.distillation(key) for key in methods]
distilled |= dict(zip(names, lab.networks(wanted, ready=False)))
if right:
    distilled["Std-KD, your AT"] = lab.distilled(my_attention_loss, weight=objective.weight)

# %%
curves = {"student": student.history}
curves |= {name: network.history for name, network in distilled.items()}
plots.validation_curves(curves)
plt.show()

# %% [markdown]
# *What to see:* the validation error of the distilled students (green) and of the plain one (orange).
#
# ## How loud does the teacher speak?
#
# The sizes of the two *gradients* decide. If the second is tiny, the student is trained alone under another name; if it is
# huge, the right image hardly counts.

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
# *What to see:* $w$ was set once, to a ratio of about a half for the paper's networks after long training. Below a young teacher, or with a D2C5,
# the ratio at the first step may be far from that, and the teacher speaks softly. Would a louder one help? The study
# tried 1/9, 1/3, 3 and 9 times the $w$ of AT (D3C5, 12 epochs): all between −0.14 and +0.03 dB beside the plain student,
# none shown to differ.
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
# *What to see:* has the teacher a lead to pass on, and for whom? Do the students gain where it leads? Another seed moves such
# a network by tenths of a dB, and this is one. The study has three, and intervals over people and seeds, in dB:

# %%
study = results.shipped_study("course").comparisons
study = study[(study.against == "student") & (study.metric == "psnr")].set_index("network")
chosen = ["teacher", "Std-KD AT", "Std-KD AT, network D2C5", "Std-KD FitNets"]
study.loc[chosen, ["reference", "difference", "low", "high", "verdict"]].round(2)

# %% [markdown]
# *What to see:* "student" alone is the paper's D3C5, D2C5 the course's. The teacher's lead on the D2C5 is just above 0; "not
# shown" is said because many comparisons were made ([06](./06_evaluation.ipynb)). Every distilled student is above its
# plain one, and every interval of theirs holds 0: nine people and three seeds do not decide it.
#
# ## Where do they look now?
#
# The distance to the teacher's attention, on slices that no network has seen:

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
# *What to see:* one cascade of one slice; the table says who has come closer. A student may look where its teacher looks and
# still reconstruct no better.

# %%
widgets.attention_viewer(teacher.model, models, unseen)

# %% [markdown]
# ### Exercise 3.3 · Is it the teacher? (open)
#
# A second term changes a training even if it knows nothing. What is the *knowledge* worth? Distil from a teacher that has
# none, an untrained `kdrecon.models.dc_cnn(teacher.model.name)` on `lab.device`. Choose steps, measure and seeds; write
# down what you expect; run `train` with both teachers and with $w = 0$; argue in five sentences what your numbers show, and
# what they do not.
#
# ## Reading it honestly
#
# If a distilled student is below the plain one, say so: in the paper's Table 1, the PSNR of Std-KD is below that of the
# plain student in 5 of 20 cells [`gayathri2023`].
#
# ## Summary
#
# - Soft answers say how wrong the wrong ones are. The teacher's image makes a student lenient where the teacher fails.
# - FitNets compares features and needs a regressor; AT compares where they are strong, slice by slice.
# - Distilling adds a second term, $w\,L_{KD}$, and a frozen teacher; gradients say how loud it speaks.
#
# ## Questions
#
# <details><summary>1. Why not compare the weights of teacher and student?</summary>
#
# Some have no counterpart. And even equal architectures can hold the same function with permuted channels.
# </details>
#
# <details><summary>2. With α = 0.5, why is a student between x and the teacher's image not pulled to either?</summary>
#
# The two absolute differences add up to a constant: their gradients cancel.
# </details>
#
# <details><summary>3. What happens to the AT loss if all teacher maps are multiplied by 10?</summary>
#
# Nothing: $\hat q$ is normalised to length 1.
# </details>
#
# <details><summary>4. Which of FitNets and AT would notice if someone permuted the teacher's channels?</summary>
#
# FitNets, until its regressor has learned to undo it. AT does not: a sum does not depend on the order.
# </details>
#
# <details><summary>5. How do you show that the teacher is frozen?</summary>
#
# Its weights are bit-identical before and after. (`eval()` does not freeze them.)
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `murugesan2020`, `hinton2015`,
# `zagoruyko2017`, `romero2015`.
#
# [next: 04 · Student-friendly joint training](./04_sft_joint_training.ipynb)

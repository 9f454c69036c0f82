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
# # 11 · More losses: how things relate
#
# FitNets and attention transfer compare a slice with itself. Here teacher and student agree on how slices, or layers,
# *relate*. A class may skip this notebook; nothing later needs it.
#
# **What you will learn**
#
# - what is left of a batch when only the relations between its slices count, with three slices and numbers by hand;
# - four losses made of that: SP, CC, PKT, RKD; and FSP, which relates two layers;
# - what each is blind to, and how to try one that you invented.
#
# **Before you start:** [03 · Standard distillation](./03_standard_kd.ipynb).
#
# **Minutes:** about 30 to read; the machine needs less than one, if 03 has run.
#
# [previous: 03 · Standard distillation](./03_standard_kd.ipynb) ·
# [next: 04 · Student-friendly joint training](./04_sft_joint_training.ipynb)

# %% tags=["parameters"] shown=["epochs", "lr", "seed", "ready"]

# %% tags=["laboratory"]

# %% [markdown]
# ## Three slices, two features
#
# Say a teacher has two features, and sees three slices $a$, $b$, $c$. One student is the teacher turned by 90°: no feature
# has the value it had. In another student, $b$ has moved.
#
# **Before you run it:** which student would FitNets call the better one, as long as its regressor has not learned? Who of
# the two knows that $a$ is more like $b$ than like $c$?

# %%
import pandas as pd
import torch

from kdrecon.teaching import checks

teacher3 = torch.tensor([[4.0, 3.0], [3.0, 4.0], [5.0, 0.0]])  # a, b, c
turned = torch.tensor([[-3.0, 4.0], [-4.0, 3.0], [0.0, 5.0]])
moved = torch.tensor([[4.0, 3.0], [4.0, -3.0], [5.0, 0.0]])
three = {"teacher": teacher3, "turned": turned, "moved": moved}
distance = {name: float((q - teacher3).square().mean()) for name, q in three.items()}
pd.Series(distance, name="mean squared distance to the teacher").to_frame().T.round(2)

# %% [markdown]
# All the relations stand in one matrix, the inner products of the rows of $Q$ (one row per slice): $QQ^\top$. By hand, for the
# teacher: $a\cdot a=4^2+3^2=25$, $a\cdot b=12+12=24$, $a\cdot c=20$, $b\cdot c=15$. All three are of length 5, so the **cosines** are
# these numbers divided by 25: 0.96, 0.80, 0.60.

# %%
pairs = {"a, b": (0, 1), "a, c": (0, 2), "b, c": (1, 2)}


def at_pairs(matrix):
    """The entries of a matrix (3, 3) that stand for pairs of slices."""
    return {name: float(matrix[ij]) for name, ij in pairs.items()}


pd.DataFrame({name: at_pairs(q @ q.T) for name, q in three.items()}).T

# %% [markdown]
# *What to see:* to these numbers the turned student equals its teacher: what a feature is called, and which way it points,
# does not matter. The other has lost the likeness of $a$ and $b$. (FitNets saw it the other way round.)
#
# Four losses read that matrix in four ways:
#
# | loss | what becomes of the products | compared by |
# |---|---|---|
# | **SP**, similarity-preserving [`tung2019`] | $G$: each row divided by its length | squares |
# | **CC**, correlation congruence [`peng2019`] | $K$: a kernel of the cosines $c$, $e^{-2\gamma}\sum_{p=0}^{2}\frac{(2\gamma)^p}{p!}\,c^p$, $\gamma=0.4$ | squares |
# | **PKT**, probabilistic transfer [`passalis2018`] | $p$: $(1+c)/2$, each row divided by its sum | divergence, as of soft answers |
# | **RKD**, relational distillation [`park2019`] | distances between slices, divided by their mean, and angles | Huber |
#
# SP by hand: the row of $a$ is (25, 24, 20), of length 40.0, so that $b$ has 0.60 and $c$ 0.50 in it.
#
# Where the kernel comes from: $e^{-\gamma\|f_i-f_j\|^2}$ of features $f$ of length 1 calls two slices alike the nearer they are.
# $\|f_i-f_j\|^2=2-2c$ makes it $e^{-2\gamma}e^{2\gamma c}$, and the second factor is expanded to order 2. By hand, for $a, b$:
# $e^{-0.8}(1+0.8\cdot 0.96+0.32\cdot 0.96^2)=0.927$; without expansion 0.969.


# %%
def cosines(q):
    f = torch.nn.functional.normalize(q.flatten(1), dim=1)
    return f @ f.T


def similarity(q):  # SP
    q = q.flatten(1)
    return torch.nn.functional.normalize(q @ q.T, dim=1)


def correlation(q, gamma=0.4):  # CC
    a = 2 * gamma * cosines(q)
    return torch.exp(torch.tensor(-2 * gamma)) * (1 + a + a**2 / 2)


def likeness(q):  # PKT
    p = (1 + cosines(q)) / 2
    return p / p.sum(dim=1, keepdim=True)


def spacing(q):  # RKD, its distances
    d = torch.cdist(q.flatten(1), q.flatten(1))
    return d / d[~torch.eye(len(d), dtype=torch.bool, device=d.device)].mean()


# %%
matrices = {"SP": similarity, "CC": correlation, "PKT": likeness, "RKD": spacing}
rows = {
    (key, name): at_pairs(matrix(q))
    for key, matrix in matrices.items()
    for name, q in three.items()
}
assert abs(rows["CC", "teacher"]["a, b"] - 0.927) < 1e-3
assert abs(rows["SP", "teacher"]["a, b"] - 0.60) < 5e-3
pd.DataFrame(rows).T.round(3)

# %% [markdown]
# *What to see:* in each block the turned student repeats the teacher's row. SP, CC and PKT say how *alike* two slices are,
# RKD how *far apart*: its largest number is their smallest. CC's numbers lie close together, for a wide kernel finds
# everything alike.
#
# ### Exercise 11.1 · Similarity-preserving
#
# `s` and `t` are the maps (B, C, H, W) of student and teacher. Return
#
# $$L_{SP}=\frac{1}{B^2}\,\|G_T-G_S\|_F^2,\qquad G=\mathrm{rownorm}(QQ^\top)$$
#
# where $Q$ has all features of a slice in one row, rownorm divides each row by its length, and $\|\cdot\|_F^2$ is the sum of
# the squares of all entries.


# %% tags=["exercise"]
def my_similarity_loss(s, t):
    """L_SP of one cascade, a scalar."""
    ...  # your code


# %% tags=["solution"]
def my_similarity_loss(s, t):
    """L_SP of one cascade, a scalar."""

    def similarities(maps):
        q = maps.flatten(1)
        products = q @ q.T
        return products / products.norm(dim=1, keepdim=True)

    return (similarities(t) - similarities(s)).square().mean()


# %%
checks.similarity_loss(my_similarity_loss)

# %% [markdown]
# ## Eight slices of heads
#
# The same with features of teacher and student, in the middle of each cascade.

# %%
from kdrecon.distillation import METHODS, layer_pairs

teacher, student = lab.teacher(), lab.student()
batch = next(lab.train.subset(8).batches(8))


def maps_of(model, number):
    """Maps (B, 32, H, W) after a convolution and its ReLU, a list over cascades."""
    with torch.no_grad():
        _, maps = model.features(batch.x_u, batch.y, batch.mask, layers=[number - 1])
    return [cascade[number - 1].after for cascade in maps]


(middle_s,), (middle_t,) = layer_pairs("middle", student.model, teacher.model)
teachers, students = maps_of(teacher.model, middle_t), maps_of(student.model, middle_s)


# %%
def squares(matrix):
    """Mean over cascades of the mean squared difference of a matrix of teacher and student."""
    pairs = zip(students, teachers)
    return sum(float((matrix(t) - matrix(s)).square().mean()) for s, t in pairs) / len(students)


of_library = {}
for key in ("SP", "CC"):
    loss = METHODS[key.lower()](cascades=len(students))
    of_library[key] = float(loss(students, teachers))
by_hand = {"SP": squares(similarity), "CC": squares(correlation)}
assert all(abs(by_hand[key] / of_library[key] - 1) < 1e-3 for key in by_hand)
pd.DataFrame({"by hand": by_hand, "library": of_library})

# %%
import matplotlib.pyplot as plt

from kdrecon.teaching import plots

cascade, shown = min(1, len(teachers) - 1), {}
for name, matrix in {"SP: similarity G": similarity, "CC: correlation K": correlation}.items():
    pair = [matrix(maps[cascade]).cpu().numpy() for maps in (teachers, students)]
    shown[f"{name}, cascade {cascade + 1}"] = pair
plots.matrix_pairs(shown, "slice", "slice")
plt.show()

# %% [markdown]
# *What to see:* a row and a column for each slice. In K, bright means "alike", and the diagonal is brightest. In G, a slice
# with strong features makes its whole column bright as well. Look at the colour bars: all values lie close together, for
# slices of heads have much in common. A matrix of B × B numbers is all that is left of millions of features: these losses
# ask for little, and need at least two slices in a batch (the angles of RKD three).
#
# ## Between layers: FSP
#
# **FSP, flow of solution procedure** [`yim2017`] relates two *layers* of one slice. Its Gram matrix says how the channels of
# an early layer $F_a$ go with those of a late one $F_b$ (the first and the last but one convolution of a cascade, which in
# a D2C5 are the same; $N$ pixels):
#
# $$G=\frac1N F_a^\top F_b\in\mathbb R^{32\times 32},\qquad L_{FSP}=\big\langle(G_T-G_S)^2\big\rangle$$
#
# ### Exercise 11.2 · The flow between two layers
#
# `early` and `late` are maps (B, C, H, W) of two layers. Return $G$ of each slice, (B, C, C).


# %% tags=["exercise"]
def my_flow(early, late):
    """G (B, C, C)."""
    ...  # your code


# %% tags=["solution"]
def my_flow(early, late):
    """G (B, C, C)."""
    pixels = early.shape[2] * early.shape[3]
    return early.flatten(2) @ late.flatten(2).transpose(1, 2) / pixels


# %%
checks.flow(my_flow)


# %%
def gram(early, late):
    return torch.einsum("bihw,bjhw->bij", early, late) / early[0, 0].numel()


ends_s, ends_t = layer_pairs("ends", student.model, teacher.model)
flows_s = list(zip(*(maps_of(student.model, number) for number in ends_s)))
flows_t = list(zip(*(maps_of(teacher.model, number) for number in ends_t)))
fsp = sum((gram(*t) - gram(*s)).square().mean() for s, t in zip(flows_s, flows_t)) / len(flows_t)
library = METHODS["fsp"](cascades=len(flows_t))(flows_s, flows_t)
assert abs(float(fsp / library) - 1) < 1e-3
print(f"FSP by hand {float(fsp):.3g}, library {float(library):.3g}")

# %%
grams = [gram(*flows[cascade])[0].cpu().numpy() for flows in (flows_t, flows_s)]
title = f"FSP: Gram matrix of a slice, cascade {cascade + 1}"
plots.matrix_pairs({title: grams}, "early channel", "late channel")
plt.show()

# %% [markdown]
# *What to see:* a bright row is an early channel that many late ones go with, a bright column a late channel that many
# early ones feed. Nothing says that channel 5 of the teacher is channel 5 of the student: here the order matters.
#
# | method | what is compared | numbers per slice and cascade | depends on the channel order |
# |---|---|---|---|
# | FitNets | features | 32 H W | yes, until the regressor has learned to mix |
# | AT | where features are strong | H W | no |
# | FSP | channels of two layers | 32 × 32 | yes |
# | SP, CC, PKT, RKD | likeness of slices | B | no |
#
# ## All methods
#
# The parameter `methods` of 03 and 05 takes any of these.

# %%
from kdrecon.distillation import method_keys

said = {key: METHODS[key].__doc__.partition("\n")[0] for key in method_keys() if key in METHODS}
said["image"] = "Image: no maps; the teacher's image is imitated beside the true one, as in 03."
said["ikd"] = "IKD: no second term; cascades of both networks are mixed at random in every step."
pd.set_option("display.max_colwidth", 130)
pd.Series(said, name="in a sentence").to_frame()

# %% [markdown]
# ## One of your own
#
# A method is a loss between the maps of student and teacher in one cascade, and a function will do. This one compares nothing but
# how strong each channel is on average, sorted, so that their order does not matter. A short training with it:
#
# **Before you run it:** which two different teachers would be one and the same to it?


# %%
def sorted_strengths(s, t):
    """Mean squared difference of the channels' mean strengths, in ascending order."""
    sorted_s, sorted_t = (maps.mean(dim=(2, 3)).sort(dim=1).values for maps in (s, t))
    return (sorted_s - sorted_t).square().mean()


# %%
import tempfile
from pathlib import Path

from kdrecon.distillation import own_method
from kdrecon.training import Recipe, distil, fit

few, mine = lab.train.subset(8), own_method(sorted_strengths, weight=1e-2)
objective = distil(lab.new_student(), teacher.model, mine).to(lab.device)
with tempfile.TemporaryDirectory() as folder:
    history = fit(objective, few, few, Recipe(4, 4, lr, seed), Path(folder), config={})
assert history.distillation.gt(0).all()
history[["epoch", "reconstruction", "distillation"]].style.hide().format(precision=4)

# %% [markdown]
# Two teachers with the same strengths in other *places* are one to this loss. `lab.distilled(sorted_strengths, weight=1e-2)` trains
# a student with it as with any other, and records it under its name. How a method stays in the library:
# [CONTRIBUTING](../CONTRIBUTING.md#a-new-distillation-method).
#
# ### Exercise 11.3 · Your own loss (open)
#
# Say in one sentence what a student should have of its teacher that no loss above asks for. Write it. Say what your loss is
# blind to, with an example of two different teachers that it cannot tell apart. Train it beside the plain student for as
# many epochs as you can afford, with more than one `seed`, and argue what your numbers show.
#
# ## Summary
#
# - SP, CC, PKT and RKD compare how slices relate: features may be renamed, mixed by a rotation or be of another number.
# - They ask for B numbers per slice, and depend on which slices share a batch.
# - FSP relates two layers, channel by channel.
# - Each loss is blind to something. Whether that hurts is for a measurement to say.
#
# ## Questions
#
# <details><summary>1. Why do SP and CC need a batch of at least two slices?</summary>
#
# With one slice there is a single number, the likeness of the slice with itself, and it is the same for teacher and
# student.
# </details>
#
# <details><summary>2. Which methods would not notice if someone permuted the teacher's 32 channels?</summary>
#
# AT, SP, CC, PKT and RKD: sums, products and distances over channels do not depend on their order. FSP would notice.
# FitNets notices too, but its regressor can learn to undo the permutation.
# </details>
#
# <details><summary>3. All features of one slice become twice as large. What happens to CC, and what to SP?</summary>
#
# CC: nothing, it knows only cosines. SP: the column of that slice grows before each row is divided by its length, so all
# rows change.
# </details>
#
# <details><summary>4. The teacher's maps have 32 channels and the student's 8. Which losses still work as they are?</summary>
#
# AT and the relations between slices: they leave no channels. FitNets needs a regressor from 8 to 32, FSP has matrices of
# another shape.
# </details>
#
# <details><summary>5. AT depends on a slice alone. What does SP depend on besides, and why may that be unwelcome?</summary>
#
# On the other slices of the batch: the same slice is asked something else in the next epoch, and with a batch of two there
# is a single relation.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `tung2019`, `peng2019`, `passalis2018`, `park2019`,
# `yim2017`.
#
# [next: 04 · Student-friendly joint training](./04_sft_joint_training.ipynb)

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
# A large network teaches a small one: the small network sees not only the right image, but also how the
# large one looks at it on the way.
#
# **What you will learn**
#
# - where the "knowledge" of a reconstruction network can be found: outputs, feature maps, attention maps,
#   relations;
# - how attention transfer (AT) works, derived by hand in a few lines;
# - four more ways to compare two networks: FitNets, CC, FSP and SP, each as an equation and a picture;
# - what "the teacher is frozen" means and how to check it;
# - how to read a table of distilled students without fooling yourself.
#
# **Before you start:** you know the DC-CNN and its data-fidelity layers from
# [02 · DC-CNN](./02_dccnn.ipynb). PyTorch basics are enough.
#
# **Minutes:** about 2 in quick mode on two cores; with the paper's recipe (150 epochs, full resolution)
# some hours, on a GPU far less.
#
# [previous: 02 · DC-CNN](./02_dccnn.ipynb) ·
# [next: 04 · Student-friendly joint training](./04_sft_joint_training.ipynb)

# %% tags=["parameters"]

# %% tags=["laboratory"]

# %% [markdown]
# ## Two networks
#
# The **teacher** is a D5C5: five cascades of five convolutions. The **student** is a D3C5: five cascades of
# three convolutions, about a third of the parameters. Both were trained alone, each only with the fully
# sampled image $x$.
#
# The plain student is our yardstick, so it must have seen as many epochs as the students we are about to
# distil. `ready=False` makes sure of that: it is the student that this run trained, not a ready one trained
# for longer.
#
# To open quickly, the notebooks 03 to 06 take networks that this run has trained before or, where they fit,
# networks that ship with the repository. Set `ready = False` in the parameters cell to train everything
# yourself.

# %%
from kdrecon.models import count_parameters

teacher = lab.teacher()
student = lab.student(ready=False)
for network in (teacher, student):
    e = network.experiment
    size = count_parameters(network.model)
    print(f"{e.architecture} {e.role}: {size:,} parameters, {e.epochs} epochs")

# %% [markdown]
# ## What does a network know?
#
# The fully sampled image says only where to end. A teacher also shows the way: what each of its cascades makes of
# the image. Whether that helps is what we measure below; after a short training the teacher may even be behind the
# student, and then only the mechanics can be seen.
#
# A network's weights hold all it knows, but weights of two different architectures cannot be compared. What can be
# compared is what the networks *do* with the same image:
#
# 1. **outputs**: the reconstructions (no method here uses them; a term of [04](./04_sft_joint_training.ipynb) does);
# 2. **feature maps**: the 32 images after a convolution;
# 3. **attention maps**: where in the image the features are strong, all 32 maps in one;
# 4. **relations**: how similar the features of two slices, or of two layers, are.
#
# We ask the model for its feature maps with `features` and the indices of the convolutions that we want to look
# at. The usual place is the middle of each cascade, conv 3 of 5 in the teacher and conv 2 of 3 in the
# student (indices 2 and 1, counted from 0). There are as many cascades in both, so every teacher map has a
# student counterpart.


# %%
import matplotlib.pyplot as plt
import torch

from kdrecon.distillation import layer_pairs
from kdrecon.teaching import checks, plots, widgets


def maps_of(model, batch, conv):
    """Feature maps (B, 32, H, W) of one convolution, after ReLU, a list over cascades."""
    with torch.no_grad():
        _, maps = model.features(batch.x_u, batch.y, batch.mask, layers=[conv])
    return [cascade[conv].after for cascade in maps]


shown = lab.train.subset(8)
batch = next(shown.batches(8))
(middle_s,), (middle_t,) = layer_pairs("middle", student.model, teacher.model)  # counted from 1
teachers = maps_of(teacher.model, batch, middle_t - 1)
students = maps_of(student.model, batch, middle_s - 1)
print(len(teachers), "cascades, maps of", tuple(teachers[0].shape), "and", tuple(students[0].shape))
assert [t.shape for t in teachers] == [s.shape for s in students]

# %%
slice_number, cascade = len(shown) // 2, min(1, len(teachers) - 1)
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
# *What to see:* edges, flat tissue, ripples of aliasing. The strongest maps sit in different channels: channel 1 of
# the teacher has no reason to look like channel 1 of the student, for the order of the 32 channels is arbitrary in
# every network. A method that compares channel by channel must deal with that. A method that does not depend on the
# order has an easier life.

# %% [markdown]
# ## Attention maps
#
# Attention transfer [`zagoruyko2017`] drops the channel order with a sum. For feature maps $F_c$ with
# channels $c$:
#
# $$q = \sum_c F_c^2, \qquad \hat q = \frac{q}{\|q\|_2}, \qquad
# L_{AT} = \big\langle\, \|\hat q_S - \hat q_T\|_2 \,\big\rangle_{\text{samples, cascades}}$$
#
# ⟨·⟩ is a mean. $q$ has one value a pixel: where the features are strong. The normalisation removes the overall
# strength, so that only the *pattern* is compared. It is done per image, and then the distances are averaged over
# samples and cascades.
#
# ### Exercise 3.1 · Attention transfer by hand
#
# `s` and `t` are the maps (B, C, H, W) of student and teacher in one cascade. Return $L_{AT}$ of this
# cascade: attention maps of both, each **slice's** map divided by its own length, the distance for each
# slice, and the mean of the distances.


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

# **Before you run the next cells:** in which of the five cascades will teacher and student attend to the same places
# most? Take a guess.


# %%
from kdrecon.distillation import METHODS, attention_map

distances = [
    float((attention_map(s) - attention_map(t)).norm(dim=1).mean())
    for s, t in zip(students, teachers)
]
loss = float(METHODS["at"](cascades=len(students))(students, teachers))
print(f"L_AT = {loss:.5f}, the mean over cascades of", ", ".join(f"{d:.3f}" for d in distances))
assert abs(sum(distances) / len(distances) - loss) <= 1e-4 * loss


# %%
def picture(maps):
    """The attention map (H, W) of one slice, in units of its root mean square."""
    h, w = maps.shape[-2:]
    return attention_map(maps)[slice_number].reshape(h, w).cpu().numpy() * (h * w) ** 0.5


rows = {
    "teacher": [picture(maps) for maps in teachers],
    "student": [picture(maps) for maps in students],
}
rows["|difference|"] = [abs(t - s) for t, s in zip(rows["teacher"], rows["student"])]
cells = {"|difference|": [f"distance {d:.2f}" for d in distances]}
columns = [f"cascade {k + 1}" for k in range(len(distances))]
figure = plots.map_rows(rows, columns, "attention (1 = root mean square)", cells=cells)
figure.suptitle("attention maps of the middle convolution")
plt.show()

# %% [markdown]
# *What to see:* in each column the two networks at the same stage of the reconstruction; below, where they
# disagree. The number is the distance $\|\hat q_S - \hat q_T\|_2$, averaged over the slices: 0 for equal
# patterns, $\sqrt 2$ for maps that never overlap. The smallest one answers the guess. Empty air can be bright, too: where
# a convolution sees zeros, its bias alone passes the ReLU. Attention transfer asks the student to make the bottom row
# dark.

# %% [markdown]
# ## Four more ways to compare
#
# Two ingredients are common to all methods. Teacher and student maps are first divided by $\sigma$, the
# standard deviation of the teacher's map in that cascade, so that no loss depends on the units of the
# features. And the loss is averaged over the cascades.

# %%
sigma = [t.std() for t in teachers]
teachers = [t / s for t, s in zip(teachers, sigma)]
students = [s / g for s, g in zip(students, sigma)]


def average(loss):
    """Mean over cascades of a loss(student, teacher)."""
    return float(sum(loss(s, t) for s, t in zip(students, teachers)) / len(students))


def agrees(key, value, *maps):
    method = METHODS[key](students[0].shape[1], len(students)).to(lab.device)  # channels, cascades
    library = float(method(*(maps or (students, teachers))).detach())
    print(f"{key}: by hand {value:.5f}, library {library:.5f}")
    assert abs(value - library) <= 1e-3 * abs(library) + 1e-7


# %% [markdown]
# **FitNets** [`romero2015`] takes the features themselves as a *hint*. A small regressor $r$ (a 1×1
# convolution, trained with the student) may mix the student's channels, which is its answer to the
# arbitrary order of channels:
#
# $$L_{hint} = \tfrac12 \,\big\langle (t - r(s))^2 \big\rangle$$
#
# Here $r$ starts as the identity.

# %%
hint = average(lambda s, t: 0.5 * (t - s).square().mean())
agrees("fitnets", hint)

spread_t, spread_s = (maps[cascade][slice_number].std(dim=(1, 2)) for maps in (teachers, students))
channel = int((spread_t * spread_s).argmax())  # one that is alive in both
t, s = (maps[cascade][slice_number, channel].cpu().numpy() for maps in (teachers, students))
figure = plots.map_rows(
    {f"channel {channel + 1}": [t, s, abs(t - s)]},
    ["teacher", "student", "|t - s|"],
    "feature / σ",
    "viridis",
)
figure.suptitle("FitNets: pixel by pixel, channel by channel")
plt.show()

# %% [markdown]
# *What to see:* before any training of $r$ the two channels show different things, so the hint loss is
# large almost everywhere. FitNets asks for the most: the full features, not a summary.

# %% [markdown]
# **SP, similarity-preserving** [`tung2019`], does not compare features but *relations between samples*.
# With all features of a sample in one row of $Q$ ($B$ samples, $B$ rows), rownorm dividing each row by its length, and
# $\|\cdot\|_F^2$ the sum of the squares of all entries:
#
# $$G = \mathrm{rownorm}(Q Q^\top), \qquad L_{SP} = \frac{1}{B^2}\,\|G_T - G_S\|_F^2$$
#
# **CC, correlation congruence** [`peng2019`], does the same with another similarity. With $f_i$ the
# features of sample $i$ normalised to length 1, it takes a Gaussian kernel with $\gamma = 0.4$. Because
# $\|f_i - f_j\|^2 = 2 - 2 f_i^\top f_j$, it is $e^{-\gamma\|f_i - f_j\|^2} = e^{-2\gamma} e^{2\gamma f_i^\top f_j}$, and
# the second factor is expanded to order 2:
#
# $$K_{ij} = e^{-2\gamma}\sum_{p=0}^{2}\frac{(2\gamma)^p}{p!}\,(f_i^\top f_j)^p, \qquad
# L_{CC} = \frac{1}{B^2}\,\|K_T - K_S\|_F^2$$


# %%
def similarity(maps):  # SP
    q = maps.flatten(1)
    return torch.nn.functional.normalize(q @ q.T, dim=1)


def correlation(maps, gamma=0.4):  # CC
    f = torch.nn.functional.normalize(maps.flatten(1), dim=1)
    a = 2 * gamma * (f @ f.T)
    return torch.exp(torch.tensor(-2 * gamma)) * (1 + a + a**2 / 2)


if len(shown) > 1:
    agrees("sp", average(lambda s, t: (similarity(t) - similarity(s)).square().mean()))
    agrees("cc", average(lambda s, t: (correlation(t) - correlation(s)).square().mean()))

# %%
pairs = {}
for name, matrix in {"SP: similarity G": similarity, "CC: correlation K": correlation}.items():
    pair = [matrix(maps[cascade]).cpu().numpy() for maps in (teachers, students)]
    pairs[f"{name}, cascade {cascade + 1}"] = pair
plots.matrix_pairs(pairs, "slice", "slice")
plt.show()

# %% [markdown]
# *What to see:* one row and one column a slice, in the order of the data set. In K, bright means "these two slices look
# alike to the network", and the diagonal is brightest: each slice is most like itself. In G, a slice with strong features
# makes its whole column bright as well. Look at the colour bars: all values lie close together, for slices of heads have
# much in common. A matrix of B × B numbers is all that is left of millions of features: SP and CC ask for little, and
# need at least two slices in a batch.

# %% [markdown]
# **FSP, flow of solution procedure** [`yim2017`], looks at *relations between layers*. Its Gram matrix says
# how the channels of an early layer $F_a$ go with those of a late layer $F_b$ (here: the first and the
# last-but-one convolution of a cascade; $N$ pixels):
#
# $$G = \frac1N F_a^\top F_b \in \mathbb R^{32\times 32}, \qquad
# L_{FSP} = \big\langle (G_T - G_S)^2 \big\rangle$$


# %%
def early_and_late(model):
    return list(zip(maps_of(model, batch, 0), maps_of(model, batch, model.depth - 2)))


def gram(early, late):
    return early.flatten(2) @ late.flatten(2).transpose(1, 2) / early[0, 0].numel()


scales = [[z.std() for z in pair] for pair in early_and_late(teacher.model)]
pairs_t, pairs_s = (
    [
        tuple(z / g for z, g in zip(pair, scale))
        for pair, scale in zip(early_and_late(model), scales)
    ]
    for model in (teacher.model, student.model)
)
fsp = sum((gram(*t) - gram(*s)).square().mean() for s, t in zip(pairs_s, pairs_t)) / len(pairs_t)
agrees("fsp", float(fsp), pairs_s, pairs_t)

# %%
grams = [gram(*pairs[cascade])[slice_number].cpu().numpy() for pairs in (pairs_t, pairs_s)]
title = f"FSP: Gram matrix of a slice, cascade {cascade + 1}"
plots.matrix_pairs({title: grams}, "early channel", "late channel")
plt.show()

# %% [markdown]
# *What to see:* a bright row is an early channel that many late channels go with, a bright column a late
# channel that many early ones feed. Here, too, the channel order matters.
#
# | method | what is compared | numbers a slice and cascade | depends on the channel order |
# |---|---|---|---|
# | FitNets | features | 32 H W | yes, until the regressor has learned to mix |
# | AT | where features are strong | H W | no |
# | FSP | channels of two layers | 32 × 32 | yes |
# | SP, CC | similarity of slices | B | no |

# %% [markdown]
# ## The loss, and the frozen teacher
#
# A distilled student minimises
#
# $$L = \langle|x - x_S|\rangle + w\, L_{KD}$$
#
# with one fixed weight $w$ a method. The teacher only shows; it must not be moved by what the student does.
# So the teacher's forward pass builds no graph, and its weights take no part in the optimisation.
#
# **Before you go on:** what would you check to be sure that the teacher is frozen?

# %% [markdown]
# ### Exercise 3.2 · Freeze it
#
# Freeze a model: its weights keep their values and take no part in any training. Return the model.


# %% tags=["exercise"]
def my_freeze(model):
    """The same model, frozen."""
    ...  # your code


# %% tags=["solution"]
def my_freeze(model):
    """The same model, frozen."""
    return model.requires_grad_(False)


# %%
checks.freeze(my_freeze)

# %% [markdown]
# ### Exercise 3.3 · The whole loss
#
# `compare(students, teachers)` is the distillation loss of some method, and $x$ the fully sampled image.
# Return $L$. Its gradient must reach the student and nothing of the teacher, whatever `compare` does.


# %% tags=["exercise"]
def my_distillation_loss(x, x_student, students, teachers, compare, w):
    """L, a scalar; students and teachers are lists of maps."""
    ...  # your code


# %% tags=["solution"]
def my_distillation_loss(x, x_student, students, teachers, compare, w):
    """L, a scalar; students and teachers are lists of maps."""
    shown = [t.detach() for t in teachers]
    return (x - x_student).abs().mean() + w * compare(students, shown)


# %%
checks.distillation_loss(my_distillation_loss)

# %% [markdown]
# And now three steps of it with the library.

# %%
from kdrecon.runs import weights_hash
from kdrecon.training import distil

method = methods[0]
batch = next(lab.train.subset(batch_size).batches(batch_size))
novice = lab.new_student()
objective = distil(novice, teacher.model, method, kd_form=lab.switches.kd_form).to(lab.device)
objective.prepare(batch)  # measures σ on this batch

before = weights_hash(teacher.model), weights_hash(novice)
optimiser = torch.optim.Adam((p for p in objective.parameters() if p.requires_grad), lr=lr)
for step in range(3):
    loss = objective(batch)
    optimiser.zero_grad()
    loss.total.backward()
    optimiser.step()
    terms = ", ".join(f"{name} {float(term.detach()):.4f}" for name, term in loss.terms.items())
    print(f"step {step + 1}: {terms}")

# %%
assert weights_hash(teacher.model) == before[0], "the teacher has moved"
assert weights_hash(novice) != before[1], "the student has not moved"
assert all(p.grad is None for p in teacher.model.parameters())
assert not teacher.model(batch.x_u, batch.y, batch.mask).requires_grad
print("teacher: bit-identical, no gradients, outputs need no gradient; student: moved")

# %% [markdown]
# ## How loud does the teacher speak?
#
# Two losses are added, so their *sizes* and the *sizes of their gradients* decide who is heard. If the
# gradient of the distillation term is tiny, the student is trained alone under another name. If it is huge,
# the image hardly counts. Here is the start of training, for an untrained student and this run's teacher.

# %%
import pandas as pd

from kdrecon import results
from kdrecon.distillation import FORMS
from kdrecon.training import gradient_norms

forms, start = FORMS[lab.switches.kd_form], {}
for key in [key for key in methods if key in forms] or ["at"]:  # IKD has no second term
    torch.manual_seed(seed)
    fresh = lab.new_student()
    objective = distil(fresh, teacher.model, key, kd_form=lab.switches.kd_form).to(lab.device)
    objective.prepare(batch)
    terms = {name: float(term.detach()) for name, term in objective(batch).terms.items()}
    norms = gradient_norms(objective, batch)
    gradients = {f"gradient_{name}": norm for name, norm in norms.items()}
    weight = {"w": forms[key].weight}
    start[results.method_name(key)] = weight | terms | gradients
start = pd.DataFrame(start).T
plots.start_bars(start)
plt.show()

# %%
start["gradient ratio"] = start.gradient_distillation / start.gradient_reconstruction
start[["w", "gradient ratio"]].map("{:.2g}".format)

# %% [markdown]
# *What to see:* the loss of a method may be small and its gradient large, or the other way round: sizes of
# losses say little, gradients say more. The weights $w$ were set once, with the aim that at the start of training the
# gradient of each distillation term is about half that of the reconstruction term, for a teacher that was trained long.
# They are the same for all teachers and starts, else a comparison of teachers would compare settings of $w$. With another
# data set, or a teacher of few epochs, the ratio is another one, as you can see. Every training writes these norms to
# `gradient_norms.json` in its experiment folder.
#
# The library has twelve more methods: FSP, SP and CC from above, eight others that compare maps (`list(METHODS)` names them,
# `print(METHODS["rkd"].__doc__)` explains one), and `ikd`, which mixes the cascades of both networks instead. The parameter
# `methods` takes any.

# %% [markdown]
# ## Distil
#
# Now we train one student for each method in `methods`: same random start, same order of slices, same
# number of epochs as the plain student (`ready=False` again). Only the second loss term differs. None needs another one, so they
# train at the same time. The teacher is frozen and the slices stay the same, so what a method compares of it is
# computed once, before the first step, and kept.

# %%
names = [f"Std-KD {results.method_name(key)}" for key in methods]
wanted = [lab.distillation(key) for key in methods]
distilled = dict(zip(names, lab.networks(wanted, ready=False)))

# %%
curves = {"student": student.history}
curves |= {name: network.history for name, network in distilled.items()}
plots.validation_curves(curves)
plt.show()

# %% [markdown]
# *What to see:* the validation error of each distilled student (green) beside the plain student (orange). The curves
# flatten where the learning rate falls by a factor of 10, three times in a training. The distillation
# term itself is not in this figure; it is in each history, as here for the first method:

# %%
name, network = next(iter(distilled.items()))
plots.curves(network.history, title=name)
plt.show()

# %% [markdown]
# *What to see:* two training terms (solid) and the validation error (dashed). The distillation term already has its weight
# $w$. Does it fall like the other? Then the student comes closer to the teacher's maps while it learns to reconstruct.
#
# ## The table
#
# Each network reconstructs the same slices, and each slice is scored alone. The table shows mean ± standard
# deviation over slices; the last column is the difference of mean PSNR to the plain student, given only
# for networks of as many epochs and for the zero-filled image.
#
# **Before you run it:** how large must a difference be before you believe it?

# %%
networks = {"zero-filled": lab.zero_filled(), "teacher": teacher, "student": student, **distilled}
scores = {name: results.evaluate(lab, network) for name, network in networks.items()}
results.quality_table(networks, scores, reference="student")

# %%
equal = [name for name, n in distilled.items() if n.experiment.epochs == student.experiment.epochs]
gaps = [scores[name].psnr.mean() - scores["student"].psnr.mean() for name in equal]
table = scores["student"]
subjects = table.subject.nunique()
print(f"In your run: {subjects} subject(s), {len(table)} slices, 1 seed, {epochs} epochs.")
if gaps:
    above = f"{sum(g > 0 for g in gaps)} of {len(gaps)} above it"
    print(f"Std-KD minus plain student: {min(gaps):+.2f} to {max(gaps):+.2f} dB; {above}.")

# %% [markdown]
# ## Where do they look now?
#
# Attention maps again, of the plain and of the distilled students, on slices that no network has seen. First the mean
# distance to the teacher in each cascade.

# %%
students = {name: network.model for name, network in {"student": student, **distilled}.items()}
unseen = lab.test.subset(3)
batch = next(unseen.batches(3))
theirs = [attention_map(maps) for maps in maps_of(teacher.model, batch, middle_t - 1)]
rows = {}
for name, model in students.items():
    own = [attention_map(maps) for maps in maps_of(model, batch, middle_s - 1)]
    rows[name] = [f"{float((s - t).norm(dim=1).mean()):.2f}" for s, t in zip(own, theirs)]
pd.DataFrame(rows, index=[f"cascade {k + 1}" for k in range(len(theirs))]).T

# %%
name = next(iter(distilled))
widgets.attention_figure(teacher.model, students, unseen, name, cascade=cascade + 1)
plt.show()

# %% [markdown]
# *What to see:* the table says whether a student has come closer to its teacher than the plain one, and where. The figure
# shows one cascade of one slice.
#
# *Try:* is the student of AT closer in the layers that AT did not compare, too?

# %%
widgets.attention_viewer(teacher.model, students, unseen)

# %% [markdown]
# ## Reading it honestly
#
# - A quick run shows the *mechanics*. Few epochs, one person to train, another one with a smoother scan to
#   test: these are not the paper's figures, and the data set is another one.
# - One seed is one throw of the dice. Training the *same* student with another seed easily moves the mean
#   by a few hundredths of a dB, in short trainings by tenths. Differences of that size show nothing, in
#   either direction.
# - ± says how much slices differ, not how certain a difference is. And the slices of one person are not independent: many
#   slices of one subject do not make many subjects.
# - Validation (another part of the training person, in the sample) and test (another person), PSNR and SSIM may disagree
#   about who is ahead. Then there is no winner.
# - A teacher that was trained for a few epochs only may be no better than the student, or worse. Then there
#   is little to learn from it, and the second loss can only get in the way. Compare the first rows of the
#   table.
# - If a distilled student is below the plain one, say so. In the paper's Table 1, the PSNR of Std-KD is below that
#   of the plain student in 5 of 20 cells [`gayathri2023`].
# - Distillation costs time: the teacher must be trained first, and be asked about every slice. A plain student could have
#   used that time for more epochs.
#
# Change `seed` in the parameters cell and run the notebook again: which of your conclusions survive?

# %% [markdown]
# ## Summary
#
# - Knowledge can be read off outputs, feature maps, attention maps, and relations between samples or
#   layers.
# - AT compares where the features are strong; FitNets the features themselves; SP and CC the similarity of
#   slices; FSP the flow between two layers.
# - The loss is reconstruction + $w$ × distillation; the teacher is frozen, and that can be checked to the
#   bit.
# - Gradient norms, not loss sizes, say how loud the teacher speaks.
# - With one seed, a few epochs and one test subject, small differences show nothing.
#
# ## Questions
#
# <details><summary>1. Why can we not compare the weights of teacher and student directly?</summary>
#
# The architectures differ: there are weights without a counterpart. And even equal architectures can hold
# the same function with permuted channels.
# </details>
#
# <details><summary>2. Why does AT square the features before it sums them?</summary>
#
# So that strong features count, whatever their sign, and do not cancel. After a ReLU there are no negative
# values, but the square still stresses strong features.
# </details>
#
# <details><summary>3. What happens to the AT loss if all teacher maps are multiplied by 10?</summary>
#
# Nothing: $\hat q$ is normalised to length 1.
# </details>
#
# <details><summary>4. Why do SP and CC need a batch of at least two slices?</summary>
#
# They compare similarities between slices. With one slice there is a single number, the similarity of the
# slice with itself, and it is the same for teacher and student.
# </details>
#
# <details><summary>5. Which methods would not notice if someone permuted the teacher's 32 channels?</summary>
#
# AT, SP and CC: sums and inner products over channels do not depend on their order. FSP would notice.
# FitNets notices too, but its regressor can learn to undo the permutation.
# </details>
#
# <details><summary>6. How do you show that the teacher is frozen?</summary>
#
# Its weights are bit-identical before and after, no parameter has a gradient, and its outputs require none.
# </details>
#
# <details><summary>7. A method's distillation loss is 100 times smaller than the reconstruction loss. Is
# it without effect?</summary>
#
# Not necessarily: what moves the weights is the gradient. Compare gradient norms.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `murugesan2020`,
# `zagoruyko2017`, `romero2015`, `tung2019`, `peng2019`, `yim2017`.
#
# [next: 04 · Student-friendly joint training](./04_sft_joint_training.ipynb)

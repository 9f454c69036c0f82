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
# # 10 · Super-resolution
#
# The same idea at another task: a small network learns from a large one to sharpen images, and nothing that was
# measured is put back. Does distillation depend on data fidelity?
#
# **What you will learn**
#
# - super-resolution as undersampling with another mask, and why the two damage an image differently;
# - where the ringing at edges comes from;
# - what data fidelity could give here, and why nobody can use it who has only an image;
# - how a network without cascades is unfolded for student-friendly training;
# - what a gain of 0.04 dB is worth.
#
# **Before you start:** [04 · Student-friendly joint training](./04_sft_joint_training.ipynb) and
# [06 · Evaluation](./06_evaluation.ipynb).
#
# **Minutes:** under 1 in quick mode on two cores.
#
# [previous: 09 · Deploy](./09_deploy.ipynb) · [back to the start](./00_start_here.ipynb)

# %% tags=["parameters"] shown=["epochs", "seed", "preset"]

# %% tags=["laboratory"]

# %% [markdown]
# ## Two ways to measure less
#
# A scan may skip lines all over k-space, as in this course so far, or stop at low frequencies: a **low-pass** mask
# keeps the central block, which is all that an image with larger pixels holds. To enlarge such an image, put zeros
# round the block and transform back: interpolation by sinc. That is a zero-filled image $x_u$ under another mask, so all that
# we have built still fits.
#
# "4x" means a quarter of the lines there, but a quarter of *each axis* here: a sixteenth of the samples. Low-pass 2x
# measures as many samples as lines at 4x.
#
# **Before you run it:** of the two with a quarter of the samples, which image has the higher PSNR? Which looks more natural?

# %%
import matplotlib.pyplot as plt
import torch

from kdrecon import metrics, physics
from kdrecon.teaching import checks, plots

x = lab.test.batch(torch.tensor([len(lab.test) // 2])).x.cpu()
shape = tuple(x.shape[-2:])
masks = {
    "lines, 4x": physics.line_mask(shape, 4),
    "low-pass, 2x": physics.lowpass_mask(shape, 2),
    "low-pass, 4x": physics.lowpass_mask(shape, 4),
}
seen = {name: physics.undersample(x, mask) for name, mask in masks.items()}
images = {name: x_u[0, 0].numpy() for name, (x_u, _) in seen.items()}
for name, mask in masks.items():
    psnr = metrics.psnr(x[0, 0].numpy(), images[name])
    print(f"{name}: {mask.float().mean():.1%} of the samples, {psnr:.2f} dB")

# %%
spectra = [torch.fft.fftshift(y[0, 0]).numpy() for _, y in seen.values()]
rows = {
    "k-space": [plots.log_magnitude(k) + 4 for k in spectra],
    "image": list(images.values()),
    "residue": [abs(x[0, 0].numpy() - image) for image in images.values()],
}
plots.strips(rows, list(masks))
plt.show()

# %% [markdown]
# *What to see:* lines that are missing here and there fold the anatomy onto itself. The low-pass image is merely blurred,
# and its residue is edges (every image here has its own grey scale). It has the higher PSNR, because nearly all energy is in the middle of k-space, and it
# looks natural: a blurred image does not tell what it lacks. And the tasks differ. Aliasing has to be *undone*: the lines that were
# measured say something about all frequencies. For super-resolution a network has to *invent* high frequencies that fit.
#
# ### Exercise 10.1 · The block
#
# Return the low-pass mask of an image of n x n pixels: with a side of `n // factor` (even), the frequencies
# $-\text{side}/2 \le k < \text{side}/2$ along each axis. Masks are stored unshifted: DC is at [0, 0].


# %% tags=["exercise"]
def my_lowpass(n, factor):
    """(n, n) bool, True where k-space is measured."""
    ...  # your code


# %% tags=["solution"]
def my_lowpass(n, factor):
    """(n, n) bool, True where k-space is measured."""
    side = n // factor
    k = torch.fft.fftfreq(n, 1 / n)  # 0, 1, ..., -2, -1
    inside = (k >= -side // 2) & (k < side // 2)
    return inside[:, None] & inside


# %%
checks.lowpass(my_lowpass)

# %% [markdown]
# ## Why edges ring
#
# Look at the skull in the low-pass images: beside it run fainter copies of the edge. An edge needs all frequencies; where
# they are cut off, the sum overshoots. That is **Gibbs ringing**.
#
# **Before you run it:** a block four times as wide holds much more. Does the overshoot become four times smaller?

# %%
bar = torch.zeros(1, 1, 512, 512)
bar[..., 128:384] = 1
profiles = {}
for factor in (8, 16, 32):
    kept = physics.fft2(bar) * physics.lowpass_mask((512, 512), factor)
    profiles[factor] = physics.ifft2(kept).real[0, 0, 0]
    print(f"{factor}x: overshoot {profiles[factor].max() - 1:.1%} of the edge")

# %%
with plots.style():
    figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
    ax.plot(bar[0, 0, 0], color="0.7", linewidth=3, label="edge")
    for factor, profile in profiles.items():
        ax.plot(profile, label=f"low-pass {factor}x")
    ax.plot(profiles[32].abs(), "k:", linewidth=1, label="magnitude, 32x")
    ax.set(xlim=(80, 256), xlabel="pixel", ylabel="intensity")
    ax.legend(loc="lower right")
plt.show()

# %% [markdown]
# *What to see:* the overshoot keeps its height, about 9 %; more frequencies only make it narrower. And the magnitude, dotted, folds
# what swings below 0 up again: a bright line where there was none. Remember it, for the magnitude takes something
# away that we shall miss.
#
# ## A laboratory for it
#
# The preset `super_resolution` changes three switches: mask `lowpass`, networks V12 and V4, data fidelity `none`. **VDSR**
# [`kim2016`] is one chain of 3 x 3 convolutions with 64 maps; its output is *added* to its input. So it need not
# copy the image through all its layers, but learns the difference: what low resolution lacks. V12 has
# twelve convolutions, its student V4 four.
#
# One epoch has to do here; the published training takes 150.

# %%
from dataclasses import asdict

from kdrecon.models import count_parameters

own = {"preset": "super_resolution", "switches": {}, "methods": ["at"], "ready": False}
if preset != "super_resolution":  # a short training beside those of the run
    own |= {"epochs": 1, "lr": 1.0e-3}
sr = Laboratory(**asdict(lab.parameters) | own, listeners=[live.curve])
student = sr.student().model
print(f"{student.name}: {count_parameters(student):,} parameters")

# %%
batch = sr.test.subset(20).whole
x, x_u, y, mask = batch
with torch.no_grad():
    x_student = student(*batch.inputs)
parts = {"what $x_u$ lacks": x - x_u, "what V4 adds": x_student - x_u}
lacks, adds = (part.abs().mean() for part in parts.values())
correlation = torch.corrcoef(torch.stack([part.flatten() for part in parts.values()]))[0, 1]
print(f"V4 adds {adds / lacks:.0%} of what is lacking, correlation {correlation:.2f}")

# %%
import numpy as np

scaled = {}
for name, part in parts.items():
    image = part[len(x) // 2, 0].cpu().numpy()
    scaled[name] = (image / np.percentile(abs(image), 99)).clip(-1, 1)
plots.images(scaled, cmap="RdBu_r", label="of its own largest")
plt.show()

# %% [markdown]
# *What to see:* left, what the network is asked for: edges, with both signs. Right, on its own scale, what it adds after so
# short a training: little, and coarse, a correction of brightness and an outline. A training of fifty epochs comes to a
# correlation of about 0.3: most of what is lacking cannot be guessed.
#
# ## What could be put back
#
# In reconstruction the measurement returns after each cascade. In super-resolution neither paper puts anything
# back, although the block *was* measured. Why not? Because an archive holds **images**, not k-space. Somebody
# might say: then transform the image, its block is the measurement.
#
# **Before you run it:** into V4's output we put (a) the block of the low-resolution *image*, (b) the block that was
# *measured*. Which helps, and how much?

# %%
import pandas as pd

y_image = physics.fft2(x_u) * mask
put_back = {mode: physics.DataFidelity(mode) for mode in ("real", "hermitian")}
several = {
    "low resolution": x_u,
    "V4": x_student,
    "V4, block of the image": put_back["real"](x_student, y_image, mask),
    "V4, measured block": put_back["real"](x_student, y, mask),
    "V4, measured block and its mirror": put_back["hermitian"](x_student, y, mask),
}
target = x[:, 0].cpu().numpy()
scores = {name: metrics.psnr(target, z[:, 0].cpu().numpy()).mean() for name, z in several.items()}
print(f"the image's block is off by {(y_image - y).abs().norm() / y.abs().norm():.1%}")
pd.Series(scores, name="PSNR (dB)").map("{:.2f}".format).to_frame()

# %%
assert scores["V4, measured block"] > scores["V4"], "inside the block nothing is left to err"
assert scores["V4, measured block and its mirror"] >= scores["V4, measured block"] - 1e-3

# %% [markdown]
# *What to see:* the measured block repairs whatever V4 has spoilt inside it, and costs nothing. The block of the image helps not at all: the
# magnitude has thrown away signs and phases, and its Fourier transform is no longer what was measured. To put it back
# undoes what V4 has repaired.
#
# **Data fidelity is not a property of the network, but of what the scanner has kept.** Whoever keeps the block can switch
# it on: `-p 'switches={fidelity: hermitian}'`.
#
# ## Branches without cascades
#
# For SFT a DC-CNN is unfolded by cascades; image after image is handed over. A VDSR is a single block. The paper does
# not say how it is unfolded; the first author's public folders do, and we follow them. The twelve convolutions of V12 form
# four **groups** of three, as many as V4 has convolutions. Branch $i$ leaves the teacher after group $i$, with 64 feature
# *maps* instead of an image, and goes through the student's convolutions $i + 1$ to 4; $x_u$ is added at the end.
#
# **Before you run it:** how many branches? Which convolutions, of the student and of the teacher, are in none of them?

# %%
from kdrecon.models import SFT, dc_cnn

torch.manual_seed(seed)
sft = SFT(dc_cnn("V12", "none"), dc_cnn("V4", "none"))
small = x[:1, :, ::4, ::4].cpu()
mask = physics.lowpass_mask(tuple(small.shape[-2:]), 2)
x_u, y = physics.undersample(small, mask)
x_teacher, x_branches = sft(x_u, y, mask)


def moves(output, conv):
    """Whether an output depends on the weights of a convolution."""
    (g,) = torch.autograd.grad(output.sum(), conv.weight, retain_graph=True, allow_unused=True)
    return g is not None and bool(g.any())


outputs = {f"branch {i}": z for i, z in enumerate(x_branches, 1)} | {"teacher": x_teacher}
convs = {f"T{k}": c for k, c in enumerate(sft.teacher.convs, 1)}
convs |= {f"S{k}": c for k, c in enumerate(sft.student.convs, 1)}
table = pd.DataFrame(
    {name: {o: moves(z, c) for o, z in outputs.items()} for name, c in convs.items()}
)
table.replace({True: "x", False: "·"})

# %%
plots.unfolding(table.loc["branch 1":"branch 3", "S1":].to_numpy(), "V12 in groups", "V4")
plt.show()

# %% [markdown]
# *What to see:* the figure is that of [04](./04_sft_joint_training.ipynb), with other contents: T1 to T4 are groups of
# three convolutions, S2 to S4 single ones. Again $S_1$ is in no branch, and no branch starts after the last group. No adapter is
# needed, because both networks have 64 maps.
#
# By hand, the branch that leaves after group 3:

# %%
from torch.nn import functional as F

z = x_u
for conv in sft.teacher.convs[:9]:
    z = F.relu(conv(z))
by_hand = x_u + sft.student.convs[3](z)
torch.testing.assert_close(by_hand, x_branches[2], rtol=0, atol=1e-5)
print(f"{tuple(z.shape)} maps are handed over, {tuple(by_hand.shape)} is the image at the end")

# %% [markdown]
# ### Exercise 10.2 · How far does a branch see?
#
# A pixel of low resolution at 4x is as wide as four pixels; V4 sees $2 \cdot 4 + 1 = 9$ pixels (2.2), V12 sees 25. And branch $i$ of a
# teacher of $a$ convolutions and a student of $b$, where $b$ divides $a$?


# %% tags=["exercise"]
def my_branch_view(i, a, b):
    """Side of the square of pixels, an integer."""
    ...  # your code


# %% tags=["solution"]
def my_branch_view(i, a, b):
    """Side of the square of pixels, an integer."""
    return 2 * (i * a // b + b - i) + 1


# %%
checks.branch_view(my_branch_view)

# %% [markdown]
# ## Distillation
#
# A VDSR counts as one cascade, and one pair of maps is compared, after ReLU: conv 9 of V12 with conv 3 of V4, the last
# of each with 64 maps at the same relative depth. In KD-MRI's pair, V11 and V7, it is conv 6 with conv 4, the middle [`murugesan2020`].

# %%
from kdrecon.training import distil

layers = {}
for pair in (("V12", "V4"), ("V11", "V7")):
    teacher, novice = (dc_cnn(name, "none") for name in pair)
    layers[" -> ".join(pair)] = distil(novice, teacher, "at").layers
pd.DataFrame(layers, index=["conv of the student", "conv of the teacher"]).T

# %% [markdown]
# All that follows is as before: freeze the teacher, normalise, add the term to the L1 loss, start the student's S2 to S4
# from the joint training or at random.
#
# ## What it is worth
#
# The appendix of the SFT paper (Table 9, 1100 slices of 10 volumes) reports six methods, each below either teacher.
#
# **Before you run it:** the plain student has 29.94 dB, its teacher 30.40. What would you call a gain that matters?

# %%
from kdrecon import results

published = results.published_figures().query("source == 'gayathri2023, Table 9' and method != ''")
pairs = published.pivot(index="method", columns="teacher", values="psnr")
pairs["gain"] = pairs["sft"] - pairs["standard"]
print(
    f"mean gain {pairs.gain.mean():.3f} dB, from {pairs.gain.min():.2f} to {pairs.gain.max():.2f}"
)
print(f"± behind each figure: {published.psnr_spread.mean():.1f} dB, 2 SD over volumes")
pairs.rename(index=results.method_name).map("{:.2f}".format)

# %% [markdown]
# *What to see:* all six are above 0, and all are tiny. The ± behind each figure says how much *volumes* differ, which drops out of a
# paired difference, so it neither shows the gain nor disproves it ([06](./06_evaluation.ipynb)). What would decide is missing in the table: how much
# a figure moves when the same network is trained again with another seed. Six methods are no six repetitions, for they share
# one teacher each.
#
# So we measured it: `study/super_resolution.yaml`, trained on one person's slices, 120 x 120, 50 epochs, three seeds, nine other people to
# test with. Its tables ship with the repository.
#
# **Before you run it:** the same student, trained with another seed: does its mean PSNR move by more or by less than 0.04 dB?

# %%
study = results.shipped_study("super_resolution")
by_person = study.slices.groupby(["network", "seed", "subject"]).psnr.mean()
by_seed = by_person.groupby(["network", "seed"]).mean().unstack()
by_seed.add_prefix("seed ").style.format(precision=2, na_rep="")

# %%
wanted = "metric == 'psnr' and not network.str.contains('fidelity')"
columns = ["network", "reference", "difference", "low", "high", "verdict"]
rows = study.comparisons.query(wanted)[columns]
rows.style.format(precision=2).hide(axis="index")

# %%
kept, plain = by_person["student, fidelity hermitian"], by_person["student"]
gain = (kept - plain).unstack("seed")
print(f"V4 with the measured block at its end: {gain.mean().mean():+.2f} dB, the least")
people, seeds = gain.shape
print(f"of {people} people x {seeds} seeds {gain.min().min():+.2f} dB")

# %% [markdown]
# *What to see:* between the seeds of one student lie some tenths of a dB, of Std-KD AT more than half. So SFT-KD minus Std-KD has an
# interval from about -0.3 to +0.5 dB: this study neither shows nor refutes 0.04 dB, and a table with one training of each cannot, either. With
# this spread it would take hundreds of seeds. V12 is not shown to be better than V4, so there is little to distil. And one more trap:
# SFT-KD is shown to be better than the control. That is no merit of distillation, for the *plain* student is better than the control, too: two of its
# three seeds, trained twice as long, went astray on six of the nine people, though not on the person who chose their epoch.
#
# What did help, every person and with every seed, was the measured block, which asks for no teacher.
#
# ## Summary
#
# - Super-resolution is undersampling with a low-pass mask: blur and ringing instead of aliasing.
# - Data fidelity needs the measured block; a magnitude image no longer holds it.
# - SFT and distillation need no cascades: groups of convolutions and a pair of maps will do.
# - A gain counts as far as it exceeds what seeds and people vary by; here putting back what was measured did, distillation did not.
#
# ## Questions
#
# <details><summary>1. Why does low-pass 4x leave a sixteenth of the samples, and lines at 4x a quarter?</summary>
#
# The block is cut along both axes, lines are left out along one.
# </details>
#
# <details><summary>2. Would a smoother mask, falling off instead of ending, avoid the ringing?</summary>
#
# Yes, as scanners' filters do, at the price of more blur. The published task keeps the sharp block.
# </details>
#
# <details><summary>3. The block holds the frequency -15 but not +15. What does the hermitian form of data fidelity make of it?</summary>
#
# Of a real image either tells the other, so it puts both back: a little more than was measured.
# </details>
#
# <details><summary>4. Why does $S_1$ get no gradient here, either?</summary>
#
# The first branch leaves after the first group, which stands in for $S_1$. So the distilled student starts with a fresh one.
# </details>
#
# <details><summary>5. SSIM of CC falls in Table 9, from .8730 to .8663. What does "consistently better" leave out?</summary>
#
# That metric. A claim over several metrics has to hold in each, or name those in which it does not.
# </details>
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `murugesan2020`, `kim2016`.
#
# [back to the start](./00_start_here.ipynb)

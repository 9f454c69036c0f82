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
# # 02 · DC-CNN
#
# A cascade of small networks, each followed by a step that puts back what was measured. Here you build it by hand, train it
# in one short loop, then train a teacher and a student, and take the step away again.
#
# **What you will learn**
#
# - why reconstruction is an inverse problem, and what data fidelity adds to a network;
# - two ways to keep to the measurement, and the law each obeys;
# - what a block sees, and why blocks and data fidelity alternate;
# - a whole training in fifteen lines;
# - how far the teacher leads, person by person;
# - what data fidelity is worth: with another mask, and with a lesion that nobody trained for.
#
# **Before you start:** [01 · k-space and undersampling](./01_kspace_undersampling.ipynb).
#
# **Minutes:** 40 to read; the machine takes about 3 in quick mode on two cores, with the paper's recipe some hours, on a GPU far less.
#
# [previous: 01 · k-space and undersampling](./01_kspace_undersampling.ipynb) ·
# [next: 03 · Standard distillation](./03_standard_kd.ipynb)

# %% tags=["parameters"] shown=["acceleration", "epochs", "seed"]

# %% tags=["laboratory"]

# %% [markdown]
# ## An inverse problem
#
# We know $y = M F x$ and want $x$. Is there only one? Take a slice, and exchange everything that is **not** known, the missing
# lines, for those of another image: the slice upside down.

# %%
import matplotlib.pyplot as plt
import torch

from kdrecon.physics import fft2, ifft2, mirror
from kdrecon.teaching import checks, plots, widgets

everybody = {}  # person -> a slice of the middle
for person in dict.fromkeys(lab.test.subject):
    first, count = lab.test.subject.index(person), lab.test.subject.count(person)
    everybody[person] = first + count // 2
batch = lab.test.batch(torch.tensor(list(everybody.values())[:1]))
x, x_u, y, mask = batch
known = mask | mirror(mask)  # of a real image, a line tells its opposite
other = x.flip(-2)
impostor = ifft2(torch.where(known, fft2(x), fft2(other))).real
assert torch.allclose(fft2(impostor) * mask, y, atol=1e-4), "the scanner could not tell it from x"

# %%
views = {"x": x, "zero-filled $x_u$": x_u, "another image\nwith the same y": impostor}
top = float(x.max())
plots.images({name: image[0, 0].cpu().numpy().clip(0, top) for name, image in views.items()})
plt.show()

# %% [markdown]
# *What to see:* the third image is wrong, and yet its measured lines are exactly those of the first: the problem is
# **ill-posed**. What decides is *prior knowledge*, of how heads look. A network learns it from examples.
#
# ## Data fidelity by hand
#
# A network proposes an image, $x_{cnn}$. Nothing keeps it from changing the lines that *were* measured. **Data fidelity** (DF)
# repairs that: in k-space, take the measurement where there is one and the proposal elsewhere. For want of a network, a blurred
# image stands in as the proposal.

# %%
x_cnn = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)  # stands in for a network
X_cnn = fft2(x_cnn)
X_rec = torch.where(mask, y, X_cnn)  # the measurement where there is one
x_complex = ifft2(X_rec)

# %%
import pandas as pd

from kdrecon import metrics
from kdrecon.physics import DataFidelity

blurred, repaired = (metrics.psnr(x[0, 0].cpu(), z[0, 0].cpu()) for z in (x_cnn, x_complex.real))
print(f"proposal {blurred:.2f} dB, after data fidelity {repaired:.2f} dB")
print(f"largest imaginary part {x_complex.imag.abs().max():.3f}, although both images are real")

# %% [markdown]
# Why is there an imaginary part? The mask is not symmetric: a line was replaced, and its opposite line was not. Two
# ways back to a real image:
#
# - **real**: take the real part, as the released code of the paper does;
# - **hermitian**: replace the opposite lines too, since $X(-k) = \overline{X(k)}$.

# %%
x_real = x_complex.real
Y_both = torch.where(mask, y, mirror(y * mask).conj())  # where missing, the opposite's conjugate
x_hermitian = ifft2(torch.where(known, Y_both, X_cnn)).real

# %% [markdown]
# The library has both as a layer, in real arithmetic and therefore faster: $x_{rec} = x_{cnn} + x_y - P\,x_{cnn}$. In
# words: to the proposal add what the measurement says ($x_y$), and take away what the proposal says about the same
# lines ($P\,x_{cnn}$). Same numbers:

# %%
real, hermitian = DataFidelity("real"), DataFidelity("hermitian")
assert torch.allclose(real(x_cnn, y, mask), x_real, atol=1e-5)
assert torch.allclose(hermitian(x_cnn, y, mask), x_hermitian, atol=1e-5)

# %% [markdown]
# What does $P$ look like? Give it one pixel, and see what data fidelity takes away.

# %%
pixel = torch.zeros_like(x)
pixel[..., x.shape[-2] // 3, x.shape[-1] // 2] = 1
taken = pixel - real(pixel, torch.zeros_like(y), mask)  # P of the pixel
both = {"one pixel": pixel, "P of it": taken}
both = {name: (z[0, 0].abs() + 1e-3).log10().cpu().numpy() for name, z in both.items()}
plots.images(both, "magma", "log10 |value|")
plt.show()

# %% [markdown]
# *What to see:* along the phase-encoding axis the pixel is spread over all others, nowhere else: for a mask of lines $P$ is one real
# matrix of H x H, the point-spread function of notebook 01 in each of its columns.

# %% [markdown]
# *Before you run the next cell:* apply each layer twice. Which of the two changes the image the second
# time?

# %%
rows = {}
for name, layer in {"real": real, "hermitian": hermitian}.items():
    once = layer(x_cnn, y, mask)
    change = (layer(once, y, mask) - once).abs().max()
    misfit = (fft2(once) - y)[..., mask].abs().max()
    rows[name] = {
        "a second application changes": f"{change:.1e}",
        "misfit on measured lines": f"{misfit:.1e}",
    }
pd.DataFrame(rows).T

# %% [markdown]
# *What to see:* the hermitian layer is a **projection**: applying it again does nothing, and the measured lines
# are met exactly. The real layer is none. The real part of an image has in k-space at $k$ the mean of the values at $k$ and at
# $-k$ (conjugated). Where only $k$ is measured, one of the two is still the proposal: the result is $(X_{cnn} + Y)/2$.

# %%
alone = mask & ~mirror(mask)
out = fft2(real(x_cnn, y, mask))
assert torch.allclose(out[..., alone], ((X_cnn + y) / 2)[..., alone], atol=1e-3)
assert (hermitian(x_hermitian, y, mask) - x_hermitian).abs().max() < 1e-4

# %% [markdown]
# This course uses `real`, as the released code of the paper does. Both rest on images being real: with a phase, as on a scanner,
# neither would do, and data fidelity would keep complex images.
#
# ## With noise: how far to trust the scanner
#
# A real measurement is noisy, and one would rather not trust it blindly. Let the measured lines be a weighted mean of proposal and
# measurement, the measurement with $\lambda$ times the weight of the proposal. $\lambda = 0$ ignores the scanner; the larger,
# the closer to the noiseless case above.
#
# *Before you run the next cells:* we add noise to $y$. Where will the best $\lambda$ lie without noise, with little
# and with much?

# %%
import numpy as np

lams = np.logspace(-2, 2, 17)
generator = torch.Generator().manual_seed(seed)
noise = torch.complex(*torch.randn(2, *y.shape, generator=generator)).to(y.device) * mask
quality = {}
for sigma in (0.0, 0.05, 0.1):
    fused = [DataFidelity("real", lam)(x_cnn, y + sigma * noise, mask) for lam in lams]
    quality[f"noise {sigma}"] = [metrics.psnr(x[0, 0].cpu(), z[0, 0].cpu()) for z in fused]

# %%
plots.lines(lams, quality, "λ", "PSNR (dB)", xscale="log", mark_best=True)
plt.show()

# %% [markdown]
# *What to see:* without noise more confidence is better all the way. With noise there is a best $\lambda$ (dots), the smaller the
# noisier the measurement. Our data have no added noise, so from here on $\lambda = \infty$.

# %% [markdown]
# ### Exercise 2.1 · Data fidelity with noise
#
# Write it from the words above, for a finite number `lam` of at least 0. The image stays real. `x_cnn` (B, 1, H, W), `y` (B, 1, H, W)
# complex, `mask` (H, W) bool. What you write goes into the network that is trained below.


# %% tags=["exercise"]
def my_data_fidelity(x_cnn, y, mask, lam):
    """x_rec (B, 1, H, W), real."""
    ...  # your code


# %% tags=["solution"]
def my_data_fidelity(x_cnn, y, mask, lam):
    """x_rec (B, 1, H, W), real."""
    X = fft2(x_cnn)
    X = torch.where(mask, (X + lam * y) / (1 + lam), X)
    return ifft2(X).real


# %%
checks.data_fidelity(my_data_fidelity)

# %% [markdown]
# ## The network, all of it
#
# The proposal comes from a block of d convolutions of 3 x 3: one channel in, 32 channels in between, one channel out, ReLU between
# them. In this course a block adds its output to its input (a **residual** block, as in KD-MRI's figure): it predicts a correction,
# not an image. A **DC-CNN** is a cascade of such pairs, $x_k = \mathrm{DF}(\mathrm{CNN}_k(x_{k-1}), y)$, from $x_0 = x_u$.

# %%
from torch import nn


class PlainDCCNN(nn.Module):
    """Cascades of d convolutions of 3 x 3 and data fidelity."""

    def __init__(self, depth, cascades, residual, fidelity):
        super().__init__()
        widths = [1] + [32] * (depth - 1) + [1]
        self.blocks = nn.ModuleList()
        for _ in range(cascades):
            layers = [nn.ZeroPad2d(depth)]  # so that the image keeps its size
            for a, b in zip(widths, widths[1:]):
                layers += [nn.Conv2d(a, b, 3), nn.ReLU()]
            self.blocks.append(nn.Sequential(*layers[:-1]))  # no ReLU at the end
        self.residual, self.fidelity = residual, fidelity

    def forward(self, x_u, y, mask):
        z = x_u
        for block in self.blocks:
            proposal = z + block(z) if self.residual else block(z)
            z = self.fidelity(proposal, y, mask)
        return z


# %% [markdown]
# `D2C5` has depth 2 and 5 cascades. The library's is the same network: from the same seed it starts with the same weights. Where
# exercise 2.1 is solved, the plain one takes **your** data fidelity.

# %%
from kdrecon.models import count_parameters, dc_cnn

solved = checks.data_fidelity(my_data_fidelity).right and lab.switches.fidelity == "real"


def fidelity(x_cnn, y, mask):
    if solved:
        return my_data_fidelity(x_cnn, y, mask, 1e6)
    return DataFidelity(lab.switches.fidelity)(x_cnn, y, mask)


torch.manual_seed(seed)
plain = PlainDCCNN(2, 5, lab.switches.residual, fidelity).to(lab.device)
torch.manual_seed(seed)
same = dc_cnn("D2C5", lab.switches.fidelity, lab.switches.residual).to(lab.device)
assert all(torch.equal(a, b) for a, b in zip(plain.parameters(), same.parameters()))
print(f"{count_parameters(plain):,} weights; data fidelity: {'yours' if solved else 'the library'}")

# %% [markdown]
# ## A whole training
#
# Minimise $|x - x_{rec}|_1$, the mean absolute difference, with Adam. The learning rate goes up and comes down again once (*one
# cycle*), which makes more of few epochs.


# %%
def train(model, slices, epochs, batch_size, lr):
    """The mean loss of each epoch."""
    steps = epochs * -(-len(slices) // batch_size)
    optimiser = torch.optim.Adam(model.parameters(), lr=lr)
    schedule = torch.optim.lr_scheduler.OneCycleLR(optimiser, lr, steps + 1, cycle_momentum=False)
    history = []
    for epoch in range(epochs):
        generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
        order, losses = torch.randperm(len(slices), generator=generator), []
        for x, x_u, y, mask in slices.batches(batch_size, order):
            loss = (x - model(x_u, y, mask)).abs().mean()
            optimiser.zero_grad()
            loss.backward()
            optimiser.step()
            schedule.step()
            losses.append(loss.item())
        history.append(np.mean(losses))
    return history


# %% [markdown]
# That is a training. The library's adds what long ones need: it chooses the best epoch by validation slices, augments, and survives a
# crash. A few steps of both, on six slices:

# %%
import tempfile
from pathlib import Path

from kdrecon.training import Recipe, Supervised, fit

few = lab.train.subset(6)
recipe = Recipe(5, 2, 3e-3, seed, precision="fp32", layout="contiguous", lr_schedule="one_cycle")
with tempfile.TemporaryDirectory() as folder:
    history = fit(Supervised(same), few, few, recipe, Path(folder), config={})
losses = pd.DataFrame({"by hand": train(plain, few, 5, 2, 3e-3), "library": history.total})
assert np.allclose(losses["by hand"], losses.library, rtol=1e-2)
losses.set_axis(range(1, 6)).rename_axis("epoch").style.format("{:.6f}")

# %% [markdown]
# *What to see:* the same losses, up to rounding. From here on `lab.student()` stands for this loop.

# %% [markdown]
# ### Exercise 2.2 · How far does a block see? (warm-up)
#
# One convolution of 3 x 3 computes a pixel from 3 x 3 pixels. The next one sees those results, and through
# them a larger square of the image. What is the **side** of the square after d convolutions?


# %% tags=["exercise"]
def my_receptive_field(d):
    """Side of the square, in pixels."""
    ...  # your code


# %% tags=["solution"]
def my_receptive_field(d):
    """Side of the square, in pixels."""
    return 2 * d + 1


# %%
checks.receptive_field(my_receptive_field)

# %% [markdown]
# The square that a block sees is its **receptive field**. Aliasing spreads along the whole phase-encoding axis. How can five small
# blocks undo it? We measure it: change one pixel of the input and see which pixels of the output move.
#
# *Before you run the next cells:* which shape will the moving pixels have after one block, and after the whole
# network?

# %%
model = dc_cnn("D2C5").to(lab.device).double()  # double precision, for the change fades on its way
before, y_double = x_u.double(), y.to(torch.complex128)
bumped = before.clone()
bumped[..., x_u.shape[-2] // 2, x_u.shape[-1] // 2] += 0.1
with torch.no_grad():
    block_moves = model.blocks[0](bumped)[0] - model.blocks[0](before)[0]
    network_moves = model(bumped, y_double, mask) - model(before, y_double, mask)
assert (block_moves.abs() > 1e-12).sum() <= 5**2

# %%
moved = {"one block": block_moves, "whole network": network_moves}
moved = {name: m[0, 0].abs().cpu().numpy() for name, m in moved.items()}
moved = {f"{name}: {(m > 1e-12).sum():,} pixels": np.log10(m + 1e-12) for name, m in moved.items()}
plots.images(moved, "magma", "log10 |change|")
plt.show()

# %% [markdown]
# *What to see:* a block of two convolutions moves a square of 5 x 5 pixels. The network moves a **stripe**: along the
# phase-encoding axis all of the image, for data fidelity has passed the change on; along the other axis only as far as
# its convolutions reach together, $2cd + 1$ pixels: 21 columns for a D2C5, 51 for a D5C5.

# %%
changed = network_moves[0, 0].abs() > 1e-12
if torch.equal(mask.any(1), mask.all(1)):  # rows are measured
    assert int(changed.any(0).sum()) <= 2 * 5 * 2 + 1

# %% [markdown]
# ## Train a teacher and a student
#
# Now with all training slices, each flipped and transposed at random, which makes one person look like more. After every epoch
# the validation slices are reconstructed, and the epoch with the lowest L1 is kept. `ready=False` says: train here, even though
# trained networks ship with the repository.

# %%
teacher = lab.teacher(ready=False)

# %%
student = lab.student(ready=False)

# %%
plots.validation_curves({"teacher": teacher.history, "student": student.history})
plt.show()

# %% [markdown]
# *What to see:* both fall steeply at first and become smooth and flat when the learning rate drops. Flat does not
# mean finished: the smaller the learning rate, the slower the change.
#
# ## How far does the teacher lead?
#
# *Before you run the next cells:* nine people, whole heads and skull-stripped ones. On whom do many weights help most?

# %%
from kdrecon import results

networks = {"zero-filled": lab.zero_filled(), "teacher": teacher, "student": student}
scores = {name: results.evaluate(lab, network) for name, network in networks.items()}
people = {name: table.groupby("subject", sort=False).psnr.mean() for name, table in scores.items()}
people = pd.DataFrame(people)
assert np.isfinite(people).all(axis=None)
people.round(2)

# %%
gaps = pd.DataFrame({f"this run, {epochs} epochs": people.teacher - people.student})
if (lab.parameters.dataset, acceleration) == ("people", "4x"):
    study = results.shipped_study("course").slices.groupby(["network", "subject"]).psnr.mean()
    gaps["study, 50 epochs, 3 seeds"] = study["teacher"] - study["student, network D2C5"]
plots.people(gaps, "teacher")
plt.show()

# %% [markdown]
# *What to see:* one short run, one seed, so look at the pattern and not at a tenth of a decibel; this caveat holds for every table of
# your own in this course. With longer training (grey) the teacher leads on all nine, by one to two and a half decibels on the three
# **whole heads** and by less than half a decibel on the six **skull-stripped** slices, which are easier for everybody. A student has
# something to learn from this teacher, on heads.

# %%
with torch.no_grad():
    outputs = {name: network.model(x_u, y, mask) for name, network in networks.items()}
predictions = {name: output[0, 0].cpu().numpy() for name, output in outputs.items()}
target = x[0, 0].cpu().numpy()
plots.comparison(target, predictions)
plt.show()

# %% [markdown]
# *What to see:* both networks remove most of the aliasing; what remains follows the edges.

# %% [markdown]
# ## Watch the cascade work
#
# *Before you run the next cells:* does each of the five cascades improve the image?

# %%
stages = {"zero-filled": x_u}
with torch.no_grad():
    for k, stage in enumerate(teacher.model.stages(x_u, y, mask), start=1):
        stages[f"cascade {k}"] = stage.image
size = y[..., mask].norm()
off = {name: float((fft2(z) - y)[..., mask].norm() / size) for name, z in stages.items()}
plots.comparison(target, {name: image[0, 0].cpu().numpy() for name, image in stages.items()})
plt.show()

# %% [markdown]
# *What to see:* the ghosts fade, the edges return. But the network is trained on its last image only: those on the way are messages
# to the next block, and one may be worse than the one before.
#
# Do they agree with the measurement? By how much their measured lines are off, as a share of what was measured:

# %%
pd.Series(off, name="off on the measured lines").map("{:.1%}".format).to_frame().T

# %% [markdown]
# With `hermitian` it would be 0 after each cascade. With `real` it is not, and it need not fall from one to the next: the ready
# teacher (50 epochs) is off by 5.9, 2.4, 5.7, 1.6 and 1.2 % on the test slices.
#
# One cascade in detail: what goes in, what the CNN proposes, and what data fidelity makes of it.

# %%
models = {"teacher": teacher.model, "student": student.model}
widgets.cascade_figure(models, batch, "teacher", cascade=1)
plt.show()

# %% [markdown]
# *Try:* step through the cascades of both networks. Where is the proposal worse than what went in? Look at its colour bar:
# the block leaves to data fidelity what data fidelity knows better.

# %%
widgets.cascade_stepper(models, batch)

# %% [markdown]
# ## What is data fidelity worth?
#
# The same student, trained as long, **without** it: five blocks one after the other.

# %%
from dataclasses import asdict

elsewhere = str(lab.parameters.run_folder / "without_fidelity")
changes = {"switches": {**lab.parameters.switches, "fidelity": "none"}, "run_root": elsewhere}
lab_without = Laboratory(**asdict(lab.parameters) | changes, listeners=[live.curve])
without = lab_without.student(ready=False)

# %% [markdown]
# *Before you run the next cells:* all three networks meet masks that they were not trained with: other lines, half as many, points.
# Who suffers most?

# %%
from kdrecon.physics import gaussian_mask, line_mask, undersample

shape, chosen = tuple(mask.shape), lab.test.x[list(everybody.values())]
masks = {
    "as trained": mask,
    "other lines": line_mask(shape, acceleration, seed=1).to(lab.device),
    "8x lines": line_mask(shape, "8x").to(lab.device),
    "points": gaussian_mask(shape, acceleration).to(lab.device),
}
three = {"teacher": teacher.model, "student": student.model, "student without DF": without.model}
rows = {}
for kind, other in masks.items():
    observed = undersample(chosen, other)
    with torch.no_grad():
        made = {name: model(*observed, other) for name, model in three.items()}
    images = {"zero-filled": observed[0]} | made
    rows[kind] = {
        name: np.mean([metrics.psnr(a[0], b[0]) for a, b in zip(chosen.cpu(), image.cpu())])
        for name, image in images.items()
    }
masked = pd.DataFrame(rows).T
masked.round(2)

# %%
plots.rankings(masked, "zero-filled")
plt.show()

# %% [markdown]
# *What to see:* a slice of each person. Without data fidelity the student hardly gets beyond zero-filling, even on the mask it knows: its
# blocks see a few pixels, and nothing carries the measurement along. Networks with it gain on other lines and on points, too, which
# they have never seen, for much of what they do is no memory but the measurement itself. With 8x lines they gain less than half:
# there is less to carry.
#
# ### A lesion
#
# We add a small bright disc to the brain. No training slice has one. How much of its brightness comes back, and does PSNR
# notice when it does not?

# %%
down, across = torch.meshgrid(torch.arange(shape[0]), torch.arange(shape[1]), indexing="ij")
place = (shape[0] * 3 // 8, shape[1] * 5 // 8)
disc = ((down - place[0]) ** 2 + (across - place[1]) ** 2 <= 5).to(lab.device)
ill = x + 0.2 * disc
shown, rows = {"with the lesion": ill}, {}
for name in ("zero-filled", *three):
    with torch.no_grad():
        pair = [undersample(image, mask) for image in (x, ill)]
        made = [three[name](*p, mask) if name in three else p[0] for p in pair]
    shown[name] = made[1]
    rows[name] = {
        "contrast kept": f"{(made[1] - made[0])[..., disc].mean() / 0.2:.0%}",
        "PSNR (dB)": metrics.psnr(ill[0, 0].cpu(), made[1][0, 0].cpu()),
        "PSNR, lesion wiped out (dB)": metrics.psnr(ill[0, 0].cpu(), made[0][0, 0].cpu()),
    }
pd.DataFrame(rows).T.style.format(precision=2)

# %%
side = shape[0] // 8
window = tuple(slice(centre - side, centre + side) for centre in place)
plots.images({name: image[0, 0].cpu().numpy()[window] for name, image in shown.items()})
plt.show()

# %% [markdown]
# *What to see:* the networks give back a part of the contrast, the teacher most, and the rest is lost without a trace. The last column is
# what PSNR says of an image from which the lesion is **missing**: hardly less. A mean over thousands of pixels does not see a
# dozen of them; whoever looks for lesions has to measure lesions.
#
# ### Open · Break it
#
# Choose one: a lesion (size, brightness, place) that the teacher keeps and the student loses, or a mask of the same
# acceleration on which the student without data fidelity wins. Change the cells above, run, and argue in five sentences whether what
# you found speaks about the networks or about your choice.
#
# ## Summary
#
# - Many images fit an undersampled measurement; a network proposes, data fidelity corrects.
# - `real` averages where only one of two mirrored lines is known; `hermitian` is exact and a projection.
# - A block sees a few pixels; through data fidelity the network sees a stripe, the whole phase-encoding axis long.
# - D5C5 has 141,765 weights, D2C5 has 3,045; the teacher leads most on whole heads.
# - Without data fidelity nearly all of the gain is gone; PSNR does not see a lost lesion.
# - The student alone is the yardstick for everything that follows.
#
# ## Questions
#
# <details><summary>1. Two images have the same $y$. Can any reconstruction method tell which was in the scanner?</summary>
#
# Not from $y$. It can only say which of the two is more likely, from what it has seen before.
# </details>
#
# <details><summary>2. Why is data fidelity applied after every block and not only at the end?</summary>
#
# Each block then starts from an image whose measured lines have been put back (`hermitian`) or drawn towards the
# measurement (`real`), and every pixel has heard of all others in its column along the phase-encoding axis.
# </details>
#
# <details><summary>3. What does the real layer do to a line that is measured while its mirror is not?</summary>
#
# It averages measurement and proposal.
# </details>
#
# <details><summary>4. When do both layers give the same result?</summary>
#
# When the mask is symmetric: every measured line has a measured mirror line.
# </details>
#
# <details><summary>5. How many weights has a D4C5?</summary>
#
# 5 (320 + 2 x 9,248 + 289) = 95,525.
# </details>
#
# <details><summary>6. Why choose the best epoch by validation slices?</summary>
#
# The training loss keeps falling while a network starts to memorise. The validation loss shows when that
# begins.
# </details>
#
# <details><summary>7. Can the values y outside the mask influence the reconstruction, and may they?</summary>
#
# They cannot: data fidelity masks y first. And they must not: in a file they are there, since k-space was computed of the whole image,
# but a scanner that is four times faster has not measured them. Who uses them reports a network that has read the answer.
# </details>
#
# <details><summary>8. A network shows a lesion that is not there. Can data fidelity prevent it?</summary>
#
# Only on the measured lines. What is made up between them agrees with the measurement, as the impostor at the top does: a *hallucination*.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `schlemper2018`, `kingma2015`, `murugesan2020`,
# `gayathri2023`.
#
# [next: 03 · Standard distillation](./03_standard_kd.ipynb)

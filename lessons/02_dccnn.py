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
# Small networks in a row, each followed by a step that draws the image back to what was measured.
#
# **What you will learn**
#
# - two forms of data fidelity, and the law each obeys;
# - a whole training in fifteen lines;
# - why a cascade, and not one deep CNN;
# - how far the teacher leads, person by person;
# - what data fidelity is worth.
#
# **Before you start:** [01 · k-space and undersampling](./01_kspace_undersampling.ipynb).
#
# **Minutes:** 60 to read; the machine takes 2 in quick mode on two cores, 1 with bf16 units, with the paper's recipe some hours, on a GPU far less.
#
# [previous: 01 · k-space and undersampling](./01_kspace_undersampling.ipynb) ·
# [next: 03 · Standard distillation](./03_standard_kd.ipynb)

# %% tags=["parameters"] shown=["acceleration", "epochs", "seed"]

# %% tags=["laboratory"]

# %% [markdown]
# ## An inverse problem
#
# We know $y=MFx$ and want $x$. Is there only one? Exchange all lines that are **not** known for those of the slice upside down.

# %%
import matplotlib.pyplot as plt
import torch

from kdrecon.physics import fft2, ifft2, mirror
from kdrecon.teaching import checks, plots, widgets

if lab.switches.mask_type != "line":
    print("This run measures no lines. The text speaks of them, of D5C5 and of data fidelity.")


def middle(people):
    """A slice of the middle of each person, by name."""
    names = dict.fromkeys(people)
    return {name: people.index(name) + people.count(name) // 2 for name in names}


everybody = middle(lab.test.subject)
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
# *What to see:* the third image is wrong, yet its measured lines are those of the first: the problem is **ill-posed**. What decides is
# *prior knowledge* of how heads look.
#
# ## Data fidelity by hand
#
# A network may change lines that *were* measured. **Data fidelity** (DF) repairs its proposal $x_{cnn}$: in k-space, take the measurement
# where there is one and the proposal elsewhere. A blurred image stands in for the proposal.

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
# Why an imaginary part? A line was replaced, its opposite was not. Two ways back to a real image:
#
# - **real**: take the real part, as the paper's released code does;
# - **hermitian**: replace the opposite lines too, since $X(-k) = \overline{X(k)}$.

# %%
x_real = x_complex.real
Y_both = torch.where(mask, y, mirror(y * mask).conj())  # where missing, the opposite's conjugate
x_hermitian = ifft2(torch.where(known, Y_both, X_cnn)).real

# %% [markdown]
# The library has both as a layer, $x_{rec}=x_{cnn}+x_y-P\,x_{cnn}$: add what the measurement says, $x_y$, the real part of $F^{-1}y$, and take away what the proposal
# says about the same lines, $P\,x_{cnn}$.

# %%
real, hermitian = DataFidelity("real"), DataFidelity("hermitian")
assert torch.allclose(real(x_cnn, y, mask), x_real, atol=1e-5)
assert torch.allclose(hermitian(x_cnn, y, mask), x_hermitian, atol=1e-5)

# %% [markdown]
# What does $P$ look like? Give it a pixel, then a diagonal.

# %%
one = torch.zeros_like(x)
one[..., x.shape[-2] // 3, x.shape[-1] // 2] = 1
diagonal = torch.eye(*x.shape[-2:], device=x.device)[None, None]
seen = {}
for name, pixels in {"P of one pixel": one, "P of a diagonal": diagonal}.items():
    taken = pixels - real(pixels, torch.zeros_like(y), mask)  # what data fidelity takes away
    seen[name] = (taken[0, 0].abs() + 1e-3).log10().cpu().numpy()
plots.images(seen, "magma", "log10 |value|")
plt.show()

# %% [markdown]
# *What to see:* a pixel spreads along the phase-encoding axis only. So for lines $P$ is one H x H **matrix** for all columns of an image.
# The diagonal draws it: each of its columns is the point-spread function of 01.
#
# *Before you run the next cell:* which layer changes the image when it is applied a second time?

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
# *What to see:* the hermitian layer is a **projection**: a second application does nothing, and measured lines are met exactly. The real
# layer is none: a real part averages the values at $k$ and at $-k$ (conjugated). Where only $k$ is measured, the result is
# $(X_{cnn}+Y)/2$.

# %%
alone = mask & ~mirror(mask)
out = fft2(real(x_cnn, y, mask))
assert torch.allclose(out[..., alone], ((X_cnn + y) / 2)[..., alone], atol=1e-3)
assert (hermitian(x_hermitian, y, mask) - x_hermitian).abs().max() < 1e-4

# %% [markdown]
# This course uses `real`, as the paper's code does, though it meets a lone line only half-way. With a phase, as on a scanner, `real` would throw the phase away and `hermitian` fill in wrong lines: there,
# images stay complex.
#
# ## With noise: how far to trust the scanner
#
# Measurements are noisy. Let measured lines be a weighted mean of proposal and measurement, the measurement with $\lambda$ times the
# weight: $\lambda=0$ ignores the scanner, a large one comes close to the case above.
#
# *Before you run the next cells:* where is the best $\lambda$ without noise, with little, with much?

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
# *What to see:* without noise, more is always better. With noise there is a best $\lambda$ (dots), the smaller the noisier. Our data have
# no added noise: from here on $\lambda=\infty$.

# %% [markdown]
# ### Exercise 2.1 · Data fidelity with noise
#
# Write it from these words, for a finite `lam` of at least 0. The image stays real. `x_cnn` (B, 1, H, W), `y` (B, 1, H, W) complex, `mask`
# (H, W) bool. Your function goes into the network below.


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
# The proposal comes from a block of d convolutions of 3 x 3: one channel in, 32 in between, one out, ReLU between them. Here a block adds
# its output to its input (a **residual** block, as in KD-MRI): it predicts a correction, not an image. A **DC-CNN** (*deep
# cascade*, not DC, the zero frequency) alternates blocks and data fidelity, $x_k=\mathrm{DF}(\mathrm{CNN}_k(x_{k-1}),y)$, from $x_0=x_u$.
# Every block has its own weights. Blocks may differ in size (`kdrecon.models.DCCNN` takes any); here they do not.

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
# The library's `D2C5` starts with the same weights. Once exercise 2.1 is solved, the plain one takes **your** data fidelity.

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
# Minimise the mean absolute difference, $|x-x_{rec}|_1$, with Adam. The learning rate goes up and down once (*one cycle*).


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
# The library's training also chooses the best epoch, augments, and survives a crash. Here are both, on six slices:

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
# *What to see:* the same losses, up to rounding. From here on `lab.student()` stands for this.

# %% [markdown]
# ### Exercise 2.2 · How far does a block see? (warm-up)
#
# One convolution of 3 x 3 computes a pixel from 3 x 3 pixels, the next one from those results. How long is the **side** of the square of
# the image behind a pixel after d convolutions?


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
# This is the **receptive field**. Aliasing spreads along the whole phase-encoding axis. How can small blocks undo it?
#
# *Before you run the next cells:* change one pixel of the input. Which pixels move after one block, which after the network?

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
# *What to see:* a block moves 5 x 5 pixels, the network a **stripe**: along phase encoding the whole image, for data fidelity passes the
# change on; along the other axis as far as all convolutions reach, $2cd+1$ pixels: 21 for a D2C5, 51 for a D5C5.

# %%
changed = network_moves[0, 0].abs() > 1e-12
if torch.equal(mask.any(1), mask.all(1)):  # rows are measured
    assert int(changed.any(0).sum()) <= 2 * 5 * 2 + 1

# %% [markdown]
# ### Exercise 2.3 · One deep network instead?
#
# A convolution of 3 x 3 from a to b channels has 9 a b weights and b biases. How many numbers has a DdCc? Your function finds the single
# block (c = 1) as large as the D5C5.


# %% tags=["exercise"]
def my_weights(d, c):
    """Weights and biases of a DdCc."""
    ...  # your code


# %% tags=["solution"]
def my_weights(d, c):
    """Weights and biases of a DdCc."""
    ends = (9 * 32 + 32) + (9 * 32 + 1)  # 1 -> 32 and 32 -> 1 channels
    return c * (ends + (d - 2) * (9 * 32 * 32 + 32))


# %%
checks.weights(my_weights)

# %%
counted = checks.weights(my_weights).right


def size(d, c):
    return my_weights(d, c) if counted else count_parameters(dc_cnn(f"D{d}C{c}"))


depth = min(range(2, 30), key=lambda d: abs(size(d, 1) - size(5, 5)))
deep = f"D{depth}C1"
print(f"{deep}: {size(depth, 1):,} numbers, D5C5: {size(5, 5):,}")

# %% [markdown]
# Both ship, trained alike. The deep block sees 35 x 35 pixels, and data fidelity comes once.
#
# *Before you run the next cells:* how much of the cascade's gain does it reach?

# %%
from dataclasses import replace

place = str(lab.parameters.run_folder / "one_deep_cnn")
course = Laboratory(run_root=place, device=lab.parameters.device)  # people, 4x, in every run
alone = replace(course.experiment("teacher"), architecture=deep)
shipped = {deep: course.network(alone), "D2C5": course.student(), "D5C5": course.teacher()}
nine = middle(course.test.subject)
heads = course.test.batch(torch.tensor(list(nine.values())))
made = {"zero-filled": heads.x_u}
with torch.no_grad():
    made |= {name: network.model(*heads.inputs) for name, network in shipped.items()}

# %%
rows = {}
for name, images in made.items():
    psnr = metrics.psnr(heads.x[:, 0].cpu().numpy(), images[:, 0].cpu().numpy())
    psnr = pd.Series(psnr, list(nine))  # a slice of each person
    bare = psnr.index.str.startswith("antspyx")
    rows[name] = [psnr[~bare].mean(), psnr[bare].mean(), psnr.mean()]
groups = ["three whole heads", "six without skull", "all nine"]
pd.DataFrame(rows, groups).T.style.format(precision=2)

# %% [markdown]
# *What to see:* one seed and one recipe, yet clear. The deep block reaches half of the cascade's gain. Even the D2C5, with 3,045 weights,
# is better: coming back to the measurement is worth more than weights.
#
# ## Train a teacher and a student
#
# Now with all training slices, flipped and transposed at random, which makes one person look like more. `ready=False` trains here, even
# though trained networks ship.

# %%
teacher = lab.teacher(ready=False)

# %%
student = lab.student(ready=False)

# %%
plots.validation_curves({"teacher": teacher.history, "student": student.history})
plt.show()

# %% [markdown]
# *What to see:* both become flat when the learning rate drops. Flat does not mean finished.
#
# ## How far does the teacher lead?
#
# *Before you run the next cells:* whom do many weights help more, whole heads or people without skull?

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
# *What to see:* black is one short run with one seed; another seed or another processor moves it by tenths of a decibel. This holds for
# every table of your own in this course. After longer training (grey) the teacher leads on all nine, by one to two and a half decibels on the three **whole heads** and by
# less than half a decibel on the six **without skull**.

# %%
with torch.no_grad():
    outputs = {name: network.model(x_u, y, mask) for name, network in networks.items()}
predictions = {name: output[0, 0].cpu().numpy() for name, output in outputs.items()}
target = x[0, 0].cpu().numpy()
plots.comparison(target, predictions)
plt.show()

# %% [markdown]
# *What to see:* both networks remove most of the aliasing; what remains follows the edges.
#
# ## Watch the cascade work
#
# *Before you run the next cells:* does each cascade improve the image?

# %%
stages = {"zero-filled": x_u}
with torch.no_grad():
    for k, stage in enumerate(teacher.model.stages(x_u, y, mask), start=1):
        stages[f"cascade {k}"] = stage.image
plots.comparison(target, {name: image[0, 0].cpu().numpy() for name, image in stages.items()})
plt.show()

# %% [markdown]
# *What to see:* the ghosts fade, the edges return. But only the last image is trained; the others are messages to the next block, and may
# be worse than the one before. One cascade closely:

# %%
models = {"teacher": teacher.model, "student": student.model}
widgets.cascade_figure(models, batch, "teacher", cascade=1)
plt.show()

# %% [markdown]
# *Try:* step through both networks. Where is a proposal worse than what went in? The block leaves to data fidelity what data fidelity
# knows better.

# %%
widgets.cascade_stepper(models, batch)

# %% [markdown]
# ## What is data fidelity worth?
#
# The same student, trained as long, **without** it:

# %%
from dataclasses import asdict

elsewhere = str(lab.parameters.run_folder / "without_fidelity")
changes = {"switches": {**lab.parameters.switches, "fidelity": "none"}, "run_root": elsewhere}
lab_without = Laboratory(**asdict(lab.parameters) | changes, listeners=[live.curve])
without = lab_without.student(ready=False)

# %% [markdown]
# *Before you run the next cells:* all meet masks that are new to them: other lines, half as many, points. Who suffers most?

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
for kind, new in masks.items():
    observed = undersample(chosen, new)
    with torch.no_grad():
        made = {name: model(*observed, new) for name, model in three.items()}
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
# *What to see:* without data fidelity the student stays near zero-filling, also on the mask it knows. Networks with it gain on
# other lines and points, too: much of what they do is no memory but the measurement itself. With 8x lines there is less to carry.
#
# ### A lesion
#
# Add a small bright disc to the brain. No training slice has one. How much of it comes back, and does PSNR notice?

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
# *What to see:* networks with data fidelity give back a part of the contrast, the one without it nothing. The last column is the PSNR of an image from which the
# lesion is **missing**: hardly less. A mean over thousands of pixels does not see a dozen. Who looks for lesions has to measure lesions.
#
# ### Open · Break it
#
# Find a lesion that the teacher keeps and the student loses, or a 4-fold mask on which the student without data fidelity wins. Argue in
# five sentences whether it speaks about the networks or about your choice.
#
# ## Summary
#
# - A network proposes, data fidelity corrects; without it nearly all of the gain is gone.
# - A block sees a few pixels, the cascade a stripe: it beats one deep CNN of its size.
# - The teacher leads most on whole heads; the student alone is the yardstick for all that follows.
# - PSNR does not see a lost lesion.
#
# ## Questions
#
# <details><summary>1. Why is data fidelity applied after every block and not only at the end?</summary>
#
# Each block starts from an image drawn towards the measurement, and every pixel has heard of all others in its column.
# </details>
#
# <details><summary>2. When do both layers give the same result?</summary>
#
# When every measured line has a measured mirror line.
# </details>
#
# <details><summary>3. Why choose the best epoch by validation slices?</summary>
#
# The training loss goes on falling while a network memorises.
# </details>
#
# <details><summary>4. Can values of y outside the mask influence the reconstruction, and may they?</summary>
#
# They cannot: data fidelity masks y first. They must not: our files have them, a fast scan does not. Who uses them has read the answer.
# </details>
#
# <details><summary>5. A network shows a lesion that is not there. Can data fidelity prevent it?</summary>
#
# Only on the measured lines. What is made up between them, a *hallucination*, agrees with the measurement as the impostor does.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `schlemper2018`, `kingma2015`, `murugesan2020`,
# `gayathri2023`.
#
# [next: 03 · Standard distillation](./03_standard_kd.ipynb)

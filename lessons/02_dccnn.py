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
# A cascade of small networks, each followed by a step that puts back what was measured. Here you build the
# parts by hand, then train a teacher and a student.
#
# **What you will learn**
#
# - why reconstruction is an inverse problem, and what data fidelity adds to a network;
# - two ways to keep to the measurement, and the law each obeys;
# - what a CNN block sees and how many weights it has;
# - why blocks and data fidelity alternate in a cascade;
# - how teacher and student train and how far each gets.
#
# **Before you start:** [01 · k-space and undersampling](./01_kspace_undersampling.ipynb).
#
# **Minutes:** about 2 in quick mode on two cores, most of it training; with the paper's recipe some hours, on a GPU
# far less.
#
# [previous: 01 · k-space and undersampling](./01_kspace_undersampling.ipynb) ·
# [next: 03 · Standard distillation](./03_standard_kd.ipynb)

# %% tags=["parameters"]

# %% tags=["laboratory"]

# %% [markdown]
# ## An inverse problem
#
# We know $y = M F x$ and want $x$. Is there only one $x$? Take our slice, and exchange everything that is **not**
# known, the missing lines, for those of another image: the slice upside down.

# %%
import matplotlib.pyplot as plt
import torch

from kdrecon.physics import fft2, ifft2, mirror
from kdrecon.teaching import checks, plots, widgets

batch = lab.test.batch(torch.tensor([len(lab.test) // 2]))
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
# *What to see:* the third image is wrong, and yet its measured lines are exactly those of the first. The measurement
# cannot decide between them: the problem is **ill-posed**. What decides is *prior knowledge*, of how heads look. A
# network learns it from examples.
#
# ## Data fidelity by hand
#
# A network proposes an image, $x_{cnn}$. It may be plausible, but nothing keeps it from changing the lines that
# *were* measured. **Data fidelity** repairs that: in k-space, take the measurement where there is one and the
# proposal elsewhere. Three lines. For want of a network, a blurred image stands in as the proposal.

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
# lines ($P\,x_{cnn}$). For a line mask $P$ is one real matrix along the phase-encoding axis. Same numbers:

# %%
real, hermitian = DataFidelity("real"), DataFidelity("hermitian")
assert torch.allclose(real(x_cnn, y, mask), x_real, atol=1e-5)
assert torch.allclose(hermitian(x_cnn, y, mask), x_hermitian, atol=1e-5)

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
# are met exactly. The real layer is none. Taking the real part of an image replaces its k-space at $k$ by the mean of
# the values at $k$ and at $-k$ (conjugated). Where only $k$ is measured, one of the two is the measurement and the
# other still the proposal: the result is $(X_{cnn} + Y)/2$.

# %%
alone = mask & ~mirror(mask)
out = fft2(real(x_cnn, y, mask))
assert torch.allclose(out[..., alone], ((X_cnn + y) / 2)[..., alone], atol=1e-3)
assert (hermitian(x_hermitian, y, mask) - x_hermitian).abs().max() < 1e-4

# %% [markdown]
# This course uses `real`, as the released code of the paper does. Applied again and again with nothing between, it would
# halve the misfit of such a line each time. But a network stands between two applications, and may move the line
# anywhere: how far the measured lines are off on the way through a trained network is measured below.
#
# ## With noise: how far to trust the scanner
#
# A real measurement is noisy, and one would rather not trust it blindly. With a confidence $\lambda$ the measured
# lines become a weighted mean of proposal and measurement, all others stay the proposal's:
#
# $$X_{rec}(k) = \frac{X_{cnn}(k) + \lambda\, y(k)}{1 + \lambda} \quad \text{where } k \text{ was measured}$$
#
# $\lambda = 0$ ignores the scanner, $\lambda = \infty$ is the noiseless case above. (For a *real* image neither mode is
# the least-squares answer on a line whose opposite is missing: the docstring of `DataFidelity` has the weights.)
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
# *What to see:* for this proposal, the blurred slice, without noise more confidence is better all the way. With noise
# there is a best $\lambda$ (dots), and it is the smaller the noisier the measurement. Our data have no added noise, so from here on $\lambda = \infty$.

# %% [markdown]
# ### Exercise 2.1 · Data fidelity with noise
#
# Write it: k-space of the proposal, the weighted mean **on the measured lines only**, back to the image, real
# part. `x_cnn` (B, 1, H, W), `y` (B, 1, H, W) complex, `mask` (H, W) bool, `lam` a number.


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
# ## A CNN block
#
# The proposal comes from a block of d convolutions of 3 x 3: one channel in, 32 channels in between, one
# channel out, ReLU between them. A convolution from a to b channels has $9ab$ weights and $b$ biases.


# %%
from kdrecon.models import count_parameters, dc_cnn


def weights_of_block(d):
    widths = [1] + [32] * (d - 1) + [1]
    return sum(9 * a * b + b for a, b in zip(widths, widths[1:]))


for name, d in {"D5C5": 5, "D3C5": 3}.items():
    assert 5 * weights_of_block(d) == count_parameters(dc_cnn(name))
    print(f"{name}: 5 blocks of {weights_of_block(d):,} weights")

# %% [markdown]
# ### Exercise 2.2 · How far does a block see?
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
# Each convolution widens the view: the square that a block sees is its **receptive field**. Aliasing spreads along the
# whole phase-encoding axis. How can five small blocks undo it? Through data fidelity: $P$ mixes all pixels along that
# axis. We measure it: change one pixel of the input and see which pixels of the output move.
#
# *Before you run the next cells:* which shape will the moving pixels have after one block, and after the whole
# network?

# %%
model = dc_cnn("D3C5").to(lab.device).double()  # double precision, for the change fades on its way
plain, y_double = x_u.double(), y.to(torch.complex128)
bumped = plain.clone()
bumped[..., x_u.shape[-2] // 2, x_u.shape[-1] // 2] += 0.1
with torch.no_grad():
    block_moves = model.blocks[0](bumped)[0] - model.blocks[0](plain)[0]
    network_moves = model(bumped, y_double, mask) - model(plain, y_double, mask)
assert (block_moves.abs() > 1e-12).sum() <= 7**2

# %%
moved = {"one block": block_moves, "whole network": network_moves}
moved = {name: m[0, 0].abs().cpu().numpy() for name, m in moved.items()}
moved = {f"{name}: {(m > 1e-12).sum():,} pixels": np.log10(m + 1e-12) for name, m in moved.items()}
plots.images(moved, "magma", "log10 |change|")
plt.show()

# %%
changed = network_moves[0, 0].abs() > 1e-12
rows, columns = int(changed.any(1).sum()), int(changed.any(0).sum())
reach = 2 * model.depth * len(model.blocks) + 1  # of all its convolutions together
print(f"{rows} rows and {columns} columns change; the convolutions alone reach {reach} pixels")
if torch.equal(mask.any(1), mask.all(1)):  # rows are measured
    assert columns <= reach

# %% [markdown]
# *What to see:* one block of three convolutions moves a square of 7 x 7 pixels. The network moves a stripe: along the
# phase-encoding axis all of the image, for data fidelity has passed the change on; along the other axis only as far as
# its convolutions reach together, $2cd + 1$ pixels. At 120 x 120 that is 31 of 120 columns for a D3C5 and 51 for a D5C5.

# %% [markdown]
# ## The cascade
#
# A DC-CNN repeats the pair: $x_k = \mathrm{DF}(\mathrm{CNN}_k(x_{k-1}), y)$, five times, from $x_0 = x_u$.
#
# ### Exercise 2.3 · The cascade is a loop
#
# Write the network as a loop over its blocks and **collect the image after each cascade** in a list.
# `proposal, _ = block(z)` is what a block of `model.blocks` makes of an image `z` (the second result are
# feature maps, wanted in 03), and `model.fidelity(proposal, y, mask)` is the data fidelity.


# %% tags=["exercise"]
def my_cascade(model, x_u, y, mask):
    """Images x_1, x_2, ... after the cascades, a list."""
    ...  # your code


# %% tags=["solution"]
def my_cascade(model, x_u, y, mask):
    """Images x_1, x_2, ... after the cascades, a list."""
    images, z = [], x_u
    for block in model.blocks:
        proposal, _ = block(z)
        z = model.fidelity(proposal, y, mask)
        images.append(z)
    return images


# %%
checks.cascade(my_cascade)

# %% [markdown]
# ## Train a teacher and a student
#
# Both minimise $|x - x_{rec}|_1$, the mean absolute difference, with Adam. The learning rate is divided by ten
# after 40, 80 and 120 of 150 epochs; a shorter run does so at the same fractions. After every epoch the
# validation slices are reconstructed, and the epoch with the lowest validation L1 is kept.
#
# In quick mode this takes one to two minutes. `ready=False` says: train here, even though trained networks ship with the
# repository.

# %%
teacher = lab.teacher(ready=False)

# %%
student = lab.student(ready=False)

# %%
plots.validation_curves({"teacher": teacher.history, "student": student.history})
plt.show()

# %% [markdown]
# *What to see:* both fall steeply at first and become smooth and flat when the learning rate drops. Flat does not
# mean finished: the smaller the learning rate, the slower the change. A longer run keeps it high for longer. On the
# training slices it usually ends lower; on validation slices, of little data, it need not.
#
# ## Watch the cascade work
#
# Here are the images on the way, what exercise 2.3 collects in a list.
#
# *Before you run the next cells:* does each of the five cascades improve the image?

# %%
stages = {"zero-filled": x_u}
with torch.no_grad():
    for k, stage in enumerate(teacher.model.stages(x_u, y, mask), start=1):
        stages[f"cascade {k}"] = stage.image
size = y[..., mask].norm()
off = {name: float((fft2(z) - y)[..., mask].norm() / size) for name, z in stages.items()}
stages = {name: image[0, 0].cpu().numpy() for name, image in stages.items()}
target = x[0, 0].cpu().numpy()

# %%
plots.comparison(target, stages)
plt.show()

# %% [markdown]
# *What to see:* follow the zoom and the residue from left to right: the ghosts fade, the edges return. But the network
# is trained on its last image only. Nothing asks the images on the way to be
# good, and some may be worse than the one before: they are messages to the next block, not results.
#
# Do the images on the way agree with the measurement? Here is by how much their measured lines are off, as a share of what
# was measured.

# %%
pd.Series(off, name="off on the measured lines").map("{:.1%}".format).to_frame().T

# %% [markdown]
# *What to see:* with `hermitian` it would be 0 after each cascade. With `real` it is not, and it need not fall from one
# to the next: the ready teacher (50 epochs) is off by 5.9, 2.4, 5.7, 1.6 and 1.2 % on the test slices.
#
# One cascade in detail: what goes in, what the CNN proposes, and what data fidelity makes of it.

# %%
models = {"teacher": teacher.model, "student": student.model}
widgets.cascade_figure(models, batch, "teacher", cascade=1)
plt.show()

# %% [markdown]
# *Try:* step through the cascades of both networks. A proposal may be far too bright or too dark, look at its colour bar:
# the block leaves to data fidelity what data fidelity knows better.

# %%
widgets.cascade_stepper(models, batch)

# %% [markdown]
# ## How far did they get?

# %%
from kdrecon import results

networks = {"zero-filled": lab.zero_filled(), "teacher": teacher, "student": student}
scores = {name: results.evaluate(lab, network) for name, network in networks.items()}
results.quality_table(networks, scores)

# %%
with torch.no_grad():
    outputs = {name: network.model(x_u, y, mask) for name, network in networks.items()}
predictions = {name: output[0, 0].cpu().numpy() for name, output in outputs.items()}
plots.comparison(target, predictions)
plt.show()

# %% [markdown]
# *What to see:* both networks remove most of the aliasing; what remains follows the edges. The teacher has almost three times
# the weights of the student. How much it gains from them depends on how long both train: in a short run the
# small network learns faster and may even be ahead.

# %%
mean = {name: table.psnr.mean() for name, table in scores.items()}
gain = {name: mean[name] - mean["zero-filled"] for name in ("teacher", "student")}
print(f"Your run, {epochs} epochs on {len(lab.train)} slices, against zero-filling:")
print(f"teacher {gain['teacher']:+.2f} dB, student {gain['student']:+.2f} dB")
print("The paper, 150 epochs on other data (cardiac 4x): teacher +7.88 dB, student +7.41 dB")
assert all(np.isfinite(value) for value in gain.values())

# %% [markdown]
# ## Summary
#
# - Many images fit an undersampled measurement; a network proposes, data fidelity corrects.
# - `real` averages where only one of two mirrored lines is known; `hermitian` is exact and a projection.
# - A block sees a few pixels; through data fidelity the network sees the whole image along the phase-encoding axis.
# - D5C5 has 141,765 weights, D3C5 has 49,285.
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
# measurement (`real`), and along the phase-encoding axis every pixel hears of every other.
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
# <details><summary>7. Can the values y outside the mask influence the reconstruction?</summary>
#
# No, data fidelity masks y first. A test of the library alters them and compares.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `schlemper2018`, `kingma2015`, `murugesan2020`,
# `gayathri2023`.
#
# [next: 03 · Standard distillation](./03_standard_kd.ipynb)

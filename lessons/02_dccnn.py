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
# **Minutes:** about two in quick mode on two cores, most of it training; with the paper's recipe some hours, on a GPU
# far less.
#
# [previous: 01 · k-space and undersampling](./01_kspace_undersampling.ipynb) ·
# [next: 03 · Standard distillation](./03_standard_kd.ipynb)

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from kdrecon import evaluation, metrics, plots, widgets
from kdrecon.fidelity import DataFidelity
from kdrecon.fourier import fft2, ifft2
from kdrecon.models import count_parameters, dc_cnn
from kdrecon.sampling import mirror

# %% tags=["parameters"]
dataset = "sample"  # "sample" ships with the repository; else the name of a folder in data_root
acceleration = "4x"  # "4x", "5x" or "8x"
resolution = 120  # side of the image matrix, made by cropping k-space; 0 keeps the stored size
epochs = 14  # epochs of each training; the paper takes 150
batch_size = 3  # slices a step
lr = 3.0e-3  # initial learning rate of Adam
methods = ["at", "fitnets", "cc", "fsp", "sp"]  # distillation methods
seed = 0  # of weights and of the order of slices
device = "auto"  # "auto", "cpu" or "cuda"
data_root = ""  # folder of prepared data sets; "" is the default place
run_root = ""  # folder of this run's experiments; "" is runs/lab
ready = True  # start from the trained networks of the repository where they fit
preset = "paper"  # "paper", "as_released" or "kd_mri": a named set of switches
switches = {}  # single switches on top of the preset, such as {"fidelity": "hermitian"}

# %%
from kdrecon.laboratory import Laboratory

lab = Laboratory(
    dataset=dataset, acceleration=acceleration, resolution=resolution, epochs=epochs, batch_size=batch_size,
    lr=lr, methods=methods, seed=seed, device=device, data_root=data_root, run_root=run_root, ready=ready,
    preset=preset, switches=switches,
)  # fmt: skip

# %% [markdown]
# ## An inverse problem
#
# We know $y = M F x$ and want $x$. With a quarter of the lines there are infinitely many images that fit.
# A network proposes one from experience: $x_{cnn}$. It will be plausible, but nothing keeps it from changing
# the samples that *were* measured. That is what **data fidelity** is for: in k-space, take the
# measurement where there is one and the network's proposal elsewhere.

# %%
batch = lab.test.batch(torch.tensor([len(lab.test) // 2]))
x, x_u, y, mask = batch
x_cnn = torch.nn.functional.avg_pool2d(x, 3, stride=1, padding=1)  # stands in for a network: a blurred image
X_cnn = fft2(x_cnn)
x_complex = ifft2(torch.where(mask, y, X_cnn))
print(f"largest imaginary part: {x_complex.imag.abs().max():.4f}")

# %% [markdown]
# The result has an imaginary part, although both images are real: the mask is not symmetric, so a line was
# replaced but not its mirror line. Two ways to get a real image:
#
# - **real**: take the real part, as the released code does;
# - **hermitian**: use that a measured line fixes its mirror line too, $X(-k) = \overline{X(k)}$, and replace both.

# %%
x_real = x_complex.real
known = mask | mirror(mask)
Y_both = torch.where(mask, y, mirror(y * mask).conj())  # y where measured, else the mirrored conjugate
x_hermitian = ifft2(torch.where(known, Y_both, X_cnn)).real

# %%
real, hermitian = DataFidelity("real"), DataFidelity("hermitian")
assert torch.allclose(real(x_cnn, y, mask), x_real, atol=1e-5)
assert torch.allclose(hermitian(x_cnn, y, mask), x_hermitian, atol=1e-5)

# %% [markdown]
# The library computes both in real arithmetic: $x_{rec} = x_{cnn} + x_y - P\,x_{cnn}$, where for a line mask $P$ is one real
# matrix along the phase-encoding axis. Same numbers, less work.
#
# *Before you run the next cell:* apply each layer twice. Which of the two changes the image the second
# time?

# %%
for name, layer in {"real": real, "hermitian": hermitian}.items():
    once = layer(x_cnn, y, mask)
    change = (layer(once, y, mask) - once).abs().max()
    misfit = (fft2(once) - y)[..., mask].abs().max()
    print(f"{name:9s}  second application changes {change:.1e}   misfit on the measured lines {misfit:.1e}")

# %% [markdown]
# *What to see:* the hermitian layer is a **projection**: applying it again does nothing, and the measured lines
# are met exactly. The real layer is none: where only $k$ is measured and $-k$ is not, taking the real part
# averages measurement and proposal, $(X_{cnn} + Y)/2$.

# %%
alone = mask & ~mirror(mask)
out = fft2(real(x_cnn, y, mask))
assert torch.allclose(out[..., alone], ((X_cnn + y) / 2)[..., alone], atol=1e-3)
assert (hermitian(x_hermitian, y, mask) - x_hermitian).abs().max() < 1e-4

# %% [markdown]
# This course uses `real`, as the released code of the paper does. Deeper in the cascade the averaging is
# repeated five times, and the misfit halves each time.
#
# If the measurement is noisy, one would rather not trust it blindly. With a confidence $\lambda$:
# $X_{rec}(k) = \dfrac{X_{cnn}(k) + \lambda\, y(k)}{1 + \lambda}$ on the measured lines; $\lambda = \infty$ is the case above.

# %%
psnr = {lam: metrics.psnr(x[0, 0].cpu(), DataFidelity("real", lam)(x_cnn, y, mask)[0, 0].cpu()) for lam in (0.1, 1.0, 10.0, float("inf"))}
print("blurred image alone:", f"{metrics.psnr(x[0, 0].cpu(), x_cnn[0, 0].cpu()):.2f} dB")
for lam, value in psnr.items():
    print(f"lambda = {lam:<5}: {value:.2f} dB")

# %% [markdown]
# ## A CNN block
#
# The proposal comes from a block of d convolutions of 3 x 3: one channel in, 32 channels in between, one
# channel out, ReLU between them. A convolution from a to b channels has $9ab$ weights and $b$ biases.


# %%
def weights_of_block(d):
    widths = [1] + [32] * (d - 1) + [1]
    return sum(9 * a * b + b for a, b in zip(widths, widths[1:]))


for name, d in {"D5C5": 5, "D3C5": 3}.items():
    assert 5 * weights_of_block(d) == count_parameters(dc_cnn(name))
    print(f"{name}: 5 blocks of {weights_of_block(d):,} weights; a block sees {2 * d + 1} x {2 * d + 1} pixels")

# %% [markdown]
# Each convolution widens the view by one pixel on every side, so a block of d sees $(2d+1)^2$ pixels: its
# **receptive field**. Aliasing spreads over the whole image. How can five small blocks undo it? Through data
# fidelity: it works in k-space, where every sample touches every pixel. We measure it: change one pixel of
# the input and see which pixels of the output move.

# %%
model = dc_cnn("D3C5").to(lab.device)
bumped = x_u.clone()
row, column = x_u.shape[-2] // 2, x_u.shape[-1] // 2
bumped[..., row, column] += 0.1
with torch.no_grad():
    block_moves = model.blocks[0](bumped)[0] - model.blocks[0](x_u)[0]
    network_moves = model(bumped, y, mask) - model(x_u, y, mask)
touched = int((block_moves.abs() > 0).sum())
assert touched <= 7**2
print(f"one block: {touched} pixels move; the whole network: {int((network_moves.abs() > 1e-9).sum()):,} of {x.numel():,}")

# %% [markdown]
# ## The cascade
#
# A DC-CNN repeats the pair: $x_k = \mathrm{DF}(\mathrm{CNN}_k(x_{k-1}), y)$, five times, from $x_0 = x_u$. By hand
# it is a loop of two lines.

# %%
with torch.no_grad():
    z = x_u
    for block in model.blocks:
        proposal, _ = block(z)
        z = model.fidelity(proposal, y, mask)
    assert torch.allclose(z, model(x_u, y, mask), atol=1e-6)

# %% [markdown]
# ## Train a teacher and a student
#
# Both minimise $|x - x_{rec}|_1$, the mean absolute difference, with Adam. The learning rate is divided by ten
# after 40 and 80 of 150 epochs; a shorter run does so at the same fractions. After every epoch the
# validation slices are reconstructed, and the epoch with the lowest validation L1 is kept.
#
# In quick mode this takes about a minute. `ready=False` says: train here, even though trained networks ship with the
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
# mean finished: the smaller the learning rate, the slower the change. A longer run keeps it high for longer and
# ends lower.
#
# ## Watch the cascade work
#
# *Before you run the next cell:* does each of the five cascades improve the image?

# %%
stages = {"zero-filled": x_u}
with torch.no_grad():
    measurement, z = teacher.model.fidelity.measure(y, mask), x_u
    for k in range(5):
        z, _ = teacher.model.cascade(k, z, measurement)
        stages[f"cascade {k + 1}"] = z
stages = {name: image[0, 0].cpu().numpy() for name, image in stages.items()}
target = x[0, 0].cpu().numpy()

# %%
plots.images({f"{name}\n{metrics.psnr(target, image):.2f} dB": image.clip(0, target.max()) for name, image in stages.items()})
plt.show()

# %% [markdown]
# *What to see:* the network is trained on its last image only. Nothing asks the images on the way to be
# good, and some may be worse than the one before: they are messages to the next block, not results.
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
networks = {"zero-filled": lab.zero_filled(), "teacher": teacher, "student": student}
scores = {name: evaluation.evaluate(lab, network) for name, network in networks.items()}
evaluation.quality_table(networks, scores)

# %%
predictions = {name: evaluation.reconstruct(network.model, lab.test)[len(lab.test) // 2] for name, network in networks.items()}
plots.comparison(target, predictions)
plt.show()

# %% [markdown]
# *What to see:* both networks remove most of the aliasing; what remains follows the edges. The teacher has almost three times
# the weights of the student. How much it gains from them depends on how long both train: in a short run the
# small network learns faster and may even be ahead.

# %%
gain = {name: scores[name].psnr.mean() - scores["zero-filled"].psnr.mean() for name in ("teacher", "student")}
print(f"in your run: teacher {gain['teacher']:+.2f} dB and student {gain['student']:+.2f} dB against zero-filling,")
print(f"after {epochs} epochs on {len(lab.train)} slices. The paper trained 150 epochs on other data (cardiac 4x: +7.88 and +7.41 dB).")
assert all(np.isfinite(value) for value in gain.values())

# %% [markdown]
# ## Summary
#
# - Many images fit an undersampled measurement; a network proposes, data fidelity corrects.
# - `real` averages where only one of two mirrored lines is known; `hermitian` is exact and a projection.
# - A block sees a few pixels; through data fidelity the network sees all of them.
# - D5C5 has 141,765 weights, D3C5 has 49,285.
# - The student alone is the yardstick for everything that follows.
#
# ## Questions
#
# <details><summary>1. Why is data fidelity applied after every block and not only at the end?</summary>
#
# Each block then starts from an image that agrees with the measurement, and through k-space every pixel
# hears of every other.
# </details>
#
# <details><summary>2. What does the real layer do to a line that is measured while its mirror is not?</summary>
#
# It averages measurement and proposal.
# </details>
#
# <details><summary>3. When do both layers give the same result?</summary>
#
# When the mask is symmetric: every measured line has a measured mirror line.
# </details>
#
# <details><summary>4. How many weights has a D4C5?</summary>
#
# 5 (320 + 2 x 9,248 + 289) = 95,525.
# </details>
#
# <details><summary>5. Why choose the best epoch by validation slices?</summary>
#
# The training loss keeps falling while a network starts to memorise. The validation loss shows when that
# begins.
# </details>
#
# <details><summary>6. Can the values y outside the mask influence the reconstruction?</summary>
#
# No, data fidelity masks y first. A test of the library alters them and compares.
# </details>
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `schlemper2018`, `murugesan2020`, `gayathri2023`.
#
# [next: 03 · Standard distillation](./03_standard_kd.ipynb)

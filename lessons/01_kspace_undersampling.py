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
# # 01 · k-space and undersampling
#
# A scanner does not measure the image but its Fourier transform. This notebook shows what is lost when a part
# of it is left out.
#
# **What you will learn**
#
# - how an image and its k-space belong together, and what centre and periphery hold;
# - what a mask is: lines, acceleration, axis, polarity, centring;
# - what aliasing looks like, and why random lines are kinder than regular ones;
# - what zero-filling does, and why it is the baseline of everything that follows;
# - what magnitude images flatter: their k-space is symmetric.
#
# **Before you start:** [00 · Start here](./00_start_here.ipynb). You know what a Fourier transform is.
#
# **Minutes:** less than one, in every mode.
#
# [previous: 00 · Start here](./00_start_here.ipynb) · [next: 02 · DC-CNN](./02_dccnn.ipynb)

# %%
import matplotlib.pyplot as plt
import numpy as np
import torch

from kdrecon import evaluation, metrics, plots, widgets
from kdrecon.fourier import centred_fft2, fft2, ifft2
from kdrecon.sampling import acceleration_factor, gaussian_mask, mirror, published_mask, undersample

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
# ## An image and its k-space
#
# Write $x$ for an image with H x W pixels and $F$ for the two-dimensional discrete Fourier transform. Then
# $X = F x$ is its k-space. Ours is **orthonormal**: $F^{-1} = F^H$, so image and k-space have the same
# energy. And it is **unshifted**: the zero frequency, called DC, sits at index [0, 0]. For display only we
# move it to the middle.

# %%
mask = lab.mask.cpu()
x = lab.test.x[len(lab.test) // 2, 0].cpu()
k = fft2(x)
assert torch.allclose(k.abs().square().sum(), x.square().sum(), rtol=1e-4)
assert k.abs().argmax() == 0, "DC is the brightest sample and sits at [0, 0]"

# %%
plots.images(
    {"image x": x.numpy(), "k-space as stored": plots.log_magnitude(k.numpy()),
     "k-space, DC in the middle": plots.log_magnitude(centred_fft2(x).numpy())}, same_scale=False,
)  # fmt: skip
plt.show()

# %% [markdown]
# *What to see:* k-space is shown as the logarithm of its magnitude, since its centre is thousands of times
# brighter than its edge. In the stored order the bright centre is split over the four corners: the left and
# the right picture are the same numbers, rolled by half the matrix.
#
# ## What the centre holds, and what the edge
#
# *Before you run the next cell:* keep only the middle tenth of k-space in each direction. Will you still
# recognise the head? And from everything except that middle?

# %%
n = x.shape[0]
frequency = torch.fft.fftfreq(n).abs()
middle = (frequency[:, None] < 0.05) & (frequency[None] < 0.05)
low, high = ifft2(k * middle).real, ifft2(k * ~middle).real
assert torch.allclose(low + high, x, atol=1e-5)

# %%
plots.images({"image": x.numpy(), "from the centre alone": low.numpy(), "from the rest": high.numpy()}, same_scale=False)
plt.show()
print(f"the centre: {middle.float().mean():.1%} of the samples, {(low.square().sum() / x.square().sum()):.1%} of the energy")

# %% [markdown]
# *What to see:* the centre carries contrast and nearly all energy, the rest carries the edges. The two add up to the image
# because $F$ is linear.
#
# ## A mask
#
# A scanner acquires k-space line by line, and each line along the first axis here costs the same time. A
# **mask** $M$ says which lines are measured: `True` where they are. Measured k-space is $y = M F x$. The
# **acceleration** is the number of lines divided by the number of measured lines.

# %%
lines = mask.any(1)
assert torch.equal(lines, mask.all(1)), "a line is measured as a whole"
try:
    published = torch.equal(mask, published_mask("mrbrain" if dataset == "sample" else dataset, acceleration))
except ValueError:
    published = False
print("this run's mask:", "one of the published ones" if published else f"generated for {n} lines by the published kind's rule")
print(f"{int(lines.sum())} of {n} lines, acceleration {acceleration_factor(mask):.2f}")

# %%
centred = np.fft.fftshift(mask.numpy())
y = mask * k
plots.images(
    {"mask M": centred, "k-space F x": plots.log_magnitude(centred_fft2(x).numpy()),
     "measured y = M F x": plots.log_magnitude(np.fft.fftshift(y.numpy()))}, same_scale=False,
)  # fmt: skip
plt.show()

# %% [markdown]
# *What to see:* a block of lines in the middle is complete, further out there are fewer and fewer. The
# published masks look like that: a centre block of about 10 lines in 150, and the other lines drawn from a
# normal density around DC.
#
# Three mistakes turn up in every course; each is easy to see once you have seen it. Compare the
# reconstructions below with the right one.

# %%
mistakes = {
    "right": mask,
    "polarity: True = left out": ~mask,
    "centring: shifted mask, unshifted k-space": torch.fft.fftshift(mask),
    "axis: columns for lines": mask.T if mask.shape[0] == mask.shape[1] else mask.flip(1),
}
plots.images({name: ifft2(k * m).abs().numpy() for name, m in mistakes.items()}, same_scale=False)
plt.show()

# %% [markdown]
# *What to see:* the inverted and the shifted mask both lose the bright centre: only edges remain. The
# transposed mask is no error of its own, but the ghosts lie along the other axis.
#
# ## Zero-filling by hand
#
# The simplest reconstruction puts zeros where nothing was measured and transforms back:
#
# $$ x_u = |F^{-1} y|, \qquad y = M F x. $$

# %%
X = torch.fft.fft2(x, norm="ortho")  # k-space
Y = torch.where(mask, X, 0)  # what was measured
x_zero_filled = torch.fft.ifft2(Y, norm="ortho").abs()  # back to an image

# %% [markdown]
# The library does the same in one call. From here on we use it.

# %%
x_u, y = undersample(x, mask)
assert torch.allclose(x_u, x_zero_filled, atol=1e-6) and torch.allclose(y, Y, atol=1e-6)
error = (x - x_u).abs()
print(f"PSNR of the zero-filled image: {metrics.psnr(x, x_u):.2f} dB")

# %%
plots.comparison(x.numpy(), {"zero-filled": x_u.numpy()})
plt.show()

# %% [markdown]
# *What to see:* the zero-filled image is blurred and doubled along the vertical, the axis on which lines are
# missing. The residue is not noise: it looks like the anatomy. That is **aliasing**.
#
# ## Regular or random?
#
# Take the same number of lines, once every fourth one, once at random. One bright pixel tells what happens to every pixel:
# its image under the mask is the **point-spread function**.
#
# *Before you run the next cell:* how many copies of the pixel do you expect from every fourth line?

# %%
step = round(acceleration_factor(mask))
regular = torch.zeros_like(mask)
regular[::step] = True
spike = torch.zeros_like(x)
spike[n // 2, x.shape[1] // 2] = 1
spread = {name: undersample(spike, m)[0][:, x.shape[1] // 2] for name, m in {"regular": regular, "random": mask}.items()}

# %%
with plots.style():
    figure, axes = plt.subplots(1, 2, figsize=(10, 2.6), layout="constrained", sharey=True)
    for ax, (name, profile) in zip(axes, spread.items()):
        ax.plot(np.arange(n) - n // 2, profile / profile.max(), color="black", lw=1)
        ax.set(title=f"point-spread function, {name} lines", xlabel="pixels from the bright one")
    axes[0].set_ylabel("relative magnitude")
plt.show()

# %%
plots.images({f"{name} lines": undersample(x, m)[0].numpy() for name, m in {"regular": regular, "random": mask}.items()} | {"image": x.numpy()})
plt.show()

# %% [markdown]
# *What to see:* regular lines give full copies of the pixel at equal distances: **coherent** aliasing, four heads
# on top of each other, and nothing in the image says which is the true one. Random lines spread the copies into a
# low pedestal: **incoherent** aliasing, which looks more like noise and which a network can learn to take away.
#
# A scan with two phase-encoding directions can sample points instead of lines, and spread the error over both axes.

# %%
points = gaussian_mask(tuple(mask.shape), acceleration)
x_points = undersample(x, points)[0]
plots.images({"Gaussian mask": np.fft.fftshift(points.numpy()), "zero-filled from points": x_points.numpy()}, same_scale=False)
plt.show()
print(f"acceleration {acceleration_factor(points):.2f}: PSNR {metrics.psnr(x, x_points):.2f} dB; lines: {metrics.psnr(x, x_u):.2f} dB")

# %% [markdown]
# ## What magnitude images flatter
#
# Our images are magnitudes: real numbers. The Fourier transform of a real image is **Hermitian**,
# $X(-k) = \overline{X(k)}$: a measured line tells the opposite line as well.

# %%
assert torch.allclose(mirror(k), k.conj(), atol=1e-4)
m = published_mask("cardiac", "4x")
known = m | mirror(m)
print(f"cardiac 4x: {m.float().mean():.1%} of the lines are measured, {known.float().mean():.1%} are known")
known = mask | mirror(mask)
print(f"this run:   {mask.float().mean():.1%} of the lines are measured, {known.float().mean():.1%} are known")

# %% [markdown]
# So a "4x" acceleration of a magnitude image is closer to 2.5x in what it determines. Real scans have a phase, and their
# k-space has no such symmetry. Studies on magnitude images, this course and the paper included, are therefore kinder than
# scanners: one of the *implicit data crimes* of Shimron et al. (`shimron2022`). It touches all methods alike, so comparisons
# between them stay fair; absolute figures do not carry over to the scanner.
#
# ## The baseline in numbers
#
# Four common measures, slice by slice, averaged over the slices of the evaluation split. Notebook 06 looks at their
# pitfalls.

# %%
zero_filled = evaluation.evaluate(lab, lab.zero_filled())
print(f"{lab.evaluation_split} split, {len(zero_filled)} slices; the data range is each slice's target maximum")
zero_filled[["psnr", "ssim", "nmse", "hfn"]].agg(["mean", "std"]).round(4)

# %% [markdown]
# Every network of this course has to beat that first row.
#
# ## Explore
#
# Choose a mask and look what it does. First as a figure, then, in JupyterLab, with controls.

# %%
widgets.undersampling_figure(x, acceleration=4.0, mask_type="line", seed=0)
plt.show()

# %% [markdown]
# *Try:* drag the acceleration from 1 to 12. Set the centre lines to 0: what happens to the contrast? Switch from random
# to regular lines at 4-fold and count the heads. Change the seed: how much does luck matter?

# %%
widgets.undersampling_explorer(x)

# %% [markdown]
# The other way round: what does a region of k-space hold? A brush keeps it or erases it. A sample and its mirror image
# belong together in a real image, so the brush takes both.

# %%
widgets.brush_figure(x, keep=True, region="disc", size=8)
plt.show()

# %% [markdown]
# *Try:* keep a disc of size 1 at row 6, column 0: one pair of samples is one pattern of stripes. Which way do they run?
# Move it further out. Then erase instead: which of the two, the middle or a disc at the edge, is missed more?

# %%
widgets.kspace_brush(x)

# %% [markdown]
# ## Summary
#
# - k-space is the Fourier transform of the image; its centre holds contrast, its edge holds detail.
# - A mask chooses the measured lines; `True` means measured, DC is at [0, 0].
# - Missing lines alias: coherently if they are regular, incoherently if they are random.
# - The zero-filled image is the baseline and the input of every network.
# - Real images have symmetric k-space; that makes the task easier than on a scanner.
#
# ## Questions
#
# <details><summary>1. Why is the centre of k-space always measured?</summary>
#
# It holds nearly all the energy: without it there is no contrast, only edges.
# </details>
#
# <details><summary>2. How many copies does every fourth line produce, and how far apart?</summary>
#
# Four, a quarter of the image apart.
# </details>
#
# <details><summary>3. Your reconstruction shows only edges. Which two mistakes do you check first?</summary>
#
# Polarity (the mask marks what was left out) and centring (a shifted mask on unshifted k-space).
# </details>
#
# <details><summary>4. Does zero-filling change the measured samples?</summary>
#
# The complex image $F^{-1} y$ has exactly the measured samples. Its magnitude $x_u$ does not.
# </details>
#
# <details><summary>5. Why can a network remove incoherent aliasing more easily?</summary>
#
# It looks like noise that does not resemble anatomy. A coherent copy looks exactly like anatomy.
# </details>
#
# <details><summary>6. What would change with complex images from a scanner?</summary>
#
# The symmetry $X(-k) = \overline{X(k)}$ is gone, so a measured line no longer tells its opposite.
# </details>
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `lustig2007`, `shimron2022`, `murugesan2020`,
# `gayathri2023`.
#
# [next: 02 · DC-CNN](./02_dccnn.ipynb)

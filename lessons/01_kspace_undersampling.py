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
# A scanner does not measure the image but its Fourier transform. What is lost when a part of it is left out?
#
# **What you will learn**
#
# - what each region of k-space holds;
# - what a mask is, and how to find a wrong one;
# - why random lines are kinder than regular ones;
# - zero-filling, the baseline;
# - what magnitude images flatter.
#
# **Before you start:** [00 · Start here](./00_start_here.ipynb). The Fourier transform writes a signal as a sum of waves.
#
# **Minutes:** 50 to read; the machine takes less than one.
#
# [previous: 00 · Start here](./00_start_here.ipynb) · [next: 02 · DC-CNN](./02_dccnn.ipynb)

# %% tags=["parameters"] shown=["dataset", "acceleration", "resolution", "seed"]

# %% tags=["laboratory"]

# %% [markdown]
# ## An image and its k-space
#
# Hydrogen nuclei send back a radio signal whose frequency and phase depend on the place. Each reading is one value of the image's
# Fourier transform, **k-space**.
#
# Write $x$ for an image of H x W pixels, $F$ for the two-dimensional discrete Fourier transform, $X = F x$ for k-space. Ours is
# **orthonormal** ($F^{-1} = F^H$: image and k-space have the same energy, the sum of squares) and **unshifted**: the zero frequency,
# **DC**, sits at index [0, 0]. Its value is the mean of the image times $\sqrt{HW}$. Only for display it moves to the middle.
#
# `lab` holds the run's data: slices `lab.train`, `lab.validation`, `lab.test` with fully sampled images `.x` (S, 1, H, W), and `lab.mask`,
# what is measured.

# %%
import matplotlib.pyplot as plt
import torch

from kdrecon.physics import centred_fft2, fft2, line_mask
from kdrecon.teaching import checks, plots, widgets

mask = lab.mask.cpu()
if lab.switches.mask_type != "line":  # this notebook is about lines
    mask = line_mask(mask.shape, acceleration)
person = lab.test.subject[0]
x = lab.test.x[lab.test.subject.count(person) // 2, 0].cpu()  # a slice of the middle
if not torch.equal(mask.any(1), mask.all(1)):  # columns are measured, as of the knee
    mask, x = mask.T, x.T
    print("Images lie on their side here: phase encoding runs up and down, as in the text.")
k = fft2(x)
assert torch.allclose(k.abs().square().sum(), x.square().sum(), rtol=1e-4)
assert k.abs().argmax() == 0, "DC is the brightest sample and sits at [0, 0]"
assert torch.isclose(k[0, 0].real, x.mean() * x.numel() ** 0.5, rtol=1e-4)

# %%
plots.images(
    {"image x": x.numpy(), "k-space as stored": plots.log_magnitude(k.numpy()),
     "k-space, DC in the middle": plots.log_magnitude(centred_fft2(x).numpy())}, same_scale=False,
)  # fmt: skip
plt.show()

# %% [markdown]
# *What to see:* k-space is drawn as a logarithm, since DC is thousands of times larger than the edge. Its two pictures hold the same
# numbers, rolled by half the matrix.
#
# ## What each region of k-space holds
#
# A sample of k-space is the weight of one wave across the whole image, long near the centre, short far out; the direction from the
# centre is that of the wave.
#
# *Before you run the next cells:* from what alone would you recognise the head: two opposite samples, the centre, a ring around it,
# the outside, or a sector?

# %%
import numpy as np

from kdrecon.physics import ifft2

n = x.shape[0]
fy, fx = torch.meshgrid(torch.fft.fftfreq(n), torch.fft.fftfreq(x.shape[1]), indexing="ij")
radius = torch.hypot(fy, fx)
two = torch.zeros_like(x, dtype=torch.bool)
two[2, 3] = two[-2, -3] = True
regions = {"two samples": two, "centre": radius < 0.06, "ring": (radius >= 0.06) & (radius < 0.2),
           "outside": radius >= 0.2, "sector": fy.abs() > 2 * fx.abs()}  # fmt: skip
parts = {name: ifft2(k * region).real for name, region in regions.items()}
assert torch.allclose(parts["centre"] + parts["ring"] + parts["outside"], x, atol=1e-5)

# %%
samples = {name: f"{region.float().mean():.2%} of samples" for name, region in regions.items()}
whole = x.square().sum()
energy = {name: f"{part.square().sum() / whole:.1%} of energy" for name, part in parts.items()}
shares = [f"{name}\n{samples[name]},\n{energy[name]}" for name in regions]
kept = [np.fft.fftshift(region.numpy()) for region in regions.values()]
magnitudes = [part.abs().numpy() for part in parts.values()]
plots.strips({"kept of k-space": kept, "|its image|": magnitudes}, shares)
plt.show()

# %% [markdown]
# *What to see:* two opposite samples are **one wave** (here its magnitude). The centre, a hundredth of the samples, holds most of the
# energy, and the contrast. Ring and outside hold coarse and fine edges, the sector those across its direction.
#
# ## A mask
#
# A **Cartesian** scan acquires k-space line by line, on a grid. A line comes at once; the next one takes a new excitation, and time. So
# whole lines are left out, along the axis called **phase encoding**: here up and down. A **mask** $M$ is `True` where k-space is
# measured: $y = M F x$. The **acceleration** is the number of lines per measured line.

# %%
from kdrecon.physics import FAMILY, acceleration_factor, published_mask

lines = mask.any(1)
assert torch.equal(lines, mask.all(1)), "a line is measured as a whole"
try:
    published = torch.equal(lab.mask.cpu(), published_mask(FAMILY.get(dataset, ""), acceleration))
except ValueError:
    published = False
generated = f"generated for {n} lines, denser round DC like the published ones"
used = "this run's mask" if lab.switches.mask_type == "line" else "not this run's mask, but lines"
print(f"{used}: {'a published one' if published else generated}")
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
# *What to see:* the middle is complete, further out lines are fewer. Published masks look like that, with a centre of 9 to 12 lines.

# %% [markdown]
# ### Exercise 1.1 · A mask of your own (warm-up)
#
# Write the lines of a mask, (n,) bools, unshifted: index 0, `every`, 2 `every`, ... below n, and a block of `centre` lines (odd) with
# frequencies -(`centre` - 1)/2 to (`centre` - 1)/2.
#
# ```
# index      0    1    2   ...  n-3  n-2  n-1
# frequency  0    1    2   ...   -3   -2   -1
# ```


# %% tags=["exercise"]
def my_lines(n, every, centre):
    """(n,) bool, True = measured."""
    ...  # your code


# %% tags=["solution"]
def my_lines(n, every, centre):
    """(n,) bool, True = measured."""
    lines = torch.zeros(n, dtype=torch.bool)
    lines[::every] = True
    half = centre // 2
    lines[: half + 1] = True
    lines[n - half :] = True
    return lines


# %%
checks.lines(my_lines)

# %% [markdown]
# ## Three mistakes, and how to find them
#
# Files follow other conventions: `1` may mean *left out* (**polarity**), DC may be in the middle (**centring**), lines may run along the
# other **axis**. No program complains.
#
# *Before you run the next cell:* which of the three will look most harmless?

# %%
import pandas as pd

from kdrecon import metrics

mistakes = {
    "right": mask,
    "polarity": ~mask,
    "centring": torch.fft.fftshift(mask),
    "axis": line_mask(tuple(mask.shape), acceleration, axis=1),  # as many-fold, along the columns
}
shown = {name: ifft2(k * m).abs().numpy() for name, m in mistakes.items()}
shown = {f"{name}: {metrics.psnr(x.numpy(), image):.1f} dB": image for name, image in shown.items()}
plots.images(shown, same_scale=False)
plt.show()

# %% [markdown]
# *What to see:* the inverted mask loses the centre, and only edges remain; the shifted one keeps the few central lines that it hits.
# (Each image has its own grey scale.) With the wrong axis the image looks almost right; its ghosts lie the other way. Ask the mask, not
# the picture:


# %%
def symptoms(m):
    low = torch.fft.fftfreq(n).abs() < 4.5 / n  # the nine lines round DC, in unshifted order
    return {
        "share sampled": f"{m.float().mean():.0%}",
        "of the 9 lines round DC": f"{m[low].float().mean():.0%}",
        "of the 9 in the middle of the array": f"{m[torch.fft.fftshift(low)].float().mean():.0%}",
        "whole rows sampled": torch.equal(m.any(1), m.all(1)),
    }


pd.DataFrame({name: symptoms(m) for name, m in mistakes.items()}).T

# %% [markdown]
# *What to see:* far too large a share, none of it round DC, is **polarity**; a block in the middle of the array is **centring**; no whole
# rows is the **axis**.
#
# ## Zero-filling by hand
#
# The simplest reconstruction puts zeros where nothing was measured:
#
# $$ x_u = |F^{-1} y|, \qquad y = M F x. $$

# %%
X = torch.fft.fft2(x, norm="ortho")  # k-space
Y = torch.where(mask, X, 0)  # what was measured
x_zero_filled = torch.fft.ifft2(Y, norm="ortho").abs()  # back to an image

# %%
from kdrecon.physics import undersample

x_u, y = undersample(x, mask)  # the library's: the same in one call
assert torch.allclose(x_u, x_zero_filled, atol=1e-6) and torch.allclose(y, Y, atol=1e-6)
error = (x - x_u).abs()
print(f"PSNR of the zero-filled image: {metrics.psnr(x, x_u):.2f} dB")

# %%
plots.comparison(x.numpy(), {"zero-filled": x_u.numpy()})
plt.show()

# %% [markdown]
# *What to see:* the image is blurred, and doubled up and down. The residue follows the anatomy: that is **aliasing**. How much of it is copies, how much a haze, is up to the lines, as you will see.

# %% [markdown]
# ### Exercise 1.2 · A colleague's file
#
# A file holds k-space `k` (H, W) with DC at [0, 0], and bools `skipped` (H, W), `True` where a sample was **left out**, saved after
# `torch.fft.fftshift`. H and W may be odd. Return the zero-filled image, a magnitude.


# %% tags=["exercise"]
def my_repair(k, skipped):
    """Zero-filled image (H, W)."""
    ...  # your code


# %% tags=["solution"]
def my_repair(k, skipped):
    """Zero-filled image (H, W)."""
    mask = ~torch.fft.ifftshift(skipped)
    return ifft2(torch.where(mask, k, 0)).abs()


# %%
checks.repair(my_repair)

# %% [markdown]
# ## Regular or random?
#
# Take equally many lines: at equal distances, at random from anywhere, at random round a full centre. $F^{-1} M F$ is linear (only the
# magnitude at the end of $x_u$ is not), so **one** bright pixel tells what happens to all: its image is the **point-spread function**.
#
# *Before you run the next cells:* how many copies of the pixel will every fourth line make?

# %%
step = round(acceleration_factor(mask))
regular = torch.zeros_like(mask)
regular[::step] = True
spike = torch.zeros_like(x)
spike[n // 2, x.shape[1] // 2] = 1
uniform = torch.zeros_like(mask)
generator = torch.Generator().manual_seed(seed)
uniform[torch.randperm(n, generator=generator)[: int(lines.sum())]] = True
choices = {"regular": regular, "random": uniform, "random, full centre": mask}
spread = {name: undersample(spike, m)[0][:, x.shape[1] // 2] for name, m in choices.items()}
of_both, apart = ifft2(fft2(x + spike) * mask), ifft2(y) + ifft2(fft2(spike) * mask)
assert torch.allclose(of_both, apart, atol=1e-5), "linear up to the magnitude"
linear = ifft2(y).real
print(f"x_u differs from Re F^-1 y by {(x_u - linear).norm() / linear.norm():.0%}")

# %%
with plots.style():
    figure, axes = plt.subplots(1, 3, figsize=(10, 2.4), layout="constrained", sharey=True)
    for ax, (name, profile) in zip(axes, spread.items()):
        ax.plot(np.arange(n) - n // 2, profile / profile.max(), color="black", lw=1)
        ax.set(title=f"point-spread: {name}", xlabel="pixels from the bright one")
    axes[0].set_ylabel("relative magnitude")
plt.show()

# %%
shown = {name: undersample(x, m)[0].numpy() for name, m in choices.items()}
plots.images(shown | {"image": x.numpy()})
plt.show()

# %% [markdown]
# *What to see:* regular lines make full copies: **coherent** aliasing, four heads on top of each other, and nothing says which is true.
# Random lines leave one peak and a low pedestal: **incoherent** aliasing, more like noise, which a network can learn to take away. The
# full centre brings back the contrast and broadens the peak: fewer lines are left for the edges.
#
# A scan with two phase-encoding directions can sample points instead of lines.

# %%
from kdrecon.physics import gaussian_mask

points = gaussian_mask(tuple(mask.shape), acceleration)
x_points = undersample(x, points)[0]
shown = {
    "Gaussian mask": np.fft.fftshift(points.numpy()),
    f"from points, {metrics.psnr(x, x_points):.2f} dB": x_points.numpy(),
    f"from lines, {metrics.psnr(x, x_u):.2f} dB": x_u.numpy(),
}
plots.images(shown, same_scale=False)
plt.show()
by_points, by_lines = acceleration_factor(points), acceleration_factor(mask)
print(f"acceleration: points {by_points:.2f}, lines {by_lines:.2f}")

# %% [markdown]
# *What to see:* the error spreads over both axes: it looks like noise, and is smaller.
#
# ## What magnitude images flatter
#
# Scanner images are complex, and measured by several **coils**, each of which sees its surroundings best. Published is mostly one
# **magnitude**.

# %%
down, across = torch.meshgrid(
    torch.linspace(-1, 1, n), torch.linspace(-1, 1, x.shape[1]), indexing="ij"
)
coils = {}
for side in (-1, 1):
    sensitivity = torch.exp(-((across - side) ** 2) - down**2 / 2 + 2j * side * down)
    coils["left coil" if side < 0 else "right coil"] = sensitivity * x
combined = sum(image.abs() ** 2 for image in coils.values()).sqrt()  # root sum of squares
shown = {name: image.abs().numpy() for name, image in coils.items()}
plots.images(
    shown | {"root sum of squares": combined.numpy(), "our image": x.numpy()}, same_scale=False
)
plt.show()

# %% [markdown]
# *What to see:* each coil weighs the image in its own way. What they measure together tells something about skipped lines: *parallel
# imaging*. This course has one coil, and no phase.
#
# The Fourier transform of a real image is **Hermitian**, $X(-k) = \overline{X(k)}$: a measured line tells the opposite line as well.
#
# *Before you run the next cell:* of 150 lines 37 are measured. How many are *known* then: 37, 74, or something between?

# %%
from kdrecon.physics import mirror

assert torch.allclose(mirror(k), k.conj(), atol=1e-4)
for name, m in {"cardiac 4x:": published_mask("cardiac", "4x"), "lines above:": mask}.items():
    known = m | mirror(m)
    measured_share, known_share = m.float().mean(), known.float().mean()
    print(f"{name:12} {measured_share:.1%} of the lines are measured, {known_share:.1%} are known")

# %% [markdown]
# So "4x" of a magnitude image is closer to 2.5x. Does that matter? Fill in the opposite lines, conjugated, for our image and for the same
# with a phase, as a scanner has it.

# %%
ramp = torch.linspace(-1, 1, n)[:, None]
with_phase = x * torch.exp(3j * ramp**2)  # the same magnitude, and a smooth phase
rows = {}
for name, image in {"magnitude image": x + 0j, "the same with a phase": with_phase}.items():
    y_c = fft2(image) * mask
    filled = torch.where(mask, y_c, mirror(y_c).conj())
    rows[f"{name},\nzero-filled"] = ifft2(y_c).abs()
    rows[f"{name},\nopposite lines filled in"] = ifft2(filled).abs()

# %%
top = float(x.max())
titles = [f"{name}:\n{metrics.psnr(x, z):.2f} dB" for name, z in rows.items()]
plots.images({title: z.numpy().clip(0, top) for title, z in zip(titles, rows.values())})
plt.show()
a, b, c, d = (metrics.psnr(x, z) for z in rows.values())
print(f"filling in gains {b - a:+.2f} dB on the magnitude image and {d - c:+.2f} dB with the phase")

# %% [markdown]
# *What to see:* for the magnitude image the symmetry is a present, with a phase it is a lie: new ghosts appear. On the nine people
# filling in gains 1.8 to 2.3 dB on the magnitude image and loses 1.2 to 2.1 dB with the phase: the better method becomes the worse.
# Studies on magnitude images, this course included, are kinder than scanners: one of the *implicit data crimes* [`shimron2022`]. Figures
# and rankings have to be measured again on raw data.

# %% [markdown]
# ### Exercise 1.3 · Known lines
#
# For `lines` (n,), bool and unshifted, return the share that is known of a real image: lines that are measured, or whose opposite is. The
# opposite of index k is -k modulo n.


# %% tags=["exercise"]
def my_known_share(lines):
    """A number between 0 and 1."""
    ...  # your code


# %% tags=["solution"]
def my_known_share(lines):
    """A number between 0 and 1."""
    opposite = lines.flip(0).roll(1)
    return (lines | opposite).float().mean()


# %%
checks.known_share(my_known_share)

# %% [markdown]
# ## The baseline in numbers
#
# **PSNR** says in decibels how small the mean squared error is: 6 dB more are a quarter of it. **SSIM** compares local means, spreads
# and correlation; 1 is identical. Notebook 06 looks at their pitfalls. Mean ± standard deviation over the slices:

# %%
from kdrecon import results

baseline = {"zero-filled": lab.zero_filled()}
scores = {name: results.evaluate(lab, network) for name, network in baseline.items()}
split = f"{lab.evaluation_split} split, {len(lab.test)} slices"
print(f"{split}; the data range is each slice's target maximum")
table = results.quality_table(baseline, scores, reference="zero-filled")
table[[name for name in table if name.startswith(("PSNR", "SSIM"))]]

# %% [markdown]
# Every network has to beat that row.
#
# ## Explore
#
# Twice the acceleration:

# %%
widgets.undersampling_figure(x, acceleration=8.0, mask_type="line", seed=1)
plt.show()

# %% [markdown]
# *Try:* set the centre lines to 0. Take regular lines at 4-fold and count the heads. Change the seed: how much does luck matter?
#
# ### Open · Spend 15 lines
#
# At 8-fold, how many lines go into the centre? Choose with the explorer, on **two** seeds and by two measures (PSNR, and what you see in
# the brain). What do you tell a radiologist who prefers another choice?

# %%
widgets.undersampling_explorer(x)

# %% [markdown]
# A brush keeps or erases a region of k-space, together with its mirror image.

# %%
widgets.brush_figure(x, keep=True, region="disc", size=8)
plt.show()

# %% [markdown]
# *Try:* keep a disc of size 1 at row 6, column 0: which way do the stripes run? Then erase: which is missed more, the middle or a disc at
# the edge?

# %%
widgets.kspace_brush(x)

# %% [markdown]
# ## Summary
#
# - k-space is the Fourier transform of the image; its centre holds contrast, its edge detail.
# - In a mask `True` means measured, and DC is at [0, 0].
# - Missing lines alias: coherently if regular, incoherently if random.
# - The zero-filled image is the baseline, and every network's input.
# - Real images have symmetric k-space: an easier task than a scanner's.
#
# ## Questions
#
# <details><summary>1. Why is the centre of k-space always measured?</summary>
#
# It holds most of the energy: without it there is no contrast, only edges.
# </details>
#
# <details><summary>2. How many copies does every fourth line produce, and how far apart?</summary>
#
# Four, a quarter of the image apart (where four divides the number of lines).
# </details>
#
# <details><summary>3. Your reconstruction shows only edges. What do you check first?</summary>
#
# Polarity (the mask marks what was left out) and centring (it is shifted, and k-space is not).
# </details>
#
# <details><summary>4. Why can a network remove incoherent aliasing more easily?</summary>
#
# It looks like noise. A coherent copy looks exactly like anatomy.
# </details>
#
# <details><summary>5. What flatters images from an archive, besides the symmetry $X(-k) = \overline{X(k)}$?</summary>
#
# Coils have been combined, the matrix interpolated (k-space beyond is zero, and easily guessed), noise filtered: all after the
# measurement that we simulate.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `lustig2007`, `shimron2022`, `murugesan2020`,
# `gayathri2023`.
#
# [next: 02 · DC-CNN](./02_dccnn.ipynb)

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
# # 06 · Evaluation
#
# All networks of the run, and how not to be fooled by their figures.
#
# **What you will learn**
#
# - what PSNR and SSIM are, and what they miss: a lesion, for instance;
# - how to test a difference so that people and seeds count, not slices;
# - what the course's study found, and how to check another's claim.
#
# **Before you start:** the notebooks before. Their networks are loaded; what is missing is trained now.
#
# **Minutes:** about 70 to read; the machine needs 1 after 02 to 05, and alone where ready networks do; where nothing is ready,
# all networks are trained first.
#
# [previous: 05 · SFT-KD](./05_sft_kd.ipynb) · [next: 07 · Your own data](./07_your_own_data.ipynb)

# %% tags=["parameters"] shown=["epochs", "methods", "seed", "ready"]

# %% tags=["laboratory"]

# %% [markdown]
# Which networks are these? Where each comes from when it is asked for, and what `ready=False` changes:

# %%
from kdrecon import results

results.origins(lab)

# %%
wanted = {
    "teacher": lab.experiment("teacher"),
    "student": lab.experiment("student"),
    "SFT teacher": lab.experiment("sft_teacher"),
}
keys = lab.parameters.methods
for route, its_teacher in {"Std-KD": "standard", "SFT-KD": "sft"}.items():
    for key in keys:
        wanted[f"{route} {results.method_name(key)}"] = lab.distillation(key, its_teacher)
networks = dict(zip(wanted, lab.networks(wanted.values())))
networks = {"zero-filled": lab.zero_filled(), **networks}

# %%
run_folder = lab.parameters.run_folder
scores = {name: results.evaluate(lab, network) for name, network in networks.items()}
subjects = len(set(lab.test.subject))
split = f"{lab.evaluation_split} split: {len(lab.test)} slices of {subjects} subject(s)"
print(f"{len(networks)} networks, {split}")
print(results.epochs_note(networks))

# %% [markdown]
# ## One pair of images, many "PSNRs"
#
# For a target $x$, a prediction $p$ and a *data range* $R$,
#
# $$\mathrm{PSNR}=10\log_{10}\frac{R^2}{\langle(x-p)^2\rangle}\ \text{dB}.$$
#
# But what is $R$: the largest value that this image has, or could have? And is the mean over a slice or a volume?
#
# **Before you run it:** seven PSNRs of one volume, one of them a blunder. Will the others be 0.1 dB, 1 dB or 10 dB apart?

# %%
import h5py
import numpy as np
import pandas as pd

from kdrecon import metrics

first = networks["student"].folder / "results" / f"{lab.test.volume[0]}.h5"
with h5py.File(first, locking=False) as file:
    x, p = file["target"][:], file["reconstruction"][:]


def psnr(x, p, data_range):
    return 10 * np.log10(data_range**2 / np.mean((x - p) ** 2))


middle = len(x) // 2
both = x[middle], p[middle]
with_slice_range = [psnr(a, b, a.max()) for a, b in zip(x, p)]
with_volume_range = [psnr(a, b, x.max()) for a, b in zip(x, p)]
several = {
    "one slice, range = maximum of the slice": psnr(*both, x[middle].max()),
    "one slice, range = maximum of the volume": psnr(*both, x.max()),
    "one slice, range = max - min of both images": psnr(*both, np.max(both) - np.min(both)),
    "one slice, range = 255 (a mistake here)": psnr(*both, 255.0),
    "volume: mean over slices, range of each slice": np.mean(with_slice_range),
    "volume: mean over slices, range of the volume": np.mean(with_volume_range),
    "volume: one MSE, range of the volume": psnr(x, p, x.max()),
}
np.testing.assert_allclose(metrics.psnr(x, p), with_slice_range, rtol=1e-5)
pd.Series(several, name="PSNR (dB)").map("{:.2f}".format).to_frame()

# %% [markdown]
# *What to see:* nearly 1 dB lies between the others, and the image is the same. Only 255 is *wrong*, since these images lie in [0, 1]. Figures compare where range and unit agree; the papers' code
# takes a volume in one script and a slice in the next. **Here it is always** slice by slice, with the target's maximum as range.

# %% [markdown]
# ## SSIM
#
# SSIM compares small windows by their means $\mu$, variances $\sigma^2$ and covariance $\sigma_{xp}$, and averages:
#
# $$\mathrm{SSIM}=\left\langle\frac{2\mu_x\mu_p+c_1}{\mu_x^2+\mu_p^2+c_1}\cdot
# \frac{2\sigma_{xp}+c_2}{\sigma_x^2+\sigma_p^2+c_2}\right\rangle,\qquad c_1=(0.01R)^2,\ c_2=(0.03R)^2$$
#
# The first factor asks for equal brightness, the second for equal structure; $c_1, c_2$ avoid a division by 0.
#
# **Before you run it:** what will SSIM say if $R$ is far too large?

# %%
from scipy import ndimage


def my_ssim(x, p, data_range, side=7):
    def mean(image):
        return ndimage.uniform_filter(image, side)

    c1, c2 = (0.01 * data_range) ** 2, (0.03 * data_range) ** 2
    mu_x, mu_p, pixels = mean(x), mean(p), side**2
    products = {"xx": (x * x, mu_x**2), "pp": (p * p, mu_p**2), "xp": (x * p, mu_x * mu_p)}
    var = {k: (mean(ab) - mu) * pixels / (pixels - 1) for k, (ab, mu) in products.items()}
    brightness = (2 * mu_x * mu_p + c1) / (mu_x**2 + mu_p**2 + c1)
    structure = (2 * var["xp"] + c2) / (var["xx"] + var["pp"] + c2)
    edge = side // 2  # where the window does not fit
    return (brightness * structure)[edge:-edge, edge:-edge].mean()


one, other = (image.astype(float) for image in both)
assert np.isclose(my_ssim(one, other, one.max()), metrics.ssim(one, other), rtol=1e-4)
ranges = {"slice maximum": one.max(), "1": 1.0, "2 (as if -1 to 1)": 2.0, "255": 255.0}
ssim = {f"range {name}": metrics.ssim(one, other, data_range=r) for name, r in ranges.items()}
ssim["range slice maximum, Gaussian window"] = metrics.ssim_gaussian(one, other)
distilled = [table.ssim.mean() for name, table in scores.items() if "KD" in name]
print(f"the distilled students lie within {np.ptp(distilled):.4f} of each other")
pd.Series(ssim, name="SSIM of one slice").map("{:.4f}".format).to_frame()

# %% [markdown]
# *What to see:* with too large a range the constants outweigh the image, and anything looks perfect. The window, uniform 7 x 7 (the papers'
# code, and here) or Gaussian 11 x 11 (the original [`wang2004`]), moves SSIM by more than distilled students differ.
#
# ## One PSNR, many faults
#
# Four faults have the same PSNR here, and three more measures judge them. **NMSE** is the squared error relative to the image,
# $\|x-p\|^2/\|x\|^2$, and **HFN** the same of the edges, which a Laplacian finds: less is better. **VIF** asks how much visual
# information survives.
#
# **Before you run it:** noise, blur, a ghost, a change of brightness: which would a radiologist mind most, which SSIM?

# %%
import matplotlib.pyplot as plt

from kdrecon.teaching import checks, plots, widgets

noise = np.random.default_rng(lab.parameters.seed)
faults = {
    "noise": noise.standard_normal(one.shape),
    "blur": ndimage.gaussian_filter(one, 1) - one,
    "ghost": np.roll(one, len(one) // 4, axis=0),
    "brighter": np.ones_like(one),
}
size = one.max() / 10 ** (26 / 20)  # root mean square error for 26 dB
faulty = {name: one + fault * size / np.sqrt(np.mean(fault**2)) for name, fault in faults.items()}
plots.comparison(one, faulty)
plt.show()

# %%
measures = [metrics.METRICS[key] for key in ("psnr", "nmse", "ssim", "hfn", "vif")]
opinions = {
    fault: {measure.title: f"{measure(one, image):.3f}" for measure in measures}
    for fault, image in faulty.items()
}
pd.DataFrame(opinions).T

# %% [markdown]
# *What to see:* NMSE says what PSNR says. SSIM punishes what disturbs the flat background, HFN hardly sees the ghost, the fault most
# like aliasing, and VIF does not mind brightness. None knows what a doctor looks for.

# %% [markdown]
# ### Exercise 6.1 · Two papers, one range (warm-up)
#
# A paper lists the PSNR of every slice, with the maximum of the *volume* as range. Its images are lost, but you have the slices'
# maxima. Return the mean that this course would report.


# %% tags=["exercise"]
def my_translation(psnr, slice_maxima):
    """Arrays (S,), the paper's PSNRs in dB and the slices' maxima -> one number in dB."""
    ...  # your code


# %% tags=["solution"]
def my_translation(psnr, slice_maxima):
    """Arrays (S,), the paper's PSNRs in dB and the slices' maxima -> one number in dB."""
    return np.mean(psnr + 20 * np.log10(slice_maxima / slice_maxima.max()))


# %%
checks.translation(my_translation)

# %% [markdown]
# ## Lost, and made up
#
# [02](./02_dccnn.ipynb) inserted a lesion; here each person gets one, a disc 0.2 brighter. How much of its **contrast** is kept? And without it,
# how many spots of that size are too bright by 0.05? Structure that a network makes up is a **hallucination** [`bhadra2021`].
#
# **Before you run it:** will contrast and spots put the networks in the order of PSNR?

# %%
import torch

from kdrecon.physics import undersample

chosen = {}  # person -> a slice of the middle
for person in dict.fromkeys(lab.test.subject):
    chosen[person] = lab.test.subject.index(person) + lab.test.subject.count(person) // 2
healthy = lab.test.batch(torch.tensor(list(chosen.values())))
rows, columns = healthy.x.shape[-2:]
down, across = torch.meshgrid(torch.arange(rows), torch.arange(columns), indexing="ij")
disc = (down - rows * 3 // 8) ** 2 + (across - columns * 5 // 8) ** 2 <= 5
disc = disc.to(healthy.x.device)
seen = {}
for name, network in networks.items():
    with torch.no_grad():
        well, ill = (
            network.model(*undersample(image, healthy.mask), healthy.mask)
            for image in (healthy.x, healthy.x + 0.2 * disc)
        )
    contrast = (ill - well)[..., disc].mean(dim=(1, 2)) / 0.2
    bright = [ndimage.uniform_filter(e, 5) > 0.05 for e in (well - healthy.x)[:, 0].cpu().numpy()]
    seen[name] = {
        "contrast kept": f"{contrast.mean():.0%}",
        "in the worst case": f"{contrast.min():.0%}",
        "spots made up per slice": f"{np.mean([ndimage.label(spots)[1] for spots in bright]):.1f}",
        "PSNR (dB)": f"{metrics.psnr(healthy.x[:, 0].cpu(), well[:, 0].cpu()).mean():.2f}",
    }
pd.DataFrame(seen).T

# %% [markdown]
# *What to see:* is the network with the best PSNR the one that keeps most contrast and makes up least? The ready teacher, of 50 epochs,
# leads by PSNR and keeps less of the lesion than its student. Every network makes up some spots, after short training more. A mean over
# thousands of pixels tells neither.
#
# ## Slices, people, groups
#
# Each network's folder holds its reconstructions and `metrics.csv`; `summary.csv` has a row per network. Whoever doubts a table can
# recompute it. So do we.

# %%
for name, network in networks.items():
    for volume, own in scores[name].groupby("volume", sort=False):
        with h5py.File(network.folder / "results" / f"{volume}.h5", locking=False) as file:
            target, prediction = file["target"][:], file["reconstruction"][:]
        np.testing.assert_allclose(metrics.psnr(target, prediction), own.psnr, rtol=1e-6)
        np.testing.assert_allclose(metrics.ssim(target, prediction), own.ssim, rtol=1e-6)
summary = results.write_summary(run_folder)
assert len(summary) >= len(networks)
results.quality_table(networks, scores, reference="student")

# %% [markdown]
# These are means over slices, and three **whole heads** bring 34 of the 40, six **skull-stripped** people one each.
#
# **Before you run it:** will means over people put the networks in the same order?

# %%
people = pd.DataFrame({n: table.groupby("subject").psnr.mean() for n, table in scores.items()})
stripped = people.index.str.startswith("antspyx")
means = {"per slice": pd.Series({name: table.psnr.mean() for name, table in scores.items()})}
means |= {"per person": people.mean(), "whole heads": people[~stripped].mean()}
means |= {"skull-stripped": people[stripped].mean()} if stripped.any() else {}
pd.DataFrame(means).map("{:.2f}".format).rename_axis("PSNR (dB)")

# %% [markdown]
# *What to see:* per slice the heads outvote the others by 34 to 6, per person it is 3 to 6. This course counts people, because a claim
# is about the next person, and names groups where they disagree.
#
# Slices differ more than networks. But all networks see the *same* slices:

# %%
trained = {name: table for name, table in scores.items() if name != "zero-filled"}
figure = plots.box_plots(trained, reference="student")
(run_folder / "figures").mkdir(exist_ok=True)
figure.savefig(run_folder / "figures" / "box_plots.png", dpi=100)
plt.show()

# %% [markdown]
# *What to see:* on the right the plain student's PSNR on the same slice is subtracted, and what makes a slice difficult drops out.
#
# ## Is the difference real?
#
# Of two equally good networks, one suits your anatomy better and the other one mine. Eight such people bring 20 slices each.
#
# **Before you run it:** 100 such studies are tested at the 5 % level, with 160 slices and with 8 means. How many differences will each
# find, though there is none?

# %%
from scipy import stats

draw = np.random.default_rng(0)
found = {"160 slices": 0, "8 people": 0}
for _ in range(100):
    each = draw.standard_normal((8, 1))  # what each person adds: 0 on average
    slices = each + draw.standard_normal((8, 20))
    found["160 slices"] += int(stats.ttest_1samp(slices.ravel(), 0).pvalue < 0.05)
    found["8 people"] += int(stats.ttest_1samp(slices.mean(axis=1), 0).pvalue < 0.05)
print("of 100 studies without an effect, significant:", found)

# %%
with plots.style():
    figure, ax = plt.subplots(figsize=(7, 2.6), layout="constrained")
    for number, values in enumerate(slices):
        ax.scatter(np.full(20, number) + np.linspace(-0.2, 0.2, 20), values, s=10, color="0.6")
        ax.hlines(values.mean(), number - 0.3, number + 0.3, color="C3", linewidth=3)
    ax.axhline(0, color="black", linewidth=0.8)
    ax.set(xlabel="person", ylabel="difference (dB)")
    ax.set_title("the last study: slices (grey) and means (red)")
plt.show()

# %% [markdown]
# *What to see:* points of one person stay together; the next will have another red line. So every person counts once.
#
# Trainings are drawn as well: the *same* method with another **seed** is a little better or worse for everybody. Again 100 studies, with
# one training of each method and with three.

# %%
draw = np.random.default_rng(1)
by_seeds = {"1 seed": 0, "3 seeds": 0}
for _ in range(100):
    shift = 0.5 * draw.standard_normal((2, 3, 1))  # of 2 methods with 3 seeds each
    nets = shift + 0.5 * draw.standard_normal((2, 3, 8))  # as 8 people see them
    by_seeds["1 seed"] += int(stats.ttest_1samp(nets[1, 0] - nets[0, 0], 0).pvalue < 0.05)
    by_person, spread = (nets[1] - nets[0]).mean(0), results.seed_spread(nets.mean(2))
    by_seeds["3 seeds"] += int(results.estimate(by_person, 3, spread).p < 0.05)
print("of 100 studies without an effect, significant:", by_seeds)

# %% [markdown]
# *What to see:* one seed takes a difference between two *networks*, which is there, for one between *methods*, which is not. So the
# library counts both. Of a mean difference $D$ over $n$ people the **standard error** is
#
# $$e=\sqrt{s_d^2/n+2s^2/K},$$
#
# with $s_d$ the spread of the differences over people, $s$ that of a network over $K$ seeds, twice, as either method has its own. The
# 95 % **interval** is $D\pm te$, with $t$ of Student's distribution: 2.8 for five people, 2.3 for nine, towards 2 for many. **p** is how often chance alone brings so large a $D$; it is below 0.05 where the interval excludes 0. Many
# tests find something by luck: **Holm's correction** multiplies the smallest of three p-values by 3, the next by 2.
#
# **Before you run it:** ten made-up people, three seeds. Which methods would you call better?

# %%
ten = {
    "A": [0.35, 0.12, 0.41, 0.28, 0.09, 0.33, 0.47, 0.20, 0.31, 0.24],
    "B": [0.05, 0.10, -0.12, 0.03, 2.50, 0.01, -0.08, 0.15, 0.06, 0.10],
    "C": [0.05, 0.02, 0.07, 0.03, 0.06, 0.04, 0.01, 0.05, 0.03, 0.04],
}
spread = results.seed_spread([[30.0, 30.1, 30.2]] * 4)  # 4 networks: s = 0.1 dB
made_up = {}
for name, d in ten.items():
    error = np.sqrt(np.var(d, ddof=1) / 10 + 2 * spread.sd**2 / 3)
    made_up[name] = {"D": np.mean(d), "s_d": np.std(d, ddof=1), "e": error}
    made_up[name] |= results.estimate(d, 3, spread)._asdict()
made_up = pd.DataFrame(made_up).T.drop(columns=["difference", "about"])
made_up["p (Holm)"] = results.holm(made_up.p)
made_up.astype(float).style.format(precision=3)

# %% [markdown]
# *What to see:* A is shown. B has the same mean, but one person made it. C is ahead in all ten people and not shown: other seeds
# move it by more. Your run, against its plain student:

# %%
compared = results.compare(trained, reference="student")
assert compared.p.isna().all()  # one seed
print("\n".join(compared.note.unique()))
told = ["difference", "low", "high", "p_holm", "verdict"]
compared[told].dropna(axis="columns", how="all").style.format(precision=2, na_rep="-")

# %% [markdown]
# *What to see:* *not tested*, for another seed is unknown. The interval, which takes at least six people, is about these two networks alone.
#
# ### Exercise 6.2 · An interval by hand
#
# `a` and `b` hold a PSNR per slice of two networks, one training each, the list `subjects` whose slice it is. Return the ends (low,
# high) of the 95 % interval of a minus b. Every person counts once; with one seed the term of $s$ is left out, and $t$ is
# `stats.t.ppf(0.975, n - 1)`.


# %% tags=["exercise"]
def my_interval(a, b, subjects):
    """(low, high) in dB."""
    ...  # your code


# %% tags=["solution"]
def my_interval(a, b, subjects):
    """(low, high) in dB."""
    d = pd.Series(a - b).groupby(list(subjects)).mean()
    half = stats.t.ppf(0.975, len(d) - 1) * d.std() / np.sqrt(len(d))
    return d.mean() - half, d.mean() + half


# %%
checks.interval(my_interval)

# %% [markdown]
# ## What three seeds found
#
# The course's study of reconstruction trained every network with three seeds.
#
# **Before you run it:** which of four intervals lie above 0, for all nine, and for the six?

# %%
course = results.shipped_study("course")
small = ", network D2C5"
called = {"teacher": "teacher", "SFT teacher": "SFT teacher, student_network D2C5"}
called |= {name: name + small for name in ("student", "Std-KD AT", "SFT-KD AT")}
by_seed = {
    name: dict(list(course.slices[course.slices.network == full].groupby("seed")))
    for name, full in called.items()
}
groups = {
    "all nine": "",
    "six skull-stripped": "antspyx",
    "three whole heads": "Colin27|pyradiomics",
}
of_groups = {}
for group, pattern in groups.items():
    here = {
        name: {k: t[t.subject.str.contains(pattern)].reset_index() for k, t in tables.items()}
        for name, tables in by_seed.items()
    }
    of_groups[group] = results.compare(here, reference="student")

# %%
table = pd.concat(of_groups, names=["people", "network"])
intervals = zip(table.low, table.high)
table["95 % interval"] = ["-" if np.isnan(a) else f"{a:+.2f} to {b:+.2f}" for a, b in intervals]
table[["difference", "95 % interval", "p", "p_holm", "verdict"]].style.format(
    {"difference": "{:+.2f}", "p": "{:.3f}", "p_holm": "{:.3f}"}, na_rep="-"
)

# %% [markdown]
# *What to see:* the teacher leads by 1.9 dB in the whole heads, and hardly in the others. Over all nine both teachers' intervals just
# exclude 0, but their p do not survive Holm's correction among four. No distilled student is shown to be better or worse. Six people
# of one kind narrow nothing: what a seed adds stays. Three give no interval, however large the difference.
#
# (The study's own page learns the spread of seeds from all its networks: +0.02 to +1.56 in place of the first interval.) *Not shown* is
# not *equal*: for that, the interval would have to lie within a margin that was named beforehand, such as $\pm0.1$ dB.
#
# The plain answer ([08](./08_the_study.ipynb) reads all of the study): **the teacher's lead is the largest difference, and hardly
# shown**; distillation itself brings less than nine people and three seeds can show, not only for this student:
#
# ![Gain of distilled students with 95 % intervals, by epochs, size of the student and training slices](../docs/gains.png)
#
# *Filled is what is shown: the one student with a head start (its blocks have 50 epochs of joint training behind them).*
#
# The chance to show 0.1 dB, if differences vary as in this study:

# %%
spread_there = results.typical_spread(course.comparisons)
results.power_table(0.1, spread_there, [9, 30, 100], [3, 10, 30, 100]).set_index("seeds")

# %% [markdown]
# *What to see:* nine people and three seeds had a chance of 9 %. No number of people makes up for few seeds.
#
# ## Somebody else's claim
#
# The SFT paper's abstract: the gap between teacher and student shrinks from 0.53 to 0.03 dB. Where in its Table 1 (brain, 4x)?

# %%
papers = results.published_figures()
papers = papers[(papers.source == "gayathri2023, Table 1") & (papers.dataset == "mrbrain")]
papers = papers[papers.acceleration == "4x"]
tops = papers.set_index("model").psnr
claim = papers[papers.method != ""].pivot(index="method", columns="teacher", values="psnr")
claim = claim.set_axis([results.method_name(key) for key in claim.index])
claim = pd.DataFrame(
    {
        "teacher - Std-KD": tops["teacher"] - claim.standard,
        "teacher - SFT-KD": tops["teacher"] - claim.sft,
        "SFT teacher - SFT-KD": tops["sft_teacher"] - claim.sft,
    }
)
assert claim.loc["FitNets"].round(2).tolist() == [0.53, -0.03, 0.15]
claim.style.format("{:+.2f}")

# %% [markdown]
# *What to see:* it is FitNets, one of twenty such pairs. And its student is 0.03 dB *above* the standard teacher, 0.15 below its own.
# There is one training of each, no interval.
#
# ### Exercise 6.3 · Open: one claim
#
# Repeat the table of groups with SSIM, HFN or VIF (`results.compare(here, "student", metric="hfn")`). Which verdicts will change? Then
# write **one** sentence, with people, seeds and interval, that you would defend before a radiologist, and the strongest objection.
#
# ## The pictures
#
# Of the volume with most slices, the one with the plain student's median PSNR:

# %%
row = results.typical_slice(scores["student"])
method = results.method_name(keys[0])
names = ["zero-filled", "teacher", "student", f"Std-KD {method}", f"SFT-KD {method}"]
batch = lab.test.batch(torch.tensor([row]))
with torch.no_grad():
    outputs = {name: networks[name].model(*batch.inputs) for name in names}
images = {name: output[0, 0].cpu().numpy() for name, output in outputs.items()}
target = batch.x[0, 0].cpu().numpy()
for name, image in images.items():
    np.testing.assert_allclose(metrics.psnr(target, image), scores[name].psnr[row], rtol=1e-3)
figure = plots.comparison(target, images)
figure.savefig(run_folder / "figures" / "comparison.png", dpi=100)
plt.show()

# %% [markdown]
# *What to see:* a zoom into the yellow frame, where the zero-filled image errs most, and the residues $|x-p|$. Look for stripes, arcs and
# blur that the target does not have. To tell distilled students apart by eye is hard; that is a result, too. More slices:

# %%
some = lab.test.subset(6)
targets = some.x[:, 0].cpu().numpy()
reconstructions = {
    name: results.reconstruct(network.model, some) for name, network in networks.items()
}
widgets.reconstruction_figure(targets, reconstructions, "student")
plt.show()

# %% [markdown]
# *Try:* narrow the window until grey matter fills it. Raise the residue gain: a small one flatters.

# %%
widgets.reconstruction_browser(targets, reconstructions)

# %% [markdown]
# ## Summary: what may be claimed
#
# - A figure is of *this* network, *these* people, *one* seed. Without range, unit and spread it means nothing.
# - Methods are compared over people and seeds. Every method that was tried counts, and groups that disagree are named.
# - A mean over pixels sees no lesion, lost or made up. Measure what is looked for.
# - k-space computed from finished images flatters: phase gone, coils combined, matrix interpolated (the empty rim of k-space is easily
#   guessed), noise filtered.
#
# The main path ends here. [Where next](../docs/where_next.md): what newer networks have, and where raw data are.
#
# ## Questions
#
# <details><summary>1. Two papers report 32.1 and 34.0 dB on the same data. Name two reasons besides the network.</summary>
#
# Another range, PSNR per volume, another split, mask or crop.
# </details>
#
# <details><summary>2. By how much does doubling the range change the PSNR?</summary>
#
# By $20\log_{10} 2 \approx 6.02$ dB, for every image.
# </details>
#
# <details><summary>3. Boxes of two networks overlap widely. Are they equally good?</summary>
#
# Not necessarily: slices differ, too. Look at paired differences.
# </details>
#
# <details><summary>4. Why does a p-value over 50 slices of one subject mislead?</summary>
#
# It takes one person for fifty.
# </details>
#
# <details><summary>5. A network draws a lesion that is not there. Which measure above notices?</summary>
#
# Only one that looks where nothing should be.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `wang2004`,
# `sheikh2006`, `ravishankar2011`, `vanderwalt2014`, `bhadra2021`.
#
# [next: 07 · Your own data](./07_your_own_data.ipynb)

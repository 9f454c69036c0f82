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
# All networks of the run, on the same slices: figures, spread, pictures and cost, and how not to be fooled
# by them.
#
# **What you will learn**
#
# - why the same two images can have several "PSNRs", and which one is reported here;
# - how to evaluate many networks so that every figure can be recomputed from stored reconstructions;
# - how to read a comparison figure, a residue, a box plot;
# - how to test a difference so that people count, not slices;
# - what a student costs and saves: parameters, memory and milliseconds;
# - what a table may claim, and what it may not.
#
# **Before you start:** the notebooks before. What they trained is loaded here; what is missing is trained
# now.
#
# **Minutes:** about 1 in quick mode on two cores, after 02 to 05 and alone, when it opens on networks that ship;
# where nothing is ready, all networks are trained first. With the paper's recipe a few minutes after the others.
#
# [previous: 05 · SFT-KD](./05_sft_kd.ipynb) · [next: 07 · Your own data](./07_your_own_data.ipynb)

# %% tags=["parameters"]

# %% tags=["laboratory"]

# %% [markdown]
# ## All networks of the run

# %%
from kdrecon import results

wanted = {
    "teacher": lab.experiment("teacher"),
    "student": lab.experiment("student"),
    "SFT teacher": lab.experiment("sft_teacher"),
}
for kind, teacher in {"Std-KD": "standard", "SFT-KD": "sft"}.items():
    for key in methods:
        wanted[f"{kind} {results.method_name(key)}"] = lab.distillation(key, teacher)
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
# $$\mathrm{PSNR} = 10 \log_{10}\frac{R^2}{\langle (x - p)^2\rangle}\ \text{dB}.$$
#
# It looks unambiguous. But what is $R$, the largest value that this image has, or could have? And is the
# mean taken over a slice or over a volume?
#
# **Before you run it:** the next cell computes seven PSNRs from the same reconstructions of one volume by
# the plain student; one of them has a blunder in it. How far apart will the smallest and the largest of the others be:
# 0.1 dB, 1 dB, 10 dB?

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
pd.Series(several, name="PSNR (dB)").map("{:.2f}".format).to_frame()

# %% [markdown]
# Same images, several answers. Only the one with 255 is *wrong*, because these images lie in [0, 1]; but
# figures may only be compared if range and unit (slice or volume) agree. The code released with the papers
# that we follow takes a volume in one script and a slice in the next.
#
# **Here it is always:** slice by slice, the range is the maximum of the target slice, then the mean over
# slices. SSIM has the same trap, because its constants depend on the range.

# %%
by_hand = [psnr(a, b, a.max()) for a, b in zip(x, p)]
np.testing.assert_allclose(metrics.psnr(x, p), by_hand, rtol=1e-5)
ranges = {"slice maximum": float(x[middle].max()), "1": 1.0, "2 (as if -1 to 1)": 2.0, "255": 255.0}
ssim = {name: metrics.ssim(x[middle], p[middle], data_range=r) for name, r in ranges.items()}
pd.Series(ssim, name="SSIM of one slice, by data range").map("{:.4f}".format).to_frame()

# %% [markdown]
# *What to see:* a range that is too large makes any reconstruction look perfect. If a paper reports an SSIM
# of 0.9999, ask for the range.
#
# And ask for the window. SSIM is a mean over small windows: Gaussian ones of 11 x 11 pixels in the original
# [`wang2004`], uniform ones of 7 x 7 in scikit-image, in the code released with the papers, and here.

# %%
some = lab.test.subset(20)
target, zero_filled = (z[:, 0].cpu().numpy() for z in (some.x, some.whole.x_u))
windows = {"uniform, 7 x 7 (here)": metrics.ssim, "Gaussian, 11 x 11": metrics.ssim_gaussian}
by_window = {name: measure(target, zero_filled).mean() for name, measure in windows.items()}
distilled = [table.ssim.mean() for name, table in scores.items() if "KD" in name]
print(f"the distilled students lie within {np.ptp(distilled):.4f} of each other")
pd.Series(by_window, name="SSIM of the zero-filled images").map("{:.4f}".format).to_frame()

# %% [markdown]
# *What to see:* the choice of the window moves the zero-filled image of the sample by 0.011. That is about as much as
# distilled students differ, so figures with different windows do not compare.

# %% [markdown]
# ## One PSNR, many faults
#
# The other way round: a slice with four different faults, each scaled so that the PSNR is the same. Two more measures
# have a say. HFN is the error relative to the image, $\|x-p\|^2/\|x\|^2$, after both were sharpened with a Laplacian: it
# looks at fine detail, less is better. As in the released code the prediction is clipped to [0, 1] before. VIF asks how much visual information survives: more is better.
#
# **Before you run it:** noise, blur, a ghost, a change of brightness: which would a radiologist mind most, which
# least? Which will SSIM mind most?

# %%
import matplotlib.pyplot as plt
from scipy import ndimage

from kdrecon.teaching import checks, plots, widgets

clean = x[middle].astype(float)
rng = np.random.default_rng(seed)
faults = {
    "noise": rng.standard_normal(clean.shape),
    "blur": ndimage.gaussian_filter(clean, 1) - clean,
    "ghost": np.roll(clean, len(clean) // 4, axis=0),
    "brighter": np.ones_like(clean),
}
size = clean.max() / 10 ** (26 / 20)  # root mean square error for 26 dB
faulty = {name: clean + fault * size / np.sqrt(np.mean(fault**2)) for name, fault in faults.items()}

# %%
plots.comparison(clean, faulty)
plt.show()

# %%
measures = [metrics.METRICS[key] for key in ("psnr", "ssim", "hfn", "vif")]
opinions = {
    fault: {measure.title: f"{measure(clean, image):.3f}" for measure in measures}
    for fault, image in faulty.items()
}
edges = ndimage.laplace
for fault, image in faulty.items():
    unclipped = np.sum(edges(clean - image) ** 2) / np.sum(edges(clean) ** 2)
    opinions[fault]["HFN, not clipped"] = f"{unclipped:.3f}"
pd.DataFrame(opinions).T

# %% [markdown]
# *What to see:* four images with 26 dB, and nobody would call them equally good. SSIM punishes what disturbs the flat
# background, HFN what touches fine detail; it hardly sees the ghost, the fault most like aliasing. Of the noise it misses
# what the clipping takes away (in the sample 1.31 for 2.06). VIF does not mind brightness at all. None of them knows what a doctor looks for: report more than one, and look at the images.

# %% [markdown]
# ### Exercise 6.1 · The PSNR of this course
#
# Write it: for `target` and `prediction` (S, H, W), NumPy arrays, the mean over slices of the PSNR with each
# target slice's maximum as range.


# %% tags=["exercise"]
def my_volume_psnr(target, prediction):
    """One number, in dB."""
    ...  # your code


# %% tags=["solution"]
def my_volume_psnr(target, prediction):
    """One number, in dB."""
    pairs = zip(target, prediction)
    return np.mean([10 * np.log10(t.max() ** 2 / np.mean((t - p) ** 2)) for t, p in pairs])


# %%
checks.volume_psnr(my_volume_psnr)

# %% [markdown]
# ## Figures that can be recomputed
#
# `evaluate` has written the reconstructions of each network to `results/`, one file a volume, and a row a
# slice to `metrics.csv`. Whoever doubts a table can recompute it. So do we.

# %%
for name, network in networks.items():
    table = scores[name]
    for volume, rows in table.groupby("volume", sort=False):
        with h5py.File(network.folder / "results" / f"{volume}.h5", locking=False) as file:
            target, prediction = file["target"][:], file["reconstruction"][:]
        np.testing.assert_allclose(metrics.psnr(target, prediction), rows.psnr, rtol=1e-6)
        np.testing.assert_allclose(metrics.ssim(target, prediction), rows.ssim, rtol=1e-6)
print("PSNR and SSIM of all networks follow from the stored reconstructions")

# %% [markdown]
# ## The table
#
# Mean ± standard deviation over slices. NMSE is $\|x-p\|^2/\|x\|^2$. PSNR, SSIM, VIF: higher is better. NMSE, HFN:
# lower is better.
#
# **Before you run it:** the standard deviation over slices is large, because slices differ in difficulty.
# Does that mean that no difference between networks counts?

# %%
print(results.epochs_note(networks))
results.quality_table(networks, scores, reference="student")

# %% [markdown]
# No: all networks see the *same* slices, so the difference slice by slice may vary much less than the
# slices do.

# %% [markdown]
# ## The spread

# %%
trained = {name: table for name, table in scores.items() if name != "zero-filled"}
figure = plots.box_plots(trained, reference="student")
(run_folder / "figures").mkdir(exist_ok=True)
figure.savefig(run_folder / "figures" / "box_plots.png", dpi=100)
plt.show()

# %% [markdown]
# *What to see:* a box holds the middle half of the slices, the line in it is the median, points are
# outliers. Left, the boxes are wide and overlap: slices differ more than networks. Right, each slice's PSNR minus the
# plain student's on the same slice: what makes a slice difficult drops out, and what is left is the difference between
# the networks.
#
# ## Is the difference real?
#
# The pairs in numbers:

# %%
name = f"SFT-KD {results.method_name(methods[0])}"
alone = scores["student"].psnr
difference = scores[name].psnr - alone
print(f"PSNR of the student: {alone.mean():.2f} ± {alone.std():.2f} dB over slices")
print(f"{name} minus student: {difference.mean():+.2f} ± {difference.std():.2f} dB over slices")

# %% [markdown]
# Then ask what was repeated. Suppose that of two equally good networks, one suits your anatomy a little
# better and the other one mine, and that we each contribute 20 slices. Here are eight such people; on
# average over all people the difference is 0.
#
# **Before you run it:** 100 such studies without any effect are tested at the 5 % level, once with 160
# slices and once with 8 means. How many "significant" differences will each find?

# %%
from scipy.stats import ttest_1samp

random = np.random.default_rng(0)
found = {"160 slices": 0, "8 people": 0}
for _ in range(100):
    people = random.standard_normal((8, 1))  # what each person adds: 0 on average
    slices = people + random.standard_normal((8, 20))
    found["160 slices"] += int(ttest_1samp(slices.ravel(), 0).pvalue < 0.05)
    found["8 people"] += int(ttest_1samp(slices.mean(axis=1), 0).pvalue < 0.05)
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
# *What to see:* grey points of one person stay together. They do not say 20 times what one point says; the
# next person will have another red line. So every person counts once, by their mean.
#
# People are not all that is drawn. Train the *same* method again with another seed, and the new network is a little
# better or worse for everybody. Now two methods that are equally good, eight people, and 100 studies again: once with one
# training of each method, once with three.

# %%
random = np.random.default_rng(1)
found = {"1 seed": 0, "3 seeds": 0}
for _ in range(100):
    shift = 0.5 * random.standard_normal((2, 3, 1))  # of 2 methods with 3 seeds each
    nets = shift + 0.5 * random.standard_normal((2, 3, 8))  # as 8 people see them
    found["1 seed"] += int(ttest_1samp(nets[1, 0] - nets[0, 0], 0).pvalue < 0.05)
    by_person, spread = (nets[1] - nets[0]).mean(0), results.seed_spread(nets.mean(2))
    found["3 seeds"] += int(results.estimate(by_person, 3, spread).p < 0.05)
print("of 100 studies without an effect, significant:", found)

# %% [markdown]
# *What to see:* one seed finds a difference between two *networks*, which is there, and takes it for one between the
# *methods*, which is not. So the library counts both: its standard error is $\sqrt{s_d^2/n + 2 s^2/K}$, with $s_d$
# the spread of the differences over $n$ people and $s$ the spread of a network over $K$ seeds. From it follow interval
# and p-value. **Holm's correction** makes p-values larger, because among many methods one looks good by luck. With one
# seed, or fewer than six people, there is no p-value.

# %%
compared = results.compare(trained, reference="student")
assert compared.p.isna().all()  # one seed
print("\n".join(compared.note.unique()))
columns = ["difference", "low", "high", "p_holm", "verdict"]
shown = compared[columns].dropna(axis="columns", how="all")
shown.rename(columns={"difference": "difference (dB)"}).style.format(precision=2, na_rep="-")

# %% [markdown]
# *What to see:* this run has one seed, so the honest verdict is *not tested*; the embedded sample has one test subject, so
# there is no interval, either. With six people and one seed there is an interval, and it is about these two networks; with
# two seeds and more, it is about the methods. In a run with several seeds `comparisons.csv` and the report take the seeds
# together.

# %% [markdown]
# ### Exercise 6.2 · One person, one vote
#
# Networks a and b were evaluated on the same slices: the arrays `a` and `b` hold a PSNR a slice, the list `subjects` whose
# slice it is. Return by how much a is better, so that **every subject counts the same**, however many slices it has.


# %% tags=["exercise"]
def my_subject_gain(a, b, subjects):
    """Mean over subjects of each one's mean difference, in dB."""
    ...  # your code


# %% tags=["solution"]
def my_subject_gain(a, b, subjects):
    """Mean over subjects of each one's mean difference, in dB."""
    return pd.Series(a - b).groupby(list(subjects)).mean().mean()


# %%
checks.subject_gain(my_subject_gain)

# %% [markdown]
# ## The pictures
#
# A mean hides where the errors are. Here is the slice on which the plain student's PSNR is the median:
# neither the best nor the worst, and not chosen by us.

# %%
import torch

row = int(scores["student"].psnr.argsort().iloc[len(lab.test) // 2])
method = results.method_name(methods[0])
names = ["zero-filled", "teacher", "student", f"Std-KD {method}", f"SFT-KD {method}"]
batch = lab.test.batch(torch.tensor([row]))
with torch.no_grad():
    outputs = {name: networks[name].model(batch.x_u, batch.y, batch.mask) for name in names}
images = {name: output[0, 0].cpu().numpy() for name, output in outputs.items()}
figure = plots.comparison(batch.x[0, 0].cpu().numpy(), images)
figure.savefig(run_folder / "figures" / "comparison.png", dpi=100)
plt.show()

# %% [markdown]
# *What to see:* top: the images with their PSNR. Middle: a zoom into the yellow frame, put where the
# zero-filled image errs most in the middle of the picture. Bottom: the residues $|x - p|$ on one colour
# scale, so that brightness can be compared across the row. The zero-filled image shows ghosts of the
# anatomy along the direction of the skipped lines. What the networks leave over is fainter and fills the whole brain; in
# the zoom, look for stripes that the target does not have. To see a difference between the distilled students by eye is
# hard; that is a result, too.

# %%
for name in names:
    np.testing.assert_allclose(
        metrics.psnr(batch.x[0, 0].cpu().numpy(), images[name]), scores[name].psnr[row], rtol=1e-3
    )

# %% [markdown]
# One slice is one slice. Here are more of them, first as a figure.

# %%
some = lab.test.subset(6)
target = some.x[:, 0].cpu().numpy()
reconstructions = {
    name: results.reconstruct(network.model, some) for name, network in networks.items()
}
widgets.reconstruction_figure(target, reconstructions, "student")
plt.show()

# %% [markdown]
# *What to see:* the residue has its own scale; its bright end is a quarter of the brightest target value.
#
# *Try:* narrow the window until grey matter fills it, as a radiologist would: which errors become visible, which vanish?
# Raise the residue gain: a small gain flatters every network.

# %%
widgets.reconstruction_browser(target, reconstructions)

# %% [markdown]
# ## Teacher, start, or just more training?
#
# SFT-KD changes the teacher and the start of the student, and its student's blocks have been trained twice
# ([05](./05_sft_kd.ipynb)). Four cells separate teacher and start. A **control** separates both from the amount
# of training: a student that never sees a teacher and takes as many steps as those that lie behind the
# SFT-KD student's blocks, in the joint training and in the distillation, its schedule stretched over them.
#
# **Before you run it:** which rows should be compared to say that the student-friendly *teacher* helps?
#
# What is kept of a training is its best epoch on validation ([02](./02_dccnn.ipynb)), so the table says which one
# that was.

# %%
pairs = [(teacher, start) for teacher in ("standard", "sft") for start in ("random", "sft")]
wanted = [lab.distillation(methods[0], teacher=teacher, init=start) for teacher, start in pairs]
cells = dict(zip(pairs, lab.networks(wanted)))
control = lab.control(cells["sft", "sft"])

# %%
rows = {
    ("none", "random", "student"): lab.student(),
    ("none", "random", "control"): control,
}
rows |= {(*cell, method): network for cell, network in cells.items()}
steps = {row: lab.student_steps(network) for row, network in rows.items()}
control_psnr = results.evaluate(lab, control).psnr.mean()
table = {}
for row, network in rows.items():
    values, history = results.evaluate(lab, network).psnr, network.history
    best = history.epoch[history.validation_l1.idxmin()]
    table[row] = {
        "steps trained": steps[row],
        "best epoch": f"{best} of {len(history)}",
        "PSNR (dB)": f"{values.mean():.2f} ± {values.std():.2f}",
        "minus control (dB)": f"{values.mean() - control_psnr:+.2f}",
    }
    if steps[row] < lab.student_steps(control):
        table[row]["minus control (dB)"] = "fewer steps"
pd.DataFrame(table).T.rename_axis(["teacher", "start", "network"])

# %% [markdown]
# *What to see:* rows with equal steps compare. The last row against the control: is the whole of SFT-KD worth more
# than the same number of steps without it? Where it is negative, the control did better. For the teacher compare the
# two pairs with the same start, standard against sft.
#
# Look at the best epochs before you conclude. If the control's best epoch is an early one, its later steps brought
# nothing, and its distance to the plain student is not due to them: on the slices of one person more training soon stops
# helping. And what is counted are steps, not their cost: a step of SFT also runs the teacher and four branch
# blocks, and a distillation begins with a trained teacher, so in seconds the control is the cheaper one. One seed, few epochs: the table shows how to ask, not what the answer is.
#
# ## What does it cost?
#
# A student is trained to save time when it is *used*. All students share one architecture, so one of them
# is enough.
#
# **Before you run it:** the D3C5 has about a third of the teacher's parameters. Will it take a third of the
# time?

# %%
models = {name: networks[name].model for name in ("teacher", "student")}
compared = {f"{model.name} ({name})": model for name, model in models.items()}
cost = results.inference_cost(compared, lab.test.task, tuple(lab.mask.shape), lab.device)
threads, (h, w) = torch.get_num_threads(), lab.mask.shape
print(f"measured now, on this machine: {lab.device.type}, {threads} threads, {h} x {w} pixels")
cost.style.format({"parameters": "{:,}"}, precision=2).hide(axis="index")

# %%
from kdrecon import deploy

folders = [str(networks[name].folder) for name in models]
times = deploy.bench(folders, threads=(threads,), repeats=3, memory=False)
ms = times.pivot(index=["engine", "batch"], columns="network", values="ms a slice")
big, small = times.network.unique()
(ms[small] / ms[big]).map("{:.0%}".format).to_frame("the student's time in that of the teacher")

# %% [markdown]
# *What to see:* the second table answers the guess, for each engine and batch: the two took turns, so that whatever slowed the
# machine down slowed both ([09](./09_deploy.ipynb) has more engines). A batch of 16 shares the overhead of a call; bf16 appears
# in the first table where the processor has it. All quality figures of this course are fp32.
# The memory hardly differs: cascades run one after the other, and their maps have 32 channels in both networks.
#
# Quality against speed, the figure for which one distils:

# %%
one = cost[(cost.precision == "fp32") & (cost.batch == 1)].set_index("network")["ms per slice"]
ms_of = {model.name: one[name] for name, model in compared.items()}
speed = {name: ms_of[networks[name].model.name] for name in trained}
plots.quality_against_speed(speed, {name: table.psnr.mean() for name, table in trained.items()})
plt.show()

# %% [markdown]
# *What to see:* two columns of points, one for each architecture; diamonds were trained without distillation. All students cost the same; distillation moves a
# point up or down, never to the left. A student pays where it is as good as the teacher. After a short training it may
# even be better, and then the comparison says little about distillation.
#
# Times belong to the machine on which they were measured, and to the image size. As published
# ([`gayathri2023`], Table 8), a D5C5 takes 17.4 ms and a D3C5 6.6 ms on the authors' machine.
#
# ## The record
#
# `summary.csv` in the run's folder holds one row a model: what it is, how it was trained, mean and standard
# deviation of each metric. This is the file to keep, and to compare with the next run. Here are its first three
# rows as the report shows them, on their side.

# %%
summary = results.write_summary(run_folder)
found = results.summary(run_folder, per_seed=True)
found = found.set_index(["model", "teacher", "method"]).sort_index()
for name, network in networks.items():
    e = network.experiment
    means = found.loc[[(e.role, e.teacher, e.method)]].psnr
    assert np.isclose(means, scores[name].psnr.mean()).any(), name

# %%
results.formatted(summary).head(3).T

# %% [markdown]
# ## What may be claimed
#
# - *This* network reached *this* mean on *these* slices, after *so many* epochs, with *one* seed. All of
#   that is in the row.
# - Rows with different numbers of epochs do not compare, except where steps were made equal on purpose: the control.
# - The embedded sample is one person to train and another one to test, whose image is an average of many
#   scans and therefore smoother than a single scan: an easier task. It shows how things work, not how well
#   they generalise.
# - The k-space here is computed from magnitude images. Real raw data has several coils, a phase and noise;
#   results on such computed data are flattering.
# - The validation slices choose the best epoch. Where a data set has no test split, half of their people choose and
#   the other half report: the same people would report a little too well (`selection`; the papers' way is `paper`).
#
# ## Summary
#
# - State range, unit (slice or volume) and spread, or the figure means nothing.
# - Store reconstructions, so that every figure can be recomputed.
# - Look at residues on one scale, at the spread, at the cost; not only at the mean.
# - Claims end where seeds, subjects and epochs end.
#
# ## Questions
#
# <details><summary>1. Two papers report 32.1 dB and 34.0 dB on the same data. Name two reasons besides the
# network.</summary>
#
# Another data range (slice, volume, fixed), and PSNR per slice or per volume. Also: other splits, other
# masks, a crop.
# </details>
#
# <details><summary>2. Doubling the data range changes the PSNR by how much?</summary>
#
# By $20\log_{10} 2 \approx 6.02$ dB, for every image and every network.
# </details>
#
# <details><summary>3. Why is the mean of slice-wise PSNRs not the PSNR of the mean squared error?</summary>
#
# The logarithm is not linear: easy slices with a tiny error pull the mean of the PSNRs up more than they
# pull the mean error down.
# </details>
#
# <details><summary>4. Why do all residues share one colour scale?</summary>
#
# Else a small error with a stretched scale looks like a large one, and brightness cannot be compared.
# </details>
#
# <details><summary>5. Boxes of two networks overlap widely. Are the networks equally good?</summary>
#
# Not necessarily. The boxes show how slices differ; the networks saw the same slices, so look at the paired
# differences.
# </details>
#
# <details><summary>6. Why is a p-value over 50 slices of one subject misleading?</summary>
#
# The slices are not independent. The test would treat one person as fifty. With six people and more, test
# their means.
# </details>
#
# <details><summary>7. The student has a third of the parameters. Why does it not take exactly a third of the
# time?</summary>
#
# Padding, data fidelity, the first and the last convolution and the overhead of each call do not shrink in
# proportion to the parameters.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `murugesan2020`,
# `schlemper2018`, `wang2004`,
# `sheikh2006`, `ravishankar2011`, `vanderwalt2014`.
#
# [next: 07 · Your own data](./07_your_own_data.ipynb)

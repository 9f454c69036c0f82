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
# All networks of the run, on the same nine people: figures, spread, pictures, and how not to be fooled by them.
#
# **What you will learn**
#
# - why the same two images can have several "PSNRs", and which one is reported here;
# - how to read a comparison figure, a residue, a box plot, a table by people;
# - how to test a difference so that people and seeds count, not slices;
# - what the course's finished study found, and what may be claimed.
#
# **Before you start:** the notebooks before. What they trained is loaded here; what is missing is trained now.
#
# **Minutes:** about 45 to read; the machine needs 1 after 02 to 05, and alone where ready networks do; where nothing is ready,
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

# %% [markdown]
# ## All networks of the run

# %%
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
# It looks unambiguous. But what is $R$, the largest value that this image has, or could have? And is the mean taken over a
# slice or over a volume?
#
# **Before you run it:** the next cell computes seven PSNRs of the plain student's reconstructions of one volume; one has a
# blunder in it. How far apart will the others be: 0.1 dB, 1 dB, 10 dB?

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
# Only the one with 255 is *wrong*, because these images lie in [0, 1]; but figures may only be compared if range and unit (slice
# or volume) agree. The code released with the papers takes a volume in one script and a slice in the next.
#
# **Here it is always:** slice by slice, the range is the maximum of the target slice, then a mean. SSIM has the same trap,
# because its constants depend on the range.

# %%
by_hand = [psnr(a, b, a.max()) for a, b in zip(x, p)]
np.testing.assert_allclose(metrics.psnr(x, p), by_hand, rtol=1e-5)
ranges = {"slice maximum": float(x[middle].max()), "1": 1.0, "2 (as if -1 to 1)": 2.0, "255": 255.0}
ssim = {name: metrics.ssim(x[middle], p[middle], data_range=r) for name, r in ranges.items()}
pd.Series(ssim, name="SSIM of one slice, by data range").map("{:.4f}".format).to_frame()

# %% [markdown]
# *What to see:* a range that is too large makes any reconstruction look perfect. Ask for the range, and for the window. SSIM is a mean over small windows: Gaussian ones of 11 x 11 pixels in the original
# [`wang2004`], uniform ones of 7 x 7 in scikit-image, in the code released with the papers, and here.

# %%
some = lab.test.subset(20)
target, aliased = (z[:, 0].cpu().numpy() for z in (some.x, some.whole.x_u))
windows = {"uniform, 7 x 7 (here)": metrics.ssim, "Gaussian, 11 x 11": metrics.ssim_gaussian}
by_window = {name: measure(target, aliased).mean() for name, measure in windows.items()}
distilled = [table.ssim.mean() for name, table in scores.items() if "KD" in name]
print(f"the distilled students lie within {np.ptp(distilled):.4f} of each other")
pd.Series(by_window, name="SSIM of the zero-filled images").map("{:.4f}".format).to_frame()

# %% [markdown]
# *What to see:* the window alone moves SSIM by as much as distilled students differ, so figures with different windows do not compare.

# %% [markdown]
# ## One PSNR, many faults
#
# The other way round: a slice with four different faults, each scaled so that the PSNR is the same. Two more measures have a
# say. HFN is the error relative to the image, $\|x-p\|^2/\|x\|^2$, after both were sharpened with a Laplacian: it looks at fine
# detail, less is better (as in the released code the prediction is clipped to [0, 1] before). VIF asks how much visual
# information survives: more is better.
#
# **Before you run it:** noise, blur, a ghost, a change of brightness: which would a radiologist mind most? Which will SSIM?

# %%
import matplotlib.pyplot as plt
from scipy import ndimage

from kdrecon.teaching import checks, plots, widgets

clean = x[middle].astype(float)
noise = np.random.default_rng(seed)
faults = {
    "noise": noise.standard_normal(clean.shape),
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
# *What to see:* four images with 26 dB, and nobody would call them equally good. SSIM punishes what disturbs the flat background, HFN
# what touches fine detail; it hardly sees the ghost, the fault most like aliasing, and misses the noise that is clipped away. VIF
# does not mind brightness at all. None knows what a doctor looks for: report more than one, and look at the images.

# %% [markdown]
# ### Exercise 6.1 · Two papers, one range
#
# A paper lists the PSNR of every slice, computed with the maximum of the whole *volume* as range. Its images are lost, but you
# have the slices' maxima. Return what this course would report: the mean over slices, each with its own maximum as range.


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
# ## Figures that can be recomputed
#
# `evaluate` has written the reconstructions of each network to `results/`, one file per volume, and a row per slice to
# `metrics.csv`. Whoever doubts a table can recompute it. So do we.

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
# ## Per slice, per person, per group
#
# The nine people are not alike. Three whole heads bring 34 of the 40 slices: Colin27, an average of 27 scans, and two patients with
# contrast agent and a tumour, whose scalp is the brightest thing in the image. Six bring one slice each: a brain without skull,
# on black, from a JPEG file.
#
# **Before you run it:** will the mean over slices and the mean over people put the networks in the same order?

# %%
print(results.epochs_note(networks))


def person_means(table):
    """Mean PSNR in dB of each person."""
    return table.groupby("subject").psnr.mean()


people = pd.DataFrame({name: person_means(table) for name, table in scores.items()})
stripped = people.index.str.startswith("antspyx")
means = {"per slice": pd.Series({name: table.psnr.mean() for name, table in scores.items()})}
means |= {"per person": people.mean(), "whole heads": people[~stripped].mean()}
means |= {"skull-stripped": people[stripped].mean()} if stripped.any() else {}
pd.DataFrame(means).map("{:.2f}".format).rename_axis("PSNR (dB)")

# %% [markdown]
# *What to see:* per slice the whole heads outvote the six by 34 to 6; per person it is 3 to 6. A sentence has to say which it means. This
# course counts people, because a claim is about the next person, and names both groups where they disagree. All measures,
# as mean ± standard deviation over slices:

# %%
results.quality_table(networks, scores, reference="student")

# %% [markdown]
# The standard deviation over slices is large. Does that mean that no difference counts? No: all networks see the *same* slices.

# %%
trained = {name: table for name, table in scores.items() if name != "zero-filled"}
figure = plots.box_plots(trained, reference="student")
(run_folder / "figures").mkdir(exist_ok=True)
figure.savefig(run_folder / "figures" / "box_plots.png", dpi=100)
plt.show()

# %% [markdown]
# *What to see:* a box holds the middle half of the slices, the line in it is the median, points are outliers. Left, slices differ more
# than networks. Right, minus the plain student's PSNR on the same slice: what makes a slice difficult drops out.
#
# ## Is the difference real?
#
# Ask what was repeated. Suppose that of two equally good networks, one suits your anatomy a little better and the other one
# mine, and that we each contribute 20 slices. Here are eight such people; on average over all people the difference is 0.
#
# **Before you run it:** 100 such studies without any effect are tested at the 5 % level, once with 160 slices and once with
# 8 means. How many "significant" differences will each find?

# %%
from scipy.stats import ttest_1samp

draw = np.random.default_rng(0)
found = {"160 slices": 0, "8 people": 0}
for _ in range(100):
    each = draw.standard_normal((8, 1))  # what each person adds: 0 on average
    slices = each + draw.standard_normal((8, 20))
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
# *What to see:* grey points of one person stay together; the next person will have another red line. So every person counts once.
#
# People are not all that is drawn. Train the *same* method again with another seed, and the new network is a little better or
# worse for everybody. Two methods that are equally good, eight people, 100 studies again: with one training of each
# method, and with three.

# %%
draw = np.random.default_rng(1)
found = {"1 seed": 0, "3 seeds": 0}
for _ in range(100):
    shift = 0.5 * draw.standard_normal((2, 3, 1))  # of 2 methods with 3 seeds each
    nets = shift + 0.5 * draw.standard_normal((2, 3, 8))  # as 8 people see them
    found["1 seed"] += int(ttest_1samp(nets[1, 0] - nets[0, 0], 0).pvalue < 0.05)
    by_person, spread = (nets[1] - nets[0]).mean(0), results.seed_spread(nets.mean(2))
    found["3 seeds"] += int(results.estimate(by_person, 3, spread).p < 0.05)
print("of 100 studies without an effect, significant:", found)

# %% [markdown]
# *What to see:* one seed finds a difference between two *networks*, which is there, and takes it for one between the *methods*,
# which is not. So the library counts both: its standard error is $\sqrt{s_d^2/n + 2 s^2/K}$, with $s_d$ the spread of the
# differences over $n$ people and $s$ the spread of a network over $K$ seeds. From it follow interval and p-value. **Holm's
# correction** makes p-values larger, because among many methods one looks good by luck. With fewer than six people there is
# no interval, and with one seed no p-value. Your run, against its plain student:

# %%
compared = results.compare(trained, reference="student")
assert compared.p.isna().all()  # one seed
print("\n".join(compared.note.unique()))
columns = ["difference", "low", "high", "p_holm", "verdict"]
shown = compared[columns].dropna(axis="columns", how="all")
shown.rename(columns={"difference": "difference (dB)"}).style.format(precision=2, na_rep="-")

# %% [markdown]
# *What to see:* the verdict is *not tested*, and it is honest: the interval is about these two networks, and what another seed
# would give is unknown.
#
# ## What three seeds found
#
# The course's study trained every network with three seeds (`study/course.yaml`; [08](./08_the_study.ipynb) reads all of it).
# Its tables ship. First the premise, for the small student of this course:

# %%
course = results.shipped_study("course")
small = ", network D2C5"
called = {"teacher": "teacher", "SFT teacher": "SFT teacher, student_network D2C5"}
called |= {name: name + small for name in ("student", "Std-KD AT", "SFT-KD AT")}
by_seed = {
    name: dict(list(course.slices[course.slices.network == full].groupby("seed")))
    for name, full in called.items()
}
mean_of = {
    name: pd.concat(tables.values()).groupby("subject").psnr.mean()
    for name, tables in by_seed.items()
}
gaps = pd.DataFrame({name: mean_of[name] - mean_of["student"] for name in ("teacher", "SFT-KD AT")})
plots.people(gaps.sort_values("teacher", ascending=False), "teacher and of SFT-KD AT")
plt.show()

# %% [markdown]
# *What to see:* the teacher leads, by one to two and a half dB in the whole heads and hardly in the skull-stripped slices, which hold
# little that a larger network could do better. The distilled student follows its teacher upwards in the heads and falls behind
# in the others.
#
# **Before you run it:** which of the four differences to the plain student have intervals above 0, for all nine, and for the
# six skull-stripped people alone?

# %%
groups = {
    "all nine": "",
    "six skull-stripped": "antspyx",
    "three whole heads": "Colin27|pyradiomics",
}
found = {}
for group, pattern in groups.items():
    here = {
        name: {k: t[t.subject.str.contains(pattern)].reset_index() for k, t in tables.items()}
        for name, tables in by_seed.items()
    }
    found[group] = results.compare(here, reference="student")
table = pd.concat(found, names=["people", "network"])
intervals = zip(table.low, table.high)
table["95 % interval"] = ["-" if np.isnan(a) else f"{a:+.2f} to {b:+.2f}" for a, b in intervals]
columns = ["difference", "95 % interval", "p", "p_holm", "verdict"]
table[columns].style.format(
    {"difference": "{:+.2f}", "p": "{:.3f}", "p_holm": "{:.3f}"}, na_rep="-"
)

# %% [markdown]
# *What to see:* over all nine both teachers are ahead with intervals that just exclude 0, and their p, two of four, do not survive
# Holm's correction. No distilled student is shown to be better or worse. Six people of one kind narrow nothing: what a seed adds stays.
# Three heads give a difference and no interval, however large the difference.
#
# Now the question of the course in one figure: does distillation help, with what is varied below each panel?

# %%
psnr_rows = course.comparisons[course.comparisons.metric == "psnr"]
against_student = psnr_rows[psnr_rows.against == "student"].set_index("network")


def gain(x, name, said=""):
    """A marker: a distilled student minus the plain one with the same settings."""
    row = against_student.loc[name + said]
    return {"x": x, "name": name} | row[["difference", "low", "high", "verdict"]].to_dict()


at, sft = "Std-KD AT", "SFT-KD AT"
short, factors = (
    ", teacher_epochs 50",
    {"1/9": "0.1111", "1/3": "0.3333", "1": "", "3": "3.0", "9": "9.0"},
)
weights = {x: f", weight_factor {w}" if w else "" for x, w in factors.items()}
few = {"12": ", epochs 400, train_slices 12", "24": ", epochs 200, train_slices 24", "93": ""}
panels = {
    "epochs": [
        gain(x, n, e) for x, e in (("12", f", epochs 12{short}"), ("50", "")) for n in (at, sft)
    ],
    "training slices": [gain(x, at, said) for x, said in few.items()],
    "size of the student": [
        gain(x, n, e) for x, e in (("D2C5", small), ("D3C5", "")) for n in (at, sft)
    ],
    "weight w": [gain(x, at, f", epochs 12{w}{short}") for x, w in weights.items()],
}
plots.gains({title: pd.DataFrame(points) for title, points in panels.items()})
plt.show()

# %% [markdown]
# *What to see:* one filled marker, and it has a head start: in a training of 12 epochs SFT-KD begins with blocks that have 1,200
# steps of joint training behind them. Everywhere else the interval holds 0. The plain answer: **a better teacher is easy to have,
# a better student is had by training longer**, and distillation itself brings less than nine people and three seeds can show.
# To show 0.1 dB needs many more of both: `kdrecon power runs/study-course --effect 0.1` says how many.

# %% [markdown]
# ### Exercise 6.2 · One person, one vote
#
# Networks a and b were evaluated on the same slices: the arrays `a` and `b` hold a PSNR per slice, the list `subjects` whose
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
# ### Exercise 6.3 · Open: one claim
#
# Choose one of SSIM, HFN or VIF (columns of `course.slices`) and repeat the table above with it
# (`results.compare(here, "student", metric="hfn")`). Write down before which rows will change their verdict. Then write **one**
# sentence that you would defend in front of a radiologist, with people, seeds and interval in it, and the strongest objection.
#
# ## The pictures
#
# A mean hides where the errors are. Here is the slice on which the plain student's PSNR is the median: neither the best nor the
# worst, and not chosen by us.

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
# *What to see:* the images, a zoom into the yellow frame, put where the zero-filled image errs most, and the residues $|x - p|$ on one
# colour scale. What the networks leave over of the ghosts is fainter: look in the zoom for stripes and arcs that the target does
# not have. To see a difference between the distilled students by eye is hard; that is a result, too.

# %%
for name in names:
    np.testing.assert_allclose(
        metrics.psnr(batch.x[0, 0].cpu().numpy(), images[name]), scores[name].psnr[row], rtol=1e-3
    )

# %% [markdown]
# More slices, first as a figure:

# %%
some = lab.test.subset(6)
target = some.x[:, 0].cpu().numpy()
reconstructions = {
    name: results.reconstruct(network.model, some) for name, network in networks.items()
}
widgets.reconstruction_figure(target, reconstructions, "student")
plt.show()

# %% [markdown]
# *What to see:* the residue's bright end is a quarter of the brightest target value.
#
# *Try:* narrow the window until grey matter fills it, as a radiologist would. Raise the residue gain: a small one flatters every network.

# %%
widgets.reconstruction_browser(target, reconstructions)

# %% [markdown]
# ## The record
#
# `summary.csv` in the run's folder holds one row per model: what it is, how it was trained, mean and standard deviation of each
# metric. This is the file to keep. Here are its first three rows as the report shows them, on their side. What a network costs
# in milliseconds and megabytes is the business of [09](./09_deploy.ipynb).

# %%
summary = results.write_summary(run_folder)
recorded = results.summary(run_folder, per_seed=True)
recorded = recorded.set_index(["model", "teacher", "method"]).sort_index()
for name, network in networks.items():
    e = network.experiment
    recorded_means = recorded.loc[[(e.role, e.teacher, e.method)]].psnr
    assert np.isclose(recorded_means, scores[name].psnr.mean()).any(), name
results.formatted(summary).head(3).T

# %% [markdown]
# ## What may be claimed
#
# - *This* network reached *this* mean on *these* people, after *so many* epochs, with *one* seed. All of that is in the row.
# - Rows with different numbers of epochs do not compare, except where steps were made equal on purpose: a control.
# - Methods are compared with several seeds, people one by one, and every method that was tried counted by Holm's correction.
# - One person trained these networks. Nine others are a test, not a population: where groups disagree, name them.
# - The k-space here is computed from magnitude images. Real raw data has several coils, a phase and noise; results on such
#   computed data are flattering.
# - The validation slices choose the best epoch, so they do not report. Where a data set has no test split, half of their people
#   choose and the other half report (`selection`; the papers' way is `paper`).
#
# ## Summary
#
# - State range, unit (slice, volume or person) and spread, or the figure means nothing.
# - Store reconstructions, so that every figure can be recomputed.
# - Look at residues on one scale, at people one by one, at groups; not only at the mean.
# - People and seeds are the units of a test, and claims end where they end.
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
# <details><summary>3. Boxes of two networks overlap widely. Are the networks equally good?</summary>
#
# Not necessarily. The boxes show how slices differ; the networks saw the same slices, so look at the paired
# differences.
# </details>
#
# <details><summary>4. Why is a p-value over 50 slices of one subject misleading?</summary>
#
# The slices are not independent. The test would treat one person as fifty. With six people and more, test
# their means.
# </details>
#
# <details><summary>5. The teacher is 1.9 dB ahead in three whole heads. Why is there no interval?</summary>
#
# Three people do not tell how a fourth would differ. The library asks for six.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `murugesan2020`,
# `schlemper2018`, `wang2004`,
# `sheikh2006`, `ravishankar2011`, `vanderwalt2014`.
#
# [next: 07 · Your own data](./07_your_own_data.ipynb)

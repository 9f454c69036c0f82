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
# # 09 · Deploy
#
# A distilled student leaves its training code: as one small file that runs without PyTorch, checked, timed,
# and made smaller until it breaks.
#
# **What you will learn**
#
# - what a file for another program has to hold, and why no Fourier transform is in it;
# - how to prove that the network in the file is the one that was trained;
# - what fewer bits save, what they cost, and why quantising *everything* is a trap here;
# - how to time two networks fairly, and to find the operator that takes the time;
# - what is missing between such a file and a scanner.
#
# **Before you start:** [05 · SFT-KD](./05_sft_kd.ipynb) and [06 · Evaluation](./06_evaluation.ipynb). Needs the packages
# of `pip install 'kdrecon[deploy]'`; `make lab` has installed them.
#
# **Minutes:** 25 to read; the machine takes under 1 in quick mode on two cores, after 05. Alone it takes the networks that ship.
#
# [previous: 08 · The study](./08_the_study.ipynb) · [next: 10 · Super-resolution](./10_super_resolution.ipynb)

# %% tags=["parameters"] shown=["epochs", "methods", "ready"]

# %% tags=["laboratory"]

# %% [markdown]
# ## Who leaves
#
# The student that was distilled from the student-friendly teacher, and the teacher for comparison. A folder of a run is
# all that is needed; on the command line `kdrecon export FOLDER --out student.onnx` does what follows.

# %%
import torch

from kdrecon import deploy

wanted = [lab.experiment("teacher"), lab.distillation(methods[0], teacher="sft")]
folders = [str(network.folder) for network in lab.networks(wanted)]
teacher, student = map(deploy.open_deployed, folders)
place = lab.parameters.run_folder / "deployed"
place.mkdir(exist_ok=True)
test = lab.test.subset(20).to(torch.device("cpu")).whole
print(f"{teacher.title} and {student.title}, to {place.name}/")

# %% [markdown]
# ## One file
#
# **Before you run it:** a D2C5 has 3,045 parameters. How large is its file, in numbers of 32, 16 and 8 bits?

# %%
import pandas as pd

from kdrecon.errors import InputError

files = {}
for precision in ("fp32", "fp16", "int8"):
    path = place / f"student_{precision}.onnx"
    try:
        files[path] = deploy.export(student, path, precision)
    except InputError as refusal:  # too far from PyTorch: nothing was written
        print(refusal)
rows = {
    path.name: {
        "kB": found.bytes / 1000,
        "largest error": found.error,
        "PSNR lost (dB)": found.loss,
    }
    for path, found in files.items()
}
pd.DataFrame(rows).T.style.format(
    {"kB": "{:.0f}", "largest error": "{:.1e}", "PSNR lost (dB)": "{:z.3f}"}
)

# %% [markdown]
# *What to see:* four bytes per parameter, two, and in eight bits *more* than in sixteen: each quantised tensor brings a scale and operators of
# its own, which a network this small cannot win back. Every file was run beside PyTorch on test slices before it was written;
# *largest error* is that of any pixel, images reach 1.
#
# What is in it?

# %%
from collections import Counter

import onnx

graph = onnx.load(place / "student_fp32.onnx").graph
sizes = {
    v.name: [d.dim_param or d.dim_value for d in v.type.tensor_type.shape.dim] for v in graph.input
}
for name, size in sizes.items():
    print(f"{name}: {' x '.join(map(str, size))}")
pd.Series(Counter(node.op_type for node in graph.node), name="operators").to_frame().T

# %% [markdown]
# *What to see:* convolutions, and little else; no Fourier transform, which many programs that run such files do not have. The size
# of the image is free.
#
# ## Where the Fourier transform went
#
# Data fidelity transforms the image, replaces what was measured, and transforms back. For a mask of *lines* $m$ that
# is, along each column of the image, one real matrix that is known before the scan:
#
# $$x \mapsto x + x_y - P x, \qquad P = \mathrm{Re}\, F^{-1} \mathrm{diag}(m)\, F .$$

# %%
import numpy as np

from kdrecon import physics
from kdrecon.teaching import checks

mask = physics.line_mask((40, 32), "4x")
x_u, y = physics.undersample(torch.rand(1, 1, 40, 32), mask)
fidelity = physics.DataFidelity()
inputs = deploy.feeds(fidelity, x_u, y, mask)

F = np.fft.fft(np.eye(40), norm="ortho")
P = (F.conj().T @ np.diag(mask[:, 0]) @ F).real
np.testing.assert_allclose(inputs["operator"], P, atol=1e-6)
by_hand = x_u.numpy() + inputs["x_y"] - P @ x_u.numpy()
np.testing.assert_allclose(by_hand, fidelity(x_u, y, mask), atol=1e-5)

# %% [markdown]
# ### Exercise 9.1 · Prove it yourself
#
# Two programs agree on one image: that proves little. `ours` and `theirs` take and return NumPy arrays, `inputs` is a
# list of images of several sizes. Return the **largest absolute difference of any pixel**; a network that gives NaN must not
# pass.


# %% tags=["exercise"]
def my_parity(ours, theirs, inputs):
    """One number."""
    ...  # your code


# %% tags=["solution"]
def my_parity(ours, theirs, inputs):
    """One number."""
    return np.max([np.abs(ours(x) - theirs(x)).max() for x in inputs])


# %%
checks.parity(my_parity)

# %% [markdown]
# ## How fast?
#
# Times are taken in turn, in one run, on one thread, one slice a call, after a first call that does not count.
#
# **Before you run it:** the student has a fiftieth of the teacher's parameters. The same network in ONNX Runtime instead of
# PyTorch: slower, equal, faster? And with a quarter of the bits?

# %%
table = deploy.bench(
    [*folders, *map(str, list(files)[1:])], batches=(1,), threads=(1,), repeats=5, memory=False
)
columns = ["network", "engine", "ms a slice", "from", "to", "ratio"]
table[columns].style.format(precision=1).format("{:.2f}", subset="ratio").hide(axis="index")

# %% [markdown]
# *What to see:* medians and quartiles; *ratio* is the time in that of the first row, and the only figure here that says something
# about another machine. Eight bits are faster where the processor multiplies them natively (AVX-512 VNNI, for instance) and no
# faster elsewhere; sixteen are converted to fp32 and back on most. Then a smaller file is all that is won, if it is smaller.
#
# ## Where does the time go?
#
# Before anybody makes something faster: what takes the time? ONNX Runtime keeps a record, one event a call.

# %%
import json
from pathlib import Path

import onnxruntime

one = deploy.feeds(student.network.fidelity, test.x_u[:1], test.y[:1], test.mask)
options = onnxruntime.SessionOptions()
options.enable_profiling, options.intra_op_num_threads = True, 1
options.profile_file_prefix = str(place / "profile")
session = onnxruntime.InferenceSession(place / "student_fp32.onnx", options)
for _ in range(5):
    session.run(None, one)
record = Path(session.end_profiling())
events = json.loads(record.read_text(encoding="utf-8"))
record.unlink()
for cat in ("Session", "Node"):
    event = next(event for event in events if event["cat"] == cat)
    print({key: event[key] for key in ("cat", "name", "dur")}, event["args"].get("op_name"))

# %% [markdown]
# ### Exercise 9.2 · The operator that dominates
#
# Return the operator (`event["args"]["op_name"]`) that takes the most time in all its calls (`event["dur"]`, microseconds), and its
# share of the time of all operators. Events with `event["cat"] == "Node"` are calls of operators; others contain them.


# %% tags=["exercise"]
def my_dominant(events):
    """(name, share between 0 and 1)"""
    ...  # your code


# %% tags=["solution"]
def my_dominant(events):
    """(name, share between 0 and 1)"""
    spent = Counter()
    for event in events:
        if event["cat"] == "Node":
            spent[event["args"]["op_name"]] += event["dur"]
    ((name, most),) = spent.most_common(1)
    return name, most / spent.total()


# %%
checks.dominant(my_dominant)

# %%
calls = [event for event in events if event["cat"] == "Node"]
spent = pd.DataFrame({"operator": e["args"]["op_name"], "time": e["dur"]} for e in calls)
spent = spent.groupby("operator").time.sum().sort_values(ascending=False)
(spent / spent.sum()).map("{:.0%}".format).to_frame("share of the time")

# %% [markdown]
# *What to see:* ONNX Runtime has merged convolutions with the ReLU behind them, and brought operators of its own. Convolutions
# take most of the time: a faster matrix product would be wasted effort, a student with fewer maps would not.
#
# ## The trap of eight bits
#
# To quantise is to store numbers as 256 steps between the smallest and the largest value that were seen on training slices. The
# file above did that to convolutions only. A click on *quantise everything* does it to all operators.
#
# **Before you run it:** convolutions hold all the parameters and take most of the time. What can it cost to quantise the rest,
# too?

# %%
from kdrecon import metrics

model, target = onnx.load(place / "student_fp32.onnx"), test.x[:, 0].numpy()
inputs = deploy.feeds(student.network.fidelity, test.x_u, test.y, test.mask)
quantised = {"convolutions": ["Conv"], "data fidelity": ["MatMul"], "everything": []}
images = {"nothing": student.reconstruct(test.x_u, test.y, test.mask)[:, 0].numpy()}
rows = {}
for name, operators in quantised.items():
    smaller = deploy.quantised(model, student.data, operators).SerializeToString()
    images[name] = onnxruntime.InferenceSession(smaller).run(None, inputs)[0][:, 0]
for name, image in images.items():
    before, after = (metrics.psnr(target, x).mean() for x in (images["nothing"], image))
    error = np.abs(image - images["nothing"]).max()
    rows[name] = {"PSNR lost (dB)": before - after, "largest error": error}
pd.DataFrame(rows).T.rename_axis("in int8").style.format(precision=2)

# %%
import matplotlib.pyplot as plt

from kdrecon.teaching import plots

hit = int(
    np.abs(images["data fidelity"] - images["nothing"]).max((1, 2)).argmax()
)  # the worst slice
exact, *others = (image[hit] for image in images.values())
plots.comparison(exact, dict(zip(quantised, others)))
plt.show()

# %% [markdown]
# *What to see:* here the target is the network in fp32, so that the residue is what the eight bits have done, on the slice where
# data fidelity suffers most. In the convolutions that is grain. In data fidelity, with the networks that ship, white matter has
# become a flat grey: ranges were taken from one training person, whose brain is darker than the fat of the scalp, and what is brighter
# in another brain is cut off. It costs more than all convolutions together, about 1 dB on average, and nothing was to be won: data
# fidelity has no weights and takes about a tenth of the time.
#
# ## What a scanner console would need
#
# - **Raw data**: complex, of many coils. `kdrecon reconstruct` reads one coil (ISMRMRD, or .h5 with `kspace` and `mask`), or
#   images, whose measurement it simulates.
# - **Geometry**: the result goes back where the scan lay, as a derived DICOM series or NIfTI.
# - **A word on what it was trained on.** A network answers whatever it is given. Ours carry size, mask and intensities
#   with them, and name what differs:

# %%
packed = deploy.open_deployed(str(place / "student_fp32.onnx"))
odd = (1 - test.x[:, 0, 8:]) * (test.x[:, 0, 8:] > 0.1)  # dark is bright, and rows are missing
mask = packed.data.mask_for(tuple(odd.shape[1:]))
answer = deploy.reconstruct(packed, (physics.fft2(odd) * mask).numpy(), mask)
print(packed.network.said["use"], *answer.unlike, sep="\n- ")

# %% [markdown]
# What no file can carry: a trial on patients, the approval of the authorities, somebody who answers for it. Hence *not for
# clinical use*.
#
# ## Summary
#
# - A graph of convolutions and one real matrix runs anywhere; its Fourier transform was done before.
# - Parity is the largest error of any pixel, on several sizes, before the file is used.
# - Time in one run, report ratios, and look for the operator that dominates.
# - Fewer bits: first for what dominates, never for what is exact.
#
# ## Questions
#
# <details><summary>1. The student has a fiftieth of the teacher's weights. Why does it not follow that it takes a fiftieth of the
# memory when it runs?</summary>
#
# Feature maps, not weights, fill the memory, and both networks have maps of 32 channels.
# </details>
#
# <details><summary>2. Why is the operator an input of the graph, and not a weight in it?</summary>
#
# It is the mask in another form: so the same file serves other masks of lines, and other image sizes.
# </details>
#
# <details><summary>3. fp16 halves the file. Why may it be slower on a CPU?</summary>
#
# Many processors cannot compute in fp16: numbers are converted to fp32 and back at every operator.
# </details>
#
# <details><summary>4. Ranges for int8 are taken from training slices. What happens to a brighter scan?</summary>
#
# What exceeds a range is cut off. Hence each scan is scaled by its maximum, and intensities that differ are named.
# </details>
#
# <details><summary>5. Your export agrees with PyTorch to 1e-6 on the test slices. What has not been shown?</summary>
#
# That the network is right. Parity says that both make the same mistakes.
# </details>
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `jacob2018`, `inati2017`.
#
# [where next](../docs/where_next.md) · [next: 10 · Super-resolution](./10_super_resolution.ipynb)

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
# # 04 · Student-friendly joint training
#
# A good researcher is not always a good teacher. Here the teacher is trained *together with* parts of the student, so that it
# learns to work in a way that a small network can follow.
#
# **What you will learn**
#
# - how the student is unfolded into branches along the teacher;
# - the three terms of the SFT loss, and which weights each moves;
# - how to find a loss term that is there in name only.
#
# **Before you start:** [03 · Standard knowledge distillation](./03_standard_kd.ipynb).
#
# **Minutes:** about 45 to read; the machine needs less than 1 with ready networks, 2 to train in quick mode on two
# cores, 1 with bf16 units; with the paper's recipe some hours, on a GPU far less.
#
# [previous: 03 · Standard knowledge distillation](./03_standard_kd.ipynb) ·
# [next: 05 · SFT-KD](./05_sft_kd.ipynb)

# %% tags=["parameters"] shown=["epochs", "seed", "ready", "switches"]

# %% tags=["laboratory"]

# %% [markdown]
# Which networks are these? Where each comes from when it is asked for, and what `ready=False` changes:

# %%
from kdrecon import results

results.origins(lab, "teacher", "student", "sft")

# %% [markdown]
# ## Why a teacher may be unfriendly
#
# A teacher trained alone does not ask whether a smaller network could produce anything like its intermediate results.
#
# **Student-friendly training (SFT)** [`gayathri2023`] changes the teacher's training, not the distillation. Student blocks
# take over half-way: after teacher block $T_1$, student blocks $S_2\dots S_5$ must be able to finish the reconstruction;
# after $T_2$, blocks $S_3\dots S_5$; and so on. If they cannot, the gradient tells the *teacher* to hand over something
# easier.
#
# ## Unfolded branches
#
# We ask the model for its branches, here an untrained D5C5 with a D2C5. If the output of branch $i$ depends on student block
# $S_k$, its derivative with respect to that block is not zero.
#
# **Before you run it:** five student blocks, branches that start after $T_1$ to $T_4$. Which block is in none of them?

# %%
import matplotlib.pyplot as plt
import pandas as pd
import torch

from kdrecon.models import SFT, dc_cnn
from kdrecon.teaching import checks, plots

torch.manual_seed(seed)
sft = SFT(dc_cnn("D5C5", residual=True), dc_cnn("D2C5", residual=True)).to(lab.device)
batch = lab.train.subset(lab.parameters.batch_size).whole

x_teacher, x_branches = sft(batch.x_u, batch.y, batch.mask)
print("teacher", tuple(x_teacher.shape), "branches", tuple(x_branches.shape))


# %%
def moves(output, block):
    """Whether an output depends on the weights of a block."""
    scalar, weights = output.square().sum(), block.parameters()
    gradients = torch.autograd.grad(scalar, weights, retain_graph=True, allow_unused=True)
    return any(g is not None and bool(g.any()) for g in gradients)


table = pd.DataFrame(
    [[moves(branch, block) for block in sft.student.blocks] for branch in x_branches],
    index=[f"branch {i + 1}" for i in range(len(x_branches))],
    columns=[f"S{k + 1}" for k in range(len(sft.student.blocks))],
)
table.replace({True: "passes", False: "-"})

# %%
plots.unfolding(table.to_numpy(), sft.teacher.name, sft.student.name)
plt.show()

# %% [markdown]
# *What to see:* light blue is the teacher, from the zero-filled image $x_u$ to its reconstruction $x_T$. Each orange row is a
# branch that leaves it. A box is a CNN block and the data fidelity behind it. Boxes on the same grey ground are **one** block:
# $S_5$ must be able to finish what $T_4$ hands over and what $S_4$ hands over. $S_1$ is nowhere: no teacher block stands
# before it.
#
# The shortest branch by hand:

# %%
measurement = sft.teacher.fidelity.measure(batch.y, batch.mask)
*_, fourth, fifth = sft.teacher.stages(batch.x_u, batch.y, batch.mask)
shortest = sft.student.cascade(4, fourth.image, measurement).image  # cascades count from 0

atol = 1e-5 if lab.device.type == "cpu" else 2e-3  # GPUs round their convolutions more coarsely
torch.testing.assert_close(shortest, x_branches[3], rtol=0, atol=atol)
torch.testing.assert_close(fifth.image, x_teacher, rtol=0, atol=atol)

# %% [markdown]
# ### Exercise 4.1 · Walk a branch (warm-up)
#
# Return the image at the end of branch $i$ ($i=1\dots N-1$): the teacher's cascades $T_1\dots T_i$, then the student's
# $S_{i+1}\dots S_N$. A step is `x = network.cascade(k, x, measurement).image`, where `network` is `sft.teacher` or
# `sft.student` and **k counts from 0**. The training below takes your branches.


# %% tags=["exercise"]
def my_branch(sft, i, x_u, y, mask):
    """x_{S,i} (B, 1, H, W)."""
    measurement = sft.teacher.fidelity.measure(y, mask)
    ...  # your code


# %% tags=["solution"]
def my_branch(sft, i, x_u, y, mask):
    """x_{S,i} (B, 1, H, W)."""
    measurement = sft.teacher.fidelity.measure(y, mask)
    x = x_u
    for k in range(len(sft.teacher.blocks)):
        network = sft.teacher if k < i else sft.student
        x = network.cascade(k, x, measurement).image
    return x


# %%
checks.branch(my_branch)

# %% [markdown]
# ### Exercise 4.2 · What friendliness costs
#
# A teacher block costs `teacher_block` multiply-adds, a student block `student_block`; there are `n` cascades. By which factor is
# a step of SFT dearer than a step of the teacher alone? Every branch is computed; count blocks in the figure.


# %% tags=["exercise"]
def my_sft_cost(n, teacher_block, student_block):
    """Cost of a step of SFT in steps of the teacher alone."""
    ...  # your code


# %% tags=["solution"]
def my_sft_cost(n, teacher_block, student_block):
    """Cost of a step of SFT in steps of the teacher alone."""
    in_branches = sum(n - i for i in range(1, n))
    return 1 + in_branches * student_block / (n * teacher_block)


# %%
checks.sft_cost(my_sft_cost)

# %% [markdown]
# Branch by branch these are ten calls of student blocks. All branches under way at cascade $k$ need the same $S_k$, which treats each
# image of a batch on its own: the library sends them as one batch, in four calls.
#
# ## The three terms
#
# With $N$ cascades, the fully sampled image $x$, and $\langle|\cdot|\rangle$ a mean over pixels:
#
# $$L_T=\langle|x-x_T|\rangle,\qquad L_S=\frac1{N-1}\sum_{i=1}^{N-1}\langle|x-x_{S,i}|\rangle,\qquad
# L_{imit}=\frac1{N-1}\sum_{i=1}^{N-1}\langle|x_T-x_{S,i}|\rangle$$
#
# $$L_{SFT}=L_T+L_S+L_{imit}$$
#
# $L_T$ makes a good teacher, $L_S$ makes branches that reconstruct well, $L_{imit}$ pulls teacher and branches together.
# Nothing is detached: it moves the branches towards the teacher *and the teacher towards the branches*.

# %%
from kdrecon.models import sft_loss

loss = sft_loss(batch.x, x_teacher, x_branches)
by_hand = {
    "teacher": (batch.x - x_teacher).abs().mean(),
    "student": (batch.x - x_branches).abs().mean(),
    "imitation": (x_teacher - x_branches).abs().mean(),
}
for name, term in by_hand.items():
    torch.testing.assert_close(getattr(loss, name), term)
torch.testing.assert_close(loss.total, sum(by_hand.values()))
pd.Series({name: f"{term.item():.5f}" for name, term in by_hand.items()}, name="value").to_frame()

# %% [markdown]
# ## Who learns from it?
#
# **Before you run it:** which of the ten blocks get a gradient? Which teacher block gets none from $L_S$, and why?


# %%
def block_norms(model, scalar):
    """Gradient norm of each block of a model."""
    norms = []
    for block in model.blocks:
        g = torch.autograd.grad(scalar, block.parameters(), retain_graph=True, allow_unused=True)
        norms.append(float(sum(v.square().sum() for v in g if v is not None)) ** 0.5)
    return norms


teacher_norms = block_norms(sft.teacher, loss.total)
student_norms = block_norms(sft.student, loss.total)
plots.block_gradients(teacher_norms, student_norms)
plt.show()

# %%
sft.zero_grad()
loss.total.backward(retain_graph=True)
assert all(p.grad is None for p in sft.student.blocks[0].parameters()), "S1 takes no part"
for block in [*sft.teacher.blocks, *sft.student.blocks[1:]]:
    assert any(bool(p.grad.any()) for p in block.parameters()), "every other block learns"
assert block_norms(sft.teacher, loss.student)[-1] == 0, "no branch starts after the last block"
print(
    "S1: no gradient. T1 to T4: from the three terms. "
    "T5: from L_T and L_imit, no branch starts after it."
)

# %% [markdown]
# *What to see:* every block has a bar, but for $S_1$ (the axis is logarithmic). When [05](./05_sft_kd.ipynb) assembles the
# student from these blocks, its first one will be untrained. The same term by term:

# %%
three = {"L_T": loss.teacher, "L_S": loss.student, "L_imit": loss.imitation}
norms = {
    name: block_norms(sft.teacher, term) + block_norms(sft.student, term)
    for name, term in three.items()
}
blocks = [f"{letter}{k}" for letter in "TS" for k in range(1, 6)]
pd.DataFrame(norms, index=blocks).T.map(lambda norm: f"{norm:.0e}" if norm else "-")

# %% [markdown]
# *What to see:* $L_T$ moves the teacher alone. $L_S$ moves the student blocks **and** $T_1\dots T_4$: this is where the
# teacher hears whether a student can follow. $L_{imit}$ reaches all but $S_1$.
#
# ### Exercise 4.3 · An auditor of losses
#
# Somebody hands you a loss of several terms. Which of them act? Return for every term its gradient's norm at `x_teacher` and at
# `x_branches`, 0.0 where none arrives. `terms` is a dictionary from names to scalars; the images stand in their graph, so
# `torch.autograd.grad` reaches them.


# %% tags=["exercise"]
def my_audit(terms, x_teacher, x_branches):
    """{name: (norm at x_teacher, norm at x_branches)}, floats."""
    ...  # your code


# %% tags=["solution"]
def my_audit(terms, x_teacher, x_branches):
    """{name: (norm at x_teacher, norm at x_branches)}, floats."""
    found = {}
    for name, term in terms.items():
        images = (x_teacher, x_branches)
        grads = torch.autograd.grad(term, images, retain_graph=True, allow_unused=True)
        found[name] = tuple(0.0 if g is None else float(g.norm()) for g in grads)
    return found


# %%
checks.audit(my_audit)

# %% [markdown]
# ## A factor that nobody notices
#
# The code that was released with the paper divides the mean of $L_{imit}$ once more by the number of elements of the batch. Both
# forms are here: `imitation="paper"` (our default) and `"released"`.

# %%
rows = {}
for form in ("paper", "released"):
    term = sft_loss(batch.x, x_teacher, x_branches, imitation=form).imitation
    norms = block_norms(sft.teacher, term)
    rows[form] = {
        "L_imit": float(term.detach()),
        "gradient norm in T1 to T5": sum(v**2 for v in norms) ** 0.5,
    }
rows["L_T, for comparison"] = {
    "L_imit": float(loss.teacher.detach()),
    "gradient norm in T1 to T5": sum(v**2 for v in block_norms(sft.teacher, loss.teacher)) ** 0.5,
}
forms = pd.DataFrame(rows).T.rename(columns={"L_imit": "loss"})
forms.map("{:.2e}".format)

# %%
factor = forms.loc["paper", "loss"] / forms.loc["released", "loss"]
b, _, h, w = batch.x.shape
print(f"paper / released: {factor:,.0f} = {b} x {h} x {w}, the elements of a batch")
assert abs(factor / batch.x.numel() - 1) < 1e-3

# %% [markdown]
# In the released form the third term is there in name only, and the curve of the total looks fine. Which form made the
# paper's figures is not known. Log every term and gradient norm.
#
# ## Train it
#
# The loop of [02](./02_dccnn.ipynb) with another loss, a few steps on one batch, beside the library's objective:

# %%
from kdrecon.training import StudentFriendly

right = checks.branch(my_branch).right
print("the branches are", "yours" if right else "the library's")
library, optimizer = StudentFriendly(sft), torch.optim.Adam(sft.parameters(), lr=1e-3)
inputs, steps = (batch.x_u, batch.y, batch.mask), []
for _ in range(5):
    x_teacher, x_branches = sft(*inputs)
    if right:
        x_branches = torch.stack([my_branch(sft, i, *inputs) for i in range(1, 5)])
    loss = sft_loss(batch.x, x_teacher, x_branches)
    torch.testing.assert_close(loss.total, library(batch).total, rtol=1e-3, atol=atol)
    optimizer.zero_grad()
    loss.total.backward()
    optimizer.step()
    steps.append({name: term.item() for name, term in zip(loss._fields, loss)})
pd.DataFrame(steps, index=pd.RangeIndex(1, 6, name="step")).map("{:.5f}".format)

# %% [markdown]
# Now all of it. The best epoch is that of the *teacher* alone, by validation slices. A VDSR ([10](./10_super_resolution.ipynb))
# has no cascades: there the branches leave after groups of convolutions.

# %%
friendly = lab.sft_teacher()
n = len(friendly.student.parts)
print(f"{friendly.model.name} with {n - 1} branches of a {friendly.student.name}")

# %%
plots.curves(friendly.history, title="SFT training")
plt.show()

# %% [markdown]
# *What to see:* the teacher's term and the branches' lie close together, the imitation term far below: teacher and branches
# differ less from each other than from the truth.
#
# ## Is the student-friendly teacher a worse teacher?
#
# **Before you run it:** better, equal or worse than the teacher trained alone? In the paper's Table 1 (brain, 4x) it
# is 40.05 dB for the teacher alone and 40.23 dB for the SFT teacher.

# %%
networks = {"teacher": lab.teacher(), "SFT teacher": friendly, "student": lab.student()}
scores = {name: results.evaluate(lab, network) for name, network in networks.items()}
print(results.epochs_note(networks))
by_person = pd.DataFrame({name: s.groupby("subject").psnr.mean() for name, s in scores.items()})
by_person["SFT teacher - teacher"] = by_person["SFT teacher"] - by_person["teacher"]
by_person.loc["mean over people"] = by_person.mean()
by_person.map("{:.2f}".format).rename_axis("mean PSNR (dB)")

# %% [markdown]
# *What to see:* a row per person whom no network has seen. Where the last column is negative, friendliness has cost something. In
# the course's study ([06](./06_evaluation.ipynb)), with three seeds, this teacher stays 0.3 dB below the one trained alone,
# and above the student.
#
# ## What the branches can do
#
# How well do small blocks finish what the teacher began?

# %%
trained = SFT(friendly.model, friendly.student)
with torch.no_grad():
    one = lab.test.batch(torch.tensor([len(lab.test) // 2]))
    x_teacher, x_branches = trained(one.x_u, one.y, one.mask)
outputs = {"zero-filled": one.x_u, "SFT teacher": x_teacher}
outputs |= {"branch 1": x_branches[0], f"branch {n - 1}": x_branches[-1]}
outputs = {name: image[0, 0].cpu().numpy() for name, image in outputs.items()}
plots.comparison(one.x[0, 0].cpu().numpy(), outputs)
plt.show()

# %% [markdown]
# *What to see:* branch 1 uses the teacher's first cascade only, the last branch all but the last. In the zoom, look for what
# the target does not have, such as arcs of the aliased skull: it is the same in all of them. In numbers:

# %%
from kdrecon import metrics

with torch.no_grad():
    outputs = [trained(b.x_u, b.y, b.mask) for b in lab.test.batches(8)]
target = lab.test.x[:, 0].cpu().numpy()
images = {"SFT teacher": torch.cat([x_teacher for x_teacher, _ in outputs])}
for i in range(n - 1):
    images[f"branch {i + 1}"] = torch.cat([x_branches[i] for _, x_branches in outputs])
psnr, blocks = {}, {}
for k, (name, image) in enumerate(images.items()):
    psnr[name] = f"{metrics.psnr(target, image[:, 0].cpu().numpy()).mean():.2f}"
    teachers = k or n  # how many cascades are the teacher's
    blocks[name] = " ".join(f"{'T' if c < teachers else 'S'}{c + 1}" for c in range(n))
for name in ("teacher", "student"):
    psnr[name] = f"{scores[name].psnr.mean():.2f}"
    blocks[name] = f"{networks[name].model.name}, alone, {networks[name].experiment.epochs} epochs"
pd.DataFrame({"blocks": blocks, "PSNR, mean over slices (dB)": psnr})

# %% [markdown]
# *What to see:* what it costs to let small blocks do nearly all, or the last step alone. Branches close to the teacher do not
# show yet that it is easier to follow: they were trained with it. [05](./05_sft_kd.ipynb) makes the test.
#
# ### Exercise 4.4 · Take one term away (open)
#
# `switches = {"sft_terms": "without_imitation"}` or `"without_student"` trains SFT without a term, in a folder of its own. Choose
# one, write down what you expect of the teacher, of branch 1 and of the curves, run it, and argue in three sentences whether
# the term is needed. What would change your mind?
#
# ## Summary
#
# - SFT trains the teacher together with student branches that take over after each of its cascades.
# - $S_2\dots S_5$ are shared by all branches; $S_1$ takes no part and gets no gradient.
# - $L_{imit}$ moves both sides. Divided by the number of elements it does nothing; its own value and gradient show it, the total does not.
#
# ## Questions
#
# <details><summary>1. How many branches has a network of six cascades, with how many student blocks in them?</summary>
#
# 5 branches, with 15 blocks.
# </details>
#
# <details><summary>2. Which terms move T5?</summary>
#
# $L_T$ and $L_{imit}$, through $x_T$. No branch starts after $T_5$, so $L_S$ does not depend on it.
# </details>
#
# <details><summary>3. What would change if $x_T$ were detached in the imitation term?</summary>
#
# It would still move the branches, and the teacher through what they are handed. But $T_5$ would hear of $L_T$ alone.
# </details>
#
# <details><summary>4. By which factor does the released form shrink $L_{imit}$ for four images of 240 × 240?</summary>
#
# By 4 × 240 × 240 = 230,400.
# </details>
#
# <details><summary>5. Why is the best epoch chosen by the teacher's error and not by the sum of the terms?</summary>
#
# The result of this stage is the teacher; the branches are its training partners.
# </details>
#
# **To look things up:** [notation](../docs/notation.md), [glossary](../docs/glossary.md).
#
# **Sources** (see the [bibliography](../docs/bibliography.md)): `gayathri2023`, `schlemper2018`.
#
# [next: 05 · SFT-KD](./05_sft_kd.ipynb)

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
# # What a study found
#
# `kdrecon study` executes this notebook when all networks are trained; where some failed, over those that are there. Open it
# in JupyterLab and go on asking: `summary` has a row a network, `compared` a row a comparison.

# %% tags=["parameters"]
folder = "."  # of the study
matrix = ""  # its file

# %% [markdown]
# ## How far it is, and what failed

# %%
from pathlib import Path

import matplotlib.pyplot as plt
from IPython.display import Markdown, display

from kdrecon import results
from kdrecon.app import study
from kdrecon.errors import InputError
from kdrecon.results.answer import answer
from kdrecon.results.comparisons import comparisons
from kdrecon.results.display import formatted_components, formatted_published
from kdrecon.results.names import PLACE
from kdrecon.results.references import AGAINST
from kdrecon.teaching import plots

folder = Path(folder)
if matrix:
    study.status(Path(matrix), folder)
summary, compared = results.summary(folder), comparisons(folder)
psnr = compared[compared.metric == "psnr"]

# %% [markdown]
# ## The answer
#
# From every distilled student beside the fairest student trained alone that the study has, data set by data set.

# %%
for place, here in psnr.groupby(list(PLACE), sort=False):
    display(Markdown(f"**{', '.join(map(str, place[:4]))}:** {answer(here)}"))

# %% [markdown]
# ## Networks
#
# Means over slices and seeds, ± the standard deviation over slices.

# %%
results.formatted(summary).style.hide()

# %% [markdown]
# ## Beside the papers' tables
#
# *reproduced*: same data, size, recipe and network; *attempted*: what differs is named.

# %%
published = results.beside_published(summary)
formatted_published(published).style.hide() if len(published) else "no paper reports these data"

# %% [markdown]
# ## Differences
#
# Means over people, each counted once, and over seeds; the 95 % intervals count other people and other seeds where there are
# enough of both. p and verdicts are corrected by Holm within a table.

# %%
for (*place, kind), rows in psnr.groupby([*PLACE, "against"], sort=False):
    told = f"### {', '.join(map(str, place[:4]))}: minus {AGAINST.get(kind, kind)}"
    display(Markdown(told), results.formatted_comparisons(rows).style.hide())

# %% [markdown]
# The same as figures, one for each plain student:

# %%
beside = psnr[(psnr.against == "student") & psnr.difference.notna()]
for (*place, reference), rows in beside.groupby([*PLACE, "reference"], sort=False):
    if len(rows) > 1:
        told = f"{', '.join(map(str, place[:4]))}: minus {reference}"
        plots.differences({told: rows.assign(name=rows.network)}, reference)
        plt.show()

# %% [markdown]
# ## The effect over the epochs

# %%
try:
    plots.effect_curves(compared)
    plt.show()
except InputError as nothing:
    print(nothing)

# %% [markdown]
# ## What limits a claim
#
# Standard deviations of a difference: over people, over seeds, and what neither explains. More people do not help against
# seeds. `kdrecon power FOLDER` says how many of both would show a difference.

# %%
formatted_components(compared).style.hide()

"""The page of a finished study, in Markdown: what trained it, people one by one, then its comparisons, question by question.

>>> import pandas as pd
>>> from kdrecon.results.study_page import markdown
>>> print(markdown(pd.DataFrame({"network": ["student"], "PSNR": ["29.92"]})))
| network | PSNR |
|---|---|
| student | 29.92 |
"""

from collections import defaultdict
from collections.abc import Iterator, Mapping
from typing import Any

import pandas as pd

from kdrecon.choices import BASELINES
from kdrecon.metrics import PSNR
from kdrecon.results.display import formatted_comparisons
from kdrecon.results.names import PLACE
from kdrecon.results.references import AGAINST
from kdrecon.runs.switches import matched_start

TEACHERS = ("teacher", "sft_teacher")
LEFT_OUT = ("minus ", "below ")  # what the columns of a run's tables begin with that a page has no room for
GROUPS = {  # of the embedded people, by what the name of a person begins with, see kdrecon/data/people/PROVENANCE.md
    "whole heads": ("Colin27", "pyradiomics"),
    "skull-stripped slices": ("antspyx",),
}


def page(about: Mapping[str, Any], summary: pd.DataFrame, comparisons: pd.DataFrame, slices: pd.DataFrame) -> str:
    """The page of the tables of :class:`kdrecon.results.studies.ShippedStudy`."""
    compared = comparisons[comparisons.metric == PSNR.name]
    parts = [f"# The study {about['matrix'].removesuffix('.yaml')}", *_opening(about, summary, compared)]
    places = [place for place, _ in compared.groupby(list(PLACE), sort=False)]
    for place in places:
        here = pd.Series(place, PLACE)
        own, its, of = (table[(table[list(PLACE)] == here).all(axis=1)] for table in (summary, compared, slices))
        at = f", {', '.join(map(str, place[:4]))}" if len(places) > 1 else ""
        parts += [f"## Is the teacher better?{at}", *_premise(own, its, of)]
        for title, rows in _questions(own, its):
            if len(rows):
                parts += [f"## {title}{at}", *_tables(rows)]
    return "\n\n".join(parts) + "\n"


def markdown(table: pd.DataFrame) -> str:
    """A table of texts as Markdown has it."""
    rows: list[list[object]] = [[*table], *table.to_numpy().tolist()]
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in rows]
    return "\n".join([lines[0], "|---" * table.shape[1] + "|", *lines[1:]])


def _opening(about: Mapping[str, Any], summary: pd.DataFrame, compared: pd.DataFrame) -> Iterator[str]:
    places = zip(summary.dataset, summary.acceleration, summary.resolution)
    where = "; ".join(dict.fromkeys(f"{dataset} {factor} {size}" for dataset, factor, size in places))
    trainings = "; ".join(
        f"{part['networks']} networks, trained in {part['hours']:g} hours on {part['device']} in {part['precision']} with "
        f"PyTorch {part['environment'].get('torch', '')}" for part in about["trainings"]
    )  # fmt: skip
    yield f"`study/{about['matrix']}`, {where}: {trainings}. The hours of trainings side by side are added up."
    yield (
        "Differences are in dB of PSNR, means over people, each counted once, and over seeds; 95 % intervals count other "
        "people and other seeds; p is corrected by Holm over all comparisons with one kind of reference. "
        f"{compared.subjects.max():.0f} people, {compared.seeds.max():.0f} seeds."
    )
    seeds = defaultdict(list)
    for left in about["left"]:
        name, _, seed = left.partition(", seed ")
        seeds[name].append(seed)
    if seeds:
        names = "; ".join(f"{name} ({len(of)})" for name, of in seeds.items())
        yield f"The matrix asks for {len(about['left'])} networks more, which these tables lack: {names}."


def _premise(summary: pd.DataFrame, compared: pd.DataFrame, slices: pd.DataFrame) -> Iterator[str]:
    """Teachers beside plain students, together and person by person."""
    teachers = summary.name[summary.model.isin(TEACHERS)]
    rows = compared[compared.network.isin(teachers) & (compared.against == "student")]
    yield from _tables(rows)
    people = slices.groupby(["subject", "network"]).psnr.mean().unstack()
    baselines = [name for name in summary.name[summary.model.isin(BASELINES)] if name in people]
    usual = min(rows.network, key=len, default="")
    pairs = [(usual, reference) for reference in rows.reference[rows.network == usual]]
    alone = list(dict.fromkeys(reference for _, reference in pairs))
    table = people[[*baselines, *alone]].map(PSNR.text)
    for network, reference in pairs:
        table[f"{network} minus {reference}"] = (people[network] - people[reference]).map(PSNR.signed)
    for group, beginnings in GROUPS.items():
        of_group = people[people.index.str.startswith(beginnings)]
        if len(of_group):
            gaps = [PSNR.signed((of_group[network] - of_group[reference]).mean()) for network, reference in pairs]
            table.loc[f"**{len(of_group)} {group}**"] = [*of_group[[*baselines, *alone]].mean().map(PSNR.text), *gaps]
    yield "Person by person, PSNR in dB, means over slices and seeds:"
    yield markdown(table.rename_axis(None, axis="columns").reset_index(names="person"))


def _questions(summary: pd.DataFrame, compared: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The comparisons of students, by what they ask."""
    of = summary.set_index("name").loc[compared.network].set_axis(compared.index)
    student = ~of.model.isin(TEACHERS)
    usual_size = next(iter(of.network[student].mode()), "")
    small, few = student & (of.network != usual_size), of.train_slices > 0
    short, cost, control = (of.teacher_epochs > of.epochs) & ~small, compared.against == "cost", of.model == "control"
    usual_start = of.init == of.teacher.map(matched_start)
    training = list(zip(of.network, of.teacher, of.method, of.init, of.epochs, of.train_slices))
    weighed = {key for key, factor in zip(training, of.weight_factor) if factor != 1}
    weights = pd.Series([key in weighed for key in training], compared.index)
    rest = student & ~small & ~few & ~short & ~cost & ~control
    other_starts = set(of.method[rest & ~usual_start]) - {""}
    yield "Does distillation help?", compared[rest & usual_start & (of.method != "")]
    yield "Which first weights?", compared[rest & (~usual_start | of.method.isin(other_starts))]
    yield "Short trainings below a finished teacher", compared[short & (of.weight_factor == 1)]
    yield "The weight of the distillation", compared[weights & ~small]
    yield "Few training slices", compared[few]
    yield "A smaller student", compared[small & ~cost & ~control]
    yield "A student that trains alone for as long, or for as much", compared[control]
    yield "At equal cost, the teacher's included", compared[cost]


def _tables(rows: pd.DataFrame) -> Iterator[str]:
    """A table a kind of reference, under what it is; the steps of both where some differ."""
    for kind, table in rows.groupby("against", sort=False):
        shown = formatted_comparisons(table)
        if "reference" not in shown:
            shown.insert(1, "reference", table.reference)
        if (table.steps != table.reference_steps).any():
            steps = [f"{ours} against {theirs}" for ours, theirs in zip(table.steps, table.reference_steps)]
            shown.insert(2, "steps", steps)
        yield f"Against {AGAINST.get(str(kind), str(kind))}:"
        yield markdown(shown[[name for name in map(str, shown) if not name.startswith(LEFT_OUT)]])

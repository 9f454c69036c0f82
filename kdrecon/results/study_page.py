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
from kdrecon.results.comparisons import notes
from kdrecon.results.display import formatted_comparisons
from kdrecon.results.names import PLACE
from kdrecon.results.power import typical_spread
from kdrecon.results.references import AGAINST
from kdrecon.results.statistics import Components
from kdrecon.runs.switches import matched_start

TEACHERS = ("teacher", "sft_teacher")
ESTIMAND = "Differences are in dB of PSNR, means over people, each counted once, and over seeds"
INTERVALS = {  # by what a comparison is about, see kdrecon.results.statistics.estimate
    "method": "95 % intervals count other people and other seeds; p is corrected by Holm over all comparisons with one "
    "kind of reference",
    "networks": "with one seed the 95 % interval is about the two networks alone, and nothing is tested",
}
LEFT_OUT = ("minus ", "below ")  # what the columns of a run's tables begin with that a page has no room for
MOST_PEOPLE = 12  # that a table has columns for
GROUPS = {  # of the embedded people, by what the name of a person begins with, see kdrecon/data/people/PROVENANCE.md
    "whole heads": ("Colin27", "pyradiomics"),
    "skull-stripped slices": ("antspyx",),
}


def page(about: Mapping[str, Any], summary: pd.DataFrame, comparisons: pd.DataFrame, slices: pd.DataFrame) -> str:
    """The page of the tables of :class:`kdrecon.results.studies.ShippedStudy`."""
    compared = comparisons[comparisons.metric == PSNR.name]
    parts = [f"# The study {about['matrix'].removesuffix('.yaml')}", *_opening(about, summary, compared, slices)]
    places = [place for place, _ in compared.groupby(list(PLACE), sort=False)]
    for place in places:
        here = pd.Series(place, PLACE)
        own, its, of = (table[(table[list(PLACE)] == here).all(axis=1)] for table in (summary, compared, slices))
        at = f", {', '.join(map(str, place[:4]))}" if len(places) > 1 else ""
        sections = {"Is the teacher better?": _premise(own, its, of)}
        sections |= {title: _tables(rows) for title, rows in _questions(own, its)}
        sections |= {"Who gains": _who_gains(own, its, of), "What limits a claim": _limits(its)}
        for title, content in sections.items():
            if texts := list(content):
                parts += [f"## {title}{at}", *texts]
    return "\n\n".join(parts) + "\n"


def markdown(table: pd.DataFrame) -> str:
    """A table of texts as Markdown has it."""
    rows: list[list[object]] = [[*table], *table.to_numpy().tolist()]
    lines = ["| " + " | ".join(map(str, cells)) + " |" for cells in rows]
    return "\n".join([lines[0], "|---" * table.shape[1] + "|", *lines[1:]])


def _opening(
    about: Mapping[str, Any], summary: pd.DataFrame, compared: pd.DataFrame, slices: pd.DataFrame
) -> Iterator[str]:
    places = zip(summary.dataset, summary.acceleration, summary.resolution)
    where = "; ".join(dict.fromkeys(f"{dataset} {factor} {size}" for dataset, factor, size in places))
    trained_on: dict[str, list[float]] = defaultdict(lambda: [0, 0.0])
    for part in about["trainings"]:  # other versions of the code on the same machine are together here
        sums = trained_on[
            f"{part['device']} in {part['precision']} with PyTorch {part['environment'].get('torch', '')}"
        ]
        sums[0], sums[1] = sums[0] + part["networks"], sums[1] + part["hours"]
    trainings = "; ".join(
        f"{n} networks, trained in {h:.2g} hours on {device}" for device, (n, h) in trained_on.items()
    )
    yield f"`study/{about['matrix']}`, {where}: {trainings}. The hours of trainings side by side are added up."
    trained = slices[~slices.network.isin(summary.name[summary.model.isin(BASELINES)])]
    people, seeds = len(slices[["dataset", "subject"]].drop_duplicates()), trained.seed.nunique()
    counts = f"{people} {'person' if people == 1 else 'people'}, {seeds} seed{'s' * (seeds != 1)}."
    if compared.empty:
        yield f"No network has another one here that it can be compared with. {counts}"
    else:
        told = [text for key, text in INTERVALS.items() if key in set(compared.about)]
        yield f"{'; '.join([ESTIMAND, *told])}. {counts}"
    missing = defaultdict(list)
    for left in about["left"]:
        name, _, seed = left.partition(", seed ")
        missing[name].append(seed)
    if missing:
        names = "; ".join(f"{name} ({len(of)})" for name, of in missing.items())
        yield f"The matrix asks for {len(about['left'])} networks more, which these tables lack: {names}."


def _premise(summary: pd.DataFrame, compared: pd.DataFrame, slices: pd.DataFrame) -> Iterator[str]:
    """Teachers beside plain students and beside each other, together and person by person."""
    teachers = summary.name[summary.model.isin(TEACHERS)]
    rows = compared[compared.network.isin(teachers)]
    yield from _tables(rows)
    beside = rows[(rows.against == "student") & rows.difference.notna()]
    usual = min(beside.network, key=len, default="")
    pairs = [(usual, reference) for reference in beside.reference[beside.network == usual]]
    if not pairs:
        return
    people = slices.groupby(["subject", "network"]).psnr.mean().unstack()
    baselines = [name for name in summary.name[summary.model.isin(BASELINES)] if name in people]
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
    """The comparisons by what they ask: those of the largest student one question after the other, then other sizes."""
    students = summary[~summary.model.isin((*TEACHERS, *BASELINES))]
    sizes = [*students.groupby("network").parameters.max().sort_values(ascending=False).index]
    of = summary.set_index("name").loc[compared.network].set_axis(compared.index)
    teacher = of.model.isin(TEACHERS)
    here = teacher | of.network.isin(sizes[:1])
    yield from _of_one_size(of[here], compared[here])
    for size in sizes[1:]:
        yield f"The student {size}", compared[~teacher & (of.network == size)]


def _of_one_size(of: pd.DataFrame, compared: pd.DataFrame) -> Iterator[tuple[str, pd.DataFrame]]:
    """The comparisons of students of one size, each under every question that it answers; ``of`` says what was trained."""
    student = ~of.model.isin(TEACHERS)
    usual_start = of.init == of.teacher.map(matched_start)
    alone = student & ((of.model == "control") | (of.method == "") & usual_start)
    few, short, cost = of.train_slices > 0, of.teacher_epochs > of.epochs, compared.against == "cost"
    training = list(zip(of.teacher, of.method, of.init, of.epochs, of.train_slices))
    weighed = {key for key, factor in zip(training, of.weight_factor) if factor != 1}
    weights = pd.Series([key in weighed for key in training], compared.index, bool)
    rest = student & ~few & ~short & ~cost & ~alone
    other_starts = set(of.method[rest & ~usual_start]) - {""}
    yield "Does distillation help?", compared[rest & usual_start]
    yield "Which first weights?", compared[rest & (~usual_start | of.method.isin(other_starts))]
    yield "Short trainings below a finished teacher", compared[short & (of.weight_factor == 1)]
    yield "The weight of the distillation", compared[weights]
    yield "Few training slices", compared[few]
    yield "A student that trains alone for as long, or for as much", compared[alone]
    yield "At equal cost, the teacher's included", compared[cost]


def _who_gains(summary: pd.DataFrame, compared: pd.DataFrame, slices: pd.DataFrame) -> Iterator[str]:
    """What every student is above its plain student, person by person."""
    rows = compared[(compared.against == "student") & compared.difference.notna()]
    rows = rows[~rows.network.isin(summary.name[summary.model.isin(TEACHERS)])]
    people = slices.groupby(["subject", "network"]).psnr.mean().unstack()
    if rows.empty or len(people) > MOST_PEOPLE:
        return
    gains = pd.DataFrame({row.network: people[row.network] - people[row.reference] for row in rows.itertuples()}).T
    groups = {f"{group}, mean": gains.columns.str.startswith(start) for group, start in GROUPS.items()}
    means = {title: gains.loc[:, of].mean(axis=1) for title, of in groups.items() if of.any()}
    yield "Network minus its plain student, PSNR in dB, means over slices and seeds:"
    yield markdown(pd.DataFrame(means, gains.index).join(gains).map(PSNR.signed).reset_index(names="network"))


def _limits(compared: pd.DataFrame) -> Iterator[str]:
    """What differences vary by, and what the notes of the comparisons say."""
    known = compared.dropna(subset=list(Components._fields))
    if len(known):
        n, k, (people, seeds, both, _) = known.subjects.max(), known.seeds.max(), typical_spread(known)
        sds = people, seeds, both, people / n**0.5, seeds / k**0.5, both / (n * k) ** 0.5
        sd = [f"{PSNR.text(value)} {PSNR.unit}" for value in sds]
        yield (
            f"In the median of these comparisons the standard deviation of a difference is {sd[0]} over people, {sd[1]} over "
            f"seeds and {sd[2]} of what neither explains. Of these a mean over {n:.0f} people and {k:.0f} seeds keeps "
            f"{sd[3]}, {sd[4]} and {sd[5]}: the largest of them limits a claim."
        )
    if told := notes(compared):
        yield "\n".join(f"- {note}" for note in told)


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

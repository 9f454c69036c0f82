"""The comparisons of a run: the table of what paired differences between its networks show.

>>> from pathlib import Path
>>> from kdrecon.results.comparisons import comparisons
>>> comparisons(Path("run"))
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: run holds no evaluated experiment: expected experiments/*/acc_*/*/metrics.csv; run first
"""

from collections import defaultdict
from collections.abc import Mapping, Sequence
from pathlib import Path

import numpy as np
import pandas as pd

from kdrecon.choices import MARGIN
from kdrecon.errors import InputError
from kdrecon.metrics import METRICS, PSNR, SSIM
from kdrecon.results.names import PLACE
from kdrecon.results.references import (
    AGAINST,
    AS_MUCH,
    Configuration,
    Kind,
    configurations,
    differing_conditions,
    find_references,
    nearest_teacher,
)
from kdrecon.results.statistics import judged, pair, spread_over_seeds
from kdrecon.storage.files import write_table

COLUMNS = (
    *PLACE, "against", "network", "reference", "metric", "seeds", "subjects", "n", "mean", "reference_mean",
    "difference", "low", "high", "about", "seed_sd", "p", "p_holm", "verdict", "below_student", "gap_teacher",
    "gap_sft_teacher", "note", "steps", "reference_steps", "margin", "p_equal", "p_equal_holm", "equal",
    "sd_people", "sd_seeds", "sd_interaction", "curve", "epochs",
)  # fmt: skip


def comparisons(
    run_root: Path,
    against: Kind | None = None,
    metrics: Sequence[str] = (PSNR.name, SSIM.name),
    margin: float = MARGIN[PSNR.name],
) -> pd.DataFrame:
    """Each network of a run against its references of every kind; a row a comparison.

    Paired by slice, a mean over subjects, averaged over the seeds that both networks have: see
    :mod:`kdrecon.results.statistics`. The means of summary.csv are over slices, as in the papers; where subjects have unequal
    numbers of slices, the two differ. Networks are compared only where data set, acceleration, resolution and slices are the
    same; where a run holds several references that would do, the fairest one is taken, and a note says what still differs.

    Args:
        run_root: folder of a run.
        against: one of :data:`kdrecon.results.references.AGAINST`; or
            values that identify another reference by columns of summary.csv, such as
            {"model": "sft_teacher"}; None for all of AGAINST.
        metrics: columns of metrics.csv.
        margin: in dB of PSNR, below which networks are taken for equal; to be chosen before the figures are seen. Other
            metrics have none.

    Returns:
        against, network, reference, metric, then the columns of :func:`kdrecon.results.statistics.judged` (about says
        whether the interval speaks about the method or about the networks of a single seed), below_student
        (the mean is worse than the plain student's), gap_teacher and gap_sft_teacher (mean minus the teachers'), steps and
        reference_steps (optimiser steps behind the weights of both; 0 where no record tells), margin, and curve and
        epochs: the network's name without its epochs, and these.
        p-values are corrected within each place, kind of reference and metric.

    Raises:
        InputError: no evaluated experiment, an unknown reference or column, values that no network of the run has, or
            a margin that is not above 0.
    """
    if not 0 < margin < np.inf:
        raise InputError(f"margin {margin}: expected a number above 0, in dB of PSNR")
    if isinstance(against, str) and against not in AGAINST:
        raise InputError(f"against {against!r}: expected one of {', '.join(AGAINST)}, or values of columns by name")
    kinds: list[Kind] = list(AGAINST) if against is None else [against]
    margins = {PSNR.name: margin}
    found, places = configurations(run_root), defaultdict(list)
    if isinstance(against, Mapping):
        _check_columns(against, found)
    for configuration in found:
        places[configuration.identity.place].append(configuration)
    tables = []
    for networks in places.values():
        beside = {network: _beside(network, networks) for network in networks}
        for kind in kinds:
            pairs = [
                (network, reference) for network in networks for reference in find_references(network, networks, kind)
            ]
            for metric in metrics:
                tables.append(_family(pairs, beside, kind, metric, margins.get(metric, np.nan)))
    tables = [table for table in tables if len(table)]
    if not tables and isinstance(against, Mapping):
        raise InputError(
            f"no network of {run_root} has {_title(against)}, or none can be compared with it: expected values of columns "
            "of summary.csv, such as model=sft_teacher"
        )
    return pd.concat(tables, ignore_index=True).reindex(columns=COLUMNS) if tables else pd.DataFrame(columns=COLUMNS)


def write_comparisons(
    run_root: Path, against: Mapping[str, object] | None = None, margin: float = MARGIN[PSNR.name]
) -> pd.DataFrame:
    """Write :func:`comparisons`, and those against a chosen reference, to {run_root}/comparisons.csv; return them."""
    tables = [comparisons(run_root, kind, margin=margin) for kind in ([None, against] if against else [None])]
    table = pd.concat(tables, ignore_index=True)
    write_table(table, Path(run_root) / "comparisons.csv")
    return table


def notes(compared: pd.DataFrame) -> list[str]:
    """What the notes of a place's comparisons say, each once; what holds for some networks alone names them."""
    of = defaultdict(list)
    for network, note in zip(compared.network, compared.note):
        for part in filter(None, note.split("; ")):
            of[part].append(network)
    everywhere = set(compared.network)
    return [
        note
        if note.startswith(tuple(f"{name}: " for name in names)) or {*names} == everywhere
        else f"{', '.join(dict.fromkeys(names))}: {note}"
        for note, names in of.items()
    ]


def _check_columns(values: Mapping[str, object], networks: Sequence[Configuration]) -> None:
    known = dict.fromkeys(name for network in networks for name in network.identity.columns)
    if networks and (unknown := sorted(set(values) - set(known))):
        raise InputError(f"column {unknown[0]!r} is unknown: expected one of {', '.join(known)}")


def _title(kind: Kind) -> str:
    return kind if isinstance(kind, str) else ", ".join(f"{name}={value}" for name, value in kind.items())


def _family(
    pairs: list[tuple[Configuration, Configuration]],
    beside: Mapping[Configuration, Mapping[str, Configuration | None]],
    kind: Kind,
    metric: str,
    margin: float,
) -> pd.DataFrame:
    """The comparisons of one place with one kind of reference: one family of tests."""
    spread = spread_over_seeds([network.scores for network in beside], metric)
    tested, untested = [], []
    for network, reference in pairs:
        row: dict[str, object] = {"against": _title(kind), "network": network.name, "reference": reference.name}
        row |= dict(zip(PLACE, network.identity.place)) | _standing(network, beside[network], metric)
        row |= {"steps": network.steps, "reference_steps": reference.steps, "margin": margin}
        row |= {"curve": network.curve, "epochs": network.experiment.epochs}
        try:
            found = pair(network.scores, reference.scores, metric, spread, margin)
            tested.append(row | found._asdict() | {"recipe": _other_recipe(network, reference, kind)})
        except InputError as error:
            reason = str(error).replace("; ", ", ")  # one note: "; " stands between two
            untested.append(row | {"seeds": 0, "verdict": "not tested", "note": reason})
    table = judged(pd.DataFrame(tested), metric) if tested else pd.DataFrame({"recipe": [], "note": []})
    table["note"] = ["; ".join(filter(None, notes)) for notes in zip(table.recipe, table.note)]
    return pd.concat([table, pd.DataFrame(untested)])


def _beside(network: Configuration, networks: list[Configuration]) -> dict[str, Configuration | None]:
    """The plain student and the teachers that a network stands beside, by role."""
    plain = next(iter(find_references(network, networks, "student")), None)
    return {"student": plain} | {role: nearest_teacher(network, networks, role) for role in ("teacher", "sft_teacher")}


def _standing(network: Configuration, beside: Mapping[str, Configuration | None], metric: str) -> dict[str, object]:
    """A network's mean, whether it is worse than the plain student's, and what it lacks of the teachers'."""
    gaps = {role: _gap(network, other, metric) for role, other in beside.items()}
    return {
        "metric": metric,
        "mean": np.mean(list(network.scores.means(metric).values())),
        "below_student": METRICS[metric].gain(gaps.pop("student")) < 0,
        **{f"gap_{role}": gap for role, gap in gaps.items()},
    }


def _other_recipe(network: Configuration, reference: Configuration, kind: Kind) -> str:
    """What of the recipe differs, though it does not define the comparison; "" where nothing does."""
    ours, theirs = network.identity.columns, reference.identity.columns
    names = ["epochs"] * (_title(kind) not in AS_MUCH and ours["epochs"] != theirs["epochs"])
    names += differing_conditions(network, reference)
    differing = [f"{name} {ours[name]} against {theirs[name]}" for name in names]
    return f"{network.name}: {', '.join(differing)}" if differing else ""


def _gap(network: Configuration, other: Configuration | None, metric: str) -> float:
    """Mean over subjects minus the other's, over the seeds that both have; NaN without the other or a common seed."""
    if not other:
        return np.nan
    ours, theirs = network.scores.means(metric), other.scores.means(metric)
    seeds = sorted(ours.keys() & theirs.keys())
    return (
        float(np.mean([ours[seed] for seed in seeds]) - np.mean([theirs[seed] for seed in seeds])) if seeds else np.nan
    )

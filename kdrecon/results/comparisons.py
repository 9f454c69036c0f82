"""The comparisons of a run: which network is held against which, and the table of what that shows."""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

import numpy as np
import pandas as pd

from kdrecon.choices import BASELINES
from kdrecon.errors import InputError
from kdrecon.metrics import METRICS, PSNR, SSIM
from kdrecon.results.evaluation import evaluated
from kdrecon.results.names import PLACE, identity, network_name, reading_order
from kdrecon.results.statistics import judged, mean_over_subjects, pair, spread_over_seeds
from kdrecon.runs.switches import matched_start
from kdrecon.storage.files import write_table

AGAINST = {
    "student": "the plain student: same architecture, trained alone",
    "control": "a student trained alone for as many steps as lie behind the network's weights, its start included",
    "std-kd": "the same distillation from the standard teacher (SFT-KD students only)",
}
COLUMNS = (
    *PLACE, "against", "network", "reference", "metric", "seeds", "subjects", "n", "mean", "reference_mean",
    "difference", "low", "high", "about", "seed_sd", "p", "p_holm", "verdict", "below_student", "gap_teacher",
    "gap_sft_teacher", "note",
)  # fmt: skip


@dataclass
class Configuration:
    """What a run trained once or with several seeds: its identity without the seed, and a slice-wise table by seed.

    steps are the optimiser steps behind the weights, those of the start included; 0 where no record tells.
    """

    identity: dict
    name: str = ""
    steps: int = 0
    scores: dict[int, pd.DataFrame] = field(default_factory=dict)

    def __getitem__(self, key: str):
        return self.identity[key]

    @property
    def trained_alone(self) -> bool:
        """Whether it is a student without any teacher: the plain student or a control."""
        return self["model"] in ("student", "control") and not self["method"]


def configurations(run_root: Path) -> list[Configuration]:
    """The evaluated networks of a run, those that differ in the seed alone together; without the baseline.

    Raises:
        InputError: the folder holds no evaluated experiment.
    """
    found: dict[str, Configuration] = {}
    for _, record, scores in evaluated(run_root):
        key = identity(record)
        if key["model"] not in BASELINES:
            configuration = found.setdefault(json.dumps(key, sort_keys=True), Configuration(key))
            configuration.scores[record.experiment.seed] = scores
            configuration.steps = max(configuration.steps, record.steps or 0)
    for place in _places(list(found.values())).values():
        for configuration in place:
            configuration.name = network_name(configuration.identity, [other.identity for other in place])
    return sorted(found.values(), key=lambda configuration: reading_order(configuration.identity))


def comparisons(
    run_root: Path,
    against: str | Mapping[str, object] | None = None,
    metrics: Sequence[str] = (PSNR.name, SSIM.name),
) -> pd.DataFrame:
    """Each network of a run against the plain student, the longer trained control and Std-KD; a row a comparison.

    Paired by slice, a mean over subjects, averaged over the seeds that both networks have: see
    :mod:`kdrecon.results.statistics`. The means of summary.csv are over slices, as in the papers; where subjects have unequal
    numbers of slices, the two differ. Networks are compared only where data set, acceleration, resolution and slices are the
    same; where a run holds several references that would do, the one that agrees in most settings is taken.

    Args:
        run_root: folder of a run.
        against: one of :data:`AGAINST`; or values that identify another reference by columns of summary.csv, such as
            {"model": "sft_teacher"}; None for all of AGAINST.
        metrics: columns of metrics.csv.

    Returns:
        against, network, reference, metric, then the columns of :func:`kdrecon.results.statistics.judged` (about says
        whether the interval speaks about the method or about the networks of a single seed), below_student
        (the mean is worse than the plain student's), gap_teacher and gap_sft_teacher (mean minus the teachers').
        p-values are corrected within each place, kind of reference and metric.

    Raises:
        InputError: no evaluated experiment, an unknown reference or column, or values that no network of the run has.
    """
    if isinstance(against, str) and against not in AGAINST:
        raise InputError(f"against {against!r}: expected one of {', '.join(AGAINST)}, or values of columns by name")
    kinds = list(AGAINST) if against is None else [against]
    tables, found = [], configurations(run_root)
    for place, networks in _places(found).items():
        for kind in kinds:
            references = [_reference(network, networks, kind) for network in networks]
            for metric in metrics:
                tables.append(_table(place, networks, references, kind, metric))
    tables = [table for table in tables if len(table)]
    if not tables and isinstance(against, Mapping):
        raise InputError(
            f"no network of {run_root} has {_title(against)}, or none can be compared with it: expected values of columns "
            "of summary.csv, such as model=sft_teacher"
        )
    return pd.concat(tables, ignore_index=True).reindex(columns=COLUMNS) if tables else pd.DataFrame(columns=COLUMNS)


def write_comparisons(run_root: Path, against: Mapping[str, object] | None = None) -> pd.DataFrame:
    """Write :func:`comparisons`, and those against a chosen reference, to {run_root}/comparisons.csv; return them."""
    tables = [comparisons(run_root)] + ([comparisons(run_root, against)] if against else [])
    table = pd.concat(tables, ignore_index=True)
    write_table(table, Path(run_root) / "comparisons.csv")
    return table


def _title(kind: str | Mapping) -> str:
    return kind if isinstance(kind, str) else ", ".join(f"{name}={value}" for name, value in kind.items())


def _places(found: list[Configuration]) -> dict[tuple, list[Configuration]]:
    places: dict[tuple, list[Configuration]] = {}
    for configuration in found:
        places.setdefault(tuple(configuration[key] for key in PLACE), []).append(configuration)
    return places


def _reference(network: Configuration, networks: list[Configuration], kind: str | Mapping) -> Configuration | None:
    """The network of the same place that this one is compared with, or None."""
    alone = [c for c in networks if c.trained_alone and _same_student(c, network)]
    if kind == "student":
        if network.trained_alone:
            plain = min(alone, key=_plainness)
            return plain if plain is not network else None
        return _closest(network, alone)
    if kind == "control":
        plain = _reference(network, networks, "student")
        equal = [c for c in alone if network["method"] and c is not plain and _equal_steps(c, network)]
        return min(equal, key=lambda c: (c.steps, -_agreement(c, network), c.name), default=None)
    if kind == "std-kd":
        paper = {"teacher": "standard", "init": matched_start("standard")}
        paper |= {name: network[name] for name in ("method", "network")}
        return _closest(network, _fitting(networks, paper)) if network["teacher"] == "sft" else None
    return _closest(network, _fitting(networks, kind))


def _equal_steps(control: Configuration, network: Configuration) -> bool:
    """Whether a control took the network's steps, rounded up to a whole epoch of its own."""
    return 0 < network.steps <= control.steps < network.steps + control.steps / control["epochs"]


def _closest(network: Configuration, candidates: list[Configuration]) -> Configuration | None:
    """The candidate that agrees with the network in most settings, of equals the plainest; never the network itself."""
    others = [c for c in candidates if c is not network]
    return min(others, key=lambda c: (-_agreement(c, network), *_plainness(c)), default=None)


def _agreement(a: Configuration, b: Configuration) -> int:
    return sum(b.identity.get(key) == value for key, value in a.identity.items())


def _plainness(network: Configuration) -> tuple:
    return network["model"] == "control", network["epochs"], network.name


def _same_student(plain: Configuration, network: Configuration) -> bool:
    return network["model"] not in ("student", "control") or plain["network"] == network["network"]


def _fitting(networks: list[Configuration], values: Mapping) -> list[Configuration]:
    if unknown := sorted(set(values) - set(networks[0].identity)):
        raise InputError(f"column {unknown[0]!r} is unknown: expected one of {', '.join(networks[0].identity)}")
    return [c for c in networks if all(str(c[key]) == str(value) for key, value in values.items())]


def _table(
    place: tuple, networks: list[Configuration], references: list[Configuration | None], kind: str, metric: str
) -> pd.DataFrame:
    """The comparisons of one place with one kind of reference: one family of tests."""
    rows, unpaired = [], []
    spread = spread_over_seeds([network.scores for network in networks], metric)
    for network, reference in zip(networks, references):
        if reference is None:
            continue
        row = dict(zip(PLACE, place)) | {"against": _title(kind), "network": network.name, "reference": reference.name}
        row |= {
            "metric": metric,
            "mean": np.mean([mean_over_subjects(table, metric) for table in network.scores.values()]),
        }
        plain = _reference(network, networks, "student")
        row["below_student"] = METRICS[metric].gain(_gap(network, plain, metric)) < 0
        for role in ("teacher", "sft_teacher"):
            row[f"gap_{role}"] = _gap(network, _closest(network, [c for c in networks if c["model"] == role]), metric)
        try:
            found = pair(network.scores, reference.scores, metric, spread)
            rows.append(row | found | {"recipe": _other_recipe(network, reference, kind)})
        except InputError as error:
            unpaired.append(row | {"seeds": 0, "verdict": "not tested", "note": str(error)})
    judgements = judged(pd.DataFrame(rows), metric) if rows else pd.DataFrame({"recipe": [], "note": []})
    judgements["note"] = ["; ".join(filter(None, pair)) for pair in zip(judgements.recipe, judgements.note)]
    return pd.concat([judgements, pd.DataFrame(unpaired)])


def _other_recipe(network: Configuration, reference: Configuration, kind: str | Mapping) -> str:
    """Which numbers of the recipe differ, though they do not define the comparison; "" where none does."""
    names = [name for name in ("epochs", "batch_size", "lr") if not (kind == "control" and name == "epochs")]
    values = [(name, network[name], reference[name]) for name in names]
    differing = [f"{name} {ours:g} against {theirs:g}" for name, ours, theirs in values if ours != theirs]
    return f"{network.name}: {', '.join(differing)}" if differing else ""


def _gap(network: Configuration, other: Configuration | None, metric: str) -> float:
    """Mean over subjects minus the other's, over the seeds that both have; NaN without the other or a common seed."""
    seeds = sorted(network.scores.keys() & other.scores.keys()) if other else ()
    means = [[mean_over_subjects(c.scores[seed], metric) for seed in seeds] for c in (network, other) if seeds]
    return float(np.mean(means[0]) - np.mean(means[1])) if means else np.nan

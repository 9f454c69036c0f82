"""The papers' own figures, and those of a run beside them where data set and acceleration are the same.

>>> from kdrecon.results.published import published_figures
>>> published_figures()[["source", "dataset", "acceleration", "model", "psnr"]].head(1).to_dict("records")
[{'source': 'gayathri2023, Table 1', 'dataset': 'mrbrain', 'acceleration': '4x', 'model': 'zero_filled', 'psnr': 31.38}]
"""

import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

import pandas as pd

from kdrecon.choices import BASELINES
from kdrecon.metrics import PUBLISHED
from kdrecon.results.names import columns
from kdrecon.runs.experiment import ROLES, Experiment, usual_resolution
from kdrecon.runs.parameters import Parameters
from kdrecon.runs.switches import matched_start
from kdrecon.storage.places import LIBRARY
from kdrecon.training.recipe import Recipe

FIGURES = LIBRARY / "results" / "published.toml"
PRESET_OF = {"gayathri2023": "paper", "murugesan2020": "kd_mri"}
LEARNING_RATES = {"gayathri2023": 1e-3, "murugesan2020": 1e-4}
DISTILLED = {  # teacher and first weights of the students in each block of figures
    **{teacher: (teacher, matched_start(teacher)) for teacher in ("standard", "sft")},
    "sft_random_init": ("sft", "random"),
}
Row = Mapping[Any, Any]  # of summary.csv, by its columns
IDENTIFYING = ["dataset", "acceleration", "model", "network", "teacher", "method", "init"]


@dataclass(frozen=True)
class Figure:
    """What a paper reports of a network: PSNR in dB and SSIM, in some tables HFN, VIF and MSE.

    Attributes:
        source: paper and table.
        experiment: that would reproduce it, with the paper's recipe, resolution and preset.
        values: by name of the metric.
        spreads: what stands behind +/-, 2 standard deviations over volumes (of knees over slices), by name of the metric;
            empty where not noted.
    """

    source: str
    experiment: Experiment
    values: dict[str, float]
    spreads: dict[str, float]


def published_figures() -> pd.DataFrame:
    """Every published figure: source, what identifies the network (columns of summary.csv), metrics by name, spreads.

    The papers do not state whether a figure is a mean over slices or over volumes. What they print behind +/-, 2 standard
    deviations over volumes by the released code, stands under psnr_spread and ssim_spread for super-resolution and knees,
    of these over slices.
    """
    told = (*IDENTIFYING, "teacher_network")
    rows = []
    for figure in _figures():
        own = columns(figure.experiment)
        rows.append({"source": figure.source, **{name: own[name] for name in told}, **figure.values})
        rows[-1] |= {f"{name}_spread": value for name, value in figure.spreads.items()}
    return pd.DataFrame(rows)


def beside_published(summary: pd.DataFrame) -> pd.DataFrame:
    """The published figures for the data sets and accelerations of a run, with the run's own where it has them.

    A row of the run counts as the same network where architecture, teacher, method, init and the switches of the paper's
    preset agree. status is "reproduced" where recipe and resolution are the paper's, too; "attempted", followed by what
    is not, where they are not; else "not attempted".

    Args:
        summary: of :func:`kdrecon.results.tables.summary`.

    Returns:
        source, the identifying columns, each metric that a table has (published_psnr and psnr, for instance), seed, status;
        empty for data that no paper reports.
    """
    places, networks = set(zip(summary.dataset, summary.acceleration)), summary.to_dict("records")
    rows = []
    for figure in _figures():
        paper, figures = columns(figure.experiment), tuple(figure.values)
        if (paper["dataset"], paper["acceleration"]) not in places:
            continue
        row = {"source": figure.source} | {name: paper[name] for name in IDENTIFYING}
        row |= {f"published_{name}": value for name, value in figure.values.items()}
        attempts = [
            {name: own[name] for name in (*figures, "seed")} | {"status": _status(paper, own)}
            for own in networks
            if _same(figure, own)
        ]
        rows += [row | attempt for attempt in attempts or [{"status": "not attempted"}]]
    return pd.DataFrame(rows)


def _figures() -> Iterator[Figure]:
    for block in tomllib.loads(FIGURES.read_text(encoding="utf-8"))["figures"]:
        paper, dataset, recipe = block["source"].split(",")[0], block["dataset"], Recipe()
        parameters = Parameters(
            dataset=dataset,
            acceleration=block["acceleration"],
            epochs=recipe.epochs,
            batch_size=recipe.batch_size,
            lr=block.get("lr", LEARNING_RATES[paper]),
            augment=recipe.augment,
            lr_schedule=recipe.lr_schedule,
            preset=block.get("preset", PRESET_OF[paper]),
            switches={name: block[name] for name in ("teacher_network", "student_network") if name in block},
        )
        networks: list[tuple[tuple[str, ...], list[float]]] = [
            ((role,), block[role]) for role in ROLES if role in block
        ]
        for key, (teacher, init) in DISTILLED.items():
            networks += [(("student", teacher, method, init), values) for method, values in block.get(key, {}).items()]
        resolution = block.get("resolution") or usual_resolution(dataset) or ""
        metrics = block.get("metrics", [metric.name for metric in PUBLISHED])
        for network, numbers in networks:
            values, spreads = (dict(zip(metrics, part)) for part in (numbers, numbers[len(metrics) :]))
            yield Figure(block["source"], Experiment.of(parameters, resolution, *network), values, spreads)


def _same(figure: Figure, own: Row) -> bool:
    """Whether a row of the run is the network of a published figure, trained with whatever recipe."""
    paper = columns(figure.experiment)
    if any(str(own[name]) != paper[name] for name in IDENTIFYING):
        return False
    switches = asdict(figure.experiment.switches)
    del switches["selection"]  # of the epoch that is kept, and of whom it is reported on: the split may differ anyway
    return all(own.get(name, value) == value for name, value in switches.items())


def _status(paper: Row, own: Row) -> str:
    """Whether the paper's figure was reproduced, or what was not as in the paper."""
    departures = []
    if own["resolution"] != paper["resolution"]:
        departures.append(f"{own['resolution']} pixels, not {paper['resolution']}")
    recipe = () if own["model"] in BASELINES else ("epochs", "batch_size", "lr", "lr_schedule", "augment")
    departures += [f"{name} {own[name]}, not {paper[name]}" for name in recipe if own[name] != paper[name]]
    return f"attempted: {', '.join(departures)}" if departures else "reproduced"

"""The papers' own figures, and those of a run beside them where data set and acceleration are the same."""

import tomllib
from dataclasses import asdict

import pandas as pd

from kdrecon.choices import BASELINES
from kdrecon.metrics import PUBLISHED
from kdrecon.runs.experiment import usual_resolution
from kdrecon.runs.switches import Switches, matched_start
from kdrecon.storage.places import LIBRARY
from kdrecon.training.recipe import Recipe

SOURCE = LIBRARY / "results" / "published.toml"
FIGURES = tuple(metric.name for metric in PUBLISHED)
PRESET_OF = {"gayathri2023": "paper", "murugesan2020": "kd_mri"}
LEARNING_RATES = {"gayathri2023": 1e-3, "murugesan2020": 1e-4}
DISTILLED = {  # teacher and first weights of the students in each block of figures
    **{teacher: (teacher, matched_start(teacher)) for teacher in ("standard", "sft")},
    "sft_random_init": ("sft", "random"),
}
IDENTIFYING = ["dataset", "acceleration", "model", "network", "teacher", "method", "init"]


def published() -> pd.DataFrame:
    """Every published figure: source, what identifies the network (columns of summary.csv), PSNR in dB, SSIM.

    The papers do not state whether a figure is a mean over slices or over volumes. What they print behind +/- for trained
    networks is left out: 2 standard deviations over volumes, by the released code.
    """
    rows = []
    for block in tomllib.loads(SOURCE.read_text(encoding="utf-8"))["figures"]:
        network = {key: block[key] for key in ("source", "dataset", "acceleration")}
        student, teacher = block.get("student_network", "D3C5"), block.get("teacher_network", "D5C5")
        alone = {name: name for name in BASELINES} | {"teacher": teacher, "student": student, "sft_teacher": teacher}
        network |= {"teacher_network": teacher, "teacher": "", "method": "", "init": "random"}
        for role, architecture in alone.items():
            if role in block:
                rows.append(network | {"model": role, "network": architecture} | _figures(block[role]))
        for key, (kind, init) in DISTILLED.items():
            for method, values in block.get(key, {}).items():
                distilled = {"model": "student", "network": student, "teacher": kind, "method": method, "init": init}
                rows.append(network | distilled | _figures(values))
    return pd.DataFrame(rows)


def beside_published(summary: pd.DataFrame) -> pd.DataFrame:
    """The published figures for the data sets and accelerations of a run, with the run's own where it has them.

    A row of the run counts as the same network where architecture, teacher, method, init and the switches of the paper's
    preset agree. status is "reproduced" where recipe and resolution are the paper's, too; "attempted", followed by what
    is not, where they are not; else "not attempted".

    Args:
        summary: of :func:`kdrecon.results.tables.summary`.

    Returns:
        source, the identifying columns, published_psnr, published_ssim, psnr, ssim, seed, status; empty for data that
        no paper reports.
    """
    places = set(zip(summary.dataset, summary.acceleration))
    rows = []
    for figure in published().to_dict("records"):
        if (figure["dataset"], figure["acceleration"]) in places:
            row = {key: figure[key] for key in ("source", *IDENTIFYING)}
            row |= {f"published_{name}": figure[name] for name in FIGURES}
            attempts = [own for own in summary.to_dict("records") if _same(figure, own)]
            for own in attempts:
                rows.append(row | {key: own[key] for key in (*FIGURES, "seed")} | {"status": _status(figure, own)})
            if not attempts:
                rows.append(row | {"status": "not attempted"})
    return pd.DataFrame(rows)


def _figures(values: list[float]) -> dict[str, float]:
    return dict(zip(FIGURES, values))


def _paper(figure: dict) -> str:
    return figure["source"].split(",")[0]


def _same(figure: dict, own: dict) -> bool:
    """Whether a row of the run is the network of a published figure, trained with whatever recipe."""
    if any(str(own[key]) != figure[key] for key in IDENTIFYING):
        return False
    chosen = Switches.of(PRESET_OF[_paper(figure)], {"teacher_network": figure["teacher_network"]})
    switches = asdict(chosen.acting_on(figure["model"], figure["teacher"], figure["init"]))
    return all(own.get(name, value) == value for name, value in switches.items())


def _status(figure: dict, own: dict) -> str:
    """ "reproduced", or what was not as in the paper."""
    resolution = usual_resolution(figure["dataset"])
    departures = [f"{own['resolution']} pixels, not {resolution}"] * (own["resolution"] != resolution)
    if own["model"] not in BASELINES:
        recipe = Recipe(lr=LEARNING_RATES[_paper(figure)])
        wanted = {name: getattr(recipe, name) for name in ("epochs", "batch_size", "lr")}
        departures += [f"{name} {own[name]:g}, not {value:g}" for name, value in wanted.items() if own[name] != value]
    return f"attempted: {', '.join(departures)}" if departures else "reproduced"

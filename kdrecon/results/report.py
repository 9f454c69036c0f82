"""The page of a run: its answer first, then figures, tables, links, parameters.

>>> from pathlib import Path
>>> from kdrecon.results.report import write_results
>>> write_results(Path("run"))
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: run holds no evaluated experiment: expected experiments/*/acc_*/*/metrics.csv; run first
"""

import base64
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import jinja2
import numpy as np
import pandas as pd

from kdrecon.choices import BASELINES, MARGIN
from kdrecon.errors import InputError
from kdrecon.metrics import PSNR
from kdrecon.results.answer import answer
from kdrecon.results.archive import damaged
from kdrecon.results.comparisons import notes, write_comparisons
from kdrecon.results.display import (
    filled,
    formatted,
    formatted_comparisons,
    formatted_components,
    formatted_published,
    formatted_settings,
    formatted_volumes,
)
from kdrecon.results.forest import Axis, forest
from kdrecon.results.names import PLACE
from kdrecon.results.published import beside_published, published_figures
from kdrecon.results.references import AGAINST
from kdrecon.results.tables import volume_wise, write_summary
from kdrecon.runs.experiment import sides
from kdrecon.storage.files import visible, write_table, write_text
from kdrecon.storage.places import LIBRARY
from kdrecon.storage.records import read_text
from kdrecon.training.recipe import Recipe

PAGE = jinja2.Environment(
    loader=jinja2.FileSystemLoader(LIBRARY / "results", encoding="utf-8"),
    undefined=jinja2.StrictUndefined,
    autoescape=True,
    trim_blocks=True,
)


def write_results(
    run_root: Path,
    against: Mapping[str, object] | None = None,
    by_volume: bool = False,
    margin: float = MARGIN[PSNR.name],
) -> list[str]:
    """Write summary.csv, comparisons.csv and report.html of a run anew from the experiments and notebooks in it.

    What cannot be read is left out and named, on the page too.

    Args:
        run_root: folder of the run.
        against: a further reference of the comparisons, see :func:`kdrecon.results.comparisons.comparisons`.
        by_volume: write {run_root}/volume_wise.csv and its section of the page, too.
        margin: in dB of PSNR, below which networks are taken for equal.

    Returns:
        a message for each file that was left out.

    Raises:
        InputError: the folder holds no evaluated experiment, or no network is what ``against`` asks for.
    """
    left_out = damaged(run_root)
    volumes = volume_wise(run_root, left_out) if by_volume else None
    compared = write_comparisons(run_root, against, margin)
    if volumes is not None and len(volumes):
        write_table(volumes, run_root / "volume_wise.csv")
    write_report(run_root, write_summary(run_root), compared, volumes, left_out)
    for message in left_out:
        print(f"left out: {message}", file=sys.stderr)
    return left_out


def write_report(
    out: Path,
    summary: pd.DataFrame,
    compared: pd.DataFrame | None = None,
    volumes: pd.DataFrame | None = None,
    left_out: Sequence[str] = (),
) -> Path:
    """Write {out}/report.html, self-contained but for the links to the executed notebooks.

    Args:
        out: folder of a run, with params.yaml, figures/*.png and notebooks/*.html as far as they are there.
        summary: the table of :func:`kdrecon.results.tables.summary`.
        compared: the table of :func:`kdrecon.results.comparisons.comparisons`.
        volumes: the table of :func:`kdrecon.results.tables.volume_wise`.
        left_out: messages about what the tables lack.

    Returns:
        the path of the page.
    """
    page = PAGE.get_template("report.html.j2").render(
        **_about(summary),
        **_beside_published(summary),
        name=out.name,
        left_out=left_out,
        **(_first(compared) if compared is not None else {"first": [], "axis": None}),
        table=filled(formatted(summary)),
        settings=filled(formatted_settings(summary)),
        comparisons=_comparisons(compared) if compared is not None else [],
        volumes=formatted_volumes(volumes) if volumes is not None and len(volumes) else None,
        figures={path.stem: _figure(path) for path in visible(out / "figures", "*.png")},
        notebooks=visible(out / "notebooks", "*.html"),
        parameters=_parameters(out / "params.yaml"),
    )
    path = out / "report.html"
    write_text(path, page)
    return path


def _about(summary: pd.DataFrame) -> dict[str, Any]:
    """What the head of the page says of data and trainings."""
    trained, places = summary[~summary.model.isin(BASELINES)], summary.drop_duplicates(list(PLACE))
    sizes = [" x ".join(map(str, sides(resolution))) for resolution in places.resolution]
    told = zip(places.dataset, places.acceleration, sizes, places.split, places.n)
    return {
        "data": "; ".join("{}, {}, {}, {} split, {} slices".format(*place) for place in told),
        "epochs": int(summary.epochs[summary.model != "control"].max()),
        "paper_epochs": Recipe().epochs,
        "seeds": summary.seed.astype(str).str.split(", ").map(len).max(),
        "arithmetic": sorted({f"{p} ({layout})" for p, layout in zip(trained.precision, trained.layout) if p}),
    }


def _beside_published(summary: pd.DataFrame) -> dict[str, Any]:
    """The papers' figures beside the run's; without any for its data, what there is of both."""
    table = beside_published(summary)
    of_run, of_papers = (list(dict.fromkeys(t.dataset + " " + t.acceleration)) for t in (summary, published_figures()))
    return {
        "published": formatted_published(table) if len(table) else None,
        "own_data": of_run,
        "published_data": of_papers,
    }


def _first(compared: pd.DataFrame) -> dict[str, Any]:
    """What the page opens with: of each place its answer and its forest plots, all on one axis."""
    table = compared[compared.metric == PSNR.name]
    axis = Axis.of(np.concatenate([table[name].astype(float) for name in ("difference", "low", "high")]))
    parts = []
    for place, here in _places(table):
        plots = [(kind, [*forest(rows, axis)]) for kind, rows in _kinds(here)]
        parts.append({"place": place, "answer": answer(here), "plots": plots, "notes": notes(here)})
    nothing = [{"place": "", "answer": answer(table), "plots": [], "notes": []}]
    return {"first": parts or nothing, "axis": axis if parts else None}


def _comparisons(compared: pd.DataFrame) -> list[dict[str, Any]]:
    """The tables of the paired comparisons: a part a place and kind of reference."""
    parts = []
    for place, here in _places(compared[compared.metric == PSNR.name]):
        for against, table in _kinds(here):
            part = {
                "against": against,
                "place": place,
                "references": table.reference.unique(),
                "slices": f"{table['n'].max():.0f}",
                "subjects": f"{table.subjects.max():.0f}",
                "seeds": table.seeds.max(),
                "table": formatted_comparisons(table),
                "components": formatted_components(table),
            }
            parts.append(part)
    return parts


def _places(compared: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The comparisons of each place, under its name; "" where there is only one."""
    groups = list(compared.groupby(list(PLACE), sort=False))
    return [(", ".join(map(str, key[:4])) if len(groups) > 1 else "", table) for key, table in groups]


def _kinds(compared: pd.DataFrame) -> list[tuple[str, pd.DataFrame]]:
    """The comparisons with each kind of reference, under what it is."""
    return [(AGAINST.get(str(kind), str(kind)), rows) for kind, rows in compared.groupby("against", sort=False)]


def _figure(path: Path) -> dict[str, str]:
    content = base64.b64encode(path.read_bytes()).decode()
    return {"title": path.stem.replace("_", " ").capitalize(), "name": path.stem, "content": content}


def _parameters(path: Path) -> str:
    """The text of a parameter file, or why it cannot be read; "" where there is none."""
    try:
        return read_text(path, "run again, which writes it anew") if path.exists() else ""
    except InputError as error:
        return str(error)

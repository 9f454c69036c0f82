"""One page about a run: parameters, table, figures, links."""

import base64
import html
from collections.abc import Sequence
from pathlib import Path
from urllib.parse import quote

import numpy as np
import pandas as pd

from kdrecon.errors import InputError
from kdrecon.metrics import METRICS, PSNR, PUBLISHED
from kdrecon.results.comparisons import AGAINST
from kdrecon.results.names import PLACE, network_name
from kdrecon.results.published import IDENTIFYING, beside_published, published
from kdrecon.results.tables import MEANS
from kdrecon.runs.experiment import sides
from kdrecon.storage.files import visible, write_text
from kdrecon.storage.records import read_text

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-size: 14px; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { white-space: normal; vertical-align: bottom; }
th:nth-child(-n+5), td:nth-child(-n+5) { text-align: left; }
.compared th:nth-child(n+2), .compared td:nth-child(n+2) { text-align: right; }
img { max-width: 100%; } .scroll { overflow-x: auto; } .note { background: #fff6dd; padding: .6rem 1rem; }
"""


def write_report(
    out: Path, summary: pd.DataFrame, compared: pd.DataFrame | None = None, volumes: pd.DataFrame | None = None,
    left_out: Sequence[str] = (),
) -> Path:  # fmt: skip
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
    settings = out / "params.yaml"
    try:
        parameters = read_text(settings, "run again, which writes it anew") if settings.exists() else ""
    except InputError as error:
        parameters = str(error)
    first = summary.iloc[0]
    height, width = sides(first.resolution)
    data = f"{first.dataset}, {first.acceleration}, {height} x {width}, {first.split} split"
    figures = "".join(
        f"<h2>{html.escape(path.stem.replace('_', ' ').capitalize())}</h2>"
        f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
        for path in visible(out / "figures", "*.png")
    )
    links = "".join(
        f'<li><a href="notebooks/{quote(path.name)}">{html.escape(path.stem)}</a></li>'
        for path in visible(out / "notebooks", "*.html")
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>kdrecon: {html.escape(out.name)}</title>'
        f"<style>{STYLE}</style><h1>kdrecon: run {html.escape(out.name)}</h1><p>{html.escape(data)}, {first.n} slices.</p>"
        f"{_note(summary)}{''.join(map(_left_out, left_out))}"
        "<h2>Table</h2><p>Mean &plusmn; standard deviation over slices; the data range is each slice's "
        f"target maximum. {_arithmetic(summary)}</p>"
        f'<div class="scroll">{formatted(summary).to_html(index=False, escape=True, border=0)}</div>'
        f"{_comparisons(compared) if compared is not None and len(compared) else ''}"
        f"{_published(summary)}"
        f"{_volume_wise(volumes) if volumes is not None and len(volumes) else ''}"
        f"{figures}<h2>Notebooks as executed</h2><ul>{links}</ul><h2>Parameters</h2>"
        f"<pre>{html.escape(parameters)}</pre></html>"
    )
    path = out / "report.html"
    write_text(path, page)
    return path


def formatted(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary as people read it: a row a model, PSNR and SSIM with standard deviation, the others as means.

    Settings that are the same in all rows are left out.
    """
    described = ["model", "network", "teacher", "method", "init", "epochs", "best_epoch"]
    trained = summary[summary.model != "zero_filled"]
    settings = summary.columns[: summary.columns.get_loc("parameters")]
    described += [name for name in settings if name not in described and trained[name].nunique() > 1]
    table = summary[described].copy()
    for metric in (METRICS[name] for name in PUBLISHED):
        table[metric.heading] = list(map(metric.text, summary[metric.name], summary[f"{metric.name}_sd"]))
        if metric is PSNR and "psnr_seed_sd" in summary:
            table["over seeds"] = ["" if pd.isna(sd) else f"± {PSNR.text(sd)}" for sd in summary.psnr_seed_sd]
    for metric in (METRICS[name] for name in MEANS):
        table[metric.heading] = summary[metric.name].map(metric.text)
    return table.rename(columns={"best_epoch": "best epoch"})


def formatted_comparisons(compared: pd.DataFrame, metric: str = "psnr") -> pd.DataFrame:
    """Comparisons as people read them: a row a network, differences of one metric with interval, spread and verdict."""
    table = compared[compared.metric == metric]
    signed, text = METRICS[metric].signed, METRICS[metric].text
    intervals = zip(table.low, table.high)
    columns = {"network": table.network}
    if table.reference.nunique() > 1:
        columns["reference"] = table.reference
    columns |= {
        "difference": table.difference.map(signed),
        "95 % interval": ["" if np.isnan(low) else f"{signed(low)} to {signed(high)}" for low, high in intervals],
        "SD over seeds": table.seed_sd.map(text),
        "p (Holm)": table.p_holm.map(_p),
        "verdict": table.verdict,
    }
    if (table.against == "student").all():
        columns["below the plain student"] = ["yes" if below is True else "" for below in table.below_student.tolist()]
        columns |= {
            "minus teacher": table.gap_teacher.map(signed),
            "minus SFT teacher": table.gap_sft_teacher.map(signed),
        }
    return pd.DataFrame(columns)


def _p(value: float) -> str:
    if np.isnan(value):
        return ""
    return "< 0.001" if value < 0.001 else f"{value:.3f}"


def _published(summary: pd.DataFrame) -> str:
    """The section that puts the papers' figures beside the run's, or says that there are none for its data."""
    table, title = beside_published(summary), "<h2>Beside the published figures</h2>"
    if not len(table):
        here, known = (
            ", ".join(dict.fromkeys(table.dataset + " " + table.acceleration)) for table in (summary, published())
        )
        return (
            f"{title}<p>No paper reports figures for {html.escape(here)}, so nothing is put beside them. Published are "
            f"{known}; other data and other masks do not compare.</p>"
        )
    several = table.acceleration.nunique() > 1
    shown = pd.DataFrame({"source": table.source + (", " + table.acceleration if several else "")})
    shown["network"] = [network_name(row, [row]) for row in table[IDENTIFYING].to_dict("records")]
    shown["architecture"] = table.network.replace("zero_filled", "")
    for metric in (METRICS[name] for name in PUBLISHED):
        for place, column in (("published", f"published_{metric.name}"), ("here", metric.name)):
            values = table[column] if column in table else pd.Series(np.nan, table.index)
            shown[f"{metric.title} {place}"] = values.map(metric.text)
    shown["status"] = table.status
    return (
        f"{title}<p>Means over the papers' validation data, over volumes by their code, though the papers do not say so. "
        "Reproduced means trained here with the paper's recipe, not that the figures agree; the split may be another one.</p>"
        '<div class="scroll">'
        f"{shown.to_html(index=False, escape=True, border=0)}</div>"
    )


def _volume_wise(volumes: pd.DataFrame) -> str:
    """The section on volume-wise figures, a row a network."""
    table = volumes[["network", "seed", "volumes"]].copy()
    for metric in (METRICS[name] for name in ("psnr", "ssim", "nmse")):
        table[metric.heading] = list(map(metric.text, volumes[metric.name], volumes[f"{metric.name}_sd"]))
    return (
        "<h2>Volume-wise figures</h2><p>One error over all voxels of a volume, range its maximum; mean &plusmn; standard "
        'deviation over volumes. They do not compare with the slice-wise figures above.</p><div class="scroll">'
        f"{table.to_html(index=False, escape=True, border=0, classes='compared')}</div>"
    )


def _comparisons(compared: pd.DataFrame) -> str:
    """The section on paired comparisons: a table a kind of reference, then why something is not shown."""
    parts = [
        "<h2>Comparisons</h2><p>PSNR minus that of the reference in dB, on the same slices, averaged over the seeds that "
        "both have; a mean over subjects, each counted once, so that it can differ from a difference of the table above, "
        "whose means are over slices. Interval and p-value count other subjects and other seeds; with one seed the interval "
        "is about these networks alone and nothing is tested. p-values are corrected by Holm within a table. The other "
        "metrics are in comparisons.csv.</p>"
    ]
    places = compared[compared.metric == "psnr"].groupby([*PLACE, "against"], sort=False)
    several = compared[list(PLACE)].drop_duplicates().shape[0] > 1
    for (*place, against), table in places:
        title = f"Against {AGAINST.get(against, against)}" + (f" ({', '.join(map(str, place[:4]))})" if several else "")
        references = html.escape(", ".join(table.reference.unique()))
        people = (
            f"Reference: {references}. {table['n'].max():.0f} slices of {table.subjects.max():.0f} subject(s), "
            f"{table.seeds.max()} seed(s)"
        )
        notes = "".join(f"<li>{html.escape(note)}</li>" for note in table.note.unique() if note)
        rows = formatted_comparisons(table).to_html(index=False, escape=True, border=0, classes="compared")
        parts.append(f'<h3>{html.escape(title)}</h3><p>{people}.</p><div class="scroll">{rows}</div><ul>{notes}</ul>')
    return "".join(parts)


def _note(summary: pd.DataFrame) -> str:
    epochs = int(summary.epochs[summary.model != "control"].max())
    if epochs >= 150:
        return ""
    return (
        f'<p class="note">A shortened run: {epochs} epochs a training instead of 150, {_seeds(summary)}. It shows the '
        "mechanics; what its differences are worth is said under Comparisons.</p>"
    )


def _left_out(message: str) -> str:
    return f'<p class="note">Left out: {html.escape(message)}</p>'


def _arithmetic(summary: pd.DataFrame) -> str:
    trained = summary[summary.model != "zero_filled"]
    kinds = sorted({f"{row.precision} ({row.layout})" for row in trained.itertuples() if row.precision})
    used = html.escape(" and ".join(kinds))
    return f"Convolutions of the training steps in {used}, every evaluation in fp32." if used else ""


def _seeds(summary: pd.DataFrame) -> str:
    number = summary.seed.astype(str).str.split(", ").map(len).max()
    return "one seed" if number == 1 else f"up to {number} seeds"

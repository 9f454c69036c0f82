"""One page about a run: parameters, table, figures, links."""

import base64
import html
from pathlib import Path

import pandas as pd
import yaml

STYLE = """
body { font: 16px/1.5 system-ui, sans-serif; max-width: 70rem; margin: 2rem auto; padding: 0 1rem; color: #222; }
table { border-collapse: collapse; font-size: 14px; }
th, td { padding: .25rem .7rem; text-align: right; border-bottom: 1px solid #ddd; white-space: nowrap; }
th:nth-child(-n+5), td:nth-child(-n+5) { text-align: left; }
img { max-width: 100%; } .scroll { overflow-x: auto; } .note { background: #fff6dd; padding: .6rem 1rem; }
"""


def write_report(out: Path, summary: pd.DataFrame) -> Path:
    """Write {out}/report.html, self-contained but for the links to the executed notebooks.

    Args:
        out: folder of a run, with params.yaml, figures/*.png and notebooks/*.html as far as they are there.
        summary: the table of :func:`kdrecon.evaluation.summary`.

    Returns:
        the path of the page.
    """
    settings = out / "params.yaml"
    parameters = yaml.safe_load(settings.read_text()) if settings.exists() else {}
    first = summary.iloc[0]
    data = f"{first.dataset}, {first.acceleration}, {first.resolution} x {first.resolution}, {first.split} split"
    figures = "".join(
        f"<h2>{html.escape(path.stem.replace('_', ' ').capitalize())}</h2>"
        f'<img alt="{html.escape(path.stem)}" src="data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}">'
        for path in sorted((out / "figures").glob("*.png"))
    )
    links = "".join(
        f'<li><a href="notebooks/{path.name}">{html.escape(path.stem)}</a></li>'
        for path in sorted((out / "notebooks").glob("*.html"))
    )
    page = (
        f'<!doctype html><html lang="en"><meta charset="utf-8"><title>kdrecon: {html.escape(out.name)}</title>'
        f"<style>{STYLE}</style><h1>kdrecon: run {html.escape(out.name)}</h1><p>{html.escape(data)}, {first.n} slices.</p>"
        f"{_note(summary)}<h2>Table</h2><p>Mean &plusmn; standard deviation over slices; the data range is each slice's "
        f'target maximum.</p><div class="scroll">{formatted(summary).to_html(index=False, escape=True, border=0)}</div>'
        f"{figures}<h2>Notebooks as executed</h2><ul>{links}</ul><h2>Parameters</h2>"
        f"<pre>{html.escape(yaml.safe_dump(parameters, sort_keys=False))}</pre></html>"
    )
    path = out / "report.html"
    path.write_text(page)
    return path


def formatted(summary: pd.DataFrame) -> pd.DataFrame:
    """The summary as people read it: a row a model, PSNR and SSIM with standard deviation, the others as means."""
    table = summary[["model", "network", "teacher", "method", "init", "epochs"]].copy()
    for name, digits in {"psnr": 2, "ssim": 4}.items():
        pairs = zip(summary[name], summary[f"{name}_sd"])
        table[name] = [f"{mean:.{digits}f} ± {sd:.{digits}f}" for mean, sd in pairs]
    for name in ("nmse", "hfn", "vif"):
        table[name] = summary[name].map("{:.4f}".format)
    return table.rename(columns={"psnr": "PSNR (dB)", "ssim": "SSIM", "nmse": "NMSE", "hfn": "HFN", "vif": "VIF"})


def _note(summary: pd.DataFrame) -> str:
    epochs = int(summary.epochs.max())
    if epochs >= 150:
        return ""
    return (
        f'<p class="note">A shortened run: {epochs} epochs a training instead of 150, one seed. It shows the mechanics; '
        "differences of a few tenths of a dB between methods mean nothing here.</p>"
    )

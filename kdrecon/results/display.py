"""Tables as people read them: figures as text, in the digits of their metric.

>>> import pandas as pd
>>> from kdrecon.results.display import formatted_volumes
>>> row = {"network": "student", "seed": 0, "volumes": 2}
>>> row |= {"psnr": 33.333, "psnr_sd": 0.5, "ssim": 0.9, "ssim_sd": 0.01, "nmse": 0.01, "nmse_sd": 0.002}
>>> formatted_volumes(pd.DataFrame([row])).T[0].tolist()
['student', 0, 2, '33.33 ± 0.50', '0.9000 ± 0.0100', '0.0100 ± 0.0020']
"""

import copy
from collections.abc import Iterable
from dataclasses import fields, replace

import numpy as np
import pandas as pd

from kdrecon.choices import BASELINES
from kdrecon.metrics import HFN, METRICS, MSE, NMSE, PSNR, PUBLISHED, SSIM, VIF
from kdrecon.results.names import PLACE, columns, kind_name, kind_of, network_names
from kdrecon.results.statistics import LEVEL
from kdrecon.results.tables import settings
from kdrecon.runs.experiment import Experiment, control_of
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import Network
from kdrecon.runs.record import Record
from kdrecon.runs.switches import Switches, acting_switches, matched_start

MEANS = (NMSE, HFN, VIF)  # metrics of which tables show the mean alone; NMSE stands for MSE, too


def quality_table(
    networks: dict[str, Network], scores: dict[str, pd.DataFrame], reference: str = "student"
) -> pd.DataFrame:
    """Mean +/- standard deviation over slices of each metric, a row a network, as formatted text.

    Args:
        networks: name -> network.
        scores: the same names -> a row a slice, as :func:`kdrecon.results.evaluation.evaluate` returns it.
        reference: the network whose mean PSNR the last column subtracts; not between networks that were trained for
            different numbers of epochs.
    """
    rows = {}
    for name, table in scores.items():
        epochs = networks[name].experiment.epochs
        gap = PSNR.signed(table.psnr.mean() - scores[reference].psnr.mean())
        if 0 < epochs != networks[reference].experiment.epochs > 0:
            gap = "other epochs"
        rows[name] = {
            "epochs": str(epochs or "-"),
            **{m.heading: m.text(table[m.name].mean(), table[m.name].std()) for m in PUBLISHED},
            **{m.heading: m.text(table[m.name].mean()) for m in MEANS},
            f"{PSNR.title} minus {reference} ({PSNR.unit})": "" if name == reference else gap,
        }
    return pd.DataFrame(rows).T


def epochs_note(networks: dict[str, Network]) -> str:
    """Which networks may be compared: a sentence about the numbers of epochs they were trained for.

    Args:
        networks: name -> network.
    """
    groups: dict[int, list[str]] = {}
    for name, network in networks.items():
        if network.experiment.epochs:
            groups.setdefault(network.experiment.epochs, []).append(name)
    if len(groups) < 2:
        return f"All networks: {next(iter(groups), 0)} epochs."
    parts = "; ".join(f"{epochs} epochs: {', '.join(names)}" for epochs, names in sorted(groups.items()))
    return f"Note: only rows with equal epochs compare. {parts}."


def origins(lab: Laboratory, *names: str) -> pd.DataFrame:
    """Where networks come from when a notebook asks for them, without and with ``ready=False``; nothing is trained.

    The epochs of a control follow from its student's: with ``ready=False`` from those of a student of no ready teacher.

    Args:
        names: of :meth:`kdrecon.runs.laboratory.Laboratory.named`, of networks that are trained; by default those of the
            lessons, with the laboratory's methods.

    Returns:
        a row a network; one column, origin, where ``ready=False`` makes no difference to any of them.

    Raises:
        InputError: as :meth:`kdrecon.runs.laboratory.Laboratory.outlook`.
    """
    keys = lab.parameters.methods
    distilled = [f"{kind}-{key}" for kind in ("kd", "sftkd") for key in keys]
    without = copy.copy(lab)
    without.parameters = replace(lab.parameters, ready=False)
    rows = {}
    for name in names or ("teacher", "student", "sft", *distilled, f"control-sftkd-{keys[0]}"):
        equal, _ = control_of(name)
        found = [lab.outlook(name), without.outlook(name) if equal else lab.outlook(name, ready=False)]
        experiment, _ = found[0]
        rows[kind_of(columns(experiment))] = [_origin(*each) for each in found]
    table = pd.DataFrame.from_dict(rows, orient="index", columns=["without ready=False", "with ready=False"])
    if (table.iloc[:, 0] == table.iloc[:, 1]).all():
        return table.iloc[:, :1].set_axis(["origin"], axis=1)
    return table


def _origin(experiment: Experiment, record: Record | None) -> str:
    known = {"ready": "ready-made", "released": "of the released code"}
    begun = "begun here, goes on when asked for" if record else "trained here when asked for"
    where = known.get(record.origin, "trained in this run") if record and record.finished else begun
    return f"{where}: {experiment.epochs} epochs, seed {experiment.seed}"


def formatted(summary: pd.DataFrame) -> pd.DataFrame:
    """What networks reach, as people read it: a row a model, PSNR and SSIM with standard deviation, the others as means."""
    table = _named(summary)
    for metric in PUBLISHED:
        table[metric.heading] = list(map(metric.text, summary[metric.name], summary[f"{metric.name}_sd"]))
        if metric is PSNR and "psnr_seed_sd" in summary:
            spread = ["" if pd.isna(sd) else f"± {PSNR.text(sd)}" for sd in summary.psnr_seed_sd]
            table[f"over seeds ({PSNR.unit})"] = spread
    for metric in MEANS:
        table[metric.heading] = summary[metric.name].map(metric.text)
    return table


def formatted_settings(summary: pd.DataFrame) -> pd.DataFrame:
    """What was trained, as people read it: a row a model, its size, epochs and seeds, and every setting that differs.

    Settings that are the same for all trained networks on which they act are left out.
    """
    acting = _acting(summary)
    fixed = {
        "architecture": "network",
        "parameters": "parameters",
        "epochs": "epochs",
        "best epoch": "best_epoch",
        "seeds": "seed",
    }
    told = {*fixed.values(), *PLACE, "model", "teacher", "method", "data"}
    differing = [name for name in (*settings(summary), "precision") if name not in told and acting[name].nunique() > 1]
    table = _named(summary).assign(**{title: summary[name] for title, name in fixed.items()})
    table = table.assign(**acting[differing].fillna(""))
    table["architecture"] = summary.network.where(~summary.model.isin(BASELINES), "")
    return table


def _acting(summary: pd.DataFrame) -> pd.DataFrame:
    """The settings of a summary, none where one makes no difference to a network."""
    table = summary[[*settings(summary), "precision"]].astype(object)
    switches = {field.name for field in fields(Switches)}
    for at, row in summary.iterrows():
        student = row.student_network if row.model == "sft_teacher" else row.network
        acting = acting_switches(student, row.model, row.teacher, row.init, row.method)
        idle = (set(table) if row.model in BASELINES else switches).difference(acting)
        table.loc[at, [name for name in table if name in idle]] = None
    return table


def _named(summary: pd.DataFrame) -> pd.DataFrame:
    """The networks of a summary by their names, and where there are several, by data set, acceleration, size and split."""
    columns = summary[settings(summary)].astype(object).where(summary[settings(summary)].notna(), "")
    groups = [beside for _, beside in columns.groupby(list(PLACE), sort=False)]
    rows = [
        [{str(name): value for name, value in row.items()} for row in beside.to_dict("records")] for beside in groups
    ]
    names = pd.concat([pd.Series(network_names(here), beside.index) for here, beside in zip(rows, groups)])
    several = [name for name in PLACE[:4] if summary[name].nunique() > 1]
    return pd.DataFrame({"network": names}, summary.index).join(summary[several])


def filled(table: pd.DataFrame) -> pd.DataFrame:
    """The columns of formatted text that say something in some row."""
    return table.loc[:, (table != "").any()]


def formatted_comparisons(compared: pd.DataFrame, metric: str = "psnr") -> pd.DataFrame:
    """Comparisons as people read them: a row a network, differences of one metric with interval, spread and verdict.

    Columns that are empty in all rows are left out, and the verdict where nothing is tested.
    """
    table = compared[compared.metric == metric]
    known = METRICS[metric]
    signed, text, unit = known.signed, known.text, f" ({known.unit})" if known.unit else ""
    intervals = zip(table.low, table.high)
    columns: dict[str, Iterable[object]] = {"network": table.network}
    if table.reference.nunique() > 1:
        columns["reference"] = table.reference
    columns |= {
        f"difference{unit}": table.difference.map(signed),
        f"95 % interval{unit}": [
            "" if np.isnan(low) else f"{signed(low)} to {signed(high)}" for low, high in intervals
        ],
        f"SD over seeds{unit}": table.seed_sd.map(text),
        "p (Holm)": table.p_holm.map(_p),
        "verdict": table.verdict,
        f"equal within {table.margin.max():g}{unit}": [
            "yes" if equal is True else "" for equal in table.equal.tolist()
        ],
    }
    if (table.against == "student").all():
        columns["below the plain student"] = ["yes" if below is True else "" for below in table.below_student.tolist()]
        columns |= {
            f"minus teacher{unit}": table.gap_teacher.map(signed),
            f"minus SFT teacher{unit}": table.gap_sft_teacher.map(signed),
        }
    shown = pd.DataFrame(columns)
    return filled(shown.drop(columns="verdict") if (table.verdict == "not tested").all() else shown)


def _p(value: float) -> str:
    """A p-value in three decimals; one that led to a verdict never reads as the level itself."""
    if np.isnan(value):
        return ""
    text = f"{value:.3f}"
    limit = 0.001 if value < 0.001 else LEVEL if value < LEVEL <= float(text) else None
    return f"< {limit}" if limit else text


def formatted_components(compared: pd.DataFrame, metric: str = "psnr") -> pd.DataFrame:
    """What the differences vary by, as people read it: over people, over seeds, and by what neither explains."""
    table = compared[(compared.metric == metric) & compared.sd_people.notna()]
    known = METRICS[metric]
    titles = {"sd_people": "people", "sd_seeds": "seeds", "sd_interaction": "interaction"}
    columns = {
        f"{title} ({known.unit})" if known.unit else title: table[name].map(known.text)
        for name, title in titles.items()
    }
    return filled(pd.DataFrame({"network": table.network, "reference": table.reference} | columns))


def formatted_published(table: pd.DataFrame) -> pd.DataFrame:
    """Published figures and those of a run, as :func:`kdrecon.results.published.beside_published` returns them."""
    several = table.acceleration.nunique() > 1
    shown = pd.DataFrame({"source": table.source + (", " + table.acceleration if several else "")})
    kinds = map(kind_name, table.model, table.teacher, table.method)
    students = zip(table.teacher, table.init)
    starts = ["" if init == matched_start(teacher) else f", init {init}" for teacher, init in students]
    shown["network"] = [kind + start for kind, start in zip(kinds, starts)]
    shown["architecture"] = table.network.replace(list(BASELINES), "")
    for metric in (metric for metric in METRICS.values() if f"published_{metric.name}" in table):
        for place, column in (("published", f"published_{metric.name}"), ("here", metric.name)):
            values = table[column] if column in table else pd.Series(np.nan, table.index)
            shown[f"{metric.title} {place}"] = values.map(_small if metric is MSE else metric.text)
    return shown.assign(status=table.status)


def _small(value: float) -> str:
    return "" if np.isnan(value) else f"{value:.3e}"


def formatted_volumes(volumes: pd.DataFrame) -> pd.DataFrame:
    """Volume-wise figures as people read them: a row a network."""
    several = [name for name in PLACE[:4] if name in volumes and volumes[name].nunique() > 1]
    table = volumes[["network", *several, "seed", "volumes"]].copy()
    for metric in (PSNR, SSIM, NMSE):
        table[metric.heading] = list(map(metric.text, volumes[metric.name], volumes[f"{metric.name}_sd"]))
    return table

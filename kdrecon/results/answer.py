"""The answer of a run, in one sentence: whether distillation helped, from the data, with its uncertainty.

>>> import pandas as pd
>>> from kdrecon.results.answer import answer
>>> row = {"against": "control", "network": "SFT-KD AT", "metric": "psnr", "difference": 0.2, "low": 0.1, "high": 0.3}
>>> row |= {"verdict": "better", "equal": False, "subjects": 9, "seeds": 3, "steps": 200, "reference_steps": 200}
>>> answer(pd.DataFrame([row]))[:75]
'Distillation helped here: against a student trained alone for as many steps'
"""

from collections.abc import Iterable

import pandas as pd

from kdrecon.metrics import PSNR
from kdrecon.results.names import DISTILLED
from kdrecon.results.statistics import LEAST_SUBJECTS

FAIREST = (
    "cost",
    "control",
    "student",
)  # of kdrecon.results.references.AGAINST: a student is held against the first it has
LEADS, LAGS = "better with more steps behind it", "worse with fewer steps behind it"  # which is neither help nor harm
PARTLY = "better, but not shown to beat every student trained alone"


def answer(compared: pd.DataFrame) -> str:
    """Whether distillation helped: each distilled student against the fairest student trained alone that the run has.

    It helped where a student is shown to be better than every student trained alone that the run has for it, one of which
    took as many steps: a control that is worse than the plain student proves as little as a plain student of fewer steps.

    Args:
        compared: the rows of :func:`kdrecon.results.comparisons.comparisons` for one place; PSNR is told.

    Returns:
        one sentence; the verdicts in it are those of the comparisons' tables.
    """
    rows = _fairest(compared[compared.metric == PSNR.name])
    if rows.empty:
        return "Whether distillation helps was not asked here: no distilled student stands beside one trained alone."
    alone, tested = _alone(rows), rows[rows.verdict != "not tested"]
    rows["verdict"] = rows.verdict.mask((rows.verdict == "not shown") & rows.equal.eq(True), "equal")
    known = ("better", "worse", "equal", PARTLY, LEADS, LAGS)
    shown = [told for verdict in known if len(told := rows[rows.verdict == verdict])]
    if shown:
        parts = [f"{_are(told, rows)} {_verdict(told)}, at {_effect(told)}" for told in shown]
        if len(rows) > sum(map(len, shown)):
            parts.append("nothing is shown of the rest")
        return f"{_opening(shown)}: against {alone}, {', '.join(parts)}."
    if len(tested):
        return f"Whether distillation helps cannot be told here: {_lie(tested, alone)}, and no difference is shown."
    return f"Whether distillation helps was not tested here: {_untested(rows, alone)}."


def _fairest(rows: pd.DataFrame) -> pd.DataFrame:
    """Of each distilled student the comparison with the fairest reference, in the order of the tables.

    A verdict that says nothing about distillation says so.
    """
    ours = rows[rows.network.str.startswith(tuple(DISTILLED.values())) & rows.against.isin(FAIREST)]
    ours = ours.sort_values("against", key=lambda kinds: kinds.map(FAIREST.index), kind="stable")
    fairest = ours.drop_duplicates("network").sort_index()
    unbeaten = fairest.network.isin(ours.network[ours.verdict != "better"])
    better, worse, lead = fairest.verdict == "better", fairest.verdict == "worse", _lead(fairest)
    verdicts = fairest.verdict.mask(better & unbeaten, PARTLY).mask(better & (lead > 0), LEADS)
    return fairest.assign(verdict=verdicts.mask(worse & (lead < 0), LAGS))


def _lead(rows: pd.DataFrame) -> pd.Series:
    """How many steps more lie behind a network than behind its plain student; none beside a control of any kind."""
    return (rows.steps - rows.reference_steps).where(rows.against == "student", 0)


def _alone(rows: pd.DataFrame) -> str:
    """The references of rows in words, and what is unfair about them."""
    cost, lead = rows.against == "cost", _lead(rows)
    unfair = rows[lead != 0]
    amount = " or ".join(["fewer"] * bool((lead > 0).any()) + ["more"] * bool((lead < 0).any()))
    if len(unfair) == len(rows):
        return f"the plain student, which took {amount} steps (this run has no control)"
    as_much = " or ".join(["at equal cost"] * bool(cost.any()) + ["for as many steps"] * (not cost.all()))
    equal = f"a student trained alone {as_much}"
    return equal if unfair.empty else f"{equal} ({amount} beside {' and '.join(unfair.network)}: no control)"


def _opening(shown: list[pd.DataFrame]) -> str:
    verdicts = {told.verdict.iloc[0] for told in shown}
    if {"better", "worse"} <= verdicts:
        return "Whether distillation helps depends on the method here"
    effects = {"better": "helped", "worse": "did harm", "equal": "made no difference"}
    effect = next((effects[verdict] for verdict in effects if verdict in verdicts), "")
    return f"Distillation {effect} here" if effect else "Whether distillation helps cannot be told here"


def _are(told: pd.DataFrame, rows: pd.DataFrame) -> str:
    """Which of the distilled students, with the verb: "SFT-KD AT is", "3 of 5 distilled students are"."""
    if len(rows) == 1:
        return f"{rows.network.iloc[0]} is"
    named = f" ({told.network.iloc[0]})" if len(told) == 1 else ""
    return f"{len(told)} of {len(rows)} distilled students{named} {'is' if len(told) == 1 else 'are'}"


def _verdict(told: pd.DataFrame) -> str:
    verdict = told.verdict.iloc[0]
    return f"equal within {told.margin.iloc[0]:g} {PSNR.unit}" if verdict == "equal" else verdict


def _lie(rows: pd.DataFrame, alone: str) -> str:
    """Where rows lie: "SFT-KD AT lies +0.05 dB PSNR (1 subject, 1 seed) from the plain student"."""
    who = f"{rows.network.iloc[0]} lies" if len(rows) == 1 else f"{len(rows)} distilled students lie"
    return f"{who} {_effect(rows)} from {alone}"


def _effect(rows: pd.DataFrame) -> str:
    """The differences of rows with their intervals, and over how many subjects and seeds."""
    about = f"{_counted(rows.subjects, 'subject')}, {_counted(rows.seeds, 'seed')}"
    if rows.low.notna().any():
        within = "interval" if len(rows) == 1 else "intervals within"
        about = f"95 % {within} {_range([rows.low.min(), rows.high.max()])}; {about}"
    return f"{_range(rows.difference)} {PSNR.unit} {PSNR.title} ({about})"


def _untested(rows: pd.DataFrame, alone: str) -> str:
    """What there is where nothing is tested, and what a test takes."""
    paired = rows[rows.difference.notna()]
    if paired.empty:
        return f"no distilled student shares seed and slices with {alone}"
    needs = {f"{LEAST_SUBJECTS} subjects": paired.subjects, "2 seeds": paired.seeds}
    needed = [what for what, counts in needs.items() if counts.max() < int(what.split()[0])]
    return f"{_lie(paired, alone)}, and what others would give takes at least {' and '.join(needed)}"


def _range(values: Iterable[float]) -> str:
    return " to ".join(dict.fromkeys(map(PSNR.signed, (min(values), max(values)))))


def _counted(values: pd.Series, unit: str) -> str:
    low, high = int(values.min()), int(values.max())
    return f"{low} {unit}{'s' * (low != 1)}" if low == high else f"{low} to {high} {unit}s"

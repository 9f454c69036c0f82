"""Is one network better than another? Paired differences of the same slices, with subjects and seeds as the units.

Slices of one subject resemble each other, so a test that counts slices takes one person for many and finds
"significant" differences everywhere. Here a slice is compared with itself, but only subjects and seeds are counted.
"""

from collections.abc import Mapping, Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from kdrecon.errors import InputError
from kdrecon.metrics import METRICS

LEAST_SUBJECTS = 6
LEVEL = 0.05
RESAMPLES = 10_000
LOWER_IS_BETTER = ("nmse", "mse", "hfn")


class Paired(NamedTuple):
    """A mean paired difference, its interval and p-value over subjects (NaN below :data:`LEAST_SUBJECTS`)."""

    difference: float
    low: float
    high: float
    p: float
    subjects: int
    n: int


class Spread(NamedTuple):
    """Standard deviation of a network's mean over seeds, pooled over networks, and its degrees of freedom."""

    sd: float
    freedom: int


def paired(difference: Sequence[float], subject: Sequence[str]) -> Paired:
    """Mean of slice-wise differences, with interval and test clustered by subject.

    The estimate is the mean over all slices, the difference of the means in the tables. The test is Wilcoxon's signed
    rank test on the subjects' mean differences d_1 .. d_n, exact where there are no ties: subjects are independent of
    each other, their slices are not. It asks whether the d_i lie symmetrically around 0; two-sided, its p-value is
    never below 2 / 2^n. The interval is that of :func:`subject_interval`.

    Args:
        difference: network minus reference, a value a slice (N,).
        subject: who was scanned, a name a slice (N,).

    Returns:
        difference, low, high, p, number of subjects, n of slices. Below six subjects p, low and high are NaN: no
        outcome of the test could be below 0.05, and resampling five people or fewer does not tell about a sixth.

    Raises:
        InputError: a difference is not finite, no slice, or arrays of different length.

    Source: Wilcoxon 1945.
    """
    values = np.asarray(difference, np.float64)
    if values.ndim != 1 or len(values) != len(subject) or not len(values):
        raise InputError(f"{values.shape} differences of {len(subject)} subjects' slices: expected one of each a slice")
    if not np.isfinite(values).all():
        raise InputError(
            f"{(~np.isfinite(values)).sum()} of {len(values)} differences are NaN or infinite: expected finite metrics; "
            "is a reconstruction equal to its target?"
        )
    people = pd.Series(values).groupby(np.asarray(subject, str)).agg(["sum", "count"])
    mean, n = float(values.mean()), len(people)
    if n < LEAST_SUBJECTS:
        return Paired(mean, np.nan, np.nan, np.nan, n, len(values))
    means = (people["sum"] / people["count"]).to_numpy()
    p = float(stats.wilcoxon(means).pvalue) if means.any() else 1.0
    low, high = subject_interval(people["sum"].to_numpy(), people["count"].to_numpy())
    return Paired(mean, low, high, p, n, len(values))


def subject_interval(totals: np.ndarray, slices: np.ndarray) -> tuple[float, float]:
    """95 % bootstrap interval of a mean over slices: whole subjects are drawn with replacement, with all their slices.

    The plain percentile interval is too narrow for few subjects. Its quantiles are therefore moved outwards to
    Phi(-+ sqrt(n / (n - 1)) t_{0.975, n - 1}), which makes it as wide as a t interval where the data are normal (the
    expanded percentile interval). In 600 simulated studies of six subjects it held the truth 94 times in 100, the
    plain one 87 times. The draws are the same in every call.

    Args:
        totals: sum over its slices of each subject's differences (n,), n >= 2.
        slices: number of slices of each subject (n,).

    Source: Efron 1979; Hesterberg 2015.
    """
    n = len(totals)
    draws = np.random.default_rng(0).integers(0, n, (RESAMPLES, n))
    means = totals[draws].sum(1) / slices[draws].sum(1)
    tail = stats.norm.cdf(-np.sqrt(n / (n - 1)) * stats.t.ppf(1 - LEVEL / 2, n - 1))
    low, high = np.quantile(means, [tail, 1 - tail])
    return float(low), float(high)


def holm(p: Sequence[float]) -> np.ndarray:
    """Holm's correction: the i-th smallest of m p-values becomes max_{j <= i} min(1, (m - j + 1) p_(j)).

    The chance of one false claim among all m stays below the level that the result is compared with. NaN (not tested)
    stays NaN and is not counted.

    Source: Holm 1979.
    """
    values = np.asarray(p, np.float64)
    tested = np.flatnonzero(~np.isnan(values))
    order = tested[np.argsort(values[tested], kind="stable")]
    corrected = np.full_like(values, np.nan)
    factors = np.arange(len(order), 0, -1)
    corrected[order] = np.maximum.accumulate(np.minimum(1, factors * values[order]))
    return corrected


def seed_spread(means: Sequence[Sequence[float]]) -> Spread:
    """Pooled standard deviation over seeds, s^2 = sum_c sum_k (m_ck - mean_c)^2 / sum_c (K_c - 1).

    Args:
        means: for each network c its mean metric by seed, m_c1 .. m_cK.

    Returns:
        s and its degrees of freedom; NaN and 0 where no network has two seeds.
    """
    freedom = sum(len(values) - 1 for values in means)
    squares = sum(float(np.var(values)) * len(values) for values in means)
    return Spread(np.sqrt(squares / freedom), freedom) if freedom else Spread(np.nan, 0)


def limit(interval: tuple[float, float], spread: Spread, seeds: int) -> float:
    """The difference below which nothing is shown: what other subjects and other seeds alone could produce.

    sqrt(h_subjects^2 + h_seeds^2), with h_subjects half the width of the interval over subjects and h_seeds =
    t_{0.975, f} s sqrt(2 / K), where s (f degrees of freedom) is the spread over seeds and both networks were trained
    with K seeds. A part that is unknown (fewer than six subjects; one seed) is left out, so that the limit is then a
    lower bound; NaN where both are.

    Args:
        interval: low and high over subjects.
        spread: of :func:`seed_spread`.
        seeds: K.
    """
    parts = [(interval[1] - interval[0]) / 2]
    if spread.freedom:
        parts.append(stats.t.ppf(1 - LEVEL / 2, spread.freedom) * spread.sd * np.sqrt(2 / seeds))
    known = [part for part in parts if np.isfinite(part)]
    return float(np.sqrt(np.square(known).sum())) if known else np.nan


def compare(scores: Mapping[str, pd.DataFrame | Mapping[int, pd.DataFrame]], reference: str, metric: str = "psnr"):
    """Compare every network with one of them: a row a network.

    Args:
        scores: name -> a row a slice, as :func:`kdrecon.evaluation.evaluate` returns it, or several of them by seed.
        reference: the name of the network that the others are compared with.
        metric: a column of the tables.

    Returns:
        what :func:`judged` returns, indexed by name, without the reference.

    Raises:
        InputError: unknown reference or metric, or tables that are not of the same slices.
    """
    if reference not in scores:
        raise InputError(f"reference {reference!r} is unknown: expected one of {', '.join(scores)}")
    by_seed = {name: {0: table} if isinstance(table, pd.DataFrame) else table for name, table in scores.items()}
    rows = {name: pair(tables, by_seed[reference], metric) for name, tables in by_seed.items() if name != reference}
    spread = seed_spread([[table[metric].mean() for table in tables.values()] for tables in by_seed.values()])
    return judged(pd.DataFrame.from_dict(rows, orient="index"), spread, metric)


def pair(network: Mapping[int, pd.DataFrame], reference: Mapping[int, pd.DataFrame], metric: str) -> dict:
    """One comparison: slice by slice, for the seeds that both networks were trained with, averaged over these seeds.

    Returns:
        seeds, subjects, n (slices), mean, reference_mean, difference, low, high, seed_sd (standard deviation over seeds of
        the difference), p.

    Raises:
        InputError: the metric is unknown, no common seed, or tables that are not of the same slices.
    """
    if metric not in METRICS:
        raise InputError(f"metric {metric!r} is unknown: expected one of {', '.join(METRICS)}")
    seeds = sorted(network.keys() & reference.keys())
    if not seeds:
        raise InputError(
            f"seeds {sorted(network)} and {sorted(reference)} of the reference: expected a common one; train both with it"
        )
    key = ["volume", "slice", "subject"]
    ours, theirs = ([tables[seed].set_index(key)[metric].sort_index() for seed in seeds] for tables in (network, reference))
    if any(not table.index.equals(ours[0].index) for table in ours + theirs):
        raise InputError("network and reference were not evaluated on the same slices: expected one split of one data set")
    differences = [a - b for a, b in zip(ours, theirs)]
    result = paired(sum(differences).to_numpy() / len(seeds), ours[0].index.get_level_values("subject"))
    by_seed = [difference.mean() for difference in differences]
    return {
        "seeds": len(seeds),
        "mean": float(np.mean(ours)),
        "reference_mean": float(np.mean(theirs)),
        "seed_sd": float(np.std(by_seed, ddof=1)) if len(seeds) > 1 else np.nan,
        **result._asdict(),
    }


def judged(rows: pd.DataFrame, spread: Spread, metric: str) -> pd.DataFrame:
    """Add p_holm, limit, verdict and note to the comparisons of one table; all its p-values are one family.

    A network is "better" or "worse" than its reference where the corrected p-value is below 0.05 and the difference
    exceeds the limit, "not shown" otherwise, "not tested" below six subjects; the note says why.

    Args:
        rows: a row a comparison, as :func:`pair` returns it.
        spread: over seeds, of the networks of the table.
        metric: decides whether a higher value is better.
    """
    rows = rows.copy()
    rows["p_holm"] = holm(rows.p)
    rows["limit"] = [limit((row.low, row.high), spread, row.seeds) for row in rows.itertuples()]
    sign = -1 if metric in LOWER_IS_BETTER else 1
    shown = (rows.p_holm < LEVEL) & (rows.difference.abs() > rows.limit)
    rows["verdict"] = np.where(shown, np.where(sign * rows.difference > 0, "better", "worse"), "not shown")
    rows.loc[rows.p.isna(), "verdict"] = "not tested"
    rows["note"] = [_note(row.subjects, row.seeds, spread, int(rows.p.notna().sum())) for row in rows.itertuples()]
    return rows


def _note(subjects: int, seeds: int, spread: Spread, tests: int) -> str:
    notes = []
    if subjects < LEAST_SUBJECTS:
        people = f"{subjects} subject{'s' * (subjects > 1)}"
        notes.append(f"{people}: fewer than {LEAST_SUBJECTS}, so no p-value and no interval over subjects")
        if spread.freedom:
            notes.append("the limit counts seeds alone")
    elif (smallest := tests * 2.0 ** (1 - subjects)) >= LEVEL:
        notes.append(f"{tests} tests with {subjects} subjects: no corrected p-value can be below {min(1, smallest):.2g}")
    if not spread.freedom:
        alone = ", the limit counts subjects alone" if subjects >= LEAST_SUBJECTS else ""
        notes.append(f"one seed: what another seed would give is unknown{alone}")
    elif seeds == 1:
        notes.append("one common seed; the spread over seeds is that of other networks")
    return "; ".join(notes)

"""Is one network, or one method, better than another? Paired differences, with people and seeds as the units.

Slices of one person resemble each other, and networks trained with one seed are one draw of what a method gives. So
there is one estimand, the mean over people of each one's mean difference, and one test, in which people and seeds are
counted: neither slices nor the networks of a single seed are taken for many.

>>> from kdrecon.results.statistics import holm, subject_means
>>> subject_means([30.0, 32.0, 40.0], ["ann", "ann", "bob"]).tolist()
[31.0, 40.0]
>>> holm([0.01, 0.04, 0.03]).round(3).tolist()
[0.03, 0.06, 0.06]
"""

from collections.abc import Iterable, Mapping, Sequence
from functools import cached_property
from typing import NamedTuple

import numpy as np
import pandas as pd
from numpy.typing import ArrayLike
from scipy import stats

from kdrecon.choices import MARGIN
from kdrecon.errors import InputError
from kdrecon.metrics import METRICS

LEAST_SUBJECTS = 6
LEVEL = 0.05
SLICE = ("volume", "slice", "subject")  # columns that say which slice a row is of
OTHER_SLICES = "network and reference were not evaluated on the same slices: expected one split of one data set"


class Spread(NamedTuple):
    """Standard deviation of a network's mean over seeds, pooled over networks, and its degrees of freedom."""

    sd: float
    freedom: int


class Estimate(NamedTuple):
    """A mean difference over people with its 95 % interval and p-value, and what they speak about."""

    difference: float
    low: float
    high: float
    p: float
    about: str


class Components(NamedTuple):
    """Standard deviations that make up a difference d_ik of person i with seed k; NaN where the data do not tell.

    d_ik = D + P_i + S_k + E_ik: people differ by P, trainings by S, and E is what neither explains, their interaction.
    """

    sd_people: float
    sd_seeds: float
    sd_interaction: float


class Paired(NamedTuple):
    """One comparison: how much is compared, what it comes to, and the fields of :class:`Estimate` and :class:`Components`.

    seeds, subjects and slices (n) that both networks have; their means over subjects; seed_sd, the standard deviation over
    seeds of the difference; p_equal, the p-value of :func:`equivalence`, NaN without a margin.
    """

    seeds: int
    subjects: int
    n: int
    mean: float
    reference_mean: float
    seed_sd: float
    difference: float
    low: float
    high: float
    p: float
    about: str
    p_equal: float
    sd_people: float
    sd_seeds: float
    sd_interaction: float


def subject_means(values: ArrayLike, subject: ArrayLike) -> pd.Series:
    """The mean over the slices of each subject: one value a person, however many slices there are of them.

    Args:
        values: a value a slice (N,).
        subject: who was scanned, a name a slice (N,).

    Returns:
        the means (n,), indexed by subject.

    Raises:
        InputError: a value is not finite, no slice, or arrays of different length.
    """
    scores, people = np.asarray(values, np.float64), np.asarray(subject, str)
    if scores.ndim != 1 or len(scores) != len(people) or not len(scores):
        raise InputError(f"{scores.shape} values of {len(people)} subjects' slices: expected one of each a slice")
    if not np.isfinite(scores).all():
        raise InputError(
            f"{(~np.isfinite(scores)).sum()} of {len(scores)} values are NaN or infinite: expected finite metrics; "
            "is a reconstruction equal to its target?"
        )
    names, person = np.unique(people, return_inverse=True)
    return pd.Series(np.bincount(person, scores) / np.bincount(person), index=names)


class Scores(dict[int, pd.DataFrame]):
    """The tables of a network by seed, a row a slice; what comparisons need of them is computed once."""

    def __init__(self, tables: Mapping[int, pd.DataFrame]) -> None:
        super().__init__(tables)
        self._people: dict[str, pd.DataFrame] = {}
        self._means: dict[str, dict[int, float]] = {}

    @cached_property
    def slices(self) -> pd.MultiIndex:
        """The slices that the tables are of, by volume, slice and subject.

        Raises:
            InputError: the seeds were not evaluated on the same ones.
        """
        first, *others = (table[list(SLICE)] for table in self.values())
        index = pd.MultiIndex.from_frame(first).sort_values()
        for other in others:
            if not (other.equals(first) or pd.MultiIndex.from_frame(other).sort_values().equals(index)):
                raise InputError(OTHER_SLICES)
        return index

    def people(self, metric: str) -> pd.DataFrame:
        """:func:`subject_means` of a metric: a row a subject, a column a seed."""
        if metric not in self._people:
            means = {seed: subject_means(table[metric], table.subject) for seed, table in self.items()}
            self._people[metric] = pd.DataFrame(means)
        return self._people[metric]

    def means(self, metric: str) -> dict[int, float]:
        """Mean over subjects of :func:`subject_means` of a metric, by seed."""
        if metric not in self._means:
            self._means[metric] = dict(zip(self, self.people(metric).mean().tolist()))
        return self._means[metric]


def seed_spread(means: Sequence[Sequence[float]]) -> Spread:
    """Pooled standard deviation over seeds, s^2 = sum_c sum_k (m_ck - mean_c)^2 / sum_c (K_c - 1).

    Args:
        means: for each network c its mean over subjects by seed, m_c1 .. m_cK.

    Returns:
        s and its degrees of freedom; NaN and 0 where no network has two seeds.
    """
    freedom = sum(len(values) - 1 for values in means)
    squares = sum(float(np.var(values)) * len(values) for values in means)
    return Spread(np.sqrt(squares / freedom), freedom) if freedom else Spread(np.nan, 0)


def estimate(differences: ArrayLike, seeds: int, spread: Spread) -> Estimate:
    """The mean difference over people with a t interval and a t test, in which other people and other seeds are counted.

    With d_1 .. d_n the differences of n people, each averaged over its slices and over K seeds, of which every network
    is one draw with standard deviation s:

        D = mean d_i,    se^2 = a + b,    a = var(d_i) / n,    b = 2 s^2 / K,

    interval D -+ t_{0.975, f} se and two-sided p from t = D / se, with Satterthwaite's degrees of freedom
    f = se^4 / (a^2 / (n - 1) + b^2 / f_s). With one seed b is unknown: the interval then has b = 0 and is about the
    two networks that were trained, and there is no p-value, since it would be taken for one about the methods.

    In simulated studies of equal networks (benchmarks/verdicts.py) the interval holds the truth 95 times in 100, and
    at most one study in twenty calls any of nine networks better or worse, with 6, 10, 15 people and 2, 3, 5 seeds.

    Args:
        differences: d_i, network minus reference, one a person (n,).
        seeds: K, that both were trained with.
        spread: s and its degrees of freedom f_s, of :func:`seed_spread`.

    Returns:
        difference, low, high, p, and about: "method", or "networks" with one seed. Below :data:`LEAST_SUBJECTS` people
        low, high and p are NaN and about is "": five people or fewer do not tell about a sixth.

    Source: Satterthwaite 1946.
    """
    d = np.asarray(differences, np.float64)
    n, difference = len(d), float(d.mean())
    if n < LEAST_SUBJECTS:
        return Estimate(difference, np.nan, np.nan, np.nan, "")
    several, (error, freedom) = seeds > 1, _standard_error(d, seeds, spread)
    half = stats.t.ppf(1 - LEVEL / 2, freedom) * error
    p = np.nan
    if several:
        p = float(2 * stats.t.sf(abs(difference) / error, freedom)) if error else float(difference == 0)
    return Estimate(difference, difference - half, difference + half, p, "method" if several else "networks")


def _standard_error(d: np.ndarray, seeds: int, spread: Spread) -> tuple[float, float]:
    """The standard error of a mean difference and its degrees of freedom, see :func:`estimate`."""
    n, people = len(d), float(d.var(ddof=1)) / len(d)
    trainings = 2 * spread.sd**2 / seeds if seeds > 1 else 0.0
    parts = people**2 / (n - 1) + (trainings**2 / spread.freedom if seeds > 1 else 0.0)
    return float(np.sqrt(people + trainings)), (people + trainings) ** 2 / parts if parts else n - 1


def equivalence(differences: ArrayLike, seeds: int, spread: Spread, margin: float) -> float:
    """The p-value of two one-sided t tests: is the mean difference, other people and seeds counted, within -+ margin?

    p = P(T_f > (margin - abs(D)) / se) with D, se and f as in :func:`estimate`; below 0.05 the 90 % interval lies within the
    margin, and "no effect" is shown instead of merely not refuted.

    Args:
        differences, seeds, spread: as in :func:`estimate`.
        margin: in the unit of the differences, above 0; chosen before they are seen.

    Returns:
        p; NaN with one seed, below :data:`LEAST_SUBJECTS` people, or without a margin.

    Source: Schuirmann 1987.
    """
    d = np.asarray(differences, np.float64)
    if len(d) < LEAST_SUBJECTS or seeds < 2 or np.isnan(margin):
        return np.nan
    room, (error, freedom) = margin - abs(d.mean()), _standard_error(d, seeds, spread)
    return float(stats.t.sf(room / error, freedom)) if error else float(room <= 0)


def components(differences: ArrayLike) -> Components:
    """What differences of people and seeds are made of: a two-way analysis of variance with one value a cell.

    MS_P = K var_i(mean_k d_ik), MS_S = n var_k(mean_i d_ik), MS_E from what is left, and

        var_P = max(0, (MS_P - MS_E) / K),    var_S = max(0, (MS_S - MS_E) / n),    var_E = MS_E.

    Args:
        differences: d_ik, a row a person, a column a seed (n, K).

    Returns:
        standard deviations; with one seed (or one person) that over people (over seeds) alone, which holds the interaction.

    Source: Searle, Casella and McCulloch 1992.
    """
    d = np.asarray(differences, np.float64)
    n, seeds = d.shape
    if min(n, seeds) < 2:
        alone = float(d.std(ddof=1)) if d.size > 1 else np.nan
        return Components(alone if seeds == 1 else np.nan, alone if seeds > 1 else np.nan, np.nan)
    of_people, of_seeds = d.mean(1), d.mean(0)
    rest = d - of_people[:, None] - of_seeds + d.mean()
    unexplained = float((rest**2).sum()) / ((n - 1) * (seeds - 1))
    between = [
        max(0.0, float(own.var(ddof=1)) - unexplained / others) for own, others in ((of_people, seeds), (of_seeds, n))
    ]
    return Components(*np.sqrt([*between, unexplained]).tolist())


def holm(p: ArrayLike) -> np.ndarray:
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


def compare(
    scores: Mapping[str, pd.DataFrame | Mapping[int, pd.DataFrame]], reference: str, metric: str = "psnr"
) -> pd.DataFrame:
    """Compare every network with one of them: a row a network.

    Args:
        scores: name -> a row a slice, as :func:`kdrecon.results.evaluation.evaluate` returns it, or several of them by seed.
        reference: the name of the network that the others are compared with.
        metric: a column of the tables.

    Returns:
        what :func:`judged` returns, indexed by name, without the reference.

    Raises:
        InputError: unknown reference or metric, or tables that are not of the same slices.
    """
    if reference not in scores:
        raise InputError(f"reference {reference!r} is unknown: expected one of {', '.join(scores)}")
    by_seed = {name: Scores({0: table} if isinstance(table, pd.DataFrame) else table) for name, table in scores.items()}
    spread = spread_over_seeds(by_seed.values(), metric)
    rows = {
        name: pair(tables, by_seed[reference], metric, spread)._asdict()
        for name, tables in by_seed.items()
        if name != reference
    }
    return judged(pd.DataFrame.from_dict(rows, orient="index"), metric)


def spread_over_seeds(networks: Iterable[Scores], metric: str) -> Spread:
    """:func:`seed_spread` of a metric over the networks.

    Raises:
        InputError: the metric is unknown.
    """
    if metric not in METRICS:
        raise InputError(f"metric {metric!r} is unknown: expected one of {', '.join(METRICS)}")
    return seed_spread([list(scores.means(metric).values()) for scores in networks])


def pair(network: Scores, reference: Scores, metric: str, spread: Spread, margin: float | None = None) -> Paired:
    """One comparison: slice by slice, for the seeds that both networks were trained with, averaged over these seeds.

    Args:
        network, reference: to compare.
        metric: a column of their tables.
        spread: of :func:`spread_over_seeds`.
        margin: of :func:`equivalence`; NaN for none, and None for that of :data:`kdrecon.choices.MARGIN`.

    Raises:
        InputError: no common seed, or tables that are not of the same slices.
    """
    seeds = sorted(network.keys() & reference.keys())
    if not seeds:
        raise InputError(
            f"seeds {sorted(network)} and {sorted(reference)} of the reference: expected a common one; "
            "train both with it"
        )
    if not network.slices.equals(reference.slices):
        raise InputError(OTHER_SLICES)
    of_network, of_reference = (scores.people(metric)[seeds] for scores in (network, reference))
    differences = of_network - of_reference  # a row a subject, a column a seed
    averaged, margin = differences.mean(axis=1), MARGIN.get(metric, np.nan) if margin is None else margin
    return Paired(
        seeds=len(seeds),
        subjects=len(differences),
        n=len(network.slices),
        mean=float(of_network.to_numpy().mean()),
        reference_mean=float(of_reference.to_numpy().mean()),
        seed_sd=float(differences.mean().std(ddof=1)) if len(seeds) > 1 else np.nan,
        **estimate(averaged, len(seeds), spread)._asdict(),
        p_equal=equivalence(averaged, len(seeds), spread, margin),
        **components(differences)._asdict(),
    )


def judged(rows: pd.DataFrame, metric: str) -> pd.DataFrame:
    """Add p_holm, p_equal_holm, verdict, equal and note to the comparisons of one table; p-values of a kind are one family.

    A network is "better" or "worse" than its reference where the corrected p-value is below 0.05, "not shown" otherwise,
    and "not tested" with one seed or below six subjects; the note says why. It is equal where the corrected p-value of
    :func:`equivalence` is below 0.05, and NaN where that is not tested: a difference can be shown and yet be smaller than
    the margin.

    Args:
        rows: a row a comparison, as :func:`pair` returns it.
        metric: decides whether a higher value is better.
    """
    rows = rows.copy()
    rows["p_holm"], rows["p_equal_holm"] = holm(rows.p), holm(rows.p_equal)
    gain = METRICS[metric].gain(rows.difference)
    rows["verdict"] = np.where(rows.p_holm < LEVEL, np.where(gain > 0, "better", "worse"), "not shown")
    rows["equal"] = (rows.p_equal_holm < LEVEL).astype(object).where(rows.p_equal.notna())
    rows.loc[rows.p.isna(), "verdict"] = "not tested"
    rows["note"] = [_note(*counts) for counts in zip(rows.subjects, rows.seeds)]
    return rows


def _note(subjects: int, seeds: int) -> str:
    notes = []
    if subjects < LEAST_SUBJECTS:
        people = f"{subjects} subject{'s' * (subjects > 1)}"
        notes.append(f"{people}: fewer than {LEAST_SUBJECTS}, so no interval and no p-value")
    if seeds == 1:
        interval = "the interval is about these two networks, and " if subjects >= LEAST_SUBJECTS else ""
        notes.append(f"one seed: {interval}what another seed would give is unknown, so no p-value")
    return "; ".join(notes)

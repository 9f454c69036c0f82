"""How many people and seeds show a difference of a given size: the power of :func:`kdrecon.results.statistics.estimate`.

>>> from kdrecon.results.power import TypicalSpread, people_needed, power
>>> spread = TypicalSpread(sd_people=0.1, sd_seeds=0.07, sd_interaction=0.05)
>>> round(power(0.1, spread, people=9, seeds=3), 2)
0.38
>>> people_needed(0.2, spread, seeds=3)
6
"""

from collections.abc import Sequence
from typing import NamedTuple

import numpy as np
import pandas as pd
from scipy import stats

from kdrecon.errors import InputError
from kdrecon.results.names import PLACE
from kdrecon.results.statistics import LEAST_SUBJECTS, LEVEL, Components, estimate, seed_spread

ENOUGH = 0.8  # of studies that find what is there
MOST = 1000  # people that are looked at
QUANTILES = (np.arange(400) + 0.5) / 400  # at which a distribution is averaged over


class TypicalSpread(NamedTuple):
    """What a difference of a study varies by, and how well the study knows it.

    sd_people, sd_seeds and sd_interaction: of :class:`kdrecon.results.statistics.Components`; networks: with several seeds,
    at least 2, whose spreads over them are pooled: the more, the surer a test is of what another seed would give.
    """

    sd_people: float
    sd_seeds: float
    sd_interaction: float
    networks: int = 2


def power(effect: float, spread: TypicalSpread, people: int, seeds: int, comparisons: int = 1) -> float:
    """The chance that a comparison of two networks calls a true difference better or worse.

    With the components P, S and E of a difference, n people, and K seeds of each of N networks,

        v = P^2 / n + S^2 / K + E^2 / (n K),    se^2 = (P^2 + E^2 / K) / n + (S^2 + E^2 / n) / K,

    what the mean difference varies by and what :func:`kdrecon.results.statistics.estimate` takes for it on average, with
    Satterthwaite's f degrees of freedom, n - 1 of the first term and N (K - 1) of the second; then
    abs(Z + effect / sqrt(v)) > t_{1 - level / 2, f} se / sqrt(v) sqrt(chi2_f / f), with Z standard normal, on average over
    chi2. An approximation: in simulated studies (:func:`simulated_power`) within some hundredths.

    Args:
        effect: the true difference, in the unit of the spread.
        spread: P, S, E and N.
        people, seeds: n and K, at least 6 and 2.
        comparisons: tested at once; each at 0.05 / comparisons, a little stricter than Holm's correction.
    """
    n, k, networks = people, seeds, spread.networks
    own, trained, both = (sd**2 for sd in spread[:3])
    between, trainings = (own + both / k) / n, (trained + both / n) / k
    if not (true := own / n + trained / k + both / (n * k)):
        return float(effect != 0)
    parts = between**2 / (n - 1) + trainings**2 / (networks * (k - 1))
    freedom = (between + trainings) ** 2 / parts
    limit = stats.t.ppf(1 - LEVEL / comparisons / 2, freedom) * np.sqrt((between + trainings) / true)
    away, limits = abs(effect) / np.sqrt(true), limit * np.sqrt(stats.chi2.ppf(QUANTILES, freedom) / freedom)
    return float(np.mean(stats.norm.sf(limits - away) + stats.norm.cdf(-limits - away)))


def simulated_power(
    effect: float,
    spread: TypicalSpread,
    people: int,
    seeds: int,
    comparisons: int = 1,
    studies: int = 500,
    seed: int = 0,
) -> float:
    """The share of simulated studies whose test shows the difference; arguments as in :func:`power`."""
    random, found, networks = np.random.default_rng([seed, people, seeds]), 0, spread.networks
    own, trained, both = np.array(spread[:3]) / np.sqrt(2)  # of each network: a difference has two
    for _ in range(studies):
        seen = own * random.standard_normal((networks, 1, people)) + trained * random.standard_normal(
            (networks, seeds, 1)
        )
        seen = seen + both * random.standard_normal((networks, seeds, people))
        differences = effect + (seen[1] - seen[0]).mean(0)
        found += estimate(differences, seeds, seed_spread(seen.mean(2).tolist())).p < LEVEL / comparisons
    return found / studies


def people_needed(effect: float, spread: TypicalSpread, seeds: int, comparisons: int = 1) -> int | None:
    """The fewest people with whom :func:`power` reaches 0.8; None where 1000 are too few: more seeds are needed then."""
    if power(effect, spread, MOST, seeds, comparisons) < ENOUGH:
        return None
    low, high = LEAST_SUBJECTS - 1, MOST
    while high - low > 1:
        middle = (low + high) // 2
        low, high = (low, middle) if power(effect, spread, middle, seeds, comparisons) >= ENOUGH else (middle, high)
    return high


def power_table(
    effect: float,
    spread: TypicalSpread,
    people: Sequence[int],
    seeds: Sequence[int],
    comparisons: int = 1,
    studies: int = 0,
) -> pd.DataFrame:
    """:func:`power` by seeds (rows) and people (columns) as text, simulated beside it, and the people needed for 0.8.

    Args:
        effect, spread, comparisons: as in :func:`power`.
        people, seeds: numbers of them.
        studies: that :func:`simulated_power` takes; 0 for none.

    Raises:
        InputError: too few people, seeds or networks, or a spread or effect that is no number above 0.
    """
    _check(effect, spread, people, seeds)
    rows = []
    for k in seeds:
        row = {"seeds": str(k)}
        for n in people:
            row[f"{n} people"] = f"{power(effect, spread, n, k, comparisons):.0%}"
            if studies:
                row[f"{n} people"] += f" ({simulated_power(effect, spread, n, k, comparisons, studies):.0%})"
        needed = people_needed(effect, spread, k, comparisons)
        rows.append(row | {f"people for {ENOUGH:.0%}": f"over {MOST}" if needed is None else str(needed)})
    return pd.DataFrame(rows)


def typical_spread(compared: pd.DataFrame, metric: str = "psnr") -> TypicalSpread:
    """The median components over the comparisons of a run that have all three, and the networks in these.

    Where a run has several places, their median counts: each place pools its own networks.

    Args:
        compared: the table of :func:`kdrecon.results.comparisons.comparisons`.
        metric: of which.

    Raises:
        InputError: there is no comparison of two people and two seeds.
    """
    known = compared[compared.metric == metric].dropna(subset=list(Components._fields))
    if known.empty:
        raise InputError(
            "no comparison of the run has two people and two seeds, so that its spread is unknown: expected a run with "
            "several seeds; or give --sd-people, --sd-seeds and --sd-interaction"
        )
    networks = [
        len({*place.network, *place.reference}) for _, place in known.groupby(list(PLACE), sort=False, dropna=False)
    ]
    people, seeds, interaction = known[list(Components._fields)].median().tolist()
    return TypicalSpread(people, seeds, interaction, int(np.median(networks)))


def _check(effect: float, spread: TypicalSpread, people: Sequence[int], seeds: Sequence[int]) -> None:
    if not (np.isfinite(effect) and effect > 0):
        raise InputError(f"effect {effect}: expected a number above 0, in dB")
    for name, sd in zip(Components._fields, spread):
        if not (np.isfinite(sd) and sd >= 0):
            raise InputError(f"{name} {sd}: expected a standard deviation of at least 0, in dB")
    least_of = (("people", people, LEAST_SUBJECTS), ("seeds", seeds, 2), ("networks", [spread.networks], 2))
    for what, counts, least in least_of:
        if few := [count for count in counts if count < least]:
            raise InputError(f"{few[0]} {what}: expected at least {least}, below which nothing is tested")

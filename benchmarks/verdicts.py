"""How often the verdict on a comparison is wrong, and how often it finds what is there: simulated studies.

    python benchmarks/verdicts.py [--studies 1000] [--people 0.1] [--seeds 0.07] [--training 0.05] [--effect 0.2]
        [--methods 9]

A study holds a reference and nine methods, n people, K seeds. What person i sees of the network that method m gives with
seed k is u_mi + v_mk + w_mki (dB): normal, with standard deviations ``--people`` / sqrt 2 (how much two networks suit people
differently), ``--seeds`` and ``--training``. Without an effect all methods are equal, and any verdict is false; for the power
all of them are better by ``--effect``. Compared are the rule of version 0.1, Wilcoxon's test over people with Holm's
correction and a limit for people and seeds, and that of :mod:`kdrecon.results.statistics`.

"Equal" is false where all methods differ by just the margin of equivalence, and found where none differs. The last column is
what :func:`kdrecon.results.power.power` foretells, with Bonferroni's correction in place of Holm's.
"""

import argparse

import numpy as np
import pandas as pd
from scipy import stats

from kdrecon.choices import MARGIN
from kdrecon.results.power import TypicalSpread, power
from kdrecon.results.statistics import LEVEL, Spread, equivalence, estimate, holm, seed_spread


def study(random: np.random.Generator, n: int, seeds: int, sd: argparse.Namespace) -> tuple[np.ndarray, Spread]:
    """Differences of the methods to the reference without an effect (M, n), mean over seeds, and the spread."""
    shape = sd.methods + 1, seeds, n
    seen = sd.people / np.sqrt(2) * random.standard_normal((shape[0], 1, n))
    seen = seen + sd.seeds * random.standard_normal((*shape[:2], 1)) + sd.training * random.standard_normal(shape)
    return (seen[1:] - seen[0]).mean(1), seed_spread(seen.mean(2))


def wilcoxon_with_limit(differences: np.ndarray, seeds: int, spread: Spread) -> np.ndarray:
    """The verdicts (M,) of version 0.1; its interval over people was as wide as the t interval of normal data."""
    n = differences.shape[1]
    limit = stats.t.ppf(1 - LEVEL / 2, n - 1) * differences.std(1, ddof=1) / np.sqrt(n)
    if spread.freedom:
        limit = np.hypot(limit, stats.t.ppf(1 - LEVEL / 2, spread.freedom) * spread.sd * np.sqrt(2 / seeds))
    p = holm([stats.wilcoxon(d).pvalue for d in differences])
    return (p < LEVEL) & (abs(differences.mean(1)) > limit)


def equal(differences: np.ndarray, seeds: int, spread: Spread) -> np.ndarray:
    """Which methods (M,) are shown to be equal to the reference within the margin."""
    return holm([equivalence(d, seeds, spread, MARGIN["psnr"]) for d in differences]) < LEVEL


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--studies", type=int, default=1000)
    parser.add_argument("--methods", type=int, default=9)
    for name, default in {"people": 0.1, "seeds": 0.07, "training": 0.05, "effect": 0.2}.items():
        parser.add_argument(f"--{name}", type=float, default=default)
    options, rows = parser.parse_args(), []
    sds = options.people, np.sqrt(2) * options.seeds, np.sqrt(2) * options.training
    spread_of_one = TypicalSpread(*sds, networks=options.methods + 1)
    for seeds in (1, 2, 3, 5):
        for n in (6, 10, 15):
            random = np.random.default_rng([seeds, n])
            found = {
                name: [] for name in ("before", "after", "held", "power before", "power after", "unequal", "equal")
            }
            for _ in range(options.studies):
                nothing, spread = study(random, n, seeds, options)
                for title, differences in (("", nothing), ("power ", nothing + options.effect)):
                    estimates = [estimate(d, seeds, spread) for d in differences]
                    found[f"{title}before"].append(wilcoxon_with_limit(differences, seeds, spread))
                    found[f"{title}after"].append(holm([one.p for one in estimates]) < LEVEL)
                    if not title:
                        found["held"].append([one.low <= 0 <= one.high for one in estimates])
                found["unequal"].append(equal(nothing + MARGIN["psnr"], seeds, spread))
                found["equal"].append(equal(nothing, seeds, spread))
            false = {name: np.array(found[name]) for name in ("before", "after", "unequal")}
            foretold = power(options.effect, spread_of_one, n, seeds, options.methods) if seeds > 1 else 0
            rows.append(
                {
                    "seeds": seeds,
                    "people": n,
                    "one false, before": false["before"].mean(),
                    "any false, before": false["before"].any(1).mean(),
                    "any false, after": false["after"].any(1).mean(),
                    "intervals that hold": np.mean(found["held"]),
                    "any false equal": false["unequal"].any(1).mean(),
                    "equal found": np.mean(found["equal"]),
                    "power, before": np.mean(found["power before"]),
                    "power, after": np.mean(found["power after"]),
                    "power, foretold": foretold,
                }
            )
    print(f"{options.studies} studies a row, {vars(options)}")
    print(pd.DataFrame(rows).to_string(index=False, formatters={k: "{:.1%}".format for k in list(rows[0])[2:]}))


if __name__ == "__main__":
    main()

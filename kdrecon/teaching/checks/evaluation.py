"""Figures of images and of people: the checks of notebook 06.

>>> from kdrecon.teaching.checks.evaluation import translation
>>> translation(None).right
False
"""

import numpy as np
from scipy.stats import t as student_t

from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, number, numbers, rule_out


@exercise
def translation(answer: object) -> str:
    """(PSNR of each slice with the volume's maximum as range, maxima of the slices) -> mean with each slice's own range."""
    for psnr, top in (([30.0, 32.0, 31.0], [1.0, 0.5, 0.8]), ([28.0, 40.0], [0.2, 0.8])):
        there, tops = np.array(psnr), np.array(top)
        log, got = np.log10(tops / tops.max()), call(answer, there.copy(), tops.copy())
        if np.shape(got) == there.shape:
            raise NotYet("there is one value a slice: take their mean.")
        got = number(got)
        rule_out(got, {
            "nothing was translated: a slice that is darker than the volume has a smaller range.": there.mean(),
            "the sign is turned round: a smaller range makes the PSNR smaller.": np.mean(there - 20 * log),
            "the range stands squared in the PSNR: 20 log10 of the ratio, not 10.": np.mean(there + 10 * log),
            "the maxima were averaged before the logarithm: translate each slice, then take the mean.":
                there.mean() + 20 * np.log10(tops.mean() / tops.max()),
            "this is the natural logarithm: np.log10.": np.mean(there + 20 * log * np.log(10)),
            "the ratio is added, not its logarithm: decibels are logarithms.": np.mean(there + tops / tops.max()),
        })  # fmt: skip
        hint = "PSNR + 20 log10(slice's maximum / volume's maximum), then the mean"
        equal(got, np.mean(there + 20 * log), hint)
    return "the error need not be known: another range only shifts each slice's PSNR."


@exercise
def interval(answer: object) -> str:
    """(a, b, subjects), a value a slice -> (low, high), the 95 % t interval of the people's means of a - b."""
    anna = (["anna", "ben", "anna", "carl", "dora", "carl", "anna"], [1.0, -0.2, 0.6, 0.3, 0.1, 0.5, 0.8])
    first = (["x", "y", "z", "z", "w", "v"], [0.1, 0.4, 0.2, 0.6, -0.3, 0.9])
    for subjects, gains in (anna, first):
        b = 30 + np.arange(len(gains), dtype=float)
        a, slices = b + gains, np.array(gains)
        people = np.array([slices[np.array(subjects) == name].mean() for name in dict.fromkeys(subjects)])
        got = numbers(call(answer, a, b, list(subjects)), 2, "a pair of numbers, (low, high)")
        n, sd, right = len(people), people.std(ddof=1), student_t.ppf(0.975, len(people) - 1)

        def around(half: float, centre: float = people.mean()) -> list[float]:
            return [centre - half, centre + half]

        low, high = around(right * sd / np.sqrt(n))
        over_slices = student_t.ppf(0.975, len(slices) - 1) * slices.std(ddof=1) / np.sqrt(len(slices))
        rule_out(got, {
            "every slice counts as a person: take each subject's mean first.": around(over_slices, slices.mean()),
            "the sign is turned round: a minus b.": [-high, -low],
            "high stands before low.": [high, low],
            "this is one standard error to either side: t of them are needed.": around(sd / np.sqrt(n)),
            "with so few people 1.96 is too small: take t.": around(1.96 * sd / np.sqrt(n)),
            "t has n - 1 degrees of freedom.": around(student_t.ppf(0.975, n) * sd / np.sqrt(n)),
            "this t leaves 5 % on either side: take that at 0.975.": around(student_t.ppf(0.95, n - 1) * sd / np.sqrt(n)),
            "this is where single people lie: divide the spread by the root of n.": around(right * sd),
            "n is the number of people, not of slices.": around(right * sd / np.sqrt(len(slices))),
            "the spread is divided by n, not by its root.": around(right * sd / n),
            "the spread of a sample has n - 1 below it: np.std takes ddof=1.":
                around(right * people.std() / np.sqrt(n)),
        })  # fmt: skip
        equal(got, [low, high], "the mean over people, minus and plus t times their spread over the root of n")
    return "it is about these two networks: with another seed of each it may lie elsewhere."

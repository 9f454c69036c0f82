"""Figures of images and of people: the checks of notebook 06.

>>> from kdrecon.teaching.checks.evaluation import translation
>>> translation(None).right
False
"""

import numpy as np

from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, number, rule_out


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
def subject_gain(answer: object) -> str:
    """(a, b, subjects), a value a slice -> mean over subjects of each one's mean of a - b."""
    a, b = np.array([31.0, 32.0, 33.0, 30.0]), np.array([30.0, 31.0, 32.0, 30.2])
    got = number(call(answer, a, b, ["anna", "anna", "anna", "ben"]))
    rule_out(got, {
        "every slice counts the same, so whoever has many slices outvotes the others: take each subject's mean first.": 0.7,
        "the sign is turned round: a minus b.": -0.4,
        "the subjects are summed: take their mean.": 0.8,
        "this is the mean of a alone: subtract b.": 31.5,
    })  # fmt: skip
    equal(got, 0.4, "anna's slices differ by +1, ben's by -0.2, and each subject has one vote")
    return "one vote a subject: slices of one person are not independent."

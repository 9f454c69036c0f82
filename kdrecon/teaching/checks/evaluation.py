"""Figures of images and of people: the checks of notebook 06.

>>> from kdrecon.teaching.checks.evaluation import volume_psnr
>>> volume_psnr(None).right
False
"""

import numpy as np

from kdrecon.teaching.checks.inputs import random
from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, number, rule_out


@exercise
def volume_psnr(answer: object) -> str:
    """(target, prediction) of (S, H, W) -> mean over slices of the PSNR with each slice's maximum as range."""
    target = random(3, 12, 12).numpy() * np.array([1.0, 0.6, 0.3])[:, None, None]
    prediction = target + np.array([0.1, 0.05, 0.2])[:, None, None] * (random(3, 12, 12, seed=1).numpy() - 0.5)
    mse, top = ((target - prediction) ** 2).mean((1, 2)), target.max((1, 2))
    got = call(answer, target, prediction)
    if np.shape(got) == (3,):
        raise NotYet("there is one value a slice: take their mean.")
    got = number(got)
    rule_out(got, {
        "the range is the maximum of the volume: take each slice's own.": np.mean(10 * np.log10(top.max() ** 2 / mse)),
        "there is one error for the whole volume: compute each slice's PSNR, then the mean.":
            10 * np.log10(top.max() ** 2 / mse.mean()),
        "the slices' errors are averaged before the logarithm: first the PSNR of each slice, then the mean.":
            10 * np.log10((top**2).mean() / mse.mean()),
        "the range is 255: these images lie between 0 and 1.": np.mean(10 * np.log10(255**2 / mse)),
        "the range is 1: take each slice's maximum.": np.mean(10 * np.log10(1 / mse)),
        "the range is not squared: R^2 over the mean squared error.": np.mean(10 * np.log10(top / mse)),
        "20 log10 goes with the root of the error, 10 log10 with the mean squared error.":
            np.mean(20 * np.log10(top**2 / mse)),
        "this is the natural logarithm: np.log10.": np.mean(10 * np.log(top**2 / mse)),
        "the sign is turned round: R^2 over the error, not the error over R^2.": -np.mean(10 * np.log10(top**2 / mse)),
    })  # fmt: skip
    equal(got, np.mean(10 * np.log10(top**2 / mse)), "for each slice 10 log10(max^2 / mse), then the mean")
    return "slice by slice, each slice's maximum: metrics.psnr(target, prediction).mean() is the same."


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

"""The low-pass mask and what a branch sees: the checks of notebook 10.

>>> from kdrecon.teaching.checks.super_resolution import branch_view
>>> branch_view(lambda i, a, b: 2 * (i * a // b + b - i) + 1).right
True
"""

import torch

from kdrecon.physics.sampling import lowpass_mask
from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, number, rule_out, tensor


@exercise
def lowpass(answer: object) -> str:
    """(n, factor) -> (n, n) bool, the central block of k-space with a side of n / factor."""
    n, factor = 24, 4
    got, want = call(answer, n, factor), lowpass_mask((n, n), factor)
    row, wider = want[0], want[0].clone()
    wider[3] = True
    first, narrow = torch.arange(n) < 6, row.clone()
    narrow[-3] = False
    got = tensor(got, want)
    if got.dtype != torch.bool:
        raise NotYet(
            f"the mask holds {got.dtype}: expected torch.bool. Start from torch.zeros(n, n, dtype=torch.bool)."
        )
    rule_out(got, {
        "the polarity is inverted: True must mark what is measured.": ~want,
        "the block sits in the middle of the array, where the highest frequencies are: DC is at [0, 0], so that the block "
        "lies in the four corners.": torch.fft.fftshift(want),
        "the block holds positive frequencies only. Negative ones stand at the end of the array: index -1, -2, ...":
            first[:, None] & first,
        "these are whole lines: keep only the frequencies that lie in the block along both axes.": row[:, None].expand(n, n),
        "these are whole lines along both axes, a cross: a frequency must lie in the block along one axis *and* the other.":
            row[:, None] | row,
        "it has one frequency too many along each axis: of -3 and +3 only -3 is in the block.": wider[:, None] & wider,
        "it lacks one frequency along each axis: -3 belongs to the block, +3 does not.": narrow[:, None] & narrow,
    })  # fmt: skip
    equal(got, want, "for n = 24 and a factor of 4, the frequencies are -3 to 2 along each axis")
    other = lowpass_mask((32, 32), 2)
    equal(tensor(call(answer, 32, 2), other), other, "it holds for n = 24, but not for n = 32 with a factor of 2")
    return "the library's lowpass_mask is the same block: 1 / factor of each axis, 1 / factor² of the samples."


@exercise
def branch_view(answer: object) -> str:
    """(i, a, b) -> side of the square of pixels that branch i sees, of a teacher of a convolutions and a student of b."""
    got = number(call(answer, 1, 12, 4))
    rule_out(got, {
        "this is what the teacher's group sees: the branch goes on through the student's convolutions i + 1 to b.": 7,
        "the student's convolutions 1 to i are counted, too: the teacher's groups stand in for them.": 15,
        "a group is a / b convolutions, not one: this is what the plain student sees.": 9,
        "this is what the teacher sees.": 25,
        "this is the number of convolutions: each adds one pixel on either side, and there is the pixel itself.": 6,
        "the pixel itself is missing: 2 pixels a convolution, and 1.": 12,
        "3 x 3 convolutions do not see 3 pixels more each, but one on either side.": 18,
        "this is the number of pixels: expected the side of the square.": 13**2,
    })  # fmt: skip
    for i, a, b in ((1, 12, 4), (2, 12, 4), (3, 12, 4), (2, 10, 5), (1, 6, 2)):
        want = 2 * (i * a // b + b - i) + 1
        equal(number(call(answer, i, a, b)), want, f"it does not hold for i = {i}, a = {a}, b = {b}")
    return "13, 17 and 21 pixels for V12 and V4: on its way to the student the view shrinks from the teacher's 25 to 9."

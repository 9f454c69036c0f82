"""Data fidelity and convolutions: the checks of notebook 02.

>>> from kdrecon.teaching.checks.dccnn import receptive_field
>>> receptive_field(lambda depth: 2 * depth + 1).right
True
"""

import torch

from kdrecon.physics.fidelity import DataFidelity
from kdrecon.physics.fourier import fft2, ifft2
from kdrecon.physics.sampling import undersample
from kdrecon.teaching.checks.inputs import random
from kdrecon.teaching.checks.verdict import call, equal, exercise, number, rule_out, tensor


@exercise
def data_fidelity(answer: object) -> str:
    """(x_cnn, y, mask, lam) -> x_rec (B, 1, H, W): noisy data fidelity, real part."""
    x, x_cnn, lam = random(2, 1, 12, 12), random(2, 1, 12, 12, seed=1), 3.0
    mask = torch.zeros(12, 12, dtype=torch.bool)
    mask[[0, 1, 3, 8, 11]] = True
    (_, y), X = undersample(x, mask), fft2(x_cnn)
    fused = torch.where(mask, (X + lam * y) / (1 + lam), X)
    got = call(answer, x_cnn, y, mask, lam)
    rule_out(got, {
        "the image is still complex: take the real part at the end.": ifft2(fused),
        "the result is k-space: transform it back with ifft2.": fused,
        "this is the magnitude. Data fidelity takes the real part: a magnitude would hide a wrong sign.":
            ifft2(fused).abs(),
        "lambda sits on the network's proposal. It says how far the measurement is"
        " trusted: (X + lambda y) / (1 + lambda).":
            ifft2(torch.where(mask, (lam * X + y) / (1 + lam), X)).real,
        "lines that were not measured are changed too. Off the mask there is no measurement: keep X there.":
            ifft2((X + lam * y) / (1 + lam)).real,
        "the sum is not divided by 1 + lambda: it is a weighted mean, the weights add up to 1.":
            ifft2(torch.where(mask, X + lam * y, X)).real,
        "this is the noiseless form: lambda does not occur.": ifft2(torch.where(mask, y, X)).real,
        "mask and proposal are swapped: the weighted mean belongs on the measured lines.":
            ifft2(torch.where(mask, X, (X + lam * y) / (1 + lam))).real,
    })  # fmt: skip
    want = DataFidelity("real", lam)(x_cnn, y, mask)
    equal(tensor(got, want), want, "go through it: fft2, a weighted mean on the mask, ifft2, real part")
    return 'the library\'s DataFidelity("real", lam) gives the same numbers.'


@exercise
def receptive_field(answer: object) -> str:
    """(d) -> side of the square of pixels that a block of d convolutions of 3 x 3 sees."""
    got = number(call(answer, 5))
    rule_out(got, {
        "the views do not add up to 3 d: the first convolution sees 3 pixels, each further one adds one on either side.": 15,
        "the views do not multiply: each convolution after the first adds one pixel on either side.": 3**5,
        "this is the number of pixels: expected the side of the square.": 11**2,
        "each convolution adds one pixel on *either* side, so two a convolution.": 6,
        "this is the reach on one side: the whole field has both sides and the pixel itself.": 5,
    })  # fmt: skip
    for d in (1, 2, 3, 5, 7):
        equal(number(call(answer, d)), 2 * d + 1, f"it does not hold for d = {d}")
    return "a D2 block sees 5 x 5 pixels, a D5 block 11 x 11: aliasing reaches along a whole axis."


@exercise
def weights(answer: object) -> str:
    """(d, c) -> weights and biases of a DdCc."""
    got = number(call(answer, 5, 5))
    first, middle, last = 9 * 32 + 32, 9 * 32 * 32 + 32, 9 * 32 + 1
    rule_out(got, {
        "this is one block: a DdCc has c of them.": first + 3 * middle + last,
        "the biases are missing: a convolution to b channels has b of them.": 5 * (9 * 32 + 3 * 9 * 32 * 32 + 9 * 32),
        "all convolutions are counted from 32 to 32 channels: the first has one channel in, the last one out.": 25 * middle,
        "the first and the last convolution are missing: they are from 1 to 32 and from 32 to 1 channels.": 15 * middle,
        "the first and the last convolution come on top of d: a block has d in all, d - 2 between them.":
            5 * (first + 5 * middle + last),
        "of d convolutions two are the first and the last: d - 2 stand between them.": 5 * (first + 4 * middle + last),
        "the last convolution has one channel out, so it has one bias.": 5 * (2 * first + 3 * middle),
        "a kernel of 3 x 3 has 9 weights for each pair of channels, not 3.":
            5 * (3 * 32 + 32 + 3 * (3 * 32 * 32 + 32) + 3 * 32 + 1),
    }, 1e-9)  # fmt: skip
    for d, c in ((5, 5), (2, 5), (17, 1), (4, 3)):
        equal(number(call(answer, d, c)), c * (first + (d - 2) * middle + last), f"it does not hold for D{d}C{c}", 1e-9)
    return "D5C5 has 141,765, D2C5 3,045: nearly all sit in the convolutions from 32 to 32 channels."

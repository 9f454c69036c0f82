"""k-space and masks: the checks of notebook 01.

>>> from kdrecon.teaching.checks.undersampling import lines
>>> lines(1).right
False
"""

import torch

from kdrecon.physics.fourier import fft2, ifft2
from kdrecon.physics.sampling import published_mask, undersample
from kdrecon.teaching.checks.inputs import random
from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, number, rule_out, tensor


@exercise
def lines(answer: object) -> str:
    """(n, every, centre) -> (n,) bool, every k-th line and a block of centre lines (odd) around DC."""
    n, every, centre = 30, 4, 5
    got, regular, half = call(answer, n, every, centre), torch.arange(n) % every == 0, centre // 2
    want, middle, first = regular.clone(), regular.clone(), regular.clone()
    want[torch.arange(-half, half + 1)] = True
    middle[n // 2 - half : n // 2 + half + 1] = True
    first[:centre] = True
    got = tensor(got, want)
    if got.dtype != torch.bool:
        raise NotYet(f"the mask holds {got.dtype}: expected torch.bool. Start from torch.zeros(n, dtype=torch.bool).")
    rule_out(got, {
        "the polarity is inverted: True must mark the lines that are measured.": ~want,
        "the block sits in the middle of the array. There are the highest frequencies: DC is at index 0, so the block "
        "goes round the ends, indices -2 to 2 for 5 lines.": middle,
        "it is shifted by half the array. The mask is stored unshifted, DC at index 0; shifting is for display.":
            torch.fft.fftshift(want),
        "the block holds positive frequencies only. Negative ones stand at the end of the array: index -1, -2, ...":
            first,
        "the block round DC is missing: only every k-th line is there.": regular,
    })  # fmt: skip
    equal(got, want, "compare your lines with the sketch in the exercise")
    other = torch.tensor([k % 3 == 0 or k < 4 or k > 17 for k in range(21)])
    got = tensor(call(answer, 21, 3, 7), other)
    equal(got, other, "it holds for 30 lines, but not for 21 with every third and 7 in the middle")
    return "unshifted, True where measured, a full centre: the three conventions of every mask here."


@exercise
def repair(answer: object) -> str:
    """(k, skipped) -> zero-filled image; k unshifted, skipped with DC in the middle and True = left out."""
    x, skipped = random(15, 21), random(15, 1).expand(15, 21) > 0.4
    skipped = skipped.clone()
    skipped[6:9] = False
    mask, k = ~torch.fft.ifftshift(skipped), fft2(x)
    want, complex_image = undersample(x, mask)[0], ifft2(k * mask)
    got = call(answer, k, skipped)
    rule_out(got, {
        "the image is complex: the zero-filled image is its magnitude, .abs().": complex_image,
        "the real part is not the magnitude: use .abs().": complex_image.real,
        "the mask still has its DC in the middle while k has it at [0, 0]: move it with torch.fft.ifftshift.":
            ifft2(k * ~skipped).abs(),
        "the polarity is inverted: skipped is True where nothing was measured, so the mask is ~skipped.":
            ifft2(k * ~mask).abs(),
        "centring and polarity are both the wrong way round: first ifftshift, then ~.": ifft2(k * skipped).abs(),
        "it was shifted the wrong way. For an odd size fftshift and ifftshift differ by one line: the way back to "
        "DC at [0, 0] is ifftshift.": ifft2(k * ~torch.fft.fftshift(skipped)).abs(),
        "the scale is off: the transform here is orthonormal, ifft2 of kdrecon or norm=\"ortho\".":
            torch.fft.ifft2(k * mask).abs(),
        "this is the image without undersampling: multiply k by the mask first.": x,
    })  # fmt: skip
    equal(tensor(got, want), want, "ask in turn: polarity, centring, transform, magnitude")
    return "when a reconstruction shows only edges, ask for polarity and centring first."


@exercise
def known_share(answer: object) -> str:
    """(lines (n,) bool) -> share of the lines that a real image lets one know."""
    measured = published_mask("cardiac", "4x").any(1)
    got = number(call(answer, measured))
    flipped, mirrored = measured.flip(0), measured.flip(0).roll(1)
    rule_out(got, {
        "this is the share that is measured. Each line also tells its opposite: unite the lines with their mirror.":
            measured.float().mean(),
        "it counts every line twice, also those whose opposite is measured anyway: unite (|), do not add.":
            2 * measured.float().mean(),
        "the mirror image is off by one line: -k of index 0 is index 0 itself, so flip(0) needs a roll(1) after it.":
            (measured | flipped).float().mean(),
        "it is a count: divide it by the number of lines.": (measured | mirrored).sum(),
        "it is in per cent: expected a share between 0 and 1.": 100 * (measured | mirrored).float().mean(),
        "these are only the lines whose opposite is measured too: unite (|) instead of intersecting (&).":
            (measured & mirrored).float().mean(),
    })  # fmt: skip
    equal(got, (measured | mirrored).float().mean(), "take a line at index k: its opposite is at index -k modulo n")
    return "24.7 % of the lines are measured, 40.7 % are known: a magnitude image makes 4x undersampling nearly 2.5x."

"""Scans upright, and whose they are: the checks of notebook 07.

>>> from kdrecon.teaching.checks.your_own_data import people
>>> people(lambda paths: {path.split("/")[0].removeprefix("sub-") for path in paths}).right
True
"""

import numpy as np
import torch

from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, kind, rule_out, tensor

WANTED = ("SI", "PA", "LR")  # the axes of upright axial slices: the letter to which each points, and its opposite


def _stored(upright: np.ndarray, codes: str) -> np.ndarray:
    """Upright slices (S, H, W) as an array whose axes point to these letters."""
    axes = [next(k for k, pair in enumerate(WANTED) if code in pair) for code in codes]
    turned = tuple(j for j, (k, code) in enumerate(zip(axes, codes)) if code != WANTED[k][0])
    return np.ascontiguousarray(np.flip(upright.transpose(axes), turned))


@exercise
def upright(answer: object) -> str:
    """(volume, codes), an array with three axes and their directions -> axial slices (S, H, W)."""
    slices = np.arange(60, dtype=np.float32).reshape(3, 4, 5) ** 2
    like = torch.from_numpy(slices)
    for codes in ("RAS", "LPS", "PSR", "ILA", "SAL", "LIA"):
        got = call(answer, _stored(slices, codes), codes)
        got = tensor(np.ascontiguousarray(got) if isinstance(got, np.ndarray) else got, like)
        if codes != "RAS" and not torch.equal(got, like):
            raise NotYet(f"it holds for axes that point to RAS, but not to {codes}: ask each letter, not its place.")
        rule_out(got, {
            "the patient's left is on the left: the last axis points to L.": like.flip(2),
            "the forehead is down: rows run from anterior to posterior.": like.flip(1),
            "the highest slice comes first.": like.flip(0),
            "forehead down and left on the left: the axes are exchanged, but not flipped.": like.flip(1, 2),
            "every axis runs the wrong way.": like.flip(0, 1, 2),
        })  # fmt: skip
        equal(got, like, "transpose to (S, H, W), then flip the axes that run the other way")
    return "no value was changed: a viewer and a network now see the same head."


@exercise
def people(answer: object) -> str:
    """Paths of a BIDS folder -> the set of people, without "sub-"."""
    visits = {"anna": ("ses-1_run-1", "ses-1_run-2", "ses-2_run-1"), "ann": ("ses-1_run-1",), "ben": ("ses-2_run-1",)}
    paths = [
        f"sub-{name}/{visit[:5]}/anat/sub-{name}_{visit}_T1w.nii.gz" for name, own in visits.items() for visit in own
    ]
    got = call(answer, list(paths))
    if isinstance(got, list | tuple) and {*map(str, got)} == {*visits}:
        raise NotYet("the names are right, but in a list: return a set, in which nobody stands twice.")
    if not isinstance(got, set | frozenset):
        raise NotYet(f"the function returns {kind(got)}: expected a set of names.")
    hints = {
        frozenset(paths): "these are files: a person may have several.",
        frozenset(f"sub-{name}" for name in visits): "the names still have sub- before them.",
        frozenset({"ses-1", "ses-2"}): "these are visits: the first folder names the person.",
        frozenset({"ann", "ben"}): "anna and ann are two people: take the whole name.",
    }
    if (hint := hints.get(frozenset(got))) is not None:
        raise NotYet(hint)
    if got != set(visits):
        raise NotYet(f"of sub-anna, sub-ann and sub-ben the answer makes {sorted(map(str, got))!s:.60}.")
    if call(answer, ["sub-zoe/anat/sub-zoe_T1w.nii"]) != {"zoe"}:
        raise NotYet("it does not hold for a folder of one person, zoe, without ses-.")
    return "a split of files would have had anna on both sides."

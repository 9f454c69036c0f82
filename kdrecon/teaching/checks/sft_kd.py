"""The start of a student and the 2 x 2 of teacher and start: the checks of notebook 05.

>>> from kdrecon.teaching.checks.sft_kd import interaction
>>> interaction(None).right
False
"""

import torch

from kdrecon.teaching.checks.inputs import network
from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, kind, numbers, rule_out


@exercise
def start(answer: object) -> str:
    """(student, branches) -> student with blocks S2 to SN copied, S1 fresh."""
    student, branches = network("D2C3"), network("D2C3", seed=1)
    fresh = {name: value.clone() for name, value in student.state_dict().items()}
    source = {name: value.clone() for name, value in branches.state_dict().items()}
    got = call(answer, student, branches)
    if not isinstance(got, torch.nn.Module):
        raise NotYet(f"the function returns {kind(got)}: return the student.")
    if got is branches:
        raise NotYet(
            "the function returns the network of the joint training itself: return the student with copied weights."
        )
    state = got.state_dict()
    if state.keys() != fresh.keys():
        raise NotYet("the student has other tensors now: copy values, change nothing else.")
    copied = {name: torch.equal(state[name], source[name]) for name in fresh}
    if not any(copied.values()):
        raise NotYet("nothing was copied: the student is as random as before. Silent, and training would still run.")
    if all(copied.values()):
        raise NotYet("S_1 was copied too. No branch passes it, so it was never trained: leave the fresh one.")
    first = {name for name in fresh if name.startswith("blocks.0.")}
    if any(not torch.equal(state[name], fresh[name]) for name in first):
        raise NotYet("S_1 has changed: it stays as it was.")
    missing = sorted(name for name in fresh if name not in first and not copied[name])
    if missing:
        expected = len(fresh) - len(first)
        raise NotYet(f"{len(missing)} of {expected} tensors of S_2 to S_N were not copied, {missing[0]} among them.")
    storages = {p.data_ptr() for p in branches.parameters()}
    if any(p.data_ptr() in storages for p in got.parameters()):
        raise NotYet(
            "both networks now share the same tensors: training the student would change the SFT network as well. "
            "Copy values, with load_state_dict or copy_."
        )
    return "S_2 to S_N copied, S_1 fresh, nothing shared."


@exercise
def interaction(answer: object) -> str:
    """(psnr[teacher, start]) -> (start below the standard teacher, start below the SFT teacher, second minus first)."""
    cells = [("standard", "random"), ("standard", "sft"), ("sft", "random"), ("sft", "sft")]
    expected = "three numbers, the start below each teacher and their difference"
    got = numbers(call(answer, dict(zip(cells, (30.0, 30.1, 30.4, 30.9)))), 3, expected)
    rule_out(got, {
        "this is the effect of the teacher, from each start: keep the teacher and change the start.":
            torch.tensor([0.4, 0.8, 0.4]),
        "the second number changes teacher and start at once: subtract within the row of the SFT teacher.":
            torch.tensor([0.1, 0.9, 0.8]),
        "the signs are turned round: SFT start minus random start.": torch.tensor([-0.1, -0.5, -0.4]),
        "the difference is turned round: below the SFT teacher minus below the standard one.": torch.tensor([0.1, 0.5, -0.4]),
        "the two teachers are swapped: first the standard one.": torch.tensor([0.5, 0.1, -0.4]),
        "the last number is a mean: the interaction is a difference.": torch.tensor([0.1, 0.5, 0.3]),
    }, tolerance=1e-3)  # fmt: skip
    for values in ((30.0, 30.1, 30.4, 30.9), (29.5, 30.0, 29.7, 29.9)):
        a, b, c, d = values
        got = numbers(call(answer, dict(zip(cells, values))), 3, expected)
        hint = "SFT start minus random start in each row; and the second minus the first, whatever the cells hold"
        equal(got, torch.tensor([b - a, d - c, d - c - b + a]), hint, tolerance=1e-3)
    return "the start brings five times as much below the SFT teacher. In one run that is as uncertain as four cells."

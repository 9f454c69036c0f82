"""The start of a student and the 2 x 2 of teacher and start: the checks of notebook 05.

>>> from kdrecon.teaching.checks.sft_kd import effects
>>> effects(None).right
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
def effects(answer: object) -> str:
    """(psnr[teacher, start]) -> (effect of the teacher, effect of the start), means over the other factor."""
    psnr = {("standard", "random"): 30.0, ("standard", "sft"): 30.1, ("sft", "random"): 30.4, ("sft", "sft"): 30.9}
    got = numbers(call(answer, dict(psnr)), 2, "two numbers, of the teacher and of the start")
    rule_out(got, {
        "this is SFT-KD minus Std-KD, twice: teacher and start differ there. Change one at a time.":
            torch.tensor([0.9, 0.9]),
        "each effect is taken in one row only, beside the standard case. Take the mean of both rows.":
            torch.tensor([0.4, 0.1]),
        "each effect is taken beside the SFT case only. Take the mean of both rows.": torch.tensor([0.8, 0.5]),
        "the two numbers are swapped: first the teacher, then the start.": torch.tensor([0.3, 0.6]),
        "the signs are turned round: SFT minus standard, SFT start minus random start.": torch.tensor([-0.6, -0.3]),
        "the two rows are summed: take their mean.": torch.tensor([1.2, 0.6]),
    }, tolerance=1e-3)  # fmt: skip
    hint = "effect of the teacher: sft minus standard for each start, then the mean"
    equal(got, torch.tensor([0.6, 0.3]), hint, tolerance=1e-3)
    return "two effects, each with the other factor held fixed. In one run they are as uncertain as their four cells."

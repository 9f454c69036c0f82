"""Student-friendly joint training: the checks of notebook 04.

>>> from kdrecon.teaching.checks.sft import sft_loss
>>> sft_loss(None).right
False
"""

import torch
from torch import Tensor

from kdrecon.models.dccnn import DCCNN
from kdrecon.models.sft import SFT
from kdrecon.teaching.checks.inputs import measured, network, random
from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, numbers, rule_out, tensor


@exercise
def branch(answer: object) -> str:
    """(sft, i, x_u, y, mask) -> x_{S,i}: the branch that leaves the teacher after T_i."""
    sft, (x_u, y, mask), i = SFT(network("D3C4"), network("D2C4", seed=1)), measured(), 2

    def path(names: str) -> Tensor:
        networks = {"T": sft.teacher, "S": sft.student}
        blocks = [networks[name[0]].blocks[int(name[1]) - 1] for name in names.split()]
        return DCCNN(names, blocks, sft.teacher.fidelity)(x_u, y, mask)

    with torch.no_grad():
        x_teacher, x_branches = sft(x_u, y, mask)
        got = call(answer, sft, i, x_u, y, mask)
        rule_out(got, {
            "the student starts one block too early, with S_i: T_i has done that stage already. Start with S_{i+1}.":
                path("T1 T2 S2 S3 S4"),
            "the branch leaves one block too late: count T_1 to T_i, which are the indices 0 to i - 1.":
                path("T1 T2 T3 S4"),
            "the branch leaves one block too early: count T_1 to T_i, which are the indices 0 to i - 1.":
                path("T1 S2 S3 S4"),
            "this is the teacher's own output: after T_i the student's blocks go on.": x_teacher,
            "this is the plain student: the first i stages belong to the teacher.": path("S1 S2 S3 S4"),
            "a stage is missing between teacher and student: after index i - 1 of the teacher comes index i of the student.":
                path("T1 T2 S4"),
            "the student starts again from x_u: hand it the teacher's image.": path("S3 S4"),
        })  # fmt: skip
        equal(tensor(got, x_u), x_branches[1], "T_1 to T_i, then S_{i+1} to S_N")
        for i in (1, 3):
            other = tensor(call(answer, sft, i, x_u, y, mask), x_u)
            equal(other, x_branches[i - 1], f"it holds for branch 2, but not for {i}")
    return "sft(x_u, y, mask) returns the same images for all branches at once."


@exercise
def sft_loss(answer: object) -> str:
    """(x, x_teacher, x_branches) -> (L_T, L_S, L_imit), scalars; nothing detached."""
    x, x_teacher = random(2, 1, 6, 6), random(2, 1, 6, 6, seed=1).requires_grad_()
    x_branches = random(3, 2, 1, 6, 6, seed=2).requires_grad_()
    got = call(answer, x, x_teacher, x_branches)
    l_t, l_s, l_i = (x - x_teacher).abs().mean(), (x - x_branches).abs().mean(), (x_teacher - x_branches).abs().mean()
    if isinstance(got, Tensor) and got.ndim == 0:
        raise NotYet(
            "the function returns one number: expected the three terms, return l_teacher, l_student, l_imitation."
        )
    values = numbers(got, 3, "three terms, L_T, L_S and L_imit")
    squares = [(a - b).square().mean() for a, b in ((x, x_teacher), (x, x_branches), (x_teacher, x_branches))]
    rule_out(values, {
        "the branches are summed: L_S and L_imit are means over the N - 1 branches.": torch.stack([l_t, 3 * l_s, 3 * l_i]),
        "L_imit compares with x. That is L_S again: imitation is between x_teacher and the branches.":
            torch.stack([l_t, l_s, l_s]),
        "the differences are squared: all three terms are mean absolute differences.": torch.stack(squares),
        "L_imit is divided once more by the number of elements, as in the released code, and so vanishes.":
            torch.stack([l_t, l_s, l_i / x.numel()]),
        "the terms stand in another order: L_T, L_S, L_imit.": torch.stack([l_t, l_i, l_s]),
    })  # fmt: skip
    equal(
        values, torch.stack([l_t, l_s, l_i]), "each term is a mean of |a - b|: (x, x_T), (x, branches), (x_T, branches)"
    )
    if not (isinstance(got[2], Tensor) and got[2].requires_grad):
        raise NotYet("no gradient can flow through L_imit: return tensors and detach nothing.")
    grads = torch.autograd.grad(got[2], (x_teacher, x_branches), allow_unused=True)
    if grads[0] is None:
        raise NotYet("x_teacher is detached in L_imit. Then the teacher does not come to meet the branches.")
    if grads[1] is None:
        raise NotYet("the branches are detached in L_imit: they have to move towards the teacher as well.")
    return "three means, unit weights, nothing detached."


@exercise
def block_calls(answer: object) -> str:
    """(n cascades) -> (student block calls one by one, batched)."""
    both = "two numbers, one by one and batched"
    got = numbers(call(answer, 5), 2, both)
    rule_out(got[:1], {
        "S_1 is counted, but no branch passes it: the longest branch has n - 1 blocks.": torch.tensor([15.0]),
        "there are n - 1 branches, but they are not equally long: branch i passes n - i blocks.": torch.tensor([20.0]),
        "that many blocks would all branches pass if each were as long as the first.": torch.tensor([16.0]),
    })  # fmt: skip
    rule_out(got, {
        "the batched way calls S_2 to S_N once each, which is n - 1, not n.": torch.tensor([10.0, 5.0]),
        "the two numbers are swapped.": torch.tensor([4.0, 10.0]),
    })  # fmt: skip
    for n in (2, 5, 6):
        values = numbers(call(answer, n), 2, both)
        equal(values, torch.tensor([n * (n - 1) / 2, n - 1.0]), f"it does not hold for n = {n}: count in the figure")
    return "the work grows with n squared one by one, with n batched; the sums inside are the same."

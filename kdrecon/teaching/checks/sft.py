"""Student-friendly joint training: the checks of notebook 04.

>>> from kdrecon.teaching.checks.sft import sft_cost
>>> sft_cost(None).right
False
"""

import torch
from torch import Tensor

from kdrecon.models.dccnn import DCCNN
from kdrecon.models.sft import SFT
from kdrecon.teaching.checks.inputs import measured, network, random
from kdrecon.teaching.checks.verdict import NotYet, call, equal, exercise, kind, number, numbers, rule_out, tensor


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
def sft_cost(answer: object) -> str:
    """(n cascades, cost of a teacher block, of a student block) -> cost of a step of SFT in steps of the teacher alone."""
    got = number(call(answer, 5, 8.0, 2.0))
    rule_out(got, {
        "S_1 is counted, but no branch passes it: the longest branch has n - 1 blocks.": 1 + 15 * 2 / 40,
        "there are n - 1 branches, but they are not equally long: branch i passes n - i blocks.": 1 + 16 * 2 / 40,
        "each student block is counted once, but all branches under way pass it: count boxes, not colours.": 1 + 4 * 2 / 40,
        "this is the cost of the branches alone: the teacher runs as well.": 10 * 2 / 40,
        "the branches are compared with one teacher block: the teacher alone has n of them.": 1 + 10 * 2 / 8,
        "this is a cost in multiply-adds: divide by that of the teacher alone.": 40.0 + 10 * 2,
    })  # fmt: skip
    for n, t, s in ((5, 8.0, 2.0), (2, 3.0, 1.0), (6, 28224.0, 576.0)):
        values, want = number(call(answer, n, t, s)), 1 + n * (n - 1) / 2 * s / (n * t)
        equal(values, want, f"it does not hold for n = {n}, {t:g} and {s:g}: count in the figure")
    return (
        "a D5 block has 28,224 multiply-adds a pixel, a D2 block 576, a D3 block 9,792: with D2C5 branches a step of SFT "
        "costs 4 % more than one of the teacher alone, with D3C5 branches 69 %."
    )


@exercise
def audit(answer: object) -> str:
    """(terms, x_teacher, x_branches) -> name -> norms of each term's gradient at the two images."""
    whole: dict[str, tuple[float, ...]] = {}
    for branches in (3, 2):
        x, x_teacher = random(2, 1, 6, 6), random(2, 1, 6, 6, seed=1).requires_grad_()
        x_branches = random(branches, 2, 1, 6, 6, seed=2).requires_grad_()
        terms = {
            "teacher": (x - x_teacher).abs().mean(),
            "imitation": (x_teacher - x_branches).abs().mean(),
            "released": (x_teacher - x_branches).abs().mean() / x.numel(),
            "detached": (x_teacher.detach() - x_branches).abs().mean(),
            "student": 2 * (x - x_branches).square().mean(),
        }
        images = (x_teacher, x_branches)
        grads = {k: torch.autograd.grad(v, images, retain_graph=True, allow_unused=True) for k, v in terms.items()}
        want = {k: tuple(0.0 if g is None else float(g.norm()) for g in pair) for k, pair in grads.items()}
        got = call(answer, dict(terms), x_teacher, x_branches)
        if not isinstance(got, dict) or list(got) != list(terms):
            raise NotYet(
                f"the function returns {kind(got)}: expected a dictionary with a pair for every name of terms."
            )
        values = torch.stack([numbers(got[name], 2, f"two numbers for {name!r}") for name in terms])
        wanted = torch.tensor(list(want.values()), dtype=torch.float64)
        rule_out(values, {
            "the norms are squared: take the root, g.norm().": wanted**2,
            "the two images are swapped: x_teacher first.": wanted.flip(1),
            "these are the norms of one and the same loss: ask each term for its own gradient.":
                _norms(sum(terms.values()), images).expand(len(terms), 2),
            "the gradients of the terms before are added: backward() accumulates into .grad. Use torch.autograd.grad.":
                torch.stack([_norms(sum(list(terms.values())[: k + 1]), images) for k in range(len(terms))]),
        })  # fmt: skip
        equal(values, wanted, "the L2 norm of each term's gradient, 0.0 where none arrives")
        whole = want
    return (
        f"in the released form L_imit arrives with {whole['released'][1]:.0e} instead of {whole['imitation'][1]:.0e}, and "
        "a detached teacher with 0: neither shows in the value of the total."
    )


def _norms(loss: Tensor | float, images: tuple[Tensor, Tensor]) -> Tensor:
    """Norms of the gradients of a loss at images, float64 (2,)."""
    grads = torch.autograd.grad(torch.as_tensor(loss), images, retain_graph=True, allow_unused=True)
    return torch.tensor([0.0 if g is None else float(g.norm()) for g in grads], dtype=torch.float64)

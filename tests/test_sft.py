import pytest
import torch
from helpers import random_image

from kdrecon.models.dccnn import dc_cnn
from kdrecon.models.sft import SFT, sft_loss
from kdrecon.physics.sampling import line_mask, undersample

MASK = line_mask((16, 14), "4x")
X = random_image(3, 1, 16, 14, dtype=torch.float32)


@pytest.mark.parametrize("mode", ["real", "hermitian"])
def test_one_pass_equals_branches_run_one_by_one(mode):
    teacher, student = dc_cnn("D5C5", mode), dc_cnn("D3C5", mode)
    x_u, y = undersample(X, MASK)
    measurement = teacher.fidelity.measure(y, MASK)
    x, branches = x_u, []
    for k in range(5):
        x = teacher.cascade(k, x, measurement).image
        branch = x
        for later in range(k + 1, 5):
            branch = student.cascade(later, branch, measurement).image
        branches.append(branch)
    x_teacher, x_branches = SFT(teacher, student)(x_u, y, MASK)
    assert x_branches.shape == (4, 3, 1, 16, 14)
    torch.testing.assert_close(x_teacher, teacher(x_u, y, MASK))
    torch.testing.assert_close(x_branches, torch.stack(branches[:4]))


def test_four_student_block_calls_and_none_of_the_first():
    sft, calls = SFT(dc_cnn("D5C5"), dc_cnn("D3C5")), [0] * 5
    for k, block in enumerate(sft.student.blocks):
        block.register_forward_hook(lambda *_, k=k: calls.__setitem__(k, calls[k] + 1))
    sft(*undersample(X, MASK), MASK)
    assert calls == [0, 1, 1, 1, 1]


def test_every_block_but_the_first_student_block_gets_a_gradient():
    sft = SFT(dc_cnn("D5C5"), dc_cnn("D3C5")).double()
    sft_loss(X.double(), *sft(*undersample(X.double(), MASK), MASK)).total.backward()
    for blocks, trained in ((sft.teacher.blocks, 5), (sft.student.blocks[1:], 4)):
        norms = [float(conv.weight.grad.norm()) for block in blocks for conv in block.convs]
        assert len(blocks) == trained and min(norms) > 1e-11
    assert all(p.grad is None for p in sft.student.blocks[0].parameters())


def test_loss_by_hand():
    x = torch.zeros(1, 1, 2, 2)
    x_teacher = torch.full_like(x, 0.5)
    x_branches = torch.stack([torch.full_like(x, 1.0), torch.full_like(x, -1.0)])
    loss = sft_loss(x, x_teacher, x_branches)
    assert (loss.teacher, loss.student, loss.imitation, loss.total) == (0.5, 1.0, 1.0, 2.5)
    released = sft_loss(x, x_teacher, x_branches, imitation="released")
    assert released.imitation == 0.25 and released.total == 1.75


def test_imitation_moves_teacher_and_branches():
    x_teacher, x_branches = X.clone().requires_grad_(), (X + 0.1).expand(2, *X.shape).clone().requires_grad_()
    sft_loss(X, x_teacher, x_branches).imitation.backward()
    assert x_teacher.grad.abs().sum() > 0 and x_branches.grad.abs().sum() > 0


def test_refusals():
    with pytest.raises(ValueError, match="5 cascades, student 4"):
        SFT(dc_cnn("D5C5"), dc_cnn("D3C4"))
    with pytest.raises(ValueError, match="'real' of the teacher, 'hermitian'"):
        SFT(dc_cnn("D5C5"), dc_cnn("D3C5", "hermitian"))
    with pytest.raises(ValueError, match="'none' is unknown"):
        sft_loss(X, X, X[None], imitation="none")

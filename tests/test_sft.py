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


def convolved(convs, z):
    """Maps after some convolutions of a VDSR with their ReLU; none where an image comes out."""
    for conv in convs:
        z = conv(z).relu() if conv.out_channels > 1 else conv(z)
    return z


@pytest.mark.parametrize("mode", ["none", "real"])
@pytest.mark.parametrize(("names", "ends"), [(("V12", "V4"), [3, 6, 9]), (("V11", "V7"), [2, 3, 5, 6, 8, 9])])
def test_a_vdsr_in_one_pass_equals_branches_run_one_by_one(names, ends, mode):
    teacher, student = (dc_cnn(name, mode).double() for name in names)
    x_u, y = undersample(X.double(), MASK)
    branches = []
    for i, end in enumerate(ends, start=1):
        z = convolved(student.convs[i:], convolved(teacher.convs[:end], x_u))
        branches.append(x_u + z if mode == "none" else student.fidelity(x_u + z, y, MASK))
    x_teacher, x_branches = SFT(teacher, student)(x_u, y, MASK)
    torch.testing.assert_close(x_teacher, teacher(x_u, y, MASK))
    torch.testing.assert_close(x_branches, torch.stack(branches))


def test_branches_of_a_vdsr_that_share_a_convolution_pass_it_as_one_batch():
    sft, batches = SFT(dc_cnn("V12", "none"), dc_cnn("V4", "none")), []
    for conv in sft.student.convs:
        conv.register_forward_pre_hook(lambda conv, inputs: batches.append(len(inputs[0])))
    sft(*undersample(X, MASK), MASK)
    assert batches == [3, 6, 9]  # of three images, in S2, S3 and S4


def test_every_convolution_of_a_vdsr_but_the_students_first_gets_its_gradients():
    sft = SFT(dc_cnn("V12", "none"), dc_cnn("V4", "none")).double()
    loss = sft_loss(X.double(), *sft(*undersample(X.double(), MASK), MASK))
    for term, reached in ((loss.teacher, (12, [])), (loss.student, (9, [1, 2, 3])), (loss.imitation, (12, [1, 2, 3]))):
        found = torch.autograd.grad(term, list(sft.parameters()), retain_graph=True, allow_unused=True)
        moved = {id(p) for p, g in zip(sft.parameters(), found) if g is not None and g.any()}
        teachers, students = (
            [j for j, c in enumerate(n.convs) if id(c.weight) in moved] for n in (sft.teacher, sft.student)
        )
        assert (teachers, students) == (list(range(reached[0])), reached[1])


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
    with pytest.raises(ValueError, match="D5C5 has 5 cascades, student D3C4: expected as many cascades, at least 2"):
        SFT(dc_cnn("D5C5"), dc_cnn("D3C4"))
    for names in (("V4", "V12"), ("V12", "D3C5"), ("D5C1", "V4"), ("D5C1", "D3C1")):
        with pytest.raises(
            ValueError, match=f"teacher {names[0]} has .* student {names[1]}: expected as many cascades"
        ):
            SFT(*map(dc_cnn, names))
    with pytest.raises(ValueError, match="'real' of the teacher, 'hermitian'"):
        SFT(dc_cnn("D5C5"), dc_cnn("D3C5", "hermitian"))
    with pytest.raises(ValueError, match="'none' is unknown"):
        sft_loss(X, X, X[None], imitation="none")

"""A student whose cascades practise among the teacher's."""

from collections import Counter

import pytest
import torch
from helpers import slices, weights

from kdrecon.distillation import METHODS, method_keys
from kdrecon.distillation.registry import WITHOUT_MAPS
from kdrecon.errors import InputError
from kdrecon.models.dccnn import dc_cnn
from kdrecon.training.loop import fit
from kdrecon.training.objectives import OBJECTIVES, Distillation, Interactive, distil, traits_of
from kdrecon.training.recipe import Recipe


def interactive(seed=0) -> Interactive:
    torch.manual_seed(seed)
    return distil(dc_cnn("D3C5"), dc_cnn("D5C5"), "ikd")


def batch():
    return slices().batch(torch.arange(3))


def test_the_key_builds_the_objective():
    assert isinstance(interactive(), Interactive)
    assert isinstance(distil(dc_cnn("D3C5"), dc_cnn("D5C5"), "at"), Distillation)
    with pytest.raises(InputError, match="'ikd' compares no feature maps"):
        Distillation(dc_cnn("D3C5"), dc_cnn("D5C5"), "ikd")


def test_every_choice_but_the_pure_teacher_is_equally_likely():
    made, n = interactive(), 6200
    draws = Counter(tuple(made.draw()) for _ in range(n))
    assert len(draws) == 31 and (False,) * 5 not in draws
    expected = n / 31
    chi_squared = sum((count - expected) ** 2 / expected for count in draws.values())
    assert chi_squared < 59.7  # 0.999 quantile with 30 degrees of freedom


@pytest.mark.parametrize("own", [(True,) * 5, (True, False, True, False, False), (False, False, False, False, True)])
def test_the_loss_is_that_of_the_drawn_network(own, monkeypatch):
    made, data = interactive(), batch()
    monkeypatch.setattr(made, "draw", lambda: own)
    x, y, mask = data.inputs
    for k, student in enumerate(own):  # cascade by cascade, with the public layers
        model = made.network if student else made.teacher
        x = model.fidelity(model.blocks[k](x)[0], y, mask)
    loss = made(data)
    torch.testing.assert_close(loss.total, (x - data.x).abs().mean())
    assert torch.equal(loss.total, loss.terms["reconstruction"])
    loss.total.backward()
    assert all((block.convs[0].weight.grad is not None) == student for block, student in zip(made.network.blocks, own))
    assert all(p.grad is None for p in made.teacher.parameters())


def test_the_student_alone_is_evaluated():
    made = interactive()
    assert made.evaluated is made.network
    assert set(made.network.state_dict()) == set(dc_cnn("D3C5").state_dict())


def test_networks_that_do_not_fit():
    for teacher, message in ((dc_cnn("D5C4"), "cascades"), (dc_cnn("D5C5", fidelity="hermitian"), "data fidelity")):
        for key in ("ikd", "at"):
            with pytest.raises(ValueError, match=f"{message} of the student: .*expected the same"):
                distil(dc_cnn("D3C5"), teacher, key)


def test_a_continued_training_goes_on_drawing_where_it_was(tmp_path, monkeypatch):
    """Draws follow from the seed of the recipe, whatever else draws numbers in the process."""
    monkeypatch.setattr(Recipe, "lr_step", 1)

    def run(folder, epochs):
        made = interactive()
        torch.rand(len(folder))
        fit(made, slices(), slices(2, seed=1), Recipe(epochs, 2, precision="fp32"), tmp_path / folder, {"a": 1})
        return weights(made.network)

    whole = run("whole", 3)
    run("cut", 2)
    assert torch.equal(run("cut", 3), whole)


def test_methods_that_are_an_objective_of_their_own():
    assert tuple(OBJECTIVES) == WITHOUT_MAPS == ("ikd", "image") and method_keys() == [*METHODS, "ikd", "image"]
    assert traits_of("ikd") == (1.0, 1, True, 2)  # the weight stands in the checkpoints of version 0.1
    assert traits_of("sp", "released") == (0.2, 2, False, 1)
    for switches in ({"stage": "features"}, {"alpha": 0.5}):
        with pytest.raises(InputError, match="'ikd' has a single loss term"):
            distil(dc_cnn("D3C5"), dc_cnn("D5C5"), "ikd", **switches)

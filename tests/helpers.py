"""Laws that several operators share, written once."""

import signal
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest
import torch
from torch import Tensor

from kdrecon.data.slices import Label, MemorySlices
from kdrecon.distillation import METHODS, TAPS
from kdrecon.models.dccnn import dc_cnn
from kdrecon.models.sft import SFT
from kdrecon.physics.sampling import line_mask
from kdrecon.tasks import Reconstruction
from kdrecon.training.loop import Training
from kdrecon.training.objectives import Loss, Objective, StudentFriendly, Supervised, distil

# What the papers and the older runs of the sample are trained with, where the defaults are those of the course.
PAPER = {"dataset": "sample", "preset": "paper", "lr_schedule": "steps", "augment": "none"}
SIZES = [(8, 8), (9, 7), (12, 15)]
# Of a D3 block, the one weight without a gradient: it adds to DC alone, and data fidelity takes that back where DC is
# measured. Rounding may move it, or not.
LAST_BIAS = "convs.2.bias"


def dot(a: Tensor, b: Tensor) -> Tensor:
    """<a, b> = sum conj(a) b."""
    return (a.conj() * b).sum()


def assert_adjoint(forward, adjoint, x: Tensor, z: Tensor) -> None:
    """<A x, z> = <x, A^H z>."""
    torch.testing.assert_close(dot(forward(x), z), dot(x, adjoint(z)).to(z.dtype))


def assert_idempotent(operator, x: Tensor) -> None:
    """A A x = A x."""
    once = operator(x)
    torch.testing.assert_close(operator(once), once)


def random_complex(*shape: int, dtype=torch.complex128, seed: int = 0) -> Tensor:
    return torch.randn(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def random_image(*shape: int, dtype=torch.float64, seed: int = 0) -> Tensor:
    return torch.rand(*shape, dtype=dtype, generator=torch.Generator().manual_seed(seed))


def slices(n=5, size=16, seed=0) -> MemorySlices:
    """n smooth random images as a split in memory."""
    coarse = random_image(n, 1, 4, 4, dtype=torch.float32, seed=seed)
    x = torch.nn.functional.interpolate(coarse, (size, size), mode="bicubic").clamp(0, 1)
    mask = line_mask((size, size), "4x")
    return MemorySlices.of(x, Reconstruction(mask), [Label(Path("1"), "1", number, "someone") for number in range(n)])


class Drawing(Supervised):
    """An objective that draws: each step a random part of the loss."""

    def forward(self, batch) -> Loss:
        loss = super().forward(batch).total * torch.rand(())
        return Loss(loss, {"reconstruction": loss})


def objective(kind: str) -> Objective:
    """ "supervised", "drawing", "sft" or the key of a distillation method, always with the same first weights."""
    torch.manual_seed(0)
    teacher, student = dc_cnn("D5C5"), dc_cnn("D3C5")
    if kind in ("supervised", "drawing"):
        return Supervised(student) if kind == "supervised" else Drawing(student)
    return StudentFriendly(SFT(teacher, student)) if kind == "sft" else distil(student, teacher, kind)


def stop_at_step(monkeypatch, step, action):
    """Let the action happen in the given step of the next training."""
    real, calls = Training.step, []

    def counted(*args):
        real(*args)
        calls.append(1)
        if len(calls) == step:
            action()

    monkeypatch.setattr(Training, "step", counted)


@contextmanager
def interrupted(step: int) -> Iterator[None]:
    """Ctrl-C in the given step of the training within, which ends with it."""
    with pytest.MonkeyPatch.context() as patch:
        stop_at_step(patch, step, lambda: signal.raise_signal(signal.SIGINT))
        with pytest.raises(KeyboardInterrupt):
            yield


def weights(network) -> torch.Tensor:
    """All parameters as one vector."""
    return torch.cat([p.detach().flatten() for p in network.parameters()])


def maps(key, *shape, seed=0, dtype=torch.float32, cascades=2) -> list:
    """Random maps in the form the method wants: a list over cascades of maps, or of pairs of maps."""
    generator = torch.Generator().manual_seed(seed)
    count = len(TAPS[METHODS[key].taps])
    made = [[torch.randn(shape, generator=generator, dtype=dtype) for _ in range(count)] for _ in range(cascades)]
    return [tuple(cascade) if count > 1 else cascade[0] for cascade in made]


def flat(tensors) -> list[Tensor]:
    """The maps of all cascades in one list."""
    return [t for cascade in tensors for t in (cascade if isinstance(cascade, tuple) else (cascade,))]


def method(key, channels=4, cascades=2):
    """A distillation method for few channels and cascades, always with the same first weights of its own."""
    torch.manual_seed(0)
    return METHODS[key](channels=channels, cascades=cascades)


def one_line(error) -> str:
    """The message of an InputError that pytest caught, which has no second line."""
    message = str(error.value)
    assert "\n" not in message and len(message) < 1000
    return message

"""Laws that several operators share, written once."""

import torch
from torch import Tensor

SIZES = [(8, 8), (9, 7), (12, 15)]


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

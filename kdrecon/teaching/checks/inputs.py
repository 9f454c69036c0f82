"""Small inputs that the checks try answers on.

>>> from kdrecon.teaching.checks.inputs import measured, network
>>> x_u, y, mask = measured()
>>> network("D3C5")(x_u, y, mask).shape == x_u.shape
True
"""

import torch
from torch import Tensor

from kdrecon.models.dccnn import DCCNN, dc_cnn
from kdrecon.physics.sampling import line_mask, undersample


def random(*shape: int, seed: int = 0) -> Tensor:
    """Numbers between 0 and 1, float32, without touching the student's random state."""
    return torch.rand(*shape, generator=torch.Generator().manual_seed(seed))


def network(name: str, seed: int = 0) -> DCCNN:
    """A DC-CNN with random weights, twice PyTorch's, so that no block is without effect."""
    with torch.random.fork_rng(devices=[]), torch.no_grad():
        torch.manual_seed(seed)
        model = dc_cnn(name)
        for p in model.parameters():
            p.mul_(2)
        return model


def measured() -> tuple[Tensor, Tensor, Tensor]:
    """x_u, y and mask of a batch of two small images."""
    mask = line_mask((16, 16), 2)
    return *undersample(random(2, 1, 16, 16), mask), mask

"""A method that compares singular vectors of feature maps.

>>> import torch
>>> from kdrecon.distillation.spectral import leading_vector
>>> leading_vector(torch.rand(2, 4, 8, 8)).shape
torch.Size([2, 4])
"""

import torch
from torch import Tensor

from kdrecon.distillation.base import Method
from kdrecon.distillation.features import pixels_by_channels


class SingularVectors(Method):
    """KDSVD: how the main pattern of channels turns from one cascade to the next.

    L = mean over B and consecutive cascades of sum_ab (R_s - R_t)^2 (a, b: channels), with R[a, b] =
    exp(-(v_k[a] - v_{k+1}[b])^2 / 8) and v_k (B, C) the leading right-singular vector of cascade k's maps as a matrix (N, C).
    The student's is that among its leading four which resembles the teacher's most, with its sign.

    Source: Lee et al. 2018, with one singular vector, and consecutive cascades instead of the stages of a classifier. The
    sign of the teacher's vector, which a decomposition leaves open, is here the one with a positive sum.
    """

    min_cascades = 2
    weight = 1e-2

    def target(self, t: Tensor, cascade: int) -> Tensor:
        return leading_vector(t)

    def compare(self, students: list[Tensor], targets: list[Tensor]) -> Tensor:
        vectors = [resembling_vector(s, v) for s, v in zip(students, targets, strict=True)]
        losses = [(a - b).square().sum((1, 2)).mean() for a, b in zip(turns(vectors), turns(targets))]
        return torch.stack(losses).mean().to(students[0].dtype)


def turns(vectors: list[Tensor]) -> list[Tensor]:
    """R (B, C, C) for each pair of consecutive vectors (B, C)."""
    return [(-(a[:, :, None] - b[:, None, :]).square() / 8).exp() for a, b in zip(vectors, vectors[1:])]


def leading_vector(maps: Tensor) -> Tensor:
    """Leading right-singular vector of maps (B, C, H, W), its sum not negative: (B, C), float64."""
    v = right_singular_vectors(maps, 1)[:, :, 0]
    return torch.where(v.sum(1, keepdim=True) < 0, -v, v)


def resembling_vector(maps: Tensor, target: Tensor) -> Tensor:
    """That of the four leading right-singular vectors of maps (B, C, H, W) with the largest |cosine| to target (B, C)."""
    v = right_singular_vectors(maps, 4)
    cosine = (v.mT @ target[:, :, None])[:, :, 0]
    best = cosine.abs().argmax(1)[:, None]
    v = v.gather(2, best[:, :, None].expand(-1, v.shape[1], -1))[:, :, 0]
    return torch.where(cosine.gather(1, best) < 0, -v, v)


def right_singular_vectors(maps: Tensor, count: int) -> Tensor:
    """The leading right-singular vectors of maps (B, C, H, W) as matrices (N, C): (B, C, count), float64.

    They are eigenvectors of the Gram matrix (C, C), which is divided by its trace and set apart by 1e-6 diag(0 ... 1): equal
    eigenvalues, as dead channels have them, would make the gradient infinite.
    """
    f = pixels_by_channels(maps.double())
    gram = f.mT @ f
    trace = gram.diagonal(dim1=1, dim2=2).sum(1).clamp(min=1e-30)
    apart = 1e-6 * torch.linspace(0, 1, gram.shape[1], dtype=gram.dtype, device=gram.device).diag()
    return torch.linalg.eigh(gram / trace[:, None, None] + apart).eigenvectors.flip(2)[:, :, :count]

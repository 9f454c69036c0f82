"""DC-CNN and DC-UNet: a cascade of small convolutional networks, each followed by a data-fidelity layer."""

from collections.abc import Container, Iterable

from torch import Tensor, nn

from kdrecon.models.architectures import UNET, network_shape
from kdrecon.models.blocks import CNNBlock, UNetBlock
from kdrecon.physics.fidelity import DataFidelity, Measurement


class DCCNN(nn.Module):
    """c cascades of a CNN block and data fidelity, x_k = DF(CNN_k(x_{k-1}), y), from the zero-filled image x_0 = x_u.

    Args:
        name: of the architecture, see :func:`dc_cnn`.
        blocks: one a cascade, :class:`CNNBlock` or :class:`UNetBlock`.
        fidelity: "real" or "hermitian" (see :class:`kdrecon.physics.fidelity.DataFidelity`).

    Source: Schlemper et al. 2018; architecture table of SFT-KD-Recon.
    """

    def __init__(self, name: str, blocks: Iterable[nn.Module], fidelity: str = "real"):
        super().__init__()
        self.name = name
        self.blocks = nn.ModuleList(blocks)
        self.fidelity = DataFidelity(fidelity)

    @property
    def depth(self) -> int:
        """Tapped convolutions of a block."""
        return len(self.blocks[0].convs)

    def forward(self, x_u: Tensor, y: Tensor, mask: Tensor, taps: bool | Container[int] = False):
        """Reconstruct a batch.

        Args:
            x_u: zero-filled images (B, 1, H, W), float32.
            y: measured k-space (B, 1, H, W), complex64, unshifted; ignored off the mask.
            mask: (H, W), bool.
            taps: True, or the indices (from 0) of the convolutions whose maps are wanted.

        Returns:
            x_rec (B, 1, H, W); with taps also nested lists: ``taps[cascade][conv]`` is a :class:`Tap` of (B, C, H, W)
            maps, or None for a convolution that was not asked for.
        """
        measurement = self.fidelity.measure(y, mask)
        x, all_taps = x_u, []
        for k in range(len(self.blocks)):
            x, kept = self.cascade(k, x, measurement, taps)
            all_taps.append(kept)
        return (x, all_taps) if taps else x

    def cascade(self, k: int, x: Tensor, measurement: Measurement, taps: bool | Container[int] = False):
        """One cascade (k from 0): block k, then data fidelity. Returns (x, taps of the block)."""
        x, kept = self.blocks[k](x, taps)
        return self.fidelity.apply_to(x, measurement), kept


def dc_cnn(name: str, fidelity: str = "real", residual: bool = False) -> DCCNN:
    """The DC-CNN called DdCc: c cascades of d convolutions; D5C5 is the paper's teacher, D3C5 its student.

    Args:
        name: such as "D5C5" (141,765 parameters), "D4C5" (95,525), "D3C5" (49,285), "D2C5" (3,045); or "DC-UNet" (418,565),
            five cascades of :class:`UNetBlock`.
        fidelity: "real" or "hermitian".
        residual: residual connection round each block.

    Returns:
        the network with PyTorch's default initialisation.

    Raises:
        InputError: see :func:`network_shape`.
    """
    depth, cascades = network_shape(name)
    blocks = (UNetBlock(residual) if name == UNET else CNNBlock(depth, residual) for _ in range(cascades))
    return DCCNN(name, blocks, fidelity)


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values in the model."""
    return sum(p.numel() for p in model.parameters())

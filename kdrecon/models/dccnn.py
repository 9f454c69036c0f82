"""DC-CNN, DC-UNet and VDSR: convolutional networks, each followed by a data-fidelity layer, in a cascade or alone.

>>> from kdrecon.models.dccnn import count_parameters, dc_cnn
>>> student = dc_cnn("D3C5")
>>> len(student.blocks), student.depth
(5, 3)
>>> count_parameters(dc_cnn("D5C5")), count_parameters(student)
(141765, 49285)
"""

from collections.abc import Callable, Container, Iterable, Iterator
from functools import partial
from typing import Any, Literal, NamedTuple, cast, overload

from torch import Tensor, nn

from kdrecon.models.architectures import AUTHORS_UNET, UNET, counterpart, is_vdsr, network_shape
from kdrecon.models.blocks import AuthorsUNetBlock, CNNBlock, Tap, UNetBlock, VDSRBlock
from kdrecon.physics.fidelity import DataFidelity, Measurement

Maps = list[list[Tap | None]]  # maps[cascade][conv]; None: a convolution that was not asked for


class Stage(NamedTuple):
    """What one cascade makes of an image: the block's proposal, the image after data fidelity, and the block's maps."""

    proposal: Tensor  # (B, C, H, W)
    image: Tensor  # (B, C, H, W)
    maps: list[Tap | None]


class DCCNN(nn.Module):
    """c cascades of a CNN block and data fidelity, x_k = DF(CNN_k(x_{k-1}), y), from the zero-filled image x_0 = x_u.

    Called as ``model(x_u, y, mask)`` it returns what :meth:`forward` does, with ``taps`` what :meth:`features` does.

    Args:
        name: of the architecture, see :func:`dc_cnn`.
        blocks: one a cascade, :class:`CNNBlock` or :class:`UNetBlock`.
        fidelity: the measurement that images are held to, such as :class:`kdrecon.physics.fidelity.DataFidelity`.

    Source: Schlemper et al. 2018; architecture table of SFT-KD-Recon.
    """

    def __init__(self, name: str, blocks: Iterable[nn.Module], fidelity: Measurement[Any]):
        super().__init__()
        self.name = name
        self.blocks = nn.ModuleList(blocks)
        self.fidelity = fidelity

    @property
    def parts(self) -> list[nn.Module]:
        """What student-friendly training unfolds a student into: its blocks."""
        return list(self.blocks)

    def part(self, k: int, count: int, z: Tensor, x_u: Tensor, measured: Any) -> Tensor:
        """What part k of a network in so many parts passes on to the next one: here the image after cascade k.

        Args:
            k: number of the part, from 0.
            count: parts that the network is unfolded into, as many as the student has.
            z: what the part before has passed on, (n B, C, H, W): the batch n times over.
            x_u: zero-filled images (B, 1, H, W).
            measured: of the n B images, see :meth:`cascade`.
        """
        return self.cascade(k, z, measured).image

    @property
    def convs(self) -> list[nn.Conv2d]:
        """The tapped convolutions of the first block; those of the others are like them."""
        return list(cast(Iterable[nn.Conv2d], self.blocks[0].convs))

    @property
    def depth(self) -> int:
        """Tapped convolutions of a block."""
        return len(self.convs)

    @overload
    def __call__(self, x_u: Tensor, y: Tensor, mask: Tensor) -> Tensor: ...

    @overload
    def __call__(
        self, x_u: Tensor, y: Tensor, mask: Tensor, *, taps: Literal[True] | Container[int]
    ) -> tuple[Tensor, Maps]: ...

    def __call__(
        self, x_u: Tensor, y: Tensor, mask: Tensor, taps: bool | Container[int] = False
    ) -> Tensor | tuple[Tensor, Maps]:
        return self.features(x_u, y, mask, layers=taps) if taps else super().__call__(x_u, y, mask)

    def forward(self, x_u: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Reconstruct a batch.

        Args:
            x_u: zero-filled images (B, 1, H, W), float32.
            y: measured k-space (B, 1, H, W), complex64, unshifted; ignored off the mask.
            mask: (H, W), bool.

        Returns:
            x_rec (B, 1, H, W).
        """
        return self.features(x_u, y, mask, layers=())[0]

    def features(
        self, x_u: Tensor, y: Tensor, mask: Tensor, *, layers: Literal[True] | Container[int] = True
    ) -> tuple[Tensor, Maps]:
        """Reconstruct a batch as :meth:`forward` does, and keep feature maps.

        Args:
            x_u, y, mask: see :meth:`forward`.
            layers: True, or the indices (from 0) of the convolutions whose maps are wanted.

        Returns:
            x_rec (B, 1, H, W), and nested lists: ``maps[cascade][conv]`` is a :class:`Tap` of (B, C, H, W) maps, or None
            for a convolution that was not asked for.
        """
        x_rec, maps = x_u, []
        for stage in self.stages(x_u, y, mask, layers=layers):
            x_rec = stage.image
            maps.append(stage.maps)
        return x_rec, maps

    def stages(
        self, x_u: Tensor, y: Tensor, mask: Tensor, *, layers: Literal[True] | Container[int] = ()
    ) -> Iterator[Stage]:
        """The cascades of a reconstruction one after the other; arguments as in :meth:`features`, no maps by default."""
        measured, x = self.fidelity.measure(y, mask), x_u
        for k in range(len(self.blocks)):
            stage = self.cascade(k, x, measured, layers)
            x = stage.image
            yield stage

    def cascade(self, k: int, x: Tensor, measured: Any, layers: Literal[True] | Container[int] = ()) -> Stage:
        """One cascade (k from 0): block k on an image x (B, 1, H, W), then data fidelity.

        Args:
            k: number of the cascade, from 0.
            x: image (B, 1, H, W).
            measured: what ``self.fidelity.measure(y, mask)`` returns.
            layers: see :meth:`features`.
        """
        proposal, maps = self.blocks[k](x, layers)
        return Stage(proposal, self.fidelity.apply_to(proposal, measured), maps)


class VDSR(DCCNN):
    """One block of convolutions at full width whose input is added to its output; data fidelity follows, unless "none".

    It stands for a single cascade. SFT unfolds it by its convolutions: a student's part is one of them, a teacher's the
    group up to :func:`kdrecon.models.architectures.counterpart`. What a part passes on are feature maps (B, 64, H, W), the
    last one the image.

    Source: Kim et al. 2016; KD-MRI and the appendix of SFT-KD-Recon, in the depths 11, 7, 12 and 4.
    """

    @property
    def parts(self) -> list[nn.Module]:
        """Its convolutions."""
        return list(self.convs)

    def part(self, k: int, count: int, z: Tensor, x_u: Tensor, measured: Any) -> Tensor:
        """The maps after group k, of the last one the image after data fidelity; see :meth:`DCCNN.part`."""
        first, last = (counterpart(j, self.depth, count) for j in (k, k + 1))
        z = cast(VDSRBlock, self.blocks[0]).between(first, last, z)
        if k < count - 1:
            return z
        proposal = (x_u + z.unflatten(0, (-1, len(x_u)))).flatten(0, 1)
        return self.fidelity.apply_to(proposal, measured)


def dc_cnn(name: str, fidelity: str = "real", residual: bool = False) -> DCCNN:
    """The DC-CNN called DdCc: c cascades of d convolutions; D5C5 is the paper's teacher, D3C5 its student.

    Args:
        name: such as "D5C5" (141,765 parameters), "D4C5" (95,525), "D3C5" (49,285), "D2C5" (3,045); or "DC-UNet" (418,565),
            five cascades of :class:`UNetBlock`, and "DC-UNet-author" (2,218,415), of :class:`AuthorsUNetBlock`; or Vd, a
            :class:`VDSR`, such as "V12" (370,497), "V4" (75,073).
        fidelity: "real", "hermitian" or "none" (see :class:`kdrecon.physics.fidelity.DataFidelity`).
        residual: residual connection round each block; a VDSR and DC-UNet-author always have it.

    Returns:
        the network with PyTorch's default initialisation.

    Raises:
        InputError: see :func:`network_shape`.
    """
    depth, cascades = network_shape(name)
    if is_vdsr(name):
        return VDSR(name, [VDSRBlock(depth)], DataFidelity(fidelity))
    made: dict[str, Callable[[], nn.Module]] = {UNET: partial(UNetBlock, residual), AUTHORS_UNET: AuthorsUNetBlock}
    block = made.get(name, partial(CNNBlock, depth, residual))
    return DCCNN(name, [block() for _ in range(cascades)], DataFidelity(fidelity))


def count_parameters(model: nn.Module) -> int:
    """Number of trainable values in the model."""
    return sum(p.numel() for p in model.parameters())

"""What the names of networks mean.

>>> from kdrecon.models.architectures import network_shape
>>> network_shape("D5C3"), network_shape("V12")
((5, 3), (12, 1))
"""

import re

from kdrecon.errors import InputError, shown

UNET, AUTHORS_UNET, UNET_CASCADES = "DC-UNet", "DC-UNet-author", 5
FITTING = "as many cascades, at least 2; or a VDSR each, the student no deeper than the teacher"


def network_shape(name: str) -> tuple[int, int]:
    """Tapped convolutions of a block and cascades, (d, c), of a network by its name: "D5C5" -> (5, 5).

    Raises:
        InputError: the name is neither "DC-UNet", "DC-UNet-author", nor DdCc with d of 2 to 99 and c of 1 to 99, nor Vd of a
            VDSR.
    """
    if name in (UNET, AUTHORS_UNET):
        return 3, UNET_CASCADES
    match = re.fullmatch(r"(?:D([0-9]{1,2})C|V)([0-9]{1,2})", name if isinstance(name, str) else "")
    depth, cascades = (int(match[1] or match[2]), int(match[2]) if match[1] else 1) if match else (0, 0)
    if depth < 2 or cascades < 1:
        raise InputError(
            f"network name {shown(name)}: expected DdCc with d >= 2 and c >= 1, both below 100, such as 'D5C5' or 'D3C5', "
            f"{UNET!r}, {AUTHORS_UNET!r}, or Vd, such as 'V12'"
        )
    return depth, cascades


def is_vdsr(name: str) -> bool:
    """Whether a network of this name is a VDSR: one chain of convolutions, no cascades."""
    return name.startswith("V")


def always_residual(name: str) -> bool:
    """Whether the blocks of a network of this name add their input to their output, whatever the switch says."""
    return is_vdsr(name) or name == AUTHORS_UNET


def fits(teacher: int, student: int, vdsr: bool) -> bool:
    """Whether a student of so many cascades, or of convolutions in a VDSR, can be unfolded along a teacher: see FITTING."""
    return 2 <= student <= teacher if vdsr else student == teacher >= 2


def counterpart(conv: int, depth: int, student_depth: int) -> int:
    """The convolution of a VDSR teacher of a depth that ends where a student's convolution does: round(conv a / b).

    Of V12 and V4 that is every third, so that the teacher falls into four groups; of V11 and V7 conv 6 for the student's 4.
    """
    return (2 * conv * depth + student_depth) // (2 * student_depth)

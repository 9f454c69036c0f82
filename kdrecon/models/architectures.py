"""What the names of networks mean.

>>> from kdrecon.models.architectures import network_shape
>>> network_shape("D5C3")
(5, 3)
"""

import re

from kdrecon.errors import InputError, shown

UNET, UNET_CASCADES = "DC-UNet", 5


def network_shape(name: str) -> tuple[int, int]:
    """Tapped convolutions of a block and cascades, (d, c), of a network by its name: "D5C5" -> (5, 5).

    Raises:
        InputError: the name is neither "DC-UNet" nor DdCc with d of 2 to 99 and c of 1 to 99.
    """
    if name == UNET:
        return 3, UNET_CASCADES
    match = re.fullmatch(r"D([0-9]{1,2})C([0-9]{1,2})", name if isinstance(name, str) else "")
    if not match or int(match[1]) < 2 or int(match[2]) < 1:
        raise InputError(
            f"network name {shown(name)}: expected DdCc with d >= 2 and c >= 1, both below 100, such as 'D5C5' or 'D3C5', "
            f"or {UNET!r}"
        )
    return int(match[1]), int(match[2])

"""What images have to be before a network gets them, whatever file they come from.

>>> import numpy as np
>>> from kdrecon.app.scans.images import checked
>>> images, notes = checked(np.array([[[0, 1.5], [np.nan, 2]]], np.float32), "scan.nii")
>>> images[0, 1, 0], notes
(np.float32(0.0), ['1 voxels that were NaN, outside the field of view, are 0'])
"""

import numpy as np

from data_prep.steps import check_images, fill_outside


def checked(images: np.ndarray, where: str) -> tuple[np.ndarray, list[str]]:
    """Magnitude images (S, H, W), float32, finite and not negative, and what was set to 0.

    Raises:
        InputError: they are none, see :func:`data_prep.steps.check_images`.
    """
    images, outside = fill_outside(images)
    images, negative = check_images(images, where)
    found = {
        f"{outside} voxels that were NaN, outside the field of view, are 0": outside,
        f"{negative} slightly negative voxels are 0": negative,
    }
    return images, [note for note, count in found.items() if count]

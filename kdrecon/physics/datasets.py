"""The data sets of the papers and ours: whose published masks each has, and thereby the usual size of its images.

Read without PyTorch. The published figures name their data sets likewise (kdrecon/results/published.toml).

>>> from kdrecon.physics.datasets import usual_size
>>> usual_size("cardiac"), usual_size("knee"), usual_size("mine")
((150, 150), (640, 368), None)
"""

import tomllib
from functools import cache
from typing import Any

from kdrecon.storage.places import LIBRARY

FAMILY = {  # of published masks, by data set
    "sample": "mrbrain",
    "people": "mrbrain",
    "mrbrain": "mrbrain",
    "cardiac": "cardiac",
    "sunnybrook": "cardiac",
    "knee": "knee",
}


@cache
def published_lines() -> dict[str, dict[str, dict[str, Any]]]:
    """The published masks by family and acceleration: shape (H, W), axis of the lines, and their numbers."""
    return tomllib.loads((LIBRARY / "physics" / "masks.toml").read_text(encoding="utf-8"))


def usual_size(dataset: str) -> tuple[int, int] | None:
    """The size (H, W) of a data set's images, which its published masks fit; None for a data set without any."""
    if dataset not in FAMILY:
        return None
    height, width = published_lines()[FAMILY[dataset]]["4x"]["shape"]
    return height, width

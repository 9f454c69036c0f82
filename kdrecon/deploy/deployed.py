"""A network as a person names it, ready to reconstruct: trained here, shipped, or exported.

>>> from kdrecon.deploy.deployed import open_deployed
>>> student = open_deployed("D2C5_student")
>>> student.title, student.data.size
('D2C5 student', (120, 120))
"""

from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor

from kdrecon.deploy.exported import Exported, read_exported
from kdrecon.deploy.training_data import TrainingData
from kdrecon.errors import InputError
from kdrecon.models.dccnn import DCCNN
from kdrecon.runs.networks import open_checkpoint, open_network
from kdrecon.runs.shipped import find_network
from kdrecon.storage.places import SHIPPED

USE = "for research and teaching, not for clinical use"


@dataclass(frozen=True)
class Deployed:
    """A network that reconstructs scans.

    Attributes:
        path: where it lies.
        network: in PyTorch, or in ONNX Runtime.
        data: what it was trained on.
    """

    path: Path
    network: DCCNN | Exported
    data: TrainingData

    @property
    def title(self) -> str:
        """Architecture and kind of training, and the precision of an exported one where it is not fp32."""
        precision = self.network.said.get("precision", "") if isinstance(self.network, Exported) else ""
        return self.data.experiment.title + (f" {precision}" if precision not in ("", "fp32") else "")

    @property
    def licence(self) -> str:
        """That of the weights, where it is known."""
        return "MIT" if self.path.parent == SHIPPED else "not stated"

    @torch.no_grad()
    def reconstruct(self, x_u: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """The images (B, 1, H, W) of a batch.

        Args:
            x_u: zero-filled images (B, 1, H, W), float32, scaled by the volume's maximum.
            y: k-space (B, 1, H, W), complex64, in the same scale.
            mask: (H, W), bool.

        Raises:
            InputError: the network gives NaN, or is exported for masks of another form.
        """
        images = self.network(x_u, y, mask)
        if not images.isfinite().all():
            raise InputError(f"{self.path} gives NaN or infinite values: expected images; train the network anew")
        return images


def open_deployed(name: str, threads: int = 0) -> Deployed:
    """A network by the name that :func:`kdrecon.runs.shipped.find_network` knows.

    Args:
        name: experiment folder, best_model.pt, exported .onnx, or name of a shipped network.
        threads: of ONNX Runtime, for an exported one; 0 for all.

    Raises:
        InputError: there is none, or it cannot be read.
    """
    path = find_network(name)
    if path.suffix.lower() == ".onnx":
        exported = read_exported(path, threads)
        return Deployed(path, exported, exported.data)
    network = open_network(path) if path.is_dir() else open_checkpoint(path)
    assert isinstance(network.model, DCCNN)
    return Deployed(path, network.model, TrainingData.of(network.experiment))

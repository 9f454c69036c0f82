"""Networks as ONNX files: proven equal to PyTorch's on the embedded sample before anything is written.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from kdrecon.deploy.deployed import open_deployed
>>> from kdrecon.deploy.exporting import export
>>> with TemporaryDirectory() as folder:
...     export(open_deployed("D2C5_student"), Path(folder) / "student.onnx").error < 1e-4
True
"""

import copy
import logging
import tempfile
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from kdrecon import __version__
from kdrecon.choices import TOLERANCES
from kdrecon.data.slices import Slices
from kdrecon.data.splits import Split, load_split
from kdrecon.deploy.deployed import USE, Deployed
from kdrecon.deploy.exported import FORMAT, Exported, digest, optional_import
from kdrecon.deploy.graph import build_graph, feeds
from kdrecon.deploy.training_data import FORMS, TrainingData
from kdrecon.errors import InputError
from kdrecon.metrics import psnr
from kdrecon.models.dccnn import DCCNN
from kdrecon.physics.fidelity import DataFidelity
from kdrecon.physics.sampling import line_axis
from kdrecon.runs.networks import weights_hash
from kdrecon.runs.parameters import Parameters
from kdrecon.storage.files import replacing
from kdrecon.tasks import MeasuredBatch, Reconstruction

if TYPE_CHECKING:
    from onnx import ModelProto

COMPARED = 8  # test slices of the sample
CALIBRATION = 16  # training slices that the ranges of int8 are taken from


@dataclass(frozen=True)
class Parity:
    """How an exported network differs from PyTorch's on the test slices of the embedded sample.

    Attributes:
        error: largest absolute difference of a pixel; images reach 1.
        psnr: mean over slices in dB, of PyTorch's and of the exported one.
        bytes: size of the file.
    """

    error: float
    psnr: tuple[float, float]
    bytes: int

    @property
    def loss(self) -> float:
        """PSNR that the export costs, in dB."""
        return self.psnr[0] - self.psnr[1]


def export(deployed: Deployed, out: Path, precision: str = "fp32") -> Parity:
    """Write a network as an ONNX file whose inputs are x_u, x_y and the operator of data fidelity.

    Args:
        deployed: a network in PyTorch.
        out: the file.
        precision: a key of :data:`kdrecon.choices.TOLERANCES`: of the convolutions; data fidelity stays in fp32.

    Raises:
        InputError: it is exported already, has a block without a graph, or differs from PyTorch by more than
            :data:`kdrecon.choices.TOLERANCES` allows; nothing is written then. Or onnx or onnxruntime is not installed.
    """
    onnx = optional_import("onnx")
    optional_import("onnxruntime")
    network, data = deployed.network, deployed.data
    if not isinstance(network, DCCNN):
        raise InputError(f"{deployed.path} is exported already: expected a network in PyTorch; name its best_model.pt")
    model = in_memory(network, deployed, precision)
    onnx.checker.check_model(model, full_check=True)
    found = parity(network, Exported(model, threads=torch.get_num_threads()), data, model.ByteSize())
    if not found.error <= TOLERANCES[precision]:
        raise InputError(
            f"{precision} of {deployed.title} differs from PyTorch by up to {found.error:.2g}: expected at most "
            f"{TOLERANCES[precision]:g}; nothing was written, choose a higher precision"
        )
    with replacing(out) as temporary:
        temporary.write_bytes(model.SerializeToString())
    return found


def in_memory(network: DCCNN, deployed: Deployed, precision: str = "fp32") -> "ModelProto":
    """The model of a network with its metadata, as :func:`export` writes it."""
    model = build_graph(network, FORMS[line_axis(deployed.data.mask)], half=precision == "fp16")
    if precision == "int8":
        model = quantised(model, deployed.data)
    say(model, metadata(deployed, network, precision))
    return model


def say(model: "ModelProto", entries: dict[str, str]) -> None:
    """Put metadata into a model, with the fingerprint of all."""
    helper = optional_import("onnx").helper
    helper.set_model_props(model, entries)
    helper.set_model_props(model, entries | {"digest": digest(model)})


def metadata(deployed: Deployed, network: DCCNN, precision: str) -> dict[str, str]:
    """What an exported file says of itself, text by name."""
    e = deployed.data.experiment
    return {
        "kdrecon_format": FORMAT,
        "name": deployed.title,
        "precision": precision,
        "use": USE,
        "licence": deployed.licence,
        "provenance": f"kdrecon {__version__}; trained on {e.dataset} {e.acceleration}, {e.epochs} epochs, seed {e.seed}",
        "weights": weights_hash(network),
        **deployed.data.metadata(),
    }


def parity(network: DCCNN, exported: Exported, data: TrainingData, size: int) -> Parity:
    """Both on the test slices of the embedded sample, measured with the network's mask."""
    x = _sample(data, "test").subset(COMPARED).x
    batch = _measured(x, data)
    with torch.no_grad():
        ours = network(*batch.inputs).numpy()
    theirs = exported(*batch.inputs).numpy()
    before, after = (float(np.mean(psnr(x[:, 0].numpy(), images[:, 0]))) for images in (ours, theirs))
    return Parity(float(np.abs(ours - theirs).max()), (before, after), size)


def quantised(model: "ModelProto", data: TrainingData, operators: Sequence[str] = ("Conv",)) -> "ModelProto":
    """A model with operators in int8, whose ranges are those of training slices; of the sample where those are not there.

    Weights take 7 bits, so that no processor's sums overflow.

    Args:
        model: of :func:`kdrecon.deploy.graph.build_graph`, in fp32.
        data: what its network was trained on.
        operators: the types of those that are quantised; all for none. Only convolutions bear it well.
    """
    onnx = optional_import("onnx")
    quantization = optional_import("onnxruntime.quantization")
    e, fidelity = data.experiment, DataFidelity(data.experiment.switches.fidelity)
    try:
        slices = load_split(Split(e.dataset, "train", e.acceleration, _side(data), "", e.switches.mask_type))
    except InputError:
        slices = _sample(data, "train")
    inputs = (feeds(fidelity, *_measured(x[None], data).inputs) for x in slices.subset(CALIBRATION).x)

    class Reader(quantization.CalibrationDataReader):  # type: ignore[name-defined]
        def get_next(self) -> dict[str, np.ndarray] | None:
            return next(inputs, None)

    with tempfile.TemporaryDirectory() as folder, _silent():
        path = Path(folder) / "int8.onnx"
        quantization.quantize_static(
            copy.deepcopy(model), path, Reader(), op_types_to_quantize=list(operators) or None, reduce_range=True
        )
        return onnx.load(path)


def _measured(x: torch.Tensor, data: TrainingData) -> MeasuredBatch:
    task = Reconstruction(data.mask_for((x.shape[-2], x.shape[-1])))
    return task.batch(x, *task.observe(x))


def _sample(data: TrainingData, split: str) -> Slices:
    """Slices of the embedded sample, in the resolution that the network knows of it."""
    side = _side(data) if data.experiment.dataset == "sample" else Parameters().resolution
    return load_split(Split("sample", split, "4x", side))


def _side(data: TrainingData) -> int:
    """The resolution of the network's data; 0, as stored, where it is not square."""
    resolution = data.experiment.resolution
    return resolution if isinstance(resolution, int) else 0


@contextmanager
def _silent() -> Iterator[None]:
    """What the quantisation advises on the root logger is for those who write such programs."""
    before = logging.root.manager.disable
    logging.disable(logging.WARNING)
    try:
        yield
    finally:
        logging.disable(before)

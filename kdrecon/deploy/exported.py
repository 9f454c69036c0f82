"""Exported networks, as ONNX files: read without trust, and run.

>>> from pathlib import Path
>>> from kdrecon.deploy.exported import read_exported
>>> read_exported(Path("student.onnx"))
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: student.onnx does not exist: expected a network that kdrecon export wrote; check the path
"""

import hashlib
import importlib
from collections.abc import Iterator
from pathlib import Path
from types import ModuleType
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor

from kdrecon.deploy.graph import OPSET, OUTPUT, feeds
from kdrecon.deploy.training_data import FORMS, TrainingData
from kdrecon.errors import InputError, bare, first_line, shown
from kdrecon.physics.fidelity import DataFidelity
from kdrecon.physics.sampling import line_axis

if TYPE_CHECKING:
    from onnx import ModelProto

FORMAT = "1"  # of the metadata
LARGEST = 2**26  # bytes of a file; the largest network here has a fortieth of it
MOST = {"nodes": 10_000, "channels": 1024, "padding": 99}
OPERATORS = {
    "Conv", "Relu", "MatMul", "Add", "Sub", "Mul", "ReduceSum", "Cast", "MaxPool", "Resize", "Shape", "Slice", "Concat",
    "QuantizeLinear", "DequantizeLinear",
}  # fmt: skip


def optional_import(name: str) -> ModuleType:
    """A package of the extra ``deploy``; an InputError that says how to install it where it is absent."""
    try:
        return importlib.import_module(name)
    except ImportError:
        raise InputError(
            f"this needs {name}, which is not installed: expected it; pip install 'kdrecon[deploy]'"
        ) from None


class Exported:
    """A network that runs in ONNX Runtime, called like the one it was exported from.

    Attributes:
        form: what its masks sample, a key of :data:`kdrecon.deploy.graph.INPUTS`.
        data: what it was trained on.
        said: all metadata.
        model: as it was read.
    """

    def __init__(self, model: "ModelProto", threads: int = 0, where: str = "this network") -> None:
        """Start ONNX Runtime on a model.

        Args:
            model: of :func:`kdrecon.deploy.graph.build_graph` with the metadata of an export.
            threads: 0 for all.
            where: what a message calls it.

        Raises:
            InputError: ONNX Runtime is not installed or refuses it, or the metadata is not that of an export.
        """
        self.where, self.model = where, model
        self.said = {entry.key: entry.value for entry in model.metadata_props}
        if self.said.get("kdrecon_format") != FORMAT:
            raise InputError(f"{where} is no network that kdrecon export wrote: expected one; export it anew")
        if self.said.get("digest") != digest(model):
            raise InputError(
                f"{where} is damaged: expected the weights and metadata that were exported; export it anew"
            )
        self.data = TrainingData.from_metadata(self.said)
        self.form = FORMS[line_axis(self.data.mask)]
        self.fidelity = DataFidelity(self.data.experiment.switches.fidelity)
        ort = optional_import("onnxruntime")
        options = ort.SessionOptions()
        options.intra_op_num_threads, options.log_severity_level = threads, 4
        self._session = ort.InferenceSession(model.SerializeToString(), options, providers=["CPUExecutionProvider"])

    def __call__(self, x_u: Tensor, y: Tensor, mask: Tensor) -> Tensor:
        """Reconstruct a batch, see :meth:`kdrecon.models.dccnn.DCCNN.forward`.

        Raises:
            InputError: a mask of another form, or a result that is not finite or not of the image's size.
        """
        if (found := FORMS[line_axis(mask)]) != self.form:
            raise InputError(
                f"{self.where} was exported for masks that sample {self.form}, this one samples {found}: expected the same; "
                "use the network itself, best_model.pt"
            )
        return torch.from_numpy(self.run(feeds(self.fidelity, x_u, y, mask)))

    def run(self, inputs: dict[str, np.ndarray]) -> np.ndarray:
        """The images (B, 1, H, W), float32, of the inputs that :func:`kdrecon.deploy.graph.feeds` makes."""
        try:
            (images,) = self._session.run([OUTPUT], inputs)
        except Exception as error:  # of ONNX Runtime, which has no type of its own
            raise InputError(
                f"{self.where} does not run ({first_line(error)}): expected one that does; export it anew"
            ) from None
        if images.shape != inputs["x_u"].shape or not np.isfinite(images).all():
            raise InputError(
                f"{self.where} gives no image (NaN, infinite or of another size): expected one; export it anew"
            )
        return images


def read_exported(path: Path, threads: int = 0) -> Exported:
    """The network in a file of ``kdrecon export``.

    Of other graphs than those nothing is run: a file is small, has no data in other files, and has none but the
    operators that an export writes.

    Args:
        path: of the file.
        threads: of ONNX Runtime; 0 for all.

    Raises:
        InputError: the file is missing, damaged, hostile or another one's; or onnx is not installed.
    """
    if not path.is_file():
        raise InputError(f"{path} does not exist: expected a network that kdrecon export wrote; check the path")
    onnx = optional_import("onnx")
    try:
        if (size := path.stat().st_size) > LARGEST:
            raise ValueError(f"it has {size} bytes, more than {LARGEST}")
        model = onnx.load_model_from_string(path.read_bytes())
        if strange := next(_strange(model), ""):
            raise ValueError(strange)
        onnx.checker.check_model(model, full_check=True)
        return Exported(model, threads, str(path))
    except InputError as error:
        raise error if str(error).startswith((str(path), "this needs")) else InputError(f"{path}: {error}") from None
    except Exception as error:  # of protobuf, the checker or ONNX Runtime
        raise InputError(
            f"{path} cannot be read ({first_line(error)}): expected a network that kdrecon export wrote, intact; "
            "export it anew"
        ) from None


def digest(model: "ModelProto") -> str:
    """Fingerprint of the operators, weights and other metadata of a model."""
    from onnx import numpy_helper

    found = hashlib.sha256()
    for node in model.graph.node:
        values = sorted((a.name, a.i, a.f, a.s, list(a.ints)) for a in node.attribute)
        found.update(repr((node.op_type, list(node.input), list(node.output), values)).encode())
    for weight in model.graph.initializer:
        array = numpy_helper.to_array(weight)
        found.update(repr((weight.name, array.shape, array.dtype.str)).encode() + array.tobytes())
    said = sorted((entry.key, entry.value) for entry in model.metadata_props if entry.key != "digest")
    found.update(repr(said).encode())
    return found.hexdigest()


def _strange(model: "ModelProto") -> Iterator[str]:
    """What an exported network does not have."""
    graph = model.graph
    if [(opset.domain, opset.version) for opset in model.opset_import] != [("", OPSET)] or model.functions:
        yield f"other operators than those of opset {OPSET}"
    if len(graph.node) > MOST["nodes"]:
        yield f"{len(graph.node)} operators"
    for node in graph.node:
        if node.op_type not in OPERATORS or node.domain:
            yield f"operator {bare(node.op_type)}"
        for attribute in node.attribute:
            if attribute.type in (attribute.GRAPH, attribute.GRAPHS, attribute.TENSOR, attribute.SPARSE_TENSOR):
                yield f"{node.op_type} with {bare(attribute.name)}"
            if any(abs(value) > MOST["padding"] for value in [attribute.i, *attribute.ints]):
                yield f"{node.op_type} with {bare(attribute.name)} {shown(list(attribute.ints) or attribute.i)}"
    for weight in graph.initializer:
        if weight.data_location == weight.EXTERNAL or weight.external_data:
            yield f"weights in another file, {bare(weight.name)}"
        if any(not 0 <= size <= MOST["channels"] for size in weight.dims):
            yield f"weights {bare(weight.name)} of shape {shown(list(weight.dims))}"
    if graph.sparse_initializer:
        yield "sparse weights"
    yield from _not_twice(graph)


def _not_twice(graph: Any) -> Iterator[str]:
    """An enlargement by another factor than 2, which would need any memory."""
    arrays = {weight.name: weight for weight in graph.initializer}
    for node in graph.node:
        if node.op_type == "Resize":
            from onnx import numpy_helper

            scale = arrays.get(node.input[2]) if len(node.input) == 3 else None
            if scale is None or numpy_helper.to_array(scale).tolist() != [1, 1, 2, 2]:
                yield "Resize by another factor than 2"

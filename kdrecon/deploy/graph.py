"""A network as an ONNX graph, built from its modules: no Fourier transform is left in it.

For a line mask data fidelity is one real matrix P along the phase-encoding axis, so that a cascade is Conv, Relu, MatMul, Sub
and Add. For any other mask P = A D A with the Hartley transform A, A x = sum_i R_i x C_i, R = (cos, sin), C = (cos + sin,
cos - sin), which is its own inverse; D is real. The image size is free, for the operator is an input.

>>> from kdrecon.deploy.graph import build_graph
>>> from kdrecon.models.dccnn import dc_cnn
>>> model = build_graph(dc_cnn("D2C1"), "rows")
>>> [node.op_type for node in model.graph.node]
['Conv', 'Relu', 'Conv', 'MatMul', 'Sub', 'Add']
>>> [value.name for value in model.graph.input]
['x_u', 'x_y', 'operator']
"""

from collections.abc import Callable
from functools import partial
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from kdrecon.errors import InputError
from kdrecon.models.blocks import CNNBlock, UNetBlock, VDSRBlock
from kdrecon.models.dccnn import DCCNN
from kdrecon.physics.fidelity import DataFidelity
from kdrecon.physics.sampling import mirror

if TYPE_CHECKING:
    from onnx import ModelProto

OPSET, IR = 18, 9
IMAGE = ("batch", 1, "height", "width")
INPUTS: dict[str, dict[str, tuple[str | int, ...]]] = {  # beside x_u, by what the mask samples
    "rows": {"x_y": IMAGE, "operator": ("height", "height")},
    "columns": {"x_y": IMAGE, "operator": ("width", "width")},
    "points": {
        "x_y": IMAGE,
        "diagonal": ("height", "width"),
        "rows": (2, "height", "height"),
        "columns": (2, "width", "width"),
    },
}
OUTPUT = "x_rec"


def feeds(fidelity: DataFidelity, x_u: Tensor, y: Tensor, mask: Tensor) -> dict[str, np.ndarray]:
    """What a graph is called with for one reconstruction, by name.

    Args:
        fidelity: of the network.
        x_u, y, mask: as :meth:`kdrecon.models.dccnn.DCCNN.forward` takes them.
    """
    image, operator, axis = fidelity.measure(y, mask)
    tensors = {"x_u": x_u, "x_y": fidelity.weight * image}
    if axis is None:
        height, width = mask.shape
        mirrored = mirror(nn.functional.pad(operator, (0, width - operator.shape[1])))
        diagonal = torch.cat([operator, mirrored[:, operator.shape[1] :]], dim=1)
        (rows, columns) = (_hartley(n) for n in (height, width))
        sums = torch.stack([columns[0] + columns[1], columns[0] - columns[1]])
        tensors |= {"diagonal": fidelity.weight * diagonal, "rows": rows, "columns": sums}
    else:
        tensors["operator"] = fidelity.weight * operator
    return {name: np.ascontiguousarray(tensor.detach().numpy(), np.float32) for name, tensor in tensors.items()}


def _hartley(n: int) -> Tensor:
    """cos and sin of 2 pi j k / n over sqrt(n), (2, n, n), float32."""
    turns = torch.arange(n)[:, None] * torch.arange(n) % n
    angle = 2 * torch.pi * turns.double() / n
    return (torch.stack([angle.cos(), angle.sin()]) / n**0.5).float()


def build_graph(network: DCCNN, form: str, half: bool = False) -> "ModelProto":
    """The ONNX model of a network, its weights in it and its image size free.

    Args:
        network: cascades of blocks that :data:`BLOCKS` knows, with :class:`kdrecon.physics.fidelity.DataFidelity`.
        form: what its masks sample, a key of :data:`INPUTS`.
        half: convolutions in float16; images and data fidelity stay float32.

    Raises:
        InputError: a block that has no graph.
    """
    from onnx import TensorProto, helper

    graph, x = Graph(half), "x_u"
    for number, block in enumerate(network.blocks):
        if type(block) not in BLOCKS:
            raise InputError(
                f"block {type(block).__name__} of {network.name} has no ONNX graph: expected one of "
                f"{', '.join(kind.__name__ for kind in BLOCKS)}; add it to kdrecon/deploy/graph.py"
            )
        graph.place = f"cascade_{number}/"
        given = graph.add("Cast", x, to=TensorProto.FLOAT16) if half else x
        proposal = BLOCKS[type(block)](graph, given, block)
        x = graph.add("Cast", proposal, to=TensorProto.FLOAT) if half else proposal
        if network.fidelity.mode != "none":
            x = graph.add("Add", x, graph.add("Sub", "x_y", graph.projected(x, form)))
    graph.nodes[-1].output[0] = OUTPUT
    value = partial(helper.make_tensor_value_info, elem_type=TensorProto.FLOAT)
    inputs = [value(name, shape=shape) for name, shape in {"x_u": IMAGE, **INPUTS[form]}.items()]
    whole = helper.make_graph(graph.nodes, network.name, inputs, [value(OUTPUT, shape=IMAGE)], graph.weights)
    opset = helper.make_opsetid("", OPSET)
    return helper.make_model(whole, opset_imports=[opset], ir_version=IR, producer_name="kdrecon")


class Graph:
    """The nodes and weights of a graph that is being built.

    Attributes:
        place: what the names of new nodes begin with.
        half: whether weights are float16.
    """

    def __init__(self, half: bool = False) -> None:
        self.half, self.place = half, ""
        self.nodes: list[Any] = []
        self.weights: list[Any] = []

    def add(self, kind: str, *inputs: str, **attributes: Any) -> str:
        """Add a node; the name of its output."""
        from onnx import helper

        name = f"{self.place}{kind}_{len(self.nodes)}"
        self.nodes.append(helper.make_node(kind, list(inputs), [name], name, **attributes))
        return name

    def constant(self, name: str, array: np.ndarray) -> str:
        """Add an array that belongs to the graph; its name."""
        from onnx import numpy_helper

        if all(weight.name != name for weight in self.weights):
            self.weights.append(numpy_helper.from_array(array, name))
        return name

    def conv(self, x: str, conv: nn.Conv2d, name: str, padding: int) -> str:
        """Add a convolution with zeros round its input."""
        parts = {"weight": conv.weight, "bias": conv.bias}
        kind = np.float16 if self.half else np.float32
        names = [
            self.constant(f"{self.place}{name}.{part}", tensor.detach().cpu().numpy().astype(kind))
            for part, tensor in parts.items()
            if tensor is not None
        ]
        return self.add("Conv", x, *names, kernel_shape=list(conv.kernel_size), pads=[padding] * 4)

    def projected(self, x: str, form: str) -> str:
        """Add P x."""
        if form == "rows":
            return self.add("MatMul", "operator", x)
        if form == "columns":
            return self.add("MatMul", x, "operator")
        return self._hartley(self.add("Mul", self._hartley(x), "diagonal"))

    def _hartley(self, x: str) -> str:
        axis = self.constant("axis", np.array([1]))
        both = self.add("MatMul", "rows", self.add("MatMul", x, "columns"))
        return self.add("ReduceSum", both, axis, keepdims=1)


def _cnn(graph: Graph, x: str, block: CNNBlock) -> str:
    z, depth = x, len(block.convs)
    for j, conv in enumerate(block.convs):  # zeros round the image once, so that no map is padded again
        z = graph.conv(z, conv, f"convs.{j}", padding=0 if j else depth)  # type: ignore[arg-type]
        z = graph.add("Relu", z) if j < depth - 1 else z
    return graph.add("Add", x, z) if block.residual else z


def _vdsr(graph: Graph, x: str, block: VDSRBlock) -> str:
    z = x
    for j, conv in enumerate(block.convs):
        z = graph.conv(graph.add("Relu", z) if j else z, conv, f"convs.{j}", padding=1)  # type: ignore[arg-type]
    return graph.add("Add", x, z)


def _unet(graph: Graph, x: str, block: UNetBlock) -> str:
    first, last, output = (
        partial(graph.conv, conv=conv, name=f"convs.{j}", padding=1)  # type: ignore[arg-type]
        for j, conv in enumerate(block.convs)
    )
    skip = graph.add("Relu", first(x))
    z = graph.add("MaxPool", skip, kernel_shape=[2, 2], strides=[2, 2], ceil_mode=1)
    for j, conv in enumerate(block.coarse):
        z = graph.add("Relu", graph.conv(z, conv, f"coarse.{j}", padding=1))  # type: ignore[arg-type]
    twice = graph.constant("twice", np.array([1, 1, 2, 2], np.float32))
    grown = graph.add(
        "Resize", z, "", twice, mode="nearest", coordinate_transformation_mode="asymmetric", nearest_mode="floor"
    )
    start, axes = graph.constant("start", np.array([0, 0])), graph.constant("axes", np.array([2, 3]))
    cropped = graph.add("Slice", grown, start, graph.add("Shape", x, start=2, end=4), axes)
    z = graph.add("Relu", last(graph.add("Concat", skip, cropped, axis=1)))
    return graph.add("Add", x, output(z)) if block.residual else output(z)


BLOCKS: dict[type[nn.Module], Callable[[Graph, str, Any], str]] = {CNNBlock: _cnn, VDSRBlock: _vdsr, UNetBlock: _unet}
"""How the graph of a block goes on from the name of its input image; the name of its output."""

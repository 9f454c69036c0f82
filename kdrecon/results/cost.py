"""What a network costs when it is used: parameters, multiply-adds, memory, time a slice.

>>> import torch
>>> from kdrecon.models.dccnn import dc_cnn
>>> from kdrecon.physics.sampling import mask_for
>>> from kdrecon.results.cost import inference_cost
>>> from kdrecon.tasks import Reconstruction
>>> task = Reconstruction(mask_for("mrbrain", "4x", (64, 64)))
>>> cost = inference_cost({"student": dc_cnn("D3C5")}, task, (64, 64), torch.device("cpu"), batches=[1], repeats=1)
>>> int(cost.parameters[0])
49285
"""

import copy
from collections.abc import Mapping, Sequence
from functools import partial

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.flop_counter import FlopCounterMode

from kdrecon.models.dccnn import count_parameters
from kdrecon.results.timing import timed
from kdrecon.tasks import Task
from kdrecon.training.recipe import resolve_precision


@torch.no_grad()
def inference_cost(
    models: Mapping[str, nn.Module],
    task: Task,
    shape: tuple[int, int],
    device: torch.device,
    batches: Sequence[int] = (1, 16),
    repeats: int = 3,
) -> pd.DataFrame:
    """Size and speed of reconstruction networks, measured now, on random images.

    Multiply-adds are those of convolutions and matrix products. Memory is that of the weights and of the largest
    input and output of a convolution together, which must be there at once; the library's own buffers come on top.
    Times are medians after a first call, with the feature maps channels-last; they include data fidelity and belong
    to this machine. bf16 is measured where the hardware has it; this project's figures of quality are all computed in
    fp32.

    Args:
        models: name -> network.
        task: what they are for, which makes their inputs from the images.
        shape: (H, W) of a slice.
        device: where to measure.
        batches: numbers of slices in a call.
        repeats: calls that are timed.

    Returns:
        a row a network, precision and batch: parameters, multiply-adds of a slice in units of 10^9, memory of a call in
        MiB, ms per slice, slices per second.
    """
    precisions = ["fp32"] + (["bf16"] if resolve_precision("auto", device) == "bf16" else [])
    task, images, rows = task.to(device), {n: torch.rand(n, 1, *shape).to(device) for n in batches}, []
    inputs = {n: task.batch(x, *task.observe(x)).inputs for n, x in images.items()}
    for name, model in models.items():
        model = copy.deepcopy(model).to(device, memory_format=torch.channels_last).eval()  # type: ignore[call-overload]
        with FlopCounterMode(display=False) as counter:
            model(*inputs[batches[0]])
        size = {
            "network": name,
            "parameters": count_parameters(model),
            "multiply-adds (G)": counter.get_total_flops() / 2e9 / batches[0],
        }
        rows += [
            size | {"precision": precision, "batch": n} | _measured(model, inputs[n], precision, repeats)
            for precision in precisions
            for n in batches
        ]
    return pd.DataFrame(rows)


def _measured(model: nn.Module, inputs: tuple[Tensor, ...], precision: str, repeats: int) -> dict[str, float]:
    """Memory of a call, and its speed."""
    with torch.autocast(inputs[0].device.type, torch.bfloat16, enabled=precision == "bf16"):
        memory = _mebibytes(model, inputs)
        times = timed({"call": partial(_finished, model, inputs)}, repeats)
    speed = len(inputs[0]) / times["call"].median
    return {"memory (MiB)": memory, "ms per slice": 1000 / speed, "slices per second": speed}


def _mebibytes(model: nn.Module, inputs: tuple[Tensor, ...]) -> float:
    weights, maps = sum(p.nbytes for p in model.parameters()), list[int]()

    def note(_: nn.Module, given: tuple[Tensor, ...], output: Tensor) -> None:
        maps.append(given[0].nbytes + output.nbytes)

    hooks = [part.register_forward_hook(note) for part in model.modules() if isinstance(part, nn.Conv2d)]
    model(*inputs)
    for hook in hooks:
        hook.remove()
    return (weights + max(maps)) / 2**20


def _finished(model: nn.Module, inputs: tuple[Tensor, ...]) -> None:
    """A call that has ended when it returns, also on a GPU."""
    model(*inputs)
    if inputs[0].is_cuda:
        torch.cuda.synchronize()

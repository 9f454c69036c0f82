"""What a network takes to run: PyTorch, ONNX Runtime and, where it is installed, OpenVINO, side by side in one run.

>>> from kdrecon.deploy.benchmark import bench
>>> table = bench(["D2C5_student"], batches=(1,), threads=(1,), repeats=2, memory=False)
>>> table.engine.tolist()[:2], table.ratio[0]
(['PyTorch', 'ONNX Runtime'], np.float64(1.0))
"""

import importlib.util
import subprocess
import sys
import threading
from collections.abc import Callable, Sequence

import numpy as np
import pandas as pd
import psutil
import torch

from kdrecon.deploy.deployed import Deployed, open_deployed
from kdrecon.deploy.exported import Exported
from kdrecon.deploy.exporting import in_memory
from kdrecon.deploy.graph import feeds
from kdrecon.models.dccnn import DCCNN
from kdrecon.physics.fidelity import DataFidelity
from kdrecon.physics.sampling import undersample
from kdrecon.results.timing import timed
from kdrecon.training import processes

ENGINES = {"PyTorch": ("torch",), "ONNX Runtime": ("onnx", "onnxruntime"), "OpenVINO": ("onnx", "openvino")}
"""The engines, and the packages that each needs."""
PAUSE = 5e-4  # seconds between two looks at the memory

Call = Callable[[], object]


def bench(
    names: Sequence[str],
    batches: Sequence[int] = (1, 16),
    threads: Sequence[int] = (),
    repeats: int = 15,
    memory: bool = True,
) -> pd.DataFrame:
    """Time and memory of networks on random images of the first one's training size, data fidelity included.

    Args:
        names: see :func:`kdrecon.deploy.deployed.open_deployed`; an exported one does not run in PyTorch.
        batches: numbers of slices in a call.
        threads: of each engine; by default 1 and all.
        repeats: of each call, after a first one, in turn with all others of equal batch and threads.
        memory: whether peak memory is measured, in a process of its own for each network, engine and batch.

    Returns:
        a row a network, engine, number of threads and batch: median and quartiles of ms a slice, slices a second, peak memory
        in MiB on top of libraries and weights, ratio of the median to that of the first row with equal threads and batch.

    Raises:
        InputError: a network cannot be read.
    """
    all_threads, rows = torch.get_num_threads(), []
    networks = [open_deployed(name) for name in names]
    shape = networks[0].data.size
    contenders = [(name, each, engine) for name, each in zip(names, networks) for engine in engines(each)]
    peaks = {
        (name, engine, batch): peak(name, engine, batch, shape) if memory else float("nan")
        for name, _, engine in contenders
        for batch in batches
    }
    for count in threads or sorted({1, all_threads}):
        with processes.threads(count):
            for batch in batches:
                calls = {
                    (name, each.title, engine): prepared(each, engine, count, batch, shape)
                    for name, each, engine in contenders
                }
                found = timed(calls, repeats)
                first = next(iter(found.values())).median
                rows += [
                    {
                        "network": title,
                        "engine": engine,
                        "threads": count,
                        "batch": batch,
                        "ms a slice": 1000 * times.median / batch,
                        "from": 1000 * times.low / batch,
                        "to": 1000 * times.high / batch,
                        "slices a second": batch / times.median,
                        "peak MiB": peaks[name, engine, batch],
                        "ratio": times.median / first,
                    }
                    for (name, title, engine), times in found.items()
                ]
    return pd.DataFrame(rows)


def engines(deployed: Deployed) -> list[str]:
    """The engines that run a network here."""
    here = [name for name, packages in ENGINES.items() if all(map(importlib.util.find_spec, packages))]
    return here if isinstance(deployed.network, DCCNN) else [name for name in here if name != "PyTorch"]


def prepared(deployed: Deployed, engine: str, threads: int, batch: int, shape: tuple[int, int]) -> Call:
    """A call of a network in an engine on so many random slices of a size (H, W)."""
    mask = deployed.data.mask_for(shape)
    x = torch.rand(batch, 1, *shape, generator=torch.Generator().manual_seed(0))
    x_u, y = undersample(x, mask)
    network = deployed.network
    if engine == "PyTorch":
        return lambda: deployed.reconstruct(x_u, y, mask)
    fidelity = DataFidelity(deployed.data.experiment.switches.fidelity)
    model = network.model if isinstance(network, Exported) else in_memory(network, deployed)
    if engine == "ONNX Runtime":
        running = Exported(model, threads)
        return lambda: running.run(feeds(fidelity, x_u, y, mask))
    return _openvino(model.SerializeToString(), threads, lambda: feeds(fidelity, x_u, y, mask))


def _openvino(content: bytes, threads: int, inputs: Callable[[], dict[str, np.ndarray]]) -> Call:
    core = importlib.import_module("openvino").Core()
    compiled = core.compile_model(core.read_model(content), "CPU", {"INFERENCE_NUM_THREADS": threads})
    return lambda: compiled(inputs())[0]


def peak(name: str, engine: str, batch: int, shape: tuple[int, int]) -> float:
    """MiB that a process takes at most to run an opened network on one thread, on top of what it had then."""
    code = f"from kdrecon.deploy.benchmark import _peak; print(_peak(*{(name, engine, batch, shape)!r}))"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, encoding="utf-8", check=True)
    return float(done.stdout.split()[-1])


def _peak(name: str, engine: str, batch: int, shape: tuple[int, int]) -> float:
    for package in ENGINES[engine]:
        importlib.import_module(package)
    process, seen, done = psutil.Process(), list[int](), threading.Event()

    def watch() -> None:
        while not done.wait(PAUSE):
            seen.append(process.memory_info().rss)

    torch.set_num_threads(1)
    deployed = open_deployed(name)  # which looks at the training data, too
    before = process.memory_info().rss
    watcher = threading.Thread(target=watch)
    watcher.start()
    call = prepared(deployed, engine, 1, batch, shape)
    for _ in range(2):
        call()
    done.set()
    watcher.join()
    return (max([*seen, process.memory_info().rss]) - before) / 2**20

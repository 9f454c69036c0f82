"""Training steps and epochs of the released formulation and of kdrecon, side by side in one process.

The released formulation, written anew from its description: fp32, contiguous layout, the image padded by 5 with 'same'
convolutions and cropped, data fidelity by a full complex FFT, SFT branches one by one, the teacher's forward with its
graph kept in distillation, volume file and mask opened for every item.

    python benchmarks/training.py [--rounds 7] [--slices 24] [--size 150] [--precision auto] [--device cpu]
        [--clock wall]

On a machine that others use, too, OMP_NUM_THREADS=1 and --clock cpu count the processor time of one thread instead.
Memory is what a process of its own takes up at most for three steps, beyond what it held before the first. Ratios are
those of this machine: they depend on how much faster its bf16 units are than its fp32 units.

Tried with it and left out, on a CPU with avx512_bf16: torch.compile of the blocks (0.93 to 0.98 times the speed, 18 s
to compile), ReLU in place (1.00), and the first and last convolution of a block as matrix products with a gradient of
their own (1.02 to 1.13).
"""

import argparse
import multiprocessing
import statistics
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ProcessPoolExecutor
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from kdrecon.data.slices import Label, MemorySlices, Slices
from kdrecon.data.volumes import write_volume
from kdrecon.models.dccnn import dc_cnn
from kdrecon.models.sft import SFT
from kdrecon.physics.sampling import mask_for
from kdrecon.tasks import Reconstruction
from kdrecon.training.loop import Training, keep_freed_memory
from kdrecon.training.objectives import Distillation, StudentFriendly, Supervised
from kdrecon.training.recipe import Recipe, resolve_precision

BATCH = 4
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
KINDS = ("teacher", "student", "SFT", "KD (AT)")


class ReleasedNetwork(nn.Module):
    """A DC-CNN as released: pad by 5, 'same' convolutions, crop, complex FFT; keeps the maps of one convolution."""

    def __init__(self, depth: int, cascades: int = 5):
        super().__init__()
        widths = [1, *[32] * (depth - 1), 1]
        pairs = list(zip(widths, widths[1:]))
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs) for _ in range(cascades)
        )
        self.middle = -(-depth // 2) - 1

    def cascade(self, k, x, y, mask):
        z, kept = F.pad(x, [5] * 4), None
        for j, conv in enumerate(self.blocks[k]):
            z = conv(z)
            if j < len(self.blocks[k]) - 1:
                z = F.relu(z)
            kept = z if j == self.middle else kept
        spectrum = torch.fft.fft2(z[..., 5:-5, 5:-5], norm="ortho")
        return torch.fft.ifft2((1 - mask) * spectrum + mask * y, norm="ortho").real, kept

    def forward(self, x_u, y, mask):
        x, maps = x_u, []
        for k in range(len(self.blocks)):
            x, kept = self.cascade(k, x, y, mask)
            maps.append(kept)
        return x, maps


def released_losses(device: torch.device) -> dict[str, tuple[nn.Module, Callable]]:
    """Per kind of training: the modules whose parameters are trained, and batch -> loss."""
    teacher, student = ReleasedNetwork(5), ReleasedNetwork(3)
    sft = nn.ModuleList([ReleasedNetwork(5), ReleasedNetwork(3)])
    frozen, pupil = ReleasedNetwork(5), ReleasedNetwork(3)
    for network in (teacher, student, sft, frozen, pupil):
        network.to(device)

    def alone(network):
        return lambda x, x_u, y, mask: F.l1_loss(network(x_u, y, mask)[0], x)

    def friendly(x, x_u, y, mask):
        big, small = sft
        z, branches = x_u, []
        for k in range(5):
            z, _ = big.cascade(k, z, y, mask)
            if k < 4:
                branch = z
                for later in range(k + 1, 5):
                    branch, _ = small.cascade(later, branch, y, mask)
                branches.append(branch)
        own = sum(F.l1_loss(b, x) for b in branches) / 4
        return F.l1_loss(z, x) + own + sum(F.l1_loss(b, z) for b in branches) / 4

    def distilled(x, x_u, y, mask):
        _, teachers = frozen(x_u, y, mask)  # with its graph
        x_s, students = pupil(x_u, y, mask)
        maps = [[F.normalize(m.square().sum(1).flatten(1)) for m in side] for side in (students, teachers)]
        return F.l1_loss(x_s, x) + 5e-3 * sum((s - t).norm(dim=1).mean() for s, t in zip(*maps)) / 5

    return {
        "teacher": (teacher, alone(teacher)),
        "student": (student, alone(student)),
        "SFT": (sft, friendly),
        "KD (AT)": (pupil, distilled),
    }


def released_step(kind: str, device: torch.device) -> Callable:
    """A call that takes one step on x, x_u, y, mask."""
    network, loss = released_losses(device)[kind]
    optimiser = torch.optim.Adam(network.parameters(), lr=1e-3)

    def step(*batch):
        value = loss(*(part.to(device) for part in batch))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()

    return step


def kdrecon_training(kind: str, data: Slices, precision: str, folder: Path) -> Training:
    """The training of that kind, ready for its first step."""
    objective = {
        "teacher": lambda: Supervised(dc_cnn("D5C5")),
        "student": lambda: Supervised(dc_cnn("D3C5")),
        "SFT": lambda: StudentFriendly(SFT(dc_cnn("D5C5"), dc_cnn("D3C5"))),
        "KD (AT)": lambda: Distillation(dc_cnn("D3C5"), dc_cnn("D5C5"), "at"),
    }[kind]().to(data.device, memory_format=torch.channels_last)
    objective.prepare(data.batch(torch.arange(BATCH)))
    objective.train()
    return Training(objective, data, Recipe(batch_size=BATCH, precision=precision), folder, {})


def random_slices(n: int, size: int) -> MemorySlices:
    task = Reconstruction(mask_for("cardiac", "4x", (size, size)))
    labels = [Label(Path("1"), "1", number, "1") for number in range(n)]
    return MemorySlices.of(torch.rand(n, 1, size, size), task, labels)


class ReleasedItems(torch.utils.data.Dataset):
    """Volume file and mask opened for every item."""

    def __init__(self, folder: Path, count: int):
        self.folder, self.count = folder, count

    def __len__(self):
        return self.count

    def __getitem__(self, i):
        with h5py.File(self.folder / "1.h5") as file:
            x, x_u, y = file["volfs"][..., i], file["img_volus_4x"][..., i], file["kspace_volus_4x"][..., i]
        mask = np.load(self.folder / "mask.npy").astype(np.float32)
        return tuple(torch.from_numpy(np.ascontiguousarray(a))[None] for a in (x, x_u, y, mask))


def seconds(call: Callable, clock: Callable = time.perf_counter) -> float:
    began = clock()
    call()
    if torch.cuda.is_available():
        torch.cuda.synchronize()
    return clock() - began


def peak_memory(kind: str, ours: bool, size: int, precision: str, device: torch.device) -> float:
    """MiB that three steps take up at most, beyond what the process held before; of the GPU where one is used."""
    keep_freed_memory()
    data = random_slices(BATCH, size).to(device)
    indices = torch.arange(BATCH)
    batch = data.batch(indices)
    if ours:
        training = kdrecon_training(kind, data, precision, Path())
        step = lambda: training.step(indices, batch)  # noqa: E731
    else:
        released = released_step(kind, device)
        step = lambda: released(batch.x, batch.x_u, batch.y, batch.mask.float())  # noqa: E731
    Path("/proc/self/clear_refs").write_text("5", encoding="utf-8")  # the peak starts anew from here
    before = resident("VmRSS")
    for _ in range(3):
        step()
    if device.type == "cuda":
        return torch.cuda.max_memory_allocated() / 2**20
    return resident("VmHWM") - before


def resident(name: str) -> float:
    """Memory of this process in MiB as Linux counts it: VmRSS is the present one, VmHWM the peak."""
    (line,) = [
        line for line in Path("/proc/self/status").read_text(encoding="utf-8").splitlines() if line.startswith(name)
    ]
    return int(line.split()[1]) / 2**10


def matrix_peak(dtype: torch.dtype, device: torch.device, clock: Callable) -> float:
    """Matrix-product peak in FLOP/s: best of 9."""
    n = 2048 if device.type == "cpu" else 8192
    a = torch.randn(n, n).to(device, dtype)
    return 2 * n**3 / min(seconds(lambda: a @ a, clock) for _ in range(9))


def step_flops(size: int) -> dict[str, float]:
    """Floating-point operations of the convolutions of one kdrecon step: forward once, backward twice."""

    def block(d):
        widths = [1, *[32] * (d - 1), 1]
        return sum(18 * a * b * (size + 2 * (d - 1 - j)) ** 2 for j, (a, b) in enumerate(zip(widths, widths[1:])))

    teacher, student = 5 * block(5) * BATCH, 5 * block(3) * BATCH
    return {
        "teacher": 3 * teacher, "student": 3 * student,
        "SFT": 3 * (teacher + 2 * student), "KD (AT)": teacher + 3 * student,
    }  # fmt: skip


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=7)
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--size", type=int, default=150)
    parser.add_argument("--precision", default="auto")
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    options = parser.parse_args()
    clock = CLOCKS[options.clock]
    keep_freed_memory()
    device, size, n = torch.device(options.device), options.size, options.slices
    precision = resolve_precision(options.precision, device)
    peak = matrix_peak(torch.bfloat16 if precision == "bf16" else torch.float32, device, clock)
    host = random_slices(n, size)
    data, indices = host.to(device), torch.arange(BATCH)
    first, real_mask = data.batch(indices), data.task.mask.float()
    flops = step_flops(size)
    one_each = ProcessPoolExecutor(1, multiprocessing.get_context("spawn"), max_tasks_per_child=1)
    with tempfile.TemporaryDirectory() as name, one_each as pool:
        folder = Path(name)
        stacks = {"img_volus_4x": host.whole.x_u, "kspace_volus_4x": host.whole.y}
        stacks = {name: np.moveaxis(stack[:, 0].numpy(), 0, 2) for name, stack in stacks.items()}
        write_volume(folder / "1.h5", host.x[:, 0].numpy(), {}, **stacks)
        np.save(folder / "mask.npy", host.task.mask.numpy())
        loader = torch.utils.data.DataLoader(ReleasedItems(folder, n), BATCH, shuffle=True)
        for kind in KINDS:
            theirs, ours = released_step(kind, device), kdrecon_training(kind, data, precision, folder)

            def our_step(training=ours):
                training.step(indices, first)
                training.check_finite()

            def our_epoch(training=ours):
                training.begin_epoch()
                training.epoch(lambda: None, lambda _: None)

            calls = {
                "step, released": lambda step=theirs: step(first.x, first.x_u, first.y, real_mask),
                "step, kdrecon": our_step,
                "epoch, released": lambda step=theirs: [step(*batch) for batch in loader],
                "epoch, kdrecon": our_epoch,
            }
            times = {name: [] for name in calls}
            for round_ in range(options.rounds + 1):
                for name, call in calls.items():
                    if "epoch" not in name or round_ <= 3:
                        times[name].append(seconds(call, clock))
            median = {name: statistics.median(values[1:]) for name, values in times.items()}
            memory = [pool.submit(peak_memory, kind, ours, size, precision, device).result() for ours in (False, True)]
            row = {"training": kind} | {f"{name} (ms)": f"{1000 * value:.0f}" for name, value in median.items()}
            row |= {
                "step ratio": f"{median['step, released'] / median['step, kdrecon']:.2f}",
                "epoch ratio": f"{median['epoch, released'] / median['epoch, kdrecon']:.2f}",
                "share of peak": f"{flops[kind] / median['step, kdrecon'] / peak:.0%}",
                "memory, released (MiB)": f"{memory[0]:.0f}",
                "memory, kdrecon (MiB)": f"{memory[1]:.0f}",
            }
            print(pd.DataFrame([row]).T.to_string(header=False), flush=True)
            print()
    print(
        f"batch {BATCH}, {size} x {size}, {device.type}, {torch.get_num_threads()} thread(s), {options.clock} time; kdrecon "
        f"in {precision}, channels_last; medians of {options.rounds} alternating steps and 3 epochs of {n} slices; "
        f"matrix-product peak in {precision}: {peak / 1e9:.0f} GFLOP/s"
    )


if __name__ == "__main__":
    main()

"""Training steps and epochs of the released formulation and of kdrecon, side by side in one process.

The released formulation, written anew from its description: fp32, contiguous layout, the image padded by 5 with 'same'
convolutions and cropped, data fidelity by a full complex FFT, SFT branches one by one, the teacher's forward in every
step of a distillation, volume file and mask opened for every item. The losses of the methods are kdrecon's in both.

    python benchmarks/training.py [--rounds 5] [--slices 12] [--size 150] [--precision fp32 auto] [--device cpu]
        [--clock wall] [--kinds teacher student ...]

Ratios are released / kdrecon. Of a distillation "asking" is kdrecon with a teacher that runs in every step, and its epoch
is without the first pass that keeps the targets. On a machine that others use, too, OMP_NUM_THREADS=1 and --clock cpu
count the processor time of one thread instead. Memory is what a process of its own takes up at most for three steps,
beyond what it held before the first.
At the end two trainings of each kind run one after the other with all threads, and side by side with half of them each.

Ratios are those of this machine: they depend on how much faster its bf16 units are than its fp32 units. What a processor
without AVX-512 does is seen with ONEDNN_MAX_CPU_ISA=AVX2 ATEN_CPU_CAPABILITY=avx2, where auto is fp32.

Tried with it and left out. In bf16, on a CPU with avx512_bf16: torch.compile of the blocks (0.93 to 0.98 times the speed,
18 s to compile), ReLU in place (1.00), and the first and last convolution of a block as matrix products (1.02 to 1.13).
In fp32 with AVX2 kernels, an inner convolution forwards and backwards, against contiguous throughout: channels-last (0.6
to 0.7), channels-last with the gradient of the weights on contiguous copies (0.86), tensors in oneDNN's own blocked layout
(1.00), unfolding and matrix products (0.3). The backward of ReLU is 3 per cent of a step.

On a GPU these networks are too small to fill it: a step takes as long as its calls. On an H100 in fp32, 4 x 150 x 150:
teacher 9.6 ms (1.09 times the released formulation's speed, 16 per cent of the peak), student 8.4 ms (1.01, 6 per cent),
epochs 5.1 and 6.3 times, for the slices lie on the GPU. Several trainings side by side fill it better (docs/study.md).
"""

import argparse
import multiprocessing
import statistics
import sys
import tempfile
import time
from collections.abc import Callable, Iterable
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
from kdrecon.distillation import METHODS, select
from kdrecon.models.blocks import Tap
from kdrecon.models.dccnn import dc_cnn
from kdrecon.models.sft import SFT
from kdrecon.physics.sampling import mask_for
from kdrecon.tasks import Reconstruction
from kdrecon.training.loop import FORMATS, Training, keep_freed_memory
from kdrecon.training.objectives import StudentFriendly, Supervised, distil
from kdrecon.training.recipe import Recipe, resolve_precision

BATCH = 4
CLOCKS = {"wall": time.perf_counter, "cpu": time.process_time}
ALONE = ("teacher", "student", "SFT")
KINDS = (*ALONE, *METHODS)


class ReleasedNetwork(nn.Module):
    """A DC-CNN as released: pad by 5, 'same' convolutions, crop, complex FFT; keeps the maps of all convolutions."""

    def __init__(self, depth: int, cascades: int = 5):
        super().__init__()
        widths = [1, *[32] * (depth - 1), 1]
        pairs = list(zip(widths, widths[1:]))
        self.blocks = nn.ModuleList(
            nn.ModuleList(nn.Conv2d(a, b, 3, padding=1) for a, b in pairs) for _ in range(cascades)
        )

    def cascade(self, k, x, y, mask):
        z, kept = F.pad(x, [5] * 4), []
        for j, conv in enumerate(self.blocks[k]):
            before = conv(z)
            z = F.relu(before) if j < len(self.blocks[k]) - 1 else before
            kept.append(Tap(before, z))
        spectrum = torch.fft.fft2(z[..., 5:-5, 5:-5], norm="ortho")
        return torch.fft.ifft2((1 - mask) * spectrum + mask * y, norm="ortho").real, kept

    def forward(self, x_u, y, mask):
        x, maps = x_u, []
        for k in range(len(self.blocks)):
            x, kept = self.cascade(k, x, y, mask)
            maps.append(kept)
        return x, maps


def released_loss(kind: str, device: torch.device) -> tuple[nn.Module, Callable]:
    """The modules whose parameters are trained, and batch -> loss."""
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

    if kind in ALONE:
        trained = {"teacher": teacher, "student": student, "SFT": sft}[kind]
        return trained, friendly if kind == "SFT" else alone(trained)
    method = METHODS[kind]().to(device)

    def distilled(x, x_u, y, mask):
        _, theirs = frozen(x_u, y, mask)  # with its graph
        x_s, ours = pupil(x_u, y, mask)
        students, teachers = (
            [tuple(c) if len(c) > 1 else c[0] for c in select(method.taps, m)] for m in (ours, theirs)
        )
        targets = [
            method.target(t, k) for k, t in enumerate(teachers)
        ]  # not detached: the backward pass goes there, too
        return F.l1_loss(x_s, x) + method.weight * method.towards(students, targets)

    return nn.ModuleList([pupil, method]), distilled


def released_step(kind: str, device: torch.device) -> Callable:
    """A call that takes one step on x, x_u, y, mask."""
    network, loss = released_loss(kind, device)
    optimiser = torch.optim.Adam([p for p in network.parameters() if p.requires_grad], lr=1e-3)

    def step(*batch):
        value = loss(*(part.to(device) for part in batch))
        optimiser.zero_grad()
        value.backward()
        optimiser.step()

    return step


def kdrecon_training(kind: str, data: Slices, precision: str, folder: Path, kept: bool = True) -> Training:
    """The training of that kind, ready for its first step; of a distillation with kept targets, or without."""
    teacher, student = dc_cnn("D5C5"), dc_cnn("D3C5")
    objective = {
        "teacher": lambda: Supervised(teacher),
        "student": lambda: Supervised(student),
        "SFT": lambda: StudentFriendly(SFT(teacher, student)),
    }.get(kind, lambda: distil(student, teacher, kind))()
    training = Training(objective.to(data.device), data, Recipe(batch_size=BATCH, precision=precision), folder, {})
    objective.to(memory_format=FORMATS[training.config["layout"]])
    objective.prepare(data.batch(torch.arange(BATCH)))
    objective.train()
    if kept:
        training.keep_targets()
    return training


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


def epochs_side_by_side(kind: str, processes: int, threads: int, options: argparse.Namespace) -> float:
    """Wall seconds for an epoch of two trainings by so many processes of so many threads each."""
    spawn = multiprocessing.get_context("spawn")
    barrier, done = spawn.Barrier(processes + 1), spawn.Barrier(processes + 1)
    arguments = (kind, 2 // processes, threads, options, barrier, done)
    workers = [spawn.Process(target=_epochs, args=arguments) for _ in range(processes)]
    for worker in workers:
        worker.start()
    barrier.wait()
    took = seconds(done.wait)
    for worker in workers:
        worker.join()
    return took


def _epochs(kind: str, trainings: int, threads: int, options: argparse.Namespace, barrier, done) -> None:
    torch.set_num_threads(threads)
    keep_freed_memory()
    data = random_slices(options.slices, options.size)
    made = [kdrecon_training(kind, data, options.precision[0], Path()) for _ in range(trainings)]
    for training in made:
        training.step(torch.arange(BATCH), data.batch(torch.arange(BATCH)))
    barrier.wait()
    for training in made:
        training.begin_epoch()
        training.epoch(lambda: None, lambda _: None)
    done.wait()


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


def step_flops(kind: str, size: int) -> float:
    """Floating-point operations of the convolutions of one step that runs no frozen teacher: forward once, backward twice."""

    def block(d):
        widths = [1, *[32] * (d - 1), 1]
        return sum(18 * a * b * (size + 2 * (d - 1 - j)) ** 2 for j, (a, b) in enumerate(zip(widths, widths[1:])))

    teacher, student = 5 * block(5) * BATCH, 5 * block(3) * BATCH
    return 3 * {"teacher": teacher, "SFT": teacher + 2 * student}.get(kind, student)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--slices", type=int, default=12)
    parser.add_argument("--size", type=int, default=150)
    parser.add_argument("--precision", nargs="+", default=["fp32", "auto"])
    parser.add_argument("--device", default="cpu")
    parser.add_argument("--clock", choices=CLOCKS, default="wall")
    parser.add_argument("--kinds", nargs="+", choices=KINDS, default=KINDS, metavar="KIND")
    options = parser.parse_args()
    keep_freed_memory()
    device = torch.device(options.device)
    options.precision = list(dict.fromkeys(resolve_precision(p, device) for p in options.precision))
    host = random_slices(options.slices, options.size)
    data, tables = host.to(device), {}
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        stacks = {"img_volus_4x": host.whole.x_u, "kspace_volus_4x": host.whole.y}
        stacks = {name: np.moveaxis(stack[:, 0].numpy(), 0, 2) for name, stack in stacks.items()}
        write_volume(folder / "1.h5", host.x[:, 0].numpy(), {}, **stacks)
        np.save(folder / "mask.npy", host.task.mask.numpy())
        loader = torch.utils.data.DataLoader(ReleasedItems(folder, options.slices), BATCH, shuffle=True)
        for precision in options.precision:
            peak = matrix_peak(torch.bfloat16 if precision == "bf16" else torch.float32, device, CLOCKS[options.clock])
            rows = []
            for kind in options.kinds:
                rows.append({"training": kind} | compared(kind, data, precision, loader, folder, peak, options))
                print(f"{precision}: {rows[-1]}", file=sys.stderr, flush=True)
            tables[precision] = pd.DataFrame(rows), peak
    for precision, (table, peak) in tables.items():
        print(table.to_string(index=False, na_rep="", float_format="{:.2f}".format))
        print(
            f"batch {BATCH}, {options.size} x {options.size}, {device.type}, {torch.get_num_threads()} thread(s), "
            f"{options.clock} time; kdrecon in {precision}; medians of {options.rounds} alternating steps and 2 epochs of "
            f"{options.slices} slices; matrix-product peak in {precision}: {peak / 1e9:.0f} GFLOP/s\n"
        )
    if device.type == "cpu" and (threads := torch.get_num_threads()) > 1:
        for kind in options.kinds[:4]:
            one, two = (
                epochs_side_by_side(kind, 1, threads, options),
                epochs_side_by_side(kind, 2, threads // 2, options),
            )
            print(
                f"two trainings ({kind}), {options.precision[0]}: one after the other with {threads} threads {one:.1f} s, "
                f"side by side with {threads // 2} each {two:.1f} s, ratio {one / two:.2f}"
            )


def compared(
    kind: str, data: Slices, precision: str, loader: Iterable, folder: Path, peak: float, options: argparse.Namespace
) -> dict[str, float]:
    """The row of one kind of training."""
    indices, clock = torch.arange(BATCH), CLOCKS[options.clock]
    first, mask = data.batch(indices), data.task.mask.float()
    theirs = released_step(kind, data.device)
    calls = {
        "step, released": lambda: theirs(first.x, first.x_u, first.y, mask),
        "epoch, released": lambda: [theirs(*batch) for batch in loader],
    }
    for name, kept in {"kdrecon": True, **({} if kind in ALONE else {"asking": False})}.items():
        training = kdrecon_training(kind, data, precision, folder, kept)

        def step(training=training):
            training.step(indices, first)
            training.check_finite()

        def epoch(training=training):
            training.begin_epoch()
            training.epoch(lambda: None, lambda _: None)

        calls |= {f"step, {name}": step, f"epoch, {name}": epoch}
    times = {name: [] for name in calls}
    for round_ in range(options.rounds + 1):
        for name, call in calls.items():
            if "epoch" not in name or round_ <= 2:
                times[name].append(seconds(call, clock))
    median = {name: statistics.median(values[1:]) for name, values in times.items()}
    memory = {}
    for name, ours in (("released", False), ("kdrecon", True)):
        with ProcessPoolExecutor(1, multiprocessing.get_context("spawn")) as pool:
            memory[f"MiB, {name}"] = round(
                pool.submit(peak_memory, kind, ours, options.size, precision, data.device).result()
            )
    row = {"step (ms)": 1000 * median["step, kdrecon"]}
    for name in ("kdrecon", "asking"):
        for unit in ("step", "epoch"):
            if f"{unit}, {name}" in median:
                column = f"{unit} ratio" if name == "kdrecon" else f"{unit} ratio, asking"
                row[column] = median[f"{unit}, released"] / median[f"{unit}, {name}"]
    return row | {"share of peak": step_flops(kind, options.size) / median["step, kdrecon"] / peak} | memory


if __name__ == "__main__":
    main()

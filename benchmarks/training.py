"""Training steps and epochs of the released formulation and of kdrecon, side by side in one process.

The released formulation, written anew from its description: fp32, contiguous layout, the image padded by 5 with 'same'
convolutions and cropped, data fidelity by a full complex FFT, SFT branches one by one, the teacher's forward with its
graph kept in distillation, volume file and mask opened for every item.

    python benchmarks/training.py [--rounds 7] [--slices 24] [--size 150] [--precision auto]
"""

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import h5py
import numpy as np
import pandas as pd
import torch
from torch import nn
from torch.nn import functional as F

from kdrecon.data import Batch, Slices, write_volume
from kdrecon.models import dc_cnn
from kdrecon.objectives import Distillation, StudentFriendly, Supervised
from kdrecon.sampling import mask_for, undersample
from kdrecon.sft import SFT
from kdrecon.training import keep_freed_memory, resolve_precision

BATCH = 4


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


def released_losses() -> dict[str, tuple[nn.Module, Callable]]:
    """Per kind of training: the modules whose parameters are trained, and batch -> loss."""
    teacher, student = ReleasedNetwork(5), ReleasedNetwork(3)
    sft = nn.ModuleList([ReleasedNetwork(5), ReleasedNetwork(3)])
    frozen, pupil = ReleasedNetwork(5), ReleasedNetwork(3)

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


def kdrecon_objectives(first: Batch) -> dict[str, nn.Module]:
    objectives = {
        "teacher": Supervised(dc_cnn("D5C5")),
        "student": Supervised(dc_cnn("D3C5")),
        "SFT": StudentFriendly(SFT(dc_cnn("D5C5"), dc_cnn("D3C5"))),
        "KD (AT)": Distillation(dc_cnn("D3C5"), dc_cnn("D5C5"), "at"),
    }
    for objective in objectives.values():
        objective.to(memory_format=torch.channels_last)
        objective.prepare(first)
    return objectives


def stepper(parameters, loss: Callable, bf16: bool = False) -> Callable:
    optimiser = torch.optim.Adam([p for p in parameters if p.requires_grad], lr=1e-3)

    def step(*batch):
        with torch.autocast("cpu", torch.bfloat16, enabled=bf16):
            value = loss(*batch)
        optimiser.zero_grad()
        value.backward()
        optimiser.step()

    return step


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


def seconds(call: Callable) -> float:
    began = time.perf_counter()
    call()
    return time.perf_counter() - began


def matrix_peak(dtype: torch.dtype, n: int = 2048) -> float:
    """Matrix-product peak in FLOP/s: best of 9."""
    a = torch.randn(n, n).to(dtype)
    return 2 * n**3 / min(seconds(lambda: a @ a) for _ in range(9))


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
    options = parser.parse_args()
    keep_freed_memory()
    precision = resolve_precision(options.precision, torch.device("cpu"))
    bf16 = precision == "bf16"
    peak = matrix_peak(torch.bfloat16 if bf16 else torch.float32)
    size, n = options.size, options.slices
    mask = mask_for("cardiac", "4x", (size, size))
    x = torch.rand(n, 1, size, size)
    x_u, y = undersample(x, mask)
    data = Slices(x, x_u, y, mask, ["1"] * n, list(range(n)), ["1"] * n)
    first = data.batch(torch.arange(BATCH))
    theirs = {kind: stepper(net.parameters(), loss) for kind, (net, loss) in released_losses().items()}
    ours = {
        kind: stepper(objective.parameters(), lambda batch, objective=objective: objective(batch).total, bf16)
        for kind, objective in kdrecon_objectives(first).items()
    }
    flops, rows = step_flops(size), []
    with tempfile.TemporaryDirectory() as folder:
        stacks = {k: np.moveaxis(v[:, 0].numpy(), 0, 2) for k, v in (("img_volus_4x", x_u), ("kspace_volus_4x", y))}
        write_volume(Path(folder) / "1.h5", x[:, 0].numpy(), {}, **stacks)
        np.save(Path(folder) / "mask.npy", mask.numpy())
        loader = torch.utils.data.DataLoader(ReleasedItems(Path(folder), n), BATCH, shuffle=True)
        real_mask = mask.float()
        for kind in ours:
            calls = {
                "step, released": lambda k=kind: theirs[k](first.x, first.x_u, first.y, real_mask),
                "step, kdrecon": lambda k=kind: ours[k](first),
                "epoch, released": lambda k=kind: [theirs[k](*batch) for batch in loader],
                "epoch, kdrecon": lambda k=kind: [ours[k](data.batch(i)) for i in torch.randperm(n).split(BATCH)],
            }
            times = {name: [] for name in calls}
            for round_ in range(options.rounds + 1):
                for name, call in calls.items():
                    if "epoch" not in name or round_ <= 3:
                        times[name].append(seconds(call))
            median = {name: statistics.median(values[1:]) for name, values in times.items()}
            rows.append(
                {"training": kind}
                | {name + " (ms)": 1000 * value for name, value in median.items()}
                | {
                    "step ratio": median["step, released"] / median["step, kdrecon"],
                    "epoch ratio": median["epoch, released"] / median["epoch, kdrecon"],
                    "share of peak": flops[kind] / median["step, kdrecon"] / peak,
                }
            )
            print(pd.DataFrame(rows[-1:]).to_string(index=False, float_format="{:.2f}".format), flush=True)
    print(
        f"\nbatch {BATCH}, {size} x {size}, {torch.get_num_threads()} threads, kdrecon in {precision}, medians of "
        f"{options.rounds} alternating steps and 3 epochs of {n} slices; matrix-product peak {peak / 1e9:.0f} GFLOP/s"
    )


if __name__ == "__main__":
    main()

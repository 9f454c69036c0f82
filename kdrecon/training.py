"""The one training loop: any objective, any data, resumable to the bit."""

import ctypes
import json
import math
import os
import platform
import time
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from torch import Tensor, nn
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from kdrecon.data import Batch, Slices
from kdrecon.objectives import Loss, Objective

PRECISIONS = ("auto", "fp32", "bf16")


@dataclass(frozen=True)
class Recipe:
    """How long and how fast to train: Adam, learning rate divided by 10 every 40 of 150 epochs.

    A shorter run shortens the schedule in proportion: step = max(1, round(40 epochs / 150)).
    """

    epochs: int = 150
    batch_size: int = 4
    lr: float = 1e-3
    seed: int = 0
    precision: str = "auto"

    @property
    def lr_step(self) -> int:
        return max(1, round(40 * self.epochs / 150))


def resolve_precision(precision: str, device: torch.device) -> str:
    """ "fp32" or "bf16": "auto" takes bf16 where the hardware multiplies bf16 matrices natively.

    Only the convolutions of the training steps run in bf16; weights, data fidelity, losses and every evaluation stay
    in fp32.
    """
    if precision != "auto":
        return precision
    if device.type == "cuda":
        return "bf16" if torch.cuda.is_bf16_supported(including_emulation=False) else "fp32"
    units = torch.cpu.get_capabilities()
    return "bf16" if device.type == "cpu" and (units.get("avx512_bf16") or units.get("amx_bf16")) else "fp32"


def fit(
    objective: Objective,
    train: Slices,
    validation: Slices,
    recipe: Recipe,
    folder: Path,
    config: dict,
    title: str = "training",
) -> pd.DataFrame:
    """Train until recipe.epochs are done, continuing from folder/model.pt where an earlier call was interrupted.

    Every epoch: one pass over the training slices in an order drawn from (seed, epoch), one over the validation
    slices in fp32, then a checkpoint. best_model.pt holds the network of the epoch with the lowest validation L1,
    model.pt everything needed to continue: the continued run equals the uninterrupted one bit for bit on a CPU.

    Args:
        objective: what to minimise; on the device where the slices are.
        train, validation: slices in memory.
        recipe: epochs, batch size, learning rate, seed, precision.
        folder: where best_model.pt, model.pt, log.csv and summary/ (TensorBoard) are written.
        config: saved in both checkpoints; a model.pt with another config is refused.
        title: name on the progress bar.

    Returns:
        the history: a row an epoch with the learning rate, the mean of each loss term and the validation L1.

    Raises:
        ValueError: model.pt was made by another configuration (the differing keys are named).
        FloatingPointError: a loss is not finite; the message names the slices, the last good checkpoint is kept.
    """
    folder.mkdir(parents=True, exist_ok=True)
    device = train.x.device
    parameters = [p for p in objective.parameters() if p.requires_grad]
    optimiser = torch.optim.Adam(parameters, lr=recipe.lr)
    scheduler = torch.optim.lr_scheduler.StepLR(optimiser, recipe.lr_step, gamma=0.1)
    autocast_bf16 = resolve_precision(recipe.precision, device) == "bf16"
    objective.to(memory_format=torch.channels_last)
    keep_freed_memory()

    history: list[dict] = []
    if (folder / "model.pt").exists():
        history = _resume(folder / "model.pt", objective, optimiser, scheduler, config)
    else:
        objective.prepare(train.batch(_order(train, recipe.seed, 0)[: recipe.batch_size]))
    best = min((row["validation_l1"] for row in history), default=math.inf)
    if len(history) >= recipe.epochs:
        return pd.DataFrame(history)

    with SummaryWriter(folder / "summary", purge_step=len(history)) as writer:
        if not history:
            norms = gradient_norms(objective, train.batch(_order(train, recipe.seed, 0)[: recipe.batch_size]))
            write_json(folder / "gradient_norms.json", norms)
        for epoch in tqdm(
            range(len(history), recipe.epochs),
            initial=len(history),
            total=recipe.epochs,
            desc=title,
            leave=False,
        ):
            started, sums = time.perf_counter(), {}
            objective.train()
            order = _order(train, recipe.seed, epoch)
            for start in range(0, len(order), recipe.batch_size):
                indices = order[start : start + recipe.batch_size]
                batch = train.batch(indices)
                with torch.autocast(device.type, torch.bfloat16, enabled=autocast_bf16):
                    loss = objective(batch)
                _check_finite(loss, train, indices, epoch)
                optimiser.zero_grad(set_to_none=True)
                loss.total.backward()
                optimiser.step()
                for name, term in {**loss.terms, "total": loss.total}.items():
                    sums[name] = sums.get(name, 0.0) + float(term.detach()) * len(indices) / len(order)
            row = {"epoch": epoch + 1, "lr": scheduler.get_last_lr()[0], **sums}
            row["validation_l1"] = validate(objective, validation, recipe.batch_size)
            row["seconds"] = time.perf_counter() - started
            scheduler.step()
            history.append(row)
            if row["validation_l1"] < best:
                best = row["validation_l1"]
                best_state = {
                    "model": objective.network.state_dict(),
                    "epoch": epoch + 1,
                    "validation_l1": best,
                }
                save_atomically(best_state | {"config": config}, folder / "best_model.pt")
            state = {
                "objective": objective.state_dict(),
                "optimiser": optimiser.state_dict(),
                "scheduler": scheduler.state_dict(),
                "history": history,
                "config": config,
            }
            save_atomically(state, folder / "model.pt")
            pd.DataFrame(history).to_csv(folder / "log.csv", index=False)
            for name, value in row.items():
                writer.add_scalar(name, value, epoch + 1)
    return pd.DataFrame(history)


@torch.no_grad()
def validate(objective: Objective, slices: Slices, batch_size: int) -> float:
    """Mean L1 of the evaluated network over the slices, in fp32."""
    objective.eval()
    total = sum(float(objective.validate(batch)) * len(batch.x) for batch in slices.batches(batch_size))
    return total / len(slices)


def gradient_norms(objective: Objective, batch: Batch) -> dict[str, float]:
    """L2 norm of the gradient of each loss term with respect to the network's weights, on one batch in fp32."""
    weights = [p for p in objective.network.parameters() if p.requires_grad]
    norms = {}
    for name, term in objective(batch).terms.items():
        gradients = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
        norms[name] = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
    return norms


def save_atomically(state: dict, path: Path) -> None:
    """Write a checkpoint under a temporary name, flush it to the disk, then rename it into place."""
    temporary = path.with_suffix(".partial")
    with open(temporary, "wb") as file:
        torch.save(state, file)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def keep_freed_memory() -> None:
    """Have the C library reuse the memory that a training step frees; elsewhere than with glibc nothing happens.

    By default it returns large blocks to the system at once, and the next step has every page of them cleared anew,
    which costs more than the arithmetic on them. See mallopt(3).
    """
    if platform.libc_ver()[0] == "glibc":
        never, trim_threshold, mmap_threshold, arenas = 2**31 - 1, -1, -3, -8
        libc = ctypes.CDLL(None)
        for setting, value in ((mmap_threshold, 2**30), (trim_threshold, never), (arenas, 1)):
            libc.mallopt(setting, value)


def write_json(path: Path, value: dict) -> None:
    """Write a dict as JSON, under a temporary name first."""
    temporary = path.with_suffix(".partial")
    temporary.write_text(json.dumps(value, indent=2) + "\n")
    os.replace(temporary, path)


def differences(found: dict, expected: dict) -> str:
    """The keys in which two configurations differ, as "key: found -> expected" separated by commas."""
    keys = [key for key in sorted(found.keys() | expected.keys()) if found.get(key) != expected.get(key)]
    return ", ".join(f"{key}: {found.get(key)!r} -> {expected.get(key)!r}" for key in keys)


def _resume(path: Path, objective: nn.Module, optimiser, scheduler, config: dict) -> list[dict]:
    state = torch.load(path, map_location="cpu", weights_only=True)
    if state["config"] != config:
        raise ValueError(
            f"{path} was made by another configuration ({differences(state['config'], config)}): "
            "delete its folder to train anew, or set the parameters back"
        )
    objective.load_state_dict(state["objective"])
    optimiser.load_state_dict(state["optimiser"])
    scheduler.load_state_dict(state["scheduler"])
    return state["history"]


def _order(slices: Slices, seed: int, epoch: int) -> Tensor:
    generator = torch.Generator().manual_seed(seed * 1_000_003 + epoch)
    return torch.randperm(len(slices), generator=generator)


def _check_finite(loss: Loss, slices: Slices, indices: Tensor, epoch: int) -> None:
    if torch.isfinite(loss.total):
        return
    names = ", ".join(f"volume {slices.volume[i]} slice {slices.index[i]}" for i in indices.tolist())
    raise FloatingPointError(
        f"the loss is {loss.total.item()} in epoch {epoch + 1} on {names}: the last good checkpoint is kept; "
        "look at these slices, or lower lr"
    )

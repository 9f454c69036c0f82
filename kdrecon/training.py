"""The one training loop: any objective, any data, resumable to the bit."""

import contextlib
import ctypes
import json
import math
import os
import pickle
import platform
import signal
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import pandas as pd
import torch
from filelock import FileLock, Timeout
from torch import Tensor
from torch.utils.tensorboard import SummaryWriter
from tqdm.auto import tqdm

from kdrecon.data import Batch, Slices
from kdrecon.errors import InputError, first_line
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
    model.pt everything needed to continue, model.previous.pt the same one checkpoint earlier. SIGINT and SIGTERM
    write a checkpoint after the current step. The continued run equals the uninterrupted one bit for bit on a CPU.

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
        InputError: model.pt was made by another configuration (the differing keys are named), neither it nor its
            predecessor can be read, another process trains in the folder, or the folder cannot be written.
        FloatingPointError: a loss is not finite; the message names the slices, the last good checkpoint is kept.
        KeyboardInterrupt, SystemExit: after SIGINT or SIGTERM; the same call continues later.
    """
    keep_freed_memory()
    objective.to(memory_format=torch.channels_last)
    with _alone(folder), _stop_requested() as stop:
        training = Training(objective, recipe, folder, config)
        if not training.resume():
            order = _order(train, recipe.seed, 0).split(recipe.batch_size)
            first = train.batch(order[0])
            objective.prepare(first, (train.batch(indices) for indices in order))
            write_json(folder / "gradient_norms.json", gradient_norms(objective, first))
        done = len(training.history)
        with SummaryWriter(folder / "summary", purge_step=done + 1) as writer:
            for epoch in tqdm(range(done + 1, recipe.epochs + 1), title, recipe.epochs, leave=False, initial=done):
                training.epoch(train, stop)
                row = training.close_epoch(validate(objective, validation, recipe.batch_size))
                for name, value in row.items():
                    writer.add_scalar(name, value, epoch)
                stop()
    return pd.DataFrame(training.history)


class Training:
    """A training that can stop after any step and continue: objective, optimiser, schedule, history, position.

    Attributes:
        history: a row for each finished epoch.
        position: of the running epoch: index of the next slice in its order, sums of the loss terms, seconds.
    """

    def __init__(self, objective: Objective, recipe: Recipe, folder: Path, config: dict):
        self.objective, self.recipe, self.folder, self.config = objective, recipe, folder, config
        self.optimiser = torch.optim.Adam((p for p in objective.parameters() if p.requires_grad), lr=recipe.lr)
        self.scheduler = torch.optim.lr_scheduler.StepLR(self.optimiser, recipe.lr_step, gamma=0.1)
        self.history: list[dict] = []
        self.position = {"next": 0, "sums": {}, "seconds": 0.0}

    def epoch(self, train: Slices, stop: Callable[[], None]) -> None:
        """Take the steps of the running epoch that are left; ``stop`` is asked after each and may raise."""
        device, size, sums = train.x.device, self.recipe.batch_size, self.position["sums"]
        bf16 = resolve_precision(self.recipe.precision, device) == "bf16"
        order = _order(train, self.recipe.seed, len(self.history))
        self.objective.train()
        for start in range(self.position["next"], len(order), size):
            started, indices = time.perf_counter(), order[start : start + size]
            with torch.autocast(device.type, torch.bfloat16, enabled=bf16):
                loss = self.objective(train.batch(indices))
            _check_finite(loss, train, indices, len(self.history))
            self.optimiser.zero_grad(set_to_none=True)
            loss.total.backward()
            self.optimiser.step()
            for name, term in {**loss.terms, "total": loss.total}.items():
                sums[name] = sums.get(name, 0.0) + float(term.detach()) * len(indices) / len(order)
            self.position["next"] = start + size
            self.position["seconds"] += time.perf_counter() - started
            try:
                stop()
            except BaseException:
                self.save()
                raise

    def close_epoch(self, validation_l1: float) -> dict:
        """End the epoch: history, schedule, best_model.pt where it is the best so far, checkpoint. Returns its row."""
        best = min((row["validation_l1"] for row in self.history), default=math.inf)
        row = {"epoch": len(self.history) + 1, "lr": self.scheduler.get_last_lr()[0], **self.position["sums"]}
        row |= {"validation_l1": validation_l1, "seconds": self.position["seconds"]}
        self.history.append(row)
        self.scheduler.step()
        self.position = {"next": 0, "sums": {}, "seconds": 0.0}
        if validation_l1 < best:
            weights = {"model": self.objective.network.state_dict(), "epoch": row["epoch"], "validation_l1": validation_l1}
            save_atomically(weights | {"config": self.config}, self.folder / "best_model.pt")
        pd.DataFrame(self.history).to_csv(self.folder / "log.csv", index=False)
        self.save()
        return row

    def save(self) -> None:
        """Write model.pt; the one before becomes model.previous.pt."""
        path = self.folder / "model.pt"
        state = {name: getattr(self, name).state_dict() for name in ("objective", "optimiser", "scheduler")}
        state |= {"history": self.history, "position": self.position, "config": self.config}
        save_atomically(state, path, previous=path.with_name("model.previous.pt"))

    def resume(self) -> bool:
        """Continue from model.pt, or from its predecessor where it is damaged; whether there was one."""
        paths = [path for name in ("model.pt", "model.previous.pt") if (path := self.folder / name).exists()]
        for path in paths:
            try:
                state = torch.load(path, map_location="cpu", weights_only=True)
            except (pickle.UnpicklingError, RuntimeError, EOFError, OSError) as error:
                print(f"{path} cannot be read ({first_line(error)}): trying the checkpoint before it")
                continue
            if state["config"] != self.config:
                raise InputError(
                    f"{path} was made by another configuration ({differences(state['config'], self.config)}): "
                    "delete its folder to train anew, or set the parameters back"
                )
            for name in ("objective", "optimiser", "scheduler"):
                getattr(self, name).load_state_dict(state[name])
            self.history, self.position = state["history"], state["position"]
            return True
        if paths:
            raise InputError(f"no checkpoint in {self.folder} can be read: delete the folder to train anew")
        return False


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


def save_atomically(state: dict, path: Path, previous: Path | None = None) -> None:
    """Write a checkpoint under a temporary name, flush it to the disk, read it back, then rename it into place.

    Args:
        state: what to save.
        path: where.
        previous: name for the file that stood there; without one it is replaced.

    Raises:
        InputError: it cannot be written, for example because the disk is full; the old file stays.
    """
    temporary = path.with_suffix(".partial")
    try:
        with open(temporary, "wb") as file:
            torch.save(state, file)
            file.flush()
            os.fsync(file.fileno())
        torch.load(temporary, map_location="cpu", weights_only=True)
        if previous and path.exists():
            os.replace(path, previous)
        os.replace(temporary, path)
    except (OSError, RuntimeError) as error:
        with contextlib.suppress(OSError):
            temporary.unlink(missing_ok=True)
        raise InputError(
            f"{path} cannot be written ({error}): expected room on a writable disk; the checkpoint before it is kept, "
            "make room and run the same command again"
        ) from error


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


@contextlib.contextmanager
def _alone(folder: Path) -> Iterator[None]:
    """The folder, made and locked against a second process."""
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with FileLock(folder / ".lock", timeout=0):
            yield
    except Timeout:
        raise InputError(
            f"another process trains in {folder}: expected to be alone there; wait for it, or choose another run_root"
        ) from None


@contextlib.contextmanager
def _stop_requested() -> Iterator[Callable[[], None]]:
    """A call that raises KeyboardInterrupt after SIGINT and SystemExit after SIGTERM, where a caller can bear it."""
    received: list[int] = []

    def stop():
        if received:
            raise KeyboardInterrupt if received[0] == signal.SIGINT else SystemExit(128 + received[0])

    try:
        before = {s: signal.signal(s, lambda number, _: received.append(number)) for s in (signal.SIGINT, signal.SIGTERM)}
    except ValueError:  # only the main thread receives signals
        before = {}
    try:
        yield stop
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)


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

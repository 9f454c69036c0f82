"""The one training loop: any objective, any data, resumable to the bit.

>>> from pathlib import Path
>>> from tempfile import TemporaryDirectory
>>> from kdrecon.data.splits import Split, load_split
>>> from kdrecon.models.dccnn import dc_cnn
>>> from kdrecon.training.loop import fit
>>> from kdrecon.training.objectives import Supervised
>>> from kdrecon.training.recipe import Recipe
>>> slices = load_split(Split("sample", "validation", "4x", resolution=16))
>>> with TemporaryDirectory() as folder:
...     history = fit(Supervised(dc_cnn("D2C1")), slices, slices, Recipe(epochs=2), Path(folder), config={})
>>> len(history)
2
"""

import ctypes
import json
import math
import platform
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import torch
from torch import Tensor
from torch.nn import functional as F
from tqdm.auto import tqdm

from kdrecon import metrics
from kdrecon.data.slices import Change, Slices
from kdrecon.errors import InputError, first_line
from kdrecon.storage.checkpoints import differences, read_checkpoint, save_checkpoint, unlike
from kdrecon.storage.files import alone_in, stop_requested, write_json
from kdrecon.tasks import Batch
from kdrecon.training.augmentation import Flips
from kdrecon.training.logs import Listener, Log
from kdrecon.training.objectives import Distillation, Objective
from kdrecon.training.recipe import (
    LAYOUTS,
    PRECISIONS,
    UNKNOWN_BEFORE,
    Recipe,
    check_choices,
    resolve_layout,
    resolve_precision,
)
from kdrecon.training.targets import Targets, keep, target_limit

HALVES = {"bf16": torch.bfloat16, "fp16": torch.float16}
FORMATS = {"channels_last": torch.channels_last, "contiguous": torch.contiguous_format}
KEPT, ASKED = "kept", "asked at every step"
WATCHED = 16
CONTINUED = ("model.pt", "model.previous.pt")


def fit(
    objective: Objective,
    train: Slices,
    validation: Slices,
    recipe: Recipe,
    folder: Path,
    config: dict,
    title: str = "training",
    listeners: Sequence[Listener] = (),
    bar: Callable[..., Any] = tqdm,
) -> pd.DataFrame:
    """Train until recipe.epochs are done, continuing from folder/model.pt where an earlier call was interrupted.

    Every epoch: one pass over the training slices in an order and with an augmentation drawn from (seed, epoch), one
    over the validation slices in fp32, then a checkpoint. best_model.pt holds the network of the epoch with the lowest
    validation L1, model.pt everything needed to continue, model.previous.pt the same one checkpoint earlier. SIGINT,
    SIGTERM and data that cannot be read any more end in a checkpoint after the last whole step. What an objective draws,
    it draws from torch's generator, which is seeded here. What a frozen teacher says of slices that stay as they are is
    kept where it fits into memory (:mod:`kdrecon.training.targets`). The continued run equals the uninterrupted one bit
    for bit on a CPU; continued elsewhere it keeps the precision and the layout it began with, and notes the devices.

    Args:
        objective: what to minimise; on the device where the slices are.
        train, validation: slices, in memory or streamed.
        recipe: epochs, batch size, learning rate, seed, precision, layout, augmentation.
        folder: where best_model.pt, model.pt, log.csv and summary/ (TensorBoard) are written.
        config: saved in both checkpoints, with precision, layout, augmentation, device and whether the teacher's targets
            are kept; a model.pt with another one is refused.
        title: name on the progress bar.
        listeners: who hears of every epoch, as :func:`kdrecon.teaching.live.curve` does.
        bar: makes the progress bar, as tqdm does.

    Returns:
        the history: a row an epoch with the learning rate, the mean of each loss term, the validation L1 over all
        slices and validation PSNR and SSIM over 16 of them.

    Raises:
        InputError: model.pt was made by another configuration (the differing keys are named), neither it nor its
            predecessor can be read, another process trains in the folder, or the folder cannot be written.
        FloatingPointError: a loss is not finite; the message names the slices, the last good checkpoint is kept.
        KeyboardInterrupt, SystemExit: after SIGINT or SIGTERM; the same call continues later.
    """
    keep_freed_memory()
    cuda = [train.device] if train.device.type == "cuda" else []
    with alone_in(folder), stop_requested() as stop, torch.random.fork_rng(cuda):
        torch.manual_seed(recipe.seed)
        training = Training(objective, train, recipe, folder, config)
        resumed = training.resume()
        objective.to(memory_format=FORMATS[training.config["layout"]])  # type: ignore[call-overload]
        if not resumed:
            order = training.order.split(recipe.batch_size)
            first = train.batch(order[0], training.change)
            objective.prepare(first, (train.batch(indices, training.change) for indices in order))
            write_json(folder / "gradient_norms.json", gradient_norms(objective, first))
        training.keep_targets()
        with Log(folder, title, recipe.epochs, len(train), training.history, listeners, bar) as log:
            log.progress(training.next)
            while len(training.history) < recipe.epochs:
                try:
                    training.epoch(stop, log.progress)
                    figures, watched = validate(objective, validation, recipe.batch_size)
                except (InputError, KeyboardInterrupt, SystemExit):
                    training.save()
                    raise
                training.close_epoch(figures)
                log.epoch(training.history, watched)
                training.save()
                stop()
    return pd.DataFrame(training.history)


class Training:
    """A training that can stop after any step and continue.

    Attributes:
        history: a row for each finished epoch.
        best: network, epoch and validation L1 of the best epoch so far.
        order: the slices of the running epoch, in the order of its steps; next: how many of them are done.
        change: how the running epoch shows them, None where as they are.
        sums: of the running epoch, the means over its slices of the loss terms as far as it came.
        seconds: how long the running epoch has taken.
    """

    sums: dict[str, Tensor]
    seconds: float

    def __init__(self, objective: Objective, train: Slices, recipe: Recipe, folder: Path, config: dict):
        self.objective, self.train, self.recipe, self.folder = objective, train, recipe, folder
        self.device = train.device
        check_choices(recipe.augment, recipe.lr_schedule)
        self.compute_in(resolve_precision(recipe.precision, self.device))
        layout = resolve_layout(recipe.layout, self.precision, self.device)
        made = {
            "precision": self.precision,
            "layout": layout,
            "augment": recipe.augment,
            "lr_schedule": recipe.lr_schedule,
        }
        self.config = config | made | {"device": self.device.type}
        self.targets: Targets | None = None
        self._begun = ""  # KEPT or ASKED, where an earlier call began
        trained = [p for p in objective.parameters() if p.requires_grad]
        self.optimiser = torch.optim.Adam(trained, lr=recipe.lr, fused=True)
        self.scheduler = recipe.scheduler(self.optimiser, len(train))
        self.history: list[dict] = []
        self.best: dict = {}
        self._unchecked: list[tuple[Tensor, Tensor]] = []
        self.begin_epoch()

    def compute_in(self, precision: str) -> None:
        """Take the steps to come in this precision; in fp16 with a scaled loss, where a step that overflows is left out."""
        self.precision = precision
        self.scaler = torch.amp.GradScaler(self.device.type, enabled=precision == "fp16")

    def autocast(self) -> torch.autocast:
        """A context in which convolutions run in the training's precision."""
        half = HALVES.get(self.precision)
        return torch.autocast(self.device.type, half or torch.bfloat16, enabled=half is not None)

    def epoch(self, stop: Callable[[], None], progress: Callable[[int], None]) -> None:
        """Take the steps of the running epoch that are left; ``stop`` is asked after each and may raise."""
        size, patience = self.recipe.batch_size, 1 if self.device.type == "cpu" else 32
        self.objective.train()
        todo, started = self.order[self.next :], time.perf_counter() - self.seconds
        batches = self.train.batches(size, todo, self.change) if len(todo) else ()
        for indices, batch in zip(todo.split(size), batches):
            self.step(indices, batch)
            if len(self._unchecked) >= patience:
                self.check_finite()
            self.seconds = time.perf_counter() - started
            progress(len(indices))
            stop()
        self.check_finite()
        self.seconds = time.perf_counter() - started

    def keep_targets(self) -> None:
        """Keep what the teacher says of all slices, unless they change or the training began without that, and note it."""
        if not (isinstance(self.objective, Distillation) and self.objective.listens):
            return
        if self._begun != ASKED and not self.recipe.augmented:
            with self.autocast():
                size, epochs = self.recipe.batch_size, self.recipe.epochs
                self.targets = keep(self.objective, self.train, size, epochs, target_limit(self.device))
        self.config["targets"] = KEPT if self.targets else ASKED
        if self._begun == KEPT and not self.targets:
            print("going on with a teacher that is asked at every step, for what it says does not fit into memory here")

    def step(self, indices: Tensor, batch: Batch) -> None:
        """One step of the optimiser on the batch of slices with these indices (B,); on a GPU it is not waited for."""
        with self.autocast():
            loss = self.objective(batch, *([self.targets.of(indices)] if self.targets else []))
        self.optimiser.zero_grad(set_to_none=True)
        self.scaler.scale(loss.total).backward()
        self.scaler.step(self.optimiser)
        self.scaler.update()
        if self.recipe.lr_schedule == "one_cycle":
            self.scheduler.step()
        for name, term in {**loss.terms, "total": loss.total}.items():
            self.sums[name] = self.sums.get(name, 0.0) + term.detach().double() * (len(indices) / len(self.order))
        self.next += len(indices)
        self._unchecked.append((indices, loss.total.detach()))

    def close_epoch(self, figures: dict[str, float]) -> None:
        """End the epoch with its validation figures: history, schedule, best_model.pt where it is the best so far."""
        epoch, means = len(self.history) + 1, {name: float(value) for name, value in self.sums.items()}
        lr, l1 = self.scheduler.get_last_lr()[0], figures["validation_l1"]
        self.history.append({"epoch": epoch, "lr": lr, **means, **figures, "seconds": self.seconds})
        if self.recipe.lr_schedule == "steps":
            self.scheduler.step()
        if l1 < self.best.get("validation_l1", math.inf):
            weights = {name: value.clone() for name, value in self.objective.network.state_dict().items()}
            self.best = {"model": weights, "epoch": epoch, "validation_l1": l1, "config": self.config}
            save_checkpoint(self.best, self.folder / "best_model.pt")
        self.begin_epoch()

    def save(self) -> None:
        """Write model.pt; the one before becomes model.previous.pt."""
        self.check_finite()
        latest, previous = (self.folder / name for name in CONTINUED)
        save_checkpoint(self._state(), latest, previous)

    def _state(self) -> dict:
        state = {name: getattr(self, name).state_dict() for name in ("objective", "optimiser", "scheduler")}
        state |= {name: getattr(self, name) for name in ("config", *self._PROGRESS)}
        state |= {"scaler": self.scaler.state_dict()} if self.scaler.is_enabled() else {}
        state["random"] = {"cpu": torch.get_rng_state()}
        if self.device.type == "cuda":
            state["random"]["cuda"] = torch.cuda.get_rng_state(self.device)
        return state

    def resume(self) -> bool:
        """Continue from model.pt, or from its predecessor where it is damaged; whether there was one."""
        paths = [path for name in CONTINUED if (path := self.folder / name).exists()]
        for path in paths:
            try:
                state = self._checked(path)
            except InputError as error:
                print(error)
                continue
            self._take_over(state["config"], path)
            for name in ("objective", "optimiser", "scheduler"):
                getattr(self, name).load_state_dict(state[name])
            if self.scaler.is_enabled():
                self.scaler.load_state_dict(state["scaler"])
            for name in self._PROGRESS:
                setattr(self, name, state[name])
            _, self.change = self._drawn()
            self.sums = {name: value.to(self.device) for name, value in self.sums.items()}
            torch.set_rng_state(state["random"]["cpu"])
            if "cuda" in state["random"] and self.device.type == "cuda":
                torch.cuda.set_rng_state(state["random"]["cuda"], self.device)
            if path != paths[0]:
                print(f"continuing from the checkpoint before it, {path}")
            if self.best:
                save_checkpoint(self.best, self.folder / "best_model.pt")
            return True
        if paths:
            raise InputError(f"no checkpoint in {self.folder} can be read: delete the folder to train anew")
        return False

    def _take_over(self, begun: dict, path: Path) -> None:
        """Go on as the checkpoint began: "auto" keeps precision and layout, and another device is noted.

        Raises:
            InputError: it was made by another configuration.
        """
        here, before = self.config["device"], begun.get("device", "")
        begun = {name: value for name, value in UNKNOWN_BEFORE.items() if name in self.config} | begun
        if self.recipe.precision == "auto" and begun.get("precision") in PRECISIONS:
            self.config["precision"] = begun["precision"]
        if self.recipe.layout == "auto" and begun.get("layout") in LAYOUTS:
            self.config["layout"] = begun["layout"]
        compared = {name: value for name, value in begun.items() if name != "targets"} | {"device": here}
        if compared != self.config:
            raise InputError(
                f"{path} was made by another configuration ({differences(compared, self.config)}): "
                "delete its folder to train anew, or set the parameters back"
            )
        self._begun = begun.get("targets", ASKED)
        if self.precision != self.config["precision"]:
            self.compute_in(self.config["precision"])
            print(f"going on in {self.precision} as it began, which is not this device's fast way")
        if before.rpartition(" ")[2] != here:
            self.config["device"] = f"{before}, then {here}"
            print(f"going on on {here} what began on {before}: rounding differs from a training on one of them")

    def _checked(self, path: Path) -> dict:
        """What a checkpoint holds, if it has the form of what :meth:`save` writes.

        Raises:
            InputError: it cannot be read, or has another form.
        """
        state, form = read_checkpoint(path), self._state()
        form.pop("scaler", None)
        trained = self.optimiser.param_groups[0]["params"]
        moments = [{"step": torch.tensor(0.0), "exp_avg": p, "exp_avg_sq": p} for p in trained]
        best = {"model": self.objective.network.state_dict(), "epoch": 1, "validation_l1": 0.0, "config": {}}
        row = {"epoch": 1, "lr": 0.0, "validation_l1": 0.0, "seconds": 0.0}
        try:
            form["optimiser"]["state"] = {i: moments[i] for i in state["optimiser"]["state"]}  # those with a gradient
            begun = state["config"].get("lr_schedule", Recipe.lr_schedule)
            if begun != self.recipe.lr_schedule:  # refused by that name, later
                form["scheduler"] = state["scheduler"]
                form["optimiser"]["param_groups"] = state["optimiser"]["param_groups"]
            form["history"] = [dict.fromkeys(found, 0.0) | row for found in state["history"]]
            form["best"] = best if state["history"] else {}
            form["sums"] = {name: torch.tensor(0.0, dtype=torch.float64) for name in state["sums"]}
            form["random"] = {name: form["random"][name] for name in {"cpu", *state["random"]} & form["random"].keys()}
            if state["config"].get("precision") == "fp16":
                form["scaler"] = torch.amp.GradScaler(self.device.type).state_dict()
            wrong = unlike(state, form | {"config": {"device": ""}})
            if not wrong:
                json.dumps(state["config"])
                torch.Generator().set_state(state["random"]["cpu"])
                state["scheduler"] = {name: state["scheduler"][name] for name in form["scheduler"]}
                whole = torch.equal(state["order"].sort().values, torch.arange(len(self.train)))
                wrong = "" if whole and 0 <= state["next"] <= len(self.train) else "the order of the slices"
        except (KeyError, IndexError, TypeError, ValueError, AttributeError, RuntimeError) as error:
            wrong = first_line(error)
        if wrong:
            raise InputError(f"{path} cannot be read ({wrong}): expected model.pt as a training writes it")
        return state

    _PROGRESS = ("history", "best", "order", "next", "sums", "seconds")

    def begin_epoch(self) -> None:
        """Draw the next epoch; nothing of it is done."""
        self.order, self.change = self._drawn()
        self.next, self.sums, self.seconds = 0, {}, 0.0

    def _drawn(self) -> tuple[Tensor, Change | None]:
        """Order and augmentation of the running epoch, which follow from the seed and its number alone."""
        n, generator = len(self.train), torch.Generator()
        generator.manual_seed((self.recipe.seed * 1_000_003 + len(self.history)) % 2**64)
        order = torch.randperm(n, generator=generator)
        return order, Flips.drawn(n, generator) if self.recipe.augmented else None

    def check_finite(self) -> None:
        """Raise FloatingPointError where the loss of a step since the last check is not finite."""
        losses = torch.stack([loss for _, loss in self._unchecked]).tolist() if self._unchecked else []
        for (indices, _), loss in zip(self._unchecked, losses):
            if not math.isfinite(loss):
                names = ", ".join(f"{self.train.name(i)}" for i in indices.tolist())
                raise FloatingPointError(
                    f"the loss is {loss} in epoch {len(self.history) + 1} on {names}: the last good checkpoint is kept; "
                    "look at these slices, or lower lr"
                )
        self._unchecked.clear()


@torch.no_grad()
def validate(objective: Objective, slices: Slices, batch_size: int) -> tuple[dict[str, float], list[np.ndarray]]:
    """Figures of the evaluated network in fp32: mean L1 over all slices, mean PSNR (dB) and SSIM over 16 of them.

    Returns:
        validation_l1, validation_psnr, validation_ssim; and of the 16 slices, evenly spaced and without empty ones,
        target and reconstruction (2, H, W).
    """
    objective.eval()
    total, watched = torch.zeros((), dtype=torch.float64, device=slices.device), []
    chosen = set(slices.spread(WATCHED).tolist())
    for indices, batch in zip(torch.arange(len(slices)).split(batch_size), slices.batches(batch_size)):
        x = objective.evaluated(*batch.inputs)
        total = total + F.l1_loss(x, batch.x).double() * len(x)
        pairs = torch.cat([batch.x, x], 1)[[i in chosen for i in indices.tolist()]].cpu().numpy()
        watched += [pair for pair in pairs if pair[0].any()]
    means = {name: float(np.mean([metrics.METRICS[name](*pair) for pair in watched])) for name in ("psnr", "ssim")}
    return {"validation_l1": float(total) / len(slices)} | {f"validation_{k}": v for k, v in means.items()}, watched


def gradient_norms(objective: Objective, batch: Batch) -> dict[str, float]:
    """L2 norm of the gradient of each loss term with respect to the network's weights, on one batch in fp32."""
    weights = [p for p in objective.network.parameters() if p.requires_grad]
    norms = {}
    for name, term in objective(batch).terms.items():
        gradients = torch.autograd.grad(term, weights, retain_graph=True, allow_unused=True)
        norms[name] = math.sqrt(sum(float(g.square().sum()) for g in gradients if g is not None))
    return norms


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

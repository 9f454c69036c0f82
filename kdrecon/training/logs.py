"""What a training says while it runs: progress bar, log.csv, TensorBoard, and whoever else listens.

>>> import numpy as np
>>> from kdrecon.training.logs import panel
>>> panel([np.zeros((2, 16, 16))] * 3).shape
(1, 48, 48)
"""

import contextlib
import threading
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import pandas as pd
from tqdm.auto import tqdm

from kdrecon.errors import first_line
from kdrecon.storage.files import write_text

if TYPE_CHECKING:
    from torch.utils.tensorboard import SummaryWriter

# Entered with the title when a training begins and left when it ends; what it yields is called after every epoch with
# the rows of all epochs so far.
Listener = Callable[[str], contextlib.AbstractContextManager[Callable[[list[dict]], None]]]

PICTURES = 3  # slices of the panel
PANELS = 5  # panels of a training


class Log(contextlib.AbstractContextManager):
    """The log of one training, continued after an interruption; where TensorBoard cannot be written to, without it.

    Args:
        folder: receives log.csv (a row an epoch) and summary/ (TensorBoard: the same figures as curves, and a panel of
            reconstructions a few times in a training).
        title: name on the progress bar.
        epochs: how many epochs there will be, of how many slices.
        slices: see epochs.
        history: the rows of the epochs that are done.
        listeners: who else hears of every epoch.
        bar: makes the progress bar, as tqdm does.
    """

    def __init__(
        self,
        folder: Path,
        title: str,
        epochs: int,
        slices: int,
        history: list[dict],
        listeners: Sequence[Listener] = (),
        bar: Callable[..., Any] = tqdm,
    ):
        self.folder, self.title, self.epochs = folder, title, epochs
        if history:  # the file may have been lost since
            self._write(history)
        self._excepthook, threading.excepthook = threading.excepthook, self._failed_thread
        self.writer: SummaryWriter | None = None
        self._tensorboard(lambda: self._open(len(history)))
        done = len(history) * slices
        self.bar = bar(desc=title, total=epochs * slices, initial=done, unit="slice", leave=False)
        self._left = contextlib.ExitStack()
        self._listeners = [self._left.enter_context(listener(title)) for listener in listeners]

    def _write(self, history: list[dict]) -> None:
        write_text(self.folder / "log.csv", pd.DataFrame(history).to_csv(index=False))

    def progress(self, slices: int) -> None:
        """So many more slices are done: the bar moves, and estimates the time that is left."""
        self.bar.update(slices)

    def epoch(self, history: list[dict], watched: list[np.ndarray]) -> None:
        """An epoch has ended.

        Args:
            history: the rows of all epochs up to it.
            watched: target and reconstruction (2, H, W) of some validation slices.
        """
        row = history[-1]
        self._write(history)
        if writer := self.writer:
            self._tensorboard(lambda: self._add(writer, row, watched))
        self.bar.set_postfix_str(f"validation L1 {row['validation_l1']:.5f}", refresh=False)
        for listener in self._listeners:
            listener(history)

    def __exit__(self, *_: object) -> None:
        self.bar.close()
        self._left.close()
        self._close()
        threading.excepthook = self._excepthook

    def _open(self, done: int) -> None:
        from torch.utils.tensorboard import SummaryWriter

        self.writer = SummaryWriter(self.folder / "summary", purge_step=done + 1)

    def _add(self, writer: "SummaryWriter", row: dict, watched: list[np.ndarray]) -> None:
        for name, value in row.items():
            writer.add_scalar(name, value, row["epoch"])
        if row["epoch"] in np.linspace(1, self.epochs, PANELS).round():
            writer.add_image("target, reconstruction, 5 x residue", panel(watched[:PICTURES]), row["epoch"])
        writer.flush()

    def _tensorboard(self, write: Callable[[], None]) -> None:
        """Write; where that fails, say so once and go on without TensorBoard."""
        try:
            write()
        except OSError as error:
            print(f"{self.title}: no more curves for TensorBoard ({first_line(error)}); the training goes on")
            self._close()

    def _close(self) -> None:
        if self.writer:
            with contextlib.suppress(OSError):
                self.writer.file_writer.close()  # type: ignore[attr-defined]  # said to be None
        self.writer = None

    def _failed_thread(self, failure: threading.ExceptHookArgs) -> None:
        """TensorBoard's thread does not print a traceback of what it raises at the next call, too."""
        if not isinstance(failure.exc_value, OSError):
            self._excepthook(failure)


def panel(watched: list[np.ndarray]) -> np.ndarray:
    """One grey image (1, n H, 3 W), clipped to [0, 1]: a row a slice with target, reconstruction, 5 x absolute residue.

    Args:
        watched: target and reconstruction (2, H, W) of n slices.
    """
    rows = [np.concatenate([x, p, 5 * np.abs(x - p)], axis=1) for x, p in watched]
    return np.concatenate(rows)[None].clip(0, 1)

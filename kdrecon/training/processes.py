"""Trainings one after the other in this process, or side by side in processes of their own, with the same bits.

>>> import torch
>>> from kdrecon.training.processes import threads
>>> with threads(1):
...     torch.get_num_threads()
1
"""

import _thread
import contextlib
import io
import os
import pickle
import queue
import signal
import subprocess
import sys
import threading
import traceback
from collections import deque
from collections.abc import Callable, Generator, Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ThreadPoolExecutor, wait
from dataclasses import dataclass
from pathlib import Path
from typing import Any, BinaryIO

import pandas as pd
import torch
from tqdm.auto import tqdm

from kdrecon.data.slices import Slices
from kdrecon.errors import InputError, first_line
from kdrecon.storage.files import alone_in, stop_requested
from kdrecon.training.logs import Listener
from kdrecon.training.loop import fit
from kdrecon.training.objectives import Objective
from kdrecon.training.recipe import Recipe

PATIENCE = 0.1  # seconds between two looks at what the processes tell
GRACE = 10  # seconds that a training whose run was killed has to leave its folder: its step, and a checkpoint
START = "from kdrecon.training.processes import serve; serve()"

Data = tuple[Slices, Slices]  # to train with, and to validate with
Histories = list[pd.DataFrame]  # of the stages of a training, see kdrecon.training.loop.fit
Tell = Callable[[str, Any], None]


@dataclass(frozen=True)
class Job:
    """One network to train, in its stages, each from the last weights of the one before.

    Attributes:
        objectives: by the name of the stage, in their order; the last one makes the network.
        folder: of the experiment; an earlier stage has a folder of its name in it.
        recipe, config, title: see :func:`kdrecon.training.loop.fit`.
    """

    objectives: dict[str, Objective]
    recipe: Recipe
    folder: Path
    config: dict
    title: str

    def run(self, data: Data, listeners: Sequence[Listener] = (), bar: Callable[..., Any] = tqdm) -> Histories:
        """Train it in this process; what :func:`kdrecon.training.loop.fit` raises, this raises."""
        *earlier, last = self.objectives
        histories = []
        with alone_in(self.folder, GRACE):
            pass
        for stage in earlier:
            folder, title = self.folder / stage, f"{self.title}, {stage}"
            histories.append(
                fit(self.objectives[stage], *data, self.recipe, folder, self.config, title, listeners, bar)
            )
            self.objectives[last].network.load_state_dict(self.objectives[stage].network.state_dict())
        args = (self.objectives[last], *data, self.recipe, self.folder, self.config, self.title)
        return [*histories, fit(*args, listeners, bar)]


@contextlib.contextmanager
def threads(count: int) -> Iterator[None]:
    """PyTorch computes with so many threads in the block."""
    before = torch.get_num_threads()
    torch.set_num_threads(count)
    try:
        yield
    finally:
        torch.set_num_threads(before)


def trained(
    jobs: Iterable[Job], data: Data, processes: int, count: int, listeners: Sequence[Listener] = ()
) -> Generator[tuple[Job, Histories]]:
    """Train networks, so many at a time, and yield each with its histories as it ends.

    A job is taken from ``jobs`` when its training begins. With one process all happens in this one; with more none does,
    but bars, messages and listeners are here. How many there are changes no bit of a network; the threads do. After SIGINT,
    SIGTERM, a failure of one, and when this process is gone, however that came, each training ends with a checkpoint after
    its last whole step; the same jobs continue later.

    Args:
        jobs: independent of each other.
        data: slices to train with, and to validate with.
        processes: how many train at the same time.
        count: threads of each training.
        listeners: who hears of every epoch, see :func:`kdrecon.training.loop.fit`.

    Raises:
        InputError: a process ended by itself, as for lack of memory; and as :func:`kdrecon.training.loop.fit`.
        FloatingPointError, KeyboardInterrupt, SystemExit: as :func:`kdrecon.training.loop.fit`.
    """
    if processes > 1:
        yield from _side_by_side(iter(jobs), data, processes, count, listeners)
        return
    for job in jobs:
        with threads(count):
            histories = job.run(data, listeners)
        yield job, histories


def _side_by_side(
    jobs: Iterator[Job], data: Data, processes: int, count: int, listeners: Sequence[Listener]
) -> Generator[tuple[Job, Histories]]:
    told: deque[tuple[Shown, str, Any]] = deque()
    running: dict[Future[Histories], tuple[Job, Worker]] = {}
    with stop_requested() as stop, contextlib.ExitStack() as at_the_end:
        idle = [at_the_end.enter_context(Worker(data, count)) for _ in range(processes)]
        pool = at_the_end.enter_context(ThreadPoolExecutor(processes))
        for worker in idle:
            at_the_end.callback(worker.stop)
        while True:
            while idle and (job := next(jobs, None)):
                if not _travels(job, data):
                    with threads(count):
                        histories = job.run(data, listeners)
                    yield job, histories
                    continue
                shown, worker = at_the_end.enter_context(Shown(listeners)), idle.pop()
                tell = lambda name, value, shown=shown: told.append((shown, name, value))  # noqa: E731
                running[pool.submit(worker.train, job, tell)] = job, worker
            if not running:
                break
            ended, _ = wait(running, PATIENCE, FIRST_COMPLETED)
            while told:
                shown, name, value = told.popleft()
                shown(name, value)
            for future in ended:
                job, worker = running.pop(future)
                idle.append(worker)
                yield job, future.result()
            stop()


def _travels(job: Job, data: Data) -> bool:
    """Whether another process can read the job: not where a class of it was defined in a notebook."""
    try:
        return b"__main__" not in pickle.dumps((job, [(type(slices), slices.task) for slices in data]))
    except (pickle.PicklingError, AttributeError, TypeError):
        return False


class Worker(contextlib.AbstractContextManager):
    """A process that trains what it is sent, until its standard input ends: with this object or with this process.

    It is no child of multiprocessing, which would start a script without a main guard anew. It does not hear Ctrl-C of the
    terminal: it is told.

    Args:
        data: slices to train with, and to validate with.
        count: threads that it computes with.
    """

    def __init__(self, data: Data, count: int):
        self.data: Data | None = data
        path = os.pathsep.join(filter(None, sys.path))
        names = ("OMP_NUM_THREADS", "MKL_NUM_THREADS")
        self.process = subprocess.Popen(
            [sys.executable, "-c", START, str(count)],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            env=os.environ | dict.fromkeys(names, str(count)) | {"PYTHONPATH": path},
            start_new_session=True,
            creationflags=getattr(subprocess, "CREATE_NEW_PROCESS_GROUP", 0),
        )

    def __exit__(self, *error: object) -> None:
        self.stop()
        self.process.__exit__(None, None, None)

    def train(self, job: Job, tell: Tell) -> Histories:
        """Send a job and pass on what the process tells of it, until it is done.

        Raises:
            InputError: the process ended.
            Exception: what the training raised there.
        """
        requests, answers = self.process.stdin, self.process.stdout
        assert requests and answers
        try:
            if self.data:
                pickle.dump(self.data, requests)
                self.data = None
            pickle.dump(job, requests)
            requests.flush()
            while True:
                name, value = pickle.load(answers)
                if name in ("done", "failed"):
                    break
                tell(name, value)
        except (EOFError, OSError, ValueError, pickle.UnpicklingError):
            raise InputError(
                f"{job.title}: the process that trained it ended ({self.process.wait()}), which is often a lack of memory: "
                "expected it to go on; run the same again to continue, with fewer jobs for instance"
            ) from None
        if name == "failed":
            raise value
        return value

    def stop(self) -> None:
        """Let the process end, after a checkpoint where it trains; it is not waited for."""
        with contextlib.suppress(OSError):
            if self.process.stdin:
                self.process.stdin.close()


class Shown(contextlib.AbstractContextManager):
    """What this process shows of a training in another one: its bar, its messages, and who listens."""

    def __init__(self, listeners: Sequence[Listener]):
        self.listeners, self.left = listeners, contextlib.ExitStack()

    def __call__(self, name: str, value: Any) -> None:
        """Show what was told under this name: a message, the bar or one of its methods, the rows of all epochs so far."""
        if name == "print":
            tqdm.write(value, end="")
        elif name == "bar":
            self.bar = self.left.enter_context(tqdm(**value))
            self.heard = [self.left.enter_context(listener(value["desc"])) for listener in self.listeners]
        elif name == "epoch":
            for hear in self.heard:
                hear(value)
        elif name == "close":
            self.left.close()
        else:
            getattr(self.bar, name)(value)

    def __exit__(self, *error: object) -> None:
        self.left.close()


def serve() -> None:
    """What a :class:`Worker` process does: its standard input and output belong to the one that started it."""
    torch.set_num_threads(int(sys.argv[1]))
    signal.signal(signal.SIGINT, signal.default_int_handler)  # a job in the background inherits it ignored
    answers = os.fdopen(os.dup(1), "wb")
    os.dup2(2, 1)  # what libraries print is no answer
    work(sys.stdin.buffer, answers)
    os._exit(0)  # nothing is left to tidy up, nor anybody to hear of it


def work(requests: BinaryIO, answers: BinaryIO) -> None:
    """Train what comes, and answer; when requests end, a running training ends with a checkpoint after its last whole step.

    Args:
        requests: pickles: the data, then jobs.
        answers: pickles of (name, value): "done" with the histories or "failed" with the error ends the answer to a job,
            others are for :class:`Shown`.
    """
    received: queue.SimpleQueue[Any] = queue.SimpleQueue()
    alone = threading.Lock()

    def receive() -> None:
        try:
            while True:
                received.put(pickle.load(requests))
        except (EOFError, OSError, pickle.UnpicklingError):
            _thread.interrupt_main()
        except Exception as error:  # such as a class that cannot be imported here
            received.put(error)
        received.put(None)

    def tell(name: str, value: Any) -> None:
        answer = pickle.dumps((name, value))
        with alone, contextlib.suppress(OSError):  # the one that asked is gone: the training saves and ends
            answers.write(answer)
            answers.flush()

    threading.Thread(target=receive, daemon=True).start()
    with contextlib.suppress(KeyboardInterrupt), contextlib.redirect_stdout(Messages(tell)):
        data = received.get()
        while job := received.get():
            try:
                for thing in (data, job):
                    if isinstance(thing, Exception):
                        raise thing
                tell("done", job.run(data, [listening(tell)], lambda **settings: Bar(tell, settings)))
            except BaseException as error:
                tell("failed", _sendable(error))
                if not isinstance(error, Exception):
                    break


def _sendable(error: BaseException) -> BaseException:
    """The error as another process can read it, with its traceback where it is none of those that are told in one line."""
    if not isinstance(error, InputError | FloatingPointError | KeyboardInterrupt | SystemExit):
        error.add_note(traceback.format_exc())
    try:
        pickle.loads(pickle.dumps(error))
    except Exception:
        return RuntimeError(f"{type(error).__name__}: {first_line(Exception(str(error)))}")
    return error


class Messages(io.TextIOBase):
    """A standard output whose text is told."""

    def __init__(self, tell: Tell):
        self._tell = tell

    def write(self, text: str) -> int:
        """Tell it."""
        self._tell("print", text)
        return len(text)


class Bar:
    """A progress bar that is told; see tqdm."""

    def __init__(self, tell: Tell, settings: dict):
        self.tell = tell
        tell("bar", settings)

    def update(self, n: int) -> None:
        """So many more are done."""
        self.tell("update", n)

    def set_postfix_str(self, text: str, refresh: bool = True) -> None:
        """What stands behind the bar."""
        self.tell("set_postfix_str", text)

    def close(self) -> None:
        """The bar is taken away."""
        self.tell("close", None)


def listening(tell: Tell) -> Listener:
    """A listener that tells the rows of all epochs so far."""

    @contextlib.contextmanager
    def listen(title: str) -> Iterator[Callable[[list[dict]], None]]:
        yield lambda history: tell("epoch", history)

    return listen

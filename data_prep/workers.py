"""Volumes in several processes; those that an earlier call has finished are not made again.

>>> from data_prep.workers import results
>>> list(results([], jobs=1))
[]
"""

import contextlib
import signal
from collections.abc import Generator, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import replace
from multiprocessing import get_context

import torch

from data_prep.conversion import Conversion, convert
from data_prep.workplace import CannotWrite
from kdrecon.errors import InputError
from kdrecon.storage import hdf5

Result = dict | InputError
"""The attributes of a volume's files, or why it cannot be used."""


def results(conversions: list[Conversion], jobs: int) -> Generator[tuple[Conversion, Result]]:
    """Results as they come. The first volume that can be used is done alone, where it decides the size of the others."""
    expected = conversions[0].size or conversions[0].expected if conversions else ()
    while conversions and not expected:
        conversion, *conversions = conversions
        result = _result(conversion)
        if isinstance(result, dict):
            expected = conversion.written_size()
        yield conversion, result
    conversions = [replace(conversion, expected=expected) for conversion in conversions]
    if jobs == 1 or len(conversions) < 2:
        for conversion in conversions:
            yield conversion, _result(conversion)
    else:
        yield from _in_processes(conversions, jobs)


def _in_processes(conversions: list[Conversion], jobs: int) -> Iterator[tuple[Conversion, Result]]:
    with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_begin) as pool:
        todo, running = iter(conversions), {}
        try:
            while True:
                for conversion in todo:
                    running[pool.submit(_result, conversion)] = conversion
                    if len(running) >= 2 * jobs:
                        break
                if not running:
                    break
                for done in wait(running, return_when=FIRST_COMPLETED).done:
                    yield running.pop(done), _outcome(done)
        finally:
            pool.shutdown(cancel_futures=True)


def _begin() -> None:
    """A worker computes with one thread, and leaves Ctrl-C to the parent: what it is at, it finishes."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _result(conversion: Conversion) -> Result:
    """The result of a conversion, from its files where they are finished."""
    try:
        paths = list(conversion.paths.values())
        if all(path.exists() for path in paths):
            with contextlib.suppress(InputError), hdf5.opened(paths[0]) as file:  # a damaged one is made anew
                return file.attributes
        return convert(conversion)
    except CannotWrite:
        raise
    except InputError as error:
        return error


def _outcome(done: Future) -> Result:
    try:
        return done.result()
    except BrokenProcessPool:
        raise InputError(
            "a worker process was ended from outside, often for lack of memory: expected it to finish; run the same command "
            "again with --jobs 1, finished volumes are kept"
        ) from None

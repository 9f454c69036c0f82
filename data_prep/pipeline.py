"""From a source to a prepared data set, volume by volume, in several processes, to be continued where it stopped.

>>> from pathlib import Path
>>> from data_prep.pipeline import Options, prepare
>>> from data_prep.nifti import Nifti
>>> prepare(Nifti(Path("scans")), Path("datasets"), Options())
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: scans is not a folder: expected the one that holds the scans; check the path
"""

import contextlib
import csv
import hashlib
import json
import os
import re
import signal
from collections.abc import Callable, Iterator
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from concurrent.futures.process import BrokenProcessPool
from dataclasses import asdict, dataclass, fields, replace
from multiprocessing import get_context
from pathlib import Path
from typing import NamedTuple

import numpy as np
import torch
from tqdm.auto import tqdm

from data_prep import sheet, steps, survey
from data_prep.check import check
from data_prep.source import Scan, Source, each_once
from data_prep.workplace import CannotWrite, cannot_write, check_target, workplace
from kdrecon.data.splits import SPLITS
from kdrecon.data.volumes import FORMAT_VERSION, write_volume
from kdrecon.errors import InputError, first_line, shown
from kdrecon.storage import hdf5
from kdrecon.storage.files import as_text, natural
from kdrecon.storage.places import plain_name

COLUMNS = ("split", "volume", "subject", "slices", "split_by", "source", "empty_slices", "negative_voxels")
COUNTS = ("slices", "small_slices", "empty_slices", "signed_slices", "negative_voxels", "outside_voxels")


@dataclass(frozen=True)
class Options:
    """What happens to the volumes of a source. The fields are options of the command line.

    Attributes:
        name: of the data set and its folder; "" for the source's own.
        accelerations: factors such as "4x"; a file a volume is written for each.
        mask: "line" or "gaussian".
        size: "" for the source's own crop, "keep", or HEIGHTxWIDTH.
        slices: START:STOP or START:STOP:STEP of each volume; "" for all.
        foreground: least share of bright pixels in a slice that is not dropped as empty; 0 drops none.
        split: "official", a ratio such as "8,1,1", or a CSV file; "" for the source's own.
        seed: of a random split.
        keep_names: write subjects and file names instead of running numbers.
        skip_bad: go on without files that cannot be used.
        jobs: processes; 0 for one a processor.
        all_in: "train", "validation" or "test" for all subjects instead of a split; "" for none.
    """

    name: str = ""
    accelerations: tuple[str, ...] = ("4x",)
    mask: str = "line"
    size: str = ""
    slices: str = ""
    foreground: float = 0.01
    split: str = ""
    seed: int = 0
    keep_names: bool = False
    skip_bad: bool = False
    jobs: int = 0
    all_in: str = ""


class Outcome(NamedTuple):
    """What a preparation leaves to be said: a message a file that was left out, and a message a fault of the result."""

    left_out: list[str]
    faults: list[str]


@dataclass(frozen=True)
class Task:
    """One volume on its way: everything a worker process needs."""

    source: Source
    scan: Scan
    options: Options
    folder: Path
    split: str
    number: int
    subject: str
    size: tuple[int, ...]  # of the crop; () keeps the size
    expected: tuple[int, ...]  # size of the other volumes; () for the first one

    def path(self, acceleration: str) -> Path:
        return self.folder / self.split / f"acc_{acceleration}" / f"{self.number}.h5"


def prepare(source: Source, out: Path, options: Options) -> Outcome:
    """Write a data set in the layout kdrecon reads, one volume file a volume and acceleration.

    {out}/{name}/{split}/acc_{4x}/{n}.h5 with volfs (H, W, S) float32 scaled to [0, 1], img_volus_{4x} and
    kspace_volus_{4x}; beside them manifest.csv, contact_sheet.png and summary.txt. Work goes on in a hidden folder
    beside it, which a second call continues; it gets its name when it is complete, and then replaces an older one.
    Equal input, options and seed give equal bytes.

    Args:
        source: where the scans come from.
        out: folder of the prepared data sets.
        options: what happens to them.

    Returns:
        what was left out under ``skip_bad``, and what :func:`data_prep.check.check` finds in the result.

    Raises:
        InputError: a file that cannot be used (without ``skip_bad``), options that do not fit, or a folder that cannot
            be written. Volumes that were finished by then are kept for the next call.
    """
    name = options.name or source.dataset
    plain_name("name", name, source.dataset)
    if options.all_in and (options.split or options.all_in not in SPLITS):
        raise InputError(
            f"all-in {shown(options.all_in)}, split {shown(options.split)}: expected one of "
            f"{', '.join(SPLITS)}, and no --split with it"
        )
    split = f"all in {options.all_in}" if options.all_in else options.split or source.split
    options = replace(options, name=name, split=split)
    for number, high in {"seed": 2**64 - 1, "jobs": 1000, "foreground": 1}.items():
        if not 0 <= (value := getattr(options, number)) <= high:
            raise InputError(f"{number} {shown(value)}: expected a number from 0 to {high}; correct --{number}")
    size = _size(options.size, source.size)
    steps.parse_slices(options.slices)
    for acceleration in options.accelerations:
        steps.choose_mask(name, acceleration, size or (64, 64), options.mask)
    check_target(out / name, source.folder)
    bad: list[str] = []

    def leave_out(error: InputError) -> None:
        if not options.skip_bad:
            raise error
        bad.append(str(error))

    scans, passed = [], {}
    for found in each_once(source.scans(passed)):
        leave_out(found) if isinstance(found, InputError) else scans.append(found)
    seen = survey.passed_over(passed, scans)
    if not scans:
        raise survey.nothing(source, seen, bad)
    subjects = sorted({scan.subject for scan in scans}, key=natural)
    print(survey.found(source, scans, subjects), *[seen] * bool(seen), sep="\n")
    survey.warn_of_folders(source, scans)
    survey.warn_of_gaps(scans)
    if len(subjects) == 1 and not options.all_in:
        raise survey.alone(source, scans, bad)
    splits = _draw(scans, subjects, options)
    check_target(out / name, source.folder, [path for scan in scans for path in scan.files])
    with workplace(out / name, _plan(source, options, scans, splits)) as work:
        tasks = _tasks(source, scans, options, work, subjects, splits, size)
        done = _work(tasks, options, leave_out)
        lost = set(splits) - {task.scan.subject for task, result in done if result["slices"]}
        if lost and steps.is_ratio(options.split) and len(lost) + 2 <= len(subjects):
            splits |= steps.split_subjects(subjects, {}, options.split, options.seed, lost)
            kept, moved = _move(tasks, done, splits)
            done = kept + _work(moved, options, leave_out)
        rows = [_row(task, result) for task, result in done]
        survey.warn_of_empty(rows)
        rows.sort(key=lambda row: (SPLITS.index(row["split"]), row["volume"]))
        needed = [options.all_in] if options.all_in else SPLITS[:2]
        if missing := [part for part in needed if part not in {row["split"] for row in rows if row["slices"]}]:
            otherwise = "" if options.all_in else ", or take all to look at and reconstruct: --all-in test"
            raise InputError(
                f"{source.folder} leaves no volume for {' and '.join(missing)}, after {len(bad)} unusable files "
                f"({', '.join(bad[:1]) or 'all too small'}): expected at least one; repair files, or choose --size{otherwise}"
            )
        with open(work / "manifest.csv", "w", encoding="utf-8", newline="") as file:
            table = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
            table.writeheader()
            table.writerows(row for row in rows if row["slices"])
        sheet.draw(work, rows, options.accelerations)
        faults = [fault.replace(str(work), str(out / name)) for fault in check(work).faults]
        text = sheet.summary(name, rows, options, source.published, len(bad))
        text += f"check:      {len(faults) or 'no'} faults\n"
        (work / "summary.txt").write_text(text, encoding="utf-8")
    print(f"{out / name}\n{text}", end="")
    return Outcome(bad, faults)


def convert(task: Task) -> dict:
    """Read one volume, take it through all steps and write its files; the attributes of the files.

    Raises:
        InputError: the scan cannot be used.
        CannotWrite: the files cannot be written.
    """
    where, options = str(task.scan.files[0]), task.options
    try:
        volume = task.source.read(task.scan)
    except InputError:
        raise
    except Exception as error:  # whatever a library raises on a damaged file
        raise InputError(
            f"{where} cannot be read ({type(error).__name__}: {first_line(error)}): expected an intact file; get it again, "
            "or go on without it: --skip-bad"
        ) from error
    chosen = steps.parse_slices(options.slices)
    images, outside = steps.fill_outside(volume.images[chosen])
    signed = steps.signed_slices(images)
    chosen = np.arange(len(volume.images))[chosen][~signed]
    images, negative = steps.check_images(images[~signed], where)
    if task.size and task.source.small == "skip" and any(n < m for n, m in zip(images.shape[1:], task.size)):
        return {"slices": 0, "small_slices": len(images)}
    keep = steps.not_empty(images, options.foreground, chosen % volume.frames)
    images = steps.centred(images, task.size) if task.size else images
    keep &= images.max((1, 2)) > images.min((1, 2))
    if not keep.any():
        raise InputError(
            f"{where} has only empty slices in the central {images.shape[1:]}: expected some that are not; choose other "
            "--slices, a larger --size or a lower --foreground"
        )
    images = images[keep]
    if task.expected and images.shape[1:] != task.expected:
        choose = "choose scans of one kind with --match" if hasattr(task.source, "match") else "leave the file out"
        raise InputError(
            f"{where} has slices of {images.shape[1:]}, the first volume of {task.expected}: expected one size; "
            f"crop or pad all with --size {task.expected[0]}x{task.expected[1]}, or {choose}"
        )
    scale = images.max()
    images /= scale
    shown = task.scan.files if len(task.scan.files) <= 30 else task.scan.files[:1]
    names = [path.relative_to(task.source.folder).as_posix() for path in shown]
    attributes = {
        "dataset": options.name,
        "subject": task.subject,
        "split": task.split,
        "source": list(map(as_text, names)) if options.keep_names else [task.scan.label or "volume"],
        "voxel_size_mm": np.array(volume.voxel_size_mm) if volume.voxel_size_mm else "unknown",
        "slices": len(images),
        "small_slices": 0,
        "empty_slices": int((~keep).sum()),
        "signed_slices": int(signed.sum()),
        "negative_voxels": negative,
        "outside_voxels": outside,
    }
    extra = {} if volume.raw is None else {"raw": volume.raw[chosen[keep]] / scale}
    try:
        for acceleration in options.accelerations:
            arrays, mask = steps.measured(images, options.name, acceleration, options.mask)
            write_volume(task.path(acceleration), images, attributes | {"mask": mask}, **arrays, **extra)
            extra = {}  # the measured k-space is large: it goes with the first acceleration
    except OSError as error:
        raise cannot_write(task.folder.parent, error) from error
    return attributes


def _draw(scans: list[Scan], subjects: list[str], options: Options) -> dict[str, str]:
    """The split of each subject that is used."""
    if options.all_in:
        return dict.fromkeys(subjects, options.all_in)
    return steps.split_subjects(subjects, {scan.subject: scan.split for scan in scans}, options.split, options.seed)


def _work(tasks: list[Task], options: Options, leave_out: Callable[[InputError], None]) -> list[tuple[Task, dict]]:
    """The tasks that could be done, each with the attributes of its files."""
    done = []
    with contextlib.closing(_run(tasks, options.jobs or os.cpu_count() or 1)) as results:
        for task, result in results:
            leave_out(result) if isinstance(result, InputError) else done.append((task, result))
    return done


def _move(tasks: list[Task], done: list[tuple[Task, dict]], splits: dict[str, str]) -> tuple[list, list[Task]]:
    """What stays where it is in another assignment of subjects, and the tasks that are to be done anew, in other places.

    Their files are removed; they get the numbers after the last one in their split.
    """
    last = {part: max((task.number for task in tasks if task.split == part), default=0) for part in SPLITS}
    kept, moved = [], []
    for task, result in sorted(done, key=lambda pair: (pair[0].split, pair[0].number)):
        part = splits[task.scan.subject]
        if part == task.split:
            kept.append((task, result))
            continue
        last[part] += 1
        moved.append(replace(task, split=part, number=last[part], expected=_shape(task)))
        for acceleration in task.options.accelerations:
            task.path(acceleration).unlink()
    return kept, moved


def _shape(task: Task) -> tuple[int, ...]:
    """Height and width of the slices of a volume that is written."""
    with hdf5.opened(task.path(task.options.accelerations[0])) as file:
        return file["volfs"].shape[:2]


def _tasks(source: Source, scans, options: Options, work: Path, subjects, splits, size) -> list[Task]:
    digits = len(str(len(subjects)))
    tasks, numbers = [], dict.fromkeys(SPLITS, 0)
    for scan in sorted(scans, key=lambda scan: natural(scan.subject)):
        if part := splits.get(scan.subject):
            numbers[part] += 1
            shown = as_text(scan.subject) if options.keep_names else f"s{subjects.index(scan.subject) + 1:0{digits}d}"
            tasks.append(Task(source, scan, options, work, part, numbers[part], shown, size, size))
    return tasks


def _run(tasks: list[Task], jobs: int) -> Iterator[tuple[Task, dict | InputError]]:
    """Results as they come. The first volume that can be used is done alone, where it decides the size of the others."""
    if not tasks:
        return
    with tqdm(total=len(tasks), unit="volume", desc=tasks[0].options.name) as bar:
        expected = tasks[0].size or tasks[0].expected
        while tasks and not expected:
            task, *tasks = tasks
            result = _result(task)
            if isinstance(result, dict):
                expected = _shape(task)
            bar.update()
            yield task, result
        tasks = [replace(task, expected=expected) for task in tasks]
        if jobs == 1 or len(tasks) < 2:
            for task in tasks:
                result = _result(task)
                bar.update()
                yield task, result
            return
        with ProcessPoolExecutor(jobs, get_context("spawn"), initializer=_worker) as pool:
            todo, running = iter(tasks), {}
            try:
                while True:
                    for task in todo:
                        running[pool.submit(_result, task)] = task
                        if len(running) >= 2 * jobs:
                            break
                    if not running:
                        break
                    for done in wait(running, return_when=FIRST_COMPLETED).done:
                        bar.update()
                        yield running.pop(done), _outcome(done)
            finally:
                pool.shutdown(cancel_futures=True)


def _worker() -> None:
    """A worker computes with one thread, and leaves Ctrl-C to the parent: what it is at, it finishes."""
    torch.set_num_threads(1)
    signal.signal(signal.SIGINT, signal.SIG_IGN)


def _result(task: Task) -> dict | InputError:
    """The outcome of a task: its attributes, from its files where they are finished, or why it cannot be used."""
    try:
        paths = [task.path(acceleration) for acceleration in task.options.accelerations]
        if all(path.exists() for path in paths):
            with contextlib.suppress(InputError), hdf5.opened(paths[0]) as file:  # a damaged one is made anew
                return file.attributes
        return convert(task)
    except CannotWrite:
        raise
    except InputError as error:
        return error


def _outcome(done: Future) -> dict | InputError:
    try:
        return done.result()
    except BrokenProcessPool:
        raise InputError(
            "a worker process was ended from outside, often for lack of memory: expected it to finish; run the same command "
            "again with --jobs 1, finished volumes are kept"
        ) from None


def _row(task: Task, result: dict) -> dict:
    counts = {name: int(result.get(name, 0)) for name in COUNTS}
    source = result.get("source", [""])[0] if task.options.keep_names else task.scan.label or "volume"
    texts = {"split": task.split, "subject": task.subject, "split_by": "subject", "source": source}
    row = {name: as_text(text) for name, text in texts.items()} | {"volume": task.number}
    return row | counts


def _size(text: str, default: tuple[int, ...]) -> tuple[int, ...]:
    if text in ("", "keep"):
        return () if text else default
    parts = text.lower().split("x")
    if not all(re.fullmatch(r"\d{1,5}", part) and int(part) >= 8 for part in parts) or len(parts) > 2:
        raise InputError(
            f"size {shown(text)}: expected keep, one number, or HEIGHTxWIDTH, at least 8 each, such as 256x256"
        )
    return int(parts[0]), int(parts[-1])


def _plan(source: Source, options: Options, scans: list[Scan], splits: dict[str, str]) -> str:
    """Fingerprint of everything that the volumes depend on: a continued run must do the same."""
    done = {k: v for k, v in asdict(options).items() if k not in ("jobs", "skip_bad")}
    own = {f.name: str(getattr(source, f.name)) for f in fields(source)}
    files = [(scan.subject, scan.split, scan.label, [_stamp(path) for path in scan.files]) for scan in scans]
    return hashlib.sha256(json.dumps([FORMAT_VERSION, done, own, files, splits]).encode()).hexdigest()


def _stamp(path: Path) -> tuple:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns

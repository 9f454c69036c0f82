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
from dataclasses import asdict, dataclass, field, fields, replace
from pathlib import Path
from typing import NamedTuple

from tqdm.auto import tqdm

from data_prep import sheet, steps, survey, workers
from data_prep.conversion import Conversion
from data_prep.inspection import check
from data_prep.options import Options
from data_prep.source import Passed, Scan, Source, each_once
from data_prep.workplace import check_target, workplace
from kdrecon.choices import SPLITS
from kdrecon.data.volumes import FORMAT_VERSION
from kdrecon.errors import InputError
from kdrecon.physics.sampling import choose_mask
from kdrecon.storage.files import as_text, natural

COLUMNS = ("split", "volume", "subject", "slices", "split_by", "source", "empty_slices", "negative_voxels")
COUNTS = ("slices", "small_slices", "empty_slices", "signed_slices", "negative_voxels", "outside_voxels")


class Outcome(NamedTuple):
    """What a preparation leaves to be said: a message a file that was left out, and a message a fault of the result."""

    left_out: list[str]
    faults: list[str]


@dataclass
class LeftOut:
    """The messages of files that cannot be used; the first one is raised where none may be left out."""

    allowed: bool
    messages: list[str] = field(default_factory=list)

    def add(self, error: InputError) -> None:
        """Note one of them."""
        if not self.allowed:
            raise error
        self.messages.append(str(error))


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
        what was left out under ``skip_bad``, and what :func:`data_prep.inspection.check` finds in the result.

    Raises:
        InputError: a file that cannot be used (without ``skip_bad``), options that do not fit, or a folder that cannot
            be written. Volumes that were finished by then are kept for the next call.
    """
    options = options.of(source)
    size = options.crop(source.size)
    steps.parse_slices(options.slices)
    for acceleration in options.accelerations:
        choose_mask(options.name, acceleration, size or (64, 64), options.mask)
    target, left_out = out / options.name, LeftOut(options.skip_bad)
    check_target(target, source.folder)
    scans, subjects = _find(source, options, left_out)
    splits = _draw(scans, subjects, options)
    check_target(target, source.folder, [path for scan in scans for path in scan.files])
    with workplace(target, _plan(source, options, scans, splits)) as work:
        conversions = _conversions(source, scans, options, work, subjects, splits, size)
        rows = _rows(_volumes(conversions, subjects, splits, options, left_out))
        _check_parts(source, options, rows, left_out.messages)
        _write_manifest(work, rows)
        sheet.draw(work, rows, options.accelerations)
        faults = [fault.replace(str(work), str(target)) for fault in check(work).faults]
        text = sheet.summary(rows, options, source.published, len(left_out.messages))
        text += f"check:      {len(faults) or 'no'} faults\n"
        (work / "summary.txt").write_text(text, encoding="utf-8")
    print(f"{target}\n{text}", end="")
    return Outcome(left_out.messages, faults)


def _find(source: Source, options: Options, left_out: LeftOut) -> tuple[list[Scan], list[str]]:
    """The scans and whose they are, in natural order, after what was found and what may be wrong with it was said."""
    scans: list[Scan] = []
    passed: Passed = {}
    for found in each_once(source.scans(passed)):
        left_out.add(found) if isinstance(found, InputError) else scans.append(found)
    seen = survey.passed_over(passed, scans)
    if not scans:
        raise survey.nothing(source, seen, left_out.messages)
    subjects = sorted({scan.subject for scan in scans}, key=natural)
    print(survey.found(source, scans, subjects), *[seen] * bool(seen), sep="\n")
    survey.warn_of_folders(source, scans)
    survey.warn_of_gaps(scans)
    if len(subjects) == 1 and not options.all_in:
        raise survey.alone(source, scans, left_out.messages)
    return scans, subjects


def _draw(scans: list[Scan], subjects: list[str], options: Options) -> dict[str, str]:
    """The split of each subject that is used."""
    if options.all_in:
        return dict.fromkeys(subjects, options.all_in)
    return steps.split_subjects(subjects, {scan.subject: scan.split for scan in scans}, options.split, options.seed)


def _conversions(
    source: Source, scans: list[Scan], options: Options, work: Path, subjects: list[str], splits: dict[str, str],
    size: tuple[int, ...],
) -> list[Conversion]:  # fmt: skip
    digits = len(str(len(subjects)))
    conversions, numbers = [], dict.fromkeys(SPLITS, 0)
    for scan in sorted(scans, key=lambda scan: natural(scan.subject)):
        if part := splits.get(scan.subject):
            numbers[part] += 1
            shown = as_text(scan.subject) if options.keep_names else f"s{subjects.index(scan.subject) + 1:0{digits}d}"
            conversions.append(
                Conversion(
                    source, scan, options, folder=work, split=part, number=numbers[part], subject=shown,
                    size=size, expected=size,
                )
            )  # fmt: skip
    return conversions


def _volumes(
    conversions: list[Conversion], subjects: list[str], splits: dict[str, str], options: Options, left_out: LeftOut
) -> list[tuple[Conversion, dict]]:
    """The conversions that could be done, with their results; where subjects are lost, a ratio is kept among the others."""
    done = _work(conversions, options, left_out)
    lost = set(splits) - {conversion.scan.subject for conversion, result in done if result["slices"]}
    if lost and steps.is_ratio(options.split) and len(lost) + 2 <= len(subjects):
        anew = splits | steps.split_subjects(subjects, {}, options.split, options.seed, lost)
        kept, moved = _move(conversions, done, anew)
        done = kept + _work(moved, options, left_out)
    return done


def _work(conversions: list[Conversion], options: Options, left_out: LeftOut) -> list[tuple[Conversion, dict]]:
    """The conversions that could be done, each with the attributes of its files."""
    done = []
    bar = tqdm(total=len(conversions), unit="volume", desc=options.name, disable=not conversions)
    with contextlib.closing(workers.results(conversions, options.jobs or os.cpu_count() or 1)) as results, bar:
        for conversion, result in results:
            bar.update()
            left_out.add(result) if isinstance(result, InputError) else done.append((conversion, result))
    return done


def _move(
    conversions: list[Conversion], done: list[tuple[Conversion, dict]], splits: dict[str, str]
) -> tuple[list, list[Conversion]]:
    """What stays where it is in another assignment of subjects, and the conversions that are to be done anew elsewhere.

    Their files are removed; they get the numbers after the last one in their split.
    """
    last = {
        part: max((conversion.number for conversion in conversions if conversion.split == part), default=0)
        for part in SPLITS
    }
    kept, moved = [], []
    for conversion, result in sorted(done, key=lambda pair: (pair[0].split, pair[0].number)):
        part = splits[conversion.scan.subject]
        if part == conversion.split:
            kept.append((conversion, result))
            continue
        last[part] += 1
        moved.append(replace(conversion, split=part, number=last[part], expected=conversion.written_size()))
        for path in conversion.paths.values():
            path.unlink()
    return kept, moved


def _rows(done: list[tuple[Conversion, dict]]) -> list[dict]:
    """A row a volume, those without slices among them, in the order of the manifest."""
    rows = []
    for conversion, result in done:
        source = result.get("source", [""])[0] if conversion.options.keep_names else conversion.scan.label or "volume"
        texts = {"split": conversion.split, "subject": conversion.subject, "split_by": "subject", "source": source}
        counts = {name: int(result.get(name, 0)) for name in COUNTS}
        rows.append({name: as_text(text) for name, text in texts.items()} | {"volume": conversion.number, **counts})
    survey.warn_of_empty(rows)
    return sorted(rows, key=lambda row: (SPLITS.index(row["split"]), row["volume"]))


def _check_parts(source: Source, options: Options, rows: list[dict], bad: list[str]) -> None:
    """Refuse a result without volumes to train or to validate with, or without any where all go into one split."""
    needed = [options.all_in] if options.all_in else SPLITS[:2]
    if missing := [part for part in needed if part not in {row["split"] for row in rows if row["slices"]}]:
        otherwise = "" if options.all_in else ", or take all to look at and reconstruct: --all-in test"
        raise InputError(
            f"{source.folder} leaves no volume for {' and '.join(missing)}, after {len(bad)} unusable files "
            f"({', '.join(bad[:1]) or 'all too small'}): expected at least one; repair files, or choose --size{otherwise}"
        )


def _write_manifest(folder: Path, rows: list[dict]) -> None:
    with open(folder / "manifest.csv", "w", encoding="utf-8", newline="") as file:
        table = csv.DictWriter(file, COLUMNS, lineterminator="\n", extrasaction="ignore")
        table.writeheader()
        table.writerows(row for row in rows if row["slices"])


def _plan(source: Source, options: Options, scans: list[Scan], splits: dict[str, str]) -> str:
    """Fingerprint of everything that the volumes depend on: a continued run must do the same."""
    done = {k: v for k, v in asdict(options).items() if k not in ("jobs", "skip_bad")}
    own = {f.name: str(getattr(source, f.name)) for f in fields(source)}
    files = [(scan.subject, scan.split, scan.label, [_stamp(path) for path in scan.files]) for scan in scans]
    return hashlib.sha256(json.dumps([FORMAT_VERSION, done, own, files, splits]).encode()).hexdigest()


def _stamp(path: Path) -> tuple:
    status = path.stat()
    return str(path), status.st_size, status.st_mtime_ns

"""What a source holds, told before anything is written: whose scans, what was passed over, what may be a mistake.

>>> from pathlib import Path
>>> from data_prep.survey import passed_over
>>> passed_over({Path("scans/notes.txt"): "text files"}, [])
'passed over: 1 text files'
"""

import os
import re
import sys
from collections import Counter
from pathlib import Path

from tqdm.auto import tqdm

from data_prep.source import Passed, Scan, Source
from kdrecon.errors import InputError, bare, shown

NO_PERSON = re.compile(
    r"(t1|t2|pd|fl|flair|dwi|dti|adc|fa|swi|mra|tof|bold|asl|fmri|func|anat|perf|fmap|images?|imgs?|labels?|seg|segs|"
    r"segmentations?|masks?|rois?|gt|ground[\W_]?truth|annotations?|train|training|val|valid|validation|dev|test|testing)"
    r"([\W_]?(w|c|ce|gd|n|f|star|maps?|pre|post|tr|ts|va|set|data|scans?|images?|imgs?|labels?|masks?))*",
    re.IGNORECASE,
)  # names of folders for kinds of scan or for splits, such as t1, T2w, labelsTr, train_images


def warn(text: str) -> None:
    """Say on stderr what may be meant, and may be not."""
    tqdm.write(f"warning: {text}", file=sys.stderr)


def found(source: Source, scans: list[Scan], subjects: list[str]) -> str:
    """Who was found, with the first files of the first three."""
    lines = [f"found:      {len(scans)} scans of {len(subjects)} subjects"]
    for subject in subjects[:3]:
        files = [path for scan in scans if scan.subject == subject for path in scan.files]
        names = ", ".join(path.relative_to(source.folder).as_posix() for path in files[:2])
        lines.append(f"  {bare(subject)}: {names}" + (f" and {len(files) - 2} more files" if files[2:] else ""))
    return "\n".join(lines + [f"  and {len(subjects) - 3} more subjects"] * (len(subjects) > 3))


def passed_over(passed: Passed, scans: list[Scan]) -> str:
    """How many files were seen that belong to no scan, by what they are, the most frequent first; "" for none."""
    used = {path for scan in scans for path in scan.files}
    counts = Counter(reason for path, reason in passed.items() if path not in used).most_common()
    shown = [f"{count} {reason}" for reason, count in counts[:8]]
    shown += [f"{sum(count for _, count in counts[8:])} others"] if counts[8:] else []
    return f"passed over: {', '.join(shown)}" if shown else ""


def warn_of_folders(source: Source, scans: list[Scan]) -> None:
    """Say where folders below the source that count as people are named after kinds of scan or splits."""
    places = {scan.subject: scan.files[0].relative_to(source.folder).parts for scan in scans}
    folders = [subject for subject, place in places.items() if place[:-1] and place[0] == subject]
    if named := sorted(folder for folder in folders if NO_PERSON.fullmatch(folder)):
        remedy = "name them with --subject REGEX" if hasattr(source, "subject") else "choose another SOURCE"
        warn(
            f"{', '.join(named)}: folders with such names hold kinds of scan or splits, and count as subjects here: expected "
            f"a folder a person; {remedy}; one person's scans go with --all-in test"
        )


def warn_of_gaps(scans: list[Scan]) -> None:
    """Say where slices are missing."""
    if gaps := [scan for scan in scans if scan.missing]:
        warn(
            f"{sum(scan.missing for scan in gaps)} slices are missing between others in {len(gaps)} of {len(scans)} scans, "
            f"first {gaps[0].files[0]}: expected even steps; get the files again, or go on if they were measured so"
        )


def nothing(source: Source, seen: str, bad: list[str]) -> InputError:
    """What to say where there is no scan, after what was passed over and what is unusable."""
    beside = "".join(f"; {what}" for what in (seen, f"unusable: {len(bad)}, {bad[0]}" if bad else "") if what)
    remedy = "check the path and --match" if hasattr(source, "match") else "check the path"
    return InputError(f"{source.folder} holds no scan for this reader{beside}: expected {source.layout}; {remedy}")


def alone(source: Source, scans: list[Scan], bad: list[str]) -> InputError:
    """What to say where all scans are one person's, after what is unusable."""
    files = [path for scan in scans for path in scan.files]
    below = Path(os.path.commonpath([path.parent for path in files]))
    remedies = ["name them with --subject REGEX"] if hasattr(source, "subject") else []
    remedies += [f"choose a deeper SOURCE, such as {below}"] if below != source.folder else []
    several = f"if these are several people, {', or '.join(remedies)}; " if remedies and len(scans) > 1 else ""
    unusable = f" and {len(bad)} unusable files ({bad[0]})" if bad else ""
    return InputError(
        f"{source.folder} holds one subject only, {shown(scans[0].subject)} ({len(scans)} scans, first {files[0]}){unusable}"
        f": expected one to train and another to validate with; {several}to look at one person's scans and reconstruct them: "
        "--all-in test"
    )


def warn_of_empty(rows: list[dict]) -> None:
    """Say how many volumes lost more than a third of their slices, by the rows of a manifest."""
    many = [row for row in rows if row["empty_slices"] > (row["slices"] + row["empty_slices"]) / 3]
    if many:
        lost, of = (sum(row[name] for row in many) for name in ("empty_slices", "slices"))
        warn(
            f"{len(many)} of {len(rows)} volumes lost more than a third of their slices as empty ({lost} of {lost + of}): "
            "look at contact_sheet.png; a lower --foreground keeps more, 0 all"
        )

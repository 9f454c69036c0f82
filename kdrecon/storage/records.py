"""Text files that are read: tables (CSV), parameters (YAML) and records (JSON), by people or from a run.

>>> from kdrecon.storage.records import read_yaml
>>> read_yaml("{epochs: 150, lr: 0.001}", "params.yaml")
{'epochs': 150, 'lr': 0.001}
"""

import csv
import io
import json
import os
import unicodedata
from collections.abc import Hashable, Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import yaml

from kdrecon.errors import InputError, first_line, shown

if TYPE_CHECKING:
    import pandas as pd

ANEW = "delete it and run the same command again"
LONGEST = 100_000  # characters of a parameter file


def normal(text: str) -> str:
    """A text as it is compared: composed (NFC; file names of macOS are not) and without blanks around it."""
    return unicodedata.normalize("NFC", text).strip()


def read_text(path: Path, remedy: str = "save it anew, from Excel as 'CSV UTF-8'") -> str:
    """The text of a file in UTF-8, or as Excel may save it: with a byte order mark, in UTF-16, or in Windows-1252.

    Raises:
        InputError: no such file, no permission, or no text.
    """
    try:
        content = path.read_bytes() if path.is_file() else None
    except OSError as error:
        raise InputError(
            f"{path} cannot be read ({error.strerror}): expected a text file; check its permissions"
        ) from None
    if content is None:
        raise InputError(f"{path} cannot be read (no such file): expected a text file; check the path")
    wide = content.startswith((b"\xff\xfe", b"\xfe\xff"))
    for encoding in ("utf-16",) if wide else ("utf-8-sig", "cp1252"):
        try:
            text = content.decode(encoding)
        except UnicodeDecodeError:
            continue
        if "\0" not in text:
            return text
    raise InputError(f"{path} is not text that can be read: expected UTF-8; {remedy}")


def read_table(path: Path, columns: Mapping[str, type], others: type = str) -> "pd.DataFrame":
    """A CSV table, whatever wrote it: separated by commas, semicolons or tabs, in any encoding of :func:`read_text`.

    Text stays the text it is (NA, null, 007, 1e3), as :func:`normal` has it. Blank rows, blanks around cells and columns
    without a name do not count, nor does the case of a column's name.

    Args:
        path: the file.
        columns: the columns that must be there and what they hold: str, int, or float (where an empty cell is NaN).
        others: what the other columns hold.

    Returns:
        a row a line, with all named columns.

    Raises:
        InputError: it cannot be read, lacks a column or has one twice; a row is too short or too long, or a cell of it
            is not the number it should be.
    """
    import pandas as pd

    lines = _cells(path)
    names = [name.lower() for name in lines[0][1]] if lines else []
    if missing := [name for name in columns if name not in names]:
        found = ", ".join(filter(None, names))[:80] or "nothing"
        raise InputError(
            f"{path} lacks the column {missing[0]!r} (found: {found}): expected {', '.join(columns)}; add it"
        )
    if twice := [name for name in names if name and names.count(name) > 1]:
        raise InputError(f"{path} has the column {shown(twice[0])} twice: expected each once; rename or remove one")
    rows: dict[str, list] = {name: [] for name in names if name}
    needed = max((names.index(name) for name in columns), default=-1)
    for number, cells in lines[1:]:
        if len(cells) <= needed or any(cells[len(names) :]):
            raise InputError(f"{path} line {number} has {len(cells)} cells: expected {len(names)}; correct it")
        for i, name in enumerate(names):
            if name:
                kind, cell = columns.get(name, others), cells[i] if i < len(cells) else ""
                try:
                    rows[name].append(kind("nan" if kind is float and not cell else cell))
                except ValueError:
                    raise InputError(
                        f"{path} line {number} says {name} {cell[:40]!r}: expected a number; correct it"
                    ) from None
    return pd.DataFrame(rows)


def _cells(path: Path) -> list[tuple[int, list[str]]]:
    """The rows that are not blank, with the number of the line on which each ends; the first one names the columns."""
    text = read_text(path)
    header = next(iter(text.lstrip().splitlines()), "")
    told = header.lower().startswith("sep=")  # a first line by which Excel is told the separator
    separator = header[4:5] if told else max(",;\t", key=header.count)
    reader = csv.reader(io.StringIO(text, newline=""), delimiter=separator, strict=True)
    try:
        rows = [(reader.line_num, [normal(cell) for cell in row]) for row in reader]
    except csv.Error as error:
        raise InputError(
            f"{path} line {reader.line_num} is not CSV ({first_line(error)}): expected a table; save it anew"
        ) from None
    return [(number, row) for number, row in rows if any(row)][told:]


def read_yaml(text: str, source: str) -> Any:
    """The value of a YAML text without aliases, whose mappings have each key once and as text.

    Args:
        text: the text.
        source: what it is called in a message.

    Raises:
        InputError: it is something else.
    """
    if len(text) > LONGEST:
        raise InputError(f"{source} has {len(text)} characters: expected at most {LONGEST}; is it a parameter file?")
    try:
        return yaml.load(text, _Plain)
    except (yaml.YAMLError, ValueError, LookupError, TypeError, AttributeError, RecursionError) as error:
        reason = first_line(error)[:120]  # PyYAML leaves it to the reader that "!!bool x" is none
        raise InputError(f"{source} is not valid YAML ({reason}): expected name: value lines; correct it") from None


class _Plain(yaml.SafeLoader):
    def compose_node(self, parent: yaml.Node | None, index: int) -> yaml.Node | None:
        if self.check_event(yaml.AliasEvent):
            raise yaml.composer.ComposerError(None, None, "found an alias, expected the value itself", None)
        return super().compose_node(parent, index)

    def construct_mapping(self, node: yaml.MappingNode, deep: bool = False) -> dict[Hashable, Any]:
        keys = [self.construct_object(key) for key, _ in node.value]
        for key in keys:
            if not isinstance(key, str) or keys.count(key) > 1:
                raise yaml.constructor.ConstructorError(None, None, f"key {shown(key)}: expected text, and once", None)
        return super().construct_mapping(node, deep)


def read_json(path: Path) -> dict:
    """The record in a JSON file; empty where there is no file.

    Raises:
        InputError: it cannot be read, or holds no record.
    """
    if not os.path.exists(path):
        return {}
    text = read_text(path, ANEW)
    try:
        record = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise InputError(f"{path} is damaged ({first_line(error)[:120]}): expected a JSON record; {ANEW}") from None
    if not isinstance(record, dict):
        raise InputError(f"{path} holds {type(record).__name__}: expected a JSON record; {ANEW}")
    return record

"""What can be chosen for every source: the one declaration, of which the command line is made.

>>> from data_prep.options import Options
>>> Options(size="256x192").crop(default=())
(256, 192)
"""

import re
from dataclasses import dataclass, replace
from typing import Annotated

import typer

from data_prep.source import Source
from kdrecon.choices import SPLITS
from kdrecon.errors import InputError, shown
from kdrecon.storage.places import plain_name

HIGHEST = {"central": 10**6, "seed": 2**64 - 1, "jobs": 1000, "foreground": 1}


@dataclass(frozen=True)
class Options:
    """What happens to the volumes of a source: the fields are options of the command line."""

    name: Annotated[str, typer.Option(help="of the data set and its folder; the source's own unless given")] = ""
    accelerations: Annotated[
        tuple[str, ...], typer.Option("--acceleration", "-a", help="4x, 5x, 8x, ...; repeat it for several")
    ] = ("4x",)
    mask: Annotated[str, typer.Option(help="line, gaussian or lowpass")] = "line"
    size: Annotated[str, typer.Option(help="central crop: HEIGHTxWIDTH, one number, or keep")] = ""
    slices: Annotated[str, typer.Option(help="of each volume: START:STOP or START:STOP:STEP")] = ""
    central: Annotated[int, typer.Option(help="that many slices in the middle of each volume; 0 takes all")] = 0
    foreground: Annotated[float, typer.Option(help="least share of bright pixels of a slice that is kept")] = 0.01
    split: Annotated[str, typer.Option(help="official, a ratio train,validation,test, or a table of subjects")] = ""
    seed: Annotated[int, typer.Option(help="of a random split")] = 0
    keep_names: Annotated[bool, typer.Option("--keep-names", help="instead of running numbers")] = False
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="go on without unusable files")] = False
    jobs: Annotated[int, typer.Option(help="processes; 0 is one a processor")] = 0
    all_in: Annotated[str, typer.Option(help="train, validation or test: no split, all subjects there")] = ""

    def of(self, source: Source) -> "Options":
        """These options with the source's own name and split where none is given.

        Raises:
            InputError: a name that is none, a number out of its range, ``slices`` with ``central``, or ``all_in`` with a
                split.
        """
        name = self.name or source.dataset
        if self.slices and self.central:
            raise InputError(
                f"slices {shown(self.slices)}, central {self.central}: expected one of the two; leave the other out"
            )
        plain_name("name", name, source.dataset)
        if self.all_in and (self.split or self.all_in not in SPLITS):
            raise InputError(
                f"all-in {shown(self.all_in)}, split {shown(self.split)}: expected one of {', '.join(SPLITS)}, and no "
                "--split with it"
            )
        for number, high in HIGHEST.items():
            if not 0 <= (value := getattr(self, number)) <= high:
                raise InputError(f"{number} {shown(value)}: expected a number from 0 to {high}; correct --{number}")
        return replace(self, name=name, split=f"all in {self.all_in}" if self.all_in else self.split or source.split)

    def crop(self, default: tuple[int, ...]) -> tuple[int, ...]:
        """(height, width) of the crop, by default the source's; () keeps the size.

        Raises:
            InputError: other text than a size of at least 8.
        """
        if self.size in ("", "keep"):
            return () if self.size else default
        parts = self.size.lower().split("x")
        if not all(re.fullmatch(r"\d{1,5}", part) and int(part) >= 8 for part in parts) or len(parts) > 2:
            raise InputError(
                f"size {shown(self.size)}: expected keep, one number, or HEIGHTxWIDTH, at least 8 each, such as 256x256"
            )
        return int(parts[0]), int(parts[-1])

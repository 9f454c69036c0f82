"""From raw scans to the volume files that kdrecon reads: python -m data_prep NAME SOURCE --out datasets."""

import sys
from dataclasses import MISSING, fields
from inspect import Parameter, Signature
from pathlib import Path
from typing import Annotated, Any, get_origin, get_type_hints

import typer

from data_prep.options import Options
from data_prep.registry import SOURCES
from data_prep.source import Source
from kdrecon.app import console
from kdrecon.storage.places import SAMPLES, datasets, of_the_checkout

app = console.application(__doc__)
OUT = Annotated[Path | None, typer.Option(help="folder that receives the data set; datasets by default")]


PACKAGES = Annotated[
    Path | None, typer.Argument(help="folder with the source packages; pip and apt-get fetch them if left out")
]
EMBEDDED = Annotated[Path | None, typer.Option(help="folder that receives it; by default where the library has it")]


@app.command("sample")
def sample_command(source: PACKAGES = None, out: EMBEDDED = None) -> None:
    """Rebuild the embedded data set sample from the two public packages it was taken from, byte for byte."""
    out = out or of_the_checkout(SAMPLES)
    from data_prep import sample

    sample.build(source, out)


@app.command("people")
def people_command(source: PACKAGES = None, out: EMBEDDED = None) -> None:
    """Rebuild the embedded data set people from the four public packages it was taken from, byte for byte."""
    out = out or of_the_checkout(SAMPLES)
    from data_prep import people

    people.build(source, out)


@app.command("check")
def check_command(folder: Annotated[Path, typer.Argument(help="of a data set, such as datasets/cardiac")]) -> None:
    """Check a data set: shapes, values, k-space against images and mask, subjects, duplicates. Exit status 1: faults."""
    from data_prep.inspection import check

    _on_one_thread()
    report = check(folder)
    print(*(f"note: {note}" for note in report.notes), *(f"fault: {fault}" for fault in report.faults), sep="\n")
    print(f"{folder}: {len(report.faults) or 'no'} faults")
    if report.faults:
        raise typer.Exit(1)


def add_command(name: str, kind: type[Source]) -> None:
    """Offer a source as a command: its folder and its other fields, then the options that all sources share."""
    folder = Annotated[Path, typer.Argument(help=f"folder with {kind.layout}")]
    own, shared = _parameters(kind)[1:], _parameters(Options)
    offered = [_parameter("source", folder), *own, _parameter("out", OUT, None), *shared]

    def command(source: Path, out: Path | None, **values: Any) -> None:
        from data_prep.pipeline import prepare

        _on_one_thread()
        values = {name: tuple(value) if isinstance(value, list) else value for name, value in values.items()}
        scans = kind(folder=source, **{parameter.name: values.pop(parameter.name) for parameter in own})
        outcome = prepare(scans, out or datasets(), Options(**values))
        for title, messages in (("left out, unusable:", outcome.left_out), ("faults in the result:", outcome.faults)):
            if messages:
                print(title, *messages, sep="\n  ", file=sys.stderr)
        if any(outcome):
            raise typer.Exit(1)

    command.__signature__ = Signature(offered)  # type: ignore[attr-defined]
    command.__annotations__ = {parameter.name: parameter.annotation for parameter in offered}
    app.command(name, help=kind.__doc__)(command)


def _parameters(declared: type) -> list[Parameter]:
    """The fields of a dataclass as parameters of a command; a tuple becomes an option that is repeated."""
    hints = get_type_hints(declared, include_extras=True)
    if repeated := [name for name, hint in hints.items() if get_origin(getattr(hint, "__origin__", None)) is tuple]:
        hints |= {name: Annotated[list[str], *hints[name].__metadata__] for name in repeated}
    return [_parameter(field.name, hints[field.name], field.default) for field in fields(declared)]


def _parameter(name: str, annotation: object, default: object = MISSING) -> Parameter:
    default = Parameter.empty if default is MISSING else default
    return Parameter(name, Parameter.KEYWORD_ONLY, annotation=annotation, default=default)


for name, kind in SOURCES.items():
    add_command(name, kind)


def _on_one_thread() -> None:
    """PyTorch takes one thread: the work is spread over volumes instead."""
    import torch

    torch.set_num_threads(1)


def main() -> None:
    """Run the command line."""
    console.run(app)


if __name__ == "__main__":
    console.in_utf8()
    main()

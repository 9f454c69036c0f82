"""From raw scans to the volume files that kdrecon reads: python -m data_prep NAME SOURCE --out datasets."""

import inspect
import sys
from dataclasses import fields
from pathlib import Path
from typing import Annotated, get_type_hints

import typer

from data_prep.registry import SOURCES
from kdrecon.app import console
from kdrecon.storage.places import SAMPLES, datasets, of_the_checkout

app = console.application(__doc__)
Out = Annotated[Path | None, typer.Option(help="folder that receives the data set; datasets by default")]


@app.command("sample")
def sample_command(
    source: Annotated[
        Path | None, typer.Argument(help="folder with the two source packages; pip and apt-get fetch them if left out")
    ] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder that receives sample/; by default where the library has it")
    ] = None,
) -> None:
    """Rebuild the embedded sample from the two public packages it was taken from, byte for byte."""
    out = out or of_the_checkout(SAMPLES)
    from data_prep import sample

    sample.build(source, out)


@app.command("check")
def check_command(folder: Annotated[Path, typer.Argument(help="of a data set, such as datasets/cardiac")]) -> None:
    """Check a data set: shapes, values, k-space against images and mask, subjects, duplicates. Exit status 1: faults."""
    from data_prep.check import check

    _on_one_thread()
    report = check(folder)
    print(*(f"note: {note}" for note in report.notes), *(f"fault: {fault}" for fault in report.faults), sep="\n")
    print(f"{folder}: {len(report.faults) or 'no'} faults")
    if report.faults:
        raise typer.Exit(1)


def prepare_command(
    kind: type,
    source: dict,
    out: Out = None,
    name: Annotated[str, typer.Option(help="of the data set and its folder; the source's own unless given")] = "",
    acceleration: Annotated[
        list[str], typer.Option("--acceleration", "-a", help="4x, 5x, 8x, ...; repeat it for several")
    ] = ["4x"],  # noqa: B006
    mask: Annotated[str, typer.Option(help="line or gaussian")] = "line",
    size: Annotated[str, typer.Option(help="central crop: HEIGHTxWIDTH, one number, or keep")] = "",
    slices: Annotated[str, typer.Option(help="of each volume: START:STOP or START:STOP:STEP")] = "",
    foreground: Annotated[float, typer.Option(help="least share of bright pixels of a slice that is kept")] = 0.01,
    split: Annotated[str, typer.Option(help="official, a ratio train,validation,test, or a table of subjects")] = "",
    seed: Annotated[int, typer.Option(help="of a random split")] = 0,
    keep_names: Annotated[bool, typer.Option("--keep-names", help="instead of running numbers")] = False,
    skip_bad: Annotated[bool, typer.Option("--skip-bad", help="go on without unusable files")] = False,
    jobs: Annotated[int, typer.Option(help="processes; 0 is one a processor")] = 0,
    all_in: Annotated[str, typer.Option(help="train, validation or test: no split, all subjects there")] = "",
) -> None:
    from data_prep.pipeline import Options, prepare

    _on_one_thread()
    options = Options(
        name, tuple(acceleration), mask, size, slices, foreground, split, seed, keep_names, skip_bad, jobs, all_in
    )
    outcome = prepare(kind(**source), out or datasets(), options)
    for title, messages in (("left out, unusable:", outcome.left_out), ("faults in the result:", outcome.faults)):
        if messages:
            print(title, *messages, sep="\n  ", file=sys.stderr)
    if any(outcome):
        raise typer.Exit(1)


def add_command(name: str, kind: type) -> None:
    """Offer a source as a command: its fields as argument and options, then the options that all sources share."""
    hints = get_type_hints(kind, include_extras=True)
    keyword = inspect.Parameter.KEYWORD_ONLY
    folder = Annotated[Path, typer.Argument(help=f"folder with {kind.layout}")]
    own = [inspect.Parameter("source", keyword, annotation=folder)]
    own += [inspect.Parameter(f.name, keyword, annotation=hints[f.name], default=f.default) for f in fields(kind)[1:]]
    shared = [p.replace(kind=keyword) for p in list(inspect.signature(prepare_command).parameters.values())[2:]]

    def command(source: Path, **values) -> None:
        chosen = {f.name: values.pop(f.name) for f in fields(kind)[1:]}
        prepare_command(kind, {"folder": source, **chosen}, **values)

    command.__signature__ = inspect.Signature([*own, *shared])
    command.__annotations__ = {p.name: p.annotation for p in command.__signature__.parameters.values()}
    app.command(name, help=kind.__doc__)(command)


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

"""Command line of data_prep."""

import sys
from pathlib import Path
from typing import Annotated

import typer

from data_prep import pipeline, sample
from data_prep.sunnybrook import Sunnybrook
from kdrecon.errors import InputError
from kdrecon.experiments import project_root

app = typer.Typer(help=__doc__, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False)

Accelerations = Annotated[list[str], typer.Option("--acceleration", "-a", help="4x, 5x or 8x; repeat for several")]


@app.command("sample")
def sample_command(
    source: Annotated[
        Path | None, typer.Argument(help="folder with the two source packages; downloaded if left out")
    ] = None,
    out: Annotated[Path, typer.Option(help="folder that receives sample/")] = project_root() / "data_prep" / "samples",
) -> None:
    """Rebuild the embedded sample from the two public packages it was taken from, byte for byte."""
    sample.build(source, out)


@app.command("sunnybrook")
def sunnybrook_command(
    source: Annotated[Path, typer.Argument(help="folder that holds Train/Images/**.png")],
    out: Annotated[Path, typer.Option(help="folder that receives sunnybrook/")] = project_root() / "datasets",
    acceleration: Accelerations = ["4x"],  # noqa: B006
    split: Annotated[str, typer.Option(help="patients to train, validate and test with")] = "20,4,6",
    seed: Annotated[int, typer.Option(help="of the random split")] = 0,
) -> None:
    """Short-axis cardiac cine frames of the Sunnybrook Cardiac Data as PNG: split by patient, central 150 x 150."""
    pipeline.prepare(Sunnybrook(source), out, acceleration, split, seed)


def main() -> None:
    """Run the command line; what the user got wrong is one line on stderr and exit status 2."""
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None


if __name__ == "__main__":
    main()

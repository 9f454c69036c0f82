"""What the command lines share: paths with ~, what is printed where, and how a command ends.

>>> from kdrecon.app.console import application
>>> application("A command line.").info.help
'A command line.'
"""

import io
import logging
import os
import signal
import sys
from typing import Annotated, Any

import typer
from typer.core import TyperGroup

from kdrecon import __version__
from kdrecon.errors import InputError

STOPPED = {128 + signal.SIGINT: "Ctrl-C", 128 + signal.SIGTERM: "a request to end"}


class Commands(TyperGroup):
    """Commands that expand ~ in every argument and option value, as a shell does at the beginning of a word."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        """The arguments that the command line does not know, after ~ is expanded in all of them."""
        return super().parse_args(ctx, [_expanded(argument) for argument in args])


def application(text: str) -> typer.Typer:
    """A command line with this help text and --version, without commands."""
    app = typer.Typer(
        help=text, cls=Commands, no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
    )

    @app.callback()
    def options(
        version: Annotated[
            bool, typer.Option("--version", help="Show the version and exit.", callback=_version)
        ] = False,
    ) -> None: ...

    return app


def _version(wanted: bool) -> None:
    if wanted:
        print(f"kdrecon {__version__}")
        raise typer.Exit


def in_utf8() -> None:
    """Begin this process anew in Python's UTF-8 mode where the locale has another encoding.

    TensorBoard and notebooks take every path for UTF-8; kernels and workers inherit the mode.
    """
    if sys.getfilesystemencoding() != "utf-8" and os.environ.get("PYTHONUTF8") != "1":
        os.execve(sys.executable, [sys.executable, *sys.orig_argv[1:]], os.environ | {"PYTHONUTF8": "1"})


def run(app: typer.Typer) -> None:
    """Run a command line; what the user got wrong is one line on stderr and exit status 2."""
    logging.getLogger("asyncio").setLevel(logging.CRITICAL)  # a task that a signal ends would print its traceback
    signal.signal(signal.SIGTERM, lambda number, _: sys.exit(128 + number))  # so that kernels and work are tidied up
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):  # a console that lacks a letter shows its number
            stream.reconfigure(errors="backslashreplace")
    try:
        app()
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        raise SystemExit(2) from None
    except SystemExit as end:
        if end.code in STOPPED:
            print(f"stopped by {STOPPED[end.code]}", file=sys.stderr)
        raise


def _expanded(argument: str) -> str:
    option, equals, value = argument.partition("=") if argument.startswith("--") else ("", "", argument)
    return option + equals + os.path.expanduser(value)

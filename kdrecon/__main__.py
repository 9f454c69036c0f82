"""python -m kdrecon, and the command kdrecon."""

from kdrecon.app import console


def start() -> None:
    """The command line, whose libraries are loaded after the console is set up."""
    console.in_utf8()
    from kdrecon.app.cli import main

    main()


if __name__ == "__main__":
    start()

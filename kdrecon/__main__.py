"""python -m kdrecon, and the command kdrecon."""

from kdrecon import console


def start() -> None:
    console.in_utf8()
    from kdrecon.cli import main

    main()


if __name__ == "__main__":
    start()

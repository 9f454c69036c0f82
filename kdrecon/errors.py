"""The error that a user causes, and how its message quotes what it is about.

>>> from kdrecon.errors import shown
>>> shown("5x")
"'5x'"
>>> len(shown(10**100))
80
"""


class InputError(ValueError):
    """What the user gave cannot be used."""


class Busy(InputError):
    """Another process is at work where this one has to be: once it has ended, the same call goes on."""


def shown(value: object) -> str:
    """A value as a message quotes it: in Python's spelling, shortened where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, nesting without end
        return f"a {type(value).__name__} too long to be shown"
    return shortened(text)


def bare(name: str) -> str:
    """A name from a file as a message bears it: :func:`shown` without quotes."""
    return shortened(repr(name)[1:-1])


def shortened(text: str, length: int = 80) -> str:
    """A text, cut where it has more characters than so many."""
    return text if len(text) <= length else f"{text[: length - 3]}..."


def first_line(error: Exception) -> str:
    """The first line of an error's message, shortened where it is long, or its type where it has none."""
    return shortened(str(error).partition("\n")[0], 300) or type(error).__name__

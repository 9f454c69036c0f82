"""The error that a user causes, and how its message quotes what it is about."""


class InputError(ValueError):
    """What the user gave cannot be used."""


def shown(value: object) -> str:
    """A value as a message quotes it: in Python's spelling, shortened where it is long."""
    try:
        text = repr(value)
    except (ValueError, RecursionError):  # a number of thousands of digits, nesting without end
        return f"a {type(value).__name__} too long to be shown"
    return text if len(text) <= 80 else f"{text[:77]}..."


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return str(error).partition("\n")[0] or type(error).__name__

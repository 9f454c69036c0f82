class InputError(ValueError):
    """What the user gave cannot be used."""


def first_line(error: Exception) -> str:
    """The first line of an error's message, or its type where it has none."""
    return str(error).partition("\n")[0] or type(error).__name__

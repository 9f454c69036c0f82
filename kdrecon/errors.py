class InputError(ValueError):
    """What the user gave cannot be used."""

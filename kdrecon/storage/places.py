"""Where things lie: what is installed with the library, and the folder that runs and data sets go to."""

import re
from pathlib import Path

from kdrecon.errors import InputError, shown

PACKAGES = Path(__file__).resolve().parent.parent.parent
SAMPLES = PACKAGES / "kdrecon" / "data"  # holds sample/
NAME = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))\w[\w.-]*(?<!\.)", re.IGNORECASE)  # of a file on any system
SHIPPED = PACKAGES / "kdrecon" / "weights"


def project_root() -> Path:
    """The folder of the repository, wherever the notebook or command was started.

    A library that was installed without it uses the checkout that the working folder is in, or else the working folder
    itself: runs and data sets never go where packages are.
    """
    if is_checkout(PACKAGES):
        return PACKAGES
    working = Path.cwd()
    return next(filter(is_checkout, (working, *working.parents)), working)


def is_checkout(folder: Path) -> bool:
    """Whether this is the folder of the repository."""
    return (folder / "notebooks" / "00_start_here.ipynb").is_file() and (folder / "params" / "quick.yaml").is_file()


def checkout() -> Path:
    """The folder of the repository, for what needs its files.

    Raises:
        InputError: there is none.
    """
    if not is_checkout(root := project_root()):
        raise InputError(
            "this needs the notebooks and parameter files, which are not installed with the library: expected to be "
            "started in a checkout of the repository; get one, change to its folder and run the same command again"
        )
    return root


def plain_name(what: str, name: str, example: str) -> str:
    """The name, if a folder can bear it on any system and it leads nowhere else.

    Args:
        what: what is named so, for the message.
        name: up to 100 letters, digits, -, _ and .; not one that Windows keeps for devices.
        example: for the message.

    Raises:
        InputError: it is another name.
    """
    if not NAME.fullmatch(name) or len(name.encode()) > 100:
        raise InputError(
            f"{what} {shown(name)}: expected a plain name, such as {example}: up to 100 letters, digits, -, _ and ."
        )
    return name

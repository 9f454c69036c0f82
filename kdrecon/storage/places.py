"""Where things lie: what is installed with the library, and the folder that runs and data sets go to.

The only module that knows where it lies itself, and how the folders below the root are called.

>>> from kdrecon.storage.places import SAMPLES, plain_name
>>> (SAMPLES / "sample").is_dir()
True
>>> plain_name("--name", "my_scans", "my_scans")
'my_scans'
"""

import re
from pathlib import Path

from kdrecon.errors import InputError, shown

LIBRARY = Path(__file__).resolve().parent.parent  # the package kdrecon
PACKAGES = LIBRARY.parent
SAMPLES = LIBRARY / "data"  # holds the embedded data sets
EMBEDDED = ("sample", "people")
SHIPPED = LIBRARY / "weights"
NAME = re.compile(r"(?!(con|prn|aux|nul|com\d|lpt\d)(\.|$))\w[\w.-]*(?<!\.)", re.IGNORECASE)  # of a file on any system


def project_root() -> Path:
    """The folder of the repository, wherever the notebook or command was started.

    A library that was installed without it uses the checkout that the working folder is in, or else the working folder
    itself: runs and data sets never go where packages are.

    Raises:
        InputError: the working folder is where pip has installed the library.
    """
    if is_checkout(PACKAGES):
        return PACKAGES
    working = Path.cwd()
    if root := next(filter(is_checkout, (working, *working.parents)), None):
        return root
    if working.is_relative_to(PACKAGES) and any(PACKAGES.glob("kdrecon-*.dist-info")):
        raise InputError(
            f"{working} is where packages are installed: expected a folder of your own, which runs and data sets go to; "
            "change to one and run the same command again"
        )
    return working


def datasets() -> Path:
    """The folder of prepared data sets."""
    return project_root() / "datasets"


def runs() -> Path:
    """The folder of runs; what is done by hand, in notebooks, goes to lab/ there."""
    return project_root() / "runs"


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
            "this needs the notebooks, parameter files or studies, which are not installed with the library: expected to be "
            "started in a checkout of the repository; get one, change to its folder and run the same command again"
        )
    return root


def notebooks() -> Path:
    """The folder of the notebooks, in a :func:`checkout`."""
    return checkout() / "notebooks"


def study_engine() -> Path:
    """The folder of the Snakefile and its profiles, in a :func:`checkout`."""
    return checkout() / "study"


def shipped_studies() -> Path:
    """The folder of the finished studies' tables, in a :func:`checkout`."""
    return checkout() / "docs" / "study"


def quick_parameters() -> Path:
    """The parameter file of the quick mode, in a :func:`checkout`."""
    return checkout() / "params" / "quick.yaml"


def of_the_checkout(installed: Path) -> Path:
    """Where a file or folder of the library lies in a :func:`checkout`, to be written anew."""
    return checkout() / installed.relative_to(PACKAGES)


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

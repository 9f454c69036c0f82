"""Where things lie: what is installed with the library, and the folder that runs and data sets go to."""

from pathlib import Path

from kdrecon.errors import InputError

PACKAGES = Path(__file__).resolve().parent.parent
SAMPLES = PACKAGES / "data_prep" / "samples"
READY = PACKAGES / "kdrecon" / "ready"


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

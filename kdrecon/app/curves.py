"""The learning curves of trainings in one figure, as a file.

>>> from pathlib import Path
>>> from kdrecon.app.curves import draw_curves
>>> draw_curves([Path("runs/mine")], Path("curves.png"))
Traceback (most recent call last):
    ...
kdrecon.errors.InputError: runs/mine holds no experiment: expected the folder of a trained network, with its config.json
"""

from collections.abc import Sequence
from pathlib import Path

from kdrecon.errors import InputError
from kdrecon.results.names import columns, network_names
from kdrecon.runs.networks import read_log
from kdrecon.runs.record import read_record
from kdrecon.storage.files import replacing
from kdrecon.teaching.plots.trainings import validation_curves


def draw_curves(folders: Sequence[Path], out: Path) -> None:
    """Draw the validation L1 of trainings over their epochs; each has the name that tables give it beside the others.

    Args:
        folders: of experiments whose training has begun.
        out: the PNG file that is written.

    Raises:
        InputError: a folder holds no training.
    """
    told, histories = [], []
    for folder in folders:
        if not (record := read_record(folder)):
            raise InputError(
                f"{folder} holds no experiment: expected the folder of a trained network, with its config.json"
            )
        e = record.experiment
        told.append(columns(e) | {"model": {"control": "student"}.get(e.role, e.role), "seed": e.seed})
        histories.append(read_log(folder))
    names = network_names(told)
    if double := next((name for name in names if names.count(name) > 1), ""):
        raise InputError(f"{double} is named twice: expected each folder once")
    figure = validation_curves(dict(zip(names, histories)))
    with replacing(out) as temporary:
        figure.savefig(temporary, format="png")

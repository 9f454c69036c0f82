"""Draw what the study that ships has found, docs/study/course: python lessons/picture.py [FOLDER].

comparison.png, which README and notebook 00 open with, shows two students of one teacher; gains.png, in README and
notebook 06, what distillation adds by epochs, size of the student and training slices.
"""

import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the library beside the lessons, whatever is installed
from kdrecon.results import shipped_study  # noqa: E402
from kdrecon.teaching import plots  # noqa: E402

TEACHER, SFT, TWICE = "teacher", "SFT teacher", "student, trained 2 times as long"
METHODS = ("FitNets", "AT", "FSP", "SP", "CC")
PANELS = {  # title -> (the plain student, name in the picture -> name in the study)
    "student D2C5: 3,045 parameters": (
        "student, network D2C5",
        {
            TEACHER: "teacher",
            SFT: "SFT teacher, student_network D2C5",
            **{
                f"{route}-KD {method}": f"{route}-KD {method}, network D2C5"
                for route in ("Std", "SFT")
                for method in METHODS
            },
            TWICE: "control, network D2C5, epochs 100",
        },
    ),
    "student D3C5: 49,285 parameters": (
        "student",
        {
            name: name
            for name in (TEACHER, SFT, "Std-KD FitNets", "Std-KD AT", "SFT-KD FitNets", "SFT-KD AT")
        }
        | {
            TWICE: "control, epochs 100",
            "student, trained 7 times as long": "control, epochs 350",
        },
    ),
}

STD, HINTS, FRIENDLY = "Std-KD AT", "Std-KD FitNets", "SFT-KD AT"
SHORT = "epochs 12, teacher_epochs 50"
GAINS = {  # title -> what is varied -> distilled student -> name in the study
    "epochs of a D3C5 (its teacher: 50)": {
        "12": {name: f"{name}, {SHORT}" for name in (STD, HINTS, FRIENDLY)},
        "50": {name: name for name in (STD, HINTS, FRIENDLY)},
    },
    "size of the student": {
        "D2C5": {name: f"{name}, network D2C5" for name in (STD, HINTS, FRIENDLY)},
        "D3C5": {name: name for name in (STD, HINTS, FRIENDLY)},
    },
    "training slices of a D3C5, equal steps": {
        "12": {STD: f"{STD}, epochs 400, train_slices 12"},
        "24": {STD: f"{STD}, epochs 200, train_slices 24"},
        "48": {STD: f"{STD}, epochs 100, train_slices 48"},
        "93": {STD: STD},
    },
}


def beside_students() -> pd.DataFrame:
    """The study's differences from plain students, in dB of PSNR, by reference and network."""
    found = shipped_study("course").comparisons
    found = found[(found.metric == "psnr") & (found.against == "student")]
    return found.set_index(["reference", "network"])[["difference", "low", "high", "verdict"]]


def panels() -> dict[str, pd.DataFrame]:
    """Title -> a row a network: its name in the picture, difference from the plain student in dB, ends of the interval."""
    found = beside_students()
    return {
        title: found.loc[[(reference, name) for name in names.values()]].assign(name=list(names))
        for title, (reference, names) in PANELS.items()
    }


def gains() -> dict[str, pd.DataFrame]:
    """Title -> a row a distilled student, minus the plain student of the same settings, as :func:`plots.gains` draws it."""
    found = beside_students().reset_index("reference")
    return {
        title: pd.DataFrame(
            [
                {"x": x, "name": name, **found.loc[network]}
                for x, of in varied.items()
                for name, network in of.items()
            ]
        )
        for title, varied in GAINS.items()
    }


def main(folder: Path) -> None:
    """Write both pictures."""
    figures = {"comparison.png": plots.differences(panels()), "gains.png": plots.gains(gains())}
    for name, figure in figures.items():
        figure.savefig(folder / name, dpi=140)
        print(folder / name)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs")

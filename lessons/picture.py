"""Draw docs/comparison.png, the picture that README and notebook 00 open with: python lessons/picture.py [FILE].

It shows what the study that ships has found, docs/study/course, for two students of one teacher.
"""

import sys
from pathlib import Path

import pandas as pd

ROOT = Path(__file__).resolve().parent.parent
sys.path.insert(0, str(ROOT))  # the library beside the lessons, whatever is installed
from kdrecon.results import shipped_study  # noqa: E402
from kdrecon.teaching import plots  # noqa: E402

TEACHER, SFT, STD_AT, SFT_AT = "teacher", "SFT teacher", "Std-KD AT", "SFT-KD AT"
PANELS = {  # title -> (the plain student, name in the picture -> name in the study)
    "student D2C5: 3,045 parameters": (
        "student, network D2C5",
        {
            TEACHER: "teacher",
            SFT: "SFT teacher, student_network D2C5",
            STD_AT: "Std-KD AT, network D2C5",
            SFT_AT: "SFT-KD AT, network D2C5",
        },
    ),
    "student D3C5: 49,285 parameters": (
        "student",
        {name: name for name in (TEACHER, SFT, STD_AT, "Std-KD FitNets", SFT_AT, "SFT-KD FitNets")}
        | {
            "student, trained 2 times as long": "control, epochs 100",
            "student, trained 7 times as long": "control, epochs 350",
        },
    ),
}


def panels() -> dict[str, pd.DataFrame]:
    """Title -> a row a network: its name in the picture, difference from the plain student in dB, ends of the interval."""
    found = shipped_study("course").comparisons
    found = found[(found.metric == "psnr") & (found.against == "student")]
    found = found.set_index(["reference", "network"])[["difference", "low", "high"]]
    return {
        title: found.loc[[(reference, name) for name in names.values()]].assign(name=list(names))
        for title, (reference, names) in PANELS.items()
    }


def main(target: Path) -> None:
    """Write the picture."""
    plots.differences(panels()).savefig(target, dpi=140)
    print(target)


if __name__ == "__main__":
    main(Path(sys.argv[1]) if sys.argv[1:] else ROOT / "docs" / "comparison.png")

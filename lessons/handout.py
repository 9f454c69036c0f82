"""Pack what students need into a zip, without solutions: python lessons/handout.py [FILE]."""

import sys
import zipfile
from pathlib import Path

from build import LESSONS, build

ROOT = LESSONS.parent
PARTS = (
    "kdrecon",
    "data_prep",
    "docs",
    "params",
    "Makefile",
    "pyproject.toml",
    "constraints.txt",
    "environment.yml",
    "LICENSE",
)
LEFT_OUT = ("__pycache__", "instructors.md")
README = """# kdrecon: the course

Notebooks on knowledge distillation in accelerated MRI reconstruction, with exercises.

    make lab        # Python 3.11 or newer; builds the environment, opens the first notebook

Without make, in a virtual environment of your own:

    pip install -e . -c constraints.txt
    jupyter lab notebooks/00_start_here.ipynb --ServerApp.root_dir=.

`make run` executes everything without a click and leaves `runs/quick/report.html`.
Code: MIT. Lesson text: CC BY 4.0. Images: licences beside them, in `kdrecon/data/`.
"""


def handout() -> dict[str, bytes]:
    """Path in the zip -> content. Notebooks are built anew, so a lecturer's outputs stay at home."""
    files = {"README.md": README.encode()}
    for part in PARTS:
        for path in [ROOT / part] if (ROOT / part).is_file() else sorted((ROOT / part).rglob("*")):
            inside = path.relative_to(ROOT)
            hidden = any(part.startswith(".") for part in inside.parts)
            if path.is_file() and not hidden and not set(inside.parts) & set(LEFT_OUT):
                files[inside.as_posix()] = path.read_bytes()
    for script in sorted(LESSONS.glob("[0-9]*.py")):
        files[f"notebooks/{script.stem}.ipynb"] = build(script).encode()
    return files


def main(target: Path) -> None:
    """Write the zip; its bytes depend on nothing but the content."""
    if target.exists() and not zipfile.is_zipfile(target):
        sys.exit(
            f"{target} is there and is no zip: expected a free name, or an older handout; choose another one"
        )
    target.parent.mkdir(parents=True, exist_ok=True)
    with zipfile.ZipFile(target, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in handout().items():
            archive.writestr(zipfile.ZipInfo(f"kdrecon/{name}"), content, zipfile.ZIP_DEFLATED)
    print(f"{target}: {target.stat().st_size / 1e6:.1f} MB, notebooks without solutions")


if __name__ == "__main__":
    main(Path(sys.argv[1]).expanduser() if sys.argv[1:] else ROOT / "dist" / "kdrecon-handout.zip")

"""Build the page on which a browser undersamples a slice and reconstructs it with student and teacher.

python demo/build.py [--out FOLDER]

The page lands in runs/demo/. It needs no server code, loads nothing from elsewhere, and is opened through any web server:
python -m http.server --directory runs/demo. To build it takes npm, which fetches the packages of package-lock.json.
"""

import argparse
import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import nibabel
import numpy as np

from kdrecon.data.splits import Split, load_split
from kdrecon.deploy.deployed import open_deployed
from kdrecon.deploy.exporting import export
from kdrecon.errors import InputError
from kdrecon.models.dccnn import DCCNN
from kdrecon.physics.sampling import line_axis
from kdrecon.storage.places import SAMPLES, runs

DEMO = Path(__file__).resolve().parent
ABOUT = "demo.json"  # by it the folder of a page is known
NETWORKS = {  # what the page calls them: the network, and its title
    "distilled": ("D2C5_sftkd-at", "distilled (SFT-KD, AT)"),
    "alone": ("D2C5_student", "trained alone"),
    "teacher": ("D5C5_teacher", "teacher"),
}
VENDOR = {  # of the packages, what the page needs
    "onnxruntime-web": ("dist/ort.wasm.bundle.min.mjs", "dist/ort-wasm-simd-threaded.wasm"),
    "h5wasm": ("dist/esm/hdf5_hl.js", "dist/esm/hdf5_util.js", "LICENSE.txt"),
}
NOTICE = """ort.wasm.bundle.min.mjs and ort-wasm-simd-threaded.wasm are of ONNX Runtime Web, copyright Microsoft Corporation,
MIT License. hdf5_hl.js and hdf5_util.js are of h5wasm, whose licence, and that of the HDF5 library in it, is LICENSE.txt.
Both are here as their packages hold them, in these versions: {versions}.
"""


def build(out: Path) -> None:
    """Write the page to a folder; an older page there is replaced, other files stay.

    Raises:
        InputError: npm is missing or cannot fetch, or the folder holds anything else than a page.
    """
    if out.exists() and not (out / ABOUT).is_file() and (not out.is_dir() or any(out.iterdir())):
        raise InputError(
            f"{out} is there and is no demonstration: expected a free name or an older one; choose another --out"
        )
    packages = fetched()
    with tempfile.TemporaryDirectory() as folder:
        page = Path(folder) / "page"
        (page / "vendor").mkdir(parents=True)
        for pattern in ("*.html", "*.css", "*.js"):
            for path in DEMO.glob(pattern):
                shutil.copy(path, page)
        for package, files in VENDOR.items():
            for file in files:
                shutil.copy(packages / package / file, page / "vendor")
        pinned = json.loads((DEMO / "package.json").read_text(encoding="utf-8"))["dependencies"]
        versions = ", ".join(f"{name} {version}" for name, version in pinned.items())
        (page / "vendor" / "NOTICE.txt").write_text(NOTICE.format(versions=versions), encoding="utf-8")
        for path in (SAMPLES / "sample").glob("LICENCE-*.txt"):
            shutil.copy(path, page)
        shutil.copy(SAMPLES / "sample" / "PROVENANCE.md", page / "PROVENANCE.txt")  # which browsers show
        write_sample(page / "sample.nii.gz")
        (page / ABOUT).write_text(json.dumps(write_networks(page), indent=1), encoding="utf-8")
        out.mkdir(parents=True, exist_ok=True)
        shutil.copy(page / ABOUT, out)  # first, so that a half-copied page is known as one
        shutil.copytree(page, out, dirs_exist_ok=True)


def fetched() -> Path:
    """The folder of the npm packages, fetched anew where the lock file is younger.

    Raises:
        InputError: npm is missing or cannot fetch them.
    """
    packages, lock = DEMO / "node_modules", DEMO / "package-lock.json"
    done = packages / ".package-lock.json"  # which npm writes last
    if done.is_file() and done.stat().st_mtime >= lock.stat().st_mtime:
        return packages
    if not (npm := shutil.which("npm")):
        raise InputError(
            "npm is not on the PATH: expected it, to fetch ONNX Runtime for the browser; install Node.js (on Debian or "
            "Ubuntu: apt install npm) and run the same command again"
        )
    command = [npm, "ci", "--ignore-scripts", "--no-audit", "--no-fund", "--loglevel=error"]
    run = subprocess.run(command, cwd=DEMO, capture_output=True, text=True, encoding="utf-8", errors="replace")
    if run.returncode:
        said = next((line for line in run.stderr.splitlines() if line.strip()), f"status {run.returncode}")
        raise InputError(f"npm ci did not fetch the packages ({said}): expected a package registry that it reaches")
    return packages


def write_sample(path: Path) -> None:
    """The sample's test slices as a NIfTI file, without a place in the patient, upright as the notebooks show them."""
    images = load_split(Split("sample", "test", "4x", 120)).x[:, 0].numpy()
    stored = np.ascontiguousarray(images[:, ::-1].transpose(2, 1, 0))  # the reader's rows run down, a file's y up
    nibabel.save(nibabel.Nifti1Image(stored, None), path)


def write_networks(page: Path) -> dict[str, object]:
    """Export the networks to the page; what it has to know of them, and of the mask that they were trained with."""
    networks, masks = {}, []
    for key, (name, title) in NETWORKS.items():
        deployed = open_deployed(name)
        assert isinstance(deployed.network, DCCNN)
        if deployed.data.experiment.switches.fidelity != "real" or line_axis(deployed.data.mask) != 0:
            raise InputError(
                f"{name} has no data fidelity that the page computes: expected 'real' and lines along rows"
            )
        export(deployed, page / f"{key}.onnx")
        weights = sum(parameter.numel() for parameter in deployed.network.parameters())
        role = "teacher" if key == "teacher" else "student"
        networks[key] = {"file": f"{key}.onnx", "title": title, "role": role, "weights": weights}
        masks.append(deployed.data)
    height, width = masks[0].size
    lines = masks[0].mask[:, 0].nonzero()[:, 0].tolist()
    acceleration = float(masks[0].experiment.acceleration.removesuffix("x"))
    return {
        "networks": networks,
        "trained": {"height": height, "width": width, "lines": lines, "acceleration": acceleration},
    }


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--out", type=Path, help="where the page goes; runs/demo by default")
    chosen = parser.parse_args().out
    out = chosen.expanduser() if chosen else runs() / "demo"
    try:
        build(out)
    except InputError as error:
        print(f"error: {error}", file=sys.stderr)
        sys.exit(2)
    size = sum(path.stat().st_size for path in out.rglob("*") if path.is_file())
    print(
        f"the page: {out}, {size / 1e6:.1f} MB. Open it through a web server: python -m http.server --directory {out}"
    )

"""Damaged and hostile inputs by the thousand: what each kind of file does to the command that reads it.

An input is a small valid tree of files with one of them mutated. It is read in a process of its own by the command that a
person would type. The only ways to end are success and one line that starts with "error:"; everything else is a fault:
a traceback, a hang, a result that differs though the content is guarded, a file outside the output, a half-written file.
"""

import contextlib
import gzip
import io
import json
import os
import random
import re
import resource
import shutil
import signal
import sys
import time
import traceback
from argparse import Namespace
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import h5py
import nibabel
import numpy as np
import pydicom
import torch
import trees
from helpers import PAPER

import data_prep.__main__
from data_prep import pipeline
from data_prep.nifti import Nifti
from data_prep.options import Options
from kdrecon import data, results, runs
from kdrecon.app import cli
from kdrecon.choices import SPLITS
from kdrecon.deploy import export, open_deployed
from kdrecon.errors import InputError
from kdrecon.physics.sampling import line_mask, undersample
from kdrecon.results.report import write_results
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.networks import open_network, weights_hash
from kdrecon.training.loop import Training

SECONDS = 30  # of a processor, after which a command counts as hanging; so does one that waits ten times as long
MEMORY = 2 * 2**30  # bytes that a command may take on top of what this process has
NASTY = (
    "", " ", "NaN", "nan", "null", "None", "-1", "0", "1e999", "0,5", "007", "true", "²", "B1²", "ü", "u\u0308", "\x00",
    "=1+1", "../../../../evil", "/evil", "~", "{x}", "a$\\frac$", "<img src=x onerror=alert(1)>", "%s", "9" * 5000,
    "[" * 3000, "x" * 200_000, str(2**70), "-9223372036854775809", "!!bool x", "!!python/object/apply:os.system [touch evil]",
    "*a", "&a [*a]",
    "2001-01-01", "\ufeff", "\ud7ff", "a\nb", "a;b", '"', "'", "MONOCHROME1", "N/A",
)  # fmt: skip
BOMB = "a: &a [x, x, x, x, x, x, x, x, x]\n"
BOMB += "".join(f"{b}: &{b} [{', '.join(['*' + a] * 9)}]\n" for a, b in zip("abcdefgh", "bcdefghi"))
Mutation = Callable[[random.Random, Path], None]


@dataclass(frozen=True)
class Kind:
    """One kind of input.

    Attributes:
        name: for the table.
        make: writes the valid tree into a folder.
        files: glob patterns of the files that are mutated.
        mutations: what may happen to one of them.
        use: reads the tree (first argument) and writes below the second; what it returns is the result.
        guarded: whether a changed result is a fault, because the file carries a check of its content.
        computes: whether it runs a network: then the process that forks must never have computed with several threads.
    """

    name: str
    make: Callable[[Path], object]
    files: tuple[str, ...]
    mutations: tuple[Mutation, ...]
    use: Callable[[Path, Path], object]
    guarded: bool = False
    computes: bool = False


# what may happen to the bytes of any file


def flip(chance: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    if content:
        content[chance.randrange(len(content))] ^= 1 << chance.randrange(8)
    path.write_bytes(content)


def cut(chance: random.Random, path: Path) -> None:
    content = path.read_bytes()
    path.write_bytes(content[: chance.randrange(len(content) + 1)])


def overwrite(chance: random.Random, path: Path) -> None:
    content = bytearray(path.read_bytes())
    start = chance.randrange(len(content) + 1)
    block = chance.choice([bytes(64), b"\xff" * 16, chance.randbytes(64), bytes(4)])
    content[start : start + len(block)] = block
    path.write_bytes(content)


def insert(chance: random.Random, path: Path) -> None:
    content = path.read_bytes()
    start = chance.randrange(len(content) + 1)
    path.write_bytes(content[:start] + chance.randbytes(chance.randrange(1, 32)) + content[start:])


def replace_file(chance: random.Random, path: Path) -> None:
    path.unlink()
    match chance.randrange(6):
        case 0:
            path.mkdir()
        case 1:
            path.symlink_to("nowhere")
        case 2:
            os.mkfifo(path)
        case 3:
            path.write_bytes(b"")
        case 4:
            path.symlink_to(path.name)
        case 5:
            path.write_bytes(chance.randbytes(200))


BYTES = (flip, cut, overwrite, insert, replace_file)


# what may happen to texts


def word(chance: random.Random, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    words = list(re.finditer(r"[^\s,:\[\]{}\"]+", text))
    if words:
        chosen = chance.choice(words)
        text = text[: chosen.start()] + chance.choice(NASTY) + text[chosen.end() :]
    path.write_bytes(text.encode("utf-8", "surrogatepass"))


def lines(chance: random.Random, path: Path) -> None:
    rows = path.read_text(encoding="utf-8").splitlines(keepends=True)
    i, j = (chance.randrange(len(rows)) for _ in range(2))
    match chance.randrange(4):
        case 0:
            rows.insert(i, rows[j])
        case 1:
            del rows[i]
        case 2:
            rows[i], rows[j] = rows[j], rows[i]
        case 3:
            rows.insert(i, chance.choice(NASTY)[:100_000] + "\n")
    path.write_bytes("".join(rows).encode("utf-8", "surrogatepass"))


def encode(chance: random.Random, path: Path) -> None:
    text = path.read_text(encoding="utf-8")
    text = text.replace(",", chance.choice([",", ";", "\t", ", "]))
    text = text.replace("\n", chance.choice(["\n", "\r\n", "\r", "\n\n"]))
    path.write_bytes((text + "ä").encode(chance.choice(["utf-16", "utf-8-sig", "latin-1", "utf-32", "cp1252"])))


def bomb(chance: random.Random, path: Path) -> None:
    path.write_text(BOMB + path.read_text(encoding="utf-8"), encoding="utf-8")


def json_value(chance: random.Random, path: Path) -> None:
    """A value anywhere in a JSON file is replaced, taken out, or joined by another."""
    root = json.loads(path.read_text(encoding="utf-8"))
    parents = [root]
    for parent in parents:
        parents += [
            v for v in (parent.values() if isinstance(parent, dict) else parent) if isinstance(v, dict | list) and v
        ]
    parent = chance.choice(parents)
    key = chance.choice(list(parent) if isinstance(parent, dict) else range(len(parent)))
    value = chance.choice([None, -1, 2**70, 1e308, float("nan"), [], {}, True, [[[]]], *NASTY])
    match chance.randrange(4):
        case 0:
            del parent[key]
        case 1 if isinstance(parent, dict):
            parent[chance.choice(NASTY)] = value
        case _:
            parent[key] = value
    path.write_text(json.dumps(root), encoding="utf-8")


TEXT = (word, word, lines, encode, *BYTES)


# what may happen to files with a format of their own


def hdf5(chance: random.Random, path: Path) -> None:
    """A dataset or an attribute is replaced by something else under its name."""
    with h5py.File(path, "a") as file:
        name = chance.choice([k for k in file])
        shape = getattr(file[name], "shape", None) or (2, 2, 2)
        old = file[name][()] if isinstance(file[name], h5py.Dataset) else np.zeros(shape)
        numbers = old if isinstance(old, np.ndarray) and old.dtype.kind in "fciu" else np.zeros(shape)
        change = chance.randrange(20)
        if change < 4:
            key = chance.choice([*file.attrs, "subject", "mask_4x", "format_version"])
            file.attrs[key] = chance.choice(
                [b"train0", "x" * 1000, -1, np.nan, [1, 2], h5py.Empty("f4"), "a\\b", "../x"]
            )
            return
        del file[name]
        match change:
            case 4:
                file.create_group(name)
            case 5:
                file[name] = "text"
            case 6:
                file[name] = h5py.SoftLink("/nowhere")
            case 7:
                file[name] = h5py.ExternalLink("other.h5", "/x")
            case 8:
                file.create_dataset(name, (10**5, 10**5, 10**4), "f4", chunks=(64, 64, 64))
            case 9:
                file[name] = np.full(numbers.shape, np.nan)
            case 10:
                file[name] = np.zeros(numbers.shape)
            case 11:
                file[name] = -np.abs(numbers) - 1
            case 12:
                file[name] = numbers.T
            case 13:
                file[name] = np.zeros((0, *numbers.shape[1:]))
            case 14:
                kind = np.dtype([("real", "f4"), ("imag", "f4")])
                file[name] = np.zeros(numbers.shape, kind)
            case 15:
                file[name] = numbers.astype(numbers.dtype.newbyteorder(">"))
            case 16:
                file[name] = np.array([b"bytes"] * 3)
            case 17:
                file[name] = numbers[..., None]
            case 18:
                layout = h5py.VirtualLayout(numbers.shape, "f4")
                layout[...] = h5py.VirtualSource("elsewhere.h5", "x", numbers.shape)
                file.create_virtual_dataset(name, layout)
            case _:
                file[name] = 1.0


def checkpoint(chance: random.Random, path: Path) -> None:
    """An entry of a checkpoint, or a tensor in it, is replaced."""
    state = torch.load(path, weights_only=False)
    tensor = torch.zeros(2, 2)
    value = chance.choice(
        [
            None,
            "best",
            -1,
            2**70,
            float("nan"),
            [],
            {},
            {"a": 1},
            tensor,
            tensor.to_sparse(),
            torch.zeros(3, device="meta"),
            torch.full((32, 1, 3, 3), float("nan")),
            torch.zeros(32, 1, 3, 3, dtype=torch.complex64),
            *NASTY[:30],
        ]  # fmt: skip
    )
    places = [state] + [v for v in state.values() if isinstance(v, dict) and v]
    if isinstance(state.get("args"), Namespace):
        places += [vars(state["args"])] * 3
    place = chance.choice(places)
    place[chance.choice([*place, "extra"])] = value
    torch.save(state, path)


def nifti_header(chance: random.Random, path: Path) -> None:
    packed = path.suffix == ".gz"
    content = bytearray(gzip.decompress(path.read_bytes()) if packed else path.read_bytes())
    header = nibabel.Nifti1Header(bytes(content[:348]), check=False)
    field = chance.choice(list(header.structarr.dtype.names))
    array = np.atleast_1d(header.structarr[field]).astype(object)
    array[chance.randrange(array.size)] = chance.choice([0, 1, -1, 7, 100, 2**14, -(2**14)])
    with contextlib.suppress(ValueError, TypeError, OverflowError):
        if array.dtype == object and header.structarr[field].dtype.kind in "iuf":
            header.structarr[field] = array.reshape(np.shape(header.structarr[field])).astype(
                header.structarr[field].dtype
            )
    content[:348] = header.binaryblock
    path.write_bytes(gzip.compress(bytes(content), 1) if packed else bytes(content))


def dicom_header(chance: random.Random, path: Path) -> None:
    """The value of one element is written as other bytes, or the element is taken out."""
    ds = pydicom.dcmread(path)
    elements = [element for element in ds if element.keyword]
    element = chance.choice(elements)
    odd = ("0,5\\0,5", "1\\2\\3", "1\\0\\0\\0\\1\\0\x00", "ORIGINAL", "P", "CT", "\\\\")
    content = chance.choice([*NASTY[:30], *odd]).encode()[:60]
    if chance.random() < 0.2:
        del ds[element.tag]
    elif element.VR in ("US", "SS", "UL", "OW", "OB", "SQ"):
        if element.VR == "US":
            element.value = chance.choice([0, 1, 3, 8, 7, 65535])
        elif element.VR == "OW":
            element.value = element.value[: chance.randrange(len(element.value))]
    else:
        raw = pydicom.dataelem.RawDataElement
        content += b" " * (len(content) % 2)
        ds._dict[element.tag] = raw(element.tag, element.VR, len(content), content, 0, False, True)
    with contextlib.suppress(Exception):
        ds.save_as(path)


def run_command(main: Callable, *arguments) -> Callable[[Path, Path], object]:
    """A command line; IN and OUT in it stand for the input and the output folder."""

    def use(inside: Path, out: Path) -> object:
        places = {"IN": str(inside), "OUT": str(out)}
        sys.argv = ["command", *(re.sub("IN|OUT", lambda match: places[match[0]], str(a)) for a in arguments)]
        main()

    return use


def prepared(root: Path) -> None:
    """Volume files of six people with a manifest."""
    for number in range(1, 7):
        trees.nifti(root / "scans" / f"{number}.nii", trees.picture(2, (24, 20), seed=number))
    options = Options("own", split="4,1,1", jobs=1)
    pipeline.prepare(Nifti(root / "scans"), root / "datasets", options)
    shutil.rmtree(root / "scans")


def read_and_check(inside: Path, out: Path) -> None:
    for split in SPLITS:
        data.load_split(data.Split("own", split, "4x", data_root=str(inside / "datasets")))
    run_command(data_prep.__main__.main, "check", "IN/datasets/own")(inside, out)


def laboratory(run_root: Path) -> Laboratory:
    small = PAPER | {
        "resolution": 32,
        "epochs": 2,
        "batch_size": 24,
        "ready": False,
        "device": "cpu",
        "precision": "fp32",
    }
    return Laboratory(run_root=str(run_root), **small)


def trained(root: Path) -> None:
    """A run with the baseline and a student, evaluated."""
    lab = laboratory(root / "run")
    for network in (lab.zero_filled(), lab.student()):
        results.evaluate(lab, network)
    (root / "run" / "params.yaml").write_text("epochs: 1\nseed: 0\n", encoding="utf-8")
    write_results(root / "run")


def interrupted(root: Path) -> None:
    """The same, but the student's training was stopped in its second epoch."""
    step, done = Training.step, []

    def last_step(self, *batch):
        step(self, *batch)
        done.append(batch)
        if len(done) == 3:
            raise KeyboardInterrupt

    Training.step = last_step
    try:
        laboratory(root / "run").student()
    except KeyboardInterrupt:
        return
    finally:
        Training.step = step


def student(inside: Path, out: Path) -> str:
    return weights_hash(laboratory(inside / "run").student().model)


def opened(inside: Path, out: Path) -> str:
    (folder,) = (inside / "run").glob("experiments/*/*/D3C5*")
    return weights_hash(open_network(folder).model)


def parameters(root: Path) -> None:
    text = (
        'dataset: sample\nacceleration: "4x"\nresolution: 48\nepochs: 1\nlr: 1.0e-3\nmethods: [at, sp]\nbatch_size: 4\n'
    )
    (root / "params.yaml").write_text(text + "switches: {fidelity: hermitian}\nseed: 0\n", encoding="utf-8")


def read_parameters(inside: Path, out: Path) -> None:
    runs.read_parameters(inside / "params.yaml", [])


def acdc(root: Path) -> None:
    trees.acdc(root, 2, 1, size=(32, 24))


def released(root: Path) -> None:
    from test_importing import write_checkpoint

    write_checkpoint(root / "best_model.pt", {"s": 2})


def scored(root: Path) -> None:
    for name in ("targets", "reconstructions"):
        (root / name).mkdir()
        for number in (1, 2):
            with h5py.File(root / name / f"{number}.h5", "w") as file:
                images = trees.picture(2, (24, 20), seed=number).astype("f4") / 2000
                file["target" if name == "targets" else "reconstruction"] = images
                file.attrs["subject"] = f"s{number}"


def split_list(root: Path) -> None:
    for number in range(1, 4):
        trees.nifti(root / "scans" / f"{number}.nii", trees.picture(2, (24, 20), seed=number))
    (root / "split.csv").write_text("subject,split\n1,train\n2,validation\n3,test\n", encoding="utf-8")


def series(root: Path) -> None:
    for number in range(1, 4):
        trees.dicom_series(root / f"p{number}", trees.picture(2, (24, 20), seed=number), f"p{number}", number)
    trees.multiframe(root / "p1" / "enhanced", trees.picture(2, (24, 20), seed=9), "p1")


def scans(root: Path) -> None:
    for number in range(1, 4):
        trees.nifti(root / f"{number}.nii{'.gz' * (number == 2)}", trees.picture(2, (24, 20), seed=number))


def raw(root: Path) -> None:
    for number in range(1, 4):
        trees.raw_scan(root / f"{number}.h5", trees.picture(1, (16, 12), seed=number), patient=f"p{number}")


def measured(root: Path) -> None:
    """Measured k-space, raw data, a NIfTI scan, and an exported network to reconstruct them with."""
    images = trees.picture(2, (24, 20)).astype(np.float32)
    mask = line_mask((24, 20), "4x")
    with h5py.File(root / "kspace.h5", "w") as file:
        file["kspace"], file["mask"] = undersample(torch.from_numpy(images), mask)[1].numpy(), mask.numpy()
    trees.raw_scan(root / "raw.h5", images, measured=np.fft.fftshift(mask[:, 0].numpy()), channels=1)
    trees.nifti(root / "scan.nii.gz", images)
    export(open_deployed("D2C5_student"), root / "student.onnx")


def exported(inside: Path, out: Path) -> object:
    network = open_deployed(str(inside / "student.onnx"), threads=1)
    mask = network.data.mask_for((24, 20))
    x_u, y = undersample(torch.ones(1, 1, 24, 20), mask)
    return float(network.reconstruct(x_u, y, mask).sum())


def reconstructed(scan: str, out: str) -> Callable[[Path, Path], object]:
    return run_command(cli.main, "reconstruct", "D2C5_student", f"IN/{scan}", "--out", f"OUT/{out}", "--fully-sampled")


def prepare(source: str, *options) -> Callable[[Path, Path], object]:
    fixed = (source, "IN", "--out", "OUT", "--name", "own", "--jobs", "1", "--skip-bad", "--keep-names")
    return run_command(data_prep.__main__.main, *fixed, *options)


CHECKPOINTS = (checkpoint, *BYTES[1:])
REPORT = run_command(cli.main, "report", "IN/run", "--volume-wise")
BY_LIST = ("nifti", "IN/scans", "--out", "OUT", "--name", "own", "--jobs", "1", "--split", "IN/split.csv")
IMPORT = ("import-released", "IN/best_model.pt", "--out", "OUT/run")
OF_A_RUN = ("run/experiments/**/*.csv", "run/experiments/**/results/*.h5", "run/params.yaml", "run/*.csv")
SCORE = ("score", "IN/targets", "IN/reconstructions")
BEST = ("run/experiments/**/best_model.pt",)
KINDS = (
    Kind("volumes", prepared, ("**/*.h5",), (hdf5, hdf5, hdf5, *BYTES), read_and_check),
    Kind("volumes, one bit", prepared, ("**/*.h5",), (flip,), read_and_check),
    Kind("manifests", prepared, ("**/manifest.csv",), TEXT, read_and_check),
    Kind("split lists", split_list, ("split.csv",), TEXT, run_command(data_prep.__main__.main, *BY_LIST)),
    Kind("parameters", parameters, ("params.yaml",), (bomb, *TEXT), read_parameters),
    Kind("run records", trained, ("run/experiments/**/*.json",), (json_value, json_value, json_value, *TEXT), REPORT),
    Kind("run tables, results", trained, OF_A_RUN, BYTES, REPORT),
    Kind(
        "networks opened",
        trained,
        ("run/experiments/**/D3C5*/*.json", "run/experiments/**/D3C5*/log.csv"),
        BYTES,
        opened,
    ),
    Kind("best_model.pt, one bit", trained, BEST, (flip,), opened, guarded=True),
    Kind("best_model.pt", trained, BEST, CHECKPOINTS, opened),
    Kind("model.pt, one bit", interrupted, ("run/experiments/**/model.pt",), (flip,), student, guarded=True),
    Kind("model.pt", interrupted, ("run/experiments/**/model.pt",), CHECKPOINTS, student),
    Kind(
        "released checkpoints", released, ("best_model.pt",), (checkpoint,) * 3 + BYTES, run_command(cli.main, *IMPORT)
    ),
    Kind("score", scored, ("**/*.h5",), (hdf5, hdf5, *BYTES), run_command(cli.main, *SCORE)),
    Kind("NIfTI", scans, ("**/*.nii*",), (nifti_header, nifti_header, *BYTES), prepare("nifti", "--split", "1,1,1")),
    Kind(
        "DICOM", series, ("**/*.dcm", "**/enhanced"), (dicom_header,) * 2 + BYTES, prepare("dicom", "--split", "1,1,1")
    ),
    Kind("raw data", raw, ("**/*.h5",), (flip, overwrite, cut, replace_file), prepare("ismrmrd", "--split", "1,1,1")),
    Kind("fastMRI", trees.fastmri, ("**/*.h5",), (hdf5, *BYTES), prepare("fastmri")),
    Kind("Calgary", trees.calgary, ("**/*.npy",), BYTES, prepare("calgary")),
    Kind("ACDC", acdc, ("**/Info.cfg", "**/*frame0?.nii.gz"), BYTES, prepare("acdc", "--size", "keep")),
    Kind("exported networks", measured, ("student.onnx",), BYTES, exported, guarded=True, computes=True),
    Kind(
        "measured k-space",
        measured,
        ("kspace.h5",),
        (hdf5, hdf5, *BYTES),
        reconstructed("kspace.h5", "a.h5"),
        computes=True,
    ),
    Kind(
        "raw data to a network",
        measured,
        ("raw.h5",),
        (flip, flip, overwrite, cut, replace_file),
        reconstructed("raw.h5", "a.h5"),
        computes=True,
    ),
    Kind(
        "NIfTI to a network",
        measured,
        ("scan.nii.gz",),
        (nifti_header, *BYTES),
        reconstructed("scan.nii.gz", "a.nii"),
        computes=True,
    ),
    Kind("PNG frames", trees.sunnybrook_png, ("**/*.png",), BYTES, prepare("sunnybrook")),
)
FAULTS = ("traceback", "long message", "hang", "killed", "memory", "silently wrong", "outside", "left over")


@dataclass(frozen=True)
class Outcome:
    """How one input ended: "read", "refused", or one of :data:`FAULTS`, with what was printed."""

    kind: str
    number: int
    mutation: str
    ending: str
    text: str = ""


def outcomes(kind: Kind, number: int, place: Path, seed: int = 0) -> Iterator[Outcome]:
    """The outcomes of so many inputs of a kind; the i-th input depends on kind, seed and i alone.

    Args:
        kind: of input.
        number: of inputs.
        place: an empty folder, or one that outcomes of another kind were in.
        seed: of the mutations.
    """
    whole, place = place / "valid" / kind.make.__name__, place / kind.name
    place.mkdir()
    if not whole.exists():
        whole.mkdir(parents=True)
        with contextlib.redirect_stderr(io.StringIO()), contextlib.redirect_stdout(io.StringIO()):
            kind.make(whole)
    shutil.copytree(whole, place / "input")
    ending, text, expected = _ending(kind, place / "input", place / "out", place)
    assert ending == "read", f"the valid {kind.name}: {text}"
    for i in range(number):
        chance = random.Random(f"{kind.name} {seed} {i}")
        shutil.rmtree(place / "input", ignore_errors=True)
        shutil.copytree(whole, place / "input", symlinks=True)
        files = sorted(path for pattern in kind.files for path in (place / "input").glob(pattern))
        mutation = chance.choice(kind.mutations)
        try:
            mutation(chance, chance.choice(files))
        except Exception as error:  # a mutation that does not fit the file is none
            yield Outcome(kind.name, i, mutation.__name__, "read", f"not mutated: {error}")
            continue
        ending, text, result = _ending(kind, place / "input", place / "out", place)
        if ending == "read" and kind.guarded and result != expected:
            ending = "silently wrong"
        yield Outcome(kind.name, i, mutation.__name__, ending, text)


def _ending(kind: Kind, inside: Path, out: Path, place: Path) -> tuple[str, str, str]:
    """Use an input in a child process: ending, what was printed, the result."""
    shutil.rmtree(out, ignore_errors=True)
    out.mkdir()
    before, talk = _files(place, out, inside), place / "talk"
    child = os.fork()
    if not child:
        _child(kind, inside, out, talk)
    status, usage, deadline = 0, None, time.monotonic() + 10 * SECONDS
    while not usage and time.monotonic() < deadline:
        done, status, rusage = os.wait4(child, os.WNOHANG)
        usage = rusage if done else time.sleep(0.01)
    if not usage:
        os.kill(child, signal.SIGKILL)
        os.waitpid(child, 0)
    if not usage or (os.WIFSIGNALED(status) and os.WTERMSIG(status) == signal.SIGXCPU):
        return "hang", "", ""
    lines = talk.read_text(encoding="utf-8", errors="replace").splitlines() if talk.exists() else []
    ending, _, result = (lines.pop() if lines else "killed").partition(" ")
    text = "\n".join(lines)
    if ending == "refused" and (len(lines[-1:] or [""]) != 1 or len(text) > 3000):
        ending = "long"
    if os.WIFSIGNALED(status):
        ending = "killed"
    elif usage.ru_maxrss * 1024 > MEMORY + resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * 1024:
        ending = "memory"
    elif ending in ("read", "refused") and (new := _files(place, out, inside) - before - {talk}):
        ending, text = "outside", str(sorted(new)[:3])
    elif ending in ("read", "refused") and (left := [p for p in out.rglob("*.partial") if p.is_file()]):
        ending, text = "left over", str(left[:3])
    return {"long": "long message"}.get(ending, ending), text, result


def _child(kind: Kind, inside: Path, out: Path, talk: Path) -> None:
    """Never returns: prints go to the file talk, whose last line says how it ended."""
    resource.setrlimit(resource.RLIMIT_CORE, (0, 0))
    resource.setrlimit(resource.RLIMIT_CPU, (SECONDS, SECONDS + 10))
    with open(talk, "w", encoding="utf-8", errors="backslashreplace") as said:
        sys.stdout = sys.stderr = said
        result, ending = "", "read"
        try:
            os.chdir(out)
            result = kind.use(inside, out)
        except SystemExit as stop:
            ending = {2: "refused", None: "read", 0: "read", 1: "read"}.get(stop.code, "traceback")
        except InputError as error:
            said.write(f"error: {error}\n")
            ending = "refused"
        except BaseException:
            said.write(traceback.format_exc())
            ending = "traceback"
        said.write(f"\n{ending} {result}")
    os._exit(0)


def _files(place: Path, out: Path, inside: Path) -> set[Path]:
    """Everything that is not the output; a run may be written to where it lies."""
    own = (out, inside / "run")
    found = {path for path in place.rglob("*") if not any(folder in (path, *path.parents) for folder in own)}
    return found | {path for folder in (*place.parents, Path.home()) for path in folder.glob("*evil*")}


def table(found: list[Outcome]) -> str:
    """How many inputs of each kind were tried, read, refused, and ended otherwise."""
    columns = ("tried", "read", "refused", *FAULTS)
    rows = [f"{'kind':24s}" + "".join(f"{name:>15s}" for name in columns)]
    for kind in dict.fromkeys(outcome.kind for outcome in found):
        endings = Counter(outcome.ending for outcome in found if outcome.kind == kind)
        numbers = (endings.total(), *(endings[name] for name in columns[1:]))
        rows.append(f"{kind:24s}" + "".join(f"{number:>15d}" for number in numbers))
    return "\n".join(rows)

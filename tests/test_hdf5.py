"""The opener of HDF5 files, and every reader behind it, on files from elsewhere, damaged ones and hostile ones."""

import os
import random
import re
import struct
import subprocess
import sys
from pathlib import Path

import h5py
import numpy as np
import pytest
import torch

from data_prep.inspection import check
from data_prep.kspace import FastMRI
from data_prep.source import Scan
from kdrecon import data
from kdrecon.data import volumes
from kdrecon.errors import InputError
from kdrecon.physics.sampling import mask_for, undersample
from kdrecon.results import archive, scoring
from kdrecon.storage import hdf5

IMAGES = np.random.default_rng(0).uniform(0.1, 7, (3, 16, 16)).astype(np.float32)
MASK = mask_for("heart", "4x", (16, 16))
X_U, Y = (np.moveaxis(part.numpy(), 0, 2) for part in undersample(torch.from_numpy(IMAGES), MASK))


def volume(root: Path, number: int = 1) -> Path:
    """A sound volume file of the data set root/heart."""
    path = root / "heart" / "train" / "acc_4x" / f"{number}.h5"
    arrays = {"img_volus_4x": X_U, "kspace_volus_4x": Y, "mask_4x": MASK.numpy()}
    data.write_volume(path, IMAGES, {"subject": f"s{number}", "dataset": "heart"}, **arrays)
    return path


def load(root: Path, resolution=0, **options) -> data.Slices:
    return data.load_split(data.Split("heart", "train", "4x", resolution, str(root)), **options)


def refused(read, path: Path) -> str:
    """The one line in which a reader refuses a file; it names it."""
    with pytest.raises(InputError) as caught:
        read()
    message = str(caught.value)
    assert "\n" not in message and str(path) in message and len(message) < 1500, message
    return message


def replace(path: Path, name: str, value) -> None:
    """Put a value, or what a function of the open file makes, in the place of an array."""
    with h5py.File(path, "a") as file:
        del file[name]
        if callable(value):
            value(file)
        else:
            file[name] = value


def virtual(file):
    layout = h5py.VirtualLayout((16, 16, 3), "f4")
    layout[:] = h5py.VirtualSource("other.h5", "volfs", (16, 16, 3))
    file.create_virtual_dataset("volfs", layout)


def declared(*shape, **storage):
    return lambda file: file.create_dataset("volfs", shape, "f4", **storage)


OUTSIDE = {"external": [("/etc/hostname", 0, h5py.h5f.UNLIMITED)]}
HOSTILE = {
    "a group": (lambda file: file.create_group("volfs"), "volfs is a group or a type: expected an array"),
    "a type": (np.dtype("f4"), "volfs is a group or a type"),
    "text": ("images", "'volfs' is of type object: expected numbers"),
    "bytes": (np.full((16, 16, 3), b"x"), "'volfs' is of type .S1: expected numbers"),
    "many fields": (
        np.zeros((16, 16, 3), [(f"f{i}", "f4") for i in range(500)]),
        "'volfs' is of type .*: expected numbers",
    ),
    "records": (np.zeros((16, 16, 3), [("a", "f4"), ("b", "f4")]), "'volfs' is of type .*expected numbers"),
    "rows": (np.zeros(3, [("real", "(2,)f4"), ("imag", "f4")]), "'volfs' is of type .*expected numbers"),
    "nothing": (h5py.Empty("f4"), "volfs is empty: expected an array"),
    "a dangling link": (h5py.SoftLink("/nowhere"), "volfs is a link: expected an array"),
    "a soft link": (h5py.SoftLink("/img_volus_4x"), "volfs is a link"),
    "an external link": (h5py.ExternalLink("2.h5", "/volfs"), "volfs is a link"),
    "a virtual array": (virtual, "volfs lies in other files: expected its values here"),
    "external storage": (declared(16, 16, 3, **OUTSIDE), "volfs lies in other files"),
    "a huge shape": (declared(10**6, 10**6, 10**6, chunks=True), "volfs is of shape .* at most half of this machine's"),
    "a huge chunk": (
        declared(16, 16, 3, chunks=(2**14, 2**14, 3), maxshape=(None,) * 3),
        "volfs is of shape|volfs was never written",
    ),
    "a declaration": (declared(16, 16, 3), "volfs was never written"),
    "complex": (np.zeros((16, 16, 3), [("real", "f4"), ("imag", "f4")]), "volfs is (complex64|of dtype complex64)"),
}


@pytest.mark.parametrize("case", HOSTILE)
def test_what_is_no_plain_array_is_refused_and_the_check_goes_on(case, tmp_path):
    value, message = HOSTILE[case]
    path, second = volume(tmp_path), volume(tmp_path, 2)
    replace(path, "volfs", value)
    replace(second, "kspace_volus_4x", 2 * Y)
    for read in (load, lambda root: load(root, limit=0), lambda root: scoring.score_folders(path.parent, path.parent)):
        assert re.search(message, refused(lambda: read(tmp_path), path))  # noqa: B023
    first, *others = check(tmp_path / "heart").faults
    assert str(path) in first and re.search(message, first)
    assert any(f"{second}: kspace_volus_4x is unshifted, 2 times" in fault for fault in others)


@pytest.mark.parametrize("name", ["volfs", "x" * 9999])
def test_what_lies_in_a_file_is_quoted_in_few_words(name, tmp_path):
    path = tmp_path / "1.h5"
    with h5py.File(path, "w") as file:
        for i in range(9):
            file[f"{i}{'y' * 9999}"] = 1
        file.create_group("x" * 9999)
    with hdf5.opened(path) as file:
        assert re.search(
            "has no dataset .*found: 0y{76}[.]{3}, .* and 2 more|x[.]{3} is a group", refused(lambda: file[name], path)
        )


@pytest.mark.parametrize("name", ["img_volus_4x", "kspace_volus_4x", "mask_4x"])
def test_a_group_in_the_place_of_another_array_is_refused(name, tmp_path):
    path = volume(tmp_path)
    replace(path, name, lambda file: file.create_group(name))
    assert f"{name} is a group" in refused(lambda: load(tmp_path), path)
    assert any(f"{path}: {name} is a group" in fault for fault in check(tmp_path / "heart").faults)


@pytest.mark.parametrize("kind", ["a folder", "a pipe", "nothing"])
def test_what_is_no_file_is_not_opened(kind, tmp_path):
    path = tmp_path / "1.h5"
    if kind == "a folder":
        path.mkdir()
    elif kind == "a pipe":
        os.mkfifo(path)
    message = refused(lambda: data.read_volume(path), path)
    assert ("does not exist" if kind == "nothing" else "is not a regular file") in message


def test_a_file_is_read_without_a_lock(tmp_path, monkeypatch):
    fcntl = pytest.importorskip("fcntl")
    monkeypatch.setenv("HDF5_USE_FILE_LOCKING", "TRUE")
    with open(volume(tmp_path), "rb") as file:
        fcntl.flock(file, fcntl.LOCK_EX)  # as where a network file system answers "no locks available"
        assert load(tmp_path).x.shape == (3, 1, 16, 16)


def test_an_attribute_under_the_name_of_an_array_is_none(tmp_path):
    with h5py.File(volume(tmp_path), "a") as file:
        del file["mask_4x"]
        file.attrs["mask_4x"] = "published"
        file.attrs["maximum"] = "7"
    slices = load(tmp_path)
    assert torch.equal(slices.task.mask, MASK) and float(slices.x.max()) == 1


@pytest.mark.parametrize(
    "subject, read",
    [
        (np.bytes_(b"train0"), "train0"),
        (np.array([b"train0"]), "train0"),
        (np.array(["träin"], h5py.string_dtype()), "träin"),
        (np.bytes_("träin".encode("latin-1")), "träin"),
        (np.int64(7), "7"),
        (h5py.Empty("S1"), "1"),
    ],
    ids=str,
)
def test_a_subject_is_text_however_it_is_stored(subject, read, tmp_path):
    path = volume(tmp_path)
    with h5py.File(path, "a") as file:
        file.attrs["subject"] = subject
    assert load(tmp_path).subject == [read] * 3
    with h5py.File(tmp_path / "1.h5", "w") as file:
        file["target"] = file["reconstruction"] = IMAGES
        file.attrs["subject"] = subject
    assert scoring.score_folders(tmp_path, tmp_path, volume_wise=True).subject.tolist() == [read]


@pytest.mark.parametrize("fields", ["ri", ("real", "imag"), ("imag", "real"), "pair", ">c8"])
def test_k_space_from_elsewhere_is_complex(fields, tmp_path):
    path = volume(tmp_path)
    if fields == "pair":
        stored = np.stack([Y.real, Y.imag], -1)
    elif fields == ">c8":
        stored = Y.astype(fields)
    else:
        stored = np.empty(Y.shape, [(name, ">f4") for name in fields])
        for name in fields:
            stored[name] = Y.real if name[0] == "r" else Y.imag
    replace(path, "kspace_volus_4x", stored)
    replace(path, "volfs", np.moveaxis(IMAGES, 0, 2).astype(">f8"))
    with hdf5.opened(path) as file:
        np.testing.assert_array_equal(file.kspace("kspace_volus_4x")[()], Y)
        np.testing.assert_array_equal(file.kspace("kspace_volus_4x")[3], Y[3])
    assert torch.equal(load(tmp_path).x, torch.from_numpy(IMAGES / IMAGES.max())[:, None])
    assert not [fault for fault in check(tmp_path / "heart").faults if "1.h5" in fault]
    read = []
    for name, k in (("foreign", stored), ("plain", Y)):
        (tmp_path / name).mkdir()
        with h5py.File(tmp_path / name / "1.h5", "w") as file:
            file["kspace"] = k
        (scan,) = FastMRI(tmp_path / name).scans()
        read.append(FastMRI(tmp_path / name).read(scan).images)
    np.testing.assert_array_equal(*read)


def test_real_k_space_is_refused(tmp_path):
    with h5py.File(tmp_path / "1.h5", "w") as file:
        file["kspace"] = Y.real
    (scan,) = FastMRI(tmp_path).scans()
    message = refused(lambda: FastMRI(tmp_path).read(scan), tmp_path / "1.h5")
    assert "kspace is float32 (16, 16, 3): expected complex (S, H, W)" in message


NO_IMAGES = {"2-D": IMAGES[0], "complex": IMAGES + 1j, "NaN": IMAGES * np.nan, "fewer": IMAGES[:2]}


def texts(path: Path, **storage) -> bytearray:
    """The content of a file with an attribute, a text of 7 bytes and a record with 3 samples, in a global heap."""
    kind = np.dtype([("number", "u4"), ("samples", h5py.vlen_dtype("f4"))])
    with h5py.File(path, "w") as file:
        file.attrs["subject"] = "s1"
        file.create_dataset("text", (1,), h5py.string_dtype(), **storage)[0] = "header "
        file.create_dataset("records", (1,), kind, **storage)[0] = (1, np.ones(3, "f4"))
    return bytearray(path.read_bytes())


READ_ALL = """
import sys
from pathlib import Path
from kdrecon.storage import hdf5
for path in sys.argv[1:]:
    for read in (lambda file: file.attributes, lambda file: file.text("text"), lambda file: file.records("records")):
        try:
            with hdf5.opened(Path(path)) as file:
                read(file)
        except hdf5.InputError as error:
            print(error)
"""


def test_a_chunk_of_another_size_by_the_index_is_read_as_it_is(tmp_path):
    content = texts(tmp_path / "1.h5", chunks=(1,))
    for tree in re.finditer(b"TREE\1", bytes(content)):
        content[tree.start() + 24 : tree.start() + 28] = struct.pack("<I", 2000)
    (tmp_path / "1.h5").write_bytes(content)
    command = [sys.executable, "-c", READ_ALL, tmp_path / "1.h5"]
    assert not subprocess.run(command, capture_output=True, encoding="utf-8", check=True).stdout


def test_a_global_heap_whose_objects_never_end_is_refused(tmp_path):
    content = texts(tmp_path / "sound.h5")
    heap = content.index(b"GCOL") + 16
    for name, entry in (("free", bytes(16)), ("long", content[heap : heap + 8] + struct.pack("<Q", 2**64 - 16))):
        content[heap : heap + 16] = entry
        (tmp_path / f"{name}.h5").write_bytes(content)
    command = [sys.executable, "-c", READ_ALL, *(tmp_path / f"{name}.h5" for name in ("sound", "free", "long"))]
    said = subprocess.run(command, capture_output=True, encoding="utf-8", timeout=300, check=True).stdout.splitlines()
    assert len(said) == 6 and all("cannot be read as HDF5 (a global heap without an end): expected" in s for s in said)


@pytest.mark.parametrize("storage", [{}, {"chunks": (1,)}, {"chunks": (4,), "maxshape": (None,)}], ids=str)
@pytest.mark.parametrize("name, count", [("text", 7), ("records", 3)])
def test_an_entry_longer_than_the_file_is_refused(name, count, storage, tmp_path):
    path = tmp_path / "1.h5"
    content = texts(path, **storage)
    read = {"text": lambda file: file.text("text"), "records": lambda file: file.records("records")["samples"][0].sum()}
    with hdf5.opened(path) as file:
        assert read[name](file) == {"text": "header ", "records": 3}[name]
    heap = content.index(b"GCOL")
    place = content.index(struct.pack("<IQ", count, heap))
    content[place : place + 4] = struct.pack("<I", 10**6)
    path.write_bytes(content)
    with hdf5.opened(path) as file:
        assert (
            f"{name} says that one of its entries has {10**6 * (1 if name == 'text' else 4)} bytes: expected"
            in refused(lambda: read[name](file), path)
        )


@pytest.mark.parametrize("images", NO_IMAGES.values(), ids=NO_IMAGES)
def test_results_that_are_no_images_are_refused(images, tmp_path):
    with h5py.File(tmp_path / "1.h5", "w") as file:
        file["target"], file["reconstruction"] = IMAGES, images
    refused(lambda: list(archive.read_results(tmp_path)), tmp_path / "1.h5")
    refused(lambda: scoring.score_folders(tmp_path, tmp_path), tmp_path / "1.h5")


@pytest.mark.parametrize("resolution", [0, 8])
def test_streaming_never_reads_a_whole_volume(resolution, tmp_path, monkeypatch):
    replace(volume(tmp_path), "mask_4x", lambda file: None)
    memory, real, sizes = load(tmp_path, resolution=resolution), hdf5.Array.__getitem__, []

    def counted(array, key):
        values = real(array, key)
        sizes.append(values.size)
        return values

    monkeypatch.setattr(hdf5.Array, "__getitem__", counted)
    monkeypatch.setattr(volumes, "PIECE", 2 * 4 * 16 * 16)
    streamed = load(tmp_path, resolution=resolution, limit=0)
    torch.testing.assert_close(streamed.x, memory.x)
    assert streamed.fingerprint == memory.fingerprint and max(sizes) == 2 * 16 * 16


@pytest.mark.parametrize("images", [IMAGES[:, :8], IMAGES[:2], IMAGES + 1], ids=["shape", "slices", "content"])
def test_a_streamed_file_that_is_replaced_is_not_trained_on(images, tmp_path):
    path = volume(tmp_path)
    status, streamed = path.stat(), load(tmp_path, limit=0)
    data.write_volume(path, images, {})
    os.utime(path, ns=(status.st_atime_ns, status.st_mtime_ns + 1))
    message = refused(lambda: list(streamed.batches(2)), path)
    assert "cannot be read any more (it was changed): expected the file that was there at the start" in message


@pytest.mark.parametrize("seed", range(10))
def test_a_flipped_bit_is_one_line_or_harmless(seed, tmp_path):
    path, draw = volume(tmp_path), random.Random(seed)
    content, headers = path.read_bytes(), []
    for _ in range(10):
        place = draw.choice([draw.randrange(4096), draw.randrange(len(content))])  # half of them where the headers lie
        damaged = bytearray(content)
        damaged[place] ^= 1 << draw.randrange(8)
        path.write_bytes(damaged)
        for read in (
            lambda: load(tmp_path),
            lambda: list(load(tmp_path, limit=0).batches(2)),
            lambda: scoring.score_folders(path.parent, path.parent),
            lambda: [
                FastMRI(path.parent).read(scan) for scan in FastMRI(path.parent).scans() if isinstance(scan, Scan)
            ],
        ):
            try:
                read()
            except InputError as error:
                headers.append(str(error))
        assert not any("\n" in line for line in headers + check(tmp_path / "heart").faults)
    assert headers

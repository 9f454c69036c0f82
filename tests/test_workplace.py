"""What a preparation may replace, and what it never touches."""

import errno
import os
import shutil
from dataclasses import replace
from pathlib import Path

import h5py
import pytest
import trees
from filelock import FileLock, SoftFileLock

from data_prep import pipeline
from data_prep.nifti import Nifti
from data_prep.options import Options
from data_prep.pipeline import prepare
from kdrecon import data
from kdrecon.errors import InputError

one_thread = pytest.fixture(autouse=True)(trees.one_thread)
ONE = Options(jobs=1, split="2,1,0", name="own")


def scans(root: Path) -> Path:
    for number in range(1, 4):
        trees.nifti(root / f"scan{number}.nii.gz", trees.picture(2, (16, 18), seed=number))
    return root


def contents(folder: Path) -> dict[str, bytes]:
    """Every file below a folder, hidden ones too."""
    return {str(p.relative_to(folder)): p.read_bytes() for p in folder.rglob("*") if p.is_file()}


@pytest.fixture(scope="module")
def prepared(tmp_path_factory) -> Path:
    """A folder with scans in "in" and the data set made from them in "own"."""
    root = tmp_path_factory.mktemp("prepared")
    prepare(Nifti(scans(root / "in")), root, ONE)
    return root


@pytest.fixture
def root(prepared, tmp_path) -> Path:
    return Path(shutil.copytree(prepared, tmp_path / "root"))


@pytest.mark.parametrize(
    "header", ["name,age\nanna,41\n", "split,volume,subject,split_by\ntrain,1,anna,subject\n", "\xff"]
)
def test_raw_scans_that_lie_where_the_data_set_would_are_kept(header, tmp_path):
    raw = scans(tmp_path / "datasets" / "own" / "s1")
    (raw.parent / "manifest.csv").write_text(header, encoding="latin-1")
    (raw.parent / "notes.txt").write_text("years of work", encoding="utf-8")
    before = contents(tmp_path)
    for source in (raw.parent, scans(tmp_path / "elsewhere")):
        with pytest.raises(InputError, match="lie in one another|own is there and is no prepared data set") as caught:
            prepare(Nifti(source), tmp_path / "datasets", ONE)
        assert "\n" not in str(caught.value)
    assert before.items() <= contents(tmp_path).items()


def add(case: str, own: Path) -> None:
    """Bring something into a prepared data set that no preparation has written."""
    match case:
        case "notes.txt" | "train/acc_4x/notes.txt":
            (own / case).write_text("mine", encoding="utf-8")
        case "train/acc_4x/99.h5":
            data.write_volume(own / case, trees.picture(2, (16, 18)), {})
        case "train/acc_4x/1.h5":
            with h5py.File(own / case, "w") as file:
                file["kspace"] = 1
        case "raw":
            (own / case).symlink_to(scans(own.parent / "away"))
        case "manifest.csv":
            (own / case).write_text("name,age\nanna,41\n", encoding="utf-8")
        case "no manifest":
            (own / "manifest.csv").unlink()


@pytest.mark.parametrize(
    "case",
    [
        "notes.txt",
        "train/acc_4x/notes.txt",
        "train/acc_4x/99.h5",
        "train/acc_4x/1.h5",
        "raw",
        "manifest.csv",
        "no manifest",
    ],
)
def test_a_data_set_with_something_of_ones_own_is_not_replaced(case, root):
    add(case, root / "own")
    before = contents(root)
    with pytest.raises(InputError, match="own is there and is no prepared data set, or not alone .*move the rest away"):
        prepare(Nifti(root / "in"), root, ONE)
    assert contents(root) == before


def test_what_comes_in_while_the_new_one_is_made_is_not_lost(root, monkeypatch):
    def draw(*arguments):
        add("notes.txt", root / "own")

    monkeypatch.setattr(pipeline.sheet, "draw", draw)
    with pytest.raises(InputError, match=r"not alone \(notes.txt\)"):
        prepare(Nifti(root / "in"), root, ONE)
    assert (root / "own" / "notes.txt").exists() and (root / "own" / "contact_sheet.png").exists()


@pytest.mark.parametrize("own", ["own", "in/own", "link", "file"])
def test_scans_and_data_set_must_not_lie_in_one_another(own, root, tmp_path):
    source, out = root / "in", root
    if own == "own":
        source = scans(root / "own" / "in")
    elif own == "in/own":
        out = root / "in"
    elif own == "link":
        (root / "own" / "scans").mkdir()
        shutil.move(root / "in" / "scan1.nii.gz", root / "own" / "scans")
        source = tmp_path / "linked"
        source.symlink_to(root / "own" / "scans")
    else:
        shutil.move(root / "in" / "scan1.nii.gz", root / "own")
        (root / "in" / "scan1.nii.gz").symlink_to(root / "own" / "scan1.nii.gz")
    before = contents(root)
    with pytest.raises(InputError, match="lie in one another: expected .*choose another --out or --name|not alone"):
        prepare(Nifti(source), out, ONE)
    assert contents(root) == before


def test_a_file_where_the_data_set_would_be(tmp_path):
    (tmp_path / "own").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="own is there and is no prepared data set"):
        prepare(Nifti(scans(tmp_path / "in")), tmp_path, ONE)


def test_what_systems_leave_behind_does_not_keep_a_data_set_from_being_replaced(root):
    before = contents(root / "own")
    for name in (".DS_Store", "._manifest.csv", "train/Thumbs.db", "train/acc_4x/._1.h5", "train/acc_4x/.nfs0000a1"):
        (root / "own" / name).write_bytes(b"system")
    prepare(Nifti(root / "in"), root, ONE)
    assert sorted(p.name for p in root.iterdir()) == ["in", "own"] and contents(root / "own") == before


def test_a_data_set_that_is_a_link_stays_one(root, tmp_path):
    scratch = tmp_path / "scratch" / "brains"
    scratch.parent.mkdir()
    shutil.move(root / "own", scratch)
    (root / "own").symlink_to(scratch)
    prepare(Nifti(root / "in"), root, replace(ONE, size="8"))
    assert (root / "own").is_symlink() and sorted(p.name for p in scratch.parent.iterdir()) == ["brains"]
    assert data.load_split(data.Split("own", "train", "4x", data_root=str(root))).x.shape[-1] == 8
    shutil.rmtree(scratch)  # as scratch folders are emptied
    prepare(Nifti(root / "in"), root, ONE)
    assert (root / "own").is_symlink() and (scratch / "manifest.csv").exists()


@pytest.mark.parametrize("target", [True, False])
def test_what_a_kill_has_left_of_a_replaced_data_set_does_not_block(target, root):
    before = contents(root / "own")
    shutil.copytree(root / "own", root / ".own.replaced") if target else (root / "own").rename(root / ".own.replaced")
    with pytest.raises(InputError, match="at least 8"):
        prepare(Nifti(root / "in"), root, replace(ONE, size="1"))
    options = replace(ONE, foreground=0.9999)
    with pytest.raises(InputError, match="only empty slices"):
        prepare(Nifti(root / "in"), root, options)
    assert sorted(p.name for p in root.iterdir()) == ["in", "own"] and contents(root / "own") == before
    (root / ".own.replaced" / "train").mkdir(parents=True)
    (root / ".own.replaced" / "train" / "mine.txt").write_text("mine", encoding="utf-8")
    prepare(Nifti(root / "in"), root, ONE)
    assert contents(root / "own") == before and list(contents(root / ".own.replaced")) == ["train/mine.txt"]


@pytest.mark.parametrize("name", [".own.partial", ".own.replaced", ".own.lock"])
def test_a_link_under_a_name_that_can_be_foreseen_is_not_followed(name, root, tmp_path):
    victim = Path(shutil.copytree(root / "own", tmp_path / "victim"))
    (victim / "plan").write_text("mine", encoding="utf-8")
    before = contents(victim)
    (root / name).symlink_to(victim if name != ".own.lock" else victim / "plan")
    if name == ".own.replaced":
        prepare(Nifti(root / "in"), root, ONE)
    else:
        with pytest.raises(InputError, match="own.partial is in the way.*move it away|cannot be written"):
            prepare(Nifti(root / "in"), root, ONE)
    assert contents(victim) == before


def test_a_disk_without_locks_and_a_second_process(root, monkeypatch):
    def acquire(lock):
        raise OSError(errno.ENOLCK, os.strerror(errno.ENOLCK))

    with (
        FileLock(root / ".own.lock"),
        pytest.raises(InputError, match="own is being prepared by another process: .*wait"),
    ):
        prepare(Nifti(root / "in"), root, ONE)
    (root / ".own.lock").unlink()
    monkeypatch.setattr(FileLock, "acquire", acquire)
    with SoftFileLock(root / ".own.lock.marker"), pytest.raises(InputError, match="or delete .own.lock.marker there"):
        prepare(Nifti(root / "in"), root, ONE)
    prepare(Nifti(root / "in"), root, ONE)
    assert sorted(p.name for p in root.iterdir()) == ["in", "own"]


def test_volumes_of_another_plan_that_cannot_be_removed_are_not_taken(root, monkeypatch):
    (root / "own").rename(root / ".own.partial")
    unlink = os.unlink

    def refuse(path, *arguments, **options):
        if str(path).endswith(".h5"):
            raise PermissionError(errno.EACCES, os.strerror(errno.EACCES), str(path))
        return unlink(path, *arguments, **options)

    monkeypatch.setattr(os, "unlink", refuse)
    with pytest.raises(InputError, match="cannot be written"):
        prepare(Nifti(root / "in"), root, replace(ONE, size="8"))
    assert not (root / "own").exists()


def test_a_workplace_that_holds_something_else_is_not_emptied(root):
    work = root / ".own.partial" / "train"
    work.mkdir(parents=True)
    (work / "mine.txt").write_text("mine", encoding="utf-8")
    with pytest.raises(InputError, match="mine.txt is in the way"):
        prepare(Nifti(root / "in"), root, ONE)
    assert (work / "mine.txt").exists()


def test_nothing_that_is_open_is_renamed_or_removed(root, monkeypatch):
    """Windows refuses both; here /proc tells what this process holds open."""
    if not Path("/proc/self/fd").is_dir():
        pytest.skip("no /proc/self/fd: open files cannot be listed")

    def guarded(call):
        def refuse(path, *arguments, **options):
            place = Path(os.path.realpath(path))
            for number in os.listdir("/proc/self/fd"):
                held = Path(os.path.realpath(f"/proc/self/fd/{number}"))
                if held.is_file() and held.is_relative_to(place):
                    raise PermissionError(13, "in use by another process", str(held))
            return call(path, *arguments, **options)

        return refuse

    for name in ("rename", "replace", "unlink", "rmdir"):
        monkeypatch.setattr(os, name, guarded(getattr(os, name)))
    before = contents(root / "own")
    prepare(Nifti(root / "in"), root, replace(ONE, size="8"))
    prepare(Nifti(root / "in"), root, ONE)
    assert contents(root / "own") == before and not [p for p in root.iterdir() if p.is_dir() and p.name[0] == "."]

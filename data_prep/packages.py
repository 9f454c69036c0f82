"""Public packages that hold images: fetched by name through their clients, checked, and read without being installed.

>>> from data_prep.packages import Package
>>> Package("a-1.0.tar.gz", "a==1.0", "0" * 64, "a-1.0/LICENSE").short
'a'
"""

import hashlib
import io
import lzma
import subprocess
import sys
import tarfile
import tempfile
from collections.abc import Iterable
from pathlib import Path
from typing import NamedTuple

from kdrecon.errors import InputError, first_line


class Package(NamedTuple):
    """A public package that holds scans.

    Attributes:
        name: of its file.
        version: package and version, as its client takes them.
        sha256: of the file.
        licence: the member with its text.
        isolated: whether pip may prepare it in an environment of its own: one that does not say what its setup.py imports
            is prepared in this one.
    """

    name: str
    version: str
    sha256: str
    licence: str
    isolated: bool = True

    @property
    def short(self) -> str:
        """The first word of its name."""
        return self.name.split("-")[0]


PYCORTEX = Package(
    "pycortex-1.4.0.tar.gz",
    "pycortex==1.4.0",
    "9fdb292a2df96bba6087ee07d428969ba1eb07ed03724bcfaca96ec8e28a5fd5",
    "pycortex-1.4.0/LICENSE",
)
MRICRON = Package(
    "mricron-data_1.2.20211006+dfsg-4_all.deb",
    "mricron-data=1.2.20211006+dfsg-4",
    "d40aa0ed66cf89bf6cafa049ad3884703c9d975c2ee2737525b7196528df9d6f",
    "./usr/share/doc/mricron-data/copyright",
)
PYRADIOMICS = Package(
    "pyradiomics-3.0.1.tar.gz",
    "pyradiomics==3.0.1",
    "47c57f441d6cb7973fa3b2ea48d3948df78e3348e1c69e1e2ff19001601fc2f5",
    "pyradiomics-3.0.1/LICENSE.txt",
    isolated=False,  # its setup.py imports numpy
)
ANTSPYX = Package(
    "antspyx-0.6.3.tar.gz",
    "antspyx==0.6.3",
    "48d1f5b6b2e8a90f6f66f14cdbdd4c37e20268f5db84cb9ac99256ecb9c72386",
    "antspyx-0.6.3/LICENSE",
)


def read_members(package: Package, names: Iterable[str], source: Path | None = None) -> dict[str, bytes]:
    """The contents of members of a package and of its licence, by name.

    Args:
        package: the package.
        names: of the members.
        source: folder with the package file; pip or apt-get fetches it when it is None.

    Raises:
        InputError: the package is missing, cannot be fetched, or is not the expected file.
    """
    content = fetch(package, source)
    if package.name.endswith(".deb"):
        content = lzma.decompress(_ar_member(content, "data.tar.xz"))
    found = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for name in (*names, package.licence):
            member = archive.extractfile(name)
            if not member:
                raise InputError(f"{package.name} has a folder or link at {name}: expected {package.version}")
            found[name] = member.read()
    return found


def fetch(package: Package, source: Path | None = None) -> bytes:
    """The package file out of the folder source, or as the package client of this machine finds it.

    Raises:
        InputError: it is missing, cannot be fetched, or is another file.
    """
    if source is None:
        content = _download(package)
    elif (source / package.name).is_file():
        content = (source / package.name).read_bytes()
    else:
        raise InputError(
            f"{source / package.name} does not exist: expected the package there; leave SOURCE out to have it fetched"
        )
    if (found := hashlib.sha256(content).hexdigest()) != package.sha256:
        raise InputError(f"{package.name} has sha256 {found}: expected {package.sha256}; fetch {package.version} again")
    return content


def _download(package: Package) -> bytes:
    """The package file, as the package client of this machine finds it by name and version."""
    name, _, number = package.version.partition("==")
    with tempfile.TemporaryDirectory() as folder:
        command, elsewhere = ["apt-get", "download", package.version], "in Debian's snapshot archive"
        if not package.name.endswith(".deb"):
            pinned = Path(folder) / "requirements.txt"  # pip builds nothing of a file with another hash
            pinned.write_text(f"{package.version} --hash=sha256:{package.sha256}\n", encoding="utf-8")
            command = [sys.executable, "-m", "pip", "download", "--disable-pip-version-check"]
            command += ["--no-build-isolation"] * (not package.isolated)
            command += ["--no-deps", "--no-binary", name, "-r", pinned.name]
            elsewhere = f"at https://pypi.org/project/{name}/{number}/#files"
        print(f"fetching {package.version}")
        try:
            subprocess.run(command, cwd=folder, capture_output=True, check=True)
            return (Path(folder) / package.name).read_bytes()
        except (OSError, subprocess.CalledProcessError) as error:
            raise InputError(
                f"{package.version} cannot be fetched ({_said(error)}): expected pip, apt-get, a connection and this "
                f"version; get {package.name} {elsewhere} and name the folder with all packages as SOURCE"
            ) from error


def _said(error: Exception) -> str:
    """What was wrong: the last line in which a client names an error; pip ends with notes."""
    lines = [line.strip() for line in getattr(error, "stderr", b"").decode(errors="replace").strip().splitlines()]
    return next((line for line in reversed(lines) if "Error" in line), lines[-1] if lines else first_line(error))


def _ar_member(content: bytes, wanted: str) -> bytes:
    """A member of an ar archive: 8 bytes of magic, then 60-byte headers, each followed by its data padded to even length."""
    position = 8
    while position < len(content):
        header = content[position : position + 60]
        name, size = header[:16].decode().strip().rstrip("/"), int(header[48:58])
        position += 60
        if name == wanted:
            return content[position : position + size]
        position += size + size % 2
    raise InputError(f"the Debian package holds no {wanted}: expected one; fetch the package again")

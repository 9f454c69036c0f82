"""What made a run besides its parameters: versions, processor, git revision.

>>> from kdrecon.runs.versions import environment
>>> "torch" in environment()
True
"""

import contextlib
import platform
import subprocess
from importlib import metadata

import torch

from kdrecon import __version__
from kdrecon.storage.places import PACKAGES, is_checkout


def environment() -> dict[str, str]:
    """Versions, processor and git revision behind a run: everything that made it besides its parameters."""
    packages = ("numpy", "h5py", "scikit-image")
    git = "unknown"
    if is_checkout(PACKAGES):  # an installed copy may lie in a repository that is not its own
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = ["git", "describe", "--always", "--dirty", "--abbrev=12"]
            done = subprocess.run(
                command, cwd=PACKAGES, capture_output=True, text=True, encoding="utf-8", timeout=10, check=True
            )
            git = done.stdout.strip()
    return {
        "kdrecon": __version__,
        "python": platform.python_version(),
        "torch": torch.__version__,  # names the build, CPU or CUDA, too
        **{name: metadata.version(name) for name in packages},
        "platform": f"{platform.system()} {platform.machine()}",
        "threads": str(torch.get_num_threads()),
        "git": git,
    }

"""Batch runs: papermill executes the notebooks in order with one set of parameters.

>>> from pathlib import Path
>>> from kdrecon.app.batch import run
>>> from kdrecon.runs.parameters import Parameters
>>> run(Parameters(epochs=1), Path("runs/mine"), sorted(Path("notebooks").glob("0*.ipynb")))  # doctest: +SKIP
"""

import ast
import contextlib
import hashlib
import importlib.util
import json
import os
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping
from dataclasses import asdict, replace
from pathlib import Path
from typing import Any

import nbformat
import papermill
import yaml
from nbclient.exceptions import DeadKernelError

from kdrecon.app.pages import page
from kdrecon.errors import InputError
from kdrecon.results.archive import damaged
from kdrecon.results.report import write_results
from kdrecon.runs.laboratory import Laboratory
from kdrecon.runs.parameters import Parameters
from kdrecon.storage.files import alone_in, write_json, write_text
from kdrecon.storage.records import read_json
from kdrecon.training.recipe import JOBS


class NotebookFailed(Exception):
    """A notebook stopped with an error; it is kept as far as it came."""


def run(parameters: Parameters, out: Path, notebooks: list[Path], jobs: int | None = None) -> list[str]:
    """Execute notebooks with the parameters; results go to {out}, finished work is not done again.

    {out}/notebooks/ receives the executed notebooks as .ipynb and .html, {out}/experiments/ the networks,
    {out}/summary.csv a row a model, {out}/comparisons.csv the paired comparisons and {out}/report.html a page with
    everything. A notebook is skipped when it has already run with the same source and parameters, and left out where a
    package that it imports is not installed; networks that an interrupted one trained are found again. Where a network of
    the run cannot be read, all notebooks run again.

    Args:
        parameters: of all notebooks.
        out: the folder of the run.
        notebooks: in their order.
        jobs: trainings side by side in a notebook, see :func:`kdrecon.training.recipe.resolve_jobs`.

    Returns:
        as :func:`kdrecon.results.report.write_results`.

    Raises:
        InputError: the data cannot be used, or another run is at work in the folder. Nothing is written then.
        NotebookFailed: a notebook stopped with an error; it is kept, and a rerun continues there.
    """
    out = out.resolve()
    parameters = parameters.inside(out)
    if any((out / "notebooks").resolve() == notebook.parent.resolve() for notebook in notebooks):
        raise InputError(
            f"{out} holds the notebooks that are to be executed: expected another folder; choose another --out"
        )
    Laboratory(**asdict(parameters), jobs=jobs)
    with alone_in(out), this_python(jobs):
        (out / "notebooks").mkdir(exist_ok=True)
        write_text(out / "params.yaml", yaml.safe_dump(asdict(replace(parameters, run_root="")), sort_keys=False))
        if faults := damaged(out):
            print(f"the notebooks run again, because {faults[0]}", file=sys.stderr)
            (out / "notebooks" / "finished.json").unlink(missing_ok=True)
        for number, notebook in enumerate(notebooks, 1):
            progress = f"[{number}/{len(notebooks)}] {notebook.stem}"
            if missing := lacking(notebook):
                print(
                    f"{progress}: left out, it needs {', '.join(missing)}; install that and run the same command again"
                )
                continue
            started = time.perf_counter()
            state = "done" if _execute(notebook, out / "notebooks", asdict(parameters)) else "already done"
            print(f"{progress}: {state}, {time.perf_counter() - started:.0f} s", flush=True)
        left_out = write_results(out) if any(out.glob("experiments/*/acc_*/*/metrics.csv")) else []
    written = [path for path in (out / "report.html", out / "notebooks") if path.exists()]
    print(f"results: {_friendly(written[0])}")
    return left_out


def lacking(notebook: Path) -> list[str]:
    """The packages that a notebook imports and that are not installed."""
    names = dict[str, None]()
    for cell in nbformat.read(notebook, as_version=4).cells:
        with contextlib.suppress(SyntaxError):  # of markdown, or what only IPython understands
            for node in ast.parse(cell.source).body:
                if isinstance(node, ast.Import):
                    names |= dict.fromkeys(alias.name.partition(".")[0] for alias in node.names)
                elif isinstance(node, ast.ImportFrom) and node.module:
                    names[node.module.partition(".")[0]] = None
    return [name for name in names if importlib.util.find_spec(name) is None]


def injected(notebook: Path, parameters: Mapping[str, Any]) -> dict[str, Any]:
    """What papermill is to put into a notebook: the parameters that its cell shows by name, all others as ``settings``.

    Those at their default are left out of the settings. A notebook without settings gets every parameter by its name.
    """
    cells = [c for c in nbformat.read(notebook, as_version=4).cells if "parameters" in c.metadata.get("tags", [])]
    nodes = [node for cell in cells for node in ast.walk(ast.parse(cell.source))]
    named = {node.id for node in nodes if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    if "settings" not in named:
        return dict(parameters)
    usual = asdict(Parameters())
    settings = {name: value for name, value in parameters.items() if name not in named and value != usual[name]}
    return {name: value for name, value in parameters.items() if name in named} | {"settings": settings}


def _execute(notebook: Path, folder: Path, parameters: dict) -> bool:
    """Execute one notebook unless it has run before; whether it was executed now."""
    executed, record_path = folder / notebook.name, folder / "finished.json"
    finished = read_json(record_path)
    fingerprint = hashlib.sha256(notebook.read_bytes() + json.dumps(parameters).encode()).hexdigest()
    if finished.get(notebook.stem) == fingerprint and executed.exists():
        return False
    try:
        execute(notebook, folder, parameters)
    except NotebookFailed as failure:
        write_json(record_path, finished | {notebook.stem: f"failed: {failure}"})
        raise NotebookFailed(
            f"{failure}; it is kept as {_friendly(executed)}; run the same command again to continue from there"
        ) from None
    write_json(record_path, finished | {notebook.stem: fingerprint})
    return True


def execute(notebook: Path, folder: Path, parameters: Mapping[str, Any]) -> None:
    """Execute a notebook in a folder; it receives the executed notebook and its page, also where that stopped.

    Raises:
        NotebookFailed: a cell raised an error, or the kernel died.
    """
    executed = folder / notebook.name
    try:
        papermill.execute_notebook(
            _verbatim(notebook), _verbatim(executed), injected(notebook, parameters), kernel_name="python3", cwd=folder,
            progress_bar=False, log_output=False,
        )  # fmt: skip
    except papermill.PapermillExecutionError as error:
        message, _, _ = str(error.evalue).partition("\n")
        raise NotebookFailed(f"{notebook.stem} failed in cell {error.cell_index} ({error.ename}: {message})") from None
    except DeadKernelError:
        raise NotebookFailed(f"the kernel of {notebook.stem} died, which is often a lack of memory") from None
    finally:
        if executed.exists():
            write_text(executed.with_suffix(".html"), page(nbformat.read(executed, as_version=4), notebook.stem))


def _verbatim(path: Path) -> str:
    """The path as papermill takes it, which fills in what stands in braces."""
    return str(path).replace("{", "{{").replace("}", "}}")


@contextlib.contextmanager
def this_python(jobs: int | None = None) -> Iterator[None]:
    """Kernels called python3 are this interpreter, whatever kernels are installed; they draw no progress bars.

    Args:
        jobs: trainings side by side in each of them; None leaves it to the environment.
    """
    with tempfile.TemporaryDirectory() as folder:
        kernel = Path(folder) / "kernels" / "python3"
        kernel.mkdir(parents=True)
        argv = [sys.executable, "-m", "ipykernel_launcher", "-f", "{connection_file}", "--log-level=CRITICAL"]
        write_json(kernel / "kernel.json", {"argv": argv, "display_name": "Python 3", "language": "python"})
        search = os.pathsep.join(filter(None, [folder, os.environ.get("JUPYTER_PATH")]))
        changed = {
            "JUPYTER_PATH": search,
            "TQDM_DISABLE": "1",
            "MPLBACKEND": "module://matplotlib_inline.backend_inline",
        } | ({} if jobs is None else {JOBS: str(jobs)})
        before = {name: os.environ.get(name) for name in changed}
        os.environ.update(changed)
        try:
            yield
        finally:
            for name, value in before.items():
                os.environ.pop(name) if value is None else os.environ.update({name: value})


def _friendly(path: Path) -> str:
    with contextlib.suppress(ValueError):
        return str(path.relative_to(Path.cwd()))
    return str(path)

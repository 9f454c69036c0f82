"""The command line: kdrecon run, train, study, report, curves, import-released, score, reconstruct, export, bench, info.

>>> from typer.testing import CliRunner
>>> from kdrecon.app.cli import app
>>> CliRunner().invoke(app, ["info"]).exit_code
0
"""

import math
import sys
import time
from collections.abc import Callable
from dataclasses import asdict
from pathlib import Path
from typing import TYPE_CHECKING, Annotated, Any, TypeVar

import typer

from kdrecon.app import console
from kdrecon.choices import MARGIN, TOLERANCES
from kdrecon.errors import Busy, InputError, shown
from kdrecon.runs.shipped import find_network
from kdrecon.storage.places import notebooks, quick_parameters, runs
from kdrecon.training.recipe import check_jobs

if TYPE_CHECKING:
    from kdrecon.runs.parameters import Parameters

PAUSE = 5.0  # seconds between two looks at a folder in which another process is at work
T = TypeVar("T")

app = console.application("A teaching laboratory for knowledge distillation in accelerated MRI reconstruction.")
NETWORK = typer.Argument(
    help="experiment folder, best_model.pt, exported .onnx, or name of one that ships, D2C5_student"
)


@app.command()
def run(
    params: Annotated[Path | None, typer.Option(help="YAML file of parameters; params/quick.yaml by default")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder of the run; runs/NAME of the parameter file by default")
    ] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="overrides the file")
    ] = None,
    first: Annotated[str, typer.Option("--from", metavar="NN", help="begin with this notebook")] = "",
    only: Annotated[str, typer.Option("--only", metavar="NN", help="run this notebook alone")] = "",
    jobs: Annotated[
        int | None,
        typer.Option(
            metavar="N", help="trainings side by side, each on cores/N threads; by default the cores, at most 5"
        ),
    ] = None,
) -> None:
    """Execute the notebooks in order through papermill: networks, executed notebooks, table and report."""
    if jobs is not None:
        check_jobs(jobs, "--jobs")
    chosen = choose_notebooks(notebooks(), first, only)
    parameters, out = _run(params, out, assignments or [])
    from kdrecon.app import batch

    try:
        left_out = batch.run(parameters, out, chosen, jobs)
    except batch.NotebookFailed as error:
        print(f"error: {error}", file=sys.stderr)
        raise typer.Exit(1) from None
    raise typer.Exit(bool(left_out))


@app.command()
def train(
    network: Annotated[
        str, typer.Option(metavar="NAME", help="such as teacher, student, sft, kd-at, control-sftkd-at")
    ],
    params: Annotated[Path | None, typer.Option(help="YAML file of parameters; params/quick.yaml by default")] = None,
    out: Annotated[
        Path | None, typer.Option(help="folder of the run; runs/NAME of the parameter file by default")
    ] = None,
    seed: Annotated[int | None, typer.Option(help="overrides the file")] = None,
    assignments: Annotated[
        list[str] | None, typer.Option("-p", metavar="NAME=VALUE", help="overrides the file")
    ] = None,
    evaluate: Annotated[bool, typer.Option("--evaluate", help="then score it: metrics.csv and results/")] = False,
    start: Annotated[
        str,
        typer.Option("--init-from", metavar="NETWORK", help="begin with the weights of this network of another run"),
    ] = "",
) -> None:
    """Train one network of a run, after what it needs, on all cores, and say where it lies; what is finished is found.

    Where another process trains the same network, or one that it needs, this one waits for it.
    """
    from kdrecon.runs.experiment import check_name, check_startable

    check_name(network)
    if start:
        check_startable(network)
    first = find_network(start) if start else None
    parameters, out = _run(params, out, [*(assignments or []), *([] if seed is None else [f"seed={seed}"])])
    parameters = parameters.inside(out)
    from kdrecon.runs.laboratory import Laboratory

    lab = Laboratory(**asdict(parameters), jobs=1)
    try:
        trained = _waiting(lambda: lab.named(network, ready=False, start=first))
    except FloatingPointError as error:
        raise InputError(str(error)) from None
    if evaluate:
        from kdrecon.results import evaluation

        _waiting(lambda: evaluation.evaluate(lab, trained))
    print(f"{trained.experiment.title}, seed {trained.experiment.seed}: {trained.folder}")


@app.command()
def study(
    matrix: Annotated[Path, typer.Argument(help="matrix file, such as study/quick.yaml")],
    out: Annotated[
        Path | None, typer.Option(help="folder of the study; runs/study-NAME of the file by default")
    ] = None,
    profile: Annotated[str, typer.Option(help="of study/profiles: local or slurm; or a folder")] = "local",
    jobs: Annotated[int | None, typer.Option(min=1, help="trainings side by side")] = None,
    dry_run: Annotated[bool, typer.Option("--dry-run", help="plan, start nothing")] = False,
    status: Annotated[bool, typer.Option("--status", help="say how far it is, start nothing")] = False,
    export: Annotated[
        Path | None, typer.Option(help="write the tables of what is done to this folder, start nothing")
    ] = None,
) -> None:
    """Train and score every network of a matrix through Snakemake, here or on a cluster; then write the tables."""
    from kdrecon.app import study

    out = (out or runs() / f"study-{matrix.stem}").resolve()
    if status:
        study.status(matrix, out)
    elif export:
        study.export(matrix, out, export)
    elif not study.run(matrix, out, profile, jobs, dry_run):
        raise typer.Exit(1)


@app.command()
def report(
    run: Annotated[Path, typer.Argument(help="folder of a run")],
    against: Annotated[
        list[str] | None,
        typer.Option(metavar="COLUMN=VALUE", help="compare with the network that has this in summary.csv, too"),
    ] = None,
    volume_wise: Annotated[
        bool, typer.Option("--volume-wise", help="write volume_wise.csv and its section, too")
    ] = False,
    margin: Annotated[
        float,
        typer.Option(help="dB of PSNR below which networks are taken for equal; chosen before the figures are seen"),
    ] = MARGIN["psnr"],
    matrix: Annotated[
        Path | None, typer.Option(help="of the study that the run is: its notebook is executed, too")
    ] = None,
) -> None:
    """Write summary.csv, comparisons.csv and report.html of a run anew."""
    reference = _assigned("--against", against or [])
    from kdrecon.results.report import write_results

    if matrix:
        from kdrecon.app import study

        study.execute_notebook(matrix, run)
    left_out = write_results(run, reference, volume_wise, margin)
    print(run / "report.html")
    raise typer.Exit(bool(left_out))


@app.command()
def curves(
    networks: Annotated[list[Path], typer.Argument(help="experiment folders of trained networks")],
    out: Annotated[Path, typer.Option(help="PNG file to write, such as curves.png")],
) -> None:
    """Draw the validation L1 of trainings over their epochs, side by side."""
    _check_suffix(out, ".png", "curves.png")
    from kdrecon.app.curves import draw_curves

    draw_curves(networks, out)
    print(out)


@app.command()
def power(
    run: Annotated[
        Path | None, typer.Argument(help="folder of a run with several seeds, whose spread is taken")
    ] = None,
    effect: Annotated[float, typer.Option(help="difference that is to be shown, in dB of PSNR")] = 0.1,
    people: Annotated[list[int] | None, typer.Option(help="how many, more than once; by default 6, 9, 15, 30")] = None,
    seeds: Annotated[list[int] | None, typer.Option(help="how many, more than once; by default 2, 3, 5, 10")] = None,
    comparisons: Annotated[int, typer.Option(min=1, help="that are tested at once")] = 1,
    sd_people: Annotated[float | None, typer.Option(help="of a difference over people, in dB")] = None,
    sd_seeds: Annotated[float | None, typer.Option(help="of a difference over seeds, in dB")] = None,
    sd_interaction: Annotated[float | None, typer.Option(help="of what neither explains, in dB")] = None,
    networks: Annotated[
        int | None,
        typer.Option(min=2, help="of the study, that tell what seeds vary by; by default those of the run, or 2"),
    ] = None,
    studies: Annotated[int, typer.Option(min=0, help="to simulate beside it, such as 500")] = 0,
) -> None:
    """How often a difference is shown, by people and seeds, and how many people it takes to show it in 80 of 100 studies."""
    sds: dict[str, Any] = {"sd_people": sd_people, "sd_seeds": sd_seeds, "sd_interaction": sd_interaction}
    if run is None and None in sds.values():
        raise InputError("no spread: expected the folder of a run, or --sd-people, --sd-seeds and --sd-interaction")
    from kdrecon.results.comparisons import comparisons as compared
    from kdrecon.results.power import TypicalSpread, power_table, typical_spread

    found = typical_spread(compared(run, metrics=("psnr",))) if run else TypicalSpread(math.nan, math.nan, math.nan)
    given = {name: value for name, value in {**sds, "networks": networks}.items() if value is not None}
    spread = found._replace(**given)
    table = power_table(effect, spread, people or [6, 9, 15, 30], seeds or [2, 3, 5, 10], comparisons, studies=studies)
    told = ", ".join(f"{name.removeprefix('sd_')} {getattr(spread, name):.3f}" for name in sds)
    print(
        f"a difference of {effect:g} dB; standard deviations of a difference: {told} dB; "
        f"that over seeds is known from {spread.networks} networks{'; (simulated)' if studies else ''}"
    )
    print(table.to_string(index=False))


@app.command("import-released")
def import_released(
    path: Annotated[Path, typer.Argument(help="best_model.pt of the released code")],
    out: Annotated[Path, typer.Option(help="folder of the run that receives the network")],
    dataset: Annotated[str, typer.Option(help="such as cardiac; by default what the file says")] = "",
    acceleration: Annotated[str, typer.Option(help="such as 4x; by default what the file says")] = "",
    resolution: Annotated[int, typer.Option(help="side of square images; 0 is the data set's usual size")] = 0,
    method: Annotated[str, typer.Option(help="of a distilled student: how")] = "",
    teacher: Annotated[str, typer.Option(help="of a distilled student: standard or sft")] = "",
    evaluate: Annotated[bool, typer.Option("--evaluate", help="score it at once on the data set")] = False,
    data_root: Annotated[str, typer.Option(help="folder of prepared data sets, for --evaluate")] = "",
) -> None:
    """Read a checkpoint of the released code, safely, into an experiment folder of a run."""
    from kdrecon.released.importing import import_checkpoint
    from kdrecon.results import evaluation
    from kdrecon.runs.laboratory import Laboratory
    from kdrecon.runs.networks import open_network

    folder = import_checkpoint(path, out.resolve(), dataset, acceleration, resolution, method, teacher)
    network = open_network(folder)
    e = network.experiment
    print(f"{e.architecture} {e.kind}, {e.dataset} {e.acceleration}: {folder}")
    if evaluate:
        data_root = data_root and str(Path(data_root).resolve())
        resolution = e.resolution if isinstance(e.resolution, int) else 0
        lab = Laboratory(
            dataset=e.dataset, acceleration=e.acceleration, resolution=resolution, data_root=data_root,
            run_root=str(out.resolve()), ready=False, switches={"mask_type": e.switches.mask_type},
        )  # fmt: skip
        evaluation.evaluate(lab, open_network(folder, lab.device))
        print((folder / "report.txt").read_text(encoding="utf-8"), end="")


@app.command()
def score(
    targets: Annotated[Path, typer.Argument(help="folder of .h5 files with volfs or target")],
    reconstructions: Annotated[Path, typer.Argument(help="folder of .h5 files of the same names with reconstruction")],
    out: Annotated[Path | None, typer.Option(help="CSV file for the table, such as metrics.csv")] = None,
    volume_wise: Annotated[bool, typer.Option("--volume-wise", help="a row a volume instead of a slice")] = False,
) -> None:
    """Score reconstructions that were made elsewhere, slice by slice."""
    if out and out.suffix.lower() != ".csv":
        raise InputError(f"--out {out}: expected a CSV file, such as metrics.csv; other files are not overwritten")
    from kdrecon.results.scoring import score_folders
    from kdrecon.storage.files import write_table

    table = score_folders(targets, reconstructions, volume_wise)
    unit = "volume" if volume_wise else "slice"
    if out:
        write_table(table, out)
    figures = table.drop(columns=["volume", "slice", "subject"], errors="ignore")
    print(f"{len(table)} {unit}s of {table.subject.nunique()} subject(s); the range is each {unit}'s target maximum")
    print(figures.agg(["mean", "std"]).T.to_string(float_format="{:.5g}".format))


@app.command()
def reconstruct(
    network: Annotated[str, NETWORK],
    scan: Annotated[
        Path,
        typer.Argument(help="NIfTI file, folder of a DICOM series, volume file, or measured k-space (.h5, ISMRMRD)"),
    ],
    out: Annotated[Path, typer.Option(help="file to write, of the scan's kind; for DICOM a new folder")],
    plane: Annotated[str, typer.Option(help="of a NIfTI scan: acquired, axial, coronal or sagittal slices")] = "",
    match: Annotated[str, typer.Option(help="of DICOM: regular expression for the series description")] = "",
    full: Annotated[
        bool, typer.Option("--fully-sampled", help="images are fully sampled, even where they look otherwise")
    ] = False,
) -> None:
    """Run a network on a scan: its own file in the same geometry, and a picture. Not for clinical use."""
    find_network(network)
    from kdrecon.app.scans.scan import check_out

    check_out(scan, out)
    from kdrecon.app.reconstruct import reconstruct_scan

    reconstruct_scan(network, scan, out, {"plane": plane, "match": match}, full)


@app.command()
def bench(
    networks: Annotated[list[str], NETWORK],
    repeats: Annotated[int, typer.Option(min=1, help="of each call")] = 15,
    memory: Annotated[bool, typer.Option(help="measure peak memory, too, in processes of its own")] = True,
) -> None:
    """Time networks side by side in PyTorch, ONNX Runtime and, where it is installed, OpenVINO."""
    for network in networks:
        find_network(network)
    from kdrecon.deploy.benchmark import bench

    table = bench(networks, repeats=repeats, memory=memory)
    print("ms a slice: median and quartiles; ratio: to the first row of equal threads and batch")
    print(table.to_string(index=False, float_format="{:.2f}".format))


@app.command()
def export(
    network: Annotated[str, NETWORK],
    out: Annotated[Path, typer.Option(help="ONNX file to write, such as student.onnx")],
    precision: Annotated[str, typer.Option(help=f"of its convolutions: {', '.join(TOLERANCES)}")] = "fp32",
) -> None:
    """Write a network as an ONNX file that needs no PyTorch, after it is proven equal on the embedded sample."""
    if precision not in TOLERANCES:
        raise InputError(f"--precision {shown(precision)}: expected one of {', '.join(TOLERANCES)}")
    _check_suffix(out, ".onnx", "student.onnx")
    find_network(network)
    from kdrecon.deploy.deployed import open_deployed
    from kdrecon.deploy.exporting import export

    deployed = open_deployed(network)
    found = export(deployed, out, precision)
    print(f"{deployed.title}, {precision}: {out}, {found.bytes / 1000:.0f} kB, licence {deployed.licence}")
    print(
        f"largest difference from PyTorch on the sample: {found.error:.2g} (at most {TOLERANCES[precision]:g} is let pass)"
    )
    print(f"PSNR on the sample: {found.psnr[1]:.3f} dB, PyTorch {found.psnr[0]:.3f} dB, loss {found.loss:z.3f} dB")


@app.command()
def info(
    cost: Annotated[bool, typer.Option("--cost", help="also measure their speed, in less than a minute")] = False,
    size: Annotated[int, typer.Option(help="side of the images for --cost")] = 150,
) -> None:
    """Versions, device and precision, and the sizes of the networks."""
    import torch

    from kdrecon.models.dccnn import count_parameters, dc_cnn
    from kdrecon.physics.sampling import line_mask
    from kdrecon.results.cost import inference_cost
    from kdrecon.runs.parameters import Parameters
    from kdrecon.runs.versions import environment
    from kdrecon.tasks import Reconstruction
    from kdrecon.training.recipe import resolve_precision

    device = Parameters().torch_device
    for name, value in {**environment(), "device": device.type, "precision": resolve_precision("auto", device)}.items():
        print(f"{name:14s} {value}")
    networks = {name: dc_cnn(name) for name in ("D5C5", "D4C5", "D3C5", "D2C5")}
    for name, network in networks.items():
        print(f"{name:14s} {count_parameters(network):,} parameters")
    for place in {"cpu", device.type} if cost else ():
        print(f"\n{place}, {torch.get_num_threads()} CPU threads, {size} x {size}:")
        task = Reconstruction(line_mask((size, size), "4x"))
        table = inference_cost(networks, task, (size, size), torch.device(place))
        print(table.to_string(index=False, float_format="{:.2f}".format))


@app.command()
def ship(
    epochs: Annotated[int, typer.Option(help="epochs of each training")] = 50,
    run: Annotated[Path | None, typer.Option(help="folder of a run or study that may have trained them")] = None,
    device: Annotated[str, typer.Option(help="auto, cpu or cuda")] = "auto",
) -> None:
    """Write the networks that ship with the repository to kdrecon/weights/: trained anew, or taken from a run."""
    from kdrecon.runs import shipped

    shipped.ship(epochs, run, device)


def choose_notebooks(folder: Path, first: str = "", only: str = "") -> list[Path]:
    """The notebooks of a folder in order, from the number ``first`` on, or the one numbered ``only``."""
    notebooks = sorted(folder.glob("[0-9]*.ipynb"))
    numbers = [path.name[:2] for path in notebooks]
    for option, number in (("--from", first), ("--only", only)):
        if number and number not in numbers:
            raise InputError(f"{option} {number}: expected the number of a notebook, one of {', '.join(numbers)}")
    return [p for p, n in zip(notebooks, numbers) if n >= first and only in ("", n)]


def _run(params: Path | None, out: Path | None, assignments: list[str]) -> "tuple[Parameters, Path]":
    """Parameters and folder of a run as its options give them."""
    from kdrecon.runs.parameters import read_parameters

    params = params or quick_parameters()
    parameters = read_parameters(params, assignments)
    if parameters.run_root:
        raise InputError(f"run_root = {shown(parameters.run_root)}: expected it empty here; name the folder with --out")
    return parameters, out or runs() / params.stem


def _check_suffix(out: Path, suffix: str, example: str) -> None:
    """Refuse a file of another kind, which would be overwritten."""
    if not out.name.lower().endswith(suffix):
        raise InputError(f"--out {out}: expected a file that ends in {suffix}, such as {example}")


def _waiting(call: Callable[[], T]) -> T:
    """What the call returns, once no other process is at work where it has to be."""
    told = ""
    while True:
        try:
            return call()
        except Busy as error:
            if str(error) != told:
                print(told := str(error), flush=True)
            time.sleep(PAUSE)


def _assigned(option: str, assignments: list[str]) -> dict[str, str]:
    """Values by name from NAME=VALUE texts."""
    for assignment in assignments:
        if "=" not in assignment:
            raise InputError(f"{option} {assignment!r}: expected name=value, such as {option} model=sft_teacher")
    return dict(assignment.split("=", 1) for assignment in assignments)


def main() -> None:
    """Run the command that the command line names."""
    console.run(app)

"""What a study survives, and how it grows.

Snakemake and two trainings of it are killed (SIGKILL) at random moments of study/tiny.yaml, and the same command goes on;
survived is what ends with the weights of an undisturbed study, bit for bit. Then a matrix of many networks is planned and
summarised, its results made up.

    python benchmarks/study.py [--kills 10] [--networks 10000]
"""

import argparse
import os
import random
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import psutil
import torch

TESTS = Path(__file__).resolve().parent.parent / "tests"
sys.path.insert(0, str(TESTS))
from studies import start, weights  # noqa: E402

from kdrecon.runs.matrix import Job, read_matrix  # noqa: E402
from kdrecon.runs.record import Evaluation, Record, write_record  # noqa: E402
from kdrecon.storage.places import study_engine  # noqa: E402

TINY = study_engine() / "tiny.yaml"
LARGE = """
resolution: 48
epochs: [1, 2, 3, 4, 5]
acceleration: ["4x", "5x"]
student_network: [D3C5, D2C5, D4C5]
residual: [true, false]
networks: [teacher, student, sft, control-sftkd-at]
methods: [at, fitnets, cc, fsp, sp]
seed: [{seeds}]
"""


def kill(process: subprocess.Popen) -> int:
    """Kill the Snakemake of a study and two of its trainings; how many processes that were."""
    below = psutil.Process(process.pid).children(recursive=True)
    engine = [p for p in below if "snakemake" in " ".join(p.cmdline()[:3])]
    trainings = [p for p in below if "train" in p.cmdline() and "bash" not in p.name()]
    found = [*engine, *trainings[:2]]
    for each in found:
        each.kill()
    process.wait()
    return len(found)


def kills(folder: Path, times: int) -> None:
    began = time.perf_counter()
    assert start(TINY, folder / "whole").wait() == 0
    seconds, whole = time.perf_counter() - began, weights(folder / "whole")
    print(f"an undisturbed study: {len(whole)} networks in {seconds:.0f} s", flush=True)
    moment, hits, processes, equal, study = random.Random(0), 0, 0, 0, 0
    while hits < times:
        out, before = folder / f"killed-{study}", hits
        while hits < min(before + 5, times):
            process = start(TINY, out)
            time.sleep(moment.uniform(3, seconds / 3))
            if process.poll() is not None:
                break
            processes, hits = processes + kill(process), hits + 1
            print(f"kill {hits}: {len(list(out.glob('experiments/*/*/*/metrics.csv')))} networks done", flush=True)
        finished, ours = start(TINY, out).wait() == 0, weights(out)
        same = ours.keys() == whole.keys() and all(torch.equal(ours[name], whole[name]) for name in whole)
        equal, study = equal + (finished and same), study + 1
        print(f"study {study}: {hits - before} times killed; finished {finished}, equal weights {same}", flush=True)
    print(f"{hits} times {processes} processes killed in {study} studies; {equal} ended with equal weights")


def made_up(job: Job, out: Path) -> None:
    """The folder of a network as it would be once it is trained and scored."""
    folder = job.experiment.folder(out)
    folder.mkdir(parents=True)
    made_from = Evaluation("weights", "slices", "test")
    config = job.experiment.config() | {"data": "data"}
    write_record(Record(config, 1000, True, "trained", 100, 1, "fp32", "contiguous", evaluation=made_from), folder)
    random_numbers = random.Random(str(folder))
    header = "volume,slice,subject,psnr,ssim,nmse,mse,hfn,vif\n"
    rows = (f"{k // 2},{k},{k // 2}," + ",".join(f"{random_numbers.random():.6f}" for _ in range(6)) for k in range(20))
    (folder / "metrics.csv").write_text(header + "\n".join(rows), encoding="utf-8")
    (folder / "best_model.pt").touch()


def measured(*command: str) -> str:
    """A command's wall time, processor time and memory."""
    began = time.perf_counter()
    process = subprocess.Popen([sys.executable, "-m", *command], stdout=subprocess.PIPE, text=True)
    printed = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    spent = f"{time.perf_counter() - began:.0f} s, of a processor {usage.ru_utime + usage.ru_stime:.0f} s"
    return f"{spent}, at most {usage.ru_maxrss / 2**10:.0f} MiB, status {status}; {printed.splitlines()[0][-60:]}"


def on_a_node(matrix: Path, job: Job, out: Path) -> str:
    """What Snakemake takes on a node of a cluster before it trains one network of a matrix."""
    network = job.experiment.folder(Path()).as_posix().removeprefix("experiments/")
    options = ["--mode", "remote", "--target-jobs", f"network:network={network}", "--allowed-rules", "network"]
    options += ["--config", f"matrix={matrix}", "--cores", "1", "--nolock", "--force", "--dry-run"]
    return measured("snakemake", "--snakefile", str(study_engine() / "Snakefile"), "--directory", str(out), *options)


def scale(folder: Path, networks: int) -> None:
    (matrix := folder / "large.yaml").write_text(LARGE.format(seeds=", ".join(map(str, range(networks // 800)))))
    jobs = list(read_matrix(matrix).jobs())
    print(f"{len(jobs)} networks")
    print(
        "dry run:", measured("kdrecon", "study", str(matrix), "--out", str(folder / "large"), "--dry-run"), flush=True
    )
    for job in jobs:
        made_up(job, folder / "large")
    print("status:", measured("kdrecon", "study", str(matrix), "--out", str(folder / "large"), "--status"), flush=True)
    for path in (TINY, matrix):
        (*_, last) = (job for job in read_matrix(path).jobs() if not job.needs)
        print(f"the last network of {path.stem}, on a node:", on_a_node(path, last, folder / "large"), flush=True)
    report = ["kdrecon", "report", str(folder / "large")]
    print("report:", measured(*report), flush=True)
    print("with the study's notebook:", measured(*report, "--matrix", str(matrix)), flush=True)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--kills", type=int, default=10)
    parser.add_argument("--networks", type=int, default=10000)
    options = parser.parse_args()
    with tempfile.TemporaryDirectory() as name:
        if options.kills:
            kills(Path(name), options.kills)
        if options.networks:
            scale(Path(name), options.networks)


if __name__ == "__main__":
    main()

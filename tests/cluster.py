"""A Slurm cluster on this machine, in a temporary folder and on ports of its own: a controller and two nodes."""

import contextlib
import os
import secrets
import shutil
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from pathlib import Path

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "srun", "scontrol")
NODES = ("n1", "n2")
CONFIGURATION = """
ClusterName=test
SlurmctldHost={host}(127.0.0.1)
SlurmctldPort={ports[0]}
AuthType=auth/munge
AuthInfo=socket={folder}/munge.socket
CredType=cred/munge
SlurmUser=root
SlurmdUser=root
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool-%n
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd-%n.pid
SlurmdParameters=config_overrides
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SwitchType=switch/none
MpiDefault=none
SelectType=select/cons_tres
SelectTypeParameters=CR_Core
AccountingStorageType=accounting_storage/none
JobAcctGatherType=jobacct_gather/none
MinJobAge=3600
KillWait=5
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName=n1 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[1]} CPUs=1 RealMemory=8000
NodeName=n2 NodeHostname={host} NodeAddr=127.0.0.1 Port={ports[2]} CPUs=1 RealMemory=8000
PartitionName=all Nodes=n1,n2 Default=YES MaxTime=INFINITE State=UP
"""


def lacking() -> str:
    """Why no cluster can be started here; "" where it can."""
    if not sys.platform.startswith("linux") or os.geteuid():
        return "a Slurm cluster needs Linux and root"
    missing = [program for program in PROGRAMS if not _found(program)]
    return (
        f"a Slurm cluster needs {', '.join(missing)}: apt-get install slurmctld slurmd slurm-client munge"
        if missing
        else ""
    )


@contextlib.contextmanager
def cluster() -> Iterator[dict[str, str]]:
    """The environment in which Slurm's commands find the cluster, as long as it runs."""
    with tempfile.TemporaryDirectory(prefix="slurm-") as name, contextlib.ExitStack() as daemons:
        folder, host = Path(name), socket.gethostname().partition(".")[0]
        for made in ("state", *(f"spool-{node}" for node in NODES), "bin"):
            (folder / made).mkdir()
        (folder / "munge.key").write_bytes(secrets.token_bytes(1024))
        (folder / "munge.key").chmod(0o400)
        configuration = folder / "slurm.conf"
        configuration.write_text(CONFIGURATION.format(host=host, folder=folder, ports=_free_ports(3)))
        srun = folder / "bin" / "srun"  # Snakemake's step of a job knows no SLURM_CONF
        srun.write_text(f'#!/bin/sh\nSLURM_CONF={configuration} exec {_found("srun")} "$@"\n')
        srun.chmod(0o755)
        munge = {"socket": "socket", "key-file": "key", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
        options = [f"--{option}={folder}/munge.{suffix}" for option, suffix in munge.items()]
        environment = os.environ | {"SLURM_CONF": str(configuration), "PATH": f"{folder}/bin:{os.environ['PATH']}"}
        for command in (
            ["munged", "--foreground", "--force", *options],
            ["slurmctld", "-D", "-i"],
            *(["slurmd", "-D", "-N", node] for node in NODES),
        ):
            log = daemons.enter_context(open(folder / f"{command[0]}-{command[-1]}.log".replace("/", "_"), "wb"))
            path = str(_found(command[0]))
            process = subprocess.Popen([path, *command[1:]], env=environment, stdout=log, stderr=log)
            daemons.callback(process.wait)
            daemons.callback(process.terminate)
        while slurm(environment, "sinfo", "--noheader", "--format=%T %D", check=False).strip() != f"idle {len(NODES)}":
            time.sleep(0.2)
        yield environment
        slurm(environment, "scancel", "--user=root")


def slurm(environment: dict[str, str], *command: str, check: bool = True) -> str:
    """What a command of Slurm's prints."""
    return subprocess.run(command, env=environment, check=check, capture_output=True, text=True).stdout


def _found(program: str) -> str | None:
    return shutil.which(program, path=f"{os.environ.get('PATH', '')}:/usr/sbin:/sbin")


def _free_ports(count: int) -> list[int]:
    with contextlib.ExitStack() as held:
        sockets = [held.enter_context(socket.socket()) for _ in range(count)]
        for each in sockets:
            each.bind(("127.0.0.1", 0))
        return [each.getsockname()[1] for each in sockets]

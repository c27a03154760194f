"""A Slurm of one machine for as long as a test: munged, slurmctld and slurmd as plain processes, without systemd."""

import contextlib
import getpass
import os
import shutil
import socket
import subprocess
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from tests.cluster.conftest import free_port

PROGRAMS = ("munged", "slurmctld", "slurmd", "sbatch", "squeue", "scancel", "scontrol")
CONFIGURATION = """
ClusterName=one
SlurmctldHost={host}(127.0.0.1)
SlurmUser={user}
SlurmdUser={user}
AuthType=auth/munge
AuthInfo=socket={folder}/munge/socket
CredType=cred/munge
SlurmctldPort={ports[0]}
SlurmdPort={ports[1]}
StateSaveLocation={folder}/state
SlurmdSpoolDir={folder}/spool
SlurmctldPidFile={folder}/slurmctld.pid
SlurmdPidFile={folder}/slurmd.pid
SlurmctldLogFile={folder}/slurmctld.log
SlurmdLogFile={folder}/slurmd.log
# No cgroups, as this is for a test; and a node that says it has more than the machine, so that --mem is granted.
ProctrackType=proctrack/linuxproc
TaskPlugin=task/none
SelectType=select/cons_tres
SelectTypeParameters=CR_CPU
SlurmdParameters=config_overrides
MailProg=/bin/true
ReturnToService=2
SchedulerParameters=sched_interval=2,bf_interval=2
NodeName={host} NodeAddr=127.0.0.1 CPUs={cpus} RealMemory=64000
PartitionName=normal Nodes={host} Default=YES MaxTime=INFINITE State=UP
"""


def program(name: str) -> str | None:
    """Find a program of Slurm, also where a user's path does not look."""
    return shutil.which(name, path=f"{os.environ['PATH']}{os.pathsep}/usr/sbin{os.pathsep}/usr/local/sbin")


def missing() -> list[str]:
    """List the programs that this machine lacks."""
    return [name for name in PROGRAMS if program(name) is None]


@contextmanager
def slurm(folder: Path, cpus: int) -> Iterator[dict[str, str]]:
    """Start the services; gives the environment in which ``sbatch`` finds them."""
    for name in ("munge", "state", "spool"):
        (folder / name).mkdir(parents=True)
    (folder / "munge" / "key").write_bytes(os.urandom(128))
    (folder / "munge" / "key").chmod(0o400)
    host, ports = socket.gethostname().split(".")[0], (free_port(), free_port())
    text = CONFIGURATION.format(host=host, user=getpass.getuser(), folder=folder, ports=ports, cpus=cpus)
    (folder / "slurm.conf").write_text(text)
    environment = {**os.environ, "SLURM_CONF": str(folder / "slurm.conf")}
    munge = folder / "munge"
    files = {"key-file": "key", "socket": "socket", "pid-file": "pid", "log-file": "log", "seed-file": "seed"}
    words = [f"--{key}={munge / value}" for key, value in files.items()]
    commands = [["munged", "--foreground", "--force", *words], ["slurmctld", "-D"], ["slurmd", "-D", "-N", host]]
    running = []
    try:
        for command in commands:
            log = (folder / f"{command[0]}.out").open("wb")
            running.append(
                subprocess.Popen([str(program(command[0])), *command[1:]], env=environment, stdout=log,
                                 stderr=subprocess.STDOUT, start_new_session=True)
            )  # fmt: skip
            if command[0] == "munged":
                _wait(lambda: (munge / "socket").exists(), "munged answers")
        _wait(lambda: "idle" in ask(environment, "sinfo", "-h", "-o", "%T"), "the node is idle")
        yield environment
    finally:
        for process in reversed(running):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(15)
            process.kill()


def ask(environment: dict[str, str], *command: str) -> str:
    """Run a command of Slurm and give what it prints."""
    done = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=60)
    return done.stdout if done.returncode == 0 else ""


def _wait(is_true: object, what: str, seconds: float = 60) -> None:
    end = time.monotonic() + seconds
    while not is_true():  # type: ignore[operator]
        assert time.monotonic() < end, f"{what}: not within {seconds:g} s"
        time.sleep(0.5)

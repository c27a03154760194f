"""Run one step of Dagster as a child process of a Dask worker, and watch it until its end.

A process of its own, because Dagster is not safe in threads, because memory of a GPU is given back only by a process
that ends, and because a step that dies must not take its worker with it. Nothing of Dagster is imported here.
"""

import ctypes
import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock, Semaphore
from typing import Any

import psutil

POLL_SECONDS = 0.5
GRACE_SECONDS = 30
PR_SET_PDEATHSIG = 1


class StepNotRun(RuntimeError):
    """The step did not come to an end that Dagster can know of by itself."""


@dataclass(frozen=True)
class StepTask:
    """What a worker needs to run a step.

    ``memory_gb`` is what the step declared; a step that takes more is stopped, as its neighbours on the machine count
    on what it declared.
    """

    key: str
    command: tuple[str, ...]
    environment: tuple[tuple[str, str], ...]
    memory_gb: float | None = None


def run_step(task: StepTask) -> int:
    """Run a step on a Dask worker; called by Dask.

    Raises
    ------
    StepNotRun
        When the step took more memory than it declared, or was killed, or when its first worker was lost: a step is
        never run twice unasked, as only Dagster knows whether it may be.
    """
    from distributed import Event, get_worker, secede

    begun = Event(f"{task.key}-begun")
    if begun.is_set():
        raise StepNotRun(f"the worker that ran {task.key} was lost")
    begun.set()
    worker, stop = get_worker(), Event(f"{task.key}-stop")
    address = worker.scheduler.address
    # The thread is free for Dask work that the step itself starts; resources such as a GPU stay taken.
    secede()

    def unwanted() -> bool:
        state = worker.state.tasks.get(task.key)
        return stop.is_set() or state is None or state.state not in ("executing", "long-running")

    with place_on(worker, unwanted):
        return watch(task, {"DASK_SCHEDULER_ADDRESS": address}, unwanted)


@contextmanager
def place_on(worker: Any, unwanted: Callable[[], bool]) -> Iterator[None]:
    """Let a worker that counts no memory run as many steps at a time as it has threads.

    Steps leave their threads (``secede``), so that nothing else would keep all steps of a run from starting at once.
    Where memory is counted, the scheduler does it.
    """
    if "MEMORY" in worker.state.total_resources:
        yield
        return
    with _lock:
        places = _places.setdefault(worker.address, Semaphore(worker.state.nthreads))
    while not places.acquire(timeout=POLL_SECONDS):
        if unwanted():
            raise StepNotRun("it was stopped before it began")
    try:
        yield
    finally:
        places.release()


_places: dict[str, Semaphore] = {}
_lock = Lock()


def watch(task: StepTask, more: Mapping[str, str], unwanted: Callable[[], bool]) -> int:
    """Start the child and look after it until it ends; stop it when it is not wanted any more."""
    environment = {**os.environ, **dict(task.environment), **more}
    process = subprocess.Popen(  # noqa: S603 - the command is the step that Dagster wants to run
        _with_python_of_worker(task.command), env=environment, start_new_session=True, preexec_fn=_die_with_parent
    )
    try:
        while process.poll() is None:
            if unwanted():
                return _stop(process)
            used = memory_of(process.pid)
            if task.memory_gb is not None and used > task.memory_gb * 1e9:
                _kill(process)  # at once: asking would let it report an interruption, and take more memory meanwhile
                process.wait()
                raise StepNotRun(
                    f"it took {used / 1e9:.1f} GB of memory and had declared {task.memory_gb:g} GB: declare "
                    "more (ENTROPICE_MEMORY=kind=GB of the code location), or give it less at once"
                )
            time.sleep(POLL_SECONDS)
    finally:
        _kill(process)
    if process.returncode < 0:
        name = signal.Signals(-process.returncode).name
        hint = ": probably the machine ran out of memory" if name == "SIGKILL" else ""
        raise StepNotRun(f"its process was ended by {name}{hint}")
    return process.returncode


def memory_of(pid: int) -> int:
    """Add up the resident memory of a process and of all that it started, in bytes."""
    try:
        parent = psutil.Process(pid)
        family = [parent, *parent.children(recursive=True)]
    except psutil.NoSuchProcess:
        return 0
    total = 0
    for member in family:
        try:
            total += member.memory_info().rss
        except psutil.NoSuchProcess:
            continue
    return total


def _with_python_of_worker(command: Sequence[str]) -> list[str]:
    """Let the worker's own Python run the step: that of the machine that launched it may be elsewhere.

    >>> _with_python_of_worker(["dagster", "api", "execute_step"])[1:]
    ['-m', 'dagster', 'api', 'execute_step']
    """
    program = os.path.basename(command[0])
    if program == "dagster":
        return [sys.executable, "-m", "dagster", *command[1:]]
    return [sys.executable, *command[1:]] if program.startswith("python") else list(command)


def _stop(process: "subprocess.Popen[bytes]") -> int:
    """Interrupt the step, so that its own ``finally`` runs; kill it when it does not end."""
    process.send_signal(signal.SIGINT)
    try:
        return process.wait(GRACE_SECONDS)
    except subprocess.TimeoutExpired:
        _kill(process)
        return process.wait()


def _kill(process: "subprocess.Popen[bytes]") -> None:
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


_libc = ctypes.CDLL(None, use_errno=True) if sys.platform == "linux" else None


def _die_with_parent() -> None:
    """Ask the kernel to kill this process when its worker dies; Linux only, elsewhere the step runs to its end."""
    if _libc is not None:
        _libc.prctl(PR_SET_PDEATHSIG, signal.SIGKILL)

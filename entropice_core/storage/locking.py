"""One writer per partition, among processes and among machines that share a file system.

The lock is the kernel's (``flock``), so it ends with its owner however that owner dies: a stale lock cannot exist on
one machine, and the next writer simply takes over. Who holds it is written beside it for people who wait.
"""

import json
import os
import socket
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path

from filelock import FileLock, Timeout

from entropice_core.errors import StoreError


@contextmanager
def hold(lock: Path, what: str, timeout_s: float) -> Iterator[None]:
    """Hold a lock, waiting up to ``timeout_s`` seconds for its owner; ``what`` names it in the error."""
    lock.parent.mkdir(parents=True, exist_ok=True)
    handle = FileLock(str(lock), timeout=timeout_s)
    try:
        handle.acquire()
    except Timeout as error:
        raise StoreError(
            f"{what} is locked by {describe_owner(lock)}; waited {timeout_s:g} s; wait for that process or end it, "
            f"then run the step again."
        ) from error
    try:
        owner_path(lock).write_text(json.dumps(_me()))
        yield
    finally:
        owner_path(lock).unlink(missing_ok=True)
        handle.release()


def is_held(lock: Path) -> bool:
    """Whether a live process holds the lock; looking never waits and never creates a lock."""
    if not lock.exists():
        return False
    handle = FileLock(str(lock), timeout=0)
    try:
        handle.acquire()
    except (Timeout, OSError):  # in a store that may only be read nobody can tell, so nothing is called an orphan
        return True
    handle.release()
    return False


def owner_path(lock: Path) -> Path:
    """The file that says who holds a lock."""
    return lock.with_suffix(".owner.json")


def describe_owner(lock: Path) -> str:
    """Who holds the lock, in words."""
    try:
        owner = json.loads(owner_path(lock).read_text())
        return f"process {owner['pid']} on {owner['host']} since {owner['since']}"
    except (OSError, ValueError, KeyError):
        return "a process that did not say who it is"


def _me() -> dict[str, str | int]:
    return {
        "pid": os.getpid(),
        "host": socket.gethostname(),
        "since": datetime.now(UTC).isoformat(timespec="seconds"),
    }

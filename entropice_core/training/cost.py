"""What a training cost: seconds, processor seconds, peak memory, on what. Never part of a result or a digest."""

import os
import platform
import sys
import time
from dataclasses import dataclass
from importlib.metadata import PackageNotFoundError, version
from typing import Any

PACKAGES = ("entropice", "numpy", "scikit-learn", "xgboost-cpu", "xgboost", "torch", "cuml-cu13")


@dataclass(frozen=True)
class Clock:
    """A start; ``stop`` tells what happened since."""

    wall: float
    cpu: float

    @classmethod
    def start(cls) -> "Clock":
        """Start now."""
        return cls(time.perf_counter(), _processor_seconds())

    def stop(self, device: str) -> dict[str, Any]:
        """Return seconds since the start, the peak memory of the process so far, and what it ran on."""
        return {
            "seconds": round(time.perf_counter() - self.wall, 3),
            "cpu_seconds": round(_processor_seconds() - self.cpu, 3),
            "peak_memory_mb_of_process": peak_memory_mb(),
            "device": device,
            "machine": platform.machine(),
            "cores": os.cpu_count(),
            "python": platform.python_version(),
            "packages": installed(),
        }


def _processor_seconds() -> float:
    """Of this process and of the processes that it started and saw end."""
    of_children = os.times()
    return time.process_time() + of_children.children_user + of_children.children_system


def peak_memory_mb() -> float | None:
    """Return the largest resident memory of this process since it began, MB; None where the system does not tell."""
    if sys.platform == "win32":
        return None
    import resource

    unit = 1 if sys.platform == "darwin" else 1024  # bytes there, kilobytes elsewhere
    return round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss * unit / 1e6, 1)


def installed() -> dict[str, str]:
    """Return the versions of the packages that make models, where they are installed."""
    found = {}
    for name in PACKAGES:
        try:
            found[name] = version(name)
        except PackageNotFoundError:
            continue
    return found

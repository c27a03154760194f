"""What lies in the home beside the store and may go: files of killed processes, and work that nobody used for long.

Nothing here is part of a result. Work (indices on pixels, weights, partial statistics of tiles) is marked when it is
used; what is swept is made again when it is needed.
"""

import shutil
from collections.abc import Iterator
from pathlib import Path

from entropice_core.config import Settings
from entropice_core.storage.durable import clock_of

DAY_S = 86400.0


def sweep_scratch(settings: Settings, grace_seconds: float, dry_run: bool = False) -> list[Path]:
    """Remove what killed processes left among the files that were not published yet; return the folders."""
    return _sweep(settings.scratch.glob("bundle-*"), settings.home, grace_seconds, dry_run)


def sweep_work(settings: Settings, days: float, dry_run: bool = False) -> list[Path]:
    """Remove work that was neither made nor used for some days; return files and folders."""
    return _sweep(_work(settings.home / "work"), settings.home, days * DAY_S, dry_run)


def _work(folder: Path) -> Iterator[Path]:
    """Pieces of work: a year's climate is a folder, others are files. Locks stay, as a process may wait for one."""
    yield from (path for path in folder.glob("climate/*") if path.is_dir())
    for pattern in ("climate/*", "weights/*", "terrain/*/*", "alphaearth/*/*"):
        yield from (path for path in folder.glob(pattern) if path.is_file() and path.suffix != ".lock")


def _sweep(paths: Iterator[Path], home: Path, seconds: float, dry_run: bool) -> list[Path]:
    found = sorted(paths)
    if not found:
        return []
    limit = clock_of(home) - seconds
    old = [path for path in found if path.stat().st_mtime < limit]
    for path in old if not dry_run else ():
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
    return old

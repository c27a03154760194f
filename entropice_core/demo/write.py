"""The generated Arctic in a folder, whole or not at all.

All files are written into a folder beside the wanted one, which is then renamed; ``demo.json`` in it says which seed,
years and version it was made of, and the digest of every file. A process that is killed leaves nothing that could be
taken for a whole demo.
"""

import hashlib
import json
import shutil
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from filelock import FileLock

from entropice_core.demo.climate import write_climate
from entropice_core.demo.land import write_embedding, write_terrain
from entropice_core.demo.slumps import write_inventory
from entropice_core.demo.world import World
from entropice_core.errors import ConfigError

VERSION = "2"
MARKER = "demo.json"
_FOLDERS = ("darts", "embedding", "era5", "terrain")


def write_demo(folder: Path, seed: int, years: Sequence[int], progress: Callable[[str], None] | None = None) -> Path:
    """Write the generated Arctic, unless a whole one of the same seed, years and version is there.

    Parameters
    ----------
    folder : Path
        Where the files go: ``darts``, ``era5``, ``terrain`` and ``embedding`` in it. The layout is that of the preset
        ``demo``.
    seed : int
        Equal seeds give equal files.
    years : sequence of int
        Arctic years of labels and climate. The embedding is also written for the year before the first.
    progress : callable, optional
        Called with the name of each file before it is written.

    Returns
    -------
    Path
        The folder.

    Raises
    ------
    ConfigError
        When the folder holds anything that this function did not write.
    """
    folder = Path(folder).absolute()
    wanted = sorted({int(year) for year in years})
    if not wanted:
        raise ConfigError("The demo needs at least one year.")
    folder.parent.mkdir(parents=True, exist_ok=True)
    with FileLock(folder.parent / f".{folder.name}.lock"):
        if is_complete(folder, seed, wanted):
            return folder
        _check_ours(folder)
        _replace(folder, seed, wanted, progress or (lambda _: None))
    return folder


def is_complete(folder: Path, seed: int, years: Sequence[int]) -> bool:
    """Tell whether a folder holds the whole demo of a seed and years, every byte of it."""
    try:
        marker = json.loads((folder / MARKER).read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return False
    if not isinstance(marker, dict):
        return False
    head = {key: marker.get(key) for key in ("version", "seed", "years")}
    if head != {"version": VERSION, "seed": seed, "years": list(years)}:
        return False
    return _digests(folder) == marker.get("files")


def _digests(folder: Path) -> dict[str, str]:
    """SHA-256 of every file below a folder but the marker, by name relative to it."""
    files = sorted(path for name in _FOLDERS for path in (folder / name).rglob("*") if path.is_file())
    return {path.relative_to(folder).as_posix(): hashlib.sha256(path.read_bytes()).hexdigest() for path in files}


def _check_ours(folder: Path) -> None:
    """Refuse to replace a folder with foreign files in it."""
    foreign = [p.name for p in folder.iterdir() if p.name not in (*_FOLDERS, MARKER)] if folder.is_dir() else []
    if foreign or (folder.exists() and not folder.is_dir()):
        raise ConfigError(
            f"{folder} holds {', '.join(sorted(foreign)[:3]) or 'a file'}, which the demo did not write, so it is left "
            "as it is: name an empty folder."
        )


def _replace(folder: Path, seed: int, years: list[int], progress: Callable[[str], None]) -> None:
    # The lock is held, so whatever lies here is of a process that was killed.
    partial, old = (folder.parent / f".{folder.name}.{suffix}" for suffix in ("partial", "old"))
    for leftover in (partial, old):
        shutil.rmtree(leftover, ignore_errors=True)
    try:
        _write_files(partial, seed, years, progress)
    except BaseException:
        shutil.rmtree(partial, ignore_errors=True)
        raise
    if folder.exists():
        folder.rename(old)
    partial.rename(folder)
    shutil.rmtree(old, ignore_errors=True)


def _write_files(folder: Path, seed: int, years: list[int], progress: Callable[[str], None]) -> None:
    world = World(seed)
    for name in _FOLDERS:
        (folder / name).mkdir(parents=True)
    progress("darts/DARTS_demo_level2.gpkg")
    darts = folder / "darts"
    write_inventory(darts / "DARTS_demo_level2.gpkg", darts / "DARTS_demo_coverage.parquet", world, years)
    for year in years:
        progress(f"era5/era5_monthly_{year}.nc")
        write_climate(folder / "era5" / f"era5_monthly_{year}.nc", world, year)
    progress("terrain/terrain_10km.tif")
    write_terrain(folder / "terrain" / "terrain_10km.tif", world)
    for year in sorted({years[0] - 1, *years}):
        progress(f"embedding/embedding_{year}.tif")
        write_embedding(folder / "embedding" / f"embedding_{year}.tif", world, year)
    marker: dict[str, Any] = {"version": VERSION, "seed": seed, "years": years, "files": _digests(folder)}
    (folder / MARKER).write_text(json.dumps(marker, indent=1) + "\n", encoding="utf-8")

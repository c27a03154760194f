"""What sources of very many pixels share: a list of fetched tiles, work that is kept, several grids in one pass."""

import os
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from pathlib import Path
from tempfile import TemporaryDirectory
from types import ModuleType
from typing import Any, Self

import numpy as np
import xarray as xr

from entropice_core.errors import ConfigError, SourceError
from entropice_core.features.pieces import Say
from entropice_core.grids.base import Float64, Grid, UInt64

PROCESS_GB, TILE_GB = 0.4, 0.7
"""Memory of the process, and of a unit of terrain that is worked on (benchmarks/terrain_unit.md)."""


@dataclass(frozen=True)
class TiledSource:
    """Features of one ``[sources.<name>]`` table whose files are tiles that a fetch has listed.

    ``work`` : folder in which partial statistics are kept. ``others`` : cells of the study's other grids, for which
    they are made in the same pass. ``arrays`` : what adds pixels up, CuPy for a GPU. ``threads`` : tiles in work side
    by side, by default one for each core. None of them changes a result.
    """

    name: str
    config: Any
    data_root: Path
    work: Path | None = None
    others: Mapping[str, UInt64] = field(default_factory=dict)
    say: Say = lambda _: None
    arrays: ModuleType | None = None
    threads: int | None = None

    def keeping_work_in(self, folder: Path) -> Self:
        """Give the same source with a folder to keep work in."""
        return replace(self, work=folder)

    def serving(self, cells: Mapping[str, UInt64], say: Say) -> Self:
        """Give the same source that makes partial statistics for other grids in the same pass."""
        return replace(self, others=dict(cells), say=say)

    def adding_up_with(self, arrays: ModuleType | None) -> Self:
        """Give the same source that adds pixels up with arrays of some module of the array API."""
        return replace(self, arrays=arrays)

    def within(self, memory_gb: float) -> Self:
        """Give the same source that works on no more tiles at a time than some memory holds, and at least on one."""
        return replace(self, threads=max(1, min(_cores(), int((memory_gb - PROCESS_GB) / TILE_GB))))

    @property
    def workers(self) -> int:
        """Tiles that are worked on side by side."""
        return self.threads or _cores()

    def check_listed(self, listing: Path, found: Mapping[str, Any], keys: Sequence[str]) -> None:
        """Refuse a list of tiles that was fetched for other values of some keys; ``ConfigError`` says which."""
        for key in keys:
            if found.get(key) != getattr(self.config, key):
                raise ConfigError(
                    f"{listing} lists tiles of {key} {found.get(key)!r}, but sources.{self.name} has "
                    f"{getattr(self.config, key)!r}: fetch again, or give the source a list of its own."
                )

    def check_there(self, paths: Sequence[Path]) -> None:
        """Refuse a list some of whose files are gone; ``SourceError`` names them."""
        absent = [path.name for path in paths if not path.is_file()]
        if absent:
            named = ", ".join(absent[:5]) + (f" and {len(absent) - 5} more" if len(absent) > 5 else "")
            raise SourceError(
                f"Source {self.name!r} lacks {len(absent)} of {len(paths)} tiles ({named}): "
                f"run `entropice fetch {self.config.kind}`."
            )

    @contextmanager
    def folder(self, room: str) -> Iterator[Path]:
        """A folder for partial statistics: below ``work``, where it stays, or one that is gone afterwards."""
        if self.work is not None:
            yield self.work / room / self.name
            return
        with TemporaryDirectory(prefix="entropice-") as folder:
            yield Path(folder)

    def dataset(
        self,
        grid: Grid,
        ids: UInt64,
        columns: Sequence[tuple[str, str, str]],
        features: Float64,
        valid_m2: Float64,
        bands: Sequence[str],
        attrs: Mapping[str, Any],
    ) -> xr.Dataset:
        """Features of cells as every source gives them.

        Parameters
        ----------
        ids : (n,) cell ids
        columns : name, unit and long name of each feature
        features : (n, features)
        valid_m2 : (n, bands), area of the cell's valid pixels
        bands : their names

        Raises
        ------
        SourceError
            When no cell has a value.
        """
        if not np.isfinite(features).any():
            raise SourceError(
                f"The tiles of source {self.name!r} hold no valid pixel in any of the {ids.size} cells of {grid.key}: "
                "check the study area and the list of tiles."
            )
        valid = np.minimum(valid_m2 / grid.areas_m2(ids)[:, None], 1.0)
        what = {"long_name": f"features of source {self.name}"}
        share = {"long_name": "share of the cell's area with valid pixels", "units": "1"}
        words = {
            part: ("feature", np.array([column[i] for column in columns], dtype=object))
            for i, part in enumerate(("feature", "unit", "long_name"))
        }
        return xr.Dataset(
            {
                "features": (("cell", "feature"), features.astype(np.float32), what),
                "valid_fraction": (("cell", "band"), valid.astype(np.float32), share),
            },
            coords={
                "cell_ids": ("cell", ids, grid.attrs()),
                **words,
                "band": ("band", np.array(list(bands), dtype=object)),
            },
            attrs=dict(attrs),
        )

    def credits(self) -> dict[str, str]:
        """What features say of where they come from."""
        return {key: getattr(self.config, key) for key in ("title", "citation", "doi", "licence", "statement")}


def _cores() -> int:
    return len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1

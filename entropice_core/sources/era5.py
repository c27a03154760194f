"""Climate indices of ERA5 and ERA5-Land as features of cells: kinds ``era5_daily`` and ``era5_monthly``.

Formulae are in ``climate``, weights of pixels in cells in ``features.weights``; here they meet.
"""

import hashlib
import json
import re
from collections import OrderedDict
from collections.abc import Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.climate import annual
from entropice_core.climate.annual import AnnualMaps, annual_maps, read_maps
from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.daily_files import DailyFiles, DailyYear, result_files
from entropice_core.climate.daily_zarr import DailyZarr
from entropice_core.climate.indices import INDICES, RATIOS, SPECS, Index, Ratio, choose
from entropice_core.climate.monthly import MONTHLY_SPECS, MonthlyFile
from entropice_core.climate.quantities import Float32
from entropice_core.config.sources.era5 import Era5DailyConfig, Era5DaysBase, Era5HistoryConfig, Era5MonthlyConfig
from entropice_core.errors import GridError, SourceError
from entropice_core.features.weights import area_means, overlap_weights
from entropice_core.grids.base import Grid, UInt64
from entropice_core.sources.era5_table import About, Feature, climate_dataset
from entropice_core.storage.files import fingerprint_all
from entropice_core.storage.locking import hold

VERSION = "1"
"""Of this module and of all formulae in ``climate``: results are stale when it changes."""

_YEARS_KEPT = 2
_LOCK_S = 3600.0
_KEPT: "OrderedDict[str, AnnualMaps]" = OrderedDict()

Config = Era5DailyConfig | Era5MonthlyConfig | Era5HistoryConfig
FIRST_ARCTIC_YEAR = 1941
"""ERA5 begins on 1 January 1940, and its first whole Arctic year in October 1940."""
MONTHLY_INDICES = {index.name: index for spec in MONTHLY_SPECS for index in spec.indices}


def open_source(name: str, config: Config, data_root: Path) -> "Era5Source":
    """Give the source; ``ConfigError`` for indices that do not exist."""
    choose(config.indices, MONTHLY_INDICES if isinstance(config, Era5MonthlyConfig) else INDICES)
    return Era5Source(name, config, data_root)


@dataclass(frozen=True)
class Era5Source:
    """Features of one ``[sources.<name>]`` table.

    ``work`` is a folder in which indices on pixels and weights are kept; without it they are computed each time.
    """

    name: str
    config: Config
    data_root: Path
    work: Path | None = None

    @property
    def VERSION(self) -> str:  # noqa: N802
        """Version of the code that computes the features."""
        return VERSION

    @property
    def is_yearly(self) -> bool:
        """True: climate differs from year to year."""
        return True

    def keeping_work_in(self, folder: Path) -> "Era5Source":
        """Give the same source that keeps what serves all grids and years in a folder."""
        return replace(self, work=folder)

    def files(self, year: int | None) -> list[Path]:
        """List the files of a label year; none for a store at an address.

        Raises
        ------
        SourceError
            When the year was not fetched, or lies before ERA5 begins; lists the years that are there.
        """
        return self.files_of(self.file_year(year))

    def features(self, grid: Grid, cells: xr.Dataset, year: int | None) -> xr.Dataset:
        """Climate of a label year.

        Parameters
        ----------
        grid : Grid
            The grid of the cells.
        cells : Dataset
            Coordinate ``cell_ids`` : (cell,) uint64, sorted.
        year : int or None
            Label year; the climate's year is ``year - lag``.

        Returns
        -------
        Dataset
            ``features`` : (cell, feature) float32; ``valid_fraction`` : (cell,) float32, share of the cell's area with
            values; ``effective_pixels`` : (cell,) float32, of how many pixels a mean is made, 1 where the cell lies in
            one; ``main_pixel`` : (cell,) int64, which pixel fills most of the cell: cells that share it are no
            independent samples. The attribute ``provisional_months`` names months of ERA5T.
        """
        ids = checked_ids(cells)
        file_year = self.file_year(year)
        maps = self.maps(file_year, south_of(grid, ids))
        names = self._chosen(maps)
        columns = self.columns_of(maps, grid, ids, names)
        features = [Feature.of(self._table[name]) for name in names]
        values = [columns[name] for name in names]
        about = About(self.name, self.config, [file_year])
        return climate_dataset(about, grid, ids, maps, self.weights_of(maps, grid, ids), features, values)

    @property
    def _table(self) -> Mapping[str, Index]:
        return MONTHLY_INDICES if isinstance(self.config, Era5MonthlyConfig) else INDICES

    def _chosen(self, maps: AnnualMaps) -> list[str]:
        """Indices that are asked for and can be made; an error for what is asked for and cannot be made at all."""
        made = [*maps.names, *(ratio.index.name for ratio in self.ratios_of(maps))]
        for pattern in self.config.indices:
            wanted = choose([pattern], self._table)
            if not set(wanted) & set(made):
                needs = sorted({f"{short} ({statistic})" for short, statistic in self._table[wanted[0]].needs})
                raise SourceError(
                    f"Source {self.name!r} cannot make {pattern!r} of Arctic year {maps.year}: it needs "
                    f"{', '.join(needs)}, of which something is missing; fetch it, or take the index out."
                )
        asked = set(choose(self.config.indices, self._table))
        return [name for name in made if name in asked]

    def maps(self, file_year: int, south: float) -> AnnualMaps:
        """Indices of an Arctic year on pixels: kept ones if they belong to the same files, else computed."""
        key = self._key(file_year, south)
        if key in _KEPT:
            _KEPT.move_to_end(key)
            return _KEPT[key]
        if self.work is None:
            maps = self._compute(file_year, south, None)
        else:
            folder = self.work / "climate" / f"{file_year}-{key[:16]}"
            with hold(folder.with_suffix(".lock"), f"The climate of {file_year}", _LOCK_S):
                maps = read_maps(folder) or self._compute(file_year, south, folder)
        _KEPT[key] = maps
        while len(_KEPT) > _YEARS_KEPT:
            _KEPT.popitem(last=False)
        return maps

    def _compute(self, file_year: int, south: float, folder: Path | None) -> AnnualMaps:
        calendar = ArcticCalendar(file_year)
        specs = MONTHLY_SPECS if isinstance(self.config, Era5MonthlyConfig) else SPECS
        with self._open(calendar, south) as source:
            if isinstance(source, DailyZarr) and isinstance(self.config, Era5DaysBase) and self.config.hourly:
                hourly = Path(_fill(self.config.hourly, self.data_root, file_year))
                source.check_days(hourly, self.config.hourly_accumulates_per)
            return annual_maps(source, calendar, specs, folder)

    def _open(self, calendar: ArcticCalendar, south: float) -> AbstractContextManager[DailyYear]:
        path = _fill(self.config.path, self.data_root, calendar.year)
        if isinstance(self.config, Era5MonthlyConfig):
            return MonthlyFile(Path(path), calendar)
        if "{year}" in self.config.path:
            return DailyFiles(Path(path), calendar)
        return DailyZarr(path, calendar, south, self.config.days_late)

    def _key(self, file_year: int, south: float) -> str:
        """Name of a year's state: code, files with checksums, and how they are read."""
        parts: list[Any] = [VERSION, annual.VERSION, self.config.kind.replace("history", "daily"), file_year]
        files = fingerprint_all(self.files_of(file_year), self.data_root, self.work)
        parts.append([[f.name, f.size, f.sha256] for f in files])
        if isinstance(self.config, Era5DaysBase) and "{year}" not in self.config.path:
            parts += [self.config.path, self.config.snapshot, self.config.days_late, south]
        if isinstance(self.config, Era5DaysBase) and self.config.is_address:
            # Months become final in a store that grows; its time axis tells, and is cheap to read.
            with DailyZarr(self.config.path, ArcticCalendar(file_year), south, self.config.days_late) as store:
                parts.append(store.provisional_months)
        return hashlib.sha256(json.dumps(parts).encode()).hexdigest()

    def files_of(self, file_year: int) -> list[Path]:
        """List the files of an Arctic year."""
        _check_first_year(self.name, file_year)
        if isinstance(self.config, Era5DaysBase) and self.config.is_address:
            return []
        path = Path(_fill(self.config.path, self.data_root, file_year))
        found = result_files(path) if path.is_dir() and "{year}" in self.config.path else [path] * path.exists()
        if not found:
            raise SourceError(self._absent(path, file_year))
        extra = getattr(self.config, "hourly", None)
        return [*found, *([Path(_fill(extra, self.data_root, file_year))] if extra else [])]

    def _absent(self, path: Path, file_year: int) -> str:
        years = _years_there(self.config.path, self.data_root)
        listed = f"years that are there: {', '.join(map(str, years))}" if years else "no year is there"
        newer = " (the newest)" if years and file_year > years[-1] else ""
        product = "monthly" if isinstance(self.config, Era5MonthlyConfig) else "daily"
        return (
            f"Source {self.name!r} has nothing for Arctic year {file_year}: {path} is missing or empty; "
            f"{listed}{newer}. Fetch it: entropice fetch era5 --year {file_year} --product {product}, or change years."
        )

    def file_year(self, year: int | None) -> int:
        """Arctic year whose climate belongs to a label year."""
        if year is None:
            raise SourceError(f"Source {self.name!r} has a climate a year, but no year was given; give the year.")
        return year - self.config.lag

    def ratios_of(self, maps: AnnualMaps) -> list[Ratio]:
        """Ratios whose two indices were made."""
        return [r for r in RATIOS if {r.numerator, r.denominator} <= set(maps.names)]

    def columns_of(self, maps: AnnualMaps, grid: Grid, ids: UInt64, names: Sequence[str]) -> Mapping[str, Float32]:
        """Averages of the cells by index, each (cells,)."""
        ratios = [r for r in self.ratios_of(maps) if r.index.name in names]
        parts = [part for r in ratios for part in (r.numerator, r.denominator)]
        direct = [name for name in maps.names if name in names or name in parts]
        means = area_means(self.weights_of(maps, grid, ids), maps.rows(direct))
        columns: dict[str, Float32] = {name: means[:, i] for i, name in enumerate(direct)}
        return columns | {r.index.name: r.compute(columns).astype(np.float32) for r in ratios}

    def weights_of(self, maps: AnnualMaps, grid: Grid, ids: UInt64) -> Any:
        """Area of every pixel in every cell, m2: (cells, pixels)."""
        return overlap_weights(maps.layout, grid, ids, None if self.work is None else self.work / "weights")


def checked_ids(cells: xr.Dataset) -> UInt64:
    """Ids of the cells, which must be sorted."""
    ids = np.asarray(cells["cell_ids"].values)
    if ids.dtype != np.uint64 or ids.size == 0 or (np.diff(ids.astype(np.int64)) <= 0).any():
        raise GridError(f"cell_ids must be sorted uint64 without repeats, but are {ids.size} of {ids.dtype}.")
    return ids


def south_of(grid: Grid, ids: UInt64) -> float:
    """Latitude from which rows are needed, rounded so that grids and levels share what is read: 50, 55, 60 ..."""
    lowest = float(grid.centers(ids)[1].min())
    return 5.0 * float(np.floor((lowest - 2.0) / 5.0))


def _fill(template: str, data_root: Path, year: int) -> str:
    return template.format(data=str(data_root), year=year)


def _years_there(template: str, data_root: Path) -> list[int]:
    """Years for which a file or folder exists."""
    if "{year}" not in template:
        return []
    mark = "@year@"
    pattern = Path(template.format(data=str(data_root), year=mark))
    fixed = next(i for i, part in enumerate(pattern.parts) if mark in part)
    folder = Path(*pattern.parts[:fixed])
    found = folder.glob(str(Path(*pattern.parts[fixed:])).replace(mark, "*")) if folder.is_dir() else ()
    matcher = re.compile(re.escape(str(pattern)).replace(re.escape(mark), r"(\d{4})"))
    return sorted({int(match.group(1)) for match in (matcher.fullmatch(str(p)) for p in found) if match})


def _check_first_year(name: str, year: int) -> None:
    if year < FIRST_ARCTIC_YEAR:
        raise SourceError(
            f"Source {name!r} was asked for Arctic year {year}; ERA5 begins in January 1940, so that the first whole "
            f"one is {FIRST_ARCTIC_YEAR}: change the years of the study, its lag or the climatology."
        )

"""The source that a study TOML describes band by band: any GeoTIFF, NetCDF or Zarr raster becomes features of cells.

Nothing of a particular data set belongs here.
"""

import json
import re
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.config import BandConfig, RasterConfig
from entropice_core.config.sources.raster import STEP
from entropice_core.errors import ConfigError, GridError, SourceError
from entropice_core.features.zonal import SAMPLES_PER_CELL, ZonalSums, ZonalWeights
from entropice_core.grids.base import Bool, Float64, Grid
from entropice_core.sources.arrays import ArrayFile
from entropice_core.sources.base import file_of_year
from entropice_core.sources.dates import check_year
from entropice_core.sources.formats import Format, sniff_format
from entropice_core.sources.geotiff import GeoTiff
from entropice_core.sources.pixels import MaskCounts, RasterFile, StoredBand, check_numbers, decode

VERSION = "2"

METHOD = (
    f"Statistics of the pixels in a cell, weighted by the area of each pixel inside the cell on the WGS84 ellipsoid; "
    f"areas by subpixels, {SAMPLES_PER_CELL} or more a cell. Masked pixels have no weight; std is without Bessel's "
    "correction."
)

_SPELLINGS = {
    "kelvin": "K",
    "k": "K",
    "celsius": "degC",
    "c": "degC",
    "degrees_celsius": "degC",
    "degree_celsius": "degC",
    "deg c": "degC",
    "meter": "m",
    "meters": "m",
    "metre": "m",
    "metres": "m",
    "millimeters": "mm",
    "degrees": "degree",
    "deg": "degree",
}


def open_source(name: str, config: RasterConfig, data_root: Path) -> "RasterSource":
    """Give the source; its files are opened when features are asked for.

    Raises
    ------
    ConfigError
        When a number of a band is NaN or infinite: a recipe cannot hold it.
    """
    for band in config.bands:
        check_numbers(f"sources.{name}, band {band.name!r}", band)
    return RasterSource(name, config, data_root)


def open_raster(path: Path, config: RasterConfig) -> RasterFile:
    """Open a raster file by what it is, not by what it is called."""
    known = sniff_format(path)
    if known is Format.GEOTIFF:
        return GeoTiff(path, config.crs)
    return ArrayFile(path, known, config.crs, config.bands)


@dataclass(frozen=True)
class RasterSource:
    """Features of one ``[sources.<name>]`` table with ``kind = "raster"``."""

    name: str
    config: RasterConfig
    data_root: Path

    @property
    def VERSION(self) -> str:  # noqa: N802
        """Version of the code that computes the features."""
        return VERSION

    @property
    def is_yearly(self) -> bool:
        """True when there is a file for each year."""
        return self.config.is_yearly

    def files(self, year: int | None) -> list[Path]:
        """Return the one file of a label year; ``SourceError`` lists the years that exist."""
        return [file_of_year(self.name, self.config, self.data_root, year)]

    def features(self, grid: Grid, cells: xr.Dataset, year: int | None) -> xr.Dataset:
        """Aggregate the file of a label year to cells.

        Parameters
        ----------
        grid : Grid
            The grid of the cells.
        cells : Dataset
            Coordinate ``cell_ids`` : (cell,) uint64, sorted.
        year : int or None
            Label year; the file's year is ``year - lag``.

        Returns
        -------
        Dataset
            ``features`` : (cell, feature) float32, NaN where no valid pixel lies in the cell; ``valid_fraction`` :
            (cell, band) float32, share of the cell's area with valid pixels (the least of all steps of ``along``).
        """
        cell_ids = _checked_ids(cells)
        (path,) = self.files(year)
        with open_raster(path, self.config) as raster:
            if self.is_yearly and year is not None:
                check_year(path, raster.days, year - self.config.lag)
            weights = ZonalWeights(raster.layout, grid, cell_ids)
            bands = [_Band(band, raster.describe(band), cell_ids.size) for band in self.config.bands]
            _check_names([name for band in bands for name in band.feature_names()])
            touched = _add_blocks(raster, weights, bands)
            notes = [*raster.notes, *_layout_notes(raster), *(n for band in bands for n in band.notes(path))]
        self._check_used(path, bands, touched)
        return self._dataset(grid, cell_ids, path, year, bands, touched, notes)

    def _check_used(self, path: Path, bands: list["_Band"], touched: Bool) -> None:
        if not touched.any():
            raise SourceError(
                f"{path} covers none of the {touched.size} cells of the study: check its coordinate system "
                f"and sources.{self.name}.path."
            )
        for band in bands:
            for step in np.flatnonzero(band.counts.used() == 0):
                raise SourceError(
                    f"{path} has no valid pixel in the study area for {band.names()[step]!r} "
                    f"({band.counts.as_dict(int(step))}): check select, nodata and valid_range of the band."
                )

    def _dataset(
        self,
        grid: Grid,
        cell_ids: Any,
        path: Path,
        year: int | None,
        bands: list["_Band"],
        touched: Bool,
        notes: list[str],
    ) -> xr.Dataset:
        columns = [column for band in bands for column in band.columns()]
        areas = grid.areas_m2(cell_ids)[:, None]
        valid = np.hstack([band.sums.weight.min(axis=1, keepdims=True) for band in bands]) / areas
        features = np.hstack([column.values[:, None] for column in columns]).astype(np.float32)
        return xr.Dataset(
            {
                "features": (("cell", "feature"), features, {"long_name": f"features of source {self.name}"}),
                "valid_fraction": (
                    ("cell", "band"),
                    np.minimum(valid, 1.0).astype(np.float32),
                    {"long_name": "share of the cell's area with valid pixels", "units": "1"},
                ),
            },
            coords={
                "cell_ids": ("cell", cell_ids, grid.attrs()),
                "feature": ("feature", np.array([c.name for c in columns], dtype=object)),
                "unit": ("feature", np.array([c.unit for c in columns], dtype=object)),
                "long_name": ("feature", np.array([c.long_name for c in columns], dtype=object)),
                "band": ("band", np.array([band.group() for band in bands], dtype=object)),
            },
            attrs=self._attrs(path, year, bands, touched, notes),
        )

    def _attrs(
        self, path: Path, year: int | None, bands: list["_Band"], touched: Bool, notes: list[str]
    ) -> dict[str, Any]:
        config = self.config
        counts = {
            "cells": {"all": int(touched.size), "outside_raster": int((~touched).sum())},
            "bands": {name: each for band in bands for name, each in band.count_dicts().items()},
        }
        file_year = "static" if not config.is_yearly or year is None else year - config.lag
        return {
            "source": self.name,
            "file": path.name,
            "file_year": file_year,
            "lag": config.lag,
            "title": config.title,
            "citation": config.citation,
            "doi": config.doi,
            "licence": config.licence,
            "statement": config.statement,
            "method": METHOD,
            "notes": json.dumps(notes, ensure_ascii=False),
            "counts": json.dumps(counts),
        }


@dataclass(frozen=True)
class _Column:
    """One feature: its name, unit, long name and values (cells,)."""

    name: str
    unit: str
    long_name: str
    values: Float64


class _Band:
    """One declared band while its pixels are added up."""

    def __init__(self, config: BandConfig, meta: StoredBand, n_cells: int) -> None:
        self.config, self.meta = config, meta
        extremes = bool({"min", "max", "range"} & set(config.statistics))
        self.sums = ZonalSums(n_cells, meta.steps, with_extremes=extremes)
        self.counts = MaskCounts.zeros(meta.steps)

    def names(self) -> list[str]:
        """Name of each layer."""
        months = self.meta.months or (0,) * self.meta.steps
        return [self.config.name.format(index=i + 1, month=month) for i, month in enumerate(months)]

    def group(self) -> str:
        """Name of the whole band without the index: ``t2m_month_{index:02d}`` -> ``t2m_month``."""
        return re.sub(rf"_?{STEP}_?", "", self.config.name) or self.config.name

    def feature_names(self) -> list[str]:
        """Names of the columns; a band of which only the mean is asked keeps its own name."""
        only_mean = self.config.statistics == ("mean",)
        return [n if only_mean else f"{n}_{s}" for n in self.names() for s in self.config.statistics]

    def columns(self) -> list[_Column]:
        """All features of the band, layer by layer."""
        long_name = self.config.long_name or self.meta.long_name or self.config.name
        tables = {s: self.sums.statistic(s) for s in self.config.statistics}
        pairs = [(i, s) for i in range(self.meta.steps) for s in self.config.statistics]
        return [
            _Column(name, self.config.unit, f"{long_name}{self._step(i)}, {s} in the cell", tables[s][:, i])
            for name, (i, s) in zip(self.feature_names(), pairs, strict=True)
        ]

    def _step(self, i: int) -> str:
        if self.meta.months:
            return f", month {self.meta.months[i]}"
        return f", {self.config.along} {i + 1}" if self.config.along else ""

    def count_dicts(self) -> dict[str, dict[str, int]]:
        """Counts of each layer."""
        return {name: self.counts.as_dict(i) for i, name in enumerate(self.names())}

    def notes(self, path: Path) -> list[str]:
        """Tell when the file's unit is not the declared one."""
        found, declared = self.meta.unit, self.config.unit
        if not found or _SPELLINGS.get(found.lower(), found) == _SPELLINGS.get(declared.lower(), declared):
            return []
        changed = (self.config.scale, self.config.offset) != (1.0, 0.0)
        how = f"scale {self.config.scale:g} and offset {self.config.offset:g} are applied" if changed else "unconverted"
        return [f"{path.name} says that {self.config.select!r} is in {found!r}; {declared!r} is declared, {how}."]


def _add_blocks(raster: RasterFile, weights: ZonalWeights, bands: list[_Band]) -> Bool:
    """Read every band block by block into its sums; tell which cells a pixel touches: (cells,)."""
    touched = np.zeros(weights.cell_ids.size, dtype=bool)
    for block in weights.blocks():
        touched |= np.diff(block.weights.indptr) > 0
        for band in bands:
            stored, missing = raster.read(band.config, block.start, block.stop)
            flat = stored.reshape(band.meta.steps, -1)[:, block.pixels]
            mask = None if missing is None else missing.reshape(band.meta.steps, -1)[:, block.pixels]
            values = decode(flat, mask, band.config, band.meta, band.counts, str(raster.path))
            band.sums.add(block.weights, np.ascontiguousarray(values.T))
    return touched


def _layout_notes(raster: RasterFile) -> list[str]:
    repeated = raster.layout.x.duplicates + raster.layout.y.duplicates
    note = f"{raster.path.name} repeats {repeated} row or column (360 and 0 degrees, say); it is used once."
    return [note] if repeated else []


def _checked_ids(cells: xr.Dataset) -> Any:
    if "cell_ids" not in cells.coords:
        raise GridError("The cells have no coordinate cell_ids; give the dataset that build_cells made.")
    ids = np.asarray(cells["cell_ids"].values)
    if ids.dtype != np.uint64 or ids.size == 0 or (np.diff(ids.astype(np.int64)) <= 0).any():
        raise GridError(f"cell_ids must be sorted uint64 without repeats, but are {ids.size} of {ids.dtype}.")
    return ids


def _check_names(names: list[str]) -> None:
    repeated = sorted({name for name in names if names.count(name) > 1})
    if repeated:
        raise ConfigError(f"Features {', '.join(repeated)} are defined twice: give each band its own name.")

"""What the climate of cells is handed over as: one dataset with names, units, counts and notes."""

import json
from dataclasses import dataclass
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.climate.annual import AnnualMaps
from entropice_core.climate.indices import Index, missing_variables
from entropice_core.climate.quantities import Float32
from entropice_core.config.sources.era5 import Era5Base, Era5MonthlyConfig
from entropice_core.errors import SourceError
from entropice_core.features.weights import main_pixels
from entropice_core.grids.base import Grid, UInt64

METHOD = (
    "Indices of daily values on the pixels of the native grid, then averaged over cells with the exact area of each "
    "pixel in the cell on the WGS84 ellipsoid; ratios are formed of the averages."
)


@dataclass(frozen=True)
class About:
    """Name and table of the source, and the Arctic years that were read."""

    name: str
    config: Era5Base
    years: list[int]


@dataclass(frozen=True)
class Feature:
    """Name, unit and words of a column."""

    feature: str
    unit: str
    long_name: str
    standard_name: str
    cell_methods: str

    @classmethod
    def of(cls, index: Index) -> "Feature":
        """Take them from the table."""
        return cls(index.name, index.unit, index.long_name, index.standard_name, index.cell_methods)


def climate_dataset(
    about: About,
    grid: Grid,
    ids: UInt64,
    maps: AnnualMaps,
    weights: Any,
    features: list[Feature],
    columns: list[Float32],
) -> xr.Dataset:
    """Put columns, each (cells,), together with what must be known of the cells."""
    areas = grid.areas_m2(ids)
    pixel, effective = main_pixels(weights)
    has_value = np.isfinite(np.asarray(maps.values[0]))
    covered = np.minimum((weights @ has_value.astype(np.float64)) / areas, 1.0).astype(np.float32)
    if not covered.any():
        raise SourceError(
            f"Source {about.name!r} has no value in any of the {ids.size} cells of the study: check area and path."
        )
    return xr.Dataset(
        {
            "features": (
                ("cell", "feature"),
                np.stack(columns, axis=1).astype(np.float32),
                {"long_name": f"features of source {about.name}"},
            ),
            "valid_fraction": ("cell", covered, {"long_name": "share of the cell with values", "units": "1"}),
            "effective_pixels": ("cell", effective, {"long_name": "pixels that make a mean", "units": "1"}),
            "main_pixel": ("cell", pixel, {"long_name": "pixel that fills most of the cell"}),
        },
        coords={
            "cell_ids": ("cell", ids, grid.attrs()),
            **{
                part: ("feature", np.array([getattr(each, part) for each in features], dtype=object))
                for part in ("feature", "unit", "long_name", "standard_name", "cell_methods")
            },
        },
        attrs=_attrs(about, grid, ids, maps, effective),
    )


def _attrs(about: About, grid: Grid, ids: UInt64, maps: AnnualMaps, effective: Float32) -> dict[str, Any]:
    config, years = about.config, about.years
    pixel_m2 = maps.layout.pixel_areas_m2(*_pixels_below(maps, grid, ids))
    small = int((grid.areas_m2(ids) < pixel_m2).sum())
    lacking = {} if isinstance(config, Era5MonthlyConfig) else _lacking(maps)
    counts = {
        "cells": {
            "all": int(ids.size),
            "outside_raster": int((effective == 0).sum()),
            "smaller_than_a_pixel": small,
            "within_one_pixel": int((np.abs(effective - 1.0) < 1e-6).sum()),
        },
        "bands": maps.counts,
        "indices_missing_for": lacking,
    }
    notes = [f"{n} indices are not made: no {what}." for what, n in lacking.items()]
    if small:
        notes.append(
            f"{small} of {ids.size} cells are smaller than a pixel and share values with their neighbours: cells "
            "with one main_pixel belong into one fold."
        )
    return {
        "source": about.name,
        "file_year": ", ".join(map(str, years)) if len(years) < 4 else f"{years[0]}-{years[-1]}",
        "lag": config.lag,
        "title": config.title,
        "citation": config.citation,
        "doi": config.doi,
        "licence": config.licence,
        "statement": config.statement,
        "method": METHOD,
        "provisional_months": " ".join(maps.provisional_months),
        "notes": json.dumps(notes, ensure_ascii=False),
        "counts": json.dumps(counts),
    }


def _lacking(maps: AnnualMaps) -> dict[str, int]:
    fields = [tuple(name.split(" ", 1)) for name in maps.counts]
    return missing_variables((short, statistic) for short, statistic in fields)


def _pixels_below(maps: AnnualMaps, grid: Grid, ids: UInt64) -> tuple[Any, Any]:
    """Row and column of a pixel as large as that at each cell's centre: (cells,) each."""
    lat = grid.centers(ids)[1]
    row = np.clip(np.searchsorted(-maps.layout.y.high, -lat, side="right") - 1, 0, maps.layout.y.size - 1)
    return row, np.zeros_like(row)

"""Rank the cells that nobody has looked at, by the slump area expected per land area to be processed.

Taking the densest cells first finds the most area for any amount of work. Cells outside the area of applicability come
after all others and are marked: there the model extrapolates, and the gain that was measured does not hold.
"""

import json
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pandas as pd
import xarray as xr
from matplotlib.figure import Figure
from numpy.typing import NDArray

from entropice_core.applicability.trust import blocks_of, held_out_probabilities
from entropice_core.config import Study
from entropice_core.dataset.classes import expected_density
from entropice_core.errors import SchemaError
from entropice_core.grids.base import Grid
from entropice_core.plots.files import write_figure
from entropice_core.plots.priority import saved_land, saved_words
from entropice_core.prediction.export import write_geoparquet
from entropice_core.prediction.maps import MapStyle, draw_map, id_texts, png_bytes
from entropice_core.priority.gain import Gain, measure_gain
from entropice_core.storage.partition import Partition
from entropice_core.training.persist import LoadedModel
from entropice_core.training.problem import Places, child_seed
from entropice_core.training.results import plain

VERSION = "2"
MOST_GEOJSON = 20_000
"""Cells in the GeoJSON, the first by rank: programs read it whole; the GeoParquet has them all."""


def rank_cells(grid: Grid, predicted: xr.Dataset, cells: xr.Dataset) -> gpd.GeoDataFrame:
    """Rank the unobserved cells of a prediction; the densest come first, those outside the area of applicability last.

    Parameters
    ----------
    predicted : a prediction with ``expected_density`` and ``observed_positive``
    cells : the same cells, with ``area_m2`` and ``land_fraction``

    Returns
    -------
    GeoDataFrame in EPSG:4326
        ``rank`` from 1; ``cell_id``; ``expected_density`` with its interval, m2 m-2; ``probability``;
        ``land_area_m2``; ``expected_slump_area_m2``; ``land_share``, ``expected_share``: sums up to this rank as shares
        of all ranked cells; ``is_applicable``; ``missing_features``. Cells without a prediction are left out.
    """
    ids = predicted["cell_ids"].values
    if not np.array_equal(ids, cells["cell_ids"].values):
        raise SchemaError("Prediction and cells are for different grids or areas: build both again.")
    land = (cells["area_m2"].values * cells["land_fraction"].values).astype(np.float64)
    density = predicted["expected_density"].values.astype(np.float64)
    wanted = np.isnan(predicted["observed_positive"].values) & np.isfinite(density)
    is_outside = predicted["is_applicable"].values == 0
    rows = np.flatnonzero(wanted)[np.lexsort((ids[wanted], -density[wanted], is_outside[wanted]))]
    expected = density[rows] * land[rows]
    columns = {
        "rank": np.arange(1, rows.size + 1),
        "cell_id": id_texts(grid, ids[rows]),
        **{
            name: predicted[name].values[rows]
            for name in ("expected_density", "expected_density_low", "expected_density_high", "probability")
        },
        "land_area_m2": land[rows],
        "expected_slump_area_m2": expected,
        "land_share": _running_share(land[rows]),
        "expected_share": _running_share(expected),
        "is_applicable": predicted["is_applicable"].values[rows],
        "missing_features": predicted["missing_features"].values[rows],
    }
    return gpd.GeoDataFrame(columns, geometry=grid.polygons(ids[rows], crs="EPSG:4326"), crs="EPSG:4326")


def held_out_gain(study: Study, grid: Grid, model: LoadedModel, table: xr.Dataset, held_out: pd.DataFrame) -> Gain:
    """Measure the gain of ranking by expected density on the held-out predictions of a training.

    Parameters
    ----------
    table : the training set
    held_out : ``out_of_fold.parquet`` of the model
    """
    keys = ["cell_ids", "year"]
    areas = pd.DataFrame({name: table[name].values for name in (*keys, "observed_area_m2", "lon", "lat")})
    joined = held_out.merge(areas, on=keys, how="left", validate="one_to_one")
    if joined["observed_area_m2"].isna().any():
        raise SchemaError("Held-out predictions and training set differ in their cell-years: build the model again.")
    land = joined["observed_area_m2"].to_numpy(np.float64)
    at = {name: joined[name].to_numpy() for name in ("cell_ids", "lon", "lat", "year")}
    return measure_gain(
        expected_density(held_out_probabilities(joined), model.edges).mean,
        joined["density"].to_numpy(np.float64) * land,
        land,
        blocks_of(study, grid, Places(**at)),
        joined["fold"].to_numpy(),
        child_seed(study.study.seed, "gain"),
    )


def write_priority(
    folder: Path, study: Study, name: str, grid: Grid, partition: Partition, predicted: xr.Dataset,
    ranked: gpd.GeoDataFrame, gain: Gain, words: list[str],
) -> dict[str, Any]:  # fmt: skip
    """Write ``priority.parquet``, ``priority.geojson``, ``gain.json`` and the pictures; return counts."""
    said = {key: value for key, value in predicted.attrs.items() if isinstance(value, str | int | float)}
    write_geoparquet(folder / "priority.parquet", ranked, said)
    first = ranked.head(MOST_GEOJSON)
    (folder / "priority.geojson").write_text(first.to_json(drop_id=True) + "\n", encoding="utf-8")
    report = plain(gain.to_dict())
    (folder / "gain.json").write_text(json.dumps(report, indent=1, sort_keys=True) + "\n", encoding="utf-8")
    title = f"{name}, {grid.key}, {study.study.name}: held-out cells"
    write_figure(saved_land(report, title), folder / "gain.png")
    style = MapStyle(
        title=words[0],
        subtitle=f"Arctic year {partition.year} · {name} · {grid.key} · {_what(len(ranked))}",
        label="share of the unobserved land processed before this cell (0 = first)",
        low=0.0,
        high=1.0,
        colours="viridis_r",
        footer=(
            f"ranked by expected RTS density, extrapolations last; grey: observed already · {saved_words(report)}",
            *words[1:],
        ),
    )
    (folder / "priority.png").write_bytes(png_bytes(_map(grid, predicted, ranked, style)))
    observed = int(np.isfinite(predicted["observed_positive"].values).sum())
    total = predicted.sizes["cell"]
    return {
        "cells": total,
        "ranked": len(ranked),
        "left out": {"observed": observed, "without a prediction": total - observed - len(ranked)},
        "in GeoJSON": len(first),
        "ranked outside the area of applicability": int((ranked["is_applicable"] == 0).sum()),
        **{f"land saved at {recall:.0%} of the slump area": entry["share"] for recall, entry in gain.saved.items()},
    }


def _what(n: int) -> str:
    return f"where to look next: {n:,} unobserved cells" if n else "every cell was observed: nothing is left to rank"


def _map(grid: Grid, predicted: xr.Dataset, ranked: gpd.GeoDataFrame, style: MapStyle) -> Figure:
    ids = predicted["cell_ids"].values
    share: NDArray[np.float64] = np.full(ids.size, np.nan)
    position = dict(zip(id_texts(grid, ids), range(ids.size), strict=True))
    share[[position[cell] for cell in ranked["cell_id"]]] = ranked["land_share"].to_numpy()
    return draw_map(grid, ids, share, style, predicted["is_applicable"].values == 0)


def _running_share(values: NDArray[np.float64]) -> NDArray[np.float64]:
    running = np.cumsum(values)
    return running / running[-1] if values.sum() > 0 else np.zeros(values.size)

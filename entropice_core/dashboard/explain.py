"""One cell of a prediction: why it says what it says, and from which data.

What drives a probability is asked of the model itself: each feature in turn is put to the median of the training rows,
and the change of the probability is noted. That needs nothing but the stored model, is the same for every kind of
model, and answers "what if this cell were ordinary in that respect?". Features that tell the same share their part.
"""

from dataclasses import dataclass

import numpy as np
import pandas as pd
import xarray as xr
from numpy.typing import NDArray

from entropice_core.dashboard.library import Library, cell_text, position_of
from entropice_core.errors import GridError, ProvenanceError
from entropice_core.storage.partition import Partition

NEAREST = 8
EARTH_RADIUS_KM = 6371.0
Float64 = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Background:
    """Training rows as what "ordinary" means: median and spread of each feature."""

    rows: xr.Dataset
    X: Float64
    median: Float64
    spread: Float64


def background(library: Library, grid: str) -> Background:
    """Read the training rows of a grid."""
    rows = library.open("training_set", Partition(grid)).load()
    X = rows["features"].values.astype(np.float64)
    with np.errstate(all="ignore"):
        known = np.isfinite(X)
        median = np.array([np.median(c[k]) if k.any() else 0.0 for c, k in zip(X.T, known.T, strict=True)])
        filled = np.where(known, X, median)
        spread = filled.std(axis=0)
    return Background(rows, filled, median, np.where(spread > 0, spread, 1.0))


def cell_features(library: Library, grid: str, year: int, cell_id: int) -> pd.DataFrame:
    """List the features of one cell with units, and where it has none."""
    found = library.features(grid, year)
    at = position_of(found["cell_ids"].values, cell_id)
    if at is None:
        raise GridError(f"Cell {cell_text(library.grid(grid).name, cell_id)} is not among the cells of {grid} here.")
    return pd.DataFrame(
        {
            "feature": found["feature"].values.astype(str),
            "value": found["features"].isel(cell=at).values.astype(float),
            "unit": found["unit"].values.astype(str),
            "what": found["long_name"].values.astype(str),
        }
    )


def drivers(library: Library, model: str, grid: str, features: pd.DataFrame, ground: Background) -> pd.DataFrame:
    """Say how far each feature moves the probability of a cell away from what it would be with an ordinary value.

    Returns
    -------
    DataFrame
        ``feature``, ``change of probability`` = p(cell) - p(cell with the median), ``value``, ``training median``,
        ``unit``; the largest change first by size.
    """
    from entropice_core.training.persist import load_model

    stored = load_model(library.folder(f"model.{model}", Partition(grid)))
    position = {name: i for i, name in enumerate(features["feature"])}
    if missing := [name for name in stored.feature_names if name not in position]:
        raise ProvenanceError(
            f"model.{model} {grid} was trained on {missing[0]}, which this year lacks: build it again."
        )
    at = [position[name] for name in stored.feature_names]  # a model may have been given some sources only
    x, median = features["value"].to_numpy(dtype=float)[at], ground.median[at]
    changed = np.where(np.eye(x.size, dtype=bool), median, x)
    p = _positive(np.asarray(stored.predict_proba(np.vstack([x, changed]))))
    table = features.iloc[at][["feature", "value", "unit"]].copy()
    table.insert(1, "change of probability", p[0] - p[1:])
    table.insert(3, "training median", median)
    order = np.argsort(-np.abs(table["change of probability"].to_numpy()), kind="stable")
    return table.iloc[order].reset_index(drop=True)


def _positive(proba: Float64) -> Float64:
    """Probability of any class but the first: (n,)."""
    return proba if proba.ndim == 1 else 1.0 - proba[:, 0]


def nearest_rows(
    features: pd.DataFrame, ground: Background, lon: float, lat: float, grid_name: str, most: int = NEAREST
) -> pd.DataFrame:
    """List the training rows most like a cell, by distance of standardised features (1 is one spread of one feature).

    A cell that is far from all of them is outside what the model has seen.
    """
    x = features["value"].to_numpy(dtype=float)
    z = (np.where(np.isfinite(x), x, ground.median) - ground.median) / ground.spread
    distance = np.sqrt((((ground.X - ground.median) / ground.spread - z) ** 2).mean(axis=1))
    order = np.argsort(distance, kind="stable")[:most]
    rows = ground.rows.isel(row=order)
    km = great_circle_km(lon, lat, rows["lon"].values, rows["lat"].values)
    return pd.DataFrame(
        {
            "cell": [cell_text(grid_name, int(i)) for i in rows["cell_ids"].values],
            "year": rows["year"].values.astype(int),
            "RTS density [m2 m-2]": rows["density"].values.astype(float),
            "distance in features": distance[order],
            "distance [km]": km,
        }
    )


def great_circle_km(lon: float, lat: float, lons: Float64, lats: Float64) -> Float64:
    """Distances from one point to others on a sphere, km; good to half a percent.

    >>> float(great_circle_km(0.0, 60.0, np.array([0.0]), np.array([61.0]))[0].round())
    111.0
    """
    a, b = np.radians(lat), np.radians(lats)
    half = np.sin((b - a) / 2) ** 2 + np.cos(a) * np.cos(b) * np.sin(np.radians(lons - lon) / 2) ** 2
    return np.asarray(2 * EARTH_RADIUS_KM * np.arcsin(np.sqrt(np.clip(half, 0, 1))))


def digests(library: Library, dataset: str, partition: Partition) -> pd.DataFrame:
    """List what a partition was made from, down to the source files, each once."""
    from entropice_core.storage.lineage import trace

    tree = trace(library.store.layout, library.manifest(dataset, partition))
    rows: dict[tuple[str, str], tuple[str, str, str]] = {}
    for _, item in tree.walk():
        note = "" if item.is_current else "replaced since"
        rows.setdefault((item.dataset, str(item.partition)), ("dataset", item.digest, note))
    for source in tree.sources():
        rows.setdefault((source.name, ""), ("source file", source.sha256, f"{source.size:,} bytes"))
    return pd.DataFrame(
        [(kind, name, part, digest[:16], note) for (name, part), (kind, digest, note) in rows.items()],
        columns=["what", "name", "partition", "digest", "note"],
    )


def series_of_cell(library: Library, source: str, grid: str, feature: str, cell_id: int) -> tuple[list[int], Float64]:
    """Values of one feature in one cell over all published years; NaN where a year has none."""
    years = library.years(f"features.{source}", grid)
    values = []
    for year in years:
        found = library.open(f"features.{source}", Partition(grid, year))
        names = found["feature"].values.astype(str).tolist()
        at = position_of(found["cell_ids"].values, cell_id)
        has = feature in names and at is not None
        values.append(float(found["features"].isel(cell=at, feature=names.index(feature)).values) if has else np.nan)
    return years, np.array(values)

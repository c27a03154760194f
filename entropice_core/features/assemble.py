"""Join the features of all sources into one table of cells.

The same function serves training and prediction, so that a map is made from what the model was trained on: there is
no second code path that could drift.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr
from numpy.typing import NDArray

from entropice_core.errors import GridError, SchemaError

VERSION = "1"


def assemble(cells: xr.Dataset, by_source: Mapping[str, xr.Dataset]) -> xr.Dataset:
    """Join feature sets of one grid and year along ``feature``.

    Parameters
    ----------
    cells : Dataset
        The cells of the grid, coordinate ``cell_ids`` : (cell,) uint64.
    by_source : mapping of name to Dataset
        Each with ``features`` : (cell, feature) float32 and the coordinates ``cell_ids``, ``feature``, ``unit`` and
        ``long_name``.

    Returns
    -------
    Dataset
        ``features`` : (cell, feature) float32, NaN where a source has no value; features are named
        ``<source>.<feature>`` and ordered by source, then as in the source. ``source`` : (feature,) is a coordinate.

    Raises
    ------
    GridError
        When a feature set was made for other cells.
    """
    if not by_source:
        raise SchemaError("assemble got no feature sets: name at least one source in [sources].")
    ids = cells["cell_ids"].values
    parts = [_checked(ids, name, by_source[name]) for name in sorted(by_source)]
    names = [f"{source}.{f}" for source, part in parts for f in part["feature"].values]
    return xr.Dataset(
        {"features": (("cell", "feature"), np.concatenate([part["features"].values for _, part in parts], axis=1))},
        coords={
            "cell_ids": ("cell", ids),
            "lon": ("cell", cells["lon"].values),
            "lat": ("cell", cells["lat"].values),
            "feature": ("feature", np.array(names, dtype=str)),
            "unit": ("feature", _joined(parts, "unit")),
            "long_name": ("feature", _joined(parts, "long_name")),
            "source": ("feature", np.concatenate([[source] * part.sizes["feature"] for source, part in parts])),
        },
    )


def _checked(ids: NDArray[np.uint64], name: str, part: xr.Dataset) -> tuple[str, xr.Dataset]:
    theirs = part["cell_ids"].values
    if not np.array_equal(theirs, ids):
        raise GridError(
            f"Features of source {name!r} are for {theirs.size} cells that are not the {ids.size} cells of this grid: "
            "build the features again for this grid and study area."
        )
    return name, part


def _joined(parts: list[tuple[str, xr.Dataset]], coordinate: str) -> NDArray[Any]:
    return np.concatenate([part[coordinate].values.astype(str) for _, part in parts])

"""A static climatology: what one would say of a place from where and when slumps were seen, without any predictor.

A model that does not beat it has learned a map of known slumps and no more. Of a cell that has training years (in the
temporal hold-out) it is the share of each class in those years; of a cell that has none (in spatial folds), that of
the nearest training cells, beyond the buffer. Both are drawn towards the shares of all training rows by one row.
"""

import numpy as np
import numpy.typing as npt
from scipy.spatial import cKDTree

from entropice_core.training.problem import Places

VERSION = "1"
NEAREST_CELLS = 25
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]


def climatology_forecast(
    places: Places, train: Int64, test: Int64, y_train: Int64, n_classes: int, weight: Float64 | None = None
) -> Float64:
    """Forecast test rows from the classes of training rows in the same cell, or else in the nearest cells.

    Parameters
    ----------
    places : of all rows
    train, test : (n_train,), (n_test,) int64, rows
    y_train : (n_train,) int64
    n_classes : int
    weight : (n_train,) float64, optional

    Returns
    -------
    (n_test, n_classes) float64
    """
    mass = np.eye(n_classes)[y_train] * (np.ones(train.size) if weight is None else weight)[:, None]
    overall = mass.sum(axis=0) / mass.sum()
    cells, first, of_row = np.unique(places.cell_ids[train], return_index=True, return_inverse=True)
    in_cell = np.zeros((cells.size, n_classes))
    np.add.at(in_cell, of_row, mass)
    wanted = places.cell_ids[test]
    at = np.minimum(np.searchsorted(cells, wanted), cells.size - 1)
    seen = np.where((cells[at] == wanted)[:, None], in_cell[at], 0.0)
    unknown = cells[at] != wanted
    if unknown.any():
        near = _nearest(places, train[first], test[unknown])
        seen[unknown] = in_cell[near].sum(axis=1)
    return np.asarray((seen + overall) / (seen.sum(axis=1, keepdims=True) + 1.0))


def _nearest(places: Places, known: Int64, asked: Int64) -> Int64:
    """Return the nearest known cells of each row : (n_asked, up to 25), by chords of the unit sphere."""
    n = min(NEAREST_CELLS, known.size)
    tree = cKDTree(on_sphere(places.lon[known], places.lat[known]))
    found = tree.query(on_sphere(places.lon[asked], places.lat[asked]), k=n)[1]
    return np.asarray(found, dtype=np.int64).reshape(asked.size, n)


def on_sphere(lon: Float64, lat: Float64) -> Float64:
    """Return points of the unit sphere : (n, 3), in which neither 180 degrees nor the pole is a border."""
    lam, phi = np.radians(lon), np.radians(lat)
    return np.column_stack([np.cos(phi) * np.cos(lam), np.cos(phi) * np.sin(lam), np.sin(phi)])

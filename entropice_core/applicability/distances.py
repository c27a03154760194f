"""Whether the folds test at the distances at which the map predicts (kNN-distance matching).

A cross-validation is honest for a map when its test cells are as far from their training cells as the cells of the map
are from all training cells (nearest neighbour distance matching, Milà et al. 2022, doi:10.1111/2041-210X.13851;
Linnenbrink et al. 2024, doi:10.5194/gmd-17-5897-2024, who compare the two distributions by the Wasserstein distance W).
Here the folds are not fitted to the distances, they are judged by them: W in km, and on which side the folds err.
"""

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from pyproj import Transformer
from scipy.spatial import cKDTree
from scipy.stats import wasserstein_distance

from entropice_core.errors import SchemaError

VERSION = "1"
Float64 = npt.NDArray[np.float64]
Int64 = npt.NDArray[np.int64]
RADIUS_KM = 6371.0


@dataclass(frozen=True, eq=False)
class DistanceMatch:
    """Three distributions of distances to the nearest training cell, km, ascending.

    Attributes
    ----------
    cv : (n_tested_cells,) from test cells to the training cells of their fold
    prediction : (n_map_cells,) from the cells of the map to all training cells
    random : (n_tested_cells,) from training cells to the nearest other one, as random folds would have it
    """

    cv: Float64
    prediction: Float64
    random: Float64

    @property
    def w_km(self) -> float:
        """Wasserstein distance between the distances of the folds and of the map, km: 0 = alike."""
        return float(wasserstein_distance(self.cv, self.prediction))

    def to_dict(self) -> dict[str, Any]:
        """Return the numbers of a report."""
        gap = float(self.cv.mean() - self.prediction.mean())
        return {
            "w_km": self.w_km,
            "w_random_km": float(wasserstein_distance(self.random, self.prediction)),
            "mean_gap_km": gap,
            "verdict": _verdict(gap, self.w_km),
            **{name: _quantiles(getattr(self, name)) for name in ("cv", "prediction", "random")},
        }


def match_distances(
    lon: npt.ArrayLike,
    lat: npt.ArrayLike,
    splits: Sequence[tuple[Int64, Int64]],
    map_lon: npt.ArrayLike,
    map_lat: npt.ArrayLike,
) -> DistanceMatch:
    """Measure the distances of folds and map.

    Parameters
    ----------
    lon, lat : (n,) degrees, centres of the training cells, each cell once
    splits : for each fold its training and its test cells, positions in ``lon``
    map_lon, map_lat : (m,) degrees, centres of the cells of the map
    """
    points, targets = _points_km(lon, lat), _points_km(map_lon, map_lat)
    if len(points) < 2 or not len(targets) or not splits:
        raise SchemaError(
            f"Distances are matched between folds and a map; got {len(points)} training cells, {len(splits)} folds "
            f"and {len(targets)} cells of the map."
        )
    tested = np.concatenate([test for _, test in splits])
    everything = cKDTree(points)
    cv = [_arc_km(cKDTree(points[train]).query(points[test])[0]) for train, test in splits]
    return DistanceMatch(
        cv=np.sort(np.concatenate(cv)),
        prediction=np.sort(_arc_km(everything.query(targets)[0])),
        random=np.sort(_arc_km(everything.query(points[tested], k=[2])[0]).ravel()),
    )


def _points_km(lon: npt.ArrayLike, lat: npt.ArrayLike) -> Float64:
    """Return earth-centred points : (n, 3) km on the WGS84 ellipsoid, which know neither 180 degrees nor the pole."""
    longitude, latitude = np.asarray(lon, dtype=np.float64), np.asarray(lat, dtype=np.float64)
    project = Transformer.from_crs("EPSG:4979", "EPSG:4978", always_xy=True)
    return np.column_stack(project.transform(longitude, latitude, np.zeros(longitude.size))) / 1000.0


def _arc_km(chord: npt.ArrayLike) -> Float64:
    return np.asarray(2 * RADIUS_KM * np.arcsin(np.minimum(np.asarray(chord) / (2 * RADIUS_KM), 1.0)))


def _quantiles(values: Float64) -> dict[str, float | int]:
    levels = {f"q{q:02d}_km": float(np.quantile(values, q / 100)) for q in (5, 50, 95)}
    return {"n": int(values.size), "mean_km": float(values.mean()), **levels}


def _verdict(gap: float, w: float) -> str:
    if w < 1.0:
        return "folds and map have the same distances to training cells"
    if gap > 0:
        return "folds test farther from training cells than the map predicts: scores are pessimistic for this map"
    return "folds test nearer to training cells than the map predicts: scores are optimistic for this map"

"""Where models and grids agree, and where the map depends on which of them one believes.

Maps on different grids meet at common points: the centres of a fine HEALPix level, which have equal areas. A large cell
holds a slump more often than a small one, so probabilities of different levels are not the same quantity; ranks within
each map are (how susceptible a place is among all of that map), and they are compared beside the probabilities.
"""

from collections.abc import Mapping
from itertools import combinations
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt
import pandas as pd
from scipy.stats import rankdata

from entropice_core.grids import parse_grid_key
from entropice_core.grids.base import Grid
from entropice_core.grids.study_area import StudyArea

VERSION = "1"
FINEST = 9
"""HEALPix level of the common points at most: 160 km2 each."""
Float64 = npt.NDArray[np.float64]
Maps = Mapping[tuple[str, str], tuple[npt.NDArray[np.uint64], Float64]]
"""(model, grid) -> cell ids (n,) and probability (n,)"""


def common_points(area: StudyArea, grids: Mapping[str, Grid]) -> tuple[Float64, Float64]:
    """Return longitudes and latitudes : (n,) of points of equal area, four or more to the smallest cell."""
    smallest = min(_mean_area(grid) for grid in grids.values())
    level = next((n for n in range(6, FINEST) if _mean_area(parse_grid_key(f"healpix-{n}")) * 4 <= smallest), FINEST)
    fine = parse_grid_key(f"healpix-{level}")
    return fine.centers(fine.cells(area))


def sample_maps(lon: Float64, lat: Float64, grids: Mapping[str, Grid], maps: Maps) -> dict[tuple[str, str], Float64]:
    """Read every map at the points : (n,) each, NaN where a map has no cell or no value."""
    found = {}
    for (model, key), (ids, values) in maps.items():
        at = grids[key].locate(lon, lat)
        place = np.minimum(np.searchsorted(ids, at), ids.size - 1)
        found[model, key] = np.where(ids[place] == at, values[place], np.nan)
    return found


def to_ranks(values: Float64) -> Float64:
    """Return the share of points with a lower value : (n,), 0 to 1, ties in the middle; NaN stays.

    >>> to_ranks(np.array([0.2, np.nan, 0.9, 0.2])).tolist()
    [0.25, nan, 1.0, 0.25]
    """
    known = np.isfinite(values)
    ranks = np.full(values.shape, np.nan)
    if known.sum() > 1:
        ranks[known] = (rankdata(values[known]) - 1) / (known.sum() - 1)
    return ranks


def agreement_table(sampled: Mapping[tuple[str, str], Float64]) -> pd.DataFrame:
    """Compare every two maps at the common points.

    Returns
    -------
    DataFrame
        ``first``, ``second``; ``spearman``: correlation of ranks; ``mean_difference``, ``mean_abs_difference``: of
        probabilities, second less first; ``top_tenth_shared``: share of the tenth that the first ranks highest that
        the second ranks there too; ``points``.
    """
    rows = []
    for (one, a), (other, b) in combinations(sampled.items(), 2):
        both = np.isfinite(a) & np.isfinite(b)
        ranks = to_ranks(np.where(both, a, np.nan))[both], to_ranks(np.where(both, b, np.nan))[both]
        top = ranks[0] >= 0.9
        rows.append(
            {
                "first": " ".join(one[::-1]),
                "second": " ".join(other[::-1]),
                "spearman": _correlation(*ranks),
                "mean_difference": float((b - a)[both].mean()) if both.any() else float("nan"),
                "mean_abs_difference": float(np.abs(b - a)[both].mean()) if both.any() else float("nan"),
                "top_tenth_shared": float((ranks[1] >= 0.9)[top].mean()) if top.any() else float("nan"),
                "points": int(both.sum()),
            }
        )
    names = ("first", "second", "spearman", "mean_difference", "mean_abs_difference", "top_tenth_shared", "points")
    return pd.DataFrame(rows, columns=list(names))


def write_agreement(folder: Path, area: StudyArea, maps: Maps, words: str) -> dict[str, Any]:
    """Write agreement.csv, points.parquet and agreement.png; return counts for the manifest."""
    from entropice_core.plots import comparison as figures
    from entropice_core.plots.files import write_figure

    grids = {key: parse_grid_key(key) for _, key in maps}
    lon, lat = common_points(area, grids)
    sampled = sample_maps(lon, lat, grids, maps)
    on_any = np.any([np.isfinite(values) for values in sampled.values()], axis=0)
    lon, lat = lon[on_any], lat[on_any]
    sampled = {name: values[on_any] for name, values in sampled.items()}
    table = agreement_table(sampled)
    table.to_csv(folder / "agreement.csv", index=False, float_format="%.6g", lineterminator="\n")
    ranks = {name: to_ranks(values) for name, values in sampled.items()}
    points = {f"p {grid} {model}": values.astype(np.float32) for (model, grid), values in sampled.items()}
    points |= {f"rank {grid} {model}": values.astype(np.float32) for (model, grid), values in ranks.items()}
    pd.DataFrame({"lon": lon, "lat": lat, **points}).to_parquet(folder / "points.parquet", index=False)
    figure = figures.agreement(lon, lat, ranks, between_families(ranks), words)
    write_figure(figure, folder / "agreement.png")
    return {"maps": len(maps), "points": int(lon.size), "pairs": len(table)}


def between_families(ranks: Mapping[tuple[str, str], Float64]) -> Float64 | None:
    """Return the mean rank on HEALPix less that on H3 : (n,), or None when only one of them is there."""
    by_family = {
        family: [values for (_, grid), values in ranks.items() if grid.startswith(family)]
        for family in ("h3", "healpix")
    }
    if not all(by_family.values()):
        return None
    return np.asarray(_mean(by_family["healpix"]) - _mean(by_family["h3"]))


def _mean(parts: list[Float64]) -> Float64:
    stacked = np.stack(parts)
    n = np.isfinite(stacked).sum(axis=0)
    total = np.nansum(stacked, axis=0)
    return np.where(n > 0, total / np.maximum(n, 1), np.nan)


def _mean_area(grid: Grid) -> float:
    """Mean area of the cells of a level, m2: the Earth's divided by their number."""
    n_cells = 12 * 4**grid.level if grid.name == "healpix" else 2 + 120 * 7**grid.level
    return float(5.1006e14 / n_cells)


def _correlation(a: Float64, b: Float64) -> float:
    if a.size < 2 or a.std() == 0 or b.std() == 0:
        return float("nan")
    return float(np.corrcoef(a, b)[0, 1])

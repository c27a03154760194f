"""The RTS inventory of the generated Arctic, in the layout of DARTS level 2: polygons a year, and where it looked.

Clusters of slumps are drawn from the world's slump rate; a cluster stays at its place, is active in some years and
grows. Only what lies in the footprint of a year is in the inventory. As in real inventories, some outlines are
there twice, some cross themselves, some are empty, and some lie outside the footprint.
"""

from dataclasses import dataclass
from pathlib import Path

import geopandas as gpd
import numpy as np
import pandas as pd
import pyogrio
import shapely

from entropice_core.demo.world import World
from entropice_core.grids.base import Float64, Geometries, Int64
from entropice_core.grids.land import land_samples
from entropice_core.grids.projection import split_ring, to_equal_area, to_lonlat

_SOUTH = 59.0  # cells whose centre is north of 60 reach about a degree further
_CLUSTERS = 1_700  # clusters in an average year and world, before the footprint
_SLUMPS_PER_CLUSTER = 5.0
_CLUSTER_RADIUS_M = 4_000.0
_MEDIAN_AREA_M2, _LOG_AREA_SPREAD = 4_500.0, 1.0
_GROWTH = 1.06
_CORNERS = 10
_REGIONS = 34
_CHUKOTKA = (179.0, 67.5)  # the footprint of this region crosses 180 degrees, as the real one does
_AWKWARD = {"duplicate": 25, "self_crossing": 10, "empty": 5, "outside": 8}


def write_inventory(features_path: Path, coverage_path: Path, world: World, years: list[int]) -> None:
    """Write the polygons as GeoPackage and the footprint as GeoParquet."""
    coverage = make_coverage(world, years)
    _write_coverage(coverage_path, coverage)
    slumps = [_observed(_slumps_of_year(world, year), coverage, year) for year in years]
    _write_features(features_path, _with_awkward_ones(pd.concat(slumps, ignore_index=True), world))


def make_coverage(world: World, years: list[int]) -> pd.DataFrame:
    """Regions that the inventory looked at: ``polygon`` in EPSG:6931, ``lon``, ``lat`` of its ring, ``years``."""
    rng = np.random.default_rng((world.seed, 21))
    land = land_samples(_SOUTH + 2.0, step=40)
    chosen = rng.choice(land.lon.size, _REGIONS, replace=False, p=_probabilities(land.area_m2.astype(np.float64)))
    centres = [_CHUKOTKA, *zip(land.lon[chosen].tolist(), land.lat[chosen].tolist(), strict=True)]
    rows = []
    for i, (lon, lat) in enumerate(centres):
        x, y = _blob(rng, lon, lat, 480_000.0 if i == 0 else rng.uniform(250_000.0, 560_000.0))
        seen = (
            years if i == 0 or rng.random() < 0.6 else sorted(rng.choice(years, max(len(years) - 1, 1), replace=False))
        )
        rows.append({"polygon": shapely.Polygon(np.column_stack([x, y])), "years": [int(year) for year in seen]})
    return pd.DataFrame(rows)


def _blob(rng: np.random.Generator, lon: float, lat: float, radius_m: float) -> tuple[Float64, Float64]:
    """Ring of a rounded region in EPSG:6931, counter-clockwise: (72,), (72,) m."""
    (x0,), (y0,) = to_equal_area([lon], [lat])
    angle = np.arange(0.0, 2.0 * np.pi, np.pi / 36.0)
    waves = [rng.normal(0.0, 0.14 / k) * np.cos(k * angle + rng.uniform(0.0, 2.0 * np.pi)) for k in range(2, 6)]
    radius = radius_m * (1.0 + np.sum(waves, axis=0))
    return x0 + radius * np.cos(angle), y0 + radius * np.sin(angle)


def _write_coverage(path: Path, coverage: pd.DataFrame) -> None:
    shapes = [split_ring(*to_lonlat(*np.array(p.exterior.coords)[:-1].T)) for p in coverage["polygon"]]
    table = gpd.GeoDataFrame(
        {
            "area_km2": [round(p.area / 1e6, 3) for p in coverage["polygon"]],
            "coverage_period": [",".join(map(str, years)) for years in coverage["years"]],
        },
        geometry=shapes,
        crs="EPSG:4326",
    )
    table.to_parquet(path, index=False)


@dataclass(frozen=True)
class _Clusters:
    """Places of slump clusters in EPSG:6931 (n,), and a number for each that its draws depend on."""

    x: Float64
    y: Float64
    number: Int64


def _clusters_of_year(world: World, year: int) -> _Clusters:
    """Clusters active in a year: each place has a fixed threshold, so that most stay from year to year."""
    land = land_samples(_SOUTH, step=20)
    lon, lat = land.lon.astype(np.float64), land.lat.astype(np.float64)
    rate = np.exp(world.log_slump_rate(lon, lat, year)) * land.area_m2
    expected = _CLUSTERS * rate / rate.sum()
    rng = np.random.default_rng((world.seed, 22))
    first, second = rng.random((2, lon.size))
    x, y = to_equal_area(lon, lat)
    shift = rng.uniform(-9_000.0, 9_000.0, (2, lon.size))
    lasting = first < -np.expm1(-0.8 * expected)
    passing = np.random.default_rng((world.seed, 23, year)).random(lon.size) < -np.expm1(-0.2 * expected)
    active = np.flatnonzero((lasting & (second < 0.95)) | passing)
    return _Clusters(x[active] + shift[0, active], y[active] + shift[1, active], active)


def _slumps_of_year(world: World, year: int) -> pd.DataFrame:
    """Polygons of a year in EPSG:6931 with their columns."""
    clusters = _clusters_of_year(world, year)
    parts = [
        _slumps_of_cluster(world, year, *place) for place in zip(clusters.x, clusters.y, clusters.number, strict=True)
    ]
    centre, area, seed_number = (np.concatenate([part[i] for part in parts]) for i in range(3))
    rng = np.random.default_rng((world.seed, 24, year))
    frame = pd.DataFrame(
        {"year": np.full(area.size, year, dtype=np.int32), "polygon": _outlines(centre, area, seed_number)}
    )
    spread = rng.uniform(0.02, 0.2, area.size)
    mean = rng.beta(8.0, 3.0, area.size) * 0.45 + 0.53
    frame["pval_mean"], frame["pval_std"] = mean, spread
    frame["pval_min"], frame["pval_max"] = np.clip(mean - 2 * spread, 0.5, mean), np.clip(mean + 2 * spread, mean, 1.0)
    return frame


def _slumps_of_cluster(world: World, year: int, x: float, y: float, number: int) -> tuple[Float64, Float64, Float64]:
    """Centres (n, 2), areas m2 (n,) and angles of shape (n,) of the slumps of one cluster that are seen in a year."""
    rng = np.random.default_rng((world.seed, 25, int(number)))
    count = 1 + rng.geometric(1.0 / _SLUMPS_PER_CLUSTER)
    centre = np.array([x, y]) + rng.normal(0.0, _CLUSTER_RADIUS_M, (count, 2))
    area = _MEDIAN_AREA_M2 * np.exp(_LOG_AREA_SPREAD * rng.standard_normal(count)) * _GROWTH ** (year - 2020)
    shape = rng.uniform(0.0, 2.0 * np.pi, count)
    seen = np.random.default_rng((world.seed, 26, int(number), year)).random(count) < 0.8
    seen[0] = True
    return centre[seen], area[seen], shape[seen]


def _outlines(centre: Float64, area: Float64, shape: Float64) -> Geometries:
    """Polygons of given areas, lobed differently each: (n, 2) m, (n,) m2, (n,) radians -> (n,)."""
    angle = 2.0 * np.pi * np.arange(_CORNERS) / _CORNERS + shape[:, None]
    radius = 1.0 + 0.28 * np.cos(2.0 * angle + shape[:, None] * 3.0) + 0.17 * np.sin(3.0 * angle - shape[:, None] * 5.0)
    corners = np.stack([radius * np.cos(angle), radius * np.sin(angle)], axis=-1)
    unscaled = shapely.area(shapely.polygons(corners))
    scaled = corners * np.sqrt(area / unscaled)[:, None, None] + centre[:, None, :]
    return np.asarray(shapely.polygons(scaled), dtype=object)


def _observed(slumps: pd.DataFrame, coverage: pd.DataFrame, year: int) -> pd.DataFrame:
    """Slumps inside the footprint of a year."""
    seen = [polygon for polygon, years in zip(coverage["polygon"], coverage["years"], strict=True) if year in years]
    footprint = shapely.union_all(seen)
    shapely.prepare(footprint)
    inside = shapely.contains(footprint, slumps["polygon"].to_numpy())
    kept: pd.DataFrame = slumps[inside]
    return kept


def _with_awkward_ones(slumps: pd.DataFrame, world: World) -> pd.DataFrame:
    """Add outlines that are there twice, cross themselves, are empty or lie outside the footprint."""
    rng = np.random.default_rng((world.seed, 27))
    extra = {kind: slumps.sample(n, replace=True, random_state=rng) for kind, n in _AWKWARD.items()}
    extra["self_crossing"]["polygon"] = extra["self_crossing"]["polygon"].map(_twist)
    extra["empty"]["polygon"] = extra["empty"]["polygon"].map(lambda _: shapely.Polygon())
    n = _AWKWARD["outside"]
    # On the sea ice near the pole, where nobody looked.
    extra["outside"]["polygon"] = _outlines(rng.normal(0.0, 50_000.0, (n, 2)), np.full(n, 5_000.0), rng.random(n))
    return pd.concat([slumps, *extra.values()], ignore_index=True)


def _twist(polygon: shapely.Polygon) -> shapely.Polygon:
    """Swap two corners of an outline so that it crosses itself."""
    corners = np.array(polygon.exterior.coords)[:-1]
    corners[[2, 5]] = corners[[5, 2]]
    return shapely.Polygon(corners)


def _write_features(path: Path, slumps: pd.DataFrame) -> None:
    plane = slumps["polygon"].to_numpy()
    degrees = shapely.transform(plane, lambda xy: np.column_stack(to_lonlat(xy[:, 0], xy[:, 1])))
    table = gpd.GeoDataFrame(
        {
            "id": [f"{i:08x}" for i in range(len(slumps))],
            "year": slumps["year"].to_numpy(dtype=np.int32),
            "area_m2": np.round(shapely.area(plane), 1),
            **{name: slumps[name].round(4).to_numpy() for name in ("pval_mean", "pval_min", "pval_max", "pval_std")},
        },
        geometry=degrees,
        crs="EPSG:4326",
    )
    # GDAL writes the time of day into a GeoPackage unless it is told one, and equal seeds must give equal files.
    pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": "2024-01-01T00:00:00.000Z"})
    try:
        pyogrio.write_dataframe(table, path, layer=path.stem, driver="GPKG", geometry_type="Polygon")
    finally:
        pyogrio.set_gdal_config_options({"OGR_CURRENT_DATE": None})


def _probabilities(weights: Float64) -> Float64:
    shares: Float64 = weights / weights.sum()
    return shares

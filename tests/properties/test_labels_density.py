"""Area is conserved and split as brute force splits it, anywhere: on cell borders, across 180 degrees, at the pole."""

from functools import cache

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from pyproj import CRS

from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import cell_coordinates
from entropice_core.grids.land import LandSamples
from entropice_core.grids.projection import to_equal_area, to_lonlat
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.density import label_cells
from entropice_core.labels.geometry import repair, to_degrees, to_plane
from entropice_core.labels.inventory import Inventory

AREA = StudyArea(60.0)
KEYS = ["h3-4", "healpix-7"]
NO_LAND = LandSamples(*(np.empty(0, dtype=np.float32) for _ in range(4)))
SETTINGS = settings(max_examples=20, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@cache
def cells(key: str) -> tuple[xr.Dataset, np.ndarray]:
    grid = parse_grid_key(key)
    ids = grid.cells(AREA)
    made = cell_coordinates(grid, ids)
    made["area_m2"] = ("cell", grid.areas_m2(ids))
    made["land_fraction"] = ("cell", np.ones(ids.size, dtype=np.float32))
    return made, grid.polygons(ids)


# Where slumps lie: anywhere, along 180 degrees, around the pole.
PLACES = st.one_of(
    st.tuples(st.floats(-180, 180), st.floats(62, 89)),
    st.tuples(st.sampled_from([180.0, -179.999, 179.99]), st.floats(62, 89)),
    st.tuples(st.floats(-180, 180), st.floats(89.9, 90)),
)


@st.composite
def stars(draw: st.DrawFn) -> list[shapely.Polygon]:
    """A few star-shaped polygons of the plane around one place, 100 m to 60 km wide, some of which overlap."""
    x, y = (float(v) for v in to_equal_area(*draw(PLACES)))
    size = 10.0 ** draw(st.floats(2.0, 4.5))
    polygons = []
    for _ in range(draw(st.integers(1, 5))):
        radii = np.array(draw(st.lists(st.floats(0.3, 1.0), min_size=3, max_size=9)))
        dx, dy = draw(st.floats(-1.5, 1.5)), draw(st.floats(-1.5, 1.5))
        angle = np.linspace(0.0, 2.0 * np.pi, radii.size, endpoint=False)
        ring = np.column_stack([x + size * (dx + radii * np.cos(angle)), y + size * (dy + radii * np.sin(angle))])
        polygons.append(shapely.Polygon(ring))
    return [polygon for polygon in polygons if polygon.is_valid]


def inventory(polygons: list[shapely.Polygon], seen: shapely.Geometry | None = None) -> Inventory:
    plane = np.array(polygons, dtype=object)
    columns = {"year": np.full(len(polygons), 2018), "area_m2": shapely.area(plane)}
    features = gpd.GeoDataFrame(columns, geometry=to_degrees(plane), crs="EPSG:4326")
    footprint = None
    if seen is not None:
        footprint = gpd.GeoDataFrame({"years": [""]}, geometry=to_degrees(np.array([seen])), crs="EPSG:4326")
    return Inventory(features, footprint, {"inventory": "random"})


def stored(polygons: list[shapely.Polygon]) -> np.ndarray:
    """The polygons as the inventory holds them: in degrees, split at 180, and projected again."""
    return repair(to_plane(to_degrees(np.array(polygons, dtype=object)), CRS.from_epsg(4326), "x"))[0]


def joined(polygons: list[shapely.Polygon]) -> list[set[int]]:
    """Groups of polygons whose interiors meet, by brute force."""
    groups: list[set[int]] = []
    for i, polygon in enumerate(polygons):
        linked = [g for g in groups if any(polygon.relate_pattern(polygons[j], "T********") for j in g)]
        groups = [g for g in groups if g not in linked] + [set().union({i}, *linked)]
    return groups


@pytest.mark.parametrize("key", KEYS)
@SETTINGS
@given(polygons=stars())
def test_the_sum_over_cells_is_the_area_of_the_union(key: str, polygons: list[shapely.Polygon]) -> None:
    here, outlines = cells(key)
    got = label_cells(inventory(polygons), parse_grid_key(key), here, AREA, 2018, NO_LAND)
    union = shapely.union_all(stored(polygons))
    assert got["rts_area_m2"].values.sum() == pytest.approx(union.area, rel=1e-6)
    # on the way through degrees, edges around the pole move by less than a millimetre
    raw = shapely.union_all(polygons)
    assert union.area == pytest.approx(raw.area, rel=1e-5, abs=1e-3 * raw.length)
    assert got["count"].values.sum() == len(joined(polygons))
    assert got.attrs["count_outside_cells"] == 0 and got.attrs["rts_area_outside_cells_m2"] <= 1e-6 * union.area
    by_brute_force = shapely.area(shapely.intersection(outlines, union))
    np.testing.assert_allclose(got["rts_area_m2"].values, by_brute_force, atol=1e-6 * union.area)


@pytest.mark.parametrize("key", KEYS)
@SETTINGS
@given(polygons=stars(), shift=st.tuples(st.floats(-1, 1), st.floats(-1, 1)), wide=st.floats(0.2, 3.0))
def test_inside_a_footprint_the_shares_are_those_of_brute_force(
    key: str, polygons: list[shapely.Polygon], shift: tuple[float, float], wide: float
) -> None:
    here, outlines = cells(key)
    union = shapely.union_all(stored(polygons))
    x, y = union.centroid.coords[0]
    reach = max(union.bounds[2] - union.bounds[0], 20_000.0) * wide
    centre = shapely.Point(x + shift[0] * reach, y + shift[1] * reach)
    seen = stored([centre.buffer(reach, quad_segs=64)])[0]
    got = label_cells(inventory(polygons, seen), parse_grid_key(key), here, AREA, 2018, NO_LAND)
    share = shapely.area(shapely.intersection(outlines, seen)) / shapely.area(outlines)
    np.testing.assert_allclose(got["observed_fraction"].values, share, atol=1e-5)
    slumps = shapely.area(shapely.intersection(outlines, shapely.intersection(union, seen)))
    seen_m2 = np.nan_to_num(got["rts_area_m2"].values)
    np.testing.assert_allclose(seen_m2, slumps, atol=1e-6 * union.area + 1e-2)
    assert seen_m2.sum() + got.attrs["rts_area_unobserved_m2"] == pytest.approx(union.area, rel=1e-6)
    assert got.attrs["rts_area_total_m2"] == pytest.approx(union.area, rel=1e-9)
    density = got["density"].values
    observed = got["observed_fraction"].values > 0.0
    assert np.isnan(density[~observed]).all()
    assert ((density[observed] >= 0.0) & (density[observed] <= 1.0)).all()


@pytest.mark.parametrize("key", KEYS)
@SETTINGS
@given(polygons=stars(), seed=st.integers(0, 2**16))
def test_the_order_of_features_does_not_matter(key: str, polygons: list[shapely.Polygon], seed: int) -> None:
    here, _ = cells(key)
    order = np.random.default_rng(seed).permutation(len(polygons))
    one, other = (
        label_cells(inventory(some), parse_grid_key(key), here, AREA, 2018, NO_LAND)
        for some in (polygons, [polygons[i] for i in order])
    )
    np.testing.assert_array_equal(one["count"].values, other["count"].values)
    np.testing.assert_allclose(one["rts_area_m2"].values, other["rts_area_m2"].values, rtol=1e-9, atol=1e-3)


EVERY_GRID = [f"h3-{level}" for level in range(3, 7)] + [f"healpix-{level}" for level in range(6, 11)]
CORNERS = [(180.0, 68.5), (-179.99, 71.0), (0.0, 90.0), (45.0, 89.95), (126.0, 72.0), (-135.0, 69.0)]


@pytest.mark.parametrize("key", EVERY_GRID)
@pytest.mark.parametrize("place", CORNERS)
def test_on_every_grid_areas_are_conserved_also_at_180_and_the_pole(key: str, place: tuple[float, float]) -> None:
    grid = parse_grid_key(key)
    x, y = (float(v[0]) for v in to_equal_area([place[0]], [place[1]]))
    width = float(np.sqrt(grid.areas_m2(grid.locate([place[0]], [min(place[1], 89.9)]))[0]))
    star = np.exp(1j * np.linspace(0, 2 * np.pi, 13)[:-1]) * np.tile([1.0, 0.4], 6)
    polygons = [
        shapely.Polygon(np.column_stack([x + dx * width + size * star.real, y + size * star.imag]))
        for dx, size in ((0.0, 1.5 * width), (1.0, 0.8 * width), (-2.5, 0.05 * width))
    ]
    around = np.mgrid[-5:5.1:0.3, -5:5.1:0.3].reshape(2, -1) * width
    ids = np.unique(grid.locate(*to_lonlat(x + around[0], y + around[1])))
    here = cell_coordinates(grid, ids)
    here["area_m2"] = ("cell", grid.areas_m2(ids))
    here["land_fraction"] = ("cell", np.ones(ids.size, dtype=np.float32))
    got = label_cells(inventory(polygons), grid, here, AREA, 2018, NO_LAND)
    union = shapely.union_all(stored(polygons))
    assert got["rts_area_m2"].values.sum() == pytest.approx(union.area, rel=1e-6)
    # Outlines are stored in degrees, whose edges bend; beside the pole most.
    assert union.area == pytest.approx(shapely.union_all(polygons).area, rel=3e-5)
    assert got.attrs["rts_area_outside_cells_m2"] <= 1e-6 * union.area
    assert got["count"].values.sum() == len(joined(polygons))

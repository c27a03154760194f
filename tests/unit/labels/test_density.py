from collections.abc import Callable
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest
import shapely
import xarray as xr

from entropice_core.errors import GridError, SchemaError
from entropice_core.grids import parse_grid_key
from entropice_core.grids.land import LandSamples, land_samples
from entropice_core.grids.projection import to_equal_area
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.density import label_cells, summary
from entropice_core.labels.geometry import to_degrees
from entropice_core.labels.inventory import Inventory
from entropice_core.labels.overlay import join_overlapping

AREA = StudyArea(60.0)
KEYS = ["h3-5", "healpix-8"]
AllLand = Callable[..., xr.Dataset]


def inventory(
    plane: list[shapely.Geometry],
    seen: list[shapely.Geometry] | None = None,
    years: list[str] | None = None,
    area_m2: list[float] | None = None,
    unobserved_years: tuple[int, ...] = (),
) -> Inventory:
    """An inventory of 2018 from geometries of the plane."""
    shapes = np.array(plane, dtype=object)
    columns = {"year": np.full(len(plane), 2018), "area_m2": shapely.area(shapes) if area_m2 is None else area_m2}
    features = gpd.GeoDataFrame(columns, geometry=to_degrees(shapes), crs="EPSG:4326")
    footprint = None
    if seen is not None:
        where = to_degrees(np.array(seen, dtype=object))
        footprint = gpd.GeoDataFrame({"years": years or [""] * len(seen)}, geometry=where, crs="EPSG:4326")
    return Inventory(features, footprint, {"inventory": "rts"}, [], unobserved_years)


def with_masks(plain: Inventory, masks: list[shapely.Geometry]) -> Inventory:
    where = to_degrees(np.array(masks, dtype=object))
    return replace(plain, masks=gpd.GeoDataFrame({"mask": ["ice"] * len(masks)}, geometry=where, crs="EPSG:4326"))


def around(key: str) -> tuple[np.ndarray, np.ndarray]:
    """A cell in the Lena delta with its neighbours, and their outlines in the plane; the cell itself comes first."""
    grid = parse_grid_key(key)
    middle = grid.locate([126.0], [72.0])
    ids = np.concatenate([middle, grid.neighbours(middle)[1]])
    return ids, grid.polygons(ids)


@pytest.mark.parametrize("key", KEYS)
def test_a_slump_across_a_border_gives_each_cell_its_part_and_counts_once(
    key: str, all_land: AllLand, no_land: LandSamples
) -> None:
    ids, outlines = around(key)
    corner = shapely.Point(shapely.get_coordinates(outlines[0])[0])
    slump = corner.buffer(300.0)
    cells = all_land(key, ids)
    got = label_cells(inventory([slump]), parse_grid_key(key), cells, AREA, 2018, no_land)
    expected = {int(i): slump.intersection(outline).area for i, outline in zip(ids, outlines, strict=True)}
    np.testing.assert_allclose(got["rts_area_m2"], [expected[int(i)] for i in got["cell_ids"].values], atol=0.5)
    assert (got["rts_area_m2"] > 0).sum() >= 2
    assert got["count"].sum() == 1
    assert float(got["rts_area_m2"].sum()) == pytest.approx(slump.area, rel=1e-6)


@pytest.mark.parametrize("key", KEYS)
def test_overlapping_outlines_count_once_in_number_and_area(key: str, all_land: AllLand, no_land: LandSamples) -> None:
    ids, outlines = around(key)
    x, y = outlines[0].centroid.coords[0]
    first, second = shapely.box(x, y, x + 100, y + 100), shapely.box(x + 50, y, x + 150, y + 100)
    apart, touching = shapely.box(x + 500, y, x + 600, y + 100), shapely.box(x + 600, y, x + 700, y + 100)
    shapes = [first, second, apart, touching]
    got = label_cells(inventory(shapes), parse_grid_key(key), all_land(key, ids), AREA, 2018, no_land)
    assert got["count"].max() == 3
    assert float(got["rts_area_m2"].max()) == pytest.approx(35_000.0, rel=1e-6)
    at = int(np.argmax(got["density"].values))
    assert float(got["density"][at]) == pytest.approx(35_000.0 / float(outlines[0].area), rel=1e-4)


def test_a_chain_of_overlaps_is_one_slump_and_a_slump_of_two_parts_is_one() -> None:
    chain = [shapely.box(i, 0, i + 1.5, 1) for i in range(5)]
    two_parts = shapely.MultiPolygon([shapely.box(10, 0, 11, 1), shapely.box(12, 0, 13, 1)])
    joined = join_overlapping(np.array([*chain, two_parts], dtype=object))
    np.testing.assert_allclose(shapely.area(joined), [5.5, 2.0])
    assert join_overlapping(np.empty(0, dtype=object)).size == 0


@pytest.mark.parametrize("key", KEYS)
def test_points_carry_their_area_to_their_cell(key: str, all_land: AllLand, no_land: LandSamples) -> None:
    ids, outlines = around(key)
    inside, elsewhere = outlines[0].centroid, shapely.Point(0.0, 0.0)
    points = inventory([inside, inside, elsewhere], area_m2=[900.0, 1800.0, 700.0])
    got = label_cells(points, parse_grid_key(key), all_land(key, ids), AREA, 2018, no_land)
    at = int(np.flatnonzero(got["cell_ids"].values == ids[0])[0])
    assert (float(got["count"][at]), float(got["rts_area_m2"][at])) == (2.0, 2700.0)
    assert got.attrs["count_outside_cells"] == 1 and got.attrs["rts_area_outside_cells_m2"] == 700.0


def test_a_point_of_unknown_area_makes_the_density_unknown_but_not_the_count(
    all_land: AllLand, no_land: LandSamples
) -> None:
    ids, outlines = around("h3-5")
    points = inventory([outlines[0].centroid, outlines[1].centroid], area_m2=[np.nan, 900.0])
    got = label_cells(points, parse_grid_key("h3-5"), all_land("h3-5", ids), AREA, 2018, no_land)
    assert got["count"].sum() == 2 and np.isfinite(got["count"]).all()
    assert int(np.isnan(got["density"]).sum()) == 1
    assert got.attrs["count_without_area"] == 1
    assert summary(got)["positive_cells"] == 2


def test_unobserved_is_nan_and_observed_without_slumps_is_zero(all_land: AllLand, no_land: LandSamples) -> None:
    ids, outlines = around("h3-5")
    cells = all_land("h3-5", ids)
    seen = shapely.union_all(outlines[:3])
    got = label_cells(inventory([], seen=[seen]), parse_grid_key("h3-5"), cells, AREA, 2018, no_land)
    by_id = {int(i): got.isel(cell=at) for at, i in enumerate(got["cell_ids"].values)}
    for i in ids[:3]:
        assert float(by_id[int(i)]["density"]) == 0.0
        assert float(by_id[int(i)]["observed_fraction"]) == pytest.approx(1.0, abs=1e-4)
    away = [i for i, outline in zip(ids, outlines, strict=True) if not outline.intersects(seen.buffer(1.0))]
    for i in ids[3:]:
        here = by_id[int(i)]
        assert float(here["observed_fraction"]) < 1e-4
        assert np.isnan(here["count"]) == np.isnan(here["density"]) == (float(here["observed_fraction"]) == 0.0)
    assert all(float(by_id[int(i)]["observed_fraction"]) == 0.0 for i in away)


@pytest.mark.parametrize("key", KEYS)
def test_half_a_cell_seen_is_half_the_denominator_and_half_the_slumps(
    key: str, all_land: AllLand, no_land: LandSamples
) -> None:
    ids, outlines = around(key)
    x, y = outlines[0].centroid.coords[0]
    seen = shapely.box(x, y - 1e5, x + 1e5, y + 1e5)
    slumps = [shapely.box(x - 60, y, x + 40, y + 100), shapely.box(x - 900, y, x - 800, y + 100)]
    got = label_cells(inventory(slumps, seen=[seen]), parse_grid_key(key), all_land(key, ids), AREA, 2018, no_land)
    here = got.isel(cell=int(np.flatnonzero(got["cell_ids"].values == ids[0])[0]))
    share = outlines[0].intersection(seen).area / outlines[0].area
    assert float(here["observed_fraction"]) == pytest.approx(share, rel=1e-4)
    assert float(here["rts_area_m2"]) == pytest.approx(4000.0, rel=2e-3)  # the border is off by up to 6 cm
    assert float(here["density"]) == pytest.approx(4000.0 / (share * outlines[0].area), rel=2e-3)
    assert got.attrs["count_unobserved"] == 2  # the inner point of the cut one lies outside too
    assert got.attrs["rts_area_unobserved_m2"] == pytest.approx(16_000.0, rel=1e-3)


def test_a_footprint_of_another_year_leaves_all_unobserved(all_land: AllLand, no_land: LandSamples) -> None:
    ids, outlines = around("h3-5")
    given = inventory([outlines[0].centroid.buffer(100)], seen=[shapely.union_all(outlines)], years=["2019"])
    got = label_cells(given, parse_grid_key("h3-5"), all_land("h3-5", ids), AREA, 2018, no_land)
    assert np.isnan(got["density"]).all() and np.isnan(got["count"]).all() and np.isnan(got["rts_area_m2"]).all()
    assert (got["observed_area_m2"] == 0.0).all()
    assert summary(got)["unobserved_cells"] == ids.size and got.attrs["count_unobserved"] == 1


def test_a_year_that_no_file_speaks_of_is_unobserved_in_the_whole_study_area(
    all_land: AllLand, no_land: LandSamples
) -> None:
    ids, _ = around("h3-5")
    silent = inventory([], unobserved_years=(2019,))
    for year, observed in ((2018, 1.0), (2019, 0.0)):
        got = label_cells(silent, parse_grid_key("h3-5"), all_land("h3-5", ids), AREA, year, no_land)
        assert (got["observed_fraction"] == observed).all()


def test_a_cell_without_land_is_unobserved_and_its_slumps_are_counted_as_lost(
    all_land: AllLand, no_land: LandSamples
) -> None:
    ids, outlines = around("h3-5")
    order = np.argsort(ids)
    fraction = np.where(ids[order] == ids[0], 0.0, 1.0)
    cells = all_land("h3-5", ids, fraction)
    slump = outlines[0].centroid.buffer(100)
    got = label_cells(inventory([slump]), parse_grid_key("h3-5"), cells, AREA, 2018, no_land)
    assert int(np.isnan(got["density"]).sum()) == 1
    assert got.attrs["count_unobserved"] == 1
    assert got.attrs["rts_area_unobserved_m2"] == pytest.approx(slump.area, rel=1e-6)


def test_a_shore_with_less_land_than_slumps_has_density_one_and_is_counted(
    all_land: AllLand, no_land: LandSamples
) -> None:
    ids, outlines = around("h3-5")
    cells = all_land("h3-5", ids, 1e-6)
    got = label_cells(
        inventory([outlines[0].centroid.buffer(1000)]), parse_grid_key("h3-5"), cells, AREA, 2018, no_land
    )
    assert float(got["density"].max()) == 1.0
    assert got.attrs["cells_with_capped_density"] == 1


def test_on_the_coast_the_land_in_the_footprint_counts_and_not_the_sea(all_land: AllLand) -> None:
    key = "h3-4"
    grid = parse_grid_key(key)
    ids = grid.locate([129.0], [72.0])  # the Lena delta's eastern shore
    outline = grid.polygons(ids)[0]
    land = land_samples(70.0, step=1)
    inside = grid.locate(land.lon, land.lat) == ids[0]
    fraction = float(land.area_m2[inside].sum() / outline.area)
    assert 0.1 < fraction < 0.95
    x, y = outline.centroid.coords[0]
    seen = shapely.box(x - 1e5, y - 1e5, x + 1e5, y)
    got = label_cells(inventory([], seen=[seen]), grid, all_land(key, ids, fraction), AREA, 2018, land_samples(70.0))
    _, py = to_equal_area(land.lon[inside], land.lat[inside])
    exact = float(land.area_m2[inside][py < y].sum())
    assert float(got["observed_area_m2"][0]) == pytest.approx(exact, rel=0.03)
    by_area = fraction * outline.intersection(seen).area
    assert abs(by_area - exact) > 0.1 * exact  # sharing land evenly over the cell would be wrong
    # A mask on the other half is the same thing said the other way round; one on the sea takes no land.
    rest, sea = shapely.box(x - 1e5, y, x + 1e5, y + 1e5), shapely.box(x + 2e5, y, x + 3e5, y + 1e5)
    masked = with_masks(inventory([]), [rest, sea])
    again = label_cells(masked, grid, all_land(key, ids, fraction), AREA, 2018, land_samples(70.0))
    assert float(again["observed_area_m2"][0]) == pytest.approx(exact, rel=0.03)


def balance(got: xr.Dataset) -> float:
    """Area in cells and lost, by the area of all slumps."""
    lost = sum(got.attrs[f"rts_area_{where}_m2"] for where in ("outside_cells", "unobserved", "masked"))
    return float((got["rts_area_m2"].sum() + lost) / got.attrs["rts_area_total_m2"])


@pytest.mark.parametrize("key", KEYS)
def test_a_masked_half_of_a_cell_is_no_observed_land_and_holds_no_slump(
    key: str, all_land: AllLand, no_land: LandSamples
) -> None:
    ids, outlines = around(key)
    x, y = outlines[0].centroid.coords[0]
    glacier = shapely.box(x, y - 1e5, x + 1e5, y + 1e5)  # all that is right of the middle of the cell
    across, on_ice = shapely.box(x - 150, y, x + 50, y + 100), shapely.box(x + 500, y, x + 600, y + 100)
    cells = all_land(key, ids)
    plain = inventory([across, on_ice])
    masked = with_masks(plain, [glacier])
    got = label_cells(masked, parse_grid_key(key), cells, AREA, 2018, no_land)
    at = int(np.flatnonzero(got["cell_ids"].values == ids[0])[0])
    left = outlines[0].difference(glacier).area
    assert float(got["observed_area_m2"][at]) == pytest.approx(left, rel=1e-4)
    assert float(got["rts_area_m2"][at]) == pytest.approx(15_000.0, rel=1e-5)
    assert float(got["count"].sum()) == 1 and got.attrs["count_masked"] == 1
    assert got.attrs["rts_area_masked_m2"] == pytest.approx(15_000.0, rel=1e-5)
    assert balance(got) == pytest.approx(1.0, rel=1e-9)
    bare = label_cells(plain, parse_grid_key(key), cells, AREA, 2018, no_land)
    np.testing.assert_allclose(bare["observed_fraction"].values, 1.0)


def test_a_cell_that_is_masked_all_over_is_unobserved(all_land: AllLand, no_land: LandSamples) -> None:
    ids, outlines = around("h3-5")
    covered = with_masks(inventory([outlines[0].centroid.buffer(50.0)]), [outlines[0].buffer(500.0)])
    got = label_cells(covered, parse_grid_key("h3-5"), all_land("h3-5", ids), AREA, 2018, no_land)
    at = int(np.flatnonzero(got["cell_ids"].values == ids[0])[0])
    assert np.isnan(got["density"].values[at]) and np.isnan(got["density_high"].values[at])
    assert got["observed_area_m2"].values[at] == 0.0
    assert np.isfinite(np.delete(got["density"].values, at)).all()


def test_inside_a_footprint_masks_take_only_what_was_looked_at(all_land: AllLand, no_land: LandSamples) -> None:
    ids, outlines = around("h3-5")
    x, y = outlines[0].centroid.coords[0]
    seen = shapely.box(x - 1e5, y - 1e5, x + 1000, y + 1e5)
    lake = shapely.box(x - 1000, y - 1000, x + 3000, y + 1000)
    point = shapely.Point(x, y)
    got = label_cells(
        with_masks(inventory([point], [seen], area_m2=[900.0]), [lake]),
        parse_grid_key("h3-5"), all_land("h3-5", ids), AREA, 2018, no_land,
    )  # fmt: skip
    at = int(np.flatnonzero(got["cell_ids"].values == ids[0])[0])
    expected = outlines[0].intersection(seen).difference(lake).area / outlines[0].area
    assert float(got["observed_fraction"][at]) == pytest.approx(expected, rel=1e-4)
    assert (got.attrs["count_masked"], got.attrs["rts_area_masked_m2"]) == (1, 900.0)
    assert balance(got) == 1.0


def test_what_lies_outside_the_cells_is_measured_and_the_sum_is_whole(all_land: AllLand, no_land: LandSamples) -> None:
    ids, outlines = around("h3-5")
    corner = shapely.Point(shapely.get_coordinates(outlines[0])[0])
    slump = corner.buffer(400.0)
    got = label_cells(inventory([slump]), parse_grid_key("h3-5"), all_land("h3-5", ids[:1]), AREA, 2018, no_land)
    outside = slump.difference(outlines[0]).area
    assert got.attrs["rts_area_outside_cells_m2"] == pytest.approx(outside, rel=1e-5)
    assert balance(got) == pytest.approx(1.0, rel=1e-9)


def test_intervals_hold_the_density_and_an_empty_cell_has_an_upper_bound(
    all_land: AllLand, no_land: LandSamples
) -> None:
    ids, outlines = around("h3-5")
    x, y = outlines[0].centroid.coords[0]
    slumps = [shapely.box(x + 300 * i, y, x + 300 * i + 100, y + 100) for i in range(4)]
    got = label_cells(inventory(slumps), parse_grid_key("h3-5"), all_land("h3-5", ids), AREA, 2018, no_land)
    at = int(np.argmax(got["density"].values))
    assert float(got["count_low"][at]) == pytest.approx(1.09, abs=0.01)  # Garwood's bounds of 4 are 1.09 and 10.24
    assert float(got["count_high"][at]) == pytest.approx(10.24, abs=0.01)
    assert float(got["density_low"][at] / got["density"][at]) == pytest.approx(1.09 / 4, abs=0.01)
    empty = np.delete(np.arange(ids.size), at)
    assert (got["density_low"].values[empty] == 0.0).all()
    np.testing.assert_allclose(
        got["density_high"].values[empty], 3.689 * 1e4 / got["observed_area_m2"].values[empty], rtol=1e-3
    )


def test_the_histogram_counts_every_cell_with_a_density(all_land: AllLand, no_land: LandSamples) -> None:
    ids, outlines = around("h3-5")
    slumps = [outlines[0].centroid.buffer(20.0), outlines[1].centroid.buffer(2000.0)]
    counts = summary(label_cells(inventory(slumps), parse_grid_key("h3-5"), all_land("h3-5", ids), AREA, 2018, no_land))
    assert sum(counts["density"].values()) == counts["observed_cells"]
    assert counts["density"]["0"] == ids.size - 2
    assert counts["density"]["1e-06 to 1e-05"] == 1 and counts["density"]["0.01 to 0.1"] == 1


def test_a_noisy_detector_is_told_in_the_labels(all_land: AllLand, no_land: LandSamples) -> None:
    noisy = inventory([])
    noisy.report["detector_f1"] = [0.26, 0.7]
    got = label_cells(noisy, parse_grid_key("h3-5"), all_land("h3-5", around("h3-5")[0]), AREA, 2018, no_land)
    assert "F1 of 0.26 to 0.7" in got.attrs["label_noise"]
    assert "mean_rts_area_m2" not in got.attrs and np.isnan(got["density_high"]).all()  # no slump, no size


def test_cells_of_another_grid_are_refused(all_land: AllLand, no_land: LandSamples) -> None:
    ids, _ = around("h3-5")
    with pytest.raises(GridError, match="healpix-8"):
        label_cells(inventory([]), parse_grid_key("healpix-8"), all_land("h3-5", ids), AREA, 2018, no_land)


def test_unsorted_cells_are_refused(all_land: AllLand, no_land: LandSamples) -> None:
    cells = all_land("h3-5", around("h3-5")[0])
    with pytest.raises(SchemaError, match="not sorted"):
        label_cells(inventory([]), parse_grid_key("h3-5"), cells.isel(cell=slice(None, None, -1)), AREA, 2018, no_land)


def test_every_variable_has_units_and_the_promised_type(all_land: AllLand, no_land: LandSamples) -> None:
    cells = all_land("h3-5", around("h3-5")[0])
    got = label_cells(inventory([]), parse_grid_key("h3-5"), cells, AREA, 2018, no_land)
    assert {str(name): str(v.dtype) for name, v in got.data_vars.items()} == {
        "count": "float64",
        "rts_area_m2": "float64",
        "observed_area_m2": "float64",
        "observed_fraction": "float32",
        "density": "float32",
        "count_low": "float32",
        "count_high": "float32",
        "density_low": "float32",
        "density_high": "float32",
    }
    assert {v.attrs["units"] for v in got.data_vars.values()} == {"1", "m2", "m2 m-2"}
    for name in ("cell_ids", "lon", "lat"):
        assert got[name].identical(cells[name])

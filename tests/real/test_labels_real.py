"""The three real inventories of the `ne_siberia` preset: their known counts, and density from them."""

from pathlib import Path

import numpy as np
import pytest
import shapely

from entropice_core.config import load_study
from entropice_core.errors import SourceError
from entropice_core.grids import parse_grid_key
from entropice_core.grids.cells import build_cells
from entropice_core.grids.land import land_samples
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.density import label_cells, summary
from entropice_core.labels.inventory import Inventory, read_inventory

pytestmark = pytest.mark.real

STUDY = load_study("ne_siberia")
SIBERIA = StudyArea(60.0, STUDY.study_area.bounds)
ARCTIC = StudyArea(60.0)


def read(
    name: str, root: Path, area: StudyArea = SIBERIA, years: range = range(2018, 2020), **changes: object
) -> Inventory:
    config = STUDY.inventories[name].model_copy(update=changes)
    return read_inventory(name, config, root, area, list(years))


def test_nitze_has_its_known_defects(real_data: Path) -> None:
    got = read("nitze2021", real_data, ARCTIC)
    total = got.report["total"]
    assert (total["rows"], total["in"], total["invalid"]) == (2182, 2182, 4)
    # 608 outlines occur more than once, three of them in two years, where both stay.
    assert total["rejected"] == {"duplicate": 605}
    assert got.report["years"] == {"2018": 258, "2019": 1319}
    assert total["repaired"] == 5  # the fifth touches itself only after projection
    assert got.features.is_valid.all()
    assert got.features.geometry.normalize().to_wkb().nunique() == 2182 - 608


def test_without_regard_to_years_nitze_has_608_exact_duplicates(real_data: Path) -> None:
    import geopandas as gpd

    path = real_data / "rts_inventories/nitze2021/GT_Set_Nitze_etal_2021_TrainingSet_RTS.shp"
    wkb = gpd.read_file(path).geometry.to_wkb()
    assert int(wkb.duplicated().sum()) == 608


def test_nitze_areas_are_those_of_its_description(real_data: Path) -> None:
    import geopandas as gpd

    path = real_data / "rts_inventories/nitze2021/GT_Set_Nitze_etal_2021_TrainingSet_RTS.shp"
    every = gpd.read_file(path).to_crs("EPSG:6931").area
    np.testing.assert_allclose(np.percentile(every, [5, 50, 95]), [810, 9574, 101741], rtol=0.01)
    kept = read("nitze2021", real_data, ARCTIC).features["area_m2"]
    assert kept.min() >= every.min() * 0.999 and kept.max() <= every.max() * 1.001


def test_every_nitze_slump_lies_in_the_mapped_footprint(real_data: Path) -> None:
    got = read("nitze2021", real_data, ARCTIC)
    assert got.report["footprint"]["area_km2"] == pytest.approx(1_636_692, rel=1e-4)
    grid = parse_grid_key("h3-4")
    labels = label_cells(got, grid, build_cells(grid, ARCTIC, 0.0), ARCTIC, 2019, land_samples(60.0))
    assert labels.attrs["count_unobserved"] == labels.attrs["count_outside_cells"] == 0
    union = shapely.union_all(got.features[got.features["year"] == 2019].to_crs("EPSG:6931").geometry)
    assert float(labels["rts_area_m2"].sum()) == pytest.approx(union.area, rel=1e-6)
    assert float(labels["count"].sum()) < 1319  # several images of one slump are one slump


@pytest.mark.parametrize(
    ("key", "any_", "tenth", "half", "most"),
    [
        ("h3-3", 314, 225, 109, 45),
        ("h3-4", 1359, 1163, 867, 586),
        ("healpix-6", 390, 276, 143, 51),
        ("healpix-7", 1100, 900, 617, 390),
        ("healpix-8", 3501, 3075, 2527, 1953),
    ],
)
def test_as_many_cells_lie_in_the_footprint_as_were_counted_before(
    real_data: Path, key: str, any_: int, tenth: int, half: int, most: int
) -> None:
    """Counted independently in EPSG:3575 by share of the cell's whole area, sea included."""
    from entropice_core.labels.footprint import footprint_of_year
    from entropice_core.labels.observed import observed_share
    from entropice_core.labels.overlay import CellIndex

    footprint = read("nitze2021", real_data, ARCTIC).footprint
    assert footprint is not None
    grid = parse_grid_key(key)
    ids = grid.cells(StudyArea(58.0))
    index = CellIndex(grid, ids, float(grid.areas_m2(ids).max()))
    share = observed_share(index, footprint_of_year(footprint, 2018), np.ones(ids.size), land_samples(89.0))
    got = [int((share > 0).sum()), *(int((share >= limit).sum()) for limit in (0.1, 0.5, 0.9))]
    np.testing.assert_allclose(got, [any_, tenth, half, most], atol=2, rtol=1e-3)


def test_runge_points_are_active_in_their_years_with_whole_pixels(real_data: Path) -> None:
    got = read("runge2022", real_data)
    total = got.report["total"]
    assert (total["rows"], total["in"]) == (50_895, 2 * 50_895)
    assert total["rejected"] == {"not_active_in_year": 2 * 50_895 - 13_132 - 13_766}
    assert got.report["years"] == {"2018": 13_132, "2019": 13_766}
    pixels = got.features["area_m2"] / 900.0
    np.testing.assert_allclose(pixels, np.round(pixels), atol=1e-6)
    assert got.features[got.features["year"] == 2018]["area_m2"].sum() == pytest.approx(42_354_000.0)


def test_a_year_that_runge_did_not_map_is_unobserved(real_data: Path) -> None:
    got = read("runge2022", real_data, years=range(2018, 2022))
    assert got.unobserved_years == (2020, 2021)


def test_runge_polygons_of_empty_scenes_are_observations(real_data: Path) -> None:
    got = read("runge2022_polygons", real_data, years=range(2013, 2020))
    total = got.report["total"]
    assert (total["files"], total["rows"], total["in"]) == (48, 1744, 1744)
    assert len(got.report["empty_layers"]) == 9
    assert {year for layer in got.report["empty_layers"] for year in layer["years"]} == {2013, 2014, 2015, 2016, 2018}
    assert got.unobserved_years == ()
    assert sum(got.report["years"].values()) + total["rejected"]["duplicate"] == 1744


def test_scenes_repeated_in_other_projections_are_found_out(real_data: Path) -> None:
    plain = read("runge2022_polygons", real_data)
    repeated = read("runge2022_polygons", real_data, exclude=("*_epsg54034.shp",))
    assert set(repeated.report["crs"]) == {"EPSG:4326", "EPSG:3571", "EPSG:3857"}
    extra = repeated.report["total"]["in"] - plain.report["total"]["in"]
    assert extra == 46
    assert repeated.report["total"]["kept"] == plain.report["total"]["kept"]


def test_earth_centred_outlines_without_heights_are_refused(real_data: Path) -> None:
    pattern = "{data}/rts_inventories/runge2022/validation_polygons/*/*_epsg4978.gpkg"
    with pytest.raises(SourceError, match="earth-centred"):
        read("runge2022_polygons", real_data, years=range(2017, 2018), files=(pattern,))


@pytest.mark.parametrize("key", ["h3-4", "healpix-7"])
def test_runge_density_on_cells_adds_up(real_data: Path, key: str) -> None:
    got = read("runge2022", real_data)
    grid = parse_grid_key(key)
    cells = build_cells(grid, SIBERIA, 0.05)
    labels = label_cells(got, grid, cells, SIBERIA, 2018, land_samples(60.0))
    counts = summary(labels)
    assert counts["rts_count"] + counts["count_outside_cells"] == 13_132
    assert counts["rts_area_km2"] * 1e6 + counts["rts_area_outside_cells_m2"] == pytest.approx(42_354_000.0)
    assert counts["observed_cells"] == cells.sizes["cell"]
    assert 0.3 < counts["positive_cells"] / counts["observed_cells"] < 0.4
    assert float(labels["density"].max()) < 0.01

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

from entropice_core.config import FootprintConfig
from entropice_core.errors import SourceError
from entropice_core.labels.footprint import footprint_of_year, is_dated, parse_year_list, read_footprint

Frame = Callable[..., gpd.GeoDataFrame]


def config(**changes: Any) -> FootprintConfig:
    return FootprintConfig.model_validate({"kind": "files", "files": ["{data}/seen.parquet"]} | changes)


@pytest.mark.parametrize(
    ("value", "years"),
    [
        ("2018,2019", "2018,2019"),
        ("2019; 2018, 2018", "2018,2019"),
        ("[2018, 2019]", "2018,2019"),
        (2018, "2018"),
        (2018.0, "2018"),
        ([2019, 2018], "2018,2019"),
    ],
)
def test_a_list_of_years_has_one_spelling(value: object, years: str) -> None:
    assert parse_year_list(value, "x") == years


@pytest.mark.parametrize("value", ["2018-2020", "", "all", None, float("nan"), "2018-07-01"])
def test_a_range_or_a_gap_is_no_list_of_years(value: object) -> None:
    with pytest.raises(SourceError, match="row 3: .* is neither a year nor a list of years"):
        parse_year_list(value, "row 3")


def test_each_year_has_its_own_footprint(tmp_path: Path, frame: Frame) -> None:
    shapes = [shapely.box(120, 70, 122, 72), shapely.box(121, 70, 123, 72), shapely.box(130, 70, 131, 71)]
    frame(shapes, when=["2018", "2018,2019", "2020"]).to_parquet(tmp_path / "seen.parquet")
    seen, report = read_footprint("rts", config(years_column="when"), tmp_path)
    assert seen is not None and is_dated(seen)
    assert report["years"] == ["2018", "2019", "2020"]
    assert len(footprint_of_year(seen, 2018)) == 1  # they overlap and are one
    assert [len(footprint_of_year(seen, year)) for year in (2019, 2020, 2021)] == [1, 1, 0]


def test_a_footprint_without_years_holds_for_every_year(tmp_path: Path, frame: Frame) -> None:
    frame([shapely.box(120, 70, 122, 72)]).to_parquet(tmp_path / "seen.parquet")
    seen, _ = read_footprint("rts", config(), tmp_path)
    assert seen is not None and not is_dated(seen)
    assert len(footprint_of_year(seen, 1999)) == 1


def test_missing_and_broken_shapes_of_a_footprint_are_counted(tmp_path: Path, frame: Frame) -> None:
    bow_tie = shapely.Polygon([(127, 72), (128, 73), (128, 72), (127, 73)])
    frame([None, shapely.Polygon(), bow_tie]).to_parquet(tmp_path / "seen.parquet")
    _, report = read_footprint("rts", config(), tmp_path)
    assert (report["in"], report["kept"], report["repaired"], report["rejected"]) == (3, 1, 1, {"empty_geometry": 2})


@pytest.mark.parametrize(
    ("shapes", "message"),
    [
        ([shapely.Point(120, 70)], "must hold polygons, but holds Point"),
        ([None], "none of the 1 shapes is a polygon"),
        ([shapely.box(70, 120, 71, 121)], "row 0 has coordinates that are not on the globe"),
    ],
)
def test_a_footprint_that_is_no_area_is_an_error(
    tmp_path: Path, frame: Frame, shapes: list[shapely.Geometry], message: str
) -> None:
    frame(shapes).to_parquet(tmp_path / "seen.parquet")
    with pytest.raises(SourceError, match=message):
        read_footprint("rts", config(), tmp_path)


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_a_footprint_without_coordinate_system_uses_the_declared_one(tmp_path: Path, frame: Frame) -> None:
    frame([shapely.box(120, 70, 122, 72)], crs=None, id=[1]).to_file(tmp_path / "seen.shp")
    with pytest.raises(SourceError, match=r"inventories\.rts\.footprint"):
        read_footprint("rts", config(files=["{data}/seen.shp"]), tmp_path)
    seen, _ = read_footprint("rts", config(files=["{data}/seen.shp"], crs="EPSG:4326"), tmp_path)
    assert seen is not None and seen.geometry[0].bounds == pytest.approx((120, 70, 122, 72))


def test_the_study_area_needs_no_file(tmp_path: Path) -> None:
    seen, report = read_footprint("rts", FootprintConfig(kind="study_area"), tmp_path)
    assert seen is None and report == {"kind": "study_area"}

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import numpy as np
import pytest
import shapely
from pandas.testing import assert_frame_equal
from pyproj import Geod

from entropice_core.errors import SchemaError, SourceError
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.inventory import COLUMNS, Inventory, read_back, write_inventory

Read = Callable[..., Inventory]
Frame = Callable[..., gpd.GeoDataFrame]
Square = Callable[..., shapely.Polygon]
DEGREES = {"crs": "EPSG:4326"}


def rejected(inventory: Inventory) -> dict[str, int]:
    total = inventory.report["total"]
    assert total["in"] == total["kept"] + sum(total["rejected"].values())
    assert total["kept"] == len(inventory.features)
    return dict(total["rejected"])


def test_each_defect_is_counted_under_its_own_reason(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    good = square(126.0, 72.0)
    bow_tie = shapely.Polygon([(127, 72), (127.01, 72.01), (127.01, 72), (127, 72.01)])
    line = shapely.Polygon([(128, 72), (128.01, 72), (128.02, 72)])
    shapes = [good, None, shapely.Polygon(), bow_tie, line, good, good, square(126.1, 72.0), square(126.2, 72.0)]
    shapes += [square(20.0, 70.0), square(126.0, 40.0)]
    dates = ["2018-07-01"] * 5 + ["2018-08-01", "2019-08-01", "no date", "2007-08-01", "2018-07-01", "2018-07-01"]
    frame(shapes, date=dates).to_parquet(tmp_path / "rts.parquet")
    got = read(files=["{data}/rts.parquet"])
    assert rejected(got) == {
        "missing_geometry": 1,
        "empty_geometry": 1,
        "zero_area": 1,
        "no_year": 1,
        "year_outside_study": 1,
        "outside_study_area": 2,
        "duplicate": 1,
    }
    assert got.report["total"]["repaired"] == 1
    assert got.report["years"] == {"2018": 2, "2019": 1}
    assert tuple(got.features.columns) == COLUMNS
    assert got.features.crs == "EPSG:4326"
    assert got.features.is_valid.all()


def test_a_bow_tie_keeps_both_of_its_wings(tmp_path: Path, read: Read, frame: Frame) -> None:
    bow_tie = shapely.Polygon([(127, 72), (127.01, 72.01), (127.01, 72), (127, 72.01)])
    frame([bow_tie], date=[2018]).to_file(tmp_path / "rts.gpkg")
    whole = abs(Geod(ellps="WGS84").geometry_area_perimeter(shapely.box(127, 72, 127.01, 72.01))[0])
    assert read().features["area_m2"][0] == pytest.approx(whole / 2.0, rel=1e-3)


FORMATS = ["rts.shp", "rts.gpkg", "rts.geojson", "rts.fgb", "rts.parquet", "rts.zip"]
SYSTEMS = ["EPSG:4326", "EPSG:3413", "EPSG:32652", "EPSG:3857"]
# GeoJSON is in degrees by definition.
COMBINED = [(name, crs) for name in FORMATS for crs in SYSTEMS if name != "rts.geojson" or crs == "EPSG:4326"]


@pytest.mark.parametrize(("name", "crs"), COMBINED)
def test_every_format_and_coordinate_system_gives_the_same_features(
    tmp_path: Path, read: Read, frame: Frame, square: Square, name: str, crs: str
) -> None:
    original = square(126.0, 72.0)
    made = frame([original, square(127.0, 73.0)], date=["2018-07-01", "2019-07-01"], name=["a", "b"]).to_crs(crs)
    if name.endswith(".parquet"):
        made.to_parquet(tmp_path / name)
    else:
        made.to_file(tmp_path / (name if name != "rts.zip" else "rts.shp.zip"))
    got = read(files=["{data}/rts*" if name == "rts.zip" else f"{{data}}/{name}"], id_column="name")
    assert got.features["rts_id"].tolist() == ["a", "b"]
    assert got.features["year"].tolist() == [2018, 2019]
    exact = abs(Geod(ellps="WGS84").geometry_area_perimeter(original)[0])
    assert got.features["area_m2"][0] == pytest.approx(exact, rel=1e-4)
    assert got.features.geometry[0].symmetric_difference(original).area < 1e-4 * original.area
    assert got.report["crs"] == [crs]


def test_areas_are_true_areas_on_the_ellipsoid(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    shapes = [square(116.0 + i, 68.5 + i, 1000.0) for i in range(7)]
    frame(shapes, date=[2018] * 7).to_file(tmp_path / "rts.gpkg")
    geodesic = [abs(Geod(ellps="WGS84").geometry_area_perimeter(shape)[0]) for shape in shapes]
    np.testing.assert_allclose(read().features["area_m2"], geodesic, rtol=2e-4)


def test_points_of_a_csv_carry_the_area_of_their_column(tmp_path: Path, read: Read) -> None:
    rows = "id,Longitude,Latitude,date,ha\n7,126,72,2018-07-01,0.5\n8,127,72,2018-07-01,\n9,,72,2018-07-01,1\n"
    rows += "10,127,73,2018-07-01,0\n11,126,72,2018-07-01,0.5\n12,126,72,2018-07-01,0.7\n"
    (tmp_path / "rts.csv").write_text(rows)
    csv = {"geometry": "point", "files": ["{data}/rts.csv"], "area_column": "ha", "area_unit": "ha"}
    got = read(**csv, **DEGREES, id_column="id")
    assert got.features["rts_id"].tolist() == ["7", "12"]
    np.testing.assert_allclose(got.features["area_m2"], [5000.0, 7000.0])
    assert rejected(got) == {"missing_geometry": 1, "zero_area": 1, "no_area": 1, "duplicate": 1}


def test_points_without_an_area_column_have_an_unknown_area(tmp_path: Path, read: Read) -> None:
    (tmp_path / "rts.csv").write_text("lon,lat,date\n126,72,2018\n")
    got = read(geometry="point", files=["{data}/rts.csv"], **DEGREES)
    assert np.isnan(got.features["area_m2"][0])


def test_several_points_in_one_row_are_rejected_and_one_is_taken(tmp_path: Path, read: Read, frame: Frame) -> None:
    shapes = [shapely.MultiPoint([(126, 72)]), shapely.MultiPoint([(126, 72), (127, 72)])]
    frame(shapes, date=[2018, 2018]).to_file(tmp_path / "rts.gpkg")
    got = read(geometry="point")
    assert rejected(got) == {"several_points": 1}
    assert got.features.geometry[0].geom_type == "Point"


@pytest.mark.filterwarnings("ignore:'crs' was not provided:UserWarning")
def test_a_file_without_coordinate_system_says_what_to_write(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    made = frame([square(126.0, 72.0)], crs=None, date=["2018"])
    made.to_file(tmp_path / "rts.shp")
    with pytest.raises(SourceError, match=r"rts\.shp does not say its coordinate system: write it under inventories"):
        read(files=["{data}/rts.shp"])
    assert len(read(files=["{data}/rts.shp"], **DEGREES).features) == 1


def test_the_same_outlines_in_another_projection_are_duplicates(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    made = frame([square(126.0 + i / 10, 72.0) for i in range(20)], date=[2018] * 20)
    made.to_file(tmp_path / "a.gpkg")
    made.to_crs("EPSG:3857").to_file(tmp_path / "b.gpkg")
    got = read(files=["{data}/*.gpkg"])
    assert rejected(got) == {"duplicate": 20}
    assert set(got.features["source_file"]) == {"a.gpkg"}
    assert [line["kept"] for line in got.report["files"]] == [20, 0]


def test_the_year_comes_from_the_file_name_and_empty_layers_are_observations(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    (tmp_path / "scenes").mkdir()
    frame([square(126.0, 72.0)], id=[1]).to_file(tmp_path / "scenes" / "a_2018-07-01_x.shp")
    frame([], id=[]).to_file(tmp_path / "scenes" / "b_2019-07-01_x.shp", geometry_type="Polygon", engine="pyogrio")
    frame([square(126.0, 73.0)], id=[1]).to_file(tmp_path / "scenes" / "c_2018-07-01_copy.shp")
    got = read(
        files=["{data}/*/*.shp"], exclude=["*_copy.shp"], year={"file_name": r"_(\d{4})-\d{2}-\d{2}_"}, id_column="id"
    )
    assert got.features["year"].tolist() == [2018]
    assert got.report["empty_layers"] == [{"file": "scenes/b_2019-07-01_x.shp", "years": [2019]}]
    assert got.unobserved_years == (2020,)
    assert {path.name for path in got.files} >= {"a_2018-07-01_x.shp", "a_2018-07-01_x.dbf", "b_2019-07-01_x.shp"}
    assert not [path for path in got.files if "copy" in path.name]


def test_every_shapefile_of_a_zip_is_read_by_its_own_name(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    import zipfile

    with zipfile.ZipFile(tmp_path / "scenes.zip", "w") as archive:
        for i, name in enumerate(["a_2018_.shp", "b_2019_.shp", "c_2019_skip.shp"]):
            frame([square(126.0 + i, 72.0)], id=[i]).to_file(tmp_path / name)
            for end in (".shp", ".shx", ".dbf", ".prj"):
                archive.write((tmp_path / name).with_suffix(end), f"inner/{name.replace('.shp', end)}")
    got = read(files=["{data}/scenes.zip"], exclude=["*_skip.shp"], year={"file_name": r"_(\d{4})_"})
    assert got.features["source_file"].tolist() == ["scenes.zip/inner/a_2018_.shp", "scenes.zip/inner/b_2019_.shp"]
    assert got.features["year"].tolist() == [2018, 2019]


def test_a_year_without_any_kept_record_is_unobserved_and_not_zero(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    shapes = [square(126.0, 72.0), square(20.0, 70.0), shapely.LineString([(126, 72), (127, 72)]).buffer(0)]
    frame(shapes, date=[2018, 2020, 2020]).to_file(tmp_path / "rts.gpkg")
    got = read()
    # Nothing that is kept is of 2020: a slump far away says nothing about the study area.
    assert rejected(got) == {"empty_geometry": 1, "outside_study_area": 1}
    assert got.unobserved_years == (2019, 2020)
    assert got.report["unobserved_years"] == [2019, 2020]


def test_a_layer_of_rejected_rows_is_no_observation(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    frame([square(126.0, 72.0)], id=[1]).to_file(tmp_path / "a_2018.gpkg")
    frame([square(20.0, 70.0)], id=[1]).to_file(tmp_path / "b_2019.gpkg")
    got = read(files=["{data}/*.gpkg"], year={"file_name": r"_(\d{4})"})
    assert got.unobserved_years == (2019, 2020)
    assert got.report["notes"] == []


def test_a_year_that_rests_on_few_records_is_noted(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    shapes = [square(126.0 + i / 10, 72.0) for i in range(6)]
    frame(shapes, date=[2018] * 3 + [2019] + [2020] * 2).to_file(tmp_path / "rts.gpkg")
    assert read().report["notes"] == ["year 2019 rests on 1 record", "year 2020 rests on 2 records"]


def test_a_column_of_a_year_is_an_observation_even_if_nothing_was_active(tmp_path: Path, read: Read) -> None:
    (tmp_path / "rts.csv").write_text("lon,lat,A2018,A2019\n126,72,5,0\n")
    got = read(geometry="point", files=["{data}/rts.csv"], **DEGREES, year={"column_per_year": "A{year}"})
    assert got.unobserved_years == (2020,)
    assert got.report["notes"] == []


def test_an_inventory_most_of_whose_dates_cannot_be_read_is_refused(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    shapes = [square(126.0 + i, 72.0) for i in range(4)]
    frame(shapes, date=["2018", None, "3 July 2018", "4 July 2018"]).to_file(tmp_path / "rts.gpkg")
    with pytest.raises(
        SourceError, match=r"3 of 4 rows, and rts\.gpkg holds '3 July 2018' in the column 'date'; expected.*YYYYMMDD"
    ):
        read()
    frame(shapes, date=["2018", "2019", "3 July 2018", None]).to_file(tmp_path / "rts.gpkg")
    assert rejected(read()) == {"no_year": 2}


def test_slumps_just_outside_are_kept_because_cells_reach_out(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    shapes = [square(126.0, 67.5), square(126.0, 66.0)]
    frame(shapes, date=[2018, 2018]).to_file(tmp_path / "rts.gpkg")
    got = read()
    assert rejected(got) == {"outside_study_area": 1}
    assert got.report["outside_but_in_reach"] == 1


@pytest.mark.parametrize("spelling", ["split", "beyond", "jump"])
def test_a_slump_across_180_degrees_is_the_same_in_every_spelling(
    tmp_path: Path, read: Read, frame: Frame, square: Square, spelling: str
) -> None:
    whole = shapely.box(179.98, 70.0, 180.01, 70.01)
    east, west = shapely.box(179.98, 70.0, 180.0, 70.01), shapely.box(-180.0, 70.0, -179.99, 70.01)
    jump = shapely.Polygon([(179.98, 70.0), (-179.99, 70.0), (-179.99, 70.01), (179.98, 70.01)])
    shape = {"split": shapely.MultiPolygon([east, west]), "beyond": whole, "jump": jump}[spelling]
    frame([shape], date=[2018]).to_parquet(tmp_path / "rts.parquet")
    got = read(area=StudyArea(60.0), files=["{data}/rts.parquet"])
    exact = abs(Geod(ellps="WGS84").geometry_area_perimeter(whole)[0])
    assert got.features["area_m2"][0] == pytest.approx(exact, rel=1e-3)
    parts = shapely.get_parts(got.features.geometry[0])
    assert sorted(part.centroid.x < 0 for part in parts) == [False, True]
    assert all(part.bounds[2] - part.bounds[0] < 0.05 for part in parts)


def test_points_for_polygons_are_an_error_that_names_the_row(tmp_path: Path, read: Read, frame: Frame) -> None:
    frame([shapely.Point(126, 72)], date=[2018]).to_file(tmp_path / "rts.gpkg")
    with pytest.raises(SourceError, match=r'rts\.gpkg: row 0 is a Point, but the study TOML says geometry = "polygon"'):
        read()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"year": {"column": "dat"}}, "has no column 'dat'.*did you mean 'date'"),
        ({"id_column": "nme"}, "has no column 'nme'.*did you mean 'name'"),
        ({"area_column": "aera"}, "has no column 'aera'.*did you mean 'area'"),
        ({"files": ["{data}/none/*.shp"]}, r"pattern '\{data\}/none/\*.shp' matches no file in the data folder"),
        ({"exclude": ["*"]}, "leaves none of the 1 files"),
        ({"layer": "nope"}, "has no layer 'nope'; known: rts"),
        ({"footprint": {"kind": "files", "files": ["{data}/none.gpkg"]}}, "footprint.files: the pattern"),
    ],
)
def test_a_wrong_name_in_the_toml_is_told_with_what_there_is(
    tmp_path: Path, read: Read, frame: Frame, square: Square, changes: dict[str, Any], message: str
) -> None:
    frame([square(126.0, 72.0)], date=["2018"], name=["a"], area=[1.0]).to_file(tmp_path / "rts.gpkg")
    with pytest.raises(SourceError, match=message):
        read(**changes)


def test_a_data_folder_that_is_not_there_is_named(tmp_path: Path, area: StudyArea) -> None:
    from entropice_core.config import InventoryConfig
    from entropice_core.labels.inventory import read_inventory

    config = InventoryConfig.model_validate(
        {
            "title": "t",
            "geometry": "point",
            "files": ["x.csv"],
            "year": {"column": "y"},
            "footprint": {"kind": "study_area"},
        }
    )
    with pytest.raises(SourceError, match="gone is not there"):
        read_inventory("rts", config, tmp_path / "gone", area, [2018])


def test_swapped_axes_are_an_error_and_not_an_empty_inventory(tmp_path: Path, read: Read, frame: Frame) -> None:
    frame([shapely.box(72.0, 126.0, 72.01, 126.01)], date=[2018]).to_file(tmp_path / "rts.gpkg")
    with pytest.raises(SourceError, match="not one of its 1 shapes has coordinates on the globe"):
        read()


def test_one_row_off_the_globe_is_counted(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    shapes = [square(126.0, 72.0), shapely.box(126.0, 95.0, 126.1, 95.1)]
    frame(shapes, date=[2018, 2018]).to_file(tmp_path / "rts.gpkg")
    assert rejected(read()) == {"coordinates_not_on_earth": 1}


def test_a_files_own_areas_are_compared_with_the_measured_ones(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    frame([square(126.0, 72.0, 1000.0)], date=[2018], size=[1e6]).to_file(tmp_path / "rts.gpkg")
    line = read(area_column="size", area_unit="ha").report["files"][0]
    assert line["declared_to_measured_area"] == pytest.approx(1e4, rel=0.02)


def test_what_is_written_is_read_back_and_written_again_with_the_same_bytes(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    shapes = [square(126.0 + i / 10, 72.0) for i in range(9)]
    frame(shapes, date=[2019, 2018, 2020] * 3).to_file(tmp_path / "rts.gpkg")
    frame([shapely.box(120, 70, 130, 74)], years=["2019, 2018"]).to_file(tmp_path / "seen.gpkg")
    changes = {"footprint": {"kind": "files", "files": ["{data}/seen.gpkg"], "years_column": "years"}}
    got = read(**changes)
    write_inventory(got, tmp_path / "one")
    back = read_back(tmp_path / "one")
    write_inventory(read(**changes), tmp_path / "two")
    for name in ("features.parquet", "footprint.parquet", "report.json"):
        assert (tmp_path / "one" / name).read_bytes() == (tmp_path / "two" / name).read_bytes()
    assert_frame_equal(back.features, got.features)
    assert back.footprint is not None and back.footprint["years"].tolist() == ["2018,2019"]
    assert back.report == json.loads(json.dumps(got.report))
    assert back.unobserved_years == got.unobserved_years == ()
    assert back.files == [] and [path.name for path in got.files] == ["rts.gpkg", "seen.gpkg"]
    assert str(tmp_path) not in (tmp_path / "one" / "report.json").read_text()


def test_features_are_sorted_by_year_file_and_row(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    for name in ("b", "a"):
        shapes = [square(126.0 + i / 10 + ord(name), 72.0) for i in (0, 1)]
        frame([shapely.affinity.translate(s, -ord(name)) for s in shapes], date=[2019, 2018]).to_file(
            tmp_path / f"{name}.gpkg"
        )
    got = read(files=["{data}/?.gpkg"], area=StudyArea(60.0))
    assert got.features["rts_id"].tolist() == ["a.gpkg#1", "a.gpkg#0"]
    assert rejected(got) == {"duplicate": 2}


def test_a_bundle_that_lacks_a_column_is_a_defect(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    frame([square(126.0, 72.0)], date=[2018]).to_file(tmp_path / "rts.gpkg")
    got = read()
    write_inventory(got, tmp_path / "out")
    got.features.drop(columns="year").to_parquet(tmp_path / "out" / "features.parquet")
    with pytest.raises(SchemaError, match=r"lacks the columns \['year'\]"):
        read_back(tmp_path / "out")


def test_an_inventory_with_nothing_in_the_study_is_empty_with_counts(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    frame([square(20.0, 70.0)], date=[2018]).to_file(tmp_path / "rts.gpkg")
    got = read()
    assert rejected(got) == {"outside_study_area": 1}
    write_inventory(got, tmp_path / "out")
    assert len(read_back(tmp_path / "out").features) == 0

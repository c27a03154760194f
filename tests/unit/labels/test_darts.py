"""The layouts of DARTS: columns by any of their names, further ones kept, missing ones named; thresholds; coverage."""

from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely
from pydantic import ValidationError

from entropice_core.config import InventoryConfig
from entropice_core.errors import SourceError
from entropice_core.labels.inventory import Inventory, read_back, write_inventory

Read = Callable[..., Inventory]
Frame = Callable[..., gpd.GeoDataFrame]
Square = Callable[..., shapely.Polygon]
LEVEL_2 = {"layout": "darts_level2", "year": None, "files": ["{data}/DARTS*"]}
LEVEL_1 = LEVEL_2 | {"layout": "darts_level1"}


def level_2(square: Square, n: int = 4, **more: list[Any]) -> dict[str, Any]:
    """Columns and shapes as in level 2 of v1.2."""
    columns: dict[str, Any] = {
        "id": [f"{i:04x}" for i in range(n)],
        "year": [2018, 2019] * (n // 2),
        "area_m2": [40_000.0] * n,
        "pval_mean": [0.55, 0.65, 0.75, 0.95][:n],
        "pval_max": [0.9] * n,
    }
    return {"geometries": [square(126.0 + 0.1 * i, 72.0) for i in range(n)], **columns, **more}


@pytest.mark.parametrize("suffix", [".gpkg", ".parquet"])
@pytest.mark.parametrize("release", ["v1", "v1-2", "v2"])
def test_level_2_needs_no_word_about_columns_in_any_release_and_format(
    tmp_path: Path, read: Read, frame: Frame, square: Square, suffix: str, release: str
) -> None:
    path = tmp_path / f"DARTS_NitzeEtAl_{release}_features_2018-2023_level2{suffix}"
    write(frame(**level_2(square)), path)
    got = read(**LEVEL_2)
    (line,) = got.report["files"]
    assert got.report["years"] == {"2018": 2, "2019": 2}
    assert got.features["rts_id"].tolist() == ["0000", "0002", "0001", "0003"]
    assert got.features["probability"].tolist() == [0.55, 0.75, 0.65, 0.95]
    assert got.features["pval_max"].tolist() == [0.9] * 4
    assert line["release"] == release.removeprefix("v").replace("-", ".")
    assert line["columns"]["missing"] == [] and line["columns"]["known"] == ["pval_max"]
    assert line["declared_to_measured_area"] == pytest.approx(1.0, abs=0.01)


def test_level_1_takes_its_year_from_the_date_of_the_image(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    shapes = [square(126.0, 72.0), square(126.001, 72.0), square(127.0, 72.0)]
    dates = ["2018-07-03", "2018-08-20", "2018-10-02"]
    of_image = {"image_id": ["a", "b", "c"], "tile_id": ["1", "1", "2"], "satellite": ["PSScene"] * 3}
    table = frame(shapes, id=[1, 2, 3], date=dates, **of_image)
    write(table, tmp_path / "DARTS_NitzeEtAl_v1-2_features_2018-2023_level1.gpkg")
    got = read(**LEVEL_1)
    assert got.report["years"] == {"2018": 2, "2019": 1}  # an image of October belongs to the next Arctic year
    assert got.features["image_id"].tolist() == ["a", "b", "c"]
    assert got.report["files"][0]["columns"]["missing"] == ["area", "probability"]


def test_new_columns_are_kept_and_named_and_other_spellings_are_understood(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    columns = level_2(square)
    columns["ID"], columns["Year"] = columns.pop("id"), columns.pop("year")
    columns |= {"slope_deg": [1, 2, 3, 4], "kind": ["RTS", "ALD", None, "RTS"], "source_file": ["x"] * 4}
    write(frame(**columns), tmp_path / "DARTS_v2_level2.parquet")
    got = read(**LEVEL_2)
    assert got.report["files"][0]["columns"]["new"] == ["slope_deg", "kind", "source_file"]
    assert got.features["slope_deg"].tolist() == [1.0, 3.0, 2.0, 4.0]
    assert got.features["kind"].fillna("-").tolist() == ["RTS", "-", "ALD", "RTS"]
    assert got.features["source_file"].unique().tolist() == ["DARTS_v2_level2.parquet"]
    assert got.features["source_file_in_file"].unique().tolist() == ["x"]
    write_inventory(got, tmp_path / "bundle")
    assert read_back(tmp_path / "bundle").features["slope_deg"].tolist() == [1.0, 3.0, 2.0, 4.0]


def test_files_of_two_releases_are_read_together(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    write(frame(**level_2(square)), tmp_path / "DARTS_v1_level2.parquet")
    newer = level_2(square, tile=[1, 2, 3, 4])
    newer["geometries"] = [square(130.0 + i, 72.0) for i in range(4)]
    del newer["pval_mean"]
    write(frame(**newer), tmp_path / "DARTS_v2_level2.parquet")
    got = read(**LEVEL_2)
    assert [line["columns"]["missing"] for line in got.report["files"]] == [[], ["probability"]]
    assert int(got.features["probability"].isna().sum()) == int(got.features["tile"].notna().sum()) == 4


def test_a_file_without_a_year_names_the_columns_it_has(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    columns = level_2(square)
    del columns["year"]
    write(frame(**columns), tmp_path / "DARTS_v2_level2.parquet")
    with pytest.raises(SourceError, match=r"no column of years .*its columns are: id, area_m2, pval_mean, pval_max"):
        read(**LEVEL_2)


def test_what_the_toml_names_wins_over_the_layout(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    write(frame(**level_2(square, when=["2020-07-01"] * 4)), tmp_path / "DARTS_v2_level2.parquet")
    got = read(**(LEVEL_2 | {"year": {"column": "when"}, "probability": {"column": "pval_max"}}))
    assert got.report["years"] == {"2020": 4}
    assert got.features["probability"].tolist() == [0.9] * 4


def test_level_1_columns_in_a_level_2_file_are_noted(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    write(frame(**level_2(square, image_id=["a"] * 4, tile_id=["b"] * 4)), tmp_path / "DARTS_v2_level2.parquet")
    assert any(
        "image_id, tile_id of level 1, but is read as level 2" in note for note in read(**LEVEL_2).report["notes"]
    )


def test_less_probable_features_are_rejected_and_counted(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    columns = level_2(square)
    columns["pval_mean"][1] = None
    write(frame(**columns), tmp_path / "DARTS_v1_level2.parquet")
    got = read(**LEVEL_2, probability={"at_least": 0.7})
    assert got.report["total"]["rejected"] == {"no_probability": 1, "below_probability": 1}
    assert got.report["files"][0]["rejected_rows"] == {"no_probability": [1], "below_probability": [0]}
    assert got.features["probability"].tolist() == [0.75, 0.95]
    assert got.report["probability_at_least"] == 0.7


def test_a_year_whose_features_are_all_improbable_was_looked_at(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    columns = level_2(square)
    columns["pval_mean"] = [0.5, 0.9, 0.5, 0.9]
    write(frame(**columns), tmp_path / "DARTS_v1_level2.parquet")
    got = read(**LEVEL_2, probability={"at_least": 0.7})
    assert got.report["years"] == {"2019": 2} and got.unobserved_years == (2020,)


@pytest.mark.parametrize(
    ("pval", "probability", "message"),
    [
        ([55.0, 65.0, 75.0, 95.0], {"at_least": 0.5}, "row 0 has the probability 55 in 'pval_mean', and 4 of 4"),
        (None, {"at_least": 0.5}, "no column of probabilities"),
        ([0.5] * 4, {"column": "pval_median"}, "no column 'pval_median', which probability.column"),
    ],
)
def test_probabilities_that_cannot_be_used_are_refused(
    tmp_path: Path, read: Read, frame: Frame, square: Square, pval: Any, probability: Any, message: str
) -> None:
    columns = level_2(square)
    columns["pval_mean"] = pval
    if pval is None:
        del columns["pval_mean"]
    write(frame(**columns), tmp_path / "DARTS_v1_level2.parquet")
    with pytest.raises(SourceError, match=message):
        read(**LEVEL_2, probability=probability)


@pytest.mark.parametrize(
    ("column", "values", "expected"),
    [
        ("coverage_period", ["2018,2019", "2020"], ["2018", "2019", "2020"]),
        ("year", [2018, 2019], ["2018", "2019"]),
        ("date", ["2018-07-01", "2019-10-02"], ["2018", "2020"]),
    ],
)
def test_the_coverage_of_each_year_is_found_in_its_usual_columns(
    tmp_path: Path, read: Read, frame: Frame, square: Square, column: str, values: list[Any], expected: list[str]
) -> None:
    write(frame(**level_2(square)), tmp_path / "DARTS_v1_level2.parquet")
    seen = [shapely.box(120, 70, 130, 74), shapely.box(130, 70, 135, 74)]
    frame(seen, **{column: values}).to_parquet(tmp_path / "coverage.parquet")
    got = read(**LEVEL_2, footprint={"kind": "files", "files": ["{data}/coverage.parquet"]})
    assert got.report["footprint"]["years"] == expected
    assert got.report["footprint"]["years_from"] == {"coverage.parquet": column}


def test_one_coverage_file_a_year_has_its_year_in_its_name(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    write(frame(**level_2(square)), tmp_path / "DARTS_v1_level2.parquet")
    for year in (2018, 2020):
        frame([shapely.box(120, 70, 130, 74)]).to_file(tmp_path / f"cover_{year}.gpkg")
    footprint = {"kind": "files", "files": ["{data}/cover_*.gpkg"], "file_name": r"_(\d{4})"}
    got = read(**LEVEL_2, footprint=footprint)
    assert got.footprint is not None and got.footprint["years"].tolist() == ["2018", "2020"]


def test_masks_are_read_once_where_they_overlap_and_stored(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    write(frame(**level_2(square)), tmp_path / "DARTS_v1_level2.parquet")
    ice, lake = shapely.box(126, 71, 127, 72), shapely.box(126.5, 71, 127.5, 72)
    frame([ice, shapely.Polygon(), shapely.box(10, 61, 11, 62)]).to_file(tmp_path / "ice.gpkg")
    frame([lake]).to_file(tmp_path / "lakes.gpkg")
    masks = {"glaciers": {"files": ["{data}/ice.gpkg"]}, "lakes": {"files": ["{data}/lakes.gpkg"]}}
    got = read(**LEVEL_2, masks=masks)
    told = got.report["masks"]
    assert (told["glaciers"]["kept"], told["glaciers"]["rejected"], told["glaciers"]["out_of_reach"]) == (
        2, {"empty_geometry": 1}, 1,
    )  # fmt: skip
    assert told["lakes"]["area_km2"] == pytest.approx(told["glaciers"]["area_km2"] / 2, rel=1e-3)
    assert got.masks is not None and got.masks["mask"].tolist() == ["glaciers", "lakes"]
    assert {"ice.gpkg", "lakes.gpkg"} <= {path.name for path in got.files}
    write_inventory(got, tmp_path / "bundle")
    again = read_back(tmp_path / "bundle").masks
    assert again is not None and again.geometry.geom_equals(got.masks.geometry).all()


ARTS = {"geometry": "polygon", "files": ["{data}/arts.gpkg"], "year": {"column": "BaseMapDate"}, "id_column": "UID"}


def test_the_counter_examples_of_an_inventory_are_left_out_by_their_class(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    shapes = [square(126.0 + i, 72.0) for i in range(4)]
    columns = {"UID": list("abcd"), "BaseMapDate": ["2018-07-01"] * 4, "MergedRTS": [0, 1, 0, 0]}
    table = frame(shapes, TrainClass=["Positive", "Negative", " Positive", None], **columns)
    table.to_file(tmp_path / "arts.gpkg")
    got = read(**ARTS, only={"TrainClass": ["Positive"]})
    assert got.features["rts_id"].tolist() == ["a", "c"]
    assert got.report["total"]["rejected"] == {"not_selected": 2}
    assert read(**ARTS, only={"MergedRTS": [0], "TrainClass": ["Negative", "Positive"]}).report["total"]["kept"] == 2
    with pytest.raises(SourceError, match=r"no row has 'positive' in 'TrainClass'.*there are: 'Positive', 'Negative'"):
        read(**ARTS, only={"TrainClass": ["positive"]})
    with pytest.raises(SourceError, match="no column 'trainclass', which only .* did you mean 'TrainClass'"):
        read(**ARTS, only={"trainclass": ["Positive"]})


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"year": None}, "say where the year is"),
        ({"probability": {"at_least": 0.5}}, "name the column of probabilities"),
        ({"probability": {"column": "p", "at_least": 1.5}}, "less than or equal to 1"),
        ({"detector": {"f1": []}}, "at least 1 item"),
        ({"masks": {"ice": {"files": []}}}, "at least 1 item"),
        ({"footprint": {"kind": "files", "files": ["a"], "years_column": "y", "file_name": "(x)"}}, "not both"),
    ],
)
def test_a_description_that_lacks_something_is_refused(changes: dict[str, Any], message: str) -> None:
    plain = {
        "title": "t", "geometry": "polygon", "files": ["a"], "year": {"column": "y"},
        "footprint": {"kind": "study_area"},
    }  # fmt: skip
    with pytest.raises(ValidationError, match=message):
        InventoryConfig.model_validate(plain | changes)


def write(table: gpd.GeoDataFrame, path: Path) -> None:
    if path.suffix == ".gpkg":
        table.to_file(path, driver="GPKG")
    else:
        table.to_parquet(path)

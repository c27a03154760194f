import zipfile
from collections.abc import Callable
from pathlib import Path

import geopandas as gpd
import pandas as pd
import pytest
import shapely

from entropice_core.errors import SourceError
from entropice_core.labels.files import find_files, read_layers, relative_name, with_sidecars

Frame = Callable[..., gpd.GeoDataFrame]
Square = Callable[..., shapely.Polygon]


def layers(path: Path, layer: str | None = None) -> list[gpd.GeoDataFrame]:
    return [found.frame for found in read_layers(path, path.name, layer)]


@pytest.mark.parametrize("name", ["x.gpkg", "x.shp", "x.geojson", "x.parquet", "x.zip", "x.fgb"])
def test_a_web_page_that_was_saved_as_data_is_named(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_text("<html><body>Please log in</body></html>")
    with pytest.raises(SourceError, match=f"^{name} "):
        layers(tmp_path / name)


@pytest.mark.parametrize("name", ["x.gpkg", "x.shp", "x.geojson", "x.parquet", "x.zip"])
@pytest.mark.parametrize("share", [0.0, 0.3, 0.6, 0.9])
def test_a_truncated_file_is_an_error_and_not_fewer_features(
    tmp_path: Path, frame: Frame, square: Square, name: str, share: float
) -> None:
    made = frame([square(120 + i / 50, 72) for i in range(500)], date=[str(i) for i in range(500)])
    whole = tmp_path / ("x.shp.zip" if name == "x.zip" else name)
    made.to_parquet(whole) if name == "x.parquet" else made.to_file(whole)
    data = whole.read_bytes()
    whole.write_bytes(data[: int(len(data) * share)])
    with pytest.raises(SourceError, match=f"^{whole.name}"):
        layers(whole)


def test_a_shapefile_whose_table_is_shorter_than_its_shapes_is_an_error(
    tmp_path: Path, frame: Frame, square: Square
) -> None:
    frame([square(120 + i / 50, 72) for i in range(50)], date=[str(i) for i in range(50)]).to_file(tmp_path / "x.shp")
    data = (tmp_path / "x.dbf").read_bytes()
    (tmp_path / "x.dbf").write_bytes(data[: len(data) // 2])
    with pytest.raises(SourceError, match=r"^x\.shp"):
        layers(tmp_path / "x.shp")


@pytest.mark.parametrize("end", [".shx", ".dbf"])
def test_a_shapefile_without_one_of_its_files_is_an_error(
    tmp_path: Path, frame: Frame, square: Square, end: str
) -> None:
    frame([square(120, 72)], date=["2018"]).to_file(tmp_path / "x.shp")
    (tmp_path / "x.shp").with_suffix(end).unlink()
    with pytest.raises(SourceError, match=r"^x\.shp"):
        layers(tmp_path / "x.shp")


def test_a_file_with_several_layers_needs_a_choice(tmp_path: Path, frame: Frame, square: Square) -> None:
    for i, name in enumerate(["level1", "level2"]):
        frame([square(120 + i, 72)], date=["2018"]).to_file(tmp_path / "x.gpkg", layer=name)
    with pytest.raises(SourceError, match=r"has 2 layers \(level1, level2\): write layer = \"level1\""):
        layers(tmp_path / "x.gpkg")
    assert layers(tmp_path / "x.gpkg", "level2")[0].geometry[0].centroid.x == pytest.approx(121.0)
    with pytest.raises(SourceError, match="did you mean 'level2'"):
        layers(tmp_path / "x.gpkg", "levl2")


def test_a_table_without_shapes_is_an_error(tmp_path: Path) -> None:
    pd.DataFrame({"year": [2018]}).to_parquet(tmp_path / "x.parquet")
    with pytest.raises(SourceError, match=r"x\.parquet cannot be read as GeoParquet"):
        layers(tmp_path / "x.parquet")


def test_an_unknown_format_lists_the_known_ones(tmp_path: Path) -> None:
    (tmp_path / "x.kml").write_text("")
    with pytest.raises(SourceError, match=r"no format that is read here \(.kml\); the formats are: .shp"):
        layers(tmp_path / "x.kml")


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"name,y\na,1\n", "no column of coordinates named one of longitude"),
        (b"lon,lat\n\xff\xfe,1\n", "cannot be read as CSV"),
        (b"", "cannot be read as CSV"),
    ],
)
def test_a_csv_that_holds_no_points_says_why(tmp_path: Path, content: bytes, message: str) -> None:
    (tmp_path / "x.csv").write_bytes(content)
    with pytest.raises(SourceError, match=message):
        layers(tmp_path / "x.csv")


def test_a_zip_with_a_flipped_byte_is_damaged(tmp_path: Path, frame: Frame, square: Square) -> None:
    frame([square(120 + i / 50, 72) for i in range(500)], date=["2018"] * 500).to_file(tmp_path / "x.shp.zip")
    data = bytearray((tmp_path / "x.shp.zip").read_bytes())
    data[len(data) // 3] ^= 0xFF
    (tmp_path / "x.shp.zip").write_bytes(data)
    with pytest.raises(SourceError, match=r"x\.shp\.zip"):
        layers(tmp_path / "x.shp.zip")


def test_a_zip_without_a_layer_lists_what_it_holds(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "x.zip", "w") as archive:
        archive.writestr("readme.txt", "hello")
    with pytest.raises(SourceError, match="it holds: readme.txt"):
        layers(tmp_path / "x.zip")


def test_files_are_found_once_in_order_and_named_below_the_data_folder(tmp_path: Path) -> None:
    root = tmp_path / "data [1]"
    for name in ("b/2.shp", "a/1.shp", "a/1.dbf", "a/1_3857.shp"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / name).touch()
    found = find_files(["{data}/**/*.shp", "a/*.shp"], ["*_3857.shp"], root, "x")
    assert [relative_name(path, root) for path in found] == ["a/1.shp", "b/2.shp"]
    assert [relative_name(path, root) for path in with_sidecars(found)] == ["a/1.dbf", "a/1.shp", "b/2.shp"]

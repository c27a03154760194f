"""Files as they come: each defect is counted with its rows, or refused in a sentence with file and row."""

import time
import zipfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import geopandas as gpd
import pytest
import shapely

from entropice_core.errors import SourceError
from entropice_core.grids.study_area import StudyArea
from entropice_core.labels.inventory import Inventory

Read = Callable[..., Inventory]
Frame = Callable[..., gpd.GeoDataFrame]
Square = Callable[..., shapely.Polygon]


def test_degrees_in_a_file_that_says_metres_are_refused(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    frame([square(126.0, 72.0)], crs="EPSG:3413", date=["2018"]).to_file(tmp_path / "rts.gpkg")
    with pytest.raises(
        SourceError, match=r"rts.gpkg says EPSG:3413, whose unit is metre, .*125.997, 71.9991.* degrees"
    ):
        read()


def test_metres_in_a_file_that_says_degrees_are_refused(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    metres = frame([square(126.0, 72.0)], date=["2018"]).to_crs("EPSG:3413").set_crs("EPSG:4326", allow_override=True)
    metres.to_file(tmp_path / "rts.gpkg")
    with pytest.raises(SourceError, match="not one of its 1 shapes has coordinates on the globe in EPSG:4326"):
        read()


def test_longitudes_from_0_to_360_are_read_and_counted(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    chukotka = StudyArea(60.0, bounds=(170.0, 60.0, -160.0, 75.0))
    for name, east in (("plain", -170.0), ("shifted", 190.0)):
        frame([square(east, 68.0), square(175.0, 68.0)], date=[2018, 2018]).to_file(tmp_path / f"{name}.gpkg")
    plain, shifted = (read(area=chukotka, files=[f"{{data}}/{name}.gpkg"]) for name in ("plain", "shifted"))
    assert shifted.features.geometry.geom_equals_exact(plain.features.geometry, 1e-9).all()
    assert shifted.report["files"][0]["longitudes_beyond_180"] == 1
    assert "longitudes_beyond_180" not in plain.report["files"][0]


def test_points_and_lines_among_polygons_are_refused_with_their_row(tmp_path: Path, read: Read, square: Square) -> None:
    for shape, kind in ((shapely.Point(126, 72), "Point"), (shapely.LineString([(126, 72), (127, 72)]), "LineString")):
        mixed = gpd.GeoDataFrame({"date": [2018] * 3}, geometry=[square(126, 72), square(127, 72), shape], crs=4326)
        mixed.to_file(tmp_path / "rts.geojson", driver="GeoJSON")
        with pytest.raises(SourceError, match=f"rts.geojson: row 2 is a {kind}"):
            read(files=["{data}/rts.geojson"])


def test_polygons_in_collections_and_multipolygons_are_read(tmp_path: Path, read: Read, square: Square) -> None:
    line = shapely.LineString([(128, 72), (128.1, 72)])
    several = [
        shapely.MultiPolygon([square(126, 72), square(126.1, 72)]),
        shapely.GeometryCollection([square(127, 72), line]),
        square(128, 72),
    ]
    gpd.GeoDataFrame({"date": [2018] * 3}, geometry=several, crs=4326).to_parquet(tmp_path / "rts.parquet")
    got = read(files=["{data}/rts.parquet"])
    assert got.features["area_m2"].round(-3).tolist() == [80_000, 40_000, 40_000]


def test_ten_thousand_duplicates_are_counted_in_seconds(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    nearly = shapely.transform(square(126.0, 72.0), lambda xy: xy + 1e-9)  # 0.1 mm aside
    frame([square(126.0, 72.0)] * 10_000 + [nearly], date=[2018] * 10_001).to_parquet(tmp_path / "rts.parquet")
    begun = time.process_time()
    total = read(files=["{data}/rts.parquet"]).report["total"]
    assert total["rejected"] == {"duplicate": 10_000} and total["kept"] == 1
    assert time.process_time() - begun < 20.0  # comparing all pairs would take hours


def test_years_as_text_and_sentinels_are_told_apart(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    years = ["2018", " 2019 ", "2020-08-01", "1900", "2100", "9999", "0", "-1", "20", "n/a", "2019.0", "2018/07/01"]
    shapes = [square(126.0 + 0.1 * i, 72.0) for i in range(len(years))]
    frame(shapes, date=years).to_file(tmp_path / "rts.gpkg")
    got = read()
    assert got.report["years"] == {"2018": 2, "2019": 2, "2020": 1}
    assert got.report["total"]["rejected"] == {"no_year": 4, "year_outside_study": 3}
    assert got.report["files"][0]["rejected_rows"] == {"no_year": [6, 7, 8], "year_outside_study": [3, 4, 5]}


def test_every_rejected_reason_names_its_first_rows(tmp_path: Path, read: Read, frame: Frame, square: Square) -> None:
    shapes = [None, square(126, 72), shapely.Polygon(), square(126, 72), *[None] * 5]
    frame(shapes, date=[2018] * 9).to_parquet(tmp_path / "rts.parquet")
    (line,) = read(files=["{data}/rts.parquet"]).report["files"]
    assert line["rejected_rows"] == {"missing_geometry": [0, 4, 5], "empty_geometry": [2], "duplicate": [3]}
    assert line["rejected"]["missing_geometry"] == 6


def test_a_polygon_over_the_pole_and_one_across_180_are_kept_whole(
    tmp_path: Path, read: Read, frame: Frame, square: Square
) -> None:
    cap = shapely.Polygon([(lon, 89.9) for lon in range(-180, 180, 30)])
    ring = shapely.Polygon([(lon, 89.8) for lon in range(0, 360, 30)], [[(lon, 89.85) for lon in range(0, 360, 30)]])
    across = shapely.box(179.9, 68.0, 180.1, 68.1)
    frame([cap, ring, across], date=[2018] * 3).to_parquet(tmp_path / "rts.parquet")
    got = read(area=StudyArea(60.0), files=["{data}/rts.parquet"])
    assert got.features.is_valid.all() and len(got.features) == 3
    cap_m2, ring_m2, across_m2 = got.features["area_m2"]
    assert cap_m2 == pytest.approx(3.1416 * 11_169.0**2, rel=1e-3)  # edges follow the parallel
    assert ring_m2 == pytest.approx(cap_m2 * (4.0 - 2.25), rel=1e-3)
    assert across_m2 == pytest.approx(8_370.0 * 11_150.0, rel=5e-3)


# ---- CSV and zip ----------------------------------------------------------------------------------------------------

POINTS = {"geometry": "point", "crs": "EPSG:4326", "area_column": "area", "files": ["{data}/rts.csv"]}


@pytest.mark.parametrize("end", ["", ",", ",,", ", "])
@pytest.mark.parametrize("head_end", ["", ","])
def test_commas_at_the_end_of_csv_lines_do_not_shift_columns(
    tmp_path: Path, read: Read, end: str, head_end: str
) -> None:
    lines = [f"lon,lat,date,area{head_end}", f"126.0,72.0,2018,400{end}", f"127.0,73.0,2019,500{end}"]
    (tmp_path / "rts.csv").write_text("\n".join(lines) + "\n")
    got = read(**POINTS)
    assert [(round(p.x, 6), round(p.y, 6)) for p in got.features.geometry] == [(126.0, 72.0), (127.0, 73.0)]
    assert got.features["area_m2"].tolist() == [400.0, 500.0]


def test_a_csv_row_with_a_value_too_many_is_refused_with_its_number(tmp_path: Path, read: Read) -> None:
    (tmp_path / "rts.csv").write_text("lon,lat,date,area\n126,72,2018,400\n127,73,2019,1,500\n")
    with pytest.raises(SourceError, match="rts.csv: row 1 has 5 values, but there are 4 columns"):
        read(**POINTS)


def test_a_csv_of_another_encoding_says_so(tmp_path: Path, read: Read) -> None:
    (tmp_path / "rts.csv").write_bytes("lon,lat,date,area,Ort\n126,72,2018,400,Rückgang\n".encode("latin-1"))
    with pytest.raises(SourceError, match="cannot be read as CSV .*save it as UTF-8"):
        read(**POINTS)


class Named(zipfile.ZipInfo):
    """A member whose name is written as given, without the mark of UTF-8, as old zip tools do."""

    __slots__ = ("raw",)

    def __init__(self, raw: bytes) -> None:
        super().__init__(f"x{sum(raw)}")
        self.raw = raw

    def _encodeFilenameFlags(self) -> tuple[bytes, int]:
        return self.raw, 0


def zipped(folder: Path, table: gpd.GeoDataFrame, name: Callable[[str], Any]) -> Path:
    """Zip a shapefile under names made from its suffixes."""
    table.to_file(folder / "plain.shp")
    with zipfile.ZipFile(folder / "rts.zip", "w") as archive:
        for part in sorted(folder.glob("plain.*")):
            archive.writestr(name(part.suffix), part.read_bytes())
            part.unlink()
    return folder / "rts.zip"


@pytest.mark.parametrize(
    ("encoding", "shown"), [("utf-8", "Rückgang_2018-07.shp"), ("latin-1", "R\u207fckgang_2018-07.shp")]
)
def test_a_shapefile_whose_name_in_the_zip_is_no_ascii_is_read(
    tmp_path: Path, read: Read, frame: Frame, square: Square, encoding: str, shown: str
) -> None:
    zipped(tmp_path, frame([square(126, 72)], n=[1]), lambda end: Named(f"Rückgang_2018-07{end}".encode(encoding)))
    got = read(files=["{data}/rts.zip"], year={"file_name": r"_(\d{4})-(\d{2})"})
    assert got.report["years"] == {"2018": 1}
    assert got.features["source_file"].tolist() == [f"rts.zip/{shown}"]


@pytest.mark.parametrize("folder", ["../", "a/../../", "/tmp/", "C:/", "..\\"])
def test_a_zip_with_a_member_that_leads_out_of_it_is_refused(
    tmp_path: Path, read: Read, frame: Frame, square: Square, folder: str
) -> None:
    zipped(tmp_path, frame([square(126, 72)], date=["2018"]), lambda end: f"{folder}rts{end}")
    with pytest.raises(SourceError, match=r"rts.zip holds the member .*, which leads out of it; nothing of it is read"):
        read(files=["{data}/rts.zip"])


def test_a_zip_with_a_link_or_that_unpacks_to_too_much_is_refused(
    tmp_path: Path, read: Read, frame: Frame, square: Square, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = zipped(tmp_path, frame([square(126, 72)], date=["2018"]), lambda end: f"rts{end}")
    assert len(read(files=["{data}/rts.zip"]).features) == 1
    monkeypatch.setattr("entropice_core.labels.files.MAX_UNPACKED", 100)
    with pytest.raises(SourceError, match="would unpack to [0-9,]+ bytes, more than 100"):
        read(files=["{data}/rts.zip"])
    link = zipfile.ZipInfo("link.shp")
    link.external_attr = 0o120777 << 16
    with zipfile.ZipFile(path, "a") as archive:
        archive.writestr(link, "/etc/passwd")
    with pytest.raises(SourceError, match="holds the member 'link.shp', which is a link"):
        read(files=["{data}/rts.zip"])

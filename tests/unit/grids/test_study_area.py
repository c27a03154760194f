"""Study areas: caps, bounds, polygons; on 180 degrees and at the pole."""

import json

import geopandas as gpd
import numpy as np
import pytest
import shapely

from entropice_core.errors import ConfigError, GridError
from entropice_core.grids.projection import ELLIPSOID_AREA_M2, POLE_Q, authalic_q
from entropice_core.grids.study_area import StudyArea

CHUKOTKA = (170.0, 60.0, -160.0, 75.0)


def _zone_m2(south: float, north: float) -> float:
    q = authalic_q(np.sin(np.radians([south, north])))
    return float((q[1] - q[0]) / POLE_Q / 2.0 * ELLIPSOID_AREA_M2)


@pytest.mark.parametrize(
    ("area", "lon", "lat", "inside"),
    [
        (StudyArea(60.0), 12.0, 60.0, True),
        (StudyArea(60.0), 12.0, 59.999, False),
        (StudyArea(60.0), 0.0, 90.0, True),
        (StudyArea(60.0, CHUKOTKA), 180.0, 70.0, True),
        (StudyArea(60.0, CHUKOTKA), -180.0, 70.0, True),
        (StudyArea(60.0, CHUKOTKA), 190.0, 70.0, True),  # 170 W in degrees east
        (StudyArea(60.0, CHUKOTKA), 170.0, 60.0, True),  # the corner belongs to it
        (StudyArea(60.0, CHUKOTKA), -159.9, 70.0, False),
        (StudyArea(60.0, CHUKOTKA), 0.0, 70.0, False),
        (StudyArea(60.0, CHUKOTKA), 180.0, 75.1, False),
        (StudyArea(65.0, CHUKOTKA), 180.0, 62.0, False),  # min_latitude and bounds both count
        (StudyArea(60.0, (-180.0, 60.0, 180.0, 80.0)), 179.0, 70.0, True),
        (StudyArea(60.0, (-180.0, 60.0, 180.0, 80.0)), 0.0, 85.0, False),
        (StudyArea(60.0, (10.0, 60.0, 20.0, 90.0)), 100.0, 90.0, True),  # the pole has every longitude
    ],
)
def test_points_inside_and_outside_are_told_apart(area, lon, lat, inside):
    assert area.contains([lon], [lat]).tolist() == [inside]


@pytest.mark.parametrize(
    ("area", "square_metres"),
    [
        (StudyArea(60.0), _zone_m2(60.0, 90.0)),
        (StudyArea(50.0, CHUKOTKA), _zone_m2(60.0, 75.0) * 30.0 / 360.0),
        (StudyArea(50.0, (-20.0, 60.0, 10.0, 90.0)), _zone_m2(60.0, 90.0) * 30.0 / 360.0),
        (StudyArea(65.0, (-180.0, 60.0, 180.0, 80.0)), _zone_m2(65.0, 80.0)),
        (StudyArea(60.0, (10.0, 60.0, -10.0, 75.0)), _zone_m2(60.0, 75.0) * 340.0 / 360.0),
    ],
)
def test_the_geometry_has_the_area_of_the_zone_on_the_ellipsoid(area, square_metres):
    assert area.geometry().is_valid
    assert area.geometry().area == pytest.approx(square_metres, rel=2e-7)


def test_polygons_cut_the_area_and_their_union_counts():
    banks = shapely.box(-126.0, 71.0, -115.0, 75.0)
    overlapping = shapely.box(-120.0, 72.0, -110.0, 74.0)
    area = StudyArea(60.0, polygons=[banks, overlapping])
    assert area.contains([-125.0, -112.0, -118.0, 0.0], [73.0, 73.0, 73.0, 73.0]).tolist() == [True, True, True, False]
    alone = [StudyArea(60.0, polygons=one).geometry().area for one in (banks, overlapping)]
    both = StudyArea(60.0, polygons=banks.intersection(overlapping)).geometry().area
    assert area.geometry().area == pytest.approx(sum(alone) - both, rel=1e-9)


def test_an_edge_along_a_parallel_follows_the_parallel():
    wide = StudyArea(50.0, polygons=shapely.box(0.0, 65.0, 90.0, 80.0))
    assert wide.contains([45.0, 45.0], [64.9, 65.1]).tolist() == [False, True]


def test_polygons_are_read_from_files_in_their_own_coordinate_system(tmp_path):
    square = shapely.box(-3e5, -3e5, 3e5, 3e5)  # around the pole: no polygon in degrees could say this
    gpd.GeoDataFrame(geometry=[square], crs="EPSG:3413").to_file(tmp_path / "pole.gpkg")
    degrees = gpd.GeoDataFrame(geometry=[shapely.box(20.0, 70.0, 30.0, 75.0)], crs="EPSG:4326")
    degrees.to_file(tmp_path / "box.geojson")
    area = StudyArea.from_files(60.0, None, [tmp_path / "pole.gpkg", tmp_path / "box.geojson"])
    assert area.contains([0.0, 25.0, 25.0], [90.0, 72.0, 65.0]).tolist() == [True, True, False]
    assert StudyArea.from_files(60.0, None, []).contains([5.0], [65.0]).all()


def test_files_that_cannot_be_used_are_named(tmp_path):
    with pytest.raises(ConfigError, match=r"absent\.gpkg does not exist"):
        StudyArea.from_files(60.0, None, [tmp_path / "absent.gpkg"])
    shapely_only = gpd.GeoDataFrame(geometry=[shapely.box(0.0, 60.0, 1.0, 61.0)])
    with pytest.warns(UserWarning, match="projection"):
        shapely_only.to_file(tmp_path / "nameless.shp")
    with pytest.raises(ConfigError, match=r"nameless\.shp does not say its coordinate system"):
        StudyArea.from_files(60.0, None, [tmp_path / "nameless.shp"])


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ((90.0,), "0 to below 90"),
        ((-1.0,), "0 to below 90"),
        ((float("nan"),), "0 to below 90"),
        (("60",), "0 to below 90"),
        ((60.0, (0.0, 60.0, 10.0)), "four numbers"),
        ((60.0, (0.0, 60.0, float("inf"), 70.0)), "four numbers"),
        ((60.0, (10.0, 60.0, 10.0, 70.0)), "two different longitudes"),
        ((60.0, (10.0, 60.0, 200.0, 70.0)), "from -180 to 180"),
        ((60.0, (0.0, 70.0, 10.0, 60.0)), "South of a study area must be below north"),
        ((70.0, (0.0, 60.0, 10.0, 70.0)), "north 70.0 is not above min_latitude 70.0"),
        ((60.0, None, shapely.Point(0.0, 70.0)), "made of polygons, but got POINT"),
        ((60.0, None, shapely.box(170.0, 60.0, 190.0, 70.0)), "split them at 180"),
        ((60.0, (0.0, 60.0, 10.0, 70.0), shapely.box(20.0, 60.0, 30.0, 70.0)), "do not meet"),
        ((60.0, None, shapely.box(20.0, 50.0, 30.0, 59.0)), "do not meet"),
    ],
)
def test_values_that_make_no_area_are_refused_with_the_reason(arguments, message):
    with pytest.raises(ConfigError, match=message):
        StudyArea(*arguments)


def test_a_point_off_the_globe_is_refused():
    with pytest.raises(GridError, match="not on the globe"):
        StudyArea(60.0).contains([0.0], [100.0])


def test_the_description_goes_into_metadata():
    described = StudyArea(60, CHUKOTKA, shapely.box(172.0, 65.0, 175.0, 67.0)).describe()
    assert json.loads(json.dumps(described)) == described
    assert described["min_latitude"] == 60.0 and described["bounds"] == list(CHUKOTKA)
    assert described["polygons_km2"] == pytest.approx(30_000, rel=0.1)


def test_equal_areas_are_equal_and_can_be_keys():
    box = shapely.box(172.0, 65.0, 175.0, 67.0)
    areas = {StudyArea(60, CHUKOTKA, [box]), StudyArea(60.0, CHUKOTKA, box), StudyArea(61.0)}
    assert len(areas) == 2


def test_a_study_area_file_that_is_no_vector_file_is_named(tmp_path):
    path = tmp_path / "area.gpkg"
    path.write_text("<html>not found</html>")
    with pytest.raises(ConfigError, match=r"area\.gpkg is no vector file"):
        StudyArea.from_files(60.0, None, [path])

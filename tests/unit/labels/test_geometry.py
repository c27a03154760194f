import numpy as np
import pytest
import shapely
from pyproj import CRS, Geod, Transformer

from entropice_core.errors import SourceError
from entropice_core.grids.projection import cap_radius_m
from entropice_core.labels.geometry import is_on_earth, polygons_of, repair, to_degrees, to_plane

WGS84 = CRS.from_epsg(4326)


def one(geometry: shapely.Geometry, crs: CRS = WGS84) -> shapely.Geometry:
    return to_plane(np.array([geometry], dtype=object), crs, "x")[0]


def cap_m2(latitude: float) -> float:
    return float(np.pi * cap_radius_m(latitude) ** 2)


@pytest.mark.parametrize(
    "ring",
    [
        [(-180, 75), (180, 75), (180, 90), (-180, 90)],  # a box on the map
        [(-90, 75), (0, 75), (90, 75), (180, 75)],  # around the pole, jumping once
        [(0, 75), (90, 75), (180, 75), (270, 75)],  # the same with longitudes to 360
    ],
)
def test_a_polygon_over_the_pole_has_the_area_of_the_cap(ring: list[tuple[float, float]]) -> None:
    fixed, _ = repair(np.array([one(shapely.Polygon(ring))], dtype=object))
    assert fixed[0].area == pytest.approx(cap_m2(75), rel=1e-6)
    assert fixed[0].distance(shapely.Point(0, 0)) < 1e-3  # a cut along 180 degrees may end there


def test_a_wide_box_follows_its_parallels_and_not_their_chords() -> None:
    box = one(shapely.box(60, 70, 120, 80))
    assert box.area == pytest.approx((cap_m2(70) - cap_m2(80)) / 6.0, rel=1e-6)


def test_a_hole_across_180_degrees_stays_a_hole() -> None:
    shell = [(170, 70), (-170, 70), (-170, 80), (170, 80)]
    hole = [(175, 72), (175, 74), (-175, 74), (-175, 72)]
    plane = one(shapely.Polygon(shell, [hole]))
    back = to_degrees(np.array([plane], dtype=object))
    again = to_plane(back, WGS84, "x")
    expected = (cap_m2(70) - cap_m2(80)) / 18.0 - (cap_m2(72) - cap_m2(74)) / 36.0
    assert plane.area == pytest.approx(expected, rel=1e-6)
    assert back[0].geom_type == "MultiPolygon" and back[0].is_valid
    assert repair(again)[0][0].area == pytest.approx(expected, rel=1e-6)


def test_a_polygon_over_the_pole_survives_the_way_to_degrees_and_back() -> None:
    cap = shapely.Point(0, 0).buffer(500_000.0, quad_segs=64)
    off_centre = shapely.affinity.translate(cap, 100_000.0, 200_000.0)
    back = to_degrees(np.array([off_centre], dtype=object))
    assert back[0].bounds[0] == -180.0 and back[0].bounds[2] == 180.0 and back[0].bounds[3] == 90.0
    again, _ = repair(to_plane(back, WGS84, "x"))
    assert again[0].symmetric_difference(off_centre).area < 2e-5 * cap.area


@pytest.mark.parametrize("epsg", [3413, 3571, 3995, 32652, 3857, 4269])
def test_projections_and_datums_come_to_the_same_place(epsg: int) -> None:
    box = shapely.box(126.0, 72.0, 126.1, 72.05)
    change = Transformer.from_crs(WGS84, CRS.from_epsg(epsg), always_xy=True)
    there = shapely.transform(box, change.transform, interleaved=False)
    assert one(there, CRS.from_epsg(epsg)).symmetric_difference(one(box)).area < 2e-3 * one(box).area


def test_earth_centred_coordinates_are_refused() -> None:
    with pytest.raises(SourceError, match=r"scene.gpkg is in earth-centred coordinates \(EPSG:4978\)"):
        to_plane(np.array([shapely.box(0, 0, 1, 1)], dtype=object), CRS.from_epsg(4978), "scene.gpkg")


def test_heights_are_dropped() -> None:
    assert not one(shapely.Polygon([(126, 72, 5), (126.1, 72, 5), (126.1, 72.1, 5)])).has_z


def test_a_latitude_beyond_the_pole_is_not_on_earth() -> None:
    shapes = np.array([shapely.Point(126, 72), shapely.Point(72, 126), shapely.box(72, 126, 73, 127)], dtype=object)
    assert is_on_earth(to_plane(shapes, WGS84, "x")).tolist() == [True, False, False]


def test_a_local_coordinate_system_cannot_be_projected_and_is_named() -> None:
    local = CRS.from_wkt('LOCAL_CS["my plan",UNIT["metre",1]]')
    with pytest.raises(SourceError, match="scene.shp is in my plan, which cannot be projected"):
        to_plane(np.array([shapely.box(0, 0, 1, 1)], dtype=object), local, "scene.shp")


def test_only_polygons_are_kept_of_a_collection() -> None:
    mixed = shapely.GeometryCollection(
        [shapely.Point(0, 0), shapely.box(0, 0, 1, 1), shapely.LineString([(0, 0), (1, 1)])]
    )
    assert polygons_of(mixed).equals(shapely.box(0, 0, 1, 1))
    assert polygons_of(shapely.Point(0, 0)).is_empty


def test_the_area_of_a_reversed_ring_is_the_same() -> None:
    ring = [(126, 72), (126.1, 72), (126.1, 72.1)]
    exact = abs(Geod(ellps="WGS84").polygon_area_perimeter(*zip(*ring, strict=True))[0])
    for points in (ring, ring[::-1]):
        assert one(shapely.Polygon(points)).area == pytest.approx(exact, rel=1e-3)

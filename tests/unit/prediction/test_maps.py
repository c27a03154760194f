"""Maps: the right cell has the right colour at the right place, also at 180 degrees and at the pole."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread
from pyproj import Transformer

from entropice_core.grids import open_grid
from entropice_core.prediction.graticule import turn
from entropice_core.prediction.maps import MapStyle, _rings, _upright, cells_table, draw_map, png_bytes

PLACES = {
    "Lena delta": (127.0, 73.0),
    "Banks Island": (-121.0, 73.0),
    "Wrangel, on 180": (180.0, 71.2),
    "pole": (0.0, 90.0),
}
STYLE = MapStyle(title="t", label="l", low=0.0, high=1.0)


def pixel(figure, x, y):
    picture = imread(BytesIO(png_bytes(figure)))
    axes = figure.axes[0]
    column, row = axes.transData.transform((x, y))
    return picture[picture.shape[0] - 1 - round(row), round(column), :3]


@pytest.mark.parametrize("place", PLACES)
@pytest.mark.parametrize(("name", "level"), [("h3", 3), ("healpix", 6)])
def test_a_marked_cell_is_yellow_where_it_lies_and_its_mirror_image_is_not(name, level, place):
    grid = open_grid(name, level)
    lon = np.repeat(np.arange(-180.0, 180.0, 10.0), 4)
    ids = np.unique(np.concatenate([grid.locate(lon, np.tile([62.0, 70.0, 78.0, 86.0], 36)), [here(grid, place)]]))
    figure = draw_map(grid, ids, np.where(ids == here(grid, place), 1.0, 0.0), STYLE)
    lon0, lat0 = (float(v[0]) for v in grid.centers(np.array([here(grid, place)])))
    project = Transformer.from_crs("EPSG:4326", "EPSG:6931", always_xy=True)
    x, y = project.transform(lon0, lat0)
    yellow = np.array([0.993, 0.906, 0.144])
    middle = pixel(figure, x + 2e4, y + 1.3e4)  # a little off the graticule
    assert np.abs(middle - yellow).max() < 0.1
    if lat0 < 88:
        assert np.abs(pixel(figure, -x + 2e4, y + 1.3e4) - yellow).max() > 0.2


def here(grid, place):
    lon, lat = PLACES[place]
    return grid.locate([lon], [lat])[0]


def test_the_same_map_gives_the_same_bytes():
    grid = open_grid("h3", 3)
    ids = np.unique(grid.locate([100.0, 110.0, 120.0], [70.0, 70.0, 70.0]))
    values = np.array([0.1, np.nan, 0.9])[: ids.size]
    assert png_bytes(draw_map(grid, ids, values, STYLE)) == png_bytes(draw_map(grid, ids, values, STYLE))


def test_a_map_without_any_value_says_so():
    grid = open_grid("h3", 3)
    ids = np.unique(grid.locate([100.0, 110.0], [70.0, 70.0]))
    figure = draw_map(grid, ids, np.full(ids.size, np.nan), STYLE)
    assert any("no cell has a value" in text.get_text() for text in figure.axes[0].texts)


def test_the_table_of_cells_has_text_ids_and_geometry_that_holds_the_centres():
    grid = open_grid("h3", 3)
    ids = np.unique(grid.locate([100.0, 180.0], [70.0, 71.2]))
    from entropice_core.grids.cells import cell_coordinates

    dataset = cell_coordinates(grid, ids)
    dataset["probability"] = ("cell", np.linspace(0, 1, ids.size, dtype=np.float32))
    table = cells_table(grid, dataset)
    assert table["cell_id"].tolist() == [f"{i:x}" for i in ids]
    lon, lat = grid.centers(ids)
    inside = [g.intersects(p) for g, p in zip(table.geometry, _points(lon, lat), strict=True)]
    assert all(inside)


def _points(lon, lat):
    import shapely

    return shapely.points(lon, lat)


def test_no_two_labels_of_the_graticule_overlap_on_a_map_round_the_pole():
    grid = open_grid("healpix", 6)
    lon = np.repeat(np.arange(-180.0, 180.0, 4.0), 6)
    ids = np.unique(grid.locate(lon, np.tile([80.0, 82.0, 84.0, 86.0, 88.0, 89.5], 90)))
    figure = draw_map(grid, ids, np.linspace(0, 1, ids.size), STYLE)
    png_bytes(figure)
    boxes = [text.get_window_extent() for text in figure.axes[0].texts if "°" in text.get_text()]
    assert len(boxes) > 8
    overlapping = [(i, j) for i in range(len(boxes)) for j in range(i) if boxes[i].overlaps(boxes[j])]
    assert overlapping == []


def test_cells_outside_the_area_of_applicability_are_hatched_and_counted_and_others_are_not():
    grid = open_grid("h3", 3)
    ids = np.unique(grid.locate(*(part.ravel() for part in np.meshgrid(np.arange(100.0, 112, 2), np.arange(68.0, 73)))))
    values = np.full(ids.size, 0.0)
    outside = np.arange(ids.size) == 5
    plain = imread(BytesIO(png_bytes(draw_map(grid, ids, values, STYLE, np.zeros(ids.size, bool)))))
    masked_figure = draw_map(grid, ids, values, STYLE, outside)
    masked = imread(BytesIO(png_bytes(masked_figure)))
    changed = np.abs(masked - plain).max(axis=2) > 0.1
    project = Transformer.from_crs("EPSG:4326", "EPSG:6931", always_xy=True)
    axes = masked_figure.axes[0]
    angle = _upright(_rings(grid, ids))
    for i in (4, 5):
        x, y = turn(np.array([project.transform(*(part[0] for part in grid.centers(ids[i : i + 1])))]), angle)[0]
        column, row = (round(v) for v in axes.transData.transform((x, y)))
        window = changed[changed.shape[0] - row - 8 : changed.shape[0] - row + 8, column - 8 : column + 8]
        assert window.any() == (i == 5)
    assert any(f"outside area of applicability: 1 of {ids.size}" in t.get_text() for t in masked_figure.texts)


def test_a_map_without_a_mask_has_no_legend_of_one():
    grid = open_grid("h3", 3)
    ids = np.unique(grid.locate([100.0, 110.0], [70.0, 70.0]))
    figure = draw_map(grid, ids, np.full(ids.size, 0.5), STYLE)
    assert not any("applicability" in text.get_text() for text in figure.texts)

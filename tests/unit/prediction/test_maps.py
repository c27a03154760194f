"""Maps: the right cell has the right colour at the right place, also at 180 degrees and at the pole."""

from io import BytesIO

import numpy as np
import pytest
from matplotlib.image import imread
from pyproj import Transformer

from entropice_core.grids import open_grid
from entropice_core.prediction.maps import MapStyle, cells_table, draw_map, png_bytes

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

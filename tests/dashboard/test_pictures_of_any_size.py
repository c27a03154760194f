"""Maps filled pixel by pixel: the right cell under each pixel, bounded size, words on the picture."""

import json
from dataclasses import replace

import geopandas as gpd
import numpy as np
import pytest

from entropice_core.errors import ConfigError, GridError
from entropice_core.grids import open_grid, parse_grid_key
from entropice_core.grids.land import is_land, land_image
from entropice_core.grids.study_area import StudyArea
from entropice_core.plots.files import figure_bytes, write_figure
from entropice_core.plots.interactive import POINTS, interactive_map
from entropice_core.plots.layer import LOGARITHMIC, Layer, coarsen, thin
from entropice_core.plots.maps import difference, difference_map, geoparquet, map_figure
from entropice_core.plots.picture import NO_VALUE, OUTSIDE, cell_colours, draw_picture
from entropice_core.plots.view import PROJECTIONS, pixel_cells, pixel_land, pixel_lonlat, scaled, whole_view, zoom
from entropice_core.prediction.maps import ZERO


def layer_of(
    key: str = "h3-4", bounds: tuple[float, ...] | None = (170.0, 62.0, -165.0, 72.0), **words: object
) -> Layer:
    grid = parse_grid_key(key)
    ids = grid.cells(StudyArea.from_files(60.0, bounds, []))
    lon, lat = grid.centers(ids)
    made = Layer(
        grid, ids, np.cos(np.radians(lon)) + lat / 90, "made up [1]", title="A study", footer=("from nothing",)
    )
    return replace(made, **words)


@pytest.mark.parametrize("projection", PROJECTIONS)
def test_each_pixel_shows_the_cell_in_which_it_lies_also_across_180_degrees(projection: str) -> None:
    layer = layer_of()
    view = whole_view(*layer.grid.centers(layer.cell_ids), projection, columns=120)
    lon, lat = pixel_lonlat(view)
    cells = pixel_cells(view, layer.grid).ravel()
    some = np.arange(0, lon.size, 97)
    assert np.array_equal(cells[some], layer.grid.locate(lon[some], lat[some]))
    shown = np.isin(layer.cell_ids, cells)
    assert shown.mean() > 0.98  # the whole study is in the picture


def test_a_study_is_turned_upright_and_named_so() -> None:
    view = whole_view(*layer_of(bounds=(100.0, 65.0, 140.0, 75.0)).grid.centers(layer_of().cell_ids[:1]))
    assert "EPSG:3995 turned" in view.name and "+proj=stere" in view.crs
    lon, lat = np.array([118.0, 122.0]), np.array([70.0, 70.0])
    x = whole_view(lon, lat).project(lon, lat)
    assert x[0, 0] < x[1, 0] and abs(x[:, 0].mean()) < 1e3 and (x[:, 1] < 0).all()


def test_an_arctic_all_around_the_pole_is_not_turned() -> None:
    lon = np.linspace(-180, 175, 72)
    assert whole_view(lon, np.full(72, 65.0)).crs == "EPSG:3995"


def test_land_of_a_picture_is_the_land_of_the_mask() -> None:
    layer = layer_of()
    view = whole_view(*layer.grid.centers(layer.cell_ids), "EPSG:3413", columns=300)
    expected = land_image(view.extent, (view.rows, view.columns), view.crs)
    assert (pixel_land(view) != expected).mean() < 0.01
    assert is_land(np.array([125.0, -45.0, -160.0]), np.array([68.0, 75.0, 80.0])).tolist() == [True, True, False]


def test_cells_without_a_value_are_grey_and_those_outside_are_striped() -> None:
    layer = layer_of()
    values = layer.values.copy()
    values[::2] = np.nan
    outside = np.zeros(values.size, dtype=bool)
    grey = np.array([int(NO_VALUE[i : i + 2], 16) for i in (1, 3, 5)])
    assert (cell_colours(replace(layer, values=values))[::2] == grey).all()
    view = whole_view(*layer.grid.centers(layer.cell_ids), columns=200)
    plain = draw_picture(replace(layer, values=values, outside=outside), view).rgb
    striped = draw_picture(replace(layer, values=values, outside=~outside), view).rgb
    changed = (plain != striped).any(axis=2).mean() / np.isin(pixel_cells(view, layer.grid), layer.cell_ids).mean()
    assert 0.15 < changed < 0.3  # two of eight pixels
    assert int(OUTSIDE[1:3], 16) > 200


def test_cells_that_were_looked_at_without_a_find_are_not_coloured_as_the_lowest_find() -> None:
    layer = layer_of()
    values = np.where(np.arange(layer.values.size) % 3 == 0, 0.0, 10.0 ** (layer.values - 6))
    found = replace(layer, values=values, is_log=True)
    pale = np.array([int(ZERO[i : i + 2], 16) for i in (1, 3, 5)])
    is_pale = (cell_colours(found) == pale).all(axis=1)
    assert np.array_equal(is_pale, values == 0)
    figure, _ = interactive_map(found, whole_view(*layer.grid.centers(layer.cell_ids), columns=100))
    count = f"{int((values == 0).sum()):,} cells"
    assert any(f"0, {count}" in str(note.text) for note in figure.layout.annotations)
    still = map_figure(found, size_inches=4, dpi=50)
    assert f"0 ({count})" in [text.get_text() for text in still.texts]
    arrays = (cells.get_array() for cells in still.axes[0].collections)
    drawn = [values for values in arrays if values is not None and values.size > 1]  # the coast has one
    assert sum(part.size for part in drawn) == int((values > 0).sum())


def test_of_a_ranking_the_first_are_bright_as_on_the_published_picture() -> None:
    layer = layer_of(kind="rank", low=0.0, high=1.0)
    share = (layer.values - layer.values.min()) / np.ptp(layer.values)
    brightness = cell_colours(replace(layer, values=share)).astype(float).sum(axis=1)
    assert brightness[share.argmin()] > 500 > 250 > brightness[share.argmax()]


def test_the_colour_bar_and_the_words_are_above_the_map_and_do_not_overlap() -> None:
    layer = layer_of()
    figure, _ = interactive_map(layer, whole_view(*layer.grid.centers(layer.cell_ids), columns=100))
    bars = [trace.marker.colorbar for trace in figure.data if trace.marker.showscale]
    assert [bar.orientation for bar in bars] == ["h"] and bars[0].yanchor == "bottom"
    words, room = figure.layout.title, figure.layout.margin.t
    assert words.yref == "paper" and room > words.pad.b > 11 + 20  # the bar and its ticks


def test_licences_are_folded_below_the_map_and_not_cut() -> None:
    credits = "Predictors: " + "; ".join(f"source {i} with a long title (CC-BY-4.0)" for i in range(9)) + "."
    layer = layer_of(footer=("digest", credits))
    figure, _ = interactive_map(layer, whole_view(*layer.grid.centers(layer.cell_ids), columns=100))
    below = [str(note.text) for note in figure.layout.annotations if note.yref == "paper"]
    assert credits in " ".join(below) and len(below) >= 4 and figure.layout.margin.b >= 13 * len(below)


def test_small_cells_are_joined_to_parents_and_the_picture_says_so() -> None:
    layer = layer_of("h3-6", (100.0, 65.0, 140.0, 75.0))
    view = whole_view(*layer.grid.centers(layer.cell_ids), columns=300)
    figure, picture = interactive_map(layer, view)
    assert picture.layer.grid.level < 6 and "mean of the cells" in picture.layer.note
    words = " ".join(str(a.text) for a in figure.layout.annotations)
    assert picture.layer.note in words and picture.layer.grid.key in words
    nearer = zoom(view, (view.extent[0], view.extent[0] + 4e4), (view.extent[2], view.extent[2] + 4e4))
    assert draw_picture(layer, nearer).layer.grid.level == 6


@pytest.mark.parametrize("key", ["h3-6", "healpix-10"])
def test_what_is_sent_to_the_browser_is_bounded_however_many_cells_there_are(key: str) -> None:
    layer = layer_of(key, (60.0, 66.0, 120.0, 74.0))
    assert layer.cell_ids.size > 50_000
    view = whole_view(*layer.grid.centers(layer.cell_ids))
    figure, picture = interactive_map(layer, view)
    assert picture.visible.size <= 90_000
    assert len(figure.to_json()) < 3_000_000


def test_coarser_cells_have_the_mean_and_classes_the_commonest() -> None:
    grid = open_grid("healpix", 7)
    ids = np.arange(8, dtype=np.uint64)  # two parents with four children each
    values = np.array([1.0, 2.0, 3.0, np.nan, 5.0, 5.0, 5.0, 9.0])
    coarse = coarsen(Layer(grid, ids, values, "x"))
    assert coarse.grid.key == "healpix-6" and coarse.values.tolist() == [2.0, 6.0]
    classes = replace(
        Layer(grid, ids, np.array([0, 0, 1, np.nan, 1, 1, 0, 1]), "x"), kind="classes", classes=("a", "b")
    )
    assert coarsen(classes).values.tolist() == [0.0, 1.0]
    outside = replace(Layer(grid, ids, values, "x"), outside=np.array([True, True, True, False] + [False] * 4))
    assert coarsen(outside).outside is not None and coarsen(outside).outside.tolist() == [True, False]
    assert thin(Layer(grid, ids, values, "x"), most=3).grid.level == 6


def test_a_click_finds_the_cell_that_was_drawn_there() -> None:
    layer = layer_of()
    view = whole_view(*layer.grid.centers(layer.cell_ids))
    figure, picture = interactive_map(layer, view, marked=5)
    points = figure.data[POINTS]
    i = 17
    lon, lat = view.lonlat(float(points.x[i]), float(points.y[i]))
    cell = picture.layer.cell_ids[picture.visible[i]]
    assert layer.grid.locate([lon], [lat])[0] == cell
    assert points.customdata[i] == pytest.approx(picture.layer.values[picture.visible[i]], rel=1e-6)


def test_words_of_data_are_not_read_as_html_or_as_a_formula() -> None:
    layer = layer_of(title="<img src=x onerror=alert(1)> $\\frac{1}{0}$", footer=("<b>$</b>",), label="<i>x</i> [1]")
    figure, _ = interactive_map(layer, whole_view(*layer.grid.centers(layer.cell_ids), columns=80))
    assert "<img" not in json.dumps(figure.layout.title.to_plotly_json()) and "<i>" not in figure.to_json()
    assert figure_bytes(map_figure(layer, size_inches=4, dpi=50))[:4] == b"\x89PNG"


def test_values_and_cells_must_be_as_many() -> None:
    with pytest.raises(GridError, match="one value a cell"):
        Layer(open_grid("h3", 4), np.zeros(3, dtype=np.uint64), np.zeros(2), "x")


def test_an_unknown_projection_or_format_names_the_known_ones(tmp_path) -> None:
    with pytest.raises(ConfigError, match="EPSG:3413"):
        whole_view(np.array([1.0]), np.array([70.0]), "EPSG:3857")
    with pytest.raises(ConfigError, match=r"\.svg"):
        write_figure(map_figure(layer_of(), dpi=40), tmp_path / "map.gif")


def test_closer_keeps_the_shape_and_goes_to_the_point() -> None:
    view = whole_view(np.array([100.0, 130.0]), np.array([70.0, 72.0]))
    nearer = scaled(view, 0.5, (1000.0, 2000.0))
    assert nearer.rows == view.rows
    assert (nearer.extent[0] + nearer.extent[1]) / 2 == pytest.approx(1000.0)
    assert nearer.metres_per_pixel == pytest.approx(view.metres_per_pixel / 2)


def test_a_difference_within_a_grid_is_exact_and_across_grids_takes_the_cell_of_the_centre() -> None:
    layer = layer_of()
    same = difference(layer, replace(layer, values=layer.values - 1.0))
    assert np.allclose(same.values, 1.0) and same.kind == "diverging" and same.limits() == (-1.0, 1.0)
    other = layer_of("healpix-7")
    across = difference_map(layer, other, "a minus b")
    i = 40
    lon, lat = layer.grid.centers(layer.cell_ids[i : i + 1])
    at = np.searchsorted(other.cell_ids, other.grid.locate(lon, lat)[0])
    assert across.values[i] == pytest.approx(layer.values[i] - other.values[at])
    assert "minus" in across.footer[0]
    assert across.subtitle == "a minus b (healpix-7 in the middle of each cell of h3-4)"


def test_a_difference_is_outside_where_either_map_is_and_its_colours_are_not_logarithmic() -> None:
    layer = layer_of(label=f"density{LOGARITHMIC}", is_log=True)
    first, last = np.zeros((2, layer.cell_ids.size), dtype=bool)
    first[0], last[-1] = True, True
    made = difference_map(replace(layer, outside=first), replace(layer, outside=last), "a minus b")
    assert made.outside is not None and np.array_equal(made.outside, first | last)
    assert made.label == "difference of density" and not made.is_log and made.subtitle == "a minus b"
    assert difference(layer, layer).outside is None


def test_every_map_is_saved_as_png_svg_and_geoparquet_with_all_its_cells(tmp_path) -> None:
    layer = layer_of()
    svg = figure_bytes(map_figure(layer, size_inches=4), "svg")
    assert svg == figure_bytes(map_figure(layer, size_inches=4), "svg") and b"made up" in svg
    (tmp_path / "cells.parquet").write_bytes(geoparquet(layer, "value"))
    table = gpd.read_parquet(tmp_path / "cells.parquet")
    assert len(table) == layer.cell_ids.size and table.crs.to_epsg() == 4326
    assert int(table["cell_id"][0], 16) == int(layer.cell_ids[0])
    assert np.allclose(table["value"], layer.values)


def test_a_layer_without_any_value_still_has_a_picture() -> None:
    layer = layer_of()
    nothing = replace(layer, values=np.full(layer.values.size, np.nan), is_log=True)
    assert nothing.limits()[0] < nothing.limits()[1]
    figure, _ = interactive_map(nothing, whole_view(*layer.grid.centers(layer.cell_ids), columns=100))
    assert "no value" in figure.to_json()

"""A layer in a view as pixels: sea, land, cells in their colours, cell edges where cells are large, the coast.

The size of a picture depends on its pixels, never on the number of cells, so that half a million stay usable.
"""

from base64 import b64encode
from dataclasses import dataclass
from io import BytesIO

import numpy as np
from matplotlib import colormaps
from matplotlib.colors import LogNorm, Normalize, to_rgb
from numpy.typing import NDArray

from entropice_core.plots.layer import COLOURS, Layer, coarsen
from entropice_core.plots.view import View, pixel_cells, pixel_land, whole_view
from entropice_core.prediction.maps import ZERO

SEA, LAND, NO_VALUE, COAST, EDGE = "#eef3f7", "#dedbd5", "#b3aea6", "#5f6f7c", "#ffffff"
OUTSIDE = "#f2f2f2"
LEAST_PIXELS = 3.0
"""Narrower cells than this are joined to their parents: they could be neither told apart nor clicked."""

EDGED_PIXELS = 14.0
"""Cells wider than this get an edge."""


@dataclass(frozen=True, eq=False)
class Picture:
    """Pixels, and the cells that can be told apart in them.

    Attributes
    ----------
    rgb : (rows, columns, 3) uint8
    layer : the layer as drawn, perhaps coarser than the one that was given
    visible : (m,) positions in ``layer.cell_ids`` of the cells with their centre in the view
    xy : (m, 2) metres, their centres
    """

    rgb: NDArray[np.uint8]
    layer: Layer
    visible: NDArray[np.intp]
    xy: NDArray[np.float64]

    def png(self) -> bytes:
        """Give the pixels as a PNG file."""
        from PIL import Image

        buffer = BytesIO()
        Image.fromarray(self.rgb).save(buffer, format="PNG", compress_level=6)
        return buffer.getvalue()

    def data_uri(self) -> str:
        """Give the PNG as text that a browser shows without asking for a file."""
        return "data:image/png;base64," + b64encode(self.png()).decode()


def draw_picture(layer: Layer, view: View) -> Picture:
    """Fill the pixels of a view with the colours of the cells under them."""
    layer = fit(layer, view)
    xy = view.project(*layer.grid.centers(layer.cell_ids))
    visible = np.flatnonzero(view.shows(xy))
    land = pixel_land(view)
    pixels = np.where(land[..., None], _rgb8(LAND), _rgb8(SEA))
    position, has_cell = _positions(pixel_cells(view, layer.grid), layer.cell_ids)
    colours = cell_colours(layer)
    pixels[has_cell] = colours[position[has_cell]]
    if layer.outside is not None:
        hatched = has_cell & layer.outside[position] & _stripes(pixels.shape[:2])
        pixels[hatched] = (0.2 * pixels[hatched] + 0.8 * _rgb8(OUTSIDE)).astype(np.uint8)
    if cell_pixels(layer, view) > EDGED_PIXELS:
        edge = _borders(np.where(has_cell, position, -1)) & has_cell
        pixels[edge] = (0.55 * pixels[edge] + 0.45 * _rgb8(EDGE)).astype(np.uint8)
    coast = _borders(land)
    pixels[coast] = (0.35 * pixels[coast] + 0.65 * _rgb8(COAST)).astype(np.uint8)
    return Picture(pixels.astype(np.uint8), layer, visible, xy[visible])


def view_of(layer: Layer, projection: str) -> View:
    """Give the view that holds all cells of a layer."""
    some = layer.cell_ids[:: max(1, layer.cell_ids.size // 50)]
    reach = float(np.sqrt(layer.grid.areas_m2(some).max(initial=0.0)))
    return whole_view(*layer.grid.centers(layer.cell_ids), projection, reach_m=reach)


def fit(layer: Layer, view: View) -> Layer:
    """Coarsen a layer until its cells are wide enough to be seen, or its grid has no coarser level."""
    from entropice_core.grids import GRID_LEVELS

    while layer.grid.level > GRID_LEVELS[layer.grid.name].start and cell_pixels(layer, view) < LEAST_PIXELS:
        layer = coarsen(layer)
    return layer


def cell_pixels(layer: Layer, view: View) -> float:
    """Give the width of a middling cell in pixels."""
    if not layer.cell_ids.size:
        return float("inf")
    some = layer.cell_ids[:: max(1, layer.cell_ids.size // 50)]
    return float(np.sqrt(np.median(layer.grid.areas_m2(some))) / view.metres_per_pixel)


def norm_of(layer: Layer) -> Normalize:
    """Give what maps the values of a layer to 0..1."""
    low, high = layer.limits()
    return LogNorm(low, high, clip=True) if layer.is_log else Normalize(low, high, clip=True)


def cell_colours(layer: Layer) -> NDArray[np.uint8]:
    """Give the colour of each cell: (n, 3) uint8; grey without a value, pale at 0 where colours are logarithmic."""
    known = np.isfinite(layer.values)
    low = layer.limits()[0]
    values = np.where(known, layer.values, low)
    scaled = norm_of(layer)(np.maximum(values, low) if layer.is_log else values)
    rgb = colormaps[COLOURS[layer.kind]](np.asarray(scaled, dtype=float))[:, :3]
    filled: NDArray[np.uint8] = np.where(known[:, None], np.round(rgb * 255).astype(np.uint8), _rgb8(NO_VALUE))
    if layer.is_log:
        filled[known & (layer.values <= 0)] = _rgb8(ZERO)
    return filled


def _positions(cells: NDArray[np.uint64], ids: NDArray[np.uint64]) -> tuple[NDArray[np.intp], NDArray[np.bool_]]:
    if not ids.size:
        return np.zeros(cells.shape, dtype=np.intp), np.zeros(cells.shape, dtype=bool)
    position: NDArray[np.intp] = np.minimum(np.searchsorted(ids, cells), ids.size - 1)
    return position, ids[position] == cells


def _stripes(shape: tuple[int, ...]) -> NDArray[np.bool_]:
    down, across = np.indices(shape)
    striped: NDArray[np.bool_] = (down + across) % 8 < 2
    return striped


def _borders(values: NDArray[np.generic]) -> NDArray[np.bool_]:
    """Tell which pixels differ from the one to the right or below: (rows, columns)."""
    border = np.zeros(values.shape, dtype=bool)
    border[:, :-1] |= values[:, :-1] != values[:, 1:]
    border[:-1] |= values[:-1] != values[1:]
    return border


def _rgb8(colour: str) -> NDArray[np.uint8]:
    return np.round(np.array(to_rgb(colour)) * 255).astype(np.uint8)

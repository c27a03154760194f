"""What Earth Engine is asked to compute: sums of an image's pixels in cells.

The sums are made on the image's own pixels: its coordinate system and the corner of its pixels are named, with pixels
``2**k`` times as wide, so that the service reads one level of its pyramid as it is and moves no pixel. Cells are
polygons in that coordinate system too: plane figures, for which 180 degrees and the pole are places like others. Their
edges are chords that leave the true edge by less than 0.002 pixels, or 10 cm.

A pixel counts in one image only, by the rule of ``embeddings.tiles``: it goes to the zone with the nearest central
meridian among the images that hold its centre. It counts with its true area (``pixelArea``), in cells of 400 pixels or
more where the cell holds its centre (an unweighted reducer), in smaller ones with the share of it that lies in the cell
(a weighted reducer; Earth Engine knows that share to 1/256).
"""

from collections.abc import Iterator, Sequence
from typing import Any

import numpy as np

from entropice_core.embeddings.tiles import EmbeddingTile
from entropice_core.errors import GridError
from entropice_core.features.cell_labels import drawn_outlines
from entropice_core.features.streaming import Method
from entropice_core.features.tiles import Tile
from entropice_core.fetch.alphaearth import BANDS
from entropice_core.fetch.earth_engine.images import EeImage
from entropice_core.grids.base import Float64, Grid, UInt64

CHORD_PIXELS, CHORD_M = 0.002, 0.1
NAMES = tuple(f"A{band:02d}" for band in range(BANDS))
SQUARES = tuple(f"Q{band:02d}" for band in range(BANDS))
AREA, PIXELS, ROW = "area", "pixels", "row"


def columns(with_squares: bool) -> tuple[str, ...]:
    """Names of the sums, in the order in which they are kept: number and area of pixels, w x, w x x."""
    return (PIXELS, AREA, *NAMES, *(SQUARES if with_squares else ()))


def sums_of_cells(
    image: EeImage,
    others: Sequence[EmbeddingTile],
    polygons: Sequence[Float64],
    method: Method,
    with_squares: bool,
    tile_scale: int,
) -> Any:
    """The expression: one row of sums for each polygon, with its position in the list."""
    import ee

    projection = _code(image.place)
    rings = [ee.Geometry.Polygon([ring.tolist()], projection, False) for ring in polygons]
    cells = ee.FeatureCollection([ee.Feature(ring, {ROW: i}) for i, ring in enumerate(rings)])
    reducer = ee.Reducer.sum() if method == "coverage" else ee.Reducer.sum().unweighted()
    place = image.place
    reduced = _layers(image, others, with_squares).reduceRegions(
        collection=cells,
        reducer=reducer,
        crs=projection,
        crsTransform=[place.step_x, 0, place.left, 0, place.step_y, place.top],
        tileScale=tile_scale,
    )
    return reduced.select([ROW, *columns(with_squares)], None, False)


def _layers(image: EeImage, others: Sequence[EmbeddingTile], with_squares: bool) -> Any:
    """Bands whose sums are wanted, masked where a pixel does not count."""
    import ee

    x = ee.Image(image.id).select(list(NAMES))
    if others:
        x = x.updateMask(_counts_elsewhere(image.tile, others).Not())
    valid, area = x.select([NAMES[0]]).mask(), ee.Image.pixelArea()
    weighted = x.multiply(area)
    layers = ee.Image.constant(1).updateMask(valid).rename([PIXELS])
    layers = layers.addBands(area.updateMask(valid).rename([AREA])).addBands(weighted)
    return layers.addBands(weighted.multiply(x).rename(list(SQUARES))) if with_squares else layers


def _counts_elsewhere(tile: EmbeddingTile, others: Sequence[EmbeddingTile]) -> Any:
    """1 where another image that goes before this one holds a pixel's centre (``embeddings.tiles.counted``)."""
    import ee

    lon = ee.Image.pixelLonLat().select(["longitude"])
    found = None
    for other in others:
        here = _inside(other.place)
        if other.zone == tile.zone:
            if other.path.name > tile.path.name:
                continue
        else:
            mine, its = _from_meridian(lon, tile.central), _from_meridian(lon, other.central)
            here = here.And(its.lt(mine) if other.zone > tile.zone else its.lte(mine))
        found = here if found is None else found.Or(here)
    return ee.Image.constant(0) if found is None else found


def _from_meridian(lon: Any, central: float) -> Any:
    """Degrees from a meridian, also across 180 degrees."""
    return lon.subtract(central).add(900.0).mod(360.0).subtract(180.0).abs()


def _inside(place: Tile) -> Any:
    """1 where a pixel's centre lies in a rectangle of another coordinate system."""
    import ee

    at = ee.Image.pixelCoordinates(ee.Projection(_code(place)))
    (rows, n_columns) = place.shape
    west, east = sorted((place.left, place.left + n_columns * place.step_x))
    south, north = sorted((place.top, place.top + rows * place.step_y))
    x, y = at.select(["x"]), at.select(["y"])
    return x.gte(west).And(x.lt(east)).And(y.gte(south)).And(y.lt(north))


def polygons_of(place: Tile, grid: Grid, cell_ids: UInt64) -> Iterator[Float64]:
    """Outlines of cells in the coordinate system of an image, to centimetres: (points, 2) each, not closed."""
    drawn = drawn_outlines(place, grid, cell_ids, max(CHORD_PIXELS, CHORD_M / abs(place.step_x)))
    if drawn is None:
        raise GridError(f"Cells of {grid.key} cannot be drawn in {place.crs.name}: they lie too far from its zone.")
    rows, places, offsets = drawn
    x, y = place.xy(rows, places)
    points: Float64 = np.column_stack([x, y]).round(2)
    for begin, end in zip(offsets[:-1], offsets[1:], strict=True):
        yield points[begin:end]


def _code(place: Tile) -> str:
    code = place.crs.to_epsg()
    return f"EPSG:{code}" if code else str(place.crs.to_wkt("WKT1_GDAL"))

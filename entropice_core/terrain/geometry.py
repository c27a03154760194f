"""True distances and true north at the pixels of a raster.

A step of one column or row is a vector on the ellipsoid. Its parts to the true east and north, metres, make a 2 x 2
matrix J; the gradient per metre to the east and north is the inverse transpose of J times the gradient per pixel. That
one matrix holds the projection's scale (a metre in EPSG:3413 is 0.96 true metres at 60 N, so planar slopes there are
4 % too flat), its turn against true north (longitude + 45 degrees) and, in longitude and latitude, the converging
meridians.
"""

import numpy as np

from entropice_core.features.tiles import KNOT_PIXELS, Tile
from entropice_core.grids.base import Float64
from entropice_core.grids.projection import ECCENTRICITY, SEMIMAJOR_AXIS_M


def per_metre(tile: Tile) -> Float64:
    """Matrices that turn a gradient per pixel into one per metre, at the tile's knots: (4, rows, columns).

    The first two parts give the eastward, the last two the northward part of the gradient:
    ``east = m[0] * per_column + m[1] * per_row``. NaN outside the projection.
    """
    knots = tile.knots
    rows = (np.arange(knots.lon.shape[0]) * KNOT_PIXELS + knots.row).astype(np.float64)
    columns = (np.arange(knots.lon.shape[1]) * KNOT_PIXELS + knots.column).astype(np.float64)
    c, r = np.meshgrid(columns, rows)
    along_column = _on_ellipsoid(tile, r, c + 0.5) - _on_ellipsoid(tile, r, c - 0.5)
    along_row = _on_ellipsoid(tile, r + 0.5, c) - _on_ellipsoid(tile, r - 0.5, c)
    east, north = _directions(knots.lon, knots.lat)
    a, b = (along_column * east).sum(axis=0), (along_row * east).sum(axis=0)
    d, e = (along_column * north).sum(axis=0), (along_row * north).sum(axis=0)
    determinant = a * e - b * d
    usable = np.abs(determinant) > 1e-9
    made: Float64 = np.where(usable, np.stack([e, -d, -b, a]) / np.where(usable, determinant, 1.0), np.nan)
    return made


def _on_ellipsoid(tile: Tile, rows: Float64, columns: Float64) -> Float64:
    """Places in pixels -> points on the ellipsoid, metres from the centre of the Earth: (3, ...)."""
    lon, lat = tile.lonlat(rows.ravel(), columns.ravel())
    lam, phi = np.radians(lon).reshape(rows.shape), np.radians(lat).reshape(rows.shape)
    normal = SEMIMAJOR_AXIS_M / np.sqrt(1.0 - (ECCENTRICITY * np.sin(phi)) ** 2)
    across = normal * np.cos(phi)
    return np.stack([across * np.cos(lam), across * np.sin(lam), (1.0 - ECCENTRICITY**2) * normal * np.sin(phi)])


def _directions(lon: Float64, lat: Float64) -> tuple[Float64, Float64]:
    """Unit vectors to the east and to the north: (3, ...)."""
    lam, phi = np.radians(lon), np.radians(lat)
    east = np.stack([-np.sin(lam), np.cos(lam), np.zeros_like(lam)])
    north = np.stack([-np.sin(phi) * np.cos(lam), -np.sin(phi) * np.sin(lam), np.cos(phi)])
    return east, north

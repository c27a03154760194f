"""Elevation -> the shape of the ground at every pixel. Names, units, formulae and where they come from.

=====================  ===========================================================================================
``elevation``          height of the surface
``slope``              angle of steepest descent; Horn 1981 (doi:10.1109/PROC.1981.11918), 3 x 3, per true metre
``northness``          cos(aspect) sin(slope): northward part of the unit normal; aspect from true north. Never an
``eastness``           averaged angle, and 0 on level ground, where aspect has no meaning
``profile_curvature``  along the slope, positive where convex; Zevenbergen & Thorne 1987
``plan_curvature``     across the slope, negative where convex (doi:10.1002/esp.3290120107); 0 on level ground
``tpi_<R>m``           topographic position: height less the mean of the pixels between R/2 and R away; Weiss 2001
``tri``                terrain ruggedness: root of the summed squared differences to the 8 neighbours; Riley et al. 1999
``roughness``          largest less least height of the 3 x 3 pixels; Wilson et al. 2007 (doi:10.1080/01490410701295962)
``vrm``                vector ruggedness: 1 - |mean unit normal| of 3 x 3; Sappington et al. 2007 (doi:10.2193/2005-723)
``solar_index``        direct sun on the slope from May to September, relative to level ground there: sum of the cosine
                       of incidence over the hours of a mean day of each month (Klein 1977,
                       doi:10.1016/0038-092X(77)90001-9); no atmosphere, no cast shadows
=====================  ===========================================================================================

Differences, not squares of heights, are added up: in float32, at 2,000 m, the latter cancel. Where a pixel of the 3 x 3
window is void the result is void; nothing is interpolated. ``relief`` (largest less least) and the hypsometric integral
((mean - least) / (largest - least); Pike & Wilson 1971) are made of a cell's statistics, see ``sources.arcticdem``.

xarray-spatial was looked at: the version for Python 3.11 has no position and ruggedness indices and takes the plane of
the projection for the ground; the figures here agree with ``gdaldem`` where it has the same (slope after its scale is
corrected, aspect after it is turned to true north, position, ruggedness, roughness).
"""

from collections.abc import Iterator, Sequence

import numpy as np
import numpy.typing as npt

from entropice_core.features.quantity import Quantity
from entropice_core.features.tiles import KNOT_PIXELS, Tile
from entropice_core.grids.base import Bool
from entropice_core.terrain import kernels
from entropice_core.terrain.geometry import per_metre

VERSION = "1"

THAW_SEASON_RAD = np.radians([18.8, 23.1, 21.2, 13.5, 2.2])
"""Declination of the sun on the mean day of May to September (Klein 1977)."""
LEAST_RING = 0.5
"""Share of a ring's pixels that must have a height."""

HEIGHT_STEPS = 2.0**7  # a metre has 128 steps

Float32 = npt.NDArray[np.float32]
_Range = tuple[float, float, float, int, float]


def quantities(tpi_radii_m: Sequence[float]) -> list[Quantity]:
    """What :func:`layers` gives, in its order."""
    curved: _Range = (-0.25, 0.25, 2.0**-21, 400, 1e-4)
    rough: _Range = (0.0, 4096.0, 2.0**-8, 300, 0.5)
    above: _Range = (-2048.0, 2048.0, 2.0**-8, 400, 0.5)
    return [
        Quantity("elevation", "m", "height of the surface", -512.0, 7680.0, 1.0 / HEIGHT_STEPS, bins=4096),
        Quantity("slope", "degree", "angle of steepest descent", 0.0, 90.0, 2.0**-13, bins=720),
        Quantity("northness", "1", "northward part of the unit normal", -1.0, 1.0, 2.0**-19, bins=200),
        Quantity("eastness", "1", "eastward part of the unit normal", -1.0, 1.0, 2.0**-19, bins=200),
        Quantity("profile_curvature", "m-1", "curvature along the slope, positive where convex", *curved),
        Quantity("plan_curvature", "m-1", "curvature across the slope, negative where convex", *curved),
        *(Quantity(tpi_name(r), "m", f"height above the mean {r / 2:g} to {r:g} m away", *above) for r in tpi_radii_m),
        Quantity("tri", "m", "terrain ruggedness index of Riley", *rough),
        Quantity("roughness", "m", "range of height in 3 x 3 pixels", *rough),
        Quantity("vrm", "1", "vector ruggedness", 0.0, 1.0, 2.0**-20, bins=300, bend=1e-4),
        Quantity(
            "solar_index", "1", "direct sun of May to September relative to level ground", 0.0, 4.0, 2.0**-18, bins=400
        ),
    ]


def tpi_name(radius_m: float) -> str:
    """Name of a position index: ``tpi_320m``."""
    return f"tpi_{radius_m:g}m"


def halo_pixels(tpi_radii_m: Sequence[float], pixel_m: float) -> int:
    """Pixels that are needed beyond the edge of a tile."""
    return max([2, *(int(radius / pixel_m) for radius in tpi_radii_m)])


def layers(
    z: Float32, tile: Tile, halo: int, tpi_radii_m: Sequence[float], pixel_m: float, water: Bool | None = None
) -> Iterator[Float32]:
    """All quantities of the pixels of a tile, one after the other: (rows, columns) each, NaN where void or water.

    Parameters
    ----------
    z : (rows + 2 halo, columns + 2 halo) float32, heights in metres, NaN where void
    tile : the tile with the halo
    halo : at least :func:`halo_pixels`
    tpi_radii_m, pixel_m : radii of the position indices and the size of a pixel, both in metres of the plane
    water : (rows, columns) pixels known to be water; those of level water surfaces are found in any case
    """
    core, edge = _inner(z, halo), _inner(z, halo - 1)
    masked = kernels.still_water(_inner(z, halo - 2)) | (water if water is not None else False)

    def given(field: Float32) -> Float32:
        return np.where(masked, np.float32(np.nan), field)

    knots, first = tile.knots, (tile.knots.row, tile.knots.column)
    matrices = per_metre(tile)
    shifted = first[0] - halo + 1, first[1] - halo + 1
    yield given(core)
    # One pixel more than the tile on every side, for the ruggedness of normals.
    east1, north1 = kernels.gradients(
        _inner(z, halo - 2), matrices, first[0] - halo + 2, first[1] - halo + 2, KNOT_PIXELS
    )
    east, north = _inner(east1, 1), _inner(north1, 1)
    yield given(kernels.slope(east, north))
    yield given(kernels.lean(north, east, north))
    yield given(kernels.lean(east, east, north))
    profile, plan = kernels.curvatures(edge, matrices, *shifted, KNOT_PIXELS)
    yield given(profile)
    yield given(plan)
    yield from map(given, _positions(z, halo, tpi_radii_m, pixel_m))
    tri, rough = kernels.ruggedness(edge)
    yield given(tri)
    yield given(rough)
    yield given(kernels.vector_ruggedness(east1, north1))
    yield given(
        kernels.solar_index(east, north, knots.lat, first[0] - halo, first[1] - halo, KNOT_PIXELS, THAW_SEASON_RAD)
    )


def _positions(z: Float32, halo: int, radii_m: Sequence[float], pixel_m: float) -> Iterator[Float32]:
    if not radii_m:
        return
    total, count = kernels.row_sums(z, HEIGHT_STEPS)
    for radius in radii_m:
        outer, inner = _disc(radius / pixel_m), _disc(radius / pixel_m / 2.0)
        hole = np.full_like(outer, -1)
        hole[outer.size // 2 - inner.size // 2 : outer.size // 2 + inner.size // 2 + 1] = inner
        pixels = int((2 * outer + 1).sum() - (2 * inner + 1).sum())
        least = int(np.ceil(LEAST_RING * pixels))
        yield kernels.position(z, total, count, HEIGHT_STEPS, halo, outer, hole, least)


def _disc(radius: float) -> npt.NDArray[np.int64]:
    """Half-width of a disc of pixels in each of its rows.

    >>> _disc(1.5).tolist(), _disc(0.75).tolist()
    ([1, 1, 1], [0])
    """
    rows = np.arange(-int(radius), int(radius) + 1)
    widths: npt.NDArray[np.int64] = np.sqrt(radius**2 - rows**2 + 1e-9).astype(np.int64)
    return widths


def _inner(field: Float32, margin: int) -> Float32:
    return np.ascontiguousarray(field[margin : field.shape[0] - margin, margin : field.shape[1] - margin])

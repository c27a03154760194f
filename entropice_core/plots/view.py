"""Which part of the Arctic is looked at, in which polar projection, and what lies under each pixel.

A picture is filled pixel by pixel: each pixel is brought back to longitude and latitude, and the grid says in which
cell it lies. That costs the same for ten cells and for half a million, needs no polygon, and neither 180 degrees nor
the pole is special. The answer depends on the view and the cells only, so that another year or variable is quick.
"""

from collections import OrderedDict
from dataclasses import dataclass, replace
from threading import Lock

import numpy as np
from numpy.typing import NDArray

from entropice_core.errors import ConfigError, nearest_hint
from entropice_core.grids.base import Grid
from entropice_core.grids.land import is_land
from entropice_core.grids.projection import GEOGRAPHIC_CRS, to_lonlat, transformer

Extent = tuple[float, float, float, float]
"""Left, right, bottom, top in metres of the projection."""

TURNED = "turned"
PROJECTIONS = {
    TURNED: "polar stereographic, turned so that the study stands upright",
    "EPSG:3995": "Arctic polar stereographic, 0° down",
    "EPSG:3413": "NSIDC polar stereographic, 45°W down",
    "EPSG:6931": "EASE-Grid 2.0, equal area, 0° down",
}
LEAST_WIDTH_M, MOST_WIDTH_M = 20_000.0, 1.2e7
COLUMNS = 900
_KEPT = 12


@dataclass(frozen=True)
class View:
    """A rectangle of a polar projection.

    Attributes
    ----------
    crs : name for pyproj
    name : how people call the projection
    extent : left, right, bottom, top, metres
    columns : pixels across; pixels are square
    """

    crs: str
    name: str
    extent: Extent
    columns: int = COLUMNS

    @property
    def rows(self) -> int:
        """Pixels down."""
        left, right, bottom, top = self.extent
        return max(1, round(self.columns * (top - bottom) / (right - left)))

    @property
    def metres_per_pixel(self) -> float:
        """Side of a pixel in the projection."""
        return (self.extent[1] - self.extent[0]) / self.columns

    def project(self, lon: NDArray[np.float64], lat: NDArray[np.float64]) -> NDArray[np.float64]:
        """Degrees (n,), (n,) -> metres in the projection (n, 2)."""
        return np.column_stack(transformer(GEOGRAPHIC_CRS, self.crs).transform(lon, lat))

    def lonlat(self, x: float, y: float) -> tuple[float, float]:
        """Metres in the projection -> degrees."""
        lon, lat = to_lonlat(np.array([x]), np.array([y]), self.crs)
        return float(lon[0]), float(lat[0])

    def shows(self, xy: NDArray[np.float64]) -> NDArray[np.bool_]:
        """Tell which points (n, 2), metres, lie in the view: (n,)."""
        left, right, bottom, top = self.extent
        inside: NDArray[np.bool_] = (xy[:, 0] >= left) & (xy[:, 0] <= right) & (xy[:, 1] >= bottom) & (xy[:, 1] <= top)
        return inside


def whole_view(
    lon: NDArray[np.float64],
    lat: NDArray[np.float64],
    projection: str = TURNED,
    columns: int = COLUMNS,
    reach_m: float = 0.0,
) -> View:
    """Give the view that holds all of some points (n,), degrees, with a margin; at most twice as wide as high.

    ``reach_m`` : how far cells reach beyond their centres.
    """
    if projection not in PROJECTIONS:
        raise ConfigError(f"There is no projection {projection!r} for maps; {nearest_hint(projection, PROJECTIONS)}.")
    crs, name = _crs(lon, lat, projection)
    xy = View(crs, name, (0, 1, 0, 1)).project(lon, lat)
    low, high = xy.min(axis=0), xy.max(axis=0)
    half = np.maximum(0.53 * (high - low) + reach_m, LEAST_WIDTH_M)
    half = np.maximum(half, 0.5 * half.max())
    x, y = (low + high) / 2
    return View(crs, name, (float(x - half[0]), float(x + half[0]), float(y - half[1]), float(y + half[1])), columns)


def zoom(view: View, x: tuple[float, float], y: tuple[float, float]) -> View:
    """Give the part of a view between two corners, in metres, made no narrower than 20 km."""
    centre = (sum(x) / 2, sum(y) / 2)
    half = [max(abs(pair[1] - pair[0]) / 2, LEAST_WIDTH_M / 2) for pair in (x, y)]
    half = [max(side, max(half) / 2) for side in half]
    extent = (centre[0] - half[0], centre[0] + half[0], centre[1] - half[1], centre[1] + half[1])
    return replace(view, extent=extent)


def scaled(view: View, factor: float, middle: tuple[float, float] | None = None) -> View:
    """Give a view of the same shape, closer (factor below 1) or farther, about a point in metres or its own middle."""
    left, right, bottom, top = view.extent
    x, y = middle or ((left + right) / 2, (bottom + top) / 2)
    half_x = min(max((right - left) / 2 * factor, LEAST_WIDTH_M / 2), MOST_WIDTH_M / 2)
    half_y = half_x * (top - bottom) / (right - left)
    return replace(view, extent=(x - half_x, x + half_x, y - half_y, y + half_y))


def _crs(lon: NDArray[np.float64], lat: NDArray[np.float64], projection: str) -> tuple[str, str]:
    if projection != TURNED:
        return projection, f"{projection}, {PROJECTIONS[projection].split(',')[0]}"
    xy = View("EPSG:6931", "", (0, 1, 0, 1)).project(lon, lat)
    mean, spread = xy.mean(axis=0), np.hypot(*xy.T).mean()
    goes_round = np.hypot(*mean) < 0.35 * spread
    down = 0 if goes_round else round(float(np.degrees(np.arctan2(mean[0], -mean[1]))) / 5) * 5
    if not down:
        return "EPSG:3995", "EPSG:3995, Arctic polar stereographic"
    return (
        f"+proj=stere +lat_0=90 +lat_ts=71 +lon_0={down} +datum=WGS84 +units=m",
        f"polar stereographic (EPSG:3995 turned to {abs(down)}°{'E' if down > 0 else 'W'})",
    )


class _Kept:
    """The last few answers, by key; several sessions of the dashboard ask at once."""

    def __init__(self) -> None:
        self._answers: OrderedDict[object, NDArray[np.generic]] = OrderedDict()
        self._lock = Lock()

    def get(self, key: object) -> NDArray[np.generic] | None:
        with self._lock:
            found = self._answers.get(key)
            if found is not None:
                self._answers.move_to_end(key)
            return found

    def put(self, key: object, answer: NDArray[np.generic]) -> None:
        with self._lock:
            self._answers[key] = answer
            while len(self._answers) > _KEPT:
                self._answers.popitem(last=False)


_lonlats, _cells, _lands = _Kept(), _Kept(), _Kept()


def pixel_lonlat(view: View) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    """Longitude and latitude of the middle of each pixel, row by row from the top: (rows * columns,) each, degrees."""
    found = _lonlats.get(view)
    if found is None:
        left, right, bottom, top = view.extent
        x = left + (np.arange(view.columns) + 0.5) * (right - left) / view.columns
        y = top - (np.arange(view.rows) + 0.5) * (top - bottom) / view.rows
        across, down = np.meshgrid(x, y)
        found = np.stack(to_lonlat(across.ravel(), down.ravel(), view.crs))
        _lonlats.put(view, found)
    return found[0], found[1]


def pixel_cells(view: View, grid: Grid) -> NDArray[np.uint64]:
    """Cell of each pixel: (rows, columns) uint64. Pixels south of the equator have the cell of the equator above."""
    found = _cells.get((view, grid.key))
    if found is None:
        lon, lat = pixel_lonlat(view)
        found = grid.locate(lon, np.maximum(lat, 0.0)).reshape(view.rows, view.columns)
        _cells.put((view, grid.key), found)
    return found.astype(np.uint64, copy=False)


def pixel_land(view: View) -> NDArray[np.bool_]:
    """Which pixels are land: (rows, columns) bool."""
    found = _lands.get(view)
    if found is None:
        found = is_land(*pixel_lonlat(view)).reshape(view.rows, view.columns)
        _lands.put(view, found)
    return found.astype(np.bool_, copy=False)


@dataclass(frozen=True, eq=False)
class Line:
    """A parallel or meridian: (n, 2) metres, and what to call it."""

    xy: NDArray[np.float64]
    text: str


def graticule(view: View) -> list[Line]:
    """Give parallels and meridians that cross a view, about five of each."""
    step_lat, step_lon = _steps(view)
    fine = np.linspace(-180, 180, 721)
    lines = [
        Line(view.project(fine, np.full(fine.size, float(lat))), f"{lat:g}°N") for lat in np.arange(30, 90, step_lat)
    ]
    fine = np.linspace(30, 90 - step_lat, 400)
    for lon in np.arange(-180, 180, step_lon):
        lines.append(Line(view.project(np.full(fine.size, float(lon)), fine), meridian(float(lon))))
    return [line for line in lines if view.shows(line.xy).any()]


def meridian(longitude: float) -> str:
    """Name a meridian.

    >>> meridian(-180.0), meridian(-45.0), meridian(120.0)
    ('180°', '45°W', '120°E')
    """
    if longitude in (-180.0, 0.0):
        return f"{abs(longitude):g}°"
    return f"{abs(longitude):g}°{'E' if longitude > 0 else 'W'}"


def _steps(view: View) -> tuple[float, float]:
    width = view.extent[1] - view.extent[0]
    for most, lat, lon in ((3e5, 0.5, 2.0), (8e5, 1.0, 5.0), (2e6, 2.0, 10.0), (5e6, 5.0, 15.0)):
        if width <= most:
            return lat, lon
    return 10.0, 30.0

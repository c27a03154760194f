"""Which part of a cell is land, from a mask that works offline.

The mask is the one inside the package ``global-land-mask``: the sea flag of the GLOBE elevation model (Hastings and
Dunbar 1999, NOAA), 30 arc-seconds, that is 0.93 km in latitude and 0.93 km times cos(latitude) in longitude. Inland
water counts as land, and so do ice sheets; the sea and its bays do not. The package's own module unpacks 930 MB when
it is imported, so that only its data file is used here, read from the pole southward as far as is needed.
"""

import zipfile
from collections.abc import Iterator
from dataclasses import dataclass
from functools import lru_cache
from importlib.metadata import version
from importlib.util import find_spec
from pathlib import Path
from typing import IO

import numpy as np
import numpy.typing as npt

from entropice_core.errors import ConfigError, GridError, SourceError
from entropice_core.grids.base import Bool, Float64, Grid, Int64, UInt64
from entropice_core.grids.projection import EQUAL_AREA_CRS, SEMIMAJOR_AXIS_M, authalic_q, to_lonlat

Float32 = npt.NDArray[np.float32]

VERSION = "1"
PACKAGE = "global-land-mask"
MASK_FILE = "globe_combined_mask_compressed.npz"
PIXELS_PER_DEGREE = 120
_ROWS, _COLUMNS = 180 * PIXELS_PER_DEGREE, 360 * PIXELS_PER_DEGREE
_PIXEL_M = 927.7  # a mean meridian degree / 120
_ROWS_PER_READ = 120  # one degree, 5 MB; block rows must divide it

SOUTHERN_EDGE = 30.0
"""Degrees north down to which :func:`is_land` keeps the mask: no map of the Arctic reaches farther."""

SAMPLES_PER_CELL = 200
"""Blocks of pixels that a cell gets on average at least, where the mask is fine enough for that."""


@dataclass(frozen=True)
class LandSamples:
    """Blocks of mask pixels and the land in each.

    Attributes
    ----------
    lon, lat : (n,) float32, degrees
        Centres of the blocks.
    area_m2 : (n,) float32, m2
        Land in the block, on the WGS84 ellipsoid.
    block_m2 : (n,) float32, m2
        The block itself.
    """

    lon: Float32
    lat: Float32
    area_m2: Float32
    block_m2: Float32

    def select(self, chosen: npt.NDArray[np.bool_]) -> "LandSamples":
        """Give some of the blocks: (n,) bool."""
        return LandSamples(self.lon[chosen], self.lat[chosen], self.area_m2[chosen], self.block_m2[chosen])


def mask_version() -> str:
    """Name and version of the land mask, for metadata."""
    return f"{PACKAGE} {version(PACKAGE)}"


def land_samples(min_latitude: float, step: int = 4) -> LandSamples:
    """All blocks with land in them north of a latitude, from the pole southward and eastward.

    Parameters
    ----------
    min_latitude : float
        Degrees north, 0 to below 90.
    step : int
        Rows of the mask in a block (120 rows are a degree); blocks are about as wide as they are high. North of 60 N,
        ``step=4`` gives 1.2 million blocks of 14 km2 and ``step=1`` 19 million of 0.9 km2 (300 MB).
    """
    parts = [block.select(block.area_m2 > 0.0) for block in land_blocks(min_latitude, step)]
    columns = [[getattr(part, name) for part in parts] for name in ("lon", "lat", "area_m2", "block_m2")]
    return LandSamples(*(np.concatenate(column) for column in columns))


def land_samples_for(lat: npt.ArrayLike, area_m2: npt.ArrayLike) -> LandSamples:
    """Land blocks as fine as some cells need, down to the southern edge of the southernmost: (n,) deg, (n,) m2."""
    areas = np.asarray(area_m2, dtype=np.float64)
    reach = float(np.degrees(np.sqrt(areas.max()) / SEMIMAJOR_AXIS_M))
    return land_samples(max(float(np.min(lat)) - reach, 0.0), _step_for(float(areas.mean())))


def land_blocks(min_latitude: float, step: int, max_latitude: float = 90.0) -> Iterator[LandSamples]:
    """All blocks north of a latitude, sea included, one degree of latitude at a time from the pole southward.

    Degrees that lie wholly north of ``max_latitude`` are left out.
    """
    if not 0.0 <= min_latitude < 90.0 or step < 1 or _ROWS_PER_READ % step:
        raise GridError(
            f"Land blocks need a latitude from 0 to below 90 and a step that divides {_ROWS_PER_READ}, "
            f"but got {min_latitude} and {step}."
        )
    for first_row, sea in _mask_rows(min_latitude):
        if 90.0 - (first_row + sea.shape[0]) / PIXELS_PER_DEGREE > max_latitude:
            continue
        rows = [_block_row(sea[i : i + step], first_row + i, step) for i in range(0, sea.shape[0], step)]
        lon, lat, land, block = (np.concatenate(column) for column in zip(*rows, strict=True))
        yield LandSamples(lon, lat, land, block)


def land_fraction(grid: Grid, cell_ids: npt.ArrayLike) -> Float32:
    """Share of land in each cell: (n,) -> (n,) float32, 0 to 1.

    Each block of mask pixels belongs to the cell in which its centre lies; the land in a cell's blocks is divided by
    the area of these blocks, so that a cell without coast gets exactly 0 or 1 and a coastal cell errs by about 0.01
    (measured in docs/grids.md).
    """
    areas = grid.areas_m2(cell_ids)
    if areas.size == 0:
        return np.empty(0, dtype=np.float32)
    ids, inverse = np.unique(np.atleast_1d(np.asarray(cell_ids, dtype=np.uint64)), return_inverse=True)
    lon, lat = grid.centers(ids)
    _refuse(lat < 0.0, ids, grid.key, "lie in the southern hemisphere", "the land mask is read north of the equator")
    reach = float(np.degrees(np.sqrt(areas.max()) / SEMIMAJOR_AXIS_M))  # beyond the corner of any cell
    land, total = np.zeros(ids.size), np.zeros(ids.size)
    south, north = max(float(lat.min()) - reach, 0.0), float(lat.max()) + reach
    for block in land_blocks(south, _step_for(float(areas.mean())), north):
        near = block.select(_is_near(block, lon, lat, reach))
        index, found = _index_of(grid.locate(near.lon, near.lat), ids)
        land += np.bincount(index, weights=near.area_m2[found], minlength=ids.size)
        total += np.bincount(index, weights=near.block_m2[found], minlength=ids.size)
    _refuse(total == 0.0, ids, grid.key, "hold no pixel of the land mask", "take cells of 20 km2 and more")
    return (land / total).astype(np.float32)[inverse]


def land_image(
    extent_m: tuple[float, float, float, float], size: int | tuple[int, int], crs: str = EQUAL_AREA_CRS
) -> Bool:
    """Land as a picture in a polar projection, for the background of maps.

    Parameters
    ----------
    extent_m : (x_min, x_max, y_min, y_max)
        Metres in ``crs``, the order of matplotlib's ``imshow``.
    size : int or (rows, columns)
        Pixels; one number is the columns of square pixels.
    crs : str
        A northern projection such as EPSG:6931 or EPSG:3995.

    Returns
    -------
    (rows, columns) bool, True on land; row 0 is the northernmost on the page (``y_max``).
    """
    x_min, x_max, y_min, y_max = extent_m
    rows, columns = size if isinstance(size, tuple) else (round(size * (y_max - y_min) / (x_max - x_min)), size)
    if not (x_min < x_max and y_min < y_max and rows > 0 and columns > 0):
        raise ConfigError(f"A land image needs x_min < x_max, y_min < y_max and pixels, but got {extent_m}, {size}.")
    x = x_min + (np.arange(columns) + 0.5) * (x_max - x_min) / columns
    y = y_max - (np.arange(rows) + 0.5) * (y_max - y_min) / rows
    across, down = np.meshgrid(x, y)
    lon, lat = to_lonlat(across.ravel(), down.ravel(), crs)
    stride = max(int((x_max - x_min) / columns / _PIXEL_M / 2.0), 1)
    return _is_land(lon, lat, stride).reshape(rows, columns)


def _is_land(lon: Float64, lat: Float64, stride: int) -> Bool:
    """Look points up in every ``stride``-th row and column of the mask; what is south of the equator is no land."""
    on_map = np.flatnonzero(np.isfinite(lon) & np.isfinite(lat) & (lat > 0.0))
    land = np.zeros(lon.size, dtype=np.bool_)
    if on_map.size == 0:
        return land
    thin = [
        sea[(stride // 2 - first) % stride :: stride, stride // 2 :: stride]
        for first, sea in _mask_rows(max(float(lat[on_map].min()) - stride / PIXELS_PER_DEGREE, 0.0))
    ]
    mask = np.concatenate(thin)
    row = ((90.0 - lat[on_map]) * PIXELS_PER_DEGREE).astype(np.int64) // stride
    column = ((lon[on_map] + 180.0) % 360.0 * PIXELS_PER_DEGREE).astype(np.int64) // stride
    land[on_map] = ~mask[np.minimum(row, mask.shape[0] - 1), np.minimum(column, mask.shape[1] - 1)]
    return land


def is_land(lon: Float64, lat: Float64) -> Bool:
    """Tell which points are land at the mask's full resolution: (n,), (n,) degrees -> (n,); none south of 30 N.

    For pictures that are drawn again and again: the first call unpacks the mask (a second), the others take it from
    memory, a bit a pixel (39 MB).
    """
    packed = _packed_mask()
    row = ((90.0 - lat) * PIXELS_PER_DEGREE).astype(np.int64)
    column = np.minimum(((lon + 180.0) % 360.0 * PIXELS_PER_DEGREE).astype(np.int64), _COLUMNS - 1)
    on_map = (row >= 0) & (row < packed.shape[0])
    byte = packed[np.where(on_map, row, 0), column // 8]
    land: Bool = on_map & ((byte >> (7 - column % 8).astype(np.uint8)) & 1 == 0)
    return land


@lru_cache(maxsize=1)
def _packed_mask() -> npt.NDArray[np.uint8]:
    return np.concatenate([np.packbits(sea, axis=1) for _, sea in _mask_rows(SOUTHERN_EDGE)])


def _mask_rows(min_latitude: float) -> Iterator[tuple[int, Bool]]:
    """Rows of the sea mask north of a latitude: (first row, (rows, 43200) bool) from the pole southward."""
    wanted = min(int(np.ceil((90.0 - min_latitude) * PIXELS_PER_DEGREE)), _ROWS)
    with zipfile.ZipFile(_mask_path()) as archive, archive.open("mask.npy") as member:
        _check_header(member)
        for first in range(0, wanted, _ROWS_PER_READ):
            count = min(_ROWS_PER_READ, wanted - first)
            data = member.read(count * _COLUMNS)
            yield first, np.frombuffer(data, dtype=np.bool_).reshape(count, _COLUMNS)


def _mask_path() -> Path:
    # find_spec of a top-level package does not run it.
    spec = find_spec("global_land_mask")
    if spec is None or spec.origin is None:
        raise SourceError(f"The land mask is missing: install the package {PACKAGE}.")
    return Path(spec.origin).with_name(MASK_FILE)


def _check_header(member: IO[bytes]) -> None:
    np.lib.format.read_magic(member)
    shape, is_fortran, dtype = np.lib.format.read_array_header_1_0(member)
    if shape != (_ROWS, _COLUMNS) or is_fortran or dtype != np.dtype(np.bool_):
        raise SourceError(
            f"The land mask in {MASK_FILE} is {dtype} of shape {shape}, but bool of shape {(_ROWS, _COLUMNS)} is "
            f"expected; install {PACKAGE} 1.x."
        )


@lru_cache(maxsize=1)
def _divisors() -> Int64:
    return np.array([n for n in range(1, _COLUMNS + 1) if _COLUMNS % n == 0])


def _block_row(sea: Bool, first_row: int, step: int) -> tuple[Float32, Float32, Float32, Float32]:
    """One row of blocks: lon, lat, land m2 and block m2, from the mask rows (rows, 43200) in it."""
    edges = 90.0 - (first_row + np.arange(sea.shape[0] + 1)) / PIXELS_PER_DEGREE
    zones = -np.diff(authalic_q(np.sin(np.radians(edges))))
    pixel_m2 = np.pi * SEMIMAJOR_AXIS_M**2 * zones / _COLUMNS
    lat = float(edges[[0, -1]].mean())
    divisors = _divisors()
    width = int(divisors[np.searchsorted(divisors, step / np.cos(np.radians(lat)), side="right") - 1])
    land_pixels = width - sea.reshape(sea.shape[0], -1, width).sum(axis=2, dtype=np.int32)
    count = _COLUMNS // width
    lon = -180.0 + (np.arange(count) + 0.5) * width / PIXELS_PER_DEGREE
    land_m2, block_m2 = pixel_m2 @ land_pixels, np.full(count, width * pixel_m2.sum())
    return _float32(lon), _float32(np.full(count, lat)), _float32(land_m2), _float32(block_m2)


def _float32(values: Float64) -> Float32:
    return values.astype(np.float32)


def _step_for(cell_area_m2: float) -> int:
    """Rows in a block so that a cell has ``SAMPLES_PER_CELL`` blocks; 1 where the mask is not fine enough."""
    wanted = np.sqrt(cell_area_m2 / SAMPLES_PER_CELL) / _PIXEL_M
    return max((n for n in range(1, _ROWS_PER_READ + 1) if _ROWS_PER_READ % n == 0 and n <= wanted), default=1)


def _is_near(block: LandSamples, lon: Float64, lat: Float64, reach: float) -> Bool:
    """Tell which blocks can lie in the cells around the given centres, by degrees of longitude: a cheap first sieve."""
    south, north = float(block.lat.min()) - reach, float(block.lat.max()) + reach
    centres = lon[(lat >= south) & (lat <= north)]
    if north >= 88.0:
        return np.full(block.lon.size, centres.size > 0)
    sideways = int(np.ceil(reach / np.cos(np.radians(north)))) + 1
    occupied = np.unique(np.floor(centres).astype(np.int64) + 180)
    columns = np.zeros(360, dtype=np.bool_)
    columns[(occupied[:, None] + np.arange(-sideways, sideways + 1)).ravel() % 360] = True
    return columns[np.floor(block.lon).astype(np.int64) + 180]


def _index_of(cells: UInt64, ids: UInt64) -> tuple[Int64, Bool]:
    """Positions of the located cells in the sorted ids, and which of them are among the ids."""
    position = np.minimum(np.searchsorted(ids, cells), ids.size - 1)
    found = ids[position] == cells
    return position[found], found


def _refuse(bad: Bool, ids: UInt64, key: str, what: str, remedy: str) -> None:
    if bad.any():
        first = ids[np.flatnonzero(bad)[0]]
        raise GridError(f"{np.count_nonzero(bad)} of {ids.size} cells of {key} {what}, the first is {first}; {remedy}.")

"""Discrete global grids: which cell a point is in, where a cell lies, how large it is, what is land in it.

======================  ==================================================================================
``base``                what every grid must do (the ``Grid`` protocol) and the checks at the door
``h3``, ``healpix``     one grid each; ``h3_arrays`` and ``h3_loops`` are the two ways to call H3
``projection``          WGS84, the equal-area plane EPSG:6931, rings at 180 degrees and over the pole
``study_area``          where a study looks: a cap, bounds, polygons
``land``                the offline land mask: samples, land fractions of cells, map backgrounds
``cells``               the published list of cells of a study, and its metadata
======================  ==================================================================================

Importing this package imports no grid library; :func:`open_grid` does.
"""

from typing import TYPE_CHECKING

from entropice_core.errors import ConfigError, GridError, nearest_hint
from entropice_core.registry import GRIDS

if TYPE_CHECKING:
    from entropice_core.grids.base import Grid

__all__ = ["GRID_KEYS", "GRID_LEVELS", "open_grid", "parse_grid_key"]

GRID_LEVELS: dict[str, range] = {"h3": range(3, 7), "healpix": range(6, 11)}
"""Levels that are supported: H3 resolutions 3-6 and HEALPix depths 6-10, cells of 10,000 down to 36 km2."""

GRID_KEYS: tuple[str, ...] = tuple(f"{name}-{level}" for name, levels in GRID_LEVELS.items() for level in levels)
"""Keys of all supported grids, coarse to fine within a grid: ``h3-3`` ... ``healpix-10``."""


def open_grid(name: str, level: int) -> "Grid":
    """Give the grid of a name and level; ``ConfigError`` for an unknown name, ``GridError`` for the level.

    >>> open_grid("h3", 5).key
    'h3-5'
    """
    module = GRIDS.load(name)
    levels = GRID_LEVELS[name]
    if isinstance(level, bool) or not isinstance(level, int) or level not in levels:
        raise GridError(
            f"Grid {name!r} has no level {level!r} here; choose an integer from {levels.start} to {levels.stop - 1}."
        )
    grid: Grid = module.open_level(level)
    return grid


def parse_grid_key(key: str) -> "Grid":
    """Give the grid of a key such as ``"healpix-8"``.

    >>> parse_grid_key("healpix-8").level
    8
    """
    name, _, level = str(key).rpartition("-")
    if name in GRID_LEVELS and level.isascii() and level.isdigit():
        return open_grid(name, int(level))
    raise ConfigError(f"There is no grid with the key {key!r}; {nearest_hint(str(key), GRID_KEYS)}.")

"""The tiles of a source that the cells of a study touch: asked of the catalogue, and brought into the data folder."""

from collections.abc import Iterable, Sequence
from pathlib import Path

import numpy as np
from pyproj import CRS

from entropice_core.config.sources.arcticdem import ArcticDemConfig
from entropice_core.errors import ConfigError
from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.tiles import Tile
from entropice_core.fetch.patience import Patience
from entropice_core.fetch.stac import Box, TileRef, search_tiles
from entropice_core.fetch.tiles import PARALLEL, Report, Tell, fetch_tiles
from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea

_MARGIN_DEG = 2.0  # half a cell of the coarsest grid, and some more


def needed_tiles(config: ArcticDemConfig, area: StudyArea, grids: Sequence[str], patience: Patience) -> list[TileRef]:
    """Ask the catalogue for the tiles of heights that cells touch, and for those of the water mask if there is one.

    Raises
    ------
    ConfigError
        When there are none: the study looks where the collection has nothing.
    """
    assets = [config.asset, *([config.water_asset] if config.water_asset else [])]
    boxes = search_boxes(area)
    listed = [ref for asset in assets for ref in search_tiles(config.api, config.collection, asset, boxes, patience)]
    needed = touched(listed, area, grids)
    if not needed:
        raise ConfigError(
            f"{config.api} lists {len(listed)} tiles of {config.collection} around the study area, and none touches "
            "one of its cells: check study_area and collection."
        )
    return needed


def bring_tiles(
    config: ArcticDemConfig,
    refs: Sequence[TileRef],
    data: Path,
    patience: Patience,
    tell: Tell,
    parallel: int = PARALLEL,
) -> tuple[Report, Path]:
    """Bring tiles into the data folder; gives what was done and the list of tiles."""
    listing = Path(config.path.replace("{data}", str(data)))
    about = {key: getattr(config, key) for key in ("api", "collection", "asset", "water_asset")}
    report = fetch_tiles(refs, listing, about, patience, missing=config.missing, parallel=parallel, tell=tell)
    return report, listing


def search_boxes(area: StudyArea, most_latitude: float = 90.0) -> list[Box]:
    """Boxes in degrees that hold all cells of a study area: two where it lies on both sides of 180 degrees.

    >>> search_boxes(StudyArea(60.0, (170.0, 62.0, -170.0, 70.0)))
    [(164.2, 60.0, 180.0, 72.0), (-180.0, 60.0, -164.2, 72.0)]
    >>> search_boxes(StudyArea(60.0))
    [(-180.0, 58.0, 180.0, 90.0)]
    """
    south, north = area.min_latitude - _MARGIN_DEG, most_latitude
    if area.bounds is None:
        return [(-180.0, south, 180.0, north)]
    west, low, east, high = area.bounds
    south, north = max(south, low - _MARGIN_DEG), min(north, high + _MARGIN_DEG)
    wide = _MARGIN_DEG / np.cos(np.radians(min(high, 85.0)))
    if high > 85.0 or (east - west) % 360.0 + 2 * wide >= 360.0 or east - west >= 360.0:
        return [(-180.0, south, 180.0, north)]
    west, east = round(float(west - wide), 1), round(float(east + wide), 1)
    west, east = west + 360.0 * (west < -180.0), east - 360.0 * (east > 180.0)
    if west > east:
        return [(west, south, 180.0, north), (-180.0, south, east, north)]
    return [(west, south, east, north)]


def touched(refs: Iterable[TileRef], area: StudyArea, grids: Sequence[str]) -> list[TileRef]:
    """Tiles within reach of a cell of one of some grids; those whose place the catalogue does not state are kept."""
    indexes = [CellIndex(grid, ids) for grid in map(parse_grid_key, grids) if (ids := grid.cells(area)).size]
    return [ref for ref in refs if any(index.near(tile).size for tile in [_tile(ref)] for index in indexes)]


def _tile(ref: TileRef) -> Tile:
    """The tile as its item describes it, by its bbox where it does not say more."""
    if ref.crs is None or ref.shape is None or ref.transform is None:
        west, south, east, north = ref.bbox
        width = east - west if east > west else east - west + 360.0
        return Tile(ref.id, CRS("EPSG:4326"), west, north, width / 100, (south - north) / 100, (100, 100))
    a, _, left, _, e, top = ref.transform
    return Tile(ref.id, CRS(ref.crs), left, top, a, e, ref.shape)

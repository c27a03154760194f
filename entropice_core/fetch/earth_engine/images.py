"""Which images of the collection hold the pixels of a year, and where these lie.

Images are squares of 164 km in the UTM zone of their place. They are asked for by one expression for each 60 degrees of
longitude, with one of their 64 bands, as all bands lie alike.
"""

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from pyproj import CRS
from pyproj.exceptions import CRSError

from entropice_core.config.sources.alphaearth import PIXEL_M, AlphaEarthConfig
from entropice_core.embeddings.tiles import EmbeddingTile
from entropice_core.errors import ConfigError, SourceError
from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.tiles import Tile
from entropice_core.fetch.earth_engine.session import EarthEngine
from entropice_core.fetch.of_area import search_boxes
from entropice_core.fetch.stac import Box
from entropice_core.grids.study_area import StudyArea

_WIDEST = 60.0


@dataclass(frozen=True)
class EeImage:
    """One image. ``tile`` : where its pixels of the wanted size lie; ``version`` changes when the image does."""

    id: str
    version: str
    tile: EmbeddingTile

    @property
    def place(self) -> Tile:
        """Where its pixels lie."""
        return self.tile.place

    @property
    def name(self) -> str:
        """The last part of its id."""
        return self.id.rsplit("/", 1)[-1]


def images_of_year(engine: EarthEngine, config: AlphaEarthConfig, area: StudyArea, year: int) -> list[EeImage]:
    """Images of a calendar year near a study area, sorted by id, each once."""
    found: dict[str, EeImage] = {}
    for box in pieces(search_boxes(area)):
        answer = engine.value(f"images of {year}", _listing(config.asset, year, box))
        for entry in answer.get("features", []):
            image = _image(entry, config)
            found[image.id] = image
    return [found[name] for name in sorted(found)]


def needed_images(
    engine: EarthEngine, config: AlphaEarthConfig, area: StudyArea, indexes: Sequence[CellIndex], year: int
) -> list[EeImage]:
    """Images that cells of some grids touch.

    Raises
    ------
    ConfigError
        When there are none.
    """
    listed = images_of_year(engine, config, area, year)
    needed = [image for image in listed if any(index.near(image.place).size for index in indexes)]
    if not needed:
        raise ConfigError(
            f"{config.asset} has {len(listed)} images of {year} around the study area, and none touches one of its "
            "cells: check study_area and the years (2017 to the last that Earth Engine has)."
        )
    return needed


def pieces(boxes: Sequence[Box]) -> Iterator[Box]:
    """Cut boxes so that none is wider than 60 degrees.

    >>> list(pieces([(-180.0, 58.0, -60.0, 90.0)]))
    [(-180.0, 58.0, -120.0, 90.0), (-120.0, 58.0, -60.0, 90.0)]
    """
    for west, south, east, north in boxes:
        n = max(1, -int(-(east - west) // _WIDEST))
        step = (east - west) / n
        for i in range(n):
            yield west + i * step, south, west + (i + 1) * step, north


def _listing(asset: str, year: int, box: Box) -> Any:
    import ee

    # Edges along parallels, not along great circles: those would leave out the south of a box.
    region = ee.Geometry.Rectangle(list(box), None, False)
    images = ee.ImageCollection(asset).filterDate(f"{year}-01-01", f"{year + 1}-01-01")
    return images.filterBounds(region).select(["A00"])


def _image(entry: dict[str, Any], config: AlphaEarthConfig) -> EeImage:
    """Read one row of the answer."""
    try:
        band, index = entry["bands"][0], str(entry["properties"]["system:index"])
        a, b, left, d, e, top = (float(x) for x in band["crs_transform"])
        columns, rows = (int(n) for n in band["dimensions"])
        first_column, first_row = (int(n) for n in band.get("origin", (0, 0)))
        crs = CRS.from_user_input(band["crs"])
    except (KeyError, IndexError, TypeError, ValueError, CRSError) as error:
        raise SourceError(
            f"An image of {config.asset} is described in another way than known ({type(error).__name__}: {error}): "
            f"{str(entry)[:200]}; check `asset` of the source."
        ) from error
    zone = crs.utm_zone
    if zone is None or b or d or abs(abs(a) - PIXEL_M) > 1e-9 or abs(abs(e) - PIXEL_M) > 1e-9:
        raise SourceError(
            f"The image {index} has pixels of {a:g} x {e:g} in {crs.name}; {PIXEL_M} m in a UTM zone were expected: "
            "check `asset` of the source."
        )
    factor = config.resolution_m // PIXEL_M
    (column, n_columns), (row, n_rows) = _coarse(first_column, columns, factor), _coarse(first_row, rows, factor)
    step_x, step_y = a * factor, e * factor
    place = Tile(index, crs, left + column * step_x, top + row * step_y, step_x, step_y, (n_rows, n_columns))
    name = str(entry.get("id") or f"{config.asset}/{index}")
    return EeImage(name, str(entry.get("version", "")), EmbeddingTile(Path(name), place, int(zone[:-1])))


def _coarse(first: int, n: int, factor: int) -> tuple[int, int]:
    """First and number of coarse pixels that hold some fine ones; coarse pixels begin at 0.

    >>> _coarse(0, 16384, 32), _coarse(40, 100, 32)
    ((0, 512), (1, 4))
    """
    begin = first // factor
    return begin, -(-(first + n) // factor) - begin

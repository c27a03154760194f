"""Generated images of the collection: the pixels of the generated files of ``tests.servers.alphaearth``, joined.

An image of Earth Engine is larger than a file of the bucket: here it is all adjacent files of a zone. Its coarse levels
are those of the files (of length 1, rounded to bytes), so that both routes see the same numbers.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pyproj import CRS

from tests.servers.alphaearth import FACTORS, AefTile, coarser, quantised

COLLECTION = "GOOGLE/SATELLITE_EMBEDDING/V1/ANNUAL"


def meaning(stored: np.ndarray) -> np.ndarray:
    """Stored bytes as numbers, NaN where nodata."""
    x = np.sign(stored) * (stored.astype(np.float64) / 127.5) ** 2
    x[stored == -128] = np.nan
    return x


@dataclass(frozen=True)
class EeStoredImage:
    """Levels by factor: (64, rows, columns), row 0 in the south, NaN where masked."""

    index: str
    crs: str
    west: float
    south: float
    year: int
    levels: dict[int, np.ndarray] = field(repr=False)
    version: int = 1

    @property
    def id(self) -> str:
        return f"{COLLECTION}/{self.index}"

    def described(self, bands: Sequence[str]) -> dict[str, Any]:
        """What ``getInfo`` says of it."""
        _, rows, columns = self.levels[1].shape
        one = {
            "data_type": {"type": "PixelType", "precision": "double", "min": -1, "max": 1},
            "dimensions": [columns, rows],
            "crs": self.crs,
            "crs_transform": [10, 0, self.west, 0, 10, self.south],
        }
        zone = f"{CRS(self.crs).utm_zone}"
        return {
            "type": "Image",
            "id": self.id,
            "version": self.version,
            "bands": [{"id": name, **one} for name in bands],
            "properties": {"system:index": self.index, "UTM_ZONE": zone, "DATASET_VERSION": "1.1"},
        }


def images_of_tiles(
    tiles: Sequence[AefTile], stored: Mapping[str, np.ndarray], factors: Sequence[int] = FACTORS[2:]
) -> list[EeStoredImage]:
    """Join the files of each zone, which lie side by side from west to east; levels of 80 m and more."""
    made = []
    for zone in sorted({tile.zone for tile in tiles}):
        mine = sorted((tile for tile in tiles if tile.zone == zone), key=lambda tile: tile.west)
        pixels = [meaning(stored[tile.name]) for tile in mine]
        levels = {1: np.concatenate(pixels, axis=2)}
        for factor in factors:
            parts = [meaning(quantised(coarser(each, factor))) for each in pixels]
            levels[factor] = np.concatenate(parts, axis=2)
        first = mine[0]
        made.append(
            EeStoredImage(f"x{zone}_{first.year}", f"EPSG:{32600 + zone}", first.west, first.south, first.year, levels)
        )
    return made

"""What expressions are about: rasters that are asked for, bands, features."""

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from pyproj import Transformer

NAMES = [f"A{band:02d}" for band in range(64)]


class EeError(Exception):
    """What the service says about an expression that it does not compute."""


@dataclass(frozen=True)
class Raster:
    """Pixels that are asked for: ``x``, ``y`` of the centres along columns and rows."""

    crs: str
    step_x: float
    step_y: float
    left: float
    top: float
    shape: tuple[int, int]

    @property
    def x(self) -> np.ndarray:
        return self.left + (np.arange(self.shape[1]) + 0.5) * self.step_x

    @property
    def y(self) -> np.ndarray:
        return self.top + (np.arange(self.shape[0]) + 0.5) * self.step_y

    def lonlat(self) -> tuple[np.ndarray, np.ndarray]:
        x, y = np.meshgrid(self.x, self.y)
        return Transformer.from_crs(self.crs, "EPSG:4326", always_xy=True).transform(x, y)


@dataclass(frozen=True)
class Bands:
    """(bands, rows, columns) values and masks."""

    names: list[str]
    values: np.ndarray
    mask: np.ndarray


Image = Callable[[Raster], Bands]


@dataclass
class Feature:
    geometry: Any
    crs: str
    properties: dict[str, Any] = field(default_factory=dict)

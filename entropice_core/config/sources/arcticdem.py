"""The ``arcticdem`` kind: an elevation model in tiles, found by STAC; ArcticDEM unless said otherwise."""

import math
import re
from typing import Annotated, ClassVar, Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import check_template
from entropice_core.config.sources.base import SourceBase

Statistic = Literal["mean", "std", "min", "max", "p05", "p25", "p50", "p75", "p95"]
ALL_STATISTICS: tuple[Statistic, ...] = ("mean", "std", "min", "max", "p05", "p25", "p50", "p75", "p95")

_RANGES = {
    "elevation": (-512.0, 7680.0),
    "slope": (0.0, 90.0),
    "northness": (-1.0, 1.0),
    "eastness": (-1.0, 1.0),
    "profile_curvature": (-0.25, 0.25),
    "plan_curvature": (-0.25, 0.25),
    "tri": (0.0, 4096.0),
    "roughness": (0.0, 4096.0),
    "vrm": (0.0, 1.0),
    "solar_index": (0.0, 4.0),
}


class ArcticDemConfig(SourceBase):
    """Terrain of an elevation model: which collection of which catalogue, where its tiles lie, what is made of them.

    ``path`` is the list of tiles that ``entropice fetch arcticdem`` writes; the tiles lie in a folder of the
    collection's name beside it. ``height`` says what heights are above, in words: models that differ in it must not
    be mixed. ``water_asset`` and ``water_values`` name a mask of the collection and what means water in it; level water
    surfaces are found without. ``missing`` lists tiles that the server is known not to have. Another collection (such
    as Copernicus GLO-30 south of 60 N) is another source of this kind with other values here.
    """

    picture_feature: ClassVar[str] = "elevation_mean"

    kind: Literal["arcticdem"]
    path: str
    api: str = "https://stac.pgc.umn.edu/api/v1/"
    collection: str = "arcticdem-mosaics-v4.1-32m"
    asset: str = "dem"
    pixel_m: float = Field(default=32.0, gt=0, le=1000)
    height: str = "WGS84 ellipsoid"
    water_asset: str | None = None
    water_values: tuple[int, ...] = ()
    tpi_radii_m: tuple[Annotated[float, Field(gt=0, le=5000)], ...] = (320.0, 1000.0)
    statistics: Annotated[tuple[Statistic, ...], Field(min_length=1)] = ALL_STATISTICS
    missing: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        check_template("path", self.path, ("data",))
        if not self.path.endswith(".json"):
            raise ValueError(f"path {self.path!r} must be the name of a .json file, the list of tiles")
        if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._-]*", self.collection):
            raise ValueError(f"collection {self.collection!r} names a folder: use letters, digits, . _ and -")
        if self.lag:
            raise ValueError("the ground does not change from year to year here: leave lag out")
        if (self.water_asset is None) != (not self.water_values):
            raise ValueError("water_asset and water_values belong together: give both or none")
        if len(set(self.tpi_radii_m)) != len(self.tpi_radii_m) or min(self.tpi_radii_m, default=9e9) < self.pixel_m:
            raise ValueError(f"tpi_radii_m must differ and be at least a pixel ({self.pixel_m:g} m)")
        return self

    @property
    def is_yearly(self) -> bool:
        """False: one model for all years."""
        return False

    @property
    def adds_up_pixels(self) -> bool:
        """True: tiles have millions of pixels."""
        return True

    def bounds_of(self, feature: str) -> tuple[float, float]:
        """Give the range in which the values of a feature can lie.

        >>> terrain = ArcticDemConfig(kind="arcticdem", title="t", path="{data}/t.json")
        >>> terrain.bounds_of("slope_p95"), terrain.bounds_of("tpi_320m_std"), terrain.bounds_of("relief")
        ((0.0, 90.0), (0.0, 4096.0), (0.0, 8192.0))
        """
        if feature in ("relief", "hypsometric_integral"):
            return (0.0, 8192.0) if feature == "relief" else (0.0, 1.0)
        name, _, statistic = feature.rpartition("_")
        low, high = (-2048.0, 2048.0) if name.startswith("tpi_") else _RANGES.get(name, (-math.inf, math.inf))
        return (0.0, high - low) if statistic == "std" else (low, high)

"""[sources.<name>]: a file for each kind of source; ``kind`` chooses the model that reads the table.

A new kind is one file here with a subclass of ``SourceBase``, one line in ``CONFIGS`` and one in the registry.
"""

from typing import Annotated, Any

from pydantic import GetCoreSchemaHandler
from pydantic_core import CoreSchema, core_schema

from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.config.sources.arcticdem import ArcticDemConfig
from entropice_core.config.sources.base import SourceBase
from entropice_core.config.sources.era5 import Era5DailyConfig, Era5HistoryConfig, Era5MonthlyConfig
from entropice_core.config.sources.raster import BandConfig, RasterConfig

CONFIGS: dict[str, type[SourceBase]] = {
    "raster": RasterConfig,
    "era5_daily": Era5DailyConfig,
    "era5_monthly": Era5MonthlyConfig,
    "era5_history": Era5HistoryConfig,
    "arcticdem": ArcticDemConfig,
    "alphaearth": AlphaEarthConfig,
}


class _ByKind:
    """Let ``kind`` choose the model; a union by hand, as pydantic has no union of one."""

    def __get_pydantic_core_schema__(self, _: Any, handler: GetCoreSchemaHandler) -> CoreSchema:
        choices = {kind: handler.generate_schema(config) for kind, config in CONFIGS.items()}
        return core_schema.tagged_union_schema(choices=dict(choices), discriminator="kind")


AnySource = Annotated[SourceBase, _ByKind()]

__all__ = ["CONFIGS", "AnySource", "BandConfig", "RasterConfig", "SourceBase"]

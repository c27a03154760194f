"""Grids and years as Dagster partitions, and keys back to partitions of the store.

The only module that reads or writes a key. Dagster has at most two dimensions, so a grid and its level are one
(``h3-4``). A year is an Arctic year, named after the year in which it ends: ``2023`` is 1 October 2022 to 30 September
2023. Dagster sees a calendar year behind that key, three months off, so nothing may ask it for the time window.
"""

from collections.abc import Sequence
from datetime import datetime

import dagster as dg

from entropice_core.config import Study
from entropice_core.config.sources.alphaearth import FIRST_YEAR, AlphaEarthConfig
from entropice_core.errors import ConfigError
from entropice_core.pipeline.product import Dimension, Product
from entropice_core.storage.partition import Partition

NEW_YEAR = "0 0 1 1 *"


class StudyPartitions:
    """The partitions of one study. Definitions are shared, as Dagster compares them by what they hold."""

    def __init__(self, study: Study) -> None:
        self.study = study
        offered = study.study.years.offered()
        self.grid = dg.StaticPartitionsDefinition(list(study.study.grids))
        self.year = _years(offered[0], offered[-1])
        self.grid_year = dg.MultiPartitionsDefinition({"grid": self.grid, "year": self.year})

    def of_files(self, source: str) -> dg.PartitionsDefinition[str]:
        """Give the years of the files of a source, which may begin before the study does."""
        offered = self.study.study.years.offered()
        return _years(self.study.fetch[source].first or offered[0], offered[-1])

    def of_embeddings(self, config: AlphaEarthConfig) -> dg.PartitionsDefinition[str]:
        """Give the calendar years of embeddings that the years of the study need."""
        offered = self.study.study.years.offered()
        first, last = max(offered[0] - config.lag, FIRST_YEAR), offered[-1] - config.lag
        return _years(first, max(first, last))

    def of(self, dimensions: Sequence[Dimension]) -> dg.PartitionsDefinition[str] | None:
        """Give the definition for the dimensions of a product; None for none."""
        known: dict[frozenset[Dimension], dg.PartitionsDefinition[str]] = {
            frozenset({"grid"}): self.grid,
            frozenset({"year"}): self.year,
            frozenset({"grid", "year"}): self.grid_year,
        }
        return known.get(frozenset(dimensions))


def _years(first: int, last: int) -> dg.TimeWindowPartitionsDefinition:
    """Make the keys of years; the study says which there are, as `end` alone would hide those that are to come."""
    return dg.TimeWindowPartitionsDefinition(
        start=datetime(first, 1, 1),  # noqa: DTZ001 - Dagster reads it as UTC
        end=datetime(last + 1, 1, 1),  # noqa: DTZ001
        fmt="%Y",
        cron_schedule=NEW_YEAR,
        end_offset=last - first + 1,
    )


def to_partition(product: Product, key: str | None) -> Partition:
    """Read a key of a product; refuses what no grid and no year is called.

    The parts of a two-dimensional key come in the alphabetical order of the dimensions: ``h3-4|2019``.
    """
    dimensions = sorted(product.dimensions)
    parts = key.split("|") if key else []
    if len(parts) != len(dimensions):
        wanted = " and ".join(dimensions) or "no partition"
        raise ConfigError(f"{product.dataset} has no partition {key!r}: it is split by {wanted}.")
    named = dict(zip(dimensions, parts, strict=True))
    return Partition.parse(f"{named.get('grid', 'all')}/{named.get('year', 'all')}")


def to_key(partition: Partition) -> str | None:
    """Write the key of a partition; None for the one that is not split."""
    parts = {"grid": partition.grid, "year": None if partition.year is None else str(partition.year)}
    known = {name: value for name, value in parts.items() if value is not None}
    if len(known) == 2:
        return str(dg.MultiPartitionKey(known))
    return next(iter(known.values()), None)


def requested(context: dg.AssetExecutionContext) -> list[str | None]:
    """List the keys of a run: one, several in a ranged run, or None for an asset that is not split."""
    return list(context.partition_keys) if context.has_partition_key or context.has_partition_key_range else [None]

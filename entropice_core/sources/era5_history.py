"""How a year's climate compares with other years, as features of cells: kind ``era5_history``.

The recipe of such a partition holds the files of *all* years that it is made from. Indices of each year on pixels are
those of ``era5_daily`` and are kept with them, so that each year is read once, whatever it is compared with.
"""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

import numpy as np
import xarray as xr

from entropice_core.climate import history
from entropice_core.climate.history import Compared
from entropice_core.climate.indices import INDICES, choose
from entropice_core.climate.quantities import Float32
from entropice_core.config.sources.era5 import Era5HistoryConfig
from entropice_core.errors import SourceError
from entropice_core.grids.base import Grid
from entropice_core.sources.era5 import Era5Source, checked_ids, south_of
from entropice_core.sources.era5_table import About, Feature, climate_dataset

VERSION = "1"
"""Of this module and, as in ``sources.era5``, of all formulae in ``climate``."""


def open_source(name: str, config: Era5HistoryConfig, data_root: Path) -> "HistorySource":
    """Give the source; ``ConfigError`` for indices that do not exist."""
    choose(config.indices, INDICES)
    return HistorySource(name, config, data_root)


@dataclass(frozen=True)
class HistorySource(Era5Source):
    """Anomalies, trends and extremes: the yearly indices of many years, compared."""

    def files(self, year: int | None) -> list[Path]:
        """List the files of the climatology and of the last years."""
        return sorted({path for y in self._years(self.file_year(year)) for path in self.files_of(y)})

    def _years(self, file_year: int) -> list[int]:
        """Years that are read; the year itself must be there in the first place."""
        self.files_of(file_year)
        config = self._history
        last = range(file_year - config.last_years + 1, file_year + 1)
        return sorted({*config.climatology.all(), *last})

    @property
    def _history(self) -> Era5HistoryConfig:
        if not isinstance(self.config, Era5HistoryConfig):
            raise SourceError(f"Source {self.name!r} is no history but {self.config.kind!r}.")
        return self.config

    def features(self, grid: Grid, cells: xr.Dataset, year: int | None) -> xr.Dataset:
        """Compare a label year's climate with other years; see `Era5Source.features` for what comes out."""
        ids = checked_ids(cells)
        file_year, config = self.file_year(year), self._history
        years = self._years(file_year)
        names = choose(config.indices, INDICES)
        by_year: dict[int, Mapping[str, Float32]] = {}
        provisional: set[str] = set()
        for each in years:
            maps = self.maps(each, south_of(grid, ids))
            made = {*maps.names, *(ratio.index.name for ratio in self.ratios_of(maps))}
            lacking = [name for name in names if name not in made]
            if lacking:
                raise SourceError(
                    f"Source {self.name!r} cannot make {', '.join(lacking)} of Arctic year {each}: variables are "
                    "missing; fetch them for all years, or name fewer indices."
                )
            by_year[each] = self.columns_of(maps, grid, ids, names)
            provisional |= set(maps.provisional_months)
        compared = [(c, self._compare(c, by_year, file_year)) for c in self._compared(names)]
        latest = replace(self.maps(file_year, south_of(grid, ids)), provisional_months=tuple(sorted(provisional)))
        about = About(self.name, self.config, years)
        weights = self.weights_of(latest, grid, ids)
        return climate_dataset(
            about, grid, ids, latest, weights, [_feature(c) for c, _ in compared], [v for _, v in compared]
        )

    def _compared(self, names: Sequence[str]) -> list[Compared]:
        config = self._history
        span = f"{config.climatology.first}_{config.climatology.last}"
        words = {how: span if how == "anomaly" else f"{config.last_years}a" for how in config.compare}
        return [Compared(INDICES[name], how, words[how]) for name in names for how in config.compare]

    def _compare(self, wanted: Compared, by_year: Mapping[int, Mapping[str, Float32]], file_year: int) -> Float32:
        config, name = self._history, wanted.index.name
        if wanted.how == "anomaly":
            normal = np.stack([by_year[y][name] for y in config.climatology.all()]).astype(np.float64)
            return history.anomaly(by_year[file_year][name].astype(np.float64), normal).astype(np.float32)
        span = range(file_year - config.last_years + 1, file_year + 1)
        values = np.stack([by_year[y][name] for y in span]).astype(np.float64)
        reduce = {"trend": history.theil_sen, "highest": history.highest, "lowest": history.lowest}[wanted.how]
        return reduce(values).astype(np.float32)


def _feature(compared: Compared) -> Feature:
    return Feature(compared.name, compared.unit, compared.long_name, "", compared.index.cell_methods)

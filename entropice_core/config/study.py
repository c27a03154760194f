"""The whole TOML of a study."""

import re
from collections.abc import Iterable
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import NAME, Bounds, GridKey, Latitude, Strict, Years
from entropice_core.config.fetch import Era5Fetch
from entropice_core.config.inventories import InventoryConfig
from entropice_core.config.models import ModelConfig, TrainingConfig
from entropice_core.config.sources import AnySource
from entropice_core.config.uncertainty import ProxiesConfig, UncertaintyConfig
from entropice_core.config.validation import FoldsConfig, TargetConfig
from entropice_core.errors import nearest_hint


class StudyAreaConfig(Strict):
    """Cells whose centre lies here belong to the study.

    ``bounds`` are west, south, east, north in degrees; west > east means that the box crosses 180 degrees.
    ``polygons`` names a vector file (below the data folder) whose union is the area.
    """

    min_latitude: Latitude = 60.0
    bounds: Bounds | None = None
    polygons: str | None = None
    min_land_fraction: float = Field(default=0.05, ge=0, le=1)


class StudyConfig(Strict):
    """The head of the TOML."""

    name: str = Field(pattern=NAME)
    title: str
    description: str = ""
    grids: Annotated[tuple[GridKey, ...], Field(min_length=1)]
    years: Years
    seed: int = Field(default=0, ge=0, lt=2**32)


def _known(where: str, name: str, what: str, known: Iterable[str]) -> None:
    if name not in known:
        raise ValueError(f"{where}: {name!r} is not {what}; {nearest_hint(name, known)}")


class Study(Strict):
    """A whole study: one TOML."""

    schema_version: Literal[1] = 1
    study: StudyConfig
    study_area: StudyAreaConfig
    inventories: Annotated[dict[str, InventoryConfig], Field(min_length=1)]
    sources: Annotated[dict[str, AnySource], Field(min_length=1)]
    fetch: dict[str, Era5Fetch] = Field(default_factory=dict)
    target: TargetConfig
    folds: FoldsConfig = FoldsConfig()
    models: Annotated[dict[str, ModelConfig], Field(min_length=1)]
    training: TrainingConfig = TrainingConfig()
    uncertainty: UncertaintyConfig = UncertaintyConfig()
    proxies: ProxiesConfig = ProxiesConfig()

    @model_validator(mode="after")
    def _hold_out_is_inside(self) -> Self:
        until, years = self.folds.train_until, self.study.years
        if until is not None and not years.first <= until < years.last:
            raise ValueError(
                f"folds.train_until: {until} leaves nothing to train or to test on in {years.first}-{years.last}"
            )
        return self

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        from entropice_core.registry import MODELS

        for table in ("inventories", "sources", "models"):
            for name in getattr(self, table):
                if not re.match(NAME, name):
                    raise ValueError(f"{table}.{name}: use lower-case letters, digits and _ (it names files)")
        if self.target.inventory not in self.inventories:
            raise ValueError(
                f"target.inventory: {self.target.inventory!r} is not in [inventories]; "
                f"{nearest_hint(self.target.inventory, self.inventories)}"
            )
        for name, fetch in self.fetch.items():
            yearly = {known: getattr(s, "path", "") for known, s in self.sources.items() if s.is_yearly}
            if name not in yearly:
                raise ValueError(f"fetch.{name}: name a source with files by year; {nearest_hint(name, yearly)}")
            if yearly[name] != fetch.path:
                raise ValueError(f"fetch.{name}: the files will be {fetch.path}, but the source reads {yearly[name]}")
        for name, model in self.models.items():
            _known(f"models.{name}.model", model.model, "known", MODELS.names())
            for source in model.sources:
                _known(f"models.{name}.sources", source, "in [sources]", self.sources)
        return self

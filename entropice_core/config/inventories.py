"""[inventories.<name>]: the files of an RTS inventory, what its columns mean, and where it looked."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import Provenance, Strict


class YearOf(Strict):
    """Where an inventory keeps the year of a feature; exactly one of the three.

    ``column`` holds a date or a year; ``file_name`` is a regular expression whose first group is the year and
    whose optional second group is the month, so that a scene from October on counts in the next Arctic year;
    ``column_per_year`` is a template such as ``Area_{year}_`` of columns that hold the area of that year, in ``unit``.
    """

    column: str | None = None
    file_name: str | None = None
    column_per_year: str | None = None
    unit: Literal["m2", "ha", "km2"] = "m2"

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [n for n in ("column", "file_name", "column_per_year") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"name exactly one of column, file_name, column_per_year; got {given or 'none'}")
        if self.column_per_year is not None and "{year}" not in self.column_per_year:
            raise ValueError(f"column_per_year {self.column_per_year!r} must hold {{year}}")
        if self.file_name is not None:
            _check_pattern(self.file_name)
        return self


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"file_name {pattern!r} is no regular expression ({error})") from error
    if groups < 1:
        raise ValueError(f"file_name {pattern!r} must hold a group for the year, and may hold one for the month")


class FootprintConfig(Strict):
    """Where an inventory looked. Cells outside are unobserved (NaN), never zero.

    ``study_area``: everywhere in the study area; ``files``: polygons of the mapped footprint, whose optional
    ``years_column`` holds a year or a comma separated list of years.
    """

    kind: Literal["study_area", "files"]
    files: tuple[str, ...] = ()
    years_column: str | None = None
    crs: str | None = None

    @model_validator(mode="after")
    def _files_given(self) -> Self:
        if (self.kind == "files") != bool(self.files):
            raise ValueError("kind = 'files' needs files = [...]; kind = 'study_area' takes none")
        return self


class InventoryConfig(Provenance):
    """One RTS inventory: its files, what its columns mean, and where it looked."""

    geometry: Literal["polygon", "point"]
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    exclude: tuple[str, ...] = ()
    layer: str | None = None
    year: YearOf
    id_column: str | None = None
    area_column: str | None = None
    area_unit: Literal["m2", "ha", "km2"] = "m2"
    crs: str | None = None
    footprint: FootprintConfig

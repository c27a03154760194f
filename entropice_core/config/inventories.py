"""[inventories.<name>]: the files of an RTS inventory, what its columns mean, and where it looked."""

import re
from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import Provenance, Strict

Share = Annotated[float, Field(ge=0, le=1)]
Files = Annotated[tuple[str, ...], Field(min_length=1)]


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

    ``study_area``: everywhere in the study area; ``files``: polygons of the mapped footprint. Their years are in
    ``years_column`` (a year, a date, or a comma separated list of years) or, with a file a year, in the name of the
    file: ``file_name`` as in [inventories.<name>] year. Without either, the footprint holds for every year.
    """

    kind: Literal["study_area", "files"]
    files: tuple[str, ...] = ()
    years_column: str | None = None
    file_name: str | None = None
    crs: str | None = None

    @model_validator(mode="after")
    def _files_given(self) -> Self:
        if (self.kind == "files") != bool(self.files):
            raise ValueError("kind = 'files' needs files = [...]; kind = 'study_area' takes none")
        if self.years_column is not None and self.file_name is not None:
            raise ValueError("name years_column or file_name, not both")
        if self.file_name is not None:
            _check_pattern(self.file_name)
        return self


class MaskConfig(Strict):
    """Polygons on which no slump can be: glaciers, lakes. They are no observed land, and slumps are cut there."""

    files: Files
    layer: str | None = None
    crs: str | None = None


class ProbabilityConfig(Strict):
    """The detector's probability of each feature, 0 to 1, and the least with which one counts.

    The layout names the column when ``column`` does not. ``thresholds`` are those of the sensitivity table.
    """

    column: str | None = None
    at_least: Share = 0.0
    thresholds: Annotated[tuple[Share, ...], Field(min_length=1)] = (0.5, 0.6, 0.7, 0.8, 0.9)


class DetectorConfig(Strict):
    """How good the detector behind an inventory is: its F1 score, or the lowest and highest one, and who says so."""

    f1: Annotated[tuple[Annotated[float, Field(gt=0, le=1)], ...], Field(min_length=1, max_length=2)]
    citation: str = ""


class InventoryConfig(Provenance):
    """One RTS inventory: its files, what its columns mean, and where it looked.

    ``layout`` knows the columns of a published inventory: year, id, area and probability need not be named then, what
    is named wins, and every further column of the files is kept. ``only`` names columns and the values that a row must
    have to count, such as ``{ TrainClass = ["Positive"] }`` where a file holds counter-examples too.
    """

    geometry: Literal["polygon", "point"]
    files: Files
    exclude: tuple[str, ...] = ()
    layer: str | None = None
    layout: Literal["darts_level1", "darts_level2"] | None = None
    year: YearOf | None = None
    only: dict[str, Annotated[tuple[str | int | float | bool, ...], Field(min_length=1)]] = Field(default_factory=dict)
    id_column: str | None = None
    area_column: str | None = None
    area_unit: Literal["m2", "ha", "km2"] = "m2"
    probability: ProbabilityConfig | None = None
    detector: DetectorConfig | None = None
    crs: str | None = None
    footprint: FootprintConfig
    masks: dict[str, MaskConfig] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _columns_known(self) -> Self:
        if self.year is None and self.layout is None:
            raise ValueError('say where the year is: year = { column = "..." }, or layout = "darts_level2"')
        if self.layout is None and self.probability is not None and self.probability.column is None:
            raise ValueError('name the column of probabilities: probability = { column = "..." }')
        return self

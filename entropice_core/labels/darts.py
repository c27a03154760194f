"""The files of DARTS: which columns they have, in which release, and what a column is for.

DARTS (Nitze et al. 2025, doi:10.1038/s41597-025-05810-2; data doi:10.18739/A22B8VD7C) comes as level 1, one polygon for
each image, and level 2, the largest extent of each year; as GeoPackage and as GeoParquet; with coverage files that say
where images were looked at. Releases differ in their columns and no complete list of them is public, so columns are
found by any of the names they are known under. A further column is kept as it is, a missing one is named, and only a
file without a year is refused. Reading the file is the work of ``files`` and ``table``.
"""

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import Literal, get_args

from entropice_core.config import InventoryConfig, YearOf
from entropice_core.config.inventories import ProbabilityConfig
from entropice_core.errors import SourceError

Layout = Literal["darts_level1", "darts_level2"]
LAYOUTS: tuple[str, ...] = get_args(Layout)

_YEAR = ("year", "observation_year", "obs_year")
_DATE = ("date", "image_date", "acquisition_date", "acquired", "datetime")
ROLES: dict[str, tuple[str, ...]] = {
    "year": (*_YEAR, *_DATE),
    "id": ("id", "rts_id", "feature_id", "uuid", "uid"),
    "area": ("area_m2", "area", "shape_area"),
    "probability": ("pval_mean", "pval", "probability", "p_mean", "confidence", "score_mean"),
}
"""What a column is for, and the names it may have, the most likely one first."""

LEVEL_1 = ("image_id", "take_id", "tile_id", "date", "satellite")
"""Columns that only level 1 has."""
_PVAL = re.compile(r"^pval_(mean|median|min|max|std|sum|count|q\d+|p\d+)$")

COVERAGE_YEARS = ("coverage_period", "years", "year", "coverage_year", "date")
"""Columns of a coverage file that say when it was looked."""


@dataclass(frozen=True)
class Recognised:
    """The columns of a file: by role, others that the layout knows, new ones, and the roles without a column."""

    roles: dict[str, str]
    known: tuple[str, ...]
    new: tuple[str, ...]
    missing: tuple[str, ...]
    notes: tuple[str, ...] = field(default=())

    def told(self) -> dict[str, object]:
        """Give plain values for reports."""
        kept = {"known": list(self.known), "new": list(self.new), "missing": list(self.missing)}
        return {"roles": self.roles, **kept}


def recognise(columns: Iterable[str], layout: str) -> Recognised:
    """Say what the columns of a file are for.

    Examples
    --------
    >>> found = recognise(["ID", "year", "area_m2", "pval_mean", "pval_std", "slope"], "darts_level2")
    >>> found.roles
    {'year': 'year', 'id': 'ID', 'area': 'area_m2', 'probability': 'pval_mean'}
    >>> found.known, found.new, found.missing
    (('pval_std',), ('slope',), ())
    """
    names = [str(column) for column in columns if column != "geometry"]
    by_lower = {name.lower(): name for name in reversed(names)}
    roles = {role: by_lower[alias] for role in ROLES if (alias := _first(ROLES[role], by_lower))}
    rest = [name for name in names if name not in roles.values()]
    known = [name for name in rest if _is_known(name.lower(), layout)]
    return Recognised(
        roles=roles,
        known=tuple(known),
        new=tuple(name for name in rest if name not in known),
        missing=tuple(role for role in ROLES if role not in roles),
        notes=_level_notes(by_lower, layout),
    )


def guess_layout(columns: Iterable[str]) -> str | None:
    """Guess the layout of a file from its columns; None when it does not look like DARTS.

    >>> guess_layout(["id", "year", "area_m2", "pval_mean"]), guess_layout(["id", "date", "image_id", "tile_id"])
    ('darts_level2', 'darts_level1')
    >>> guess_layout(["FID", "Area"]) is None
    True
    """
    names = {str(column).lower() for column in columns}
    if len(names & set(LEVEL_1)) >= 2:
        return "darts_level1"
    is_level_2 = "year" in names and any(_PVAL.match(name) for name in names)
    return "darts_level2" if is_level_2 else None


def release_of(file_name: str) -> str:
    """Read the release from the name of a file; empty when it does not say.

    >>> release_of("DARTS_NitzeEtAl_v1-2_features_2018-2023_level2.gpkg"), release_of("DARTS_v2_level2.parquet")
    ('1.2', '2')
    >>> release_of("slumps.gpkg")
    ''
    """
    found = re.search(r"(?:^|_)v(\d+)(?:[-.](\d+))?(?=[_.])", file_name)
    return ".".join(part for part in found.groups() if part) if found else ""


def fill_in(config: InventoryConfig, columns: Iterable[str], what: str) -> tuple[InventoryConfig, Recognised]:
    """Name the columns of one file in the configuration of its inventory; what the study TOML names wins.

    Raises
    ------
    SourceError
        When the file has no column of years.
    """
    names = list(columns)
    found = recognise(names, str(config.layout))
    if config.year is None and "year" not in found.roles:
        raise SourceError(
            f"{what} has no column of years (known names: {', '.join(ROLES['year'])}); its columns are: "
            f"{', '.join(name for name in names if name != 'geometry')}; name it with year = {{ column = ... }}."
        )
    probability = config.probability or ProbabilityConfig()
    if probability.column is None:
        column = found.roles.get("probability")
        probability = probability.model_copy(update={"column": column})
        if column is None and probability.at_least > 0.0:
            raise SourceError(
                f"{what} has no column of probabilities (known names: {', '.join(ROLES['probability'])}), but the "
                f"study asks for at least {probability.at_least:g}: name it with probability = {{ column = ... }}."
            )
    filled = {
        "year": config.year or YearOf(column=found.roles["year"]),
        "id_column": config.id_column or found.roles.get("id"),
        "area_column": config.area_column or found.roles.get("area"),
        "probability": probability if probability.column is not None else None,
    }
    return config.model_copy(update=filled), found


def years_column_of(columns: Iterable[str]) -> str | None:
    """Find the column of a coverage file that says when it was looked."""
    by_lower = {str(name).lower(): str(name) for name in columns}
    alias = _first(COVERAGE_YEARS, by_lower)
    return by_lower[alias] if alias else None


def _first(aliases: tuple[str, ...], there: Iterable[str]) -> str | None:
    names = set(there)
    return next((alias for alias in aliases if alias in names), None)


def _is_known(name: str, layout: str) -> bool:
    return bool(_PVAL.match(name)) or name in _YEAR or (layout == "darts_level1" and name in LEVEL_1)


def _level_notes(names: Iterable[str], layout: str) -> tuple[str, ...]:
    of_level_1 = sorted(set(names) & set(LEVEL_1) - {"date"})
    if layout == "darts_level2" and len(of_level_1) >= 2:
        return (f"has the columns {', '.join(of_level_1)} of level 1, but is read as level 2",)
    if layout == "darts_level1" and not of_level_1:
        return ("has no column of level 1 (image_id, tile_id, ...), but is read as level 1",)
    return ()

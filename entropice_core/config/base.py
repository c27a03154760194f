"""What all sections share: strict tables, provenance, Arctic years, grid keys, templates of paths."""

from string import Formatter
from typing import Annotated, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, model_validator

from entropice_core.errors import nearest_hint

GRID_KEYS: tuple[str, ...] = tuple([f"h3-{n}" for n in range(3, 7)] + [f"healpix-{n}" for n in range(6, 11)])
NAME = r"^[a-z][a-z0-9_]*$"
FIRST_YEAR = 1940  # ERA5 begins here


class Strict(BaseModel):
    """A table of the TOML: unknown keys are refused, values cannot change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


def _check_grid_key(key: object) -> object:
    if key not in GRID_KEYS:
        raise ValueError(f"{key!r} is not a grid; {nearest_hint(str(key), GRID_KEYS)}")
    return key


GridKey = Annotated[str, BeforeValidator(_check_grid_key)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Bounds: TypeAlias = tuple[Longitude, Latitude, Longitude, Latitude]


class Provenance(Strict):
    """Where a data set comes from, in words that go into every manifest and onto every map."""

    title: str
    citation: str = ""
    doi: str = ""
    licence: str = ""


class Years(Strict):
    """Arctic years, both ends included. Year Y runs from 1 October Y-1 to 30 September Y.

    ``first`` to ``last`` are trained on. Up to ``until`` features and predictions can be built as their data come in;
    nothing waits for them.
    """

    first: int = Field(ge=FIRST_YEAR, le=2100)
    last: int = Field(ge=FIRST_YEAR, le=2100)
    until: int | None = Field(default=None, le=2100)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"last ({self.last}) lies before first ({self.first})")
        if self.until is not None and self.until < self.last:
            raise ValueError(f"until ({self.until}) lies before last ({self.last})")
        return self

    def all(self) -> list[int]:
        """List every year that is trained on.

        >>> Years(first=2018, last=2020, until=2025).all()
        [2018, 2019, 2020]
        """
        return list(range(self.first, self.last + 1))

    def offered(self) -> list[int]:
        """List every year for which features and predictions can be built.

        >>> Years(first=2018, last=2020, until=2022).offered()
        [2018, 2019, 2020, 2021, 2022]
        """
        return list(range(self.first, (self.until or self.last) + 1))


def check_template(what: str, text: str, names: tuple[str, ...]) -> None:
    """Refuse braces in a template that stand for nothing: they would fail when the first file is looked for."""
    try:
        found = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError(f"{what} {text!r}: {error}") from error
    unknown = [name for name in found if name not in names]
    if unknown:
        allowed = ", ".join(f"{{{name}}}" for name in names)
        raise ValueError(f"{what} {text!r} holds {{{unknown[0]}}}; it may hold {allowed}")

"""Which slice of a dataset is meant, and the only place where names become paths.

Dataset names, grid keys and years reach the store from a command line, a web page or a TOML file. They are checked
here against closed sets before any path is built, so that ``../`` or a separator in a key cannot leave the store.
Reading and writing do not belong here.
"""

import re
from dataclasses import dataclass
from typing import Self

from entropice_core.errors import ConfigError, nearest_hint

GRID_KEYS = (
    *(f"h3-{level}" for level in range(3, 7)),
    *(f"healpix-{level}" for level in range(6, 11)),
)
"""The nine grids at their levels; the room ``grids`` holds the same keys (this room imports no other)."""

ALL = "all"
"""Folder name of "not partitioned by this": terrain has no year, raw climate has no grid."""

_DATASET = re.compile(r"[a-z0-9][a-z0-9_.-]{0,99}")
_YEARS = range(1000, 10000)


def check_dataset(name: str) -> str:
    """Return a dataset name that is safe as a folder name, or refuse it.

    >>> check_dataset("features_era5")
    'features_era5'
    """
    if not isinstance(name, str) or not _DATASET.fullmatch(name) or ".." in name:
        raise ConfigError(
            f"The dataset name {name!r} is not allowed; use 1-100 of the characters a-z 0-9 _ . - that begin with a "
            f"letter or digit, without '..'."
        )
    return name


@dataclass(frozen=True)
class Partition:
    """One grid at one level, in one Arctic year; ``None`` where a dataset is not split by that.

    >>> Partition("h3-4", 2018).path
    'h3-4/2018'
    >>> Partition("healpix-8").path, Partition().path
    ('healpix-8/all', 'all/all')
    """

    grid: str | None = None
    year: int | None = None

    def __post_init__(self) -> None:
        if self.grid is not None and self.grid not in GRID_KEYS:
            raise ConfigError(f"There is no grid {self.grid!r}; {nearest_hint(str(self.grid), GRID_KEYS)}.")
        if self.year is not None and (type(self.year) is not int or self.year not in _YEARS):
            raise ConfigError(
                f"The year {self.year!r} is not a whole number of four digits; give the year an Arctic year ends in."
            )

    @property
    def path(self) -> str:
        """The folder of the partition below its dataset, with forward slashes."""
        return f"{self.grid or ALL}/{ALL if self.year is None else self.year}"

    @property
    def key(self) -> str:
        """The same as one word, for lock files, logs and tracking: ``h3-4_2018``."""
        return self.path.replace("/", "_")

    @property
    def sort_key(self) -> tuple[int, int]:
        """Order of listings: no grid first, then the grids by level, then the years."""
        return (GRID_KEYS.index(self.grid) + 1 if self.grid else 0, self.year or 0)

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read a path as written by :attr:`path` (the key form is understood too).

        >>> Partition.parse("healpix-8/2021")
        Partition(grid='healpix-8', year=2021)
        """
        parts = str(text).replace("_", "/").split("/")
        if len(parts) != 2:
            raise ConfigError(f"The partition {text!r} is not '<grid or all>/<year or all>', such as 'h3-4/2018'.")
        grid, year = parts
        if year != ALL and not re.fullmatch(r"[0-9]{4}", year):
            raise ConfigError(f"The partition {text!r} has the year {year!r}; expected four digits or 'all'.")
        return cls(None if grid == ALL else grid, None if year == ALL else int(year))

    def __str__(self) -> str:
        return self.path

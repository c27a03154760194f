"""What every source must do, and which of its files belongs to a year.

No file is opened here.
"""

import re
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, runtime_checkable

from entropice_core.config import RasterConfig, SourceBase
from entropice_core.errors import ConfigError, SourceError
from entropice_core.registry import SOURCES

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping
    from types import ModuleType

    import xarray as xr

    from entropice_core.grids.base import Grid, UInt64


@runtime_checkable
class Source(Protocol):
    """Features of cells from files that somebody else made."""

    @property
    def name(self) -> str:
        """Name in the study TOML."""
        ...

    @property
    def VERSION(self) -> str:  # noqa: N802 - the code version of every room is called so
        """Version of the code that computes the features; results are stale when it changes."""
        ...

    @property
    def is_yearly(self) -> bool:
        """True when there is a file for each year."""
        ...

    def files(self, year: int | None) -> list[Path]:
        """Files of a label year; ``SourceError`` names what is missing. A static source ignores the year."""
        ...

    def features(self, grid: "Grid", cells: "xr.Dataset", year: int | None) -> "xr.Dataset":
        """Variable ``features`` : (cell, feature) float32, NaN where the source has no value for a cell."""
        ...


@runtime_checkable
class KeepsWork(Protocol):
    """A source that can keep what serves several grids and years in a folder; results are the same without."""

    def keeping_work_in(self, folder: Path) -> Source:
        """Give the same source with a folder to keep work in."""
        ...


@runtime_checkable
class ServesGrids(Protocol):
    """A source of very many pixels, which makes what other grids need in the same pass over them."""

    def serving(self, cells: "Mapping[str, UInt64]", say: "Callable[[str], None]") -> Source:
        """Give the same source that knows the cells of other grids, by key; results are the same without."""
        ...


@runtime_checkable
class AddsUpPixels(Protocol):
    """A source whose pixels can be added up by arrays of the array API, such as those of a GPU."""

    def adding_up_with(self, arrays: "ModuleType | None") -> Source:
        """Give the same source that adds up with arrays of some module; results are the same to the last bit."""
        ...


def open_source(name: str, config: SourceBase, data_root: Path, work: Path | None = None) -> Source:
    """Give the source of a study.

    Parameters
    ----------
    name, config : str, SourceBase
        The table of the study.
    data_root : Path
        The folder that ``{data}`` in its path stands for.
    work : Path, optional
        A folder in which a source may keep what serves several grids and years.
    """
    source: Source = SOURCES.load(config.kind).open_source(name, config, Path(data_root))
    return source.keeping_work_in(work) if work is not None and isinstance(source, KeepsWork) else source


def file_of_year(name: str, config: RasterConfig, data_root: Path, year: int | None) -> Path:
    """Path of a source's file for a label year, which must exist.

    The file's year is the label's year less the lag.

    Raises
    ------
    SourceError
        When the file is missing; lists the years whose files exist.
    ConfigError
        When the path template has a placeholder other than ``{data}`` and ``{year}``.
    """
    if config.is_yearly and year is None:
        raise SourceError(f"Source {name!r} has a file a year ({config.path}), but no year was given; give the year.")
    file_year = None if year is None else year - config.lag
    path = Path(_fill(name, config.path, data_root, file_year))
    if path.exists():
        return path
    if not config.is_yearly:
        raise SourceError(f"Source {name!r} has no file {path}: put it there or correct sources.{name}.path.")
    years = years_with_files(name, config, data_root)
    lag = f" (label year {year}, lag {config.lag})" if config.lag else ""
    listed = f"files exist for {', '.join(map(str, years))}" if years else "no file of any year is there"
    raise SourceError(
        f"Source {name!r} has no file for {file_year}{lag}: {path} is missing and {listed}; "
        "add the file or change the years of the study."
    )


def years_with_files(name: str, config: RasterConfig, data_root: Path) -> list[int]:
    """Years for which a yearly source has a file, ascending."""
    pattern = _fill(name, config.path, data_root, None)
    parts = Path(pattern).parts
    fixed = next(i for i, part in enumerate(parts) if _ANY_YEAR in part)
    folder = Path(*parts[:fixed])
    found = folder.glob(str(Path(*parts[fixed:])).replace(_ANY_YEAR, "*")) if folder.is_dir() else ()
    matcher = re.compile(re.escape(pattern).replace(re.escape(_ANY_YEAR), r"(\d{4})"))
    matches = (matcher.fullmatch(str(path)) for path in found)
    years = (set(match.groups()) for match in matches if match)
    return sorted(int(*year) for year in years if len(year) == 1)


_ANY_YEAR = "@any-year@"


class _AnyYear(str):
    """Stands for the year in a template, whatever its format is."""

    def __format__(self, _spec: str) -> str:
        return _ANY_YEAR


def _fill(name: str, template: str, data_root: Path, year: int | None) -> str:
    value: int | _AnyYear = _AnyYear() if year is None else year
    try:
        return str(Path(template.format(data=str(data_root), year=value)))
    except (KeyError, IndexError, ValueError) as error:
        raise ConfigError(
            f"sources.{name}.path {template!r} cannot be filled in ({error}): use only {{data}} and {{year}}."
        ) from error

"""Which coordinate system a file has: its own, or the declared one when it has none. Never guessed from numbers."""

from pathlib import Path

from pyproj import CRS
from pyproj.exceptions import CRSError

from entropice_core.errors import ConfigError, SourceError


def choose_crs(path: Path, own: CRS | None, declared: str | None, notes: list[str]) -> CRS:
    """Give the coordinate system of a file.

    Raises
    ------
    SourceError
        When there is none, or when the file's own and the declared one are different.
    """
    wanted = None if declared is None else parse_crs(declared)
    if own is None and wanted is None:
        raise SourceError(
            f"{path} does not say its coordinate system: write it as crs of the source in the study TOML, "
            'for example crs = "EPSG:4326" for longitude and latitude.'
        )
    if own is None:
        assert wanted is not None
        notes.append(f"{path.name} has no coordinate system; {declared} is declared.")
        return wanted
    if wanted is not None and not _same(own, wanted):
        raise SourceError(
            f"{path} says that its coordinate system is {own.name!r}, but {declared} ({wanted.name}) is declared: "
            "remove crs from the source in the study TOML, or correct the file."
        )
    return own


def parse_crs(text: str) -> CRS:
    """Read a declared coordinate system."""
    try:
        return CRS.from_user_input(text)
    except CRSError as error:
        raise ConfigError(f'{text!r} is no coordinate system; write for example "EPSG:3413".') from error


def _same(a: CRS, b: CRS) -> bool:
    if a.equals(b, ignore_axis_order=True):
        return True
    codes = a.to_epsg(min_confidence=70), b.to_epsg(min_confidence=70)
    return codes[0] is not None and codes[0] == codes[1]

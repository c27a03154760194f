"""Which files an inventory names, and one reader per format.

What the columns mean is not known here: a layer leaves as a GeoDataFrame with the coordinate system of its file.
"""

import csv
import fnmatch
import glob
import os
import stat
import zipfile
import zlib
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

import geopandas as gpd
import numpy as np
import pandas as pd
import pyarrow
import pyogrio
import shapely
from pyogrio.errors import DataLayerError, DataSourceError, FieldError
from pyproj import CRS
from pyproj.exceptions import CRSError

from entropice_core.errors import ConfigError, SourceError, nearest_hint
from entropice_core.labels.shapefile import check_shapefile, check_zipped_shapefile, sidecars

VECTOR = (".shp", ".gpkg", ".geojson", ".json", ".fgb")
PARQUET = (".parquet", ".geoparquet")
SUFFIXES = (*VECTOR, *PARQUET, ".csv", ".zip")
MAX_UNPACKED = 8_000_000_000
"""A zip that unpacks to more bytes is refused: no inventory is as large."""
LONGITUDES = ("longitude", "lon", "long", "lng", "centroidlon", "x", "easting")
LATITUDES = ("latitude", "lat", "centroidlat", "y", "northing")


@dataclass(frozen=True)
class Layer:
    """One layer of one file. ``source_file`` is its name below the data folder, ``file_name`` the last part of it."""

    source_file: str
    frame: gpd.GeoDataFrame

    @property
    def file_name(self) -> str:
        """The last part of the name."""
        return PurePosixPath(self.source_file).name


def find_files(patterns: Iterable[str], exclude: Sequence[str], data_root: Path, what: str) -> list[Path]:
    """List the files that patterns match, sorted; every pattern must match one.

    ``{data}`` in a pattern is ``data_root``, and a relative pattern is meant below it. ``exclude`` patterns are
    compared with the name below the data folder.
    """
    if not data_root.is_dir():
        raise SourceError(f"{what}: the data folder {data_root} is not there; set ENTROPICE_DATA to the right folder.")
    found: set[Path] = set()
    for pattern in patterns:
        matched = _match(pattern, data_root)
        if not matched:
            raise SourceError(
                f"{what}: the pattern {pattern!r} matches no file in the data folder {data_root}; put the files there "
                f"or correct the pattern in the study TOML."
            )
        found.update(matched)
    kept = sorted(path for path in found if not is_excluded(relative_name(path, data_root), exclude))
    if not kept:
        raise SourceError(f"{what}: exclude = {list(exclude)} leaves none of the {len(found)} files; narrow it.")
    return kept


def with_sidecars(paths: Iterable[Path]) -> list[Path]:
    """Add the files that belong to each shapefile, so that a change of any of them is seen; sorted."""
    files: set[Path] = set()
    for path in paths:
        files.add(path)
        if path.suffix.lower() == ".shp":
            files.update(sidecars(path))
    return sorted(files)


def relative_name(path: Path, data_root: Path) -> str:
    """Name a file by its path below the data folder, or by its last part when it lies elsewhere."""
    return path.relative_to(data_root).as_posix() if path.is_relative_to(data_root) else path.name


def is_excluded(name: str, exclude: Sequence[str]) -> bool:
    """Tell whether a name, or its last part, matches one of the patterns.

    >>> is_excluded("scenes/a_3857.shp", ["*_3857.shp"])
    True
    """
    return any(fnmatch.fnmatchcase(n, e) for e in exclude for n in (name, PurePosixPath(name).name))


def read_layers(path: Path, name: str, layer: str | None = None, exclude: Sequence[str] = ()) -> Iterator[Layer]:
    """Read the layers of a file: one, or one per shapefile of a zip.

    Parameters
    ----------
    path : the file
    name : its name below the data folder, for reports and errors
    layer : which layer of a file with several
    exclude : patterns of members of a zip that are left out
    """
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        raise SourceError(
            f"{name} is of no format that is read here ({suffix or 'no suffix'}); "
            f"the formats are: {', '.join(SUFFIXES)}."
        )
    if suffix == ".zip":
        for member in _members(path, name, exclude):
            shown = f"{name}/{_readable(member)}"
            yield Layer(shown, _read_vector(f"/vsizip/{path}/{member}", shown, layer))
    elif suffix == ".csv":
        yield Layer(name, _read_csv(path, name))
    elif suffix in PARQUET:
        yield Layer(name, _read_parquet(path, name))
    else:
        if suffix == ".shp":
            check_shapefile(path, name)
        yield Layer(name, _read_vector(str(path), name, layer))


def crs_of(layer: Layer, declared: str | None, key: str) -> CRS:
    """Give the coordinate system of a layer: the file's own, else the declared one; never a guess."""
    if layer.frame.crs is not None:
        return CRS.from_user_input(layer.frame.crs)
    if declared is None:
        raise SourceError(
            f"{layer.source_file} does not say its coordinate system: write it under {key} in the study TOML, "
            f'for example crs = "EPSG:4326" for longitude and latitude on WGS84.'
        )
    try:
        return CRS.from_user_input(declared)
    except CRSError as error:
        raise ConfigError(f"{key}.crs = {declared!r} is no coordinate system that PROJ knows ({error}).") from error


def _match(pattern: str, data_root: Path) -> list[Path]:
    text = pattern.replace("{data}", glob.escape(str(data_root)))
    if not os.path.isabs(text):
        text = os.path.join(glob.escape(str(data_root)), text)
    return [path for path in map(Path, glob.glob(text, recursive=True)) if path.is_file()]


def _members(path: Path, name: str, exclude: Sequence[str]) -> list[str]:
    """List the layers of a zip after checking that it is whole."""
    try:
        with zipfile.ZipFile(path) as archive:
            _check_members(archive, name)
            damaged = archive.testzip()
            if damaged is not None:
                raise SourceError(f"{name} is damaged: {damaged} in it fails its checksum; fetch the file again.")
            return _layers_in(archive, name, exclude)
    except (zipfile.BadZipFile, zlib.error, NotImplementedError, OSError, EOFError) as error:
        raise SourceError(f"{name} is not a readable zip ({error}); fetch the file again.") from error


def _check_members(archive: zipfile.ZipFile, name: str) -> None:
    """Refuse an archive that would leave its folder, holds links, or unpacks to far more than a disk should take."""
    for info in archive.infolist():
        parts = info.filename.replace("\\", "/").split("/")
        if info.filename.startswith(("/", "\\")) or ".." in parts or ":" in parts[0]:
            raise SourceError(
                f"{name} holds the member {info.filename!r}, which leads out of it; nothing of it is read."
            )
        if stat.S_ISLNK(info.external_attr >> 16):
            raise SourceError(f"{name} holds the member {info.filename!r}, which is a link; nothing of it is read.")
    total = sum(info.file_size for info in archive.infolist())
    if total > MAX_UNPACKED:
        raise SourceError(f"{name} would unpack to {total:,} bytes, more than {MAX_UNPACKED:,}; unpack it by hand.")


def _readable(member: str) -> str:
    """Show the name of a member as UTF-8 where it is that: zip tools do not always say so, and CP437 is assumed then.

    >>> _readable("R├╝ckgang.shp"), _readable("plain.shp")
    ('Rückgang.shp', 'plain.shp')
    """
    try:
        return member.encode("cp437").decode("utf-8")
    except UnicodeError:
        return member


def _layers_in(archive: zipfile.ZipFile, name: str, exclude: Sequence[str]) -> list[str]:
    members = sorted(archive.namelist())
    layers = [m for m in members if m.lower().endswith(VECTOR) and not m.startswith("__MACOSX")]
    kept = [member for member in layers if not is_excluded(f"{name}/{member}", exclude)]
    if not kept:
        raise SourceError(f"{name} holds no layer ({', '.join(VECTOR)}); it holds: {', '.join(members[:10])}.")
    for member in kept:
        if member.lower().endswith(".shp"):
            check_zipped_shapefile(archive, member, f"{name}/{member}")
    return kept


def _read_vector(path: str, name: str, layer: str | None) -> gpd.GeoDataFrame:
    try:
        chosen = _choose_layer(path, name, layer)
        frame = pyogrio.read_dataframe(path, layer=chosen)
    except (DataSourceError, DataLayerError, FieldError, shapely.errors.ShapelyError, UnicodeDecodeError) as error:
        raise SourceError(
            f"{name} cannot be read ({error}); check that the file is complete (a shapefile needs .shp, .shx, .dbf and "
            f".prj side by side), or fetch it again."
        ) from error
    return _with_geometry(frame, name)


def _choose_layer(path: str, name: str, layer: str | None) -> str | None:
    spatial = [str(found) for found, kind in pyogrio.list_layers(path) if kind is not None]
    if path.lower().endswith(".shp"):
        return None  # a shapefile has one layer, named like the file
    if layer is not None and layer not in spatial:
        raise SourceError(f"{name} has no layer {layer!r}; {nearest_hint(layer, spatial)}.")
    if len(spatial) > 1 and layer is None:
        raise SourceError(
            f'{name} has {len(spatial)} layers ({", ".join(spatial)}): write layer = "{spatial[0]}", or another, '
            f"in the study TOML."
        )
    return layer


def _with_geometry(frame: pd.DataFrame, name: str) -> gpd.GeoDataFrame:
    if not isinstance(frame, gpd.GeoDataFrame):
        columns = ", ".join(map(str, frame.columns)) or "none"
        raise SourceError(f"{name} has no geometry, only the columns: {columns}; give a file with shapes.")
    named = frame if frame.geometry.name == "geometry" else frame.rename_geometry("geometry")
    return named.reset_index(drop=True)


def _read_parquet(path: Path, name: str) -> gpd.GeoDataFrame:
    try:
        frame = gpd.read_parquet(path)
    except (ValueError, OSError, pyarrow.ArrowException, shapely.errors.ShapelyError) as error:
        raise SourceError(f"{name} cannot be read as GeoParquet ({error}); fetch or export the file again.") from error
    return _with_geometry(frame, name)


def _read_csv(path: Path, name: str) -> gpd.GeoDataFrame:
    try:
        _check_rows(path, name)
        table = pd.read_csv(path, index_col=False, usecols=lambda column: not str(column).startswith("Unnamed: "))
    except (ValueError, csv.Error, pd.errors.ParserError, OSError) as error:
        raise SourceError(f"{name} cannot be read as CSV ({error}); save it as UTF-8 with commas.") from error
    x, y = (_coordinates(table, names, name) for names in (LONGITUDES, LATITUDES))
    geometry = np.full(len(table), None, dtype=object)
    known = np.isfinite(x) & np.isfinite(y)
    geometry[known] = shapely.points(x[known], y[known])
    return gpd.GeoDataFrame(table, geometry=geometry)


def _check_rows(path: Path, name: str) -> None:
    """Refuse rows with more values than there are columns; a comma at the end of a line is no value.

    The reader of tables would otherwise take the first column for row names and shift all others, coordinates included.
    """
    with path.open(encoding="utf-8-sig", newline="") as stream:
        rows = csv.reader(stream)
        n = len(next(rows, []))
        for number, row in enumerate(rows):
            if len(row) > n and any(value.strip() for value in row[n:]):
                raise SourceError(
                    f"{name}: row {number} has {len(row)} values, but there are {n} columns; put text with commas in "
                    "quotation marks."
                )


def _coordinates(
    table: pd.DataFrame, names: Sequence[str], name: str
) -> "np.ndarray[tuple[int], np.dtype[np.float64]]":
    by_lower = {str(column).strip().lower(): column for column in reversed(list(table.columns))}
    for wanted in names:
        if wanted in by_lower:
            return np.asarray(pd.to_numeric(table[by_lower[wanted]], errors="coerce"), dtype=np.float64)
    raise SourceError(
        f"{name} has no column of coordinates named one of {', '.join(names)}; its columns are: "
        f"{', '.join(map(str, table.columns))}; rename one."
    )

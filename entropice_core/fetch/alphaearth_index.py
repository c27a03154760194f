"""Which files of AlphaEarth embeddings a study needs: asked of the index that both public copies have.

The index lists every file with its year, UTM zone and place (parquet of some 80 MB, or CSV). It is kept beside the
lists of tiles and brought again when the server has another version of it.
"""

import json
import os
import re
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entropice_core.config.sources.alphaearth import FIRST_YEAR, PIXEL_M, AlphaEarthConfig
from entropice_core.errors import ConfigError, SourceError
from entropice_core.fetch.of_area import search_boxes, touched
from entropice_core.fetch.overviews import RemoteBytes
from entropice_core.fetch.patience import Patience
from entropice_core.fetch.stac import TileRef, patient_session
from entropice_core.grids.study_area import StudyArea
from entropice_core.storage.digest import file_sha256
from entropice_core.storage.durable import flush_file, require_space, write_json

if TYPE_CHECKING:
    import pyarrow as pa

_DEGREES = ("wgs84_west", "wgs84_south", "wgs84_east", "wgs84_north")
_METRES = ("utm_west", "utm_south", "utm_east", "utm_north")
_NEEDED = ("path", "year", "utm_zone", *_DEGREES)
_WEB = {
    "s3://us-west-2.opendata.source.coop/": "https://data.source.coop/",
    "gs://": "https://storage.googleapis.com/",
}


def calendar_year(name: str, config: AlphaEarthConfig, year: int | None) -> int:
    """Give the year of the embeddings that go with a label's year; ``SourceError`` before 2017."""
    if year is None:
        raise SourceError(f"Source {name!r} has embeddings of single years, but no year was given; give the year.")
    if year - config.lag < FIRST_YEAR:
        lag = f" less the lag of {config.lag}" if config.lag else ""
        raise SourceError(
            f"Source {name!r} has no embeddings for the label year {year}{lag}: they begin in {FIRST_YEAR}; "
            f"let the study begin in {FIRST_YEAR + config.lag}."
        )
    return year - config.lag


def listing_path(config: AlphaEarthConfig, data: Path, year: int) -> Path:
    """The list of the tiles of a calendar year."""
    return Path(config.path.format(data=str(data), year=year))


def bring_index(address: str, folder: Path, patience: Patience) -> Path:
    """Bring the list of all files into a folder; one that is the server's version of today is left as it is."""
    target = folder / address.split("?")[0].rsplit("/", 1)[-1]
    notes = target.with_name(target.name + ".json")
    remote = RemoteBytes(address, patient_session(patience), patience)
    remote.read(0, 1)
    facts = {"href": address, "etag": remote.etag, "size": remote.size}
    if target.exists() and read_json(notes) == {**facts, "sha256": file_sha256(target)}:
        return target
    folder.mkdir(parents=True, exist_ok=True)
    require_space(folder, remote.size or 0)
    part = target.with_name(target.name + ".part")
    part.write_bytes(remote.read(0, remote.size or 0))
    flush_file(part)
    os.replace(part, target)
    write_json(notes, {**facts, "sha256": file_sha256(target)})
    return target


def tiles_of_year(index: Path, config: AlphaEarthConfig, year: int, area: StudyArea) -> list[TileRef]:
    """Tiles of a calendar year that the index has near a study area, sorted by id.

    Raises
    ------
    SourceError
        When the index is damaged, lacks a column, or has nothing of the year.
    """
    table = _of_year(_read_index(index), index, year)
    columns = {name: table[name].to_pylist() for name in table.column_names}
    boxes = search_boxes(area)
    rows = zip(*(columns[name] for name in _DEGREES), strict=True)
    near = [i for i, box in enumerate(rows) if any(_meet(box, each) for each in boxes)]
    return sorted(_ref({name: values[i] for name, values in columns.items()}, config, index) for i in near)


def _read_index(path: Path) -> "pa.Table":
    import pyarrow as pa
    import pyarrow.csv
    import pyarrow.parquet

    try:
        if path.suffix == ".csv":
            table = pyarrow.csv.read_csv(path)
        else:
            known = pyarrow.parquet.read_schema(path).names
            table = pyarrow.parquet.read_table(path, columns=[c for c in (*_NEEDED, *_METRES) if c in known])
    except (pa.ArrowException, OSError, ValueError) as error:
        raise SourceError(f"The index {path} cannot be read ({error}): remove it and fetch again.") from error
    absent = [name for name in _NEEDED if name not in table.column_names]
    if absent:
        raise SourceError(
            f"The index {path} lacks {', '.join(absent)} (it has {', '.join(table.column_names)}): check `index`."
        )
    return table.select([name for name in (*_NEEDED, *_METRES) if name in table.column_names])


def _of_year(table: "pa.Table", index: Path, year: int) -> "pa.Table":
    years = np.asarray(table["year"].to_pylist()).astype(np.int64)
    chosen = np.flatnonzero(years == year)
    if not chosen.size:
        listed = ", ".join(map(str, np.unique(years))) or "none"
        raise SourceError(f"The index {index} lists no file of {year}; its years: {listed}.")
    return table.take(chosen)


def _meet(box: tuple[float, ...], search: tuple[float, ...]) -> bool:
    """Whether two boxes of west, south, east, north meet; one that is wide or turned round may cross 180 degrees."""
    if box[1] > search[3] or box[3] < search[1]:
        return False
    return not 0.0 <= box[2] - box[0] <= 180.0 or (box[0] <= search[2] and box[2] >= search[0])


def _ref(row: dict[str, Any], config: AlphaEarthConfig, index: Path) -> TileRef:
    """One row of the index; its place in metres where the index says it, else in degrees."""
    zone, path = str(row["utm_zone"]), str(row["path"])
    match = re.fullmatch(r"([1-9]|[1-5]\d|60)([NS])", zone.removeprefix("0"))
    if match is None:
        raise SourceError(f"The index {index} has the UTM zone {zone!r} for {path}; 1N to 60S were expected.")
    href = next((path.replace(old, new, 1) for old, new in _WEB.items() if path.startswith(old)), path)
    box = (float(row["wgs84_west"]), float(row["wgs84_south"]), float(row["wgs84_east"]), float(row["wgs84_north"]))
    ref = TileRef(f"{zone}_{Path(path).stem}", f"{config.resolution_m}m", href, box)
    if any(row.get(name) is None for name in _METRES):
        return ref
    west, south, east, north = (float(row[name]) for name in _METRES)
    shape = round((north - south) / PIXEL_M), round((east - west) / PIXEL_M)
    crs = f"EPSG:{(32600 if match[2] == 'N' else 32700) + int(match[1])}"
    return TileRef(ref.id, ref.asset, href, ref.bbox, crs, shape, (PIXEL_M, 0.0, west, 0.0, PIXEL_M, south))


def needed_tiles(
    config: AlphaEarthConfig, area: StudyArea, grids: Sequence[str], data: Path, year: int, patience: Patience
) -> list[TileRef]:
    """Ask the index for the tiles of a calendar year that cells of a study touch.

    Raises
    ------
    ConfigError
        When there are none.
    """
    index = bring_index(config.index, listing_path(config, data, year).parent, patience)
    listed = tiles_of_year(index, config, year, area)
    needed = touched(listed, area, grids)
    if not needed:
        raise ConfigError(
            f"{config.index} lists {len(listed)} files of {year} around the study area, and none touches one of its "
            "cells: check study_area."
        )
    return needed


def read_json(path: Path) -> dict[str, Any]:
    """Read an object of a JSON file; nothing when it is absent or damaged."""
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except (OSError, ValueError):
        return {}
    return found if isinstance(found, dict) else {}

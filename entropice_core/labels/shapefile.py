"""Whether a shapefile is complete. GDAL reads a truncated one without an error, as rows without geometry.

A shapefile is three files side by side that each say in their header how long they are (ESRI Shapefile Technical
Description, July 1998; dBASE level 5 header). Only these headers are looked at.
"""

import struct
import zipfile
from collections.abc import Mapping
from pathlib import Path, PurePosixPath

from entropice_core.errors import SourceError

SIDECARS = (".shx", ".dbf", ".prj", ".cpg")
_NEEDED = (".shp", ".shx", ".dbf")
_HEADER = 32

Part = tuple[bytes, int]


def sidecars(path: Path) -> list[Path]:
    """List the files that belong to a shapefile, whatever the case of their suffixes."""
    stem = path.stem
    return sorted(p for p in path.parent.iterdir() if p.stem == stem and p.suffix.lower() in SIDECARS and p.is_file())


def check_shapefile(path: Path, name: str) -> None:
    """Raise ``SourceError`` when a part of the shapefile is missing or shorter than its header says."""
    parts: dict[str, Part] = {}
    for part in (path, *sidecars(path)):
        with part.open("rb") as stream:
            parts[part.suffix.lower()] = stream.read(_HEADER), part.stat().st_size
    _check(parts, name)


def check_zipped_shapefile(archive: zipfile.ZipFile, member: str, name: str) -> None:
    """Do the same for a shapefile inside a zip."""
    parts: dict[str, Part] = {}
    for info in archive.infolist():
        if PurePosixPath(info.filename).with_suffix("") == PurePosixPath(member).with_suffix(""):
            with archive.open(info) as stream:
                parts[PurePosixPath(info.filename).suffix.lower()] = stream.read(_HEADER), info.file_size
    _check(parts, name)


def _check(parts: Mapping[str, Part], name: str) -> None:
    missing = [end for end in _NEEDED if end not in parts]
    if missing:
        raise SourceError(f"{name} lacks its {', '.join(missing)} beside it; a shapefile needs {', '.join(_NEEDED)}.")
    for end in _NEEDED:
        header, size = parts[end]
        promised = _promised_size(end, header)
        if size < promised:
            raise SourceError(
                f"{name}: its {end} has {size} bytes, but says that it has {promised}; it is truncated, fetch it again."
            )


def _promised_size(end: str, header: bytes) -> int:
    if len(header) < _HEADER:
        return _HEADER
    if end == ".dbf":
        records, header_size, record_size = struct.unpack("<IHH", header[4:12])
        return int(header_size) + int(records) * int(record_size)
    words: int = struct.unpack(">i", header[24:28])[0]  # of 16 bits
    return 2 * words

"""What a file really is, told from its first bytes: servers send HTML under any name, and zip files as .nc."""

from enum import Enum
from pathlib import Path

from entropice_core.errors import SourceError


class Format(Enum):
    """File formats that can be read."""

    GEOTIFF = "GeoTIFF"
    NETCDF4 = "NetCDF4"
    NETCDF3 = "NetCDF3"
    ZARR = "Zarr"


_MAGIC: tuple[tuple[bytes, Format], ...] = (
    (b"II*\x00", Format.GEOTIFF),
    (b"MM\x00*", Format.GEOTIFF),
    (b"II+\x00", Format.GEOTIFF),  # BigTIFF
    (b"MM\x00+", Format.GEOTIFF),
    (b"\x89HDF\r\n\x1a\n", Format.NETCDF4),
    (b"CDF\x01", Format.NETCDF3),
    (b"CDF\x02", Format.NETCDF3),
)
_NOT_READ: tuple[tuple[bytes, str], ...] = (
    (b"PK\x03\x04", "a zip archive: unpack it"),
    (b"\x1f\x8b", "a gzip file: unpack it"),
    (b"GRIB", "a GRIB file: convert it to NetCDF, or ask the Climate Data Store for netcdf"),
    (b"CDF\x05", "a 64-bit-data NetCDF3 file: convert it to NetCDF4 (nccopy -k nc4)"),
)
_ZARR_FILES = ("zarr.json", ".zgroup", ".zmetadata")


def sniff_format(path: Path) -> Format:
    """Tell the format of a file or folder.

    Raises
    ------
    SourceError
        Naming the file, what it is instead, and what to do.
    """
    if path.is_dir():
        if any((path / name).is_file() for name in _ZARR_FILES):
            return Format.ZARR
        raise SourceError(
            f"{path} is a folder without {' or '.join(_ZARR_FILES)}, so it is no Zarr store: name a file."
        )
    try:
        with path.open("rb") as file:
            head = file.read(512)
    except OSError as error:
        raise SourceError(f"{path} cannot be read: {error.strerror}.") from error
    for magic, known in _MAGIC:
        if head.startswith(magic):
            return known
    raise SourceError(f"{path} is {_describe(head)}; GeoTIFF, NetCDF and Zarr can be read.")


def _describe(head: bytes) -> str:
    if not head:
        return "empty: fetch it again"
    for magic, what in _NOT_READ:
        if head.startswith(magic):
            return what
    text = head.lstrip(b"\xef\xbb\xbf \t\r\n").lower()
    if text.startswith((b"<!doctype", b"<html", b"<?xml", b"<head")):
        return "a web page, not data: the download failed (a login, a licence or an error page), fetch it again"
    if text.startswith((b"{", b"[")):
        return "JSON, not data: the server probably answered with an error, fetch it again"
    return f"no known raster (it begins with {head[:8]!r})"

"""A file is what its first bytes say, and every other thing is refused by name."""

import pytest

from entropice_core.errors import SourceError
from entropice_core.sources.formats import Format, sniff_format


@pytest.mark.parametrize(
    ("head", "known"),
    [
        (b"II*\x00", Format.GEOTIFF),
        (b"MM\x00*", Format.GEOTIFF),
        (b"II+\x00\x08\x00", Format.GEOTIFF),
        (b"MM\x00+\x00\x08", Format.GEOTIFF),
        (b"\x89HDF\r\n\x1a\n", Format.NETCDF4),
        (b"CDF\x01", Format.NETCDF3),
        (b"CDF\x02", Format.NETCDF3),
    ],
)
def test_the_first_bytes_decide_whatever_the_name_says(tmp_path, head, known):
    path = tmp_path / "weather.jpg"
    path.write_bytes(head + b"\x00" * 100)
    assert sniff_format(path) is known


@pytest.mark.parametrize("marker", ["zarr.json", ".zgroup", ".zmetadata"])
def test_a_folder_with_zarr_metadata_is_a_store(tmp_path, marker):
    (tmp_path / marker).write_text("{}")
    assert sniff_format(tmp_path) is Format.ZARR


@pytest.mark.parametrize(
    ("content", "words"),
    [
        (b"", "empty"),
        (b"<!DOCTYPE html><html>", "web page"),
        (b"\n  <HTML><body>Login", "web page"),
        (b"\xef\xbb\xbf<?xml version='1.0'?>", "web page"),
        (b'{"error": "expired token"}', "JSON"),
        (b"PK\x03\x04....", "zip archive: unpack"),
        (b"\x1f\x8b\x08", "gzip"),
        (b"GRIB\x00\x01", "GRIB"),
        (b"CDF\x05", "nccopy"),
        (b"lat;lon;value\n", "no known raster"),
    ],
)
def test_what_is_no_raster_is_refused_and_named(tmp_path, content, words):
    path = tmp_path / "era5_2021.nc"
    path.write_bytes(content)
    with pytest.raises(SourceError, match=words) as caught:
        sniff_format(path)
    assert "era5_2021.nc" in str(caught.value)


def test_a_folder_of_other_files_is_no_store(tmp_path):
    with pytest.raises(SourceError, match="no Zarr store"):
        sniff_format(tmp_path)


def test_a_file_that_may_not_be_read_is_named(tmp_path):
    with pytest.raises(SourceError, match="gone.nc cannot be read"):
        sniff_format(tmp_path / "gone.nc")

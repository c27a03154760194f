"""The file of a job: NetCDF split as the service splits it, zipped where there are several, or wrong in one way."""

import hashlib
import io
import zipfile
from typing import TYPE_CHECKING

import numpy as np
import xarray as xr

from tests.servers.cds.catalogue import DAILY, LAND_DAILY, LAND_HOURLY, now
from tests.servers.cds.fields import as_list, fields_of, make_dataset
from tests.servers.cds.model import Asset, Job

if TYPE_CHECKING:
    from tests.servers.cds.server import CdsServer


def make_asset(cds: "CdsServer", job: Job, wrong: str) -> Asset:
    """Make the file of a job, right or wrong in one way."""
    files = make_files(cds, job, wrong)
    if wrong == "html":
        content, name, media = b"<!DOCTYPE html><html><body>Please sign in</body></html>", "x.nc", "application/netcdf"
    elif wrong == "grib":
        content, name, media = b"GRIB\x00\x00\x10\x01" + bytes(1000), "x.grib", "application/x-grib"
    elif len(files) > 1 or wrong in ("traversal", "link", "bomb"):
        content, name, media = zip_files(files, wrong), f"{job.job_id}.zip", "application/zip"
    else:
        content, name, media = next(iter(files.values())), f"{job.job_id}.nc", "application/netcdf"
    if wrong == "truncated":
        content = content[: int(len(content) * cds.truncate_at)]
    md5 = hashlib.md5(content).hexdigest()
    return Asset(name, content, media, "0" * 32 if wrong == "wrong_md5" else md5, len(content))


def zip_files(files: dict[str, bytes], wrong: str = "") -> bytes:
    """Zip the files of a result."""
    stream = io.BytesIO()
    with zipfile.ZipFile(stream, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, content in files.items():
            archive.writestr(name, content)
        if wrong == "traversal":
            archive.writestr("../../evil.nc", b"\x89HDF\r\n\x1a\n")
        if wrong == "bomb":
            archive.writestr("bomb.nc", bytes(30_000_000))
        if wrong == "link":
            link = zipfile.ZipInfo("link.nc")
            link.external_attr = 0o120777 << 16
            archive.writestr(link, "/etc/passwd")
    return stream.getvalue()


def make_files(cds: "CdsServer", job: Job, wrong: str) -> dict[str, bytes]:
    """Make the NetCDF files of a job, split as the service splits them."""
    names = [v for v in as_list(job.inputs["variable"]) if v not in cds.drop]
    statistic = as_list(job.inputs.get("daily_statistic", [""]))[0]
    known, why = fields_of(job.process), "Daily sum is not available for this variable, skipping"
    if statistic == "daily_sum":
        names = [v for v in names if known[v][4]]
    if job.process == LAND_DAILY:
        why = "Daily statistics of accumulated variables are not supported for this dataset, skipping"
        names = [v for v in names if not known[v][4]]
    for left_out in sorted(set(as_list(job.inputs["variable"])) - set(names)):
        job.log.append((now(), f"WARNING {why}: {left_out}"))
    if job.process in (DAILY, LAND_DAILY):
        groups = {f"{v}_0_{statistic.replace('_', '-')}.nc": [v] for v in names}
    else:
        instant, accumulated = ("instant", "accum") if job.process == LAND_HOURLY else ("avgua", "avgad")
        stream = "oper" if job.process == LAND_HOURLY else "moda"
        kinds = {instant: [v for v in names if not known[v][4]], accumulated: [v for v in names if known[v][4]]}
        groups = {f"data_stream-{stream}_stepType-{kind}.nc": group for kind, group in kinds.items() if group}
    return {name: _netcdf(make_dataset(cds, job, group, wrong)) for name, group in groups.items()}


def _netcdf(data: xr.Dataset) -> bytes:
    packed = {"zlib": True, "complevel": 1, "shuffle": True, "_FillValue": np.float32(np.nan)}
    stream = data.to_netcdf(engine="h5netcdf", encoding={n: packed for n in data.data_vars})
    return bytes(stream)

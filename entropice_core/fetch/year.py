"""One Arctic year in the data folder: results with their receipts, what is there of it, and its monthly file.

::

    era5/monthly/2021/2020_10-12_month_1f0c9a2b/   one result: NetCDF files as served, and receipt.json
    era5/monthly/2021/year.json                    what the year holds, month by month final or ERA5T
    era5/era5_monthly_2021.nc                      the twelve months of all variables in one file, for a raster source

A result appears by one rename, receipt included: a folder without the leading dot is whole. Whether it still is, is
seen by checksums, not by existence.
"""

import hashlib
import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np
import pandas as pd
import xarray as xr

from entropice_core.errors import SourceError
from entropice_core.fetch.check import PRELIMINARY, Received, month_key, open_netcdf, short_in, time_of
from entropice_core.fetch.download import md5_of
from entropice_core.fetch.plan import Area, Key, Month, Product, Request, arctic_months, final_on
from entropice_core.fetch.variables import VARIABLES
from entropice_core.storage.durable import flush_file, flush_folder, flush_tree, write_json

RECEIPT = "receipt.json"


@dataclass
class Receipt:
    """What a result is: the request, the files with sizes and MD5, what they hold, where and when they came from."""

    request: Request
    files: dict[str, dict[str, Any]]
    received: Received
    job_id: str
    url: str
    fetched: str
    bytes: int
    md5: str | None
    messages: list[str] = field(default_factory=list)

    def provisional(self) -> list[Month]:
        """List the months that are ERA5T, or that came before the final ones can be expected and do not say."""
        fetched = date.fromisoformat(self.fetched)
        versions = {m: self.received.expver.get(month_key(m)) for m in self.request.months}
        return [m for m, v in versions.items() if (PRELIMINARY in v if v else fetched < final_on(m))]

    def keys(self, today: date, allow_gaps: bool) -> set[Key]:
        """What is held and need not be asked for: not what was ERA5T and is final now, nor undeclared gaps."""
        old = {m for m in self.provisional() if today >= final_on(m)}
        gaps = set() if allow_gaps else set(self.received.missing)
        return {k for k in self.request.keys if k[2] not in old and k[0] not in gaps}

    def as_json(self) -> dict[str, Any]:
        """Return the receipt as it is written; `read_receipt` is the way back."""
        asked = {"dataset": self.request.dataset, "inputs": self.request.inputs, "digest": self.request.digest}
        return {"schema": 1, **asdict(self), "asked": asked}


def read_receipt(folder: Path) -> Receipt:
    """Read a receipt; ``SourceError`` says what is wrong with it or with the files beside it."""
    path = folder / RECEIPT
    try:
        stored = json.loads(path.read_text(encoding="utf-8"))
        asked = stored.pop("request")
        asked |= {"variables": tuple(asked["variables"]), "months": tuple((y, m) for y, m in asked["months"])}
        request = Request(**{**asked, "area": tuple(asked["area"])})
        received = Received(**stored.pop("received"))
        rest = {k: v for k, v in stored.items() if k not in ("schema", "asked")}
        receipt = Receipt(request=request, received=received, **rest)
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise SourceError(f"{path} is no receipt of a fetched result ({type(error).__name__}: {error}).") from error
    for name, about in receipt.files.items():
        file = folder / name
        if not file.is_file() or file.stat().st_size != about["bytes"] or md5_of(file) != about["md5"]:
            raise SourceError(f"{file} is not what was fetched: it is missing, or its size or MD5 has changed.")
    return receipt


def publish(receipt: Receipt, files: Path, folder: Path) -> None:
    """Move a checked result to its place in one step; an older one of the same request goes."""
    write_json(files / RECEIPT, receipt.as_json())
    flush_tree(files)
    target, old = folder / receipt.request.name, folder / f".{receipt.request.name}.old"
    shutil.rmtree(old, ignore_errors=True)
    if target.exists():
        os.rename(target, old)
    os.rename(files, target)
    flush_folder(folder)
    shutil.rmtree(old, ignore_errors=True)


def describe_files(paths: Iterable[Path]) -> dict[str, dict[str, Any]]:
    """Sizes and MD5 of files, as a receipt holds them."""
    return {p.name: {"bytes": p.stat().st_size, "md5": md5_of(p)} for p in sorted(paths)}


def read_year(folder: Path, *, set_aside: bool = False) -> tuple[list[Receipt], list[str]]:
    """Read the receipts of a year, oldest first; what is damaged is told, and moved out of the way if asked."""
    receipts, told = [], []
    for path in sorted(p for p in folder.glob("[0-9]*_*") if p.is_dir()):
        try:
            receipts.append(read_receipt(path))
        except SourceError as error:
            aside = folder / f".damaged-{path.name}"
            told.append(f"{error} It is set aside as {aside.name} and fetched again.")
            if set_aside:
                shutil.rmtree(aside, ignore_errors=True)
                os.rename(path, aside)
    return sorted(receipts, key=lambda r: (r.fetched, r.request.name)), told


def holders(receipts: Iterable[Receipt]) -> dict[Key, Receipt]:
    """Say which receipt holds a variable, statistic and month: the newest."""
    return {k: r for r in receipts for k in r.request.keys if k[0] not in r.received.missing}


def year_summary(product: Product, year: int, area: Area, receipts: list[Receipt]) -> dict[str, Any]:
    """Sum up a year for people and for those who read the files."""
    held = holders(receipts)
    provisional = sorted({m for (_, _, m), r in held.items() if m in r.provisional()})
    expver = {
        month_key(m): sorted({v for k, r in held.items() if k[2] == m for v in r.received.expver.get(month_key(m), [])})
        for m in arctic_months(year)
    }
    variables = sorted({(k[0], k[1]) for k in held})
    return {
        "product": product,
        "year": year,
        "area": list(area),
        "variables": [{"name": n, "short": VARIABLES[n].short, "statistic": s} for n, s in variables],
        "gaps": sorted({k[0] for r in receipts for k in r.request.keys if k not in held}),
        "expver": expver,
        "is_provisional": bool(provisional),
        "provisional_months": [month_key(m) for m in provisional],
        "results": sorted({r.request.name for r in held.values()}),
        "bytes": sum(about["bytes"] for r in receipts for about in r.files.values()),
    }


def merge_monthly(folder: Path, year: int, area: Area, receipts: list[Receipt], target: Path) -> bool:
    """Write the twelve months of an Arctic year into one NetCDF; False when it was already made of the same files.

    ``valid_time`` is the first of each month at 00 UTC; the service writes other hours for means of accumulated
    variables, which would make two time axes of one year. Variables, units and attributes stay as they were served.
    """
    held = holders(receipts)
    signature = _signature(held, area)
    if _signature_of(target) == signature:
        return False
    months = arctic_months(year)
    names = sorted({k[0] for k in held})
    whole = [n for n in names if all((n, "month", m) in held for m in months)]
    if not whole:
        raise SourceError(f"No variable in {folder} has all twelve months of {year}: fetch one without --allow-gaps.")
    merged = xr.merge(
        [_twelve_months(folder, name, months, held) for name in whole],
        join="exact",
        compat="no_conflicts",
        combine_attrs="override",
    )
    merged = merged.assign_coords(expver=("valid_time", np.array(_versions(whole, months, held), dtype=object)))
    provisional = [month_key(m) for m in months if any(m in held[n, "month", m].provisional() for n in whole)]
    merged.attrs |= {
        "entropice_inputs": signature,
        "entropice_arctic_year": year,
        "entropice_is_provisional": int(bool(provisional)),
        "entropice_provisional_months": " ".join(provisional),
        "entropice_comment": "Months merged from results of the Climate Data Store; valid_time is the month's first.",
    }
    part = target.with_name(f".{target.name}.part")
    part.unlink(missing_ok=True)
    packed = {"zlib": True, "complevel": 4, "shuffle": True, "_FillValue": np.float32(np.nan), "dtype": "float32"}
    merged.to_netcdf(part, engine="h5netcdf", encoding={n: packed for n in merged.data_vars})
    flush_file(part)
    os.replace(part, target)
    flush_folder(target.parent)
    return True


def _twelve_months(folder: Path, name: str, months: list[Month], held: dict[Key, Receipt]) -> xr.Dataset:
    """One variable, October to September; a month comes from the newest result that holds it."""
    wanted: dict[str, list[Month]] = {}
    by_name = {}
    for month in months:
        receipt = held[name, "month", month]
        wanted.setdefault(receipt.request.name, []).append(month)
        by_name[receipt.request.name] = receipt
    parts = [_months_of(folder, by_name[result], name, those) for result, those in wanted.items()]
    for part in parts[1:]:
        if not all(np.array_equal(part[c].values, parts[0][c].values) for c in ("latitude", "longitude")):
            raise SourceError(
                f"The results of {name} in {folder} lie on different grids: remove the folder, fetch again."
            )
    return xr.concat(
        parts,
        "valid_time",
        data_vars="all",
        coords="minimal",
        compat="override",
        join="exact",
        combine_attrs="override",
    ).sortby("valid_time")


def _months_of(folder: Path, receipt: Receipt, name: str, months: list[Month]) -> xr.Dataset:
    file = folder / receipt.request.name / receipt.received.variables[name].rpartition(":")[0]
    with open_netcdf(file) as data:
        times = time_of(data, file)
        short = short_in(data, VARIABLES[name])
        if short is None:
            raise SourceError(f"{file} has lost {name}: remove the folder {file.parent}, fetch again.")
        served = data[short]
        time_name = next(n for n in ("valid_time", "time") if n in served.coords)
        if time_name not in served.dims:  # a single month may come without the dimension
            served = served.expand_dims(time_name)
        kept = served.isel({time_name: [i for i, t in enumerate(times) if (t.year, t.month) in months]}).load()
        kept = kept.drop_vars([c for c in kept.coords if c not in (time_name, "latitude", "longitude")])
        number = data["number"].reset_coords(drop=True) if "number" in data.coords and not data["number"].dims else None
        attrs = {"time": dict(data[time_name].attrs), "all": dict(data.attrs)}
    kept = kept.rename({time_name: "valid_time"} if time_name != "valid_time" else {}).rename(VARIABLES[name].short)
    stamps = pd.DatetimeIndex(kept["valid_time"].values)
    firsts = stamps.to_period("M").to_timestamp()
    if not (stamps == firsts).all():
        kept.attrs["entropice_valid_time_as_served"] = " ".join(stamps.strftime("%Y-%m-%dT%H:%M"))
    kept = kept.assign_coords(valid_time=("valid_time", firsts, attrs["time"]))
    kept.encoding.clear()
    result = kept.to_dataset().assign_attrs(attrs["all"])
    return result if number is None else result.assign_coords(number=number)


def _versions(names: list[str], months: list[Month], held: dict[Key, Receipt]) -> list[str]:
    per_month = (
        sorted({v for n in names for v in held[n, "month", m].received.expver.get(month_key(m), [])}) for m in months
    )
    return ["+".join(versions) for versions in per_month]


def _signature(held: dict[Key, Receipt], area: Area) -> str:
    parts = sorted((list(k[:2]), list(k[2]), sorted(f["md5"] for f in r.files.values())) for k, r in held.items())
    return hashlib.sha256(json.dumps([list(area), parts]).encode()).hexdigest()


def _signature_of(target: Path) -> str | None:
    if not target.is_file():
        return None
    try:
        with open_netcdf(target) as data:
            return str(data.attrs.get("entropice_inputs"))
    except SourceError:
        return None

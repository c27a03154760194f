"""The monthly means of an Arctic year in one file, as a raster source reads it."""

import hashlib
import json
import os
from pathlib import Path

import numpy as np
import pandas as pd
import xarray as xr

from entropice_core.errors import SourceError
from entropice_core.fetch.calendar import Month, arctic_months, month_key
from entropice_core.fetch.check import open_netcdf, short_in, time_of
from entropice_core.fetch.plan import Area, Key
from entropice_core.fetch.receipts import Receipt
from entropice_core.fetch.year import holders
from entropice_core.storage.durable import flush_file, flush_folder


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
        short = short_in(data, receipt.request.variable(name))
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
    kept = kept.rename({time_name: "valid_time"} if time_name != "valid_time" else {}).rename(
        receipt.request.variable(name).short
    )
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

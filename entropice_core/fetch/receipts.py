"""Results of the Climate Data Store on disk: NetCDF files as served, and a receipt beside them.

::

    era5/monthly/2021/2020_10-12_month_1f0c9a2b/   one result: NetCDF files, and receipt.json

A result appears by one rename, receipt included: a folder without the leading dot is whole. Whether it still is, is
seen by checksums, not by existence.
"""

import json
import os
import shutil
from collections.abc import Iterable
from dataclasses import asdict, dataclass, field
from datetime import date
from pathlib import Path
from typing import Any

from entropice_core.errors import SourceError
from entropice_core.fetch.calendar import Calendar, Month, final_on, month_key, read_month
from entropice_core.fetch.check import PRELIMINARY, Received
from entropice_core.fetch.download import md5_of
from entropice_core.fetch.plan import Key, Request
from entropice_core.storage.durable import flush_folder, flush_tree, write_json

RECEIPT = "receipt.json"


@dataclass
class Receipt:
    """What a result is: the request, the files with sizes and MD5, what they hold, where and when they came from.

    ``final`` is the newest final month at that time, where the service was asked; ``queued_s`` the time in its queue.
    """

    request: Request
    files: dict[str, dict[str, Any]]
    received: Received
    job_id: str
    url: str
    fetched: str
    bytes: int
    md5: str | None
    messages: list[str] = field(default_factory=list)
    final: str = ""
    queued_s: float = 0.0

    def provisional(self) -> list[Month]:
        """List the months that are ERA5T, or that came before they could be final and do not say."""
        return [month for month in self.request.months if self._is_provisional(month)]

    def _is_provisional(self, month: Month) -> bool:
        versions = self.received.expver.get(month_key(month))
        if versions:
            return PRELIMINARY in versions
        if self.final:
            return month > read_month(self.final)
        return date.fromisoformat(self.fetched) < final_on(month)

    def keys(self, calendar: Calendar, allow_gaps: bool) -> set[Key]:
        """What is held and need not be asked for: not what was ERA5T and is final now, nor undeclared gaps."""
        old = {month for month in self.provisional() if month <= calendar.final}
        gaps = set() if allow_gaps else set(self.received.missing)
        return {k for k in self.request.keys if k[2] not in old and k[0] not in gaps}

    def as_json(self) -> dict[str, Any]:
        """Return the receipt as it is written; `read_receipt` is the way back."""
        asked = {"dataset": self.request.dataset, "inputs": self.request.inputs, "digest": self.request.digest}
        return {"schema": 1, **asdict(self), "asked": asked}


def read_receipt(folder: Path, *, with_md5: bool = True) -> Receipt:
    """Read a receipt; ``SourceError`` says what is wrong with it or with the files beside it.

    Without ``with_md5`` only the sizes of the files are compared, which is for a look at many gigabytes.
    """
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
        is_whole = file.is_file() and file.stat().st_size == about["bytes"]
        if not is_whole or (with_md5 and md5_of(file) != about["md5"]):
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


def read_year(folder: Path, *, set_aside: bool = False, with_md5: bool = True) -> tuple[list[Receipt], list[str]]:
    """Read the receipts of a year, oldest first; what is damaged is told, and moved out of the way if asked."""
    receipts, told = [], []
    for path in sorted(p for p in folder.glob("[0-9]*_*") if p.is_dir()):
        try:
            receipts.append(read_receipt(path, with_md5=with_md5))
        except SourceError as error:
            aside = folder / f".damaged-{path.name}"
            told.append(f"{error} It is set aside as {aside.name} and fetched again.")
            if set_aside:
                shutil.rmtree(aside, ignore_errors=True)
                os.rename(path, aside)
    return sorted(receipts, key=lambda r: (r.fetched, r.request.name)), told

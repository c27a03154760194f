"""A release of the DARTS inventory from the Arctic Data Center: the files that matter, verified, and a receipt.

The package holds both levels, coverage files, and files of the detector's training. One level of the newest release in
it is taken, with its coverage, into ``darts/`` of the data folder; a receipt beside them says from where they came, so
that a newer release can be told from the one that is there.
"""

import fnmatch
import json
import re
from collections.abc import Callable, Sequence
from dataclasses import asdict, dataclass, replace
from pathlib import Path
from typing import Any

from entropice_core.errors import SourceError
from entropice_core.fetch.dataone import DataObject, DataOne, Package, normalise_identifier
from entropice_core.labels.darts import release_of
from entropice_core.storage.durable import write_json

DOI = "10.18739/A22B8VD7C"
FOLDER = "darts"
RECEIPT = "release.json"
_SUFFIXES = (".parquet", ".geoparquet", ".gpkg")  # the first that is there


@dataclass(frozen=True)
class Release:
    """What a fetch brought: ``fetched`` and ``present`` name files; ``newer`` is a later release, or empty."""

    identifier: str
    title: str
    folder: Path
    fetched: tuple[str, ...]
    present: tuple[str, ...]
    bytes: int
    newer: str

    def __str__(self) -> str:
        moved = f"{len(self.fetched)} files fetched ({self.bytes / 1e6:,.1f} MB), {len(self.present)} already there"
        return f"{self.title or self.identifier}: {moved}" + (
            f"; a newer release is {self.newer}" if self.newer else ""
        )


def choose_files(objects: Sequence[DataObject], level: int, patterns: Sequence[str] = ()) -> list[DataObject]:
    """Choose the features and the coverage of one level, or the files that match patterns.

    Of several releases in one package the highest is taken, and of several formats GeoParquet.

    Raises
    ------
    SourceError
        When nothing fits; the files of the package are listed.
    """
    if patterns:
        found = [each for each in objects if any(fnmatch.fnmatchcase(each.file_name, p) for p in patterns)]
        if not found:
            raise SourceError(f"No file matches {', '.join(patterns)}; the package holds: {_names(objects)}.")
        return found
    vector = [each for each in objects if each.file_name.endswith(_SUFFIXES)]
    features = [each for each in vector if _is_of(each, "features", level)]
    if not features:
        raise SourceError(
            f"The package holds no vector file named features and level{level}; it holds: {_names(objects)}; "
            "name the files to take with --file."
        )
    coverage = [each for each in vector if _is_of(each, "coverage", level)]
    coverage = coverage or [each for each in vector if "coverage" in each.file_name.lower()]
    return [_best(features), *([_best(coverage)] if coverage else [])]


def fetch_release(
    node: DataOne,
    data: Path,
    identifier: str = DOI,
    level: int = 2,
    patterns: Sequence[str] = (),
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Release:
    """Bring the files of a release into ``darts/`` of the data folder, each whole and verified.

    Files that are there with the right checksum are left alone, unfinished ones are continued. The receipt is written
    last: it names what is complete.
    """
    package = node.package(identifier)
    chosen = [_verified(node, each) for each in choose_files(package.objects, level, patterns)]
    folder = data / FOLDER
    moved: dict[str, bool] = {}
    for each in chosen:
        node.patience.tell(f"{each.file_name}: {each.size / 1e6:,.1f} MB")
        moved[each.file_name] = node.fetch(each, folder / each.file_name, on_bytes)
    write_json(folder / RECEIPT, _receipt(package, chosen))
    newest = node.newest(package.identifier) if package.obsoleted_by else package.identifier
    return Release(
        identifier=package.identifier,
        title=package.title,
        folder=folder,
        fetched=tuple(name for name, was in moved.items() if was),
        present=tuple(name for name, was in moved.items() if not was),
        bytes=sum(each.size for each in chosen if moved[each.file_name]),
        newer="" if newest == package.identifier else newest,
    )


def read_receipt(data: Path) -> dict[str, Any] | None:
    """Read the receipt of the release in a data folder; None when nothing was fetched there."""
    path = data / FOLDER / RECEIPT
    if not path.is_file():
        return None
    try:
        found: dict[str, Any] = json.loads(path.read_text(encoding="utf-8"))
        normalise_identifier(str(found["identifier"]))
    except (ValueError, KeyError) as error:
        raise SourceError(f"{path} is no receipt of a release ({error}); fetch the release again.") from error
    return found


def find_newer(node: DataOne, data: Path, identifier: str) -> Package | None:
    """Look whether there is a release that the data folder does not have.

    Compared are the newest successor of what is there (by the receipt, else by ``identifier``) and, in the same
    release, the checksums of its files.
    """
    receipt = read_receipt(data)
    here = normalise_identifier(str(receipt["identifier"]) if receipt else identifier)
    newest = node.newest(here)
    package = node.package(newest)
    if newest != here:
        return package
    known = {each["identifier"] for each in receipt["files"]} if receipt else set()
    if receipt is None or known <= {each.identifier for each in package.objects}:
        return None
    return package


def _verified(node: DataOne, listed: DataObject) -> DataObject:
    """Take size and checksum from the system metadata, which rule over the index."""
    return replace(node.meta(listed.identifier), file_name=listed.file_name)


def _receipt(package: Package, files: Sequence[DataObject]) -> dict[str, Any]:
    keys = ("identifier", "title", "uploaded")
    return {**{key: getattr(package, key) for key in keys}, "files": [asdict(each) for each in files]}


def _is_of(each: DataObject, what: str, level: int) -> bool:
    name = each.file_name.lower()
    return what in name and re.search(rf"level[-_ ]?{level}(?!\d)", name) is not None


def _best(candidates: Sequence[DataObject]) -> DataObject:
    def rank(each: DataObject) -> tuple[list[int], int, str]:
        release = [int(part) for part in release_of(each.file_name).split(".") if part]
        return release, -_SUFFIXES.index(Path(each.file_name).suffix), each.file_name

    return max(candidates, key=rank)


def _names(objects: Sequence[DataObject]) -> str:
    return ", ".join(each.file_name for each in objects) or "nothing"

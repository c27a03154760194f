"""All tiles of a study from a STAC collection, a few at a time, and the list of them that a source reads.

One bad tile does not stop the others: what failed is told together at the end, by name, and the list is written only
when every tile is there, but for those that the study declares missing.
"""

import json
import re
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from pathlib import Path
from threading import Lock
from typing import Any

from entropice_core.errors import SourceError
from entropice_core.fetch.cog import Fetched, MissingTileError, fetch_file
from entropice_core.fetch.patience import Patience
from entropice_core.fetch.stac import TileRef, patient_session
from entropice_core.storage.durable import write_json
from entropice_core.storage.recipe import canonical_json, text_digest

PARALLEL = 4
_TOLD = 5


@dataclass(frozen=True)
class Progress:
    """How far the tiles are; ``text`` is empty when only bytes came in."""

    done: int
    total: int
    bytes: int
    text: str = ""


Bring = Callable[[TileRef, Callable[[int], None]], Fetched]
Tell = Callable[[Progress], None]


@dataclass
class Report:
    """What became of the tiles."""

    tiles: int = 0
    there: int = 0
    fetched: int = 0
    missing: list[str] = field(default_factory=list)
    bytes: int = 0
    requests: int = 0

    def add(self, found: Fetched) -> None:
        """Count a tile that is there now."""
        self.there += not found.requests
        self.fetched += found.requests > 0
        self.bytes += found.bytes
        self.requests += found.requests

    def facts(self) -> dict[str, Any]:
        """Numbers for people."""
        return {
            "tiles": self.tiles,
            "already_there": self.there,
            "fetched_now": self.fetched,
            "MB_fetched_now": round(self.bytes / 1e6, 2),
            "requests": self.requests,
            "declared_missing": ", ".join(self.missing) or "none",
        }

    def __str__(self) -> str:
        absent = f", {len(self.missing)} declared missing ({', '.join(self.missing)})" if self.missing else ""
        return (
            f"{self.tiles} tiles: {self.there} were there, {self.fetched} fetched "
            f"({self.bytes / 1e6:,.1f} MB in {self.requests} requests){absent}"
        )


def fetch_tiles(
    refs: Sequence[TileRef],
    listing: Path,
    about: dict[str, Any],
    patience: Patience,
    *,
    missing: Sequence[str] = (),
    parallel: int = PARALLEL,
    tell: Tell = lambda _: None,
) -> Report:
    """Bring whole files into the folder of their collection, which ``about`` names, and write their list.

    The parameters are those of ``bring_all``.
    """
    folder, session = listing.parent / str(about["collection"]), patient_session(patience)

    def bring(ref: TileRef, on_bytes: Callable[[int], None]) -> Fetched:
        return fetch_file(ref, folder / file_name(ref), session, patience, on_bytes)

    return bring_all(refs, listing, about, bring, missing=missing, parallel=parallel, tell=tell)


def bring_all(
    refs: Sequence[TileRef],
    listing: Path,
    about: dict[str, Any],
    bring: Bring,
    *,
    missing: Sequence[str] = (),
    parallel: int = PARALLEL,
    tell: Tell = lambda _: None,
) -> Report:
    """Bring tiles, a few at a time, and write their list when all are there.

    Parameters
    ----------
    refs : what the catalogue lists for the study
    listing : the list that is written, JSON; tiles lie in folders beside it
    about : what the list says of its origin
    bring : brings one tile and tells how many bytes come in; for each tile from some thread
    missing : ids that may be absent at the server
    """
    report, lock, received = Report(tiles=len(refs)), Lock(), 0
    failures: list[SourceError] = []

    def on_bytes(n: int) -> None:
        nonlocal received
        with lock:
            received += n
            tell(Progress(report.there + report.fetched, len(refs), received))

    def try_to_bring(ref: TileRef) -> Fetched | None:
        try:
            found = bring(ref, on_bytes)
        except SourceError as error:
            with lock:
                if isinstance(error, MissingTileError) and ref.id in missing:
                    report.missing.append(f"{ref.id} {ref.asset}")
                else:
                    failures.append(error)
            return None
        with lock:
            report.add(found)
            how = f"{found.bytes / 1e6:,.2f} MB" if found.requests else "was there"
            tell(Progress(report.there + report.fetched, len(refs), received, f"{ref.id} {ref.asset}: {how}"))
        return found

    with ThreadPoolExecutor(max_workers=parallel) as pool:
        results = list(pool.map(try_to_bring, refs))
    report.missing.sort()
    if failures:
        raise SourceError(_sentence(failures, len(refs)))
    entries = [_entry(ref, found, listing) for ref, found in zip(refs, results, strict=True) if found is not None]
    digest = text_digest(canonical_json([[entry["file"], entry["sha256"]] for entry in entries]))
    listing.parent.mkdir(parents=True, exist_ok=True)
    write_json(listing, {**about, "missing": report.missing, "digest": digest, "tiles": entries})
    return report


def file_name(ref: TileRef) -> str:
    """Name of a tile's file: the last part of its address, refused when that is no plain name."""
    name = ref.href.split("?")[0].rsplit("/", 1)[-1]
    if not re.fullmatch(r"[A-Za-z0-9][A-Za-z0-9._+-]*\.tiff?", name):
        raise SourceError(f"Tile {ref.id} has the address {ref.href}; its last part must be the name of a .tif file.")
    return name


def read_listing(path: Path, kind: str) -> dict[str, Any]:
    """Read a list of tiles; ``SourceError`` says how to make one for a kind of source."""
    how = f"run `entropice fetch {kind}`, which fetches a study's tiles and writes it"
    try:
        found = json.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise SourceError(f"There is no list of tiles {path}: {how}.") from error
    except ValueError as error:
        raise SourceError(f"The list of tiles {path} is damaged ({error}): {how}.") from error
    if not isinstance(found, dict) or not isinstance(found.get("tiles"), list):
        raise SourceError(f"{path} is no list of tiles: {how}.")
    return found


def _entry(ref: TileRef, found: Fetched, listing: Path) -> dict[str, Any]:
    return {
        "id": ref.id,
        "asset": ref.asset,
        "href": ref.href,
        "file": found.path.relative_to(listing.parent).as_posix(),
        "size": found.size,
        "sha256": found.sha256,
    }


def _sentence(failures: list[SourceError], total: int) -> str:
    told = " ".join(str(error) for error in sorted(failures, key=str)[:_TOLD])
    more = f" And {len(failures) - _TOLD} more." if len(failures) > _TOLD else ""
    return f"{len(failures)} of {total} tiles could not be fetched; the others are kept. {told}{more}"

"""Sums of all cells of a study in all images of a year, asked of Earth Engine batch by batch and kept.

A batch is some cells in one image, of several grids together. What Earth Engine calls too much is halved, down to one
cell, which is tried with less memory a worker (``tileScale``); later batches begin with what was possible. Each answer
is a file that is named by all that made it and verified before it is used (``features.kept``), so that a run that was
killed asks only for what is missing.
"""

import hashlib
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np

from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.embeddings.tiles import EmbeddingTile
from entropice_core.errors import ConfigError, SourceError
from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.kept import Arrays, KeptFiles
from entropice_core.fetch.alphaearth_index import listing_path
from entropice_core.fetch.earth_engine import expression
from entropice_core.fetch.earth_engine.batches import Batch, make_batches
from entropice_core.fetch.earth_engine.images import EeImage
from entropice_core.fetch.earth_engine.listing import describe_answers
from entropice_core.fetch.earth_engine.session import MOST_PARALLEL, PAYLOAD_BYTES, EarthEngine, TooLargeError
from entropice_core.fetch.tiles import Progress
from entropice_core.grids.base import Float64
from entropice_core.storage.durable import write_json
from entropice_core.storage.recipe import canonical_json, text_digest

VERSION = "1"
TILE_SCALES = (1, 2, 4, 8, 16)
_FEW = 2  # cells; parts of parts of a batch are looked for down to here


@dataclass
class EeReport:
    """What became of the batches. ``bytes_sent`` : about, of requests that were answered."""

    images: int = 0
    cells: int = 0
    there: int = 0
    fetched: int = 0
    split: int = 0
    requests: int = 0
    bytes_sent: int = 0
    bytes_kept: int = 0

    def facts(self) -> dict[str, Any]:
        """Numbers for people."""
        return {
            "images": self.images,
            "sums_of_cells": self.cells,
            "already_there": self.there,
            "fetched_now": self.fetched,
            "too_large_and_halved": self.split,
            "MB_sent": round(self.bytes_sent / 1e6, 2),
            "MB_kept_now": round(self.bytes_kept / 1e6, 2),
            "requests": self.requests,
        }

    def __str__(self) -> str:
        halved = f", {self.split} were too large and halved" if self.split else ""
        return (
            f"{self.images} images, {self.cells:,} sums of cells: {self.there} batches were there, "
            f"{self.fetched} fetched ({self.requests} requests, about {self.bytes_sent / 1e6:,.1f} MB sent, "
            f"{self.bytes_kept / 1e6:,.1f} MB kept){halved}"
        )


def bring_sums(
    engine: EarthEngine,
    config: AlphaEarthConfig,
    images: Sequence[EeImage],
    indexes: Mapping[str, CellIndex],
    data: Path,
    year: int,
    tell: Callable[[Progress], None] = lambda _: None,
    parallel: int = 4,
) -> tuple[EeReport, Path]:
    """Bring the sums of all cells in all images into the data folder; gives what was done and the list of files.

    One batch that fails does not stop the others: what failed is told together, and no list is written then.
    """
    if not 1 <= parallel <= MOST_PARALLEL:
        raise ConfigError(f"{parallel} requests at a time were asked for; Earth Engine allows 1 to {MOST_PARALLEL}.")
    listing = listing_path(config, data, year)
    work = _Work(engine, config, KeptFiles(listing.parent / f"{year}_{config.resolution_m}m_earth_engine"), tell)
    batches = make_batches(images, indexes, config)
    work.report.images, work.total = len(images), len(batches)
    _ = work.kept_before  # before threads write
    with ThreadPoolExecutor(max_workers=parallel, thread_name_prefix="earth-engine") as pool:
        made = list(pool.map(work.try_to_bring, batches))
    if work.failures:
        told = " ".join(sorted({str(error) for error in work.failures})[:3])
        raise SourceError(
            f"{len(work.failures)} of {len(batches)} batches could not be fetched; the others are kept. {told}"
        )
    files = [path for found in made for path in found]
    write_json(listing, describe_answers(config, images, indexes, files, listing, year))
    return work.report, listing


@dataclass
class _Work:
    """Batches on their way, from several threads."""

    engine: EarthEngine
    config: AlphaEarthConfig
    files: KeptFiles
    tell: Callable[[Progress], None]
    total: int = 0
    done: int = 0
    report: EeReport = field(default_factory=EeReport)
    failures: list[SourceError] = field(default_factory=list)
    lock: Any = field(default_factory=Lock)
    possible: int = 0

    @cached_property
    def with_squares(self) -> bool:
        """Whether sums of squares are asked for."""
        return "std" in self.config.parts

    @cached_property
    def kept_before(self) -> set[str]:
        """Keys of the answers that were there when the work began."""
        return self.files.keys()

    def try_to_bring(self, batch: Batch) -> list[Path]:
        """Bring one batch; a failure is written down."""
        try:
            found = self.bring(batch)
        except SourceError as error:
            with self.lock:
                self.failures.append(error)
            return []
        with self.lock:
            self.done += 1
            self.report.cells += batch.size
            text = f"{batch.image.name}: {batch.size} cells of {', '.join(self._keys_in(batch))}"
            self.tell(Progress(self.done, self.total, self.report.bytes_kept, text))
        return found

    def bring(self, batch: Batch) -> list[Path]:
        """Files of a batch: kept ones, or those of new answers, halved as often as needed."""
        there = self.files.find(self._key(batch))
        if there is not None:
            with self.lock:
                self.report.there += 1
            return [there]
        if batch.size > 1 and (batch.size > (self.possible or batch.size) or self._is_begun(batch)):
            return self._halves(batch)
        try:
            return [self._ask(batch)]
        except TooLargeError as error:
            if batch.size == 1:
                return [self._ask_slowly(batch, error)]
            with self.lock:
                self.report.split += 1
                self.possible = min(self.possible or batch.size, batch.size // 2 + batch.size % 2)
            return self._halves(batch)

    def _halves(self, batch: Batch) -> list[Path]:
        middle = (batch.size + 1) // 2
        return self.bring(batch.part(0, middle)) + self.bring(batch.part(middle, None))

    def _is_begun(self, batch: Batch) -> bool:
        """Whether an earlier run halved this batch: then it was too large."""
        if not self.kept_before:
            return False
        middle = (batch.size + 1) // 2
        halves = (batch.part(0, middle), batch.part(middle, None))
        return any(self._key(h) in self.kept_before or (h.size > _FEW and self._is_begun(h)) for h in halves)

    def _ask_slowly(self, batch: Batch, error: TooLargeError) -> Path:
        """One cell that is too much: the same with smaller pieces a worker."""
        for scale in TILE_SCALES[1:]:
            try:
                return self._ask(batch, scale)
            except TooLargeError as again:
                error = again
        raise SourceError(
            f"Cell {int(batch.cell_ids[0])} of {', '.join(self._keys_in(batch))} in image {batch.image.name} is too "
            f"much for Earth Engine even alone ({error}): take a coarser resolution_m than {self.config.resolution_m}."
        ) from error

    def _ask(self, batch: Batch, tile_scale: int = 1) -> Path:
        polygons = batch.polygons()
        size = about_bytes(polygons)
        if size > PAYLOAD_BYTES:
            raise TooLargeError(f"a request of about {size} bytes, the limit is {PAYLOAD_BYTES}")
        made = expression.sums_of_cells(
            batch.image, batch.others, polygons, batch.method, self.with_squares, tile_scale
        )
        with self.lock:
            self.report.requests += 1
        rows = self.engine.table(f"{batch.size} cells in {batch.image.name}", made)
        path = self._keep(batch, rows)
        with self.lock:
            self.report.fetched += 1
            self.report.bytes_sent += size
            self.report.bytes_kept += path.stat().st_size
        return path

    def _keep(self, batch: Batch, rows: Sequence[Mapping[str, Any]]) -> Path:
        names = expression.columns(self.with_squares)
        sums = np.full((batch.size, len(names)), np.nan)
        for row in rows:
            # A sum of no pixels is 0, or is left out.
            sums[int(row[expression.ROW])] = [float(row.get(name) or 0.0) for name in names]
        if np.isnan(sums).any() or len(rows) != batch.size:
            raise SourceError(
                f"Earth Engine answered {len(rows)} rows for {batch.size} cells in {batch.image.name}: one row a "
                "cell was expected; run the same command again."
            )
        header = {"image": batch.image.id, "grids": list(batch.keys), "columns": list(names), "method": batch.method}
        arrays: Arrays = {"grid": batch.grid.astype(np.uint8), "cell_ids": batch.cell_ids, "sums": sums}
        return self.files.write(self._key(batch), header, arrays)

    def _key(self, batch: Batch) -> str:
        place = batch.image.place
        recipe = {
            "versions": [VERSION, expression.CHORD_PIXELS],
            "image": [batch.image.id, batch.image.version, *_corner(batch.image.tile)],
            "others": [[str(other.path), *_corner(other)] for other in batch.others],
            "step": [place.step_x, place.step_y],
            "columns": list(expression.columns(self.with_squares)),
            "method": batch.method,
            "cells": [list(batch.keys), hashlib.sha256(batch.grid.tobytes() + batch.cell_ids.tobytes()).hexdigest()],
        }
        return text_digest(canonical_json(recipe))[:24]

    def _keys_in(self, batch: Batch) -> list[str]:
        return [batch.keys[i] for i in np.unique(batch.grid).tolist()]


def about_bytes(polygons: Sequence[Float64]) -> int:
    """How large a request will be, somewhat more than it is: measured, as writing it twice would double the work.

    >>> about_bytes([np.zeros((24, 2))] * 500)
    1010000
    """
    return 50_000 + sum(1200 + 30 * len(ring) for ring in polygons)


def _corner(tile: EmbeddingTile) -> list[float]:
    return [tile.zone, tile.place.left, tile.place.top, *tile.place.shape]

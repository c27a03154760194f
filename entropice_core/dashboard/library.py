"""One study's store for reading only: nothing is published, cached or generated, whatever is asked for.

``PartitionStore.open`` notes in the store which versions were checked since the machine was started; here that is kept
in memory, so that a store on a read-only disk, or somebody else's, is left as it is.
"""

import json
import os
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from entropice_core.config import Settings, Study
from entropice_core.errors import MissingPartitionError, StoreError
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.product import Product
from entropice_core.storage.layout import refuse_damage
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition
from entropice_core.storage.store import PartitionStore

if TYPE_CHECKING:
    import pandas as pd
    import xarray as xr
    from numpy.typing import NDArray

    from entropice_core.grids.base import Grid


@dataclass
class Library:
    """A study, where its results are, and what has been read of them.

    ``links``: addresses of the Dagster and MLflow servers, where somebody named them.
    """

    study: Study
    settings: Settings
    links: dict[str, str] = field(default_factory=dict)
    _manifests: dict[Path, tuple[int, Manifest]] = field(default_factory=dict, repr=False)
    _checked: set[tuple[str, str, str]] = field(default_factory=set, repr=False)

    @cached_property
    def store(self) -> PartitionStore:
        """The store of the study."""
        return PartitionStore(self.settings.store_root(self.study))

    @cached_property
    def products(self) -> dict[str, Product]:
        """The products of the study by dataset name."""
        return build_graph(self.study)

    def of_kind(self, kind: str) -> list[str]:
        """Names of the study's datasets of a kind (``model``), without the kind."""
        return [name.partition(".")[2] for name, product in self.products.items() if product.kind == kind]

    def grid(self, key: str) -> "Grid":
        """Open a grid by its key."""
        from entropice_core.grids import parse_grid_key

        return parse_grid_key(key)

    def manifest(self, dataset: str, partition: Partition) -> Manifest:
        """Read a manifest; one that did not change since is not read again."""
        path = self.store.layout.pointer(dataset, partition)
        try:
            stamp = path.stat().st_mtime_ns
        except (FileNotFoundError, NotADirectoryError):
            raise MissingPartitionError(self.missing_words(dataset, partition)) from None
        known = self._manifests.get(path)
        if known is None or known[0] != stamp:
            known = (stamp, self.store.manifest(dataset, partition))
            self._manifests[path] = known
        return known[1]

    def missing_words(self, dataset: str, partition: Partition) -> str:
        """Say that something was never built, and how to build it."""
        return f"{dataset} {partition} was not built yet: {self.command(dataset, partition)}"

    def command(self, dataset: str, partition: Partition | None = None, *options: str) -> str:
        """Give the command that builds a partition."""
        words = ["entropice", "build", dataset, "--study", self.settings.study]
        if partition is not None and partition.grid:
            words += ["--grid", partition.grid]
        if partition is not None and partition.year is not None:
            words += ["--year", str(partition.year)]
        return " ".join([*words, *options])

    def allow_command(self) -> str:
        """Give the command with which the owner of the store lets everybody read it."""
        return f"chmod -R o+rX {self.settings.home}"

    def has(self, dataset: str, partition: Partition) -> bool:
        """Say whether something was published."""
        return self.store.layout.pointer(dataset, partition).is_file()

    def folder(self, dataset: str, partition: Partition) -> Path:
        """Folder of the current version, every byte compared with its checksums the first time."""
        manifest = self.manifest(dataset, partition)
        path = self.store.layout.version(manifest)
        key = (dataset, partition.key, manifest.version)
        refuse_damage(path, manifest, full=key not in self._checked)
        self._checked.add(key)
        return path

    def open(self, dataset: str, partition: Partition) -> "xr.Dataset":
        """Open the current version of a dataset; values are read when they are asked for."""
        from entropice_core.storage.content import read_dataset

        return read_dataset(self.folder(dataset, partition))

    def read_json(self, dataset: str, partition: Partition, name: str) -> Any:
        """Read a JSON file of a bundle; None where the bundle has no such file."""
        path = self.folder(dataset, partition) / name
        if not path.is_file():
            return None
        try:
            return json.loads(path.read_text(encoding="utf-8"))
        except ValueError as error:
            raise StoreError(f"{path} is not JSON ({error}): build {dataset} {partition} again.") from error

    def read_table(self, dataset: str, partition: Partition, name: str) -> "pd.DataFrame | None":
        """Read a Parquet or CSV file of a bundle; None where the bundle has no such file."""
        import pandas as pd

        path = self.folder(dataset, partition) / name
        if not path.is_file():
            return None
        return pd.read_csv(path) if path.suffix == ".csv" else pd.read_parquet(path)

    def cells(self, grid: str) -> "xr.Dataset":
        """Open the cells of a grid."""
        return self.open("cells", Partition(grid))

    def features(self, grid: str, year: int) -> "xr.Dataset":
        """Open the features of all sources for one grid and year, joined as for training and prediction."""
        from entropice_core.features.assemble import assemble

        parts = {
            name: self.open(f"features.{name}", Partition(grid, year if config.is_yearly else None))
            for name, config in self.study.sources.items()
        }
        return assemble(self.cells(grid), parts)

    def partitions(self, dataset: str) -> list[Partition]:
        """Published partitions of a dataset, coarse to fine.

        Raises
        ------
        PermissionError
            Where folders may not be listed: nothing would be found there, which is not the same as nothing being there.
        """
        folder = self.store.root / dataset
        for place in (folder, *folder.glob("*/")):
            try:
                os.scandir(place).close()
            except (FileNotFoundError, NotADirectoryError):
                continue
        return self.store.partitions(dataset)

    def years(self, dataset: str, grid: str) -> list[int]:
        """Years of a dataset that were published on a grid."""
        return sorted(p.year for p in self.partitions(dataset) if p.grid == grid and p.year is not None)

    def grids(self, dataset: str) -> list[str]:
        """Grids of a dataset that were published, coarse to fine."""
        return list(dict.fromkeys(p.grid for p in self.partitions(dataset) if p.grid))

    def licence_words(self, dataset: str) -> tuple[str, ...]:
        """Name the data behind a dataset with their licences, a line for labels and one for predictors."""
        kind, _, name = dataset.partition(".")
        inventories = [name] if kind in ("labels", "inventory") else [self.study.target.inventory]
        sources = [name] if kind == "features" else list(self.study.sources)
        lines = []
        if kind not in ("features", "cells"):
            lines.append("Labels: " + _titles([self.study.inventories[n] for n in inventories]))
        if kind not in ("labels", "inventory", "cells"):
            lines.append("Predictors: " + _titles([self.study.sources[n] for n in sources]))
        return tuple(lines) or ("Land: GLOBE, NOAA, by the package global-land-mask (MIT).",)


def _titles(described: list[Any]) -> str:
    return "; ".join(f"{d.title} ({d.licence or 'licence not stated in the study'})" for d in described) + "."


def refused_words(error: PermissionError) -> str:
    """Say that something is there and may not be read.

    >>> refused_words(PermissionError(13, "Permission denied", "/store/cells"))
    '/store/cells may not be read by the user of this dashboard: its owner can allow it.'
    """
    return f"{error.filename} may not be read by the user of this dashboard: its owner can allow it."


def cell_text(grid_name: str, cell_id: int) -> str:
    """Write a cell id as people do: hexadecimal for H3, decimal for HEALPix.

    >>> cell_text("h3", 0x8404A4DFFFFFFFF), cell_text("healpix", 1234)
    ('8404a4dffffffff', '1234')
    """
    return f"{cell_id:x}" if grid_name == "h3" else str(cell_id)


def position_of(cell_ids: "NDArray[np.uint64]", cell_id: int) -> int | None:
    """Find a cell in sorted ids; None where it is not among them."""
    at = int(np.searchsorted(cell_ids, np.uint64(cell_id)))
    return at if at < cell_ids.size and int(cell_ids[at]) == cell_id else None


def parse_place(text: str, grid: "Grid") -> int | None:
    """Read a cell id, or ``longitude, latitude`` in degrees; None where it is neither."""
    words = text.replace(",", " ").split()
    try:
        if len(words) == 2:
            lon, lat = (float(word) for word in words)
            return int(grid.locate([lon], [lat])[0]) if abs(lat) <= 90 and abs(lon) <= 360 else None
        return int(words[0], 16 if grid.name == "h3" else 10) if len(words) == 1 else None
    except ValueError:
        return None

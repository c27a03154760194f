"""Predict any number of cells in bounded memory, chunk by chunk, here or on a cluster, with the same digest.

A chunk knows the files it needs, not their contents, so that it can travel to another process or machine that sees the
same folder. Chunks have one size wherever they run: sums in another order would change the last bits.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path

import numpy as np
import xarray as xr
from scipy.spatial import cKDTree

from entropice_core.applicability.trust import Trust, load_trust
from entropice_core.compute import Compute
from entropice_core.features.assemble import assemble
from entropice_core.prediction.infer import Arrays, as_dataset, check_features, predict_rows
from entropice_core.storage.content import read_dataset
from entropice_core.training.persist import LoadedModel, load_model

VERSION = "1"
CELLS = 32_768
"""Cells of a chunk: half a chunk of the store, so that 400 features of it are 100 MB."""


@dataclass(frozen=True)
class Chunk:
    """Some cells to predict, as they travel to a worker.

    Attributes
    ----------
    model : folder of the model
    grid : key of the grid
    cells : folder of the dataset of cells
    sources : name and folder of the features of each source
    start, stop : positions of the cells
    """

    model: Path
    grid: str
    cells: Path
    sources: tuple[tuple[str, Path], ...]
    start: int
    stop: int


def predict_study(
    model: Path, grid: str, cells: Path, sources: Mapping[str, Path], compute: Compute, size: int = CELLS
) -> xr.Dataset:
    """Predict every cell of a grid and year from what the store holds.

    Parameters
    ----------
    model : folder of a trained model
    grid : key of the grid
    cells, sources : folders of the datasets; the sources by name
    compute : where chunks run

    Returns
    -------
    Dataset with the variables of ``prediction.infer.predict_rows`` along ``cell``
    """
    here = read_dataset(cells)
    n = here.sizes["cell"]
    named = tuple(sorted(sources.items()))
    chunks = [Chunk(model, grid, cells, named, start, min(start + size, n)) for start in range(0, n, size)]
    parts = list(compute.map(predict_chunk, chunks))
    arrays = {name: np.concatenate([part[name] for part in parts]) for name in parts[0]}
    loaded, trust, _ = _open(model)
    return as_dataset(arrays, here, loaded, trust)


def predict_chunk(chunk: Chunk) -> Arrays:
    """Predict the cells of one chunk; reads nothing but them."""
    model, trust, tree = _open(chunk.model)
    rows = {"cell": slice(chunk.start, chunk.stop)}
    parts = {name: read_dataset(folder).isel(rows) for name, folder in chunk.sources}
    features = assemble(read_dataset(chunk.cells).isel(rows), parts)
    check_features(model, chunk.grid, features)
    return predict_rows(model, trust, features["features"].values, tree)


@lru_cache(maxsize=2)
def _open(folder: Path) -> tuple[LoadedModel, Trust, cKDTree]:
    """Read a model once for all chunks; a published folder never changes."""
    trust = load_trust(folder)
    return load_model(folder), trust, trust.applicability.tree()

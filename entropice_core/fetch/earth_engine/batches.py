"""Which cells are asked for in which image, in portions."""

from collections.abc import Mapping, Sequence
from dataclasses import dataclass

import numpy as np

from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.embeddings.tiles import EmbeddingTile, Neighbours
from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.streaming import Method, choose_method
from entropice_core.fetch.earth_engine import expression
from entropice_core.fetch.earth_engine.images import EeImage
from entropice_core.grids import parse_grid_key
from entropice_core.grids.base import Float64, Int64, UInt64
from entropice_core.grids.study_area import StudyArea


@dataclass(frozen=True)
class Batch:
    """Some cells in one image. ``grid`` : (n,) position in ``keys``; ``cell_ids`` : (n,)."""

    image: EeImage
    others: tuple[EmbeddingTile, ...]
    method: Method
    keys: tuple[str, ...]
    grid: Int64
    cell_ids: UInt64

    def part(self, begin: int, end: int | None) -> "Batch":
        """Some of the cells."""
        cells = slice(begin, end)
        return Batch(self.image, self.others, self.method, self.keys, self.grid[cells], self.cell_ids[cells])

    @property
    def size(self) -> int:
        """Number of cells."""
        return int(self.cell_ids.size)

    def polygons(self) -> list[Float64]:
        """Outlines of the cells, in their order."""
        made: list[Float64] = []
        for i, key in enumerate(self.keys):
            ids = self.cell_ids[self.grid == i]
            if ids.size:
                made += expression.polygons_of(self.image.place, parse_grid_key(key), ids)
        return made


def indexes_of(area: StudyArea, grids: Sequence[str]) -> dict[str, CellIndex]:
    """All cells of a study area by grid, land or not: which of them are land is decided later."""
    opened = {key: parse_grid_key(key) for key in grids}
    return {key: CellIndex(grid, ids) for key, grid in opened.items() if (ids := grid.cells(area)).size}


def make_batches(images: Sequence[EeImage], indexes: Mapping[str, CellIndex], config: AlphaEarthConfig) -> list[Batch]:
    """Batches in the order of images; within one, cells of pixel centres and of coverage apart."""
    neighbours = Neighbours([image.tile for image in images])
    methods = {key: _method(index, config) for key, index in indexes.items()}
    found = []
    for image in images:
        others = tuple(neighbours.of(image.tile))
        for method in sorted(set(methods.values())):
            keys = tuple(key for key in indexes if methods[key] == method)
            near = [indexes[key].cell_ids[indexes[key].near(image.place)] for key in keys]
            grid = np.repeat(np.arange(len(keys)), [ids.size for ids in near])
            whole = Batch(image, others, method, keys, grid, np.concatenate(near))
            step = config.cells_per_request
            found += [whole.part(begin, begin + step) for begin in range(0, whole.size, step)]
    return found


def _method(index: CellIndex, config: AlphaEarthConfig) -> Method:
    return choose_method(float(config.resolution_m) ** 2, float(index.grid.areas_m2(index.cell_ids).min()))

"""Pieces whose partial statistics several runs make at a time."""

import threading
import time
from functools import partial
from pathlib import Path

import numpy as np
from pyproj import CRS

from entropice_core.features.pieces import PartialFiles, Piece, bring_all, load
from entropice_core.features.quantity import Quantity
from entropice_core.features.streaming import Reducer
from entropice_core.features.tiles import Tile
from entropice_core.grids import parse_grid_key

COUNT = 24
PLACE = Tile("t", CRS("EPSG:32645"), 5e5, 7.5e6, 1000.0, -1000.0, (30, 30))
GRID = parse_grid_key("h3-5")


def test_two_runs_at_a_time_share_the_work_and_give_the_same(tmp_path: Path) -> None:
    lon, lat = PLACE.lonlat(*(part.ravel() for part in np.meshgrid(np.arange(5.0, 25.0), np.arange(5.0, 25.0))))
    cells = np.unique(GRID.locate(lon, lat))
    reducer = Reducer({"h3-5": cells}, [Quantity("x", "m", "x", 0.0, 100.0, step=0.5)], 1e3, 1e6)
    made: list[int] = []

    def make(number: int, only: list[str]) -> dict:
        made.append(number)
        time.sleep(0.03)
        return reducer.reduce(PLACE, [np.full(PLACE.shape, number, dtype=np.float32)], only=only)

    pieces = [Piece(str(i), ["h3-5"], lambda grid, i=i: f"{i:024x}", partial(make, i)) for i in range(COUNT)]
    make(0, ["h3-5"])  # compiles
    made.clear()
    found: list[list[dict[str, Path]]] = []

    def run() -> None:
        found.append(bring_all(pieces, PartialFiles(tmp_path), 1, "pieces", lambda _: None))

    runs = [threading.Thread(target=run) for _ in range(2)]
    for one in runs:
        one.start()
    for one in runs:
        one.join()
    assert set(made) == set(range(COUNT))
    assert len(made) < 1.5 * COUNT, "in step each would make all of them"
    assert found[0] == found[1]
    assert [float(load(paths["h3-5"]).statistic("mean")[0, 0]) for paths in found[0]] == list(range(COUNT))

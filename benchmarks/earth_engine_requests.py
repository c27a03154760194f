"""What asking Earth Engine for all land north of 60 N takes: requests, bytes up and down, processor time of the client.

``python -m benchmarks.earth_engine_requests``; figures are in ``earth_engine_requests.md``. Requests are built by the
real client for images of the real size (512 x 512 pixels of 320 m) at three latitudes; answers are rows of random
numbers written as the service writes them. Nothing is asked of Google: the local stand-in gives the client its
signatures. Time at Google is not known.
"""

import json
import time
from pathlib import Path

import numpy as np
from ee import serializer
from google.auth.credentials import AnonymousCredentials
from pyproj import CRS

from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.embeddings.tiles import EmbeddingTile
from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.tiles import Tile
from entropice_core.fetch.earth_engine import expression
from entropice_core.fetch.earth_engine.batches import Batch, make_batches
from entropice_core.fetch.earth_engine.images import EeImage
from entropice_core.fetch.earth_engine.session import connect
from entropice_core.fetch.patience import Patience
from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea
from tests.servers.earthengine import EarthEngineServer

KEYS = ("h3-3", "h3-4", "h3-5", "h3-6", "healpix-6", "healpix-7", "healpix-8", "healpix-9", "healpix-10")
IMAGES = 860
"""16.4 million km2 of land in images of 26,844 km2 are 611; files of 82 km showed 1.4 times as many, with coasts."""
CONFIG = AlphaEarthConfig(kind="alphaearth", title="t", path="{data}/{year}.json", route="earth_engine")


def image(zone: int, northing: float) -> EeImage:
    """An image of the real size on the central meridian."""
    place = Tile(f"z{zone}_{northing:g}", CRS.from_epsg(32600 + zone), 418_080.0, northing, 320.0, 320.0, (512, 512))
    return EeImage(place.name, "1", EmbeddingTile(Path(place.name), place, zone))


def request(batch: Batch) -> tuple[int, float]:
    """Bytes of a request, and processor seconds to build it."""
    begun = time.process_time()
    made = expression.sums_of_cells(batch.image, batch.others, batch.polygons(), batch.method, True, 1)
    size = len(json.dumps(serializer.encode(made, for_cloud_api=True)))
    return size, time.process_time() - begun


def answer(cells: int) -> int:
    """Bytes of an answer of so many rows."""
    names, rng = expression.columns(True), np.random.default_rng(1)
    rows = [dict(zip(names, rng.normal(0, 1e9, len(names)).tolist(), strict=True)) for _ in range(cells)]
    return len(json.dumps({"features": [{"type": "Feature", "geometry": None, "properties": row} for row in rows]}))


def main() -> None:
    images = [image(45, northing) for northing in (6_900_000.0, 7_700_000.0, 8_500_000.0)]
    whole = {key: parse_grid_key(key) for key in KEYS}
    area = StudyArea(59.0, (70.0, 59.0, 104.0, 80.0))
    indexes = {key: CellIndex(grid, grid.cells(area)) for key, grid in whole.items()}
    print("| grid | cells an image | requests an image | MB up | MB down | client s |\n|---|---|---|---|---|---|")
    total = np.zeros(5)
    for keys in [*((key,) for key in KEYS), KEYS]:
        batches = make_batches(images, {key: indexes[key] for key in keys}, CONFIG)
        made = [request(batch) for batch in batches]
        cells = sum(batch.size for batch in batches)
        down = answer(cells) if cells < 2000 else answer(2000) * cells / 2000
        total = np.array([cells, len(batches), sum(m[0] for m in made), down, sum(m[1] for m in made)]) / len(images)
        name = keys[0] if len(keys) == 1 else "all nine"
        shown = [
            f"{total[0]:.0f}",
            f"{total[1]:.1f}",
            *(f"{n:.2f}" for n in (total[2] / 1e6, total[3] / 1e6, total[4])),
        ]
        print(f"| {name} | {' | '.join(shown)} |")
        a, b, c, d, e = total * IMAGES
        print(f"|   all land | {a:,.0f} | {b:,.0f} | {c / 1e6:,.0f} | {d / 1e6:,.0f} | {e / 60:.1f} min |")


if __name__ == "__main__":
    with EarthEngineServer() as server:
        connect(server.url, "test-project", Patience(), AnonymousCredentials())
        main()

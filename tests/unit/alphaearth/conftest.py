"""Four generated tiles of two UTM zones, published on this machine."""

import pytest

from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.fetch.patience import Patience
from tests.servers.alphaearth import AefServer, two_zones, write_index, write_tile


@pytest.fixture(scope="session")
def published(tmp_path_factory):
    """The folder of the files, and their stored bytes by name."""
    folder = tmp_path_factory.mktemp("published")
    return folder, {tile.name: write_tile(folder, tile) for tile in two_zones()}


@pytest.fixture
def server(published):
    with AefServer(published[0]) as running:
        write_index(published[0] / "aef_index.parquet", two_zones(), running.files)
        yield running


@pytest.fixture
def config(server):
    return AlphaEarthConfig(
        kind="alphaearth",
        title="Generated embeddings",
        path="{data}/alphaearth/{year}.json",
        index=f"{server.files}/aef_index.parquet",
        resolution_m=40,
    )


@pytest.fixture
def waits():
    """Waiting takes no time and is written down."""
    slept: list[float] = []
    return slept, Patience(budget_s=100.0, first_s=1.0, sleep=slept.append)

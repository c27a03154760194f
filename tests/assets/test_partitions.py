"""Keys of Dagster and partitions of the store mean the same, in both directions and along every edge of the graph."""

from functools import cache
from typing import Any

import pytest

from entropice_assets.build import build_defs
from entropice_assets.keys import asset_key
from entropice_assets.partitions import StudyPartitions, to_key, to_partition
from entropice_core.config import load_study
from entropice_core.errors import ConfigError
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.product import Product
from entropice_core.storage.partition import Partition

STUDY = load_study("demo")
GRAPH = build_graph(STUDY)
PAIRS = [(product.dataset, need) for product in GRAPH.values() for need in product.needs]


@cache
def resolved() -> Any:
    return build_defs("demo").resolve_asset_graph()


@pytest.fixture
def asset_graph() -> Any:
    """Of each test, as what keeps Dagster from an instance of an earlier test is."""
    return resolved()


@pytest.mark.parametrize(
    ("dataset", "key", "partition"),
    [
        ("cells", "h3-3", Partition("h3-3")),
        ("cells", "healpix-6", Partition("healpix-6")),
        ("labels.darts", "h3-3|2021", Partition("h3-3", 2021)),
        ("inventory.darts", None, Partition()),
    ],
)
def test_a_key_becomes_a_partition_and_a_key_again(dataset: str, key: str | None, partition: Partition) -> None:
    assert to_partition(GRAPH[dataset], key) == partition
    assert to_key(partition) == key


@pytest.mark.parametrize(
    ("dataset", "key", "said"),
    [
        ("cells", "../../etc", "'../../etc/all' is not '<grid or all>"),
        ("cells", "h3-33", "did you mean 'h3-3'"),
        ("cells", "h3-3|2021", "is split by grid"),
        ("cells", None, "is split by grid"),
        ("labels.darts", "h3-3|21", "four digits"),
        ("labels.darts", "2021|h3-3", "has the year 'h3-3'"),
        ("inventory.darts", "h3-3", "is split by no partition"),
    ],
)
def test_a_key_that_names_no_partition_is_refused_before_it_becomes_a_path(
    dataset: str, key: str | None, said: str
) -> None:
    with pytest.raises(ConfigError, match=said.replace("|", r"\|").replace(".", r"\.")):
        to_partition(GRAPH[dataset], key)


@pytest.mark.parametrize("product", GRAPH.values(), ids=lambda p: p.dataset)
def test_dagster_offers_exactly_the_partitions_of_the_product_in_its_order(product: Product) -> None:
    definition = StudyPartitions(STUDY).of(product.dimensions)
    keys = [None] if definition is None else definition.get_partition_keys()
    assert [to_partition(product, key) for key in keys] == product.partitions(STUDY)


@pytest.mark.parametrize(("first", "last"), [(1990, 1992), (2024, 2099)])
def test_years_come_from_the_study_and_not_from_the_clock(first: int, last: int) -> None:
    years = STUDY.study.years.model_copy(update={"first": first, "last": last})
    study = STUDY.model_copy(update={"study": STUDY.study.model_copy(update={"years": years})})
    assert StudyPartitions(study).year.get_partition_keys() == [str(year) for year in range(first, last + 1)]


@pytest.mark.parametrize("dataset", [name for name, product in GRAPH.items() if product.needs])
def test_dagster_resolves_the_same_upstream_partitions_as_the_pipeline(asset_graph: Any, dataset: str) -> None:
    product = GRAPH[dataset]
    for partition in product.partitions(STUDY):
        wanted = {
            (need, to_key(up)) for need in product.needs for up in product.upstream(GRAPH[need], partition, STUDY)
        }
        found = asset_graph.get_parents_partitions(asset_key(dataset), to_key(partition)).parent_partitions
        assert {(k.asset_key.path[0], k.partition_key) for k in found} == {
            (n.replace(".", "_"), key) for n, key in wanted
        }


def test_the_study_has_every_kind_of_edge_that_the_mappings_must_serve() -> None:
    kinds = {(GRAPH[need].dimensions, GRAPH[dataset].dimensions) for dataset, need in PAIRS}
    grid, year, both, none = ("grid",), ("year",), ("grid", "year"), ()
    down = {(grid, grid), (grid, both), (both, both), (none, both), (both, grid), (grid, none)}
    assert kinds == {*down, (both, year), (both, none), (year, none), (none, none)}

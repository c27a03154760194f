"""Pieces of work and partitions on a real Dask cluster: the same results, in the same order, with the same digests."""

import pytest

from entropice_core.compute import Compute
from entropice_core.config import load_study
from entropice_core.pipeline.parallel import bring_up_to_date, share, with_what_they_need
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import select, tasks
from tests.assets.conftest import Tiny, make_tiny
from tests.cluster.conftest import Cluster, kill

pytestmark = [pytest.mark.slow, pytest.mark.timeout(300)]
WANTED = ("labels", "features", "training_set")


def digests(tiny: Tiny, compute: str) -> dict[str, str]:
    """Build labels and features of the tiny study with a way to compute."""
    study, graph = load_study(tiny.toml), tiny.graph()
    settings = tiny.settings().model_copy(update={"compute": compute})
    context = Context(study, settings)
    todo = with_what_they_need(graph, study, tasks(context, select(graph, WANTED), None, None))
    return {f"{d.dataset} {d.partition}": d.digest for d in bring_up_to_date(context, graph, todo, force=False)}


def test_a_cluster_gives_results_in_the_order_of_the_items(cluster: Cluster) -> None:
    compute = Compute.parse(cluster.address.replace("tcp", "dask"))
    assert list(compute.map(divmod_by_seven, range(20))) == [divmod(n, 7) for n in range(20)]


def test_pieces_that_need_a_gpu_go_to_workers_that_offer_one(cluster: Cluster) -> None:
    helper = cluster.start_worker("--resources", "GPU=1")
    compute = Compute.parse(cluster.address.replace("tcp", "dask+cuda"))
    try:
        assert list(compute.map(offers_gpu, range(6), {"GPU": 1})) == [True] * 6
    finally:
        kill(helper)


def offers_gpu(_: int) -> bool:
    from distributed import get_worker

    return "GPU" in get_worker().state.total_resources


def divmod_by_seven(number: int) -> tuple[int, int]:
    return divmod(number, 7)


def test_processes_and_a_cluster_publish_the_digests_of_a_serial_run(cluster: Cluster, tmp_path) -> None:
    data = tmp_path / "data"
    ways = ("serial", "processes:2", cluster.address.replace("tcp", "dask"))
    found = []
    for number, way in enumerate(ways):
        folder = tmp_path / str(number)
        folder.mkdir()
        found.append(digests(make_tiny(folder, data), way))
    assert found[0] == found[1] == found[2]
    assert {name.split()[0] for name in found[0]} >= {"labels.squares", "features.climate", "training_set"}


def test_shares_of_an_array_of_jobs_cover_everything_once(tmp_path) -> None:
    tiny = make_tiny(tmp_path, tmp_path / "data")
    study, graph = load_study(tiny.toml), tiny.graph()
    everything = tasks(tiny.context(), list(graph.values()), None, None)
    shares = [share(everything, index, 3) for index in range(3)]
    assert sorted(str(t[1]) + t[0].dataset for s in shares for t in s) == sorted(
        str(t[1]) + t[0].dataset for t in everything
    )
    needed = with_what_they_need(graph, study, [t for t in everything if t[0].dataset == "training_set"])
    names = [product.dataset for product, _ in needed]
    assert names.index("cells") < names.index("labels.squares") < names.index("training_set")
    assert "model.prevalence" not in names

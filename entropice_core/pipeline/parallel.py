"""Build independent partitions side by side: in processes of this machine, or on the workers of a Dask cluster.

Neither the partitions of one product need each other nor products that follow each other without using each other
(labels and features, all models, all maps): such a stretch of the list spreads out, then comes the next one. Each
worker calls the same ``materialize`` as everybody, so the digests are those of a serial run. With ``serial`` and
``threads`` partitions follow each other (threads are for the tiles and chunks inside a step: libraries that draw
pictures are not safe in threads).
"""

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from entropice_core.compute import Compute, Spread
from entropice_core.config import Settings, Study
from entropice_core.errors import ConfigError, EntropiceError
from entropice_core.pipeline.product import Context, Product
from entropice_core.pipeline.run import Graph, materialize, recipe_of
from entropice_core.storage.partition import Partition

Task = tuple[Product, Partition]


@dataclass(frozen=True)
class Job:
    """One partition to bring up to date, as it travels to a worker."""

    study: Study
    settings: Settings
    dataset: str
    partition: Partition
    force: bool


@dataclass(frozen=True)
class Done:
    """What became of one partition, as it travels back."""

    dataset: str
    partition: Partition
    digest: str
    built: bool
    seconds: float
    extra: dict[str, Any] = field(default_factory=dict)


def bring_up_to_date(context: Context, graph: Graph, todo: Sequence[Task], force: bool) -> Iterator[Done]:
    """Bring partitions up to date in the order of the list, side by side where ``ENTROPICE_COMPUTE`` says so."""
    compute = Compute.parse(context.settings.compute)
    if compute.kind in ("serial", "threads"):
        for product, partition in todo:
            yield _done(context, graph, product, partition, force)
        return
    _ = context.data_root  # a generated Arctic is written once, here, and not by every worker
    with _spreading(compute, context.settings) as (spread, spread_on_gpu):
        for stretch in stretches(todo):
            away = [n for n, task in enumerate(stretch) if force or not _is_current(context, graph, *task)]
            on_gpu = [n for n in away if spread_on_gpu and stretch[n][0].needs_gpu(context.settings)]
            others = [n for n in away if n not in on_gpu] if len(away) > 1 else []
            results: dict[int, Iterator[Done]] = {}
            for numbers, way in ((others, spread), (on_gpu, spread_on_gpu)):
                if numbers and way:
                    sent = [(stretch[n][0].dataset, stretch[n][1]) for n in numbers]
                    made = way(build_one, [Job(context.study, context.settings, *each, force) for each in sent])
                    results |= dict.fromkeys(numbers, made)
            for number, task in enumerate(stretch):
                yield next(results[number]) if number in results else _done(context, graph, *task, force)


@contextmanager
def _spreading(compute: Compute, settings: Settings) -> Iterator[tuple[Spread, Spread | None]]:
    """Give the way to workers, and that to workers which offer a GPU where the cluster is to have some."""
    with compute.workers_ready() as spread:
        if compute.kind == "dask" and settings.sums_on_gpu:
            with compute.workers_ready({"GPU": 1.0}) as on_gpu:
                yield spread, on_gpu
        else:
            yield spread, None


def _is_current(context: Context, graph: Graph, product: Product, partition: Partition) -> bool:
    """Look before work is sent away: where nothing is to be done no worker needs to start."""
    try:
        return context.store.is_current(product.dataset, partition, recipe_of(context, graph, product, partition))
    except EntropiceError:  # said where it is built, after what comes before it
        return False


def stretches(todo: Sequence[Task]) -> Iterator[list[Task]]:
    """Cut the list into stretches in which no product needs another one of the stretch."""
    stretch: list[Task] = []
    for task in todo:
        inside = {product.dataset for product, _ in stretch}
        if inside & set(task[0].needs):
            yield stretch
            stretch = []
        stretch.append(task)
    if stretch:
        yield stretch


def build_one(job: Job) -> Done:
    """Bring one partition up to date in a worker; the work inside stays in that worker."""
    from entropice_core.pipeline.graph import build_graph

    graph = build_graph(job.study)
    context = Context(job.study, job.settings.model_copy(update={"compute": "serial"}))
    return _done(context, graph, graph[job.dataset], job.partition, job.force)


def _done(context: Context, graph: Graph, product: Product, partition: Partition, force: bool) -> Done:
    outcome = materialize(context, graph, product, partition, force)
    return Done(product.dataset, partition, outcome.manifest.digest, outcome.built, outcome.seconds, outcome.extra)


def share(todo: Sequence[Task], index: int | None, count: int | None) -> list[Task]:
    """Take one of ``count`` equal shares of the work, for an array of jobs that know nothing of each other.

    >>> share(["a", "b", "c", "d", "e"], 1, 2)  # what they are does not matter here
    ['b', 'd']
    """
    if index is None and count is None:
        return list(todo)
    if index is None or count is None or not 0 <= index < count:
        raise ConfigError(
            f"--partition-index is {index} of --partition-count {count}: give both, the index from 0 to the count "
            "less 1."
        )
    return list(todo[index::count])


def with_what_they_need(graph: Graph, study: Study, wanted: Sequence[Task]) -> list[Task]:
    """Add the partitions that the wanted ones are made from, in an order in which everything needed comes first."""
    found: set[tuple[str, Partition]] = set()
    stack = list(wanted)
    while stack:
        product, partition = stack.pop()
        if (product.dataset, partition) not in found:
            found.add((product.dataset, partition))
            ups = [graph[need] for need in product.needs]
            stack += [(up, other) for up in ups for other in product.upstream(up, partition, study)]
    return [
        (product, partition)
        for product in graph.values()
        for partition in product.partitions(study, offered=True)
        if (product.dataset, partition) in found
    ]

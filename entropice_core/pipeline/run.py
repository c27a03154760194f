"""Bring partitions up to date: build what is missing or stale, leave the rest alone.

A partition is current when its recipe is: the same code version, configuration, inputs, source files and seed. The
digest of the recipe is compared, never a time stamp.
"""

from collections.abc import Iterable
from dataclasses import dataclass, field
from time import perf_counter
from typing import Any

from entropice_core.compute import one_blas_thread
from entropice_core.config import Study
from entropice_core.errors import ConfigError, MissingPartitionError, ProvenanceError, nearest_hint
from entropice_core.pipeline.product import Context, Product
from entropice_core.storage.manifest import Manifest
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import InputRef, Recipe, SourceFile

Graph = dict[str, Product]
ATTEMPTS = 3


@dataclass(frozen=True)
class Outcome:
    """What became of one partition."""

    product: Product
    partition: Partition
    manifest: Manifest
    built: bool
    seconds: float
    extra: dict[str, Any] = field(default_factory=dict)


def recipe_of(context: Context, graph: Graph, product: Product, partition: Partition) -> Recipe:
    """Say how a partition would be made now.

    Raises
    ------
    MissingPartitionError
        When something that it is made from was not built yet; the sentence names it.
    """
    inputs = [
        _reference(context, need, up, product, partition)
        for need in product.needs
        for up in product.upstream(graph[need], partition, context.study)
    ]
    return Recipe(
        step=product.dataset,
        code_version=product.code_version,
        config=product.config,
        inputs=tuple(inputs),
        sources=_sources(context, product, partition),
        seed=context.study.study.seed if product.draws_random else 0,
    )


def _reference(context: Context, need: str, up: Partition, product: Product, partition: Partition) -> InputRef:
    try:
        return context.store.manifest(need, up).ref
    except MissingPartitionError as error:
        raise MissingPartitionError(
            f"{product.dataset} {partition} is made from {need} {up}, which was never built: build that first "
            f"(entropice build {need}, or materialize it in Dagster)."
        ) from error


def _sources(context: Context, product: Product, partition: Partition) -> tuple[SourceFile, ...]:
    if product.files is None:
        return ()
    return context.store.fingerprints(sorted(product.files(context, partition)), context.data_root)


def materialize(context: Context, graph: Graph, product: Product, partition: Partition, force: bool = False) -> Outcome:
    """Bring one partition up to date and say what was done."""
    begun = perf_counter()
    recipe = recipe_of(context, graph, product, partition)
    built = force or not context.store.is_current(product.dataset, partition, recipe)
    if built:
        context.say(f"building {product.dataset} {partition}")
        _build(context, graph, product, partition, recipe)
    manifest = context.store.manifest(product.dataset, partition)
    extra = product.after(context, partition) if product.after else {}
    return Outcome(product, partition, manifest, built, perf_counter() - begun, extra)


def _build(context: Context, graph: Graph, product: Product, partition: Partition, recipe: Recipe) -> None:
    """Make and publish one partition; refuse what was made while its inputs were replaced by another process."""
    for _ in range(ATTEMPTS):
        with context.scratch() as folder, one_blas_thread():
            made = product.build(context, partition, folder)
            now = recipe_of(context, graph, product, partition)
            if now.digest == recipe.digest:
                context.store.publish(
                    product.dataset,
                    partition,
                    made.content,
                    recipe,
                    counts=made.counts,
                    notes=made.notes,
                    provisional=made.provisional,
                    schema=made.schema,
                    volatile=made.volatile,
                )
                return
        recipe = now
    raise ProvenanceError(
        f"What {product.dataset} {partition} is made from was replaced {ATTEMPTS} times while it was being made: "
        "another process works on this study with other settings; wait for it, or give this study a name of its own."
    )


def select(graph: Graph, names: Iterable[str]) -> list[Product]:
    """Find products by dataset name or by kind (``labels`` means every inventory's), in the order of the graph."""
    wanted = list(names)
    if not wanted:
        return list(graph.values())
    kinds = {product.kind for product in graph.values()}
    for name in wanted:
        if name not in graph and name not in kinds:
            raise ConfigError(f"There is no dataset {name!r}; {nearest_hint(name, sorted({*graph, *kinds}))}.")
    return [p for p in graph.values() if p.dataset in wanted or p.kind in wanted]


def of_sources(products: Iterable[Product], study: Study, names: Iterable[str]) -> list[Product]:
    """Keep the features of some sources, each named as in the study or by its kind (``alphaearth``)."""
    wanted, kinds = set(names), {name: config.kind for name, config in study.sources.items()}
    for name in sorted(wanted):
        if name not in kinds and name not in kinds.values():
            hint = nearest_hint(name, sorted({*kinds, *kinds.values()}))
            raise ConfigError(f"Study {study.study.name!r} has no source {name!r}, nor one of that kind; {hint}.")
    chosen = {f"features.{name}" for name, kind in kinds.items() if {name, kind} & wanted}
    kept = [product for product in products if product.dataset in chosen]
    if not kept:
        raise ConfigError(
            "Only features are made from one source: name the dataset `features`, or none, with --source."
        )
    return kept


def one(graph: Graph, name: str) -> Product:
    """Find a product by its dataset name; an unknown name is an error with the nearest."""
    if name not in graph:
        raise ConfigError(f"There is no dataset {name!r}; {nearest_hint(name, graph)}.")
    return graph[name]


def tasks(
    study_context: Context, products: Iterable[Product], grids: set[str] | None, years: set[int] | None
) -> list[tuple[Product, Partition]]:
    """List the partitions to bring up to date, in an order in which everything needed comes first."""
    return [
        (product, partition)
        for product in products
        for partition in product.partitions(study_context.study, offered=years is not None)
        if (grids is None or partition.grid is None or partition.grid in grids)
        and (years is None or partition.year is None or partition.year in years)
    ]

"""What happens by itself.

``published_elsewhere`` is on from the start: it tells Dagster what the command line or a cluster published into the
same store, with pictures and data versions, so that the pages show the truth. It starts no run.

``changed_input_files`` is off until it is switched on under Automation: it compares the input files of the study with
the checksums in the store and asks for what was made from a file that has changed. What was never built is left alone:
a first build is a decision.
"""

from collections.abc import Callable, Iterator, Sequence
from datetime import UTC, datetime
from time import perf_counter
from typing import TypeAlias

import dagster as dg

from entropice_assets.jobs import Job, job_name
from entropice_assets.keys import asset_key
from entropice_assets.partitions import to_key
from entropice_assets.provenance import CODE_VERSION, DATA_VERSION, DIMENSION, USER_PROVIDED
from entropice_assets.resources import EntropiceResource
from entropice_assets.results import Metadata, finish
from entropice_core.errors import EntropiceError
from entropice_core.pipeline.product import Context, Product
from entropice_core.pipeline.run import Graph, Outcome, recipe_of
from entropice_core.storage.partition import Partition

Seen: TypeAlias = tuple[Product, Partition]
EVERY_SECONDS = 300
MOST_AT_ONCE = 50
"""Requests of one look; the next look asks for the rest."""
LOOKING_SECONDS = 15
"""A picture takes a second or more, and a look must end within a minute, or Dagster stops it; the next one goes on."""
SETTLED_SECONDS = 30
"""A run of Dagster itself publishes first and reports then: what is younger is left to it."""


def make_sensors(graph: Graph, jobs: Sequence[Job]) -> list[dg.SensorDefinition]:
    """Make the sensors of a study."""
    readers = [product for product in graph.values() if product.files is not None]

    @dg.sensor(
        jobs=[job for job in jobs if job.name in {job_name(graph, product) for product in readers}],
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Asks for partitions again whose input files have changed since they were built.",
    )
    def changed_input_files(context: dg.SensorEvaluationContext, entropice: EntropiceResource) -> dg.SensorResult:
        requests, problems = [], []
        study = entropice.context()
        for product in readers:
            try:
                requests += list(_requests(study, graph, product))
            except EntropiceError as error:
                problems.append(f"{product.dataset}: {error}")
        for problem in problems:
            context.log.warning(problem)
        reason = "; ".join(problems) or "No input file has changed."
        return dg.SensorResult(requests[:MOST_AT_ONCE]) if requests else dg.SensorResult(skip_reason=reason)

    return [changed_input_files, _reporter(graph)]


def _reporter(graph: Graph) -> dg.SensorDefinition:
    @dg.sensor(
        minimum_interval_seconds=30,
        default_status=dg.DefaultSensorStatus.RUNNING,
        description="Reports what was published into the store outside of Dagster. Starts no run.",
    )
    def published_elsewhere(context: dg.SensorEvaluationContext, entropice: EntropiceResource) -> dg.SensorResult:
        study, begun = entropice.context(), perf_counter()
        todo, events = after(published(study, graph), context.cursor), []
        for seen in todo:
            event = unreported(context.instance, study, *seen, SETTLED_SECONDS, context.log.warning)
            events += [event] if event else []
            context.update_cursor(_place(seen))
            if perf_counter() - begun > LOOKING_SECONDS:
                break
        return dg.SensorResult(asset_events=events, skip_reason=None if events else "Nothing new was published.")

    return published_elsewhere


def published(study: Context, graph: Graph) -> list[Seen]:
    """List what is published of the study, in the order of the graph."""
    found: list[Seen] = []
    for product in graph.values():
        there = set(study.store.partitions(product.dataset))
        found += [(product, p) for p in product.partitions(study.study, offered=True) if p in there]
    return found


def after(found: Sequence[Seen], place: str | None) -> list[Seen]:
    """Go on where the look before ended, and round: a large store is not looked through in one minute.

    >>> from types import SimpleNamespace
    >>> [each[1] for each in after([(SimpleNamespace(dataset="cells"), name) for name in "abc"], "cells b")]
    ['c', 'a', 'b']
    """
    places = [_place(seen) for seen in found]
    start = places.index(place) + 1 if place in places else 0
    return [*found[start:], *found[:start]]


def _place(seen: Seen) -> str:
    return f"{seen[0].dataset} {seen[1]}"


def unreported(
    instance: dg.DagsterInstance,
    study: Context,
    product: Product,
    partition: Partition,
    settled_seconds: float,
    warn: Callable[[str], None],
) -> dg.AssetMaterialization | None:
    """Describe a published partition, with its picture, where Dagster has not heard of its version.

    One that cannot be read is warned of and left out, so that it does not hide those after it.
    """
    try:
        manifest = study.store.manifest(product.dataset, partition)
        age = datetime.now(UTC) - datetime.fromisoformat(manifest.created)
        # abs: on a machine whose clock is hours ahead it is settled as well
        if abs(age.total_seconds()) < settled_seconds or _known(instance, product, partition) == manifest.digest:
            return None
        outcome = Outcome(product, partition, manifest, built=False, seconds=0.0)
        return _event(product, partition, manifest.digest, finish(study, outcome).metadata)
    except EntropiceError as error:
        warn(f"{product.dataset} {partition} was not reported: {error}")
        return None


def _known(instance: dg.DagsterInstance, product: Product, partition: Partition) -> str | None:
    """Read the data version that Dagster last heard of."""
    key = to_key(partition)
    wanted = dg.AssetRecordsFilter(asset_key(product.dataset), asset_partitions=[key] if key else None)
    records = instance.fetch_materializations(wanted, limit=1).records
    last = records[0].asset_materialization if records else None
    return (last.tags or {}).get(DATA_VERSION) if last else None


def _event(product: Product, partition: Partition, digest: str, metadata: Metadata) -> dg.AssetMaterialization:
    dimensions = {"grid": partition.grid, "year": partition.year}
    both = all(value is not None for value in dimensions.values())
    split = {f"{DIMENSION}{name}": str(value) for name, value in dimensions.items() if both}
    versions = {DATA_VERSION: digest, USER_PROVIDED: "true", CODE_VERSION: product.code_version}
    return dg.AssetMaterialization(
        asset_key(product.dataset), partition=to_key(partition), metadata=metadata, tags={**split, **versions}
    )


def _requests(study: Context, graph: Graph, product: Product) -> Iterator[dg.RunRequest]:
    for partition in study.store.partitions(product.dataset):
        if partition not in product.partitions(study.study, offered=True):
            continue  # left from an earlier version of the study
        recipe = recipe_of(study, graph, product, partition)
        published = study.store.manifest(product.dataset, partition).recipe
        if recipe.sources != published.sources:
            yield _request(job_name(graph, product), product, partition, recipe.digest)


def _request(job: str, product: Product, partition: Partition, recipe: str) -> dg.RunRequest:
    return dg.RunRequest(
        job_name=job,
        run_key=f"{product.dataset} {partition} {recipe[:16]}",
        partition_key=to_key(partition),
        asset_selection=[asset_key(product.dataset)],
        tags={"entropice/reason": "an input file has changed"},
    )

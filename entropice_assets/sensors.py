"""What starts by itself: nothing until it is switched on under Automation.

``changed_input_files`` compares the input files of the study with the checksums in the store and asks for what was
made from a file that has changed. What was never built is left alone: a first build is a decision.
"""

from collections.abc import Iterator, Sequence

import dagster as dg

from entropice_assets.jobs import Job, job_name
from entropice_assets.keys import asset_key
from entropice_assets.partitions import to_key
from entropice_assets.resources import EntropiceResource
from entropice_core.errors import EntropiceError
from entropice_core.pipeline.product import Context, Product
from entropice_core.pipeline.run import Graph, recipe_of
from entropice_core.storage.partition import Partition

EVERY_SECONDS = 300
MOST_AT_ONCE = 50
"""Requests of one look; the next look asks for the rest."""


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

    return [changed_input_files]


def _requests(study: Context, graph: Graph, product: Product) -> Iterator[dg.RunRequest]:
    for partition in study.store.partitions(product.dataset):
        if partition not in product.partitions(study.study):
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

"""Make an asset from a product of the pipeline.

The body does what ``entropice build`` does, through the same function, so that both publish the same digests. What an
asset is made from, its code version and its partitions are read from the product.
"""

import json
from collections.abc import Iterator
from dataclasses import replace
from enum import Enum
from typing import cast

import dagster as dg
from pydantic import Field

from entropice_assets.asset_checks import check_specs
from entropice_assets.automation import fetched_for, when_updated
from entropice_assets.dask import RESOURCES_TAG
from entropice_assets.failures import as_failure
from entropice_assets.keys import asset_key
from entropice_assets.partitions import StudyPartitions, requested, to_partition
from entropice_assets.provenance import log_again, log_finished
from entropice_assets.resources import EntropiceResource
from entropice_assets.results import Part, finish, to_result
from entropice_core.config import Settings
from entropice_core.pipeline.product import Context, Product
from entropice_core.pipeline.run import Graph, Outcome, materialize
from entropice_core.pipeline.steps import permuted_again

KINDS = {
    "cells": {"zarr"},
    "inventory": {"parquet"},
    "labels": {"zarr"},
    "labels_mean": {"zarr"},
    "label_sensitivity": {"csv"},
    "label_agreement": {"csv", "png"},
    "features": {"zarr"},
    "training_set": {"zarr"},
    "model": {"scikitlearn", "mlflow"},
    "prediction": {"zarr"},
    "map": {"geoparquet", "png"},
    "proxies": {"csv", "png"},
    "priority": {"geoparquet", "png"},
    "comparison": {"csv", "png"},
    "map_agreement": {"csv", "png"},
    "report": {"markdown", "html"},
    "independent": {"csv"},
}
"""What each kind of dataset is stored as; shown as badges."""

PARTITIONS_PER_RUN = 10
"""Starting a process costs more than most partitions do, and one failure should not stop many of them."""


class BuildConfig(dg.Config):
    """What can be asked for when an asset is materialized."""

    force: bool = Field(default=False, description="Build again, also what is current.")


class Control(Enum):
    """What may be run on a model once more, beside what the study asks for."""

    NONE = "none"
    PERMUTED_LABELS = "permuted_labels"


class TrainConfig(BuildConfig):
    """What can be asked for when a model is trained. What it learns stands in the study, and nowhere else."""

    control: Control = Field(
        default=Control.NONE,
        description="PERMUTED_LABELS: afterwards shuffle the labels among the cells and train again, with the chosen "
        "parameters on the same folds. The AUC must be chance. It is shown with the run and changes no result.",
    )
    control_seed: int = Field(default=1, ge=0, description="Another seed shuffles otherwise.")


def make_room(room: str, graph: Graph, partitions: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Make the assets of one room of the science, in the order of the pipeline."""
    return [make_asset(product, graph, partitions) for product in graph.values() if product.group == room]


def make_asset(product: Product, graph: Graph, partitions: StudyPartitions) -> dg.AssetsDefinition:
    """Make the asset that brings the partitions of one product up to date."""
    split = partitions.of(product.dimensions)
    form = TrainConfig if product.kind == "model" else BuildConfig
    fetched = fetched_for(product, partitions.study)

    @dg.asset(
        key=asset_key(product.dataset),
        deps=[*(asset_key(need) for need in product.needs), *fetched],
        partitions_def=split,
        automation_condition=when_updated(fetched),
        backfill_policy=backfill_policy(product),
        check_specs=check_specs(product),
        group_name=product.group,
        description=describe_product(product),
        kinds=KINDS[product.kind],
        tags={"entropice/kind": product.kind},
        code_version=product.code_version,
        op_tags={RESOURCES_TAG: json.dumps(needs_of(product))},
        pool=pool_of(product),
    )
    def build(
        context: dg.AssetExecutionContext,
        config: form,  # type: ignore[valid-type]
        entropice: EntropiceResource,
    ) -> Iterator[dg.MaterializeResult[None]]:
        asked, parts = cast(BuildConfig, config), dict[str | None, Part]()
        with as_failure():
            study = entropice.context(context.log.info, partitions.study, entropice.run_tags(context.run.run_id))
        for key in requested(context):
            with as_failure():
                outcome = materialize(study, graph, product, to_partition(product, key), asked.force)
                parts[key] = finish(study, controlled(study, outcome, asked))
            log_finished(context, key, parts[key])
        yield to_result(product, parts)
        log_again(context, parts)

    return build


def controlled(study: Context, outcome: Outcome, config: BuildConfig) -> Outcome:
    """Run the control that was asked for, and let the outcome tell what it found."""
    if not isinstance(config, TrainConfig) or config.control is Control.NONE:
        return outcome
    name = outcome.product.dataset.partition(".")[2]
    found = permuted_again(name, study, outcome.partition, config.control_seed)
    return replace(outcome, extra={**outcome.extra, "permuted_labels_again": found["sentence"]})


def needs_of(product: Product) -> dict[str, float]:
    """Say what a step needs of the worker that runs it: memory in GB, and a GPU where its model or its sums do."""
    settings = Settings.from_environment()
    memory = {"MEMORY": settings.memory_of(product.kind)}
    return {**memory, "GPU": 1} if product.needs_gpu(settings) else memory


def pool_of(product: Product) -> str | None:
    """Let models wait for each other, and whatever asks for a GPU for the GPU."""
    if product.kind != "model":
        return "gpu" if product.needs_gpu(Settings.from_environment()) else None
    return "gpu" if product.config["model"]["params"].get("device") in ("cuda", "auto") else "training"


def backfill_policy(product: Product) -> dg.BackfillPolicy | None:
    """Put several years into one run; models get a run each, as one trains for long and may fail alone."""
    if "year" not in product.dimensions:
        return None
    return dg.BackfillPolicy.multi_run(max_partitions_per_run=PARTITIONS_PER_RUN)


def describe_product(product: Product) -> str:
    """Say in the catalogue what an asset is, with its source where the study names one."""
    config = product.config.get("inventory", product.config)
    if not isinstance(config, dict):
        return product.title
    doi = f"https://doi.org/{config['doi']}" if config.get("doi") else ""
    named = {"Citation": config.get("citation"), "DOI": doi, "Licence": config.get("licence")}
    lines = [f"- {name}: {value}" for name, value in named.items() if value]
    parts = (f"{product.title}.", str(config.get("statement") or ""), "\n".join(lines))
    return "\n\n".join(part for part in parts if part)

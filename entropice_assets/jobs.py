"""Jobs: the steps of a study, in the order in which they can be started.

A job has one partition definition, and what is split by grid alternates with what is split by grid and year. So the
products are put into steps: as many at once as share a definition, one step later where the definition changes.
"""

from collections.abc import Sequence
from typing import Any, TypeAlias

import dagster as dg

from entropice_assets.keys import asset_key, files_key
from entropice_core.config import Study
from entropice_core.pipeline.product import Product
from entropice_core.pipeline.run import Graph

Job: TypeAlias = Any  # what define_asset_job returns has no public name in Dagster


def make_jobs(graph: Graph) -> list[Job]:
    """Make one job for each step and partition definition."""
    groups: dict[str, list[Product]] = {}
    for product in graph.values():
        groups.setdefault(job_name(graph, product), []).append(product)
    return [_job(name, products) for name, products in sorted(groups.items())]


def make_fetch_jobs(study: Study) -> dict[str, Job]:
    """Make one job for each source whose files are fetched, by source."""
    return {
        name: dg.define_asset_job(
            name=f"fetch_{name}",
            selection=dg.AssetSelection.assets(files_key(name)),
            description=f"By year: fetch the files of {name}.",
        )
        for name in study.fetch
    }


def job_name(graph: Graph, product: Product) -> str:
    """Name the job that builds a product, such as ``step2_labels_features``."""
    step = step_of(graph, product)
    together = [p for p in graph.values() if step_of(graph, p) == step and p.dimensions == product.dimensions]
    return "_".join([f"step{step}", *dict.fromkeys(p.group for p in together)])


def step_of(graph: Graph, product: Product) -> int:
    """Count how often the partition definition changes on the way to a product, from 1."""
    ups = [graph[need] for need in product.needs]
    return max((step_of(graph, up) + (up.dimensions != product.dimensions) for up in ups), default=1)


def _job(name: str, products: Sequence[Product]) -> Job:
    split = " and ".join(products[0].dimensions) or "the whole study"
    return dg.define_asset_job(
        name=name,
        selection=dg.AssetSelection.assets(*(asset_key(product.dataset) for product in products)),
        description=f"By {split}: {', '.join(product.dataset for product in products)}.",
    )

"""Put the code location together. The only assembler: the UI, the tests and scripts call ``build_defs``.

Keep logic of assets, jobs and sensors in their own modules.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from entropice_assets.alerts import failed_runs
from entropice_assets.assets import (
    comparison,
    dataset,
    embeddings,
    files,
    grids,
    labels,
    models,
    predictions,
    sources,
    tiles,
)
from entropice_assets.automation import make_automation
from entropice_assets.jobs import make_fetch_jobs, make_jobs
from entropice_assets.partitions import StudyPartitions
from entropice_assets.releases import make_release_jobs, make_release_sensors, release_resources
from entropice_assets.resources import EntropiceResource
from entropice_assets.schedules import make_schedules
from entropice_assets.sensors import make_sensors
from entropice_core.compute import Compute
from entropice_core.config import Settings, load_study
from entropice_core.pipeline.graph import build_graph

ROOMS = (grids, labels, files, tiles, embeddings, sources, dataset, models, predictions, comparison)


def build_defs(study: str | None = None, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Make the definitions of a study.

    Parameters
    ----------
    study : name of a preset or path of a TOML; ``ENTROPICE_STUDY``, or the demo, when not given
    resource_overrides : resources that take the place of the usual ones, by name
    """
    settings = Settings.from_environment()
    name = study or settings.study
    loaded = load_study(name)
    graph, partitions = build_graph(loaded), StudyPartitions(loaded)
    jobs, fetch_jobs = make_jobs(graph), make_fetch_jobs(loaded)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # partition mappings and backfill policies
        return dg.Definitions(
            assets=[asset for room in ROOMS for asset in room.build(graph, partitions)],
            jobs=[*jobs, *fetch_jobs.values(), *make_release_jobs(loaded)],
            schedules=make_schedules(loaded, fetch_jobs),
            sensors=[
                *make_sensors(graph, jobs),
                *make_release_sensors(loaded),
                *make_automation(graph, loaded),
                failed_runs,
            ],
            resources={
                "entropice": EntropiceResource(study=name),
                **release_resources(loaded),
                **(resource_overrides or {}),
            },
            executor=_executor(Compute.parse(settings.compute)),
        )


def _executor(compute: Compute) -> dg.ExecutorDefinition:
    """Run steps as processes of the machine of the run, or on the workers of the Dask cluster that was named."""
    if compute.kind != "dask":
        return dg.multiprocess_executor
    from entropice_assets.dask.executor import dask_steps_executor

    return dask_steps_executor(str(compute.address))

"""Put the code location together. The only assembler: the UI, the tests and scripts call ``build_defs``.

Keep logic of assets, jobs and sensors in their own modules.
"""

import warnings
from collections.abc import Mapping
from typing import Any

import dagster as dg

from entropice_assets.assets import comparison, dataset, grids, labels, models, predictions, sources
from entropice_assets.jobs import make_jobs
from entropice_assets.partitions import StudyPartitions
from entropice_assets.resources import EntropiceResource
from entropice_assets.sensors import make_sensors
from entropice_core.config import Settings, load_study
from entropice_core.pipeline.graph import build_graph

ROOMS = (grids, labels, sources, dataset, models, predictions, comparison)


def build_defs(study: str | None = None, resource_overrides: Mapping[str, Any] | None = None) -> dg.Definitions:
    """Make the definitions of a study.

    Parameters
    ----------
    study : name of a preset or path of a TOML; ``ENTROPICE_STUDY``, or the demo, when not given
    resource_overrides : resources that take the place of the usual ones, by name
    """
    name = study or Settings.from_environment().study
    loaded = load_study(name)
    graph, partitions = build_graph(loaded), StudyPartitions(loaded)
    jobs = make_jobs(graph)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", dg.BetaWarning)  # partition mappings and backfill policies
        return dg.Definitions(
            assets=[asset for room in ROOMS for asset in room.build(graph, partitions)],
            jobs=jobs,
            sensors=make_sensors(graph, jobs),
            resources={"entropice": EntropiceResource(study=name), **(resource_overrides or {})},
            executor=dg.multiprocess_executor,
        )

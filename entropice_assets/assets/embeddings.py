"""Embeddings that are fetched: one asset a source, one calendar year a partition.

The body does what ``entropice fetch alphaearth`` does, by the route that the source names; the pool says how many years
ask a server at a time. What comes lies in the data folder, nothing is in the store. A run that was killed goes on with
what is there.
"""

from typing import Any

import dagster as dg

from entropice_assets.failures import as_failure
from entropice_assets.keys import files_key
from entropice_assets.partitions import StudyPartitions
from entropice_assets.resources import EntropiceResource
from entropice_assets.values import to_metadata
from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.pipeline.run import Graph

POOLS = {"files": "alphaearth", "earth_engine": "earth_engine"}
"""Years that are fetched at a time, by route; `dagster instance concurrency set earth_engine 1` allows one."""
CODE_VERSION = "1"
_ORIGIN = {
    "files": "one overview of the files of {config.index} that the study's cells touch",
    "earth_engine": "sums of the study's cells over {config.asset}, asked of Earth Engine",
}


def build(_: Graph, partitions: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Make the assets of the embeddings that sources of the study read."""
    sources = partitions.study.sources.items()
    return [make_files(name, config, partitions) for name, config in sources if isinstance(config, AlphaEarthConfig)]


def make_files(name: str, config: AlphaEarthConfig, partitions: StudyPartitions) -> dg.AssetsDefinition:
    """Make the asset that brings the embeddings of one source into the data folder."""
    origin = _ORIGIN[config.route].format(config=config)

    @dg.asset(
        key=files_key(name),
        partitions_def=partitions.of_embeddings(config),
        group_name="files",
        description=f"{config.title}, by calendar year: {origin}.",
        kinds={"geotiff" if config.route == "files" else "numpy"},
        tags={"entropice/kind": "files"},
        code_version=CODE_VERSION,
        pool=POOLS[config.route],
    )
    def fetch(context: dg.AssetExecutionContext, entropice: EntropiceResource) -> dg.MaterializeResult[None]:
        from entropice_core.fetch.embeddings import bring_embeddings
        from entropice_core.fetch.patience import Patience

        with as_failure():
            study = entropice.context(context.log.info, partitions.study)
            year, grids = int(context.partition_key), study.study.study.grids
            patience, tell = Patience(tell=study.say), _teller(study.say)
            facts = bring_embeddings(config, study.area, grids, study.data_root, year, patience, tell).facts()
        metadata = {key: to_metadata(value) for key, value in facts.items()}
        return dg.MaterializeResult(metadata=metadata, data_version=dg.DataVersion(facts["digest"]))

    return fetch


def _teller(say: Any) -> Any:
    def tell(progress: Any) -> None:
        if progress.text:
            say(f"{progress.text} ({progress.done} of {progress.total}, {progress.bytes / 1e6:,.1f} MB)")

    return tell

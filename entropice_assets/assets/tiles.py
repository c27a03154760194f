"""Tiles of elevation models that are fetched from a catalogue: one asset a source, without partitions.

The body does what ``entropice fetch arcticdem`` does; the pool says how many such runs ask servers at a time. The tiles
lie in the data folder with their receipts, nothing is in the store.
"""

import json
from typing import Any

import dagster as dg

from entropice_assets.failures import as_failure
from entropice_assets.keys import files_key
from entropice_assets.partitions import StudyPartitions
from entropice_assets.resources import EntropiceResource
from entropice_assets.values import to_metadata
from entropice_core.config.sources.arcticdem import ArcticDemConfig
from entropice_core.pipeline.run import Graph

POOL = "stac"
"""Runs that fetch tiles at a time; `dagster instance concurrency set stac 1` allows one."""
CODE_VERSION = "1"


def build(_: Graph, partitions: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Make the assets of the tiles that sources of the study read."""
    sources = partitions.study.sources.items()
    return [make_tiles(name, config, partitions) for name, config in sources if isinstance(config, ArcticDemConfig)]


def make_tiles(name: str, config: ArcticDemConfig, partitions: StudyPartitions) -> dg.AssetsDefinition:
    """Make the asset that brings the tiles of one source into the data folder."""

    @dg.asset(
        key=files_key(name),
        group_name="files",
        description=f"Tiles of {config.title} that the study's cells touch, from {config.api}, with receipts.",
        kinds={"geotiff"},
        tags={"entropice/kind": "files"},
        code_version=CODE_VERSION,
        pool=POOL,
    )
    def fetch(context: dg.AssetExecutionContext, entropice: EntropiceResource) -> dg.MaterializeResult[None]:
        from entropice_core.fetch.of_area import bring_tiles, needed_tiles
        from entropice_core.fetch.patience import Patience

        with as_failure():
            study = entropice.context(context.log.info, partitions.study)
            patience = Patience(tell=study.say)
            refs = needed_tiles(config, study.area, study.study.study.grids, patience)
            report, listing = bring_tiles(config, refs, study.data_root, patience, _teller(study.say))
        digest = json.loads(listing.read_text())["digest"]
        facts = {**report.facts(), "digest": digest, "path": str(listing)}
        return dg.MaterializeResult(metadata=_metadata(facts), data_version=dg.DataVersion(digest))

    return fetch


def _teller(say: Any) -> Any:
    def tell(progress: Any) -> None:
        if progress.text:
            say(f"{progress.text} ({progress.done} of {progress.total} tiles, {progress.bytes / 1e6:,.1f} MB)")

    return tell


def _metadata(facts: dict[str, Any]) -> dict[str, dg.MetadataValue[Any]]:
    return {key: to_metadata(value) for key, value in facts.items()}

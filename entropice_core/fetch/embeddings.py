"""The embeddings of a year that a study needs, by the route that its source names.

The command line and Dagster call this; what differs between the routes ends here.
"""

import json
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.fetch.alphaearth import bring_tiles
from entropice_core.fetch.alphaearth_index import needed_tiles
from entropice_core.fetch.earth_engine.batches import indexes_of, make_batches
from entropice_core.fetch.earth_engine.cells import EeReport, bring_sums
from entropice_core.fetch.earth_engine.images import needed_images
from entropice_core.fetch.earth_engine.session import connect
from entropice_core.fetch.patience import Patience
from entropice_core.fetch.tiles import Report, Tell
from entropice_core.grids.study_area import StudyArea


@dataclass(frozen=True)
class Brought:
    """What a fetch did, and the list of files that the source reads."""

    report: Report | EeReport
    listing: Path

    def facts(self) -> dict[str, Any]:
        """Numbers for people."""
        digest = json.loads(self.listing.read_text(encoding="utf-8"))["digest"]
        return {**self.report.facts(), "digest": digest, "path": str(self.listing)}


def bring_embeddings(
    config: AlphaEarthConfig,
    area: StudyArea,
    grids: Sequence[str],
    data: Path,
    year: int,
    patience: Patience,
    tell: Tell = lambda _: None,
    parallel: int = 4,
) -> Brought:
    """Bring what the cells of a study need of a calendar year; what is there is not asked for again.

    Parameters
    ----------
    config, area, grids : of the study
    data : the folder that ``{data}`` stands for
    year : calendar year of the embeddings
    patience : how long busy servers are waited for
    tell : told how far it is
    parallel : files, or requests, on their way at a time
    """
    if config.route == "files":
        refs = needed_tiles(config, area, grids, data, year, patience)
        return Brought(*bring_tiles(config, refs, data, year, patience, tell, parallel))
    engine, indexes = connect(config.endpoint, config.project, patience), indexes_of(area, grids)
    images = needed_images(engine, config, area, list(indexes.values()), year)
    return Brought(*bring_sums(engine, config, images, indexes, data, year, tell, parallel))


def describe_need(
    config: AlphaEarthConfig, area: StudyArea, grids: Sequence[str], data: Path, year: int, patience: Patience
) -> str:
    """Say how much there is to fetch, without fetching it."""
    if config.route == "files":
        refs = needed_tiles(config, area, grids, data, year, patience)
        return f"{len(refs)} tiles of {year}, {config.resolution_m} m"
    engine, indexes = connect(config.endpoint, config.project, patience), indexes_of(area, grids)
    images = needed_images(engine, config, area, list(indexes.values()), year)
    batches = make_batches(images, indexes, config)
    cells = sum(batch.size for batch in batches)
    return (
        f"{len(images)} images of {year}, {config.resolution_m} m, {cells:,} sums of cells in {len(batches)} requests"
    )

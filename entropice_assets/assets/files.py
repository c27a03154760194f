"""Files of a source that are fetched from a service: one Arctic year a partition.

The body does what ``entropice fetch`` does. A year has a run of its own, so that one that fails is tried alone; the
pool says how many years are in the service's queue at a time. Nothing here is split by grid, and nothing is in the
store: the files lie in the data folder with their receipts.
"""

from typing import Any

import dagster as dg

from entropice_assets.failures import as_failure
from entropice_assets.keys import files_key
from entropice_assets.partitions import StudyPartitions
from entropice_assets.resources import EntropiceResource
from entropice_assets.values import to_metadata, to_table
from entropice_core.config import Study
from entropice_core.pipeline.run import Graph

POOL = "cds"
"""Years in the queue of the Climate Data Store at a time; `dagster instance concurrency set cds 2` allows two."""
CODE_VERSION = "1"


def build(_: Graph, partitions: StudyPartitions) -> list[dg.AssetsDefinition]:
    """Make the assets of the files that the study fetches."""
    return [make_files(name, partitions) for name in partitions.study.fetch]


def make_files(name: str, partitions: StudyPartitions) -> dg.AssetsDefinition:
    """Make the asset that brings the files of one source into the data folder."""

    @dg.asset(
        key=files_key(name),
        partitions_def=partitions.of_files(name),
        group_name="files",
        description=_describe(partitions.study, name),
        kinds={"netcdf"},
        tags={"entropice/kind": "files"},
        code_version=CODE_VERSION,
        pool=POOL,
    )
    def fetch(context: dg.AssetExecutionContext, entropice: EntropiceResource) -> dg.MaterializeResult[None]:
        from entropice_core.fetch.of_study import bring_year

        with as_failure():
            study = entropice.context(context.log.info, partitions.study)
            brought = bring_year(study.settings, study.study, name, int(context.partition_key), study.say)
        return dg.MaterializeResult(metadata=metadata_of(brought), data_version=dg.DataVersion(brought.digest))

    return fetch


def metadata_of(brought: Any) -> dict[str, dg.MetadataValue[Any]]:
    """Say what came, from where, and what of it is not final."""
    report, rows = brought.report, brought.rows()
    summary = report.summary
    facts = {
        "provisional": summary["is_provisional"],
        "provisional_months": ", ".join(summary["provisional_months"]) or "none",
        "months": len(summary["expver"]) - len(summary["months_missing"]),
        "results": len(rows),
        "fetched_now": len(report.fetched),
        "already_there": report.already,
        "jobs_taken_over": len(report.resumed),
        "MB_fetched_now": round(report.bytes / 1e6, 2),
        "MB": round(summary["bytes"] / 1e6, 2),
        "queue_seconds": round(report.queued_s, 1),
        "not_served": ", ".join(summary["gaps"]) or "none",
        "digest": brought.digest,
        "path": str(report.file or report.folder),
    }
    notes = {"notes": dg.MetadataValue.md("\n".join(f"- {note}" for note in report.notes))} if report.notes else {}
    return {**{key: to_metadata(value) for key, value in facts.items()}, **notes, "requests": to_table(rows)}


def _describe(study: Study, name: str) -> str:
    config = study.fetch[name]
    what = f"{'ERA5-Land' if config.dataset == 'era5-land' else 'ERA5'}, {config.product}"
    return f"Files of {study.sources[name].title}: {what}, from the Climate Data Store, with receipts."

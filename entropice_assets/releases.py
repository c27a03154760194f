"""New releases of inventories at the Arctic Data Center.

``new_inventory_release`` is off until it is switched on: once a day it asks the data centre whether the DOI of an
inventory has a successor, or other files, than the data folder has. It tells the asset of the inventory and asks for
the job that fetches the release. Which files a study reads stays a decision: a new release brings new names, and the
TOML names them. Files that come under the names of old ones are seen by ``changed_input_files``.
"""

import dagster as dg
from pydantic import Field

from entropice_assets.failures import as_failure
from entropice_assets.keys import asset_key
from entropice_assets.resources import EntropiceResource
from entropice_core.config import Study
from entropice_core.errors import EntropiceError
from entropice_core.fetch.dataone import ARCTIC_DATA_CENTER, DOI_PREFIX, DataOne, Package
from entropice_core.fetch.patience import Patience

EVERY_SECONDS = 24 * 3600
SENSOR_BUDGET_S = 20.0
"""A look must end within a minute; the next one is a day later."""
JOB = "fetch_inventory_release"


class ArcticDataCenterResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """The DataONE member node that releases come from."""

    node: str = Field(default=ARCTIC_DATA_CENTER, description="Address of the node's API.")

    def open(self, patience: Patience) -> DataOne:
        """Speak to the node."""
        return DataOne(self.node, patience)


class ReleaseConfig(dg.Config):
    """Which release is fetched."""

    identifier: str = Field(description="DOI or UUID of the release, such as doi:10.18739/A22B8VD7C.")
    level: int = Field(default=2, description="DARTS level: 2 for the extent of each year, 1 for each image.")


def released(study: Study) -> dict[str, str]:
    """Name the inventories of the Arctic Data Center with their DOIs."""
    return {name: each.doi for name, each in study.inventories.items() if each.doi.startswith(DOI_PREFIX)}


def release_resources(study: Study) -> dict[str, ArcticDataCenterResource]:
    """Give the data centre, where the study has an inventory of it."""
    return {"arctic_data_center": ArcticDataCenterResource()} if released(study) else {}


def make_release_jobs(study: Study) -> list[dg.JobDefinition]:
    """Make the job that fetches one release into the data folder, where the study has such an inventory."""
    return [_release_job()] if released(study) else []


def _release_job() -> dg.JobDefinition:

    @dg.op(description="Fetches a release, verified, into darts/ of the data folder.")
    def fetch_release_files(
        context: dg.OpExecutionContext,
        config: ReleaseConfig,
        entropice: EntropiceResource,
        arctic_data_center: ArcticDataCenterResource,
    ) -> None:
        from entropice_core.fetch.darts import fetch_release

        with as_failure():
            study = entropice.context(context.log.info)
            node = arctic_data_center.open(Patience(tell=context.log.info))
            release = fetch_release(node, study.data_root, config.identifier, config.level)
        context.log.info(f"{release}; name the files in the study TOML: {', '.join(release.fetched + release.present)}")

    @dg.job(name=JOB, description="Fetches a release of an inventory from the Arctic Data Center.")
    def job() -> None:
        fetch_release_files()

    return job


def make_release_sensors(study: Study) -> list[dg.SensorDefinition]:
    """Make the sensor, where the study has an inventory of the Arctic Data Center."""
    inventories = released(study)
    if not inventories:
        return []

    @dg.sensor(
        name="new_inventory_release",
        job_name=JOB,
        minimum_interval_seconds=EVERY_SECONDS,
        default_status=dg.DefaultSensorStatus.STOPPED,
        description="Asks the Arctic Data Center for newer releases of the inventories, and for their files.",
    )
    def look(
        context: dg.SensorEvaluationContext,
        entropice: EntropiceResource,
        arctic_data_center: ArcticDataCenterResource,
    ) -> dg.SensorResult:
        from entropice_core.fetch.darts import find_newer

        found, said = {}, []
        for name, doi in inventories.items():
            try:
                node = arctic_data_center.open(Patience(SENSOR_BUDGET_S))
                newer = find_newer(node, entropice.context().data_root, doi)
            except EntropiceError as error:
                said.append(f"{name}: {error}")
                continue
            if newer is None:
                said.append(f"{name}: doi:{doi} has no release that is not here.")
            else:
                found[name] = newer
        for line in said:
            context.log.info(line)
        return dg.SensorResult(
            run_requests=[_request(newer) for newer in found.values()],
            asset_events=[_observation(name, newer) for name, newer in found.items()],
            skip_reason=None if found else "; ".join(said),
        )

    return [look]


def _request(newer: Package) -> dg.RunRequest:
    config = {"ops": {"fetch_release_files": {"config": {"identifier": newer.identifier}}}}
    digest = max((each.uploaded for each in newer.objects), default="")
    return dg.RunRequest(run_key=f"{newer.identifier} {digest}", run_config=config)


def _observation(name: str, newer: Package) -> dg.AssetObservation:
    return dg.AssetObservation(
        asset_key(f"inventory.{name}"),
        description=f"There is a newer release: {newer.title or newer.identifier}.",
        metadata={
            "release": newer.identifier,
            "published": newer.uploaded,
            "files": dg.MetadataValue.md("\n".join(f"* {each.file_name}" for each in newer.objects)),
        },
    )

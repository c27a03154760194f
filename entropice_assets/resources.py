"""The one resource: which study, and where its files are on this machine.

Keep paths out of every other module. Empty fields mean the ``ENTROPICE_*`` variable, read when a run begins and not
when the definitions are loaded.
"""

import os

import dagster as dg
from pydantic import Field

from entropice_core.config import Settings, Study, load_study
from entropice_core.errors import ProvenanceError
from entropice_core.pipeline.product import Context, Say, silent


class EntropiceResource(dg.ConfigurableResource):  # type: ignore[type-arg]
    """A study and the machine's settings; hands out the ``Context`` that every step of the pipeline takes."""

    study: str = Field(description="Name of a preset, or path of a study TOML.")
    home: str = Field(default="", description="Folder of the store; ENTROPICE_HOME when empty.")
    data: str = Field(default="", description="Folder of the input files; ENTROPICE_DATA when empty.")
    tracking_uri: str = Field(default="", description="MLflow; ENTROPICE_TRACKING_URI when empty.")

    def settings(self) -> Settings:
        """Join the fields with the environment; a field wins."""
        fields = {"HOME": self.home, "DATA": self.data, "STUDY": self.study, "TRACKING_URI": self.tracking_uri}
        given = {f"ENTROPICE_{name}": value for name, value in fields.items() if value}
        return Settings.from_environment({**os.environ, **given})

    def run_tags(self, run_id: str) -> dict[str, str]:
        """Name a run of Dagster for the tracking server, with its address where ENTROPICE_DAGSTER_URL is set."""
        address = self.settings().dagster_url
        return {"dagster.run_id": run_id, **({"dagster.run_url": f"{address}/runs/{run_id}"} if address else {})}

    def context(self, say: Say = silent, expected: Study | None = None, tags: dict[str, str] | None = None) -> Context:
        """Open the study for one run; progress is written to ``say``, ``tags`` go to the tracking server.

        Raises
        ------
        ProvenanceError
            When it is not the study that the assets were made for, as after a change of ``study`` in the launchpad.
        """
        study = load_study(self.study)
        if expected is not None and study != expected:
            raise ProvenanceError(
                f"The run is for the study {study.study.name!r} as {self.study} has it now, but the assets were made "
                f"for {expected.study.name!r} as it was when Dagster loaded it: set ENTROPICE_STUDY and reload the "
                "definitions."
            )
        return Context(study, self.settings(), say, tags or {})

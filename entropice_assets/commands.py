"""Commands of ``entropice`` that speak to Dagster; the command line finds them by their entry point."""

from pathlib import Path

from entropice_core.cli.app import StudyName, app, load, say
from entropice_core.errors import ConfigError


@app.command
def sync(study: StudyName = None) -> None:
    """Tell Dagster what was published into the store outside of it, such as by a cluster: versions, counts, pictures.

    The instance is the one of DAGSTER_HOME, or that of dagster.yaml in this folder. Nothing is built; a second call
    finds nothing to say.
    """
    import os

    import dagster as dg

    from entropice_assets.sensors import unreported
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.product import Context

    home = Path(os.environ.get("DAGSTER_HOME") or Path.cwd())
    if not (home / "dagster.yaml").is_file():
        raise ConfigError(
            f"{home} holds no dagster.yaml: set DAGSTER_HOME to the folder of the Dagster instance, or call this in "
            "the checkout of Entropice."
        )
    loaded, settings = load(study)
    told = 0
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for event in unreported(instance, Context(loaded, settings), build_graph(loaded), settled_seconds=0):
            instance.report_runless_asset_event(event)
            told += 1
            say(f"told Dagster: {event.asset_key.to_user_string()} {event.partition or ''}".rstrip())
    say(
        f"{loaded.study.name}: {told} partitions reported" if told else f"{loaded.study.name}: Dagster knows everything"
    )

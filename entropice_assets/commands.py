"""Commands of ``entropice`` that speak to Dagster; the command line finds them by their entry point."""

import os
from pathlib import Path

from entropice_core.cli.app import StudyName, app, load, say
from entropice_core.errors import ConfigError


@app.command
def sync(study: StudyName = None) -> None:
    """Tell Dagster what was published into the store outside of it, such as by a cluster: versions, counts, pictures.

    The instance is the one of DAGSTER_HOME, or that of dagster.yaml in this folder. Nothing is built; a second call
    finds nothing to say.
    """
    import dagster as dg

    from entropice_assets.sensors import published, unreported
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.product import Context

    home = dagster_home()
    if not (home / "dagster.yaml").is_file():
        raise ConfigError(
            f"{home} holds no dagster.yaml: set DAGSTER_HOME to the folder of the Dagster instance, or call this in "
            "the checkout of Entropice."
        )
    loaded, settings = load(study)
    context, graph, told = Context(loaded, settings), build_graph(loaded), 0
    with dg.DagsterInstance.from_config(str(home)) as instance:
        for product, partition in published(context, graph):
            event = unreported(instance, context, product, partition, 0, say)
            if event is not None:
                instance.report_runless_asset_event(event)
                told += 1
                say(f"told Dagster: {event.asset_key.to_user_string()} {event.partition or ''}".rstrip())
    say(
        f"{loaded.study.name}: {told} partitions reported" if told else f"{loaded.study.name}: Dagster knows everything"
    )


@app.command
def metrics(
    study: StudyName = None,
    *,
    file: Path | None = None,
    port: int | None = None,
    address: str = "127.0.0.1",
    keep: float = 300.0,
) -> None:
    """Tell Prometheus of the study: partitions current, stale, missing; disk; runs, queue and daemons of Dagster.

    Without options the numbers are printed once.

    Parameters
    ----------
    file
        Write them to this file, whole or not at all: for the textfile collector of node_exporter, by cron or a timer.
    port
        Serve them at http://ADDRESS:PORT/metrics until stopped.
    address
        Where to listen; only this machine unless said otherwise.
    keep
        When serving: how many seconds a look at the store is kept.
    """
    from functools import partial

    import dagster as dg

    from entropice_assets.metrics import Collector, registry_of, serve
    from entropice_core.pipeline.graph import build_graph
    from entropice_core.pipeline.product import Context

    loaded, settings = load(study)
    home = dagster_home()
    opened = partial(dg.DagsterInstance.from_config, str(home)) if (home / "dagster.yaml").is_file() else None
    keep_seconds = keep if port is not None else 0.0
    registry = registry_of(Collector(Context(loaded, settings), build_graph(loaded), opened, keep_seconds))
    if port is not None:
        serve(registry, address, port)
        return
    from prometheus_client import generate_latest, write_to_textfile

    if file is not None:
        write_to_textfile(str(file), registry)
    else:
        print(generate_latest(registry).decode(), end="")


def dagster_home() -> Path:
    """Give the folder of the Dagster instance: that of DAGSTER_HOME, or this one."""
    return Path(os.environ.get("DAGSTER_HOME") or Path.cwd())

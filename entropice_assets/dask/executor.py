"""The executor whose steps run on the workers of a Dask cluster that runs already.

A worker needs the same versions of Python, Dask and Entropice as the code location, the same Dagster instance (a step
writes its own events) and the same store and data folders.
"""

import sys
from collections.abc import Iterator, Mapping
from functools import partial
from typing import Any

import dagster as dg
from dagster._core.execution.retries import RetryMode, get_retries_config
from dagster._core.execution.tags import get_tag_concurrency_limits_config
from dagster._core.executor.step_delegating import StepDelegatingExecutor

from entropice_assets.dask.handler import DaskStepHandler
from entropice_core import __version__
from entropice_core.compute import CONNECT_SECONDS

HEALTH_SECONDS = 5
HINT_SECONDS = 60.0


class WrongCluster(RuntimeError):
    """The scheduler is not there, or its workers run other versions."""


def dask_steps_executor(address: str, hint_seconds: float = HINT_SECONDS) -> dg.ExecutorDefinition:
    """Make the executor for a scheduler, such as ``tcp://scheduler:8786``; the launchpad may name another.

    A step that waits longer than ``hint_seconds`` for a worker with what it needs says so in the log of its run.
    """

    @dg.executor(
        name="dask_steps",
        config_schema={
            "address": dg.Field(dg.StringSource, default_value=address, description="Address of the Dask scheduler."),
            "max_concurrent": dg.Field(
                dg.Noneable(int), default_value=None, description="Most steps of a run at a time; no limit when empty."
            ),
            "tag_concurrency_limits": get_tag_concurrency_limits_config(),  # type: ignore[no-untyped-call]
            "retries": get_retries_config(),  # type: ignore[no-untyped-call]
        },
        requirements=dg.multiple_process_executor_requirements(),
    )
    def dask_steps(context: dg.InitExecutorContext) -> StepDelegatingExecutor:
        config: Any = context.executor_config
        return DaskStepsExecutor(
            DaskStepHandler(partial(connect, config["address"]), hint_seconds),
            retries=RetryMode.from_config(config["retries"]) or RetryMode.ENABLED,
            sleep_seconds=0.5,
            check_step_health_interval_seconds=HEALTH_SECONDS,
            max_concurrent=config.get("max_concurrent"),
            tag_concurrency_limits=config.get("tag_concurrency_limits"),
            should_verify_step=True,
        )

    return dask_steps


class DaskStepsExecutor(StepDelegatingExecutor):
    """Connect when a run begins, so that a cluster that is not there fails that run with its sentence."""

    def execute(self, plan_context: Any, execution_plan: Any) -> Iterator[dg.DagsterEvent]:
        """Run the steps, and leave the scheduler at the end: what still runs there is stopped by its worker."""
        handler = self._step_handler
        if not isinstance(handler, DaskStepHandler):
            raise TypeError(f"the step handler is {type(handler).__name__}, not DaskStepHandler")
        with handler.connected():
            yield from super().execute(plan_context, execution_plan)


def connect(address: str) -> Any:
    """Open a client of the scheduler, and refuse a cluster of other versions.

    Raises
    ------
    WrongCluster
        When nobody answers, or when a worker runs another Python, Dask or Entropice; the sentence says which.
    """
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, name="entropice-dagster")
    except (OSError, TimeoutError) as error:
        raise WrongCluster(
            f"No Dask scheduler answers at {address} within {CONNECT_SECONDS} s: start it (dask scheduler), or unset "
            "ENTROPICE_COMPUTE to run on this machine."
        ) from error
    problems = differences(client.get_versions(packages=["entropice"]))
    if problems:
        client.close()
        raise WrongCluster(f"The Dask cluster at {address} does not fit: {'; '.join(problems)}. Use one image for all.")
    return client


def differences(versions: Mapping[str, Any]) -> list[str]:
    """Say where scheduler or workers run another Python, Dask or Entropice than this process."""
    import distributed

    ours = {
        "python": ".".join(map(str, sys.version_info[:2])),
        "distributed": distributed.__version__,
        "entropice": __version__,
    }
    everyone = {"the scheduler": versions["scheduler"], **versions["workers"]}
    found = []
    for who, report in everyone.items():
        theirs = _versions(report)
        wrong = [name for name in ours if theirs[name] != ours[name]]
        found += [f"{who} has {name} {theirs[name]}, this process {ours[name]}" for name in wrong]
    return found


def _versions(report: Mapping[str, Any]) -> dict[str, str]:
    python = str(report["host"]["python"]).split(".")
    packages = report["packages"]
    return {
        "python": ".".join(python[:2]),
        "distributed": str(packages.get("distributed")),
        "entropice": str(packages.get("entropice")),
    }

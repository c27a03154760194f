"""Hand steps to a Dask scheduler, ask how they are, stop them.

The key of a task holds run, step and attempt, so that no run gets the result of another. A step that waits for a worker
with what it asked for (a GPU, memory) says so in the log of its run.
"""

import json
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import Any

from dagster import DagsterEvent
from dagster._core.events import EngineEventData
from dagster._core.executor.step_delegating import CheckStepHealthResult, StepHandler, StepHandlerContext

from entropice_assets.dask import RESOURCES_TAG
from entropice_assets.dask.child import StepTask, run_step

LOST_SECONDS = 15
"""A task that ended must have written its result event; the event may take a moment to be seen."""


@dataclass
class Launched:
    """One attempt of a step, as this process knows it."""

    future: Any
    resources: dict[str, float]
    begun: float = field(default_factory=time.monotonic)
    ended: float | None = None
    hinted: bool = False


class DaskStepHandler(StepHandler):
    """Run each step in a child process of a worker."""

    def __init__(self, connect: Callable[[], Any], hint_seconds: float) -> None:
        super().__init__()
        self._connect = connect
        self._client: Any = None
        self._hint_seconds = hint_seconds
        self._launched: dict[str, Launched] = {}

    @property
    def name(self) -> str:
        """Name that the log of a run shows."""
        return "DaskStepHandler"

    @contextmanager
    def connected(self) -> Iterator[None]:
        """Hold a client of the scheduler for the time of a run."""
        self._client = self._connect()
        with self._client:
            yield

    def launch_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Hand one step to the scheduler."""
        key, step = task_key(step_handler_context), only_step(step_handler_context)
        resources = resources_of(step_handler_context.step_tags[step])
        args = step_handler_context.execute_step_args
        environment = tuple((str(pair["name"]), str(pair["value"])) for pair in args.get_command_env())
        command = tuple(args.get_command_args(skip_serialized_namedtuple=True))
        task = StepTask(key, command, environment, resources.get("MEMORY"))
        held = resources if self._offers("MEMORY") else {k: v for k, v in resources.items() if k != "MEMORY"}
        future = self._client.submit(run_step, task, key=key, pure=False, resources=held, retries=0)
        self._launched[key] = Launched(future, held)
        yield DagsterEvent.step_worker_starting(
            step_handler_context.get_step_context(step),
            f"Step handed to the Dask scheduler as {key}.",
            metadata={"dask_key": key, "resources": json.dumps(resources)},
        )

    def check_step_health(self, step_handler_context: StepHandlerContext) -> CheckStepHealthResult:
        """Say whether a step can still be expected to end by itself."""
        key = task_key(step_handler_context)
        launched = self._launched.get(key)
        if launched is None:
            return CheckStepHealthResult.unhealthy(f"{key} was handed over by a process that is gone")
        status = launched.future.status
        if status == "error":
            return CheckStepHealthResult.unhealthy(_why(launched.future))
        if status in ("lost", "cancelled"):
            return CheckStepHealthResult.unhealthy(f"the scheduler lost {key}: it or its worker was restarted")
        if status == "finished":
            launched.ended = launched.ended or time.monotonic()
            if time.monotonic() - launched.ended > LOST_SECONDS:
                return CheckStepHealthResult.unhealthy("its process ended without a word to Dagster; see its log")
        self._hint(step_handler_context, launched)
        return CheckStepHealthResult.healthy()

    def terminate_step(self, step_handler_context: StepHandlerContext) -> Iterator[DagsterEvent]:
        """Ask the worker to interrupt the step."""
        from distributed import Event

        key = task_key(step_handler_context)
        Event(f"{key}-stop", client=self._client).set()
        step = step_handler_context.get_step_context(only_step(step_handler_context))
        yield DagsterEvent.engine_event(step, f"Asked the worker of {key} to stop.", EngineEventData())

    def _offers(self, name: str) -> bool:
        """Say whether any worker counts a resource; memory that nobody counts is watched, but not waited for."""
        return any(name in offer for offer in self._workers())

    def _workers(self) -> list[dict[str, float]]:
        return [worker["resources"] for worker in self._client.scheduler_info(n_workers=-1)["workers"].values()]

    def _hint(self, context: StepHandlerContext, launched: Launched) -> None:
        waiting = time.monotonic() - launched.begun
        if launched.hinted or launched.future.status != "pending" or waiting < self._hint_seconds:
            return
        launched.hinted = True
        offers = self._workers()
        if not any(all(offer.get(k, 0) >= v for k, v in launched.resources.items()) for offer in offers):
            wanted = ", ".join(f"{name}={amount:g}" for name, amount in launched.resources.items()) or "any worker"
            DagsterEvent.engine_event(
                context.get_step_context(only_step(context)),
                f"Waits since {waiting:.0f} s for a Dask worker that offers {wanted}; none of the {len(offers)} "
                "workers does. It starts when one joins.",
                EngineEventData(),
            )


def task_key(context: StepHandlerContext) -> str:
    """Name a step for the scheduler by run, step and attempt.

    Brackets are avoided: Dask groups tasks by the part of the key before the last dash.
    """
    step = only_step(context)
    known = context.execute_step_args.known_state
    attempt = known.get_retry_state().get_attempt_count(step) if known is not None else 0
    return f"entropice-{context.execute_step_args.run_id}-{step}-{attempt}"


def only_step(context: StepHandlerContext) -> str:
    """Give the step that a call of the executor is about; it is always one."""
    (step,) = context.execute_step_args.step_keys_to_execute or ()
    return str(step)


def resources_of(tags: Any) -> dict[str, float]:
    """Read what a step asks for; a tag that is no JSON object of numbers is an error with the tag in it."""
    text = tags.get(RESOURCES_TAG)
    if not text:
        return {}
    try:
        return {str(name): float(amount) for name, amount in json.loads(text).items()}
    except (ValueError, AttributeError, TypeError) as error:
        raise ValueError(f'the tag {RESOURCES_TAG} is {text!r}: write a JSON object such as {{"GPU": 1}}') from error


def _why(future: Any) -> str:
    error = future.exception()
    return f"{type(error).__name__}: {error}" if error is not None else "it failed without a reason"

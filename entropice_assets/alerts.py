"""Say in one sentence that a run has failed, where people see it: the daemon's log, and an address of their own."""

import json
from urllib.error import URLError
from urllib.request import Request, urlopen

import dagster as dg

from entropice_assets.resources import EntropiceResource

TIMEOUT_S = 10


@dg.run_failure_sensor(
    default_status=dg.DefaultSensorStatus.RUNNING,
    description="Says which run failed and why; ENTROPICE_ALERT_URL gets it as JSON with the key text.",
)
def failed_runs(context: dg.RunFailureSensorContext, entropice: EntropiceResource) -> None:
    """Tell of every run that fails."""
    text = sentence(context.dagster_run, reason(context))
    context.log.error(text)
    address = entropice.settings().alert_url
    if address:
        try:
            post(address, text)
        except (URLError, OSError, ValueError) as error:
            context.log.warning(f"ENTROPICE_ALERT_URL did not take it ({error}): check the address.")


def reason(context: dg.RunFailureSensorContext) -> str:
    """Find the first error of the steps; that of the run itself where no step has one."""
    for event in context.get_step_failure_events():
        error = event.step_failure_data.error
        if error is not None:
            cause = error.cause or error
            return str(cause.message).strip().splitlines()[0]
    return str(context.failure_event.message or "no reason was given").strip().splitlines()[0]


def sentence(run: dg.DagsterRun, why: str) -> str:
    """Say what failed and why.

    >>> run = dg.DagsterRun(job_name="step1_grids", run_id="01234567-89ab", tags={"dagster/partition": "h3-4"})
    >>> sentence(run, "SourceError: no file")
    'Run 01234567 of step1_grids (h3-4) failed: SourceError: no file'
    """
    assets = ", ".join(sorted(key.to_user_string() for key in run.asset_selection or ()))
    what = assets if run.job_name.startswith("__") and assets else run.job_name
    part = run.tags.get("dagster/partition") or run.tags.get("dagster/asset_partition_range_start", "")
    return f"Run {run.run_id[:8]} of {what}{f' ({part})' if part else ''} failed: {why}"


def post(address: str, text: str) -> None:
    """Send the sentence as chat services take it; only http and https."""
    if not address.startswith(("http://", "https://")):
        raise ValueError(f"{address} is no http address")
    request = Request(address, json.dumps({"text": text}).encode(), {"Content-Type": "application/json"})  # noqa: S310
    with urlopen(request, timeout=TIMEOUT_S) as answer:  # noqa: S310
        answer.read()

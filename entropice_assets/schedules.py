"""What happens by the clock: a service is asked which years of files are new.

``<source>_new_years`` is off until it is switched on under Automation. It asks for every year of the source's table
that is complete at the service and not there, and for years that came as preliminary data and are final now. The month
is part of the run key: a year that failed is asked for again in the next month, and not twice in one. Dagster itself
compares run keys of one tick of a schedule only, so they are looked up here.
"""

from collections.abc import Mapping

import dagster as dg

from entropice_assets.jobs import Job
from entropice_assets.keys import files_key
from entropice_assets.resources import EntropiceResource
from entropice_core.config import Study
from entropice_core.errors import RetryableSourceError

RUN_KEY = "dagster/run_key"


def make_schedules(study: Study, jobs: Mapping[str, Job]) -> list[dg.ScheduleDefinition]:
    """Make the schedule of each source whose files are fetched."""
    return [_new_years(study, name, job) for name, job in jobs.items()]


def _new_years(study: Study, name: str, job: Job) -> dg.ScheduleDefinition:
    @dg.schedule(
        name=f"{name}_new_years",
        job=job,
        cron_schedule=study.fetch[name].ask,
        execution_timezone="UTC",
        default_status=dg.DefaultScheduleStatus.STOPPED,
        description="Asks how far the service is, and for the years that are new, missing or final now.",
    )
    def new_years(
        context: dg.ScheduleEvaluationContext, entropice: EntropiceResource
    ) -> list[dg.RunRequest] | dg.SkipReason:
        from entropice_core.fetch.of_study import due_years

        here, moment = entropice.context(), context.scheduled_execution_time
        known = {int(key) for key in context.instance.get_materialized_partitions(files_key(name))}
        try:
            due = due_years(here.settings, here.study, name, known, moment)
        except RetryableSourceError as error:
            return dg.SkipReason(f"{error} The next tick asks again.")
        requests = [_request(name, year, reason, f"{moment:%Y%m}") for year, reason in due.years.items()]
        fresh = [request for request in requests if not _was_asked(context.instance, request)]
        said = f" Asked for in this month already: {', '.join(map(str, due.years))}." if requests else ""
        return fresh or dg.SkipReason(f"{due.sentence}{said}")

    return new_years


def _was_asked(instance: dg.DagsterInstance, request: dg.RunRequest) -> bool:
    wanted = dg.RunsFilter(tags={RUN_KEY: str(request.run_key)})
    return bool(instance.get_run_records(wanted, limit=1))


def _request(name: str, year: int, reason: str, month: str) -> dg.RunRequest:
    return dg.RunRequest(
        run_key=f"{name}-{year}-{reason}-{month}",
        partition_key=str(year),
        tags={"entropice/reason": f"{reason} data of {year} have come"},
    )

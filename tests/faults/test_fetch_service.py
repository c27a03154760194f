"""What the Climate Data Store does when it does not do what it should: every refusal, and what fetching makes of it."""

import pytest

from entropice_core.errors import ConfigError, RetryableSourceError, SourceError
from entropice_core.fetch.cds import ClimateDataStore, Credentials
from entropice_core.fetch.era5 import abandon_jobs
from tests.servers.cds import Fault
from tests.unit.fetch.conftest import Place, place, server

__all__ = ["place", "server"]


@pytest.fixture(autouse=True)
def one_variable(place):
    """One variable is enough to be refused."""
    place.variables = ("t2m",)


def is_whole(place: Place) -> bool:
    return (place.data / "era5" / "era5_monthly_2021.nc").is_file() and place.hidden() == []


def journal(place: Place) -> list[str]:
    return sorted(p.name for p in (place.home / "fetch" / "jobs").glob("*"))


@pytest.mark.parametrize("path", ["/execution$", "/costing$", "/jobs/[^/]+$", "/results$", "/processes/[^/]+$"])
def test_429_with_retry_after_waits_as_told_and_goes_on(place, path):
    methods = {"/execution$": "POST", "/costing$": "POST"}
    place.server.faults = [
        Fault(methods.get(path, "GET"), path, 429, "rate limit exceeded", headers={"Retry-After": "17"})
    ]
    place.fetch()
    assert is_whole(place)
    assert place.slept.count(17.0) == 1
    assert any("429 (rate limit exceeded)" in line and "waiting 17 s" in line for line in place.heard)
    assert place.submissions() == 2


def test_429_without_retry_after_waits_longer_each_time_then_gives_up_and_says_how_long(place):
    place.budget_s = 40.0
    place.server.faults = [Fault("POST", "/execution$", 429, "rate limit exceeded", times=99)]
    with pytest.raises(RetryableSourceError, match=r"429 .*gave up after 5 tries and \d\d s of waiting; run the same"):
        place.fetch()
    assert [round(s / 2**i) for i, s in enumerate(place.slept)] == [2, 2, 2, 2]
    assert sum(place.slept) <= 40
    assert journal(place) == []


def test_a_retry_after_beyond_the_budget_is_not_begun(place):
    place.server.faults = [Fault("POST", "/execution$", 503, "maintenance", headers={"Retry-After": "86400"})]
    with pytest.raises(RetryableSourceError, match="the server asks to wait 86400 s more"):
        place.fetch()
    assert place.slept == []


def test_a_full_queue_of_the_user_is_waited_for(place):
    full = "Number of queued requests using the API is limited to 200."
    place.server.faults = [Fault("POST", "/execution$", 400, "request not submitted", full, times=2)]
    place.fetch()
    assert is_whole(place)
    assert len(place.slept) == 2


@pytest.mark.parametrize("status", [500, 504, 408])
def test_errors_of_the_server_are_tried_again(place, status):
    place.server.faults = [Fault("GET", "/jobs/", status, "internal server error", times=2)]
    place.fetch()
    assert is_whole(place)
    assert len(place.slept) == 2


@pytest.mark.parametrize("key", ["not-the-key", "6f0d3c1e-GOOD-token"])
def test_a_wrong_key_is_not_tried_again_and_says_where_to_get_one(place, monkeypatch, key):
    store = place.store(key)
    monkeypatch.setattr(Place, "store", lambda self: store)
    with pytest.raises(ConfigError, match="set CDSAPI_KEY to the personal access token of the page") as caught:
        place.fetch()
    assert key not in str(caught.value)
    assert place.slept == []


def test_a_key_that_expires_on_the_way_keeps_what_is_there_and_goes_on_with_a_new_one(place):
    place.server.faults = [
        Fault("GET", "/results$", 401, "permission denied", "operation not allowed", after=1, times=99)
    ]
    with pytest.raises(ConfigError, match="401 permission denied"):
        place.fetch()
    assert len(journal(place)) == 1
    place.server.faults = []
    report = place.fetch()
    assert is_whole(place)
    assert (len(report.fetched), report.already, len(report.resumed)) == (1, 1, 1)
    assert place.submissions() == 2


def test_a_licence_that_is_not_accepted_names_the_page_to_accept_it_on(place):
    place.server.licence_accepted = False
    page = f"{place.server.root}/datasets/reanalysis-era5-single-levels-monthly-means\\?tab=download#manage-licences"
    with pytest.raises(SourceError, match=f"accepted once: .*{page}"):
        place.fetch()
    assert place.slept == []


def test_a_cost_that_only_the_submission_refuses_splits_the_request_too(place):
    place.server.faults = [
        Fault(
            "POST",
            "/execution$",
            403,
            "cost limits exceeded",
            "Your request is too large, please reduce your selection.",
        )
    ]
    place.fetch()
    assert is_whole(place)
    assert place.submissions() == 3


def test_a_request_that_the_service_calls_invalid_is_refused_with_its_words(place):
    place.server.variables.discard("total_precipitation")
    with pytest.raises(SourceError, match="valid combination of values.*total_precipitation"):
        place.fetch(variables=("tp",))
    assert place.submissions() == 0


def test_a_failed_job_is_submitted_once_more(place):
    place.server.fates = [("failed", "Traceback (most recent call last):\n  File x\nRuntimeError: worker lost")]
    place.fetch()
    assert is_whole(place)
    assert place.submissions() == 3
    assert any("worker lost" in p.text for p in place.told)


@pytest.mark.parametrize(
    ("state", "words", "submissions"),
    [
        ("failed", "MARS returned no data, please check your selection.", 2),
        ("rejected", "The request was rejected by a rule of quality of service.", 2),
        ("failed", "RuntimeError: worker lost", 6),
    ],
)
def test_a_job_that_cannot_be_done_ends_with_the_service_s_last_line(place, state, words, submissions):
    place.server.fates = [(state, f"Traceback\n{words}\n")] * 9
    with pytest.raises(SourceError, match=f"cannot be had: .*{words}"):
        place.fetch()
    assert place.submissions() == submissions
    assert not (place.data / "era5" / "era5_monthly_2021.nc").exists()


def test_results_that_have_expired_are_submitted_again(place):
    place.server.faults = [Fault("GET", "/results$", 404, "results expired", "results of job expired")]
    place.fetch()
    assert is_whole(place)
    assert place.submissions() == 3


def test_a_job_of_an_earlier_run_that_is_gone_is_submitted_again(place):
    place.server.faults = [Fault("GET", "/results$", 401, "permission denied", times=99)]
    with pytest.raises(ConfigError):
        place.fetch()
    for job in place.server.jobs.values():
        job.gone = True
    place.server.faults = []
    report = place.fetch()
    assert is_whole(place)
    assert len(report.resumed) == 2
    assert place.submissions() == 4


def test_a_job_that_somebody_dismissed_is_submitted_again(place):
    place.server.fates = [("dismissed", "")]
    place.fetch()
    assert is_whole(place)
    assert place.submissions() == 3


def test_results_that_always_vanish_end_after_a_few_submissions(place):
    place.server.faults = [Fault("GET", "/results$", 404, "results expired", times=99)]
    with pytest.raises(RetryableSourceError, match="was submitted 3 times in vain"):
        place.fetch()


def test_a_service_that_is_not_there_is_waited_for_and_named(place):
    place.budget_s = 10.0
    store = ClimateDataStore(Credentials("http://127.0.0.1:9/api", "key"), place.store().patience)
    with pytest.raises(RetryableSourceError, match=r"The Climate Data Store \(127.0.0.1:9\) did not answer .* tries"):
        store.cost("reanalysis-era5-single-levels-monthly-means", {})
    assert len(place.slept) == 2


def test_an_address_that_is_no_climate_data_store_is_refused(place):
    store = ClimateDataStore(Credentials(place.server.root, place.server.key), place.store().patience)
    with pytest.raises(SourceError, match="no longer has|refuses"):
        store.cost("reanalysis-era5-single-levels-monthly-means", {})


def test_jobs_that_are_given_up_leave_the_queue_and_the_journal(place):
    place.server.faults = [Fault("GET", "/results$", 401, "permission denied", times=99)]
    with pytest.raises(ConfigError):
        place.fetch()
    assert len(journal(place)) == 2
    gone = abandon_jobs(place.store(), place.home)
    assert set(gone) == set(place.server.jobs)
    assert all(job.gone for job in place.server.jobs.values())
    assert journal(place) == []


def test_an_answer_that_is_not_the_service_s_is_told_with_the_address_to_check(place):
    place.server.faults = [Fault("POST", "/costing", 200, "captive portal")]
    with pytest.raises(RetryableSourceError, match="something else than the service's message .*is CDSAPI_URL the"):
        place.fetch()
    assert place.slept == []

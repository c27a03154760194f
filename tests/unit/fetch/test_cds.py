"""Credentials, waiting, and what is kept from the service's words."""

import subprocess
import sys

import pytest

from entropice_core.errors import ConfigError, RetryableSourceError, StoreError
from entropice_core.fetch.cds import CDS_URL, read_credentials
from entropice_core.fetch.jobs import Journal
from entropice_core.fetch.patience import Patience, retry_after_seconds
from entropice_core.fetch.plan import Wish, plan
from entropice_core.fetch.variables import CATALOGUES
from tests.servers.cds import FIELDS, LAND_FIELDS, MONTHLY


def test_credentials_come_from_the_variables_of_the_service_s_own_tools(tmp_path):
    rc = tmp_path / "rc"
    rc.write_text("url: https://example.org/api/\nkey: from-file\n")
    both = {"CDSAPI_URL": "http://127.0.0.1:1/api", "CDSAPI_KEY": "from-variable", "CDSAPI_RC": str(rc)}
    assert read_credentials(both).key == "from-variable"
    assert read_credentials(both).url == "http://127.0.0.1:1/api"
    assert read_credentials({"CDSAPI_RC": str(rc)}).url == "https://example.org/api"
    assert read_credentials({"CDSAPI_RC": str(rc)}).key == "from-file"
    assert read_credentials({"CDSAPI_KEY": "k", "CDSAPI_RC": str(tmp_path / "none")}).url == CDS_URL
    assert "from-file" not in repr(read_credentials({"CDSAPI_RC": str(rc)}))


@pytest.mark.parametrize(
    ("key", "words"), [(None, "set CDSAPI_KEY to the personal access token"), ("1234:secret-part", "old kind")]
)
def test_missing_and_old_keys_are_refused_before_anything_is_asked(tmp_path, key, words):
    env = {"CDSAPI_RC": str(tmp_path / "none")} | ({"CDSAPI_KEY": key} if key else {})
    with pytest.raises(ConfigError, match=words) as caught:
        read_credentials(env)
    assert "secret-part" not in str(caught.value)


def test_the_package_imports_without_the_client_libraries_and_says_how_to_get_them(tmp_path):
    code = (
        "import sys; sys.modules['ecmwf'] = sys.modules['ecmwf.datastores'] = sys.modules['cdsapi'] = None\n"
        "import entropice_core.fetch.era5, entropice_core.fetch.cds as cds\n"
        "from entropice_core.errors import ConfigError\n"
        "try:\n    cds.ClimateDataStore(cds.Credentials('http://127.0.0.1:1', 'k'))\n"
        "except ConfigError as error:\n    print(error)"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=60)
    assert "pip install 'entropice[fetch]'" in done.stdout, done.stderr


def test_the_service_s_own_calls_work_as_its_clients_make_them(place):
    store = place.store()
    inputs = plan(Wish("monthly", 2021, ("t2m",), (70.0, 100.0, 60.0, 115.0)))[0].inputs
    cost = store.cost(MONTHLY, inputs)
    assert (cost.cost, cost.limit, cost.is_too_much) == (3, 60_000, False)
    job = store.submit(MONTHLY, inputs)
    assert store.state(job) == "successful"
    asset = store.asset(job)
    assert asset.size == len(place.server.assets[job].content)
    assert store._client.get_remote(job).get_receipt()["request"] == inputs
    assert "2m_temperature" in store.constraints(MONTHLY, inputs)["variable"]
    assert store._client.get_accepted_licences()[0]["revision"] == 12
    assert store._client.check_authentication()["role"] == "authenticated"
    assert store._client.get_jobs().request_ids == [job]
    store.delete(job)
    assert store._client.get_jobs().request_ids == []


def test_names_numbers_and_kinds_agree_with_what_is_served():
    for family, fields in (("era5", FIELDS), ("era5-land", LAND_FIELDS)):
        for name, (short, _, param, _, is_accumulated, *_) in fields.items():
            variable = CATALOGUES[family][name]
            assert (variable.short, variable.param, variable.step_type == "accum") == (short, param, is_accumulated)


def test_waits_double_up_to_the_longest_and_end_with_the_budget():
    slept = []
    waits = Patience(budget_s=1000, first_s=10, longest_s=40, sleep=slept.append).begin()
    with pytest.raises(RetryableSourceError, match=r"busy: gave up after \d+ tries and 9\d\d s of waiting"):
        for _ in range(100):
            waits.again("busy")
    assert all(abs(s - e) <= 0.1 * e for s, e in zip(slept[:5], [10, 20, 40, 40, 40], strict=True))
    assert sum(slept) <= 1000


@pytest.mark.parametrize(
    ("text", "seconds"), [("0", 0.0), ("120", 120.0), ("", None), ("-5", None), ("1e9", None), ("next week", None)]
)
def test_retry_after_is_seconds_or_a_date_or_nothing(text, seconds):
    assert retry_after_seconds({"Retry-After": text}) == seconds


def test_a_journal_knows_a_job_only_at_its_own_service(tmp_path):
    request, other = plan(Wish("monthly", 2021, ("t2m",)))
    journal = Journal(tmp_path / "jobs")
    journal.record(request, "https://one", "job-1")
    assert journal.find(request, "https://one").job_id == "job-1"
    assert journal.find(request, "https://two") is None
    assert journal.find(other, "https://one") is None
    assert [j.job_id for j in journal.open_jobs()] == ["job-1"]
    journal.forget(request)
    assert journal.find(request, "https://one") is None
    (tmp_path / "jobs" / f"{request.name}.json").write_text("{")
    with pytest.raises(StoreError, match="is not a journal entry"):
        journal.find(request, "https://one")

"""The Climate Data Store (CDS) through its own client: who we are, one call at a time, and what a refusal means.

The client (``ecmwf-datastores-client``) knows the addresses and the messages; waiting is ours (`patience`), because
it would wait for up to 16 hours without a word. Every refusal becomes one sentence that says what to do, and none
holds the key.
"""

import os
import warnings
from collections import deque
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from entropice_core.errors import ConfigError, SourceError
from entropice_core.fetch.patience import Patience, UnreachableError, retry_after_seconds

if TYPE_CHECKING:
    import requests
    from ecmwf.datastores import Remote

CDS_URL = "https://cds.climate.copernicus.eu/api"
INSTALL = "pip install 'entropice[fetch]'"
_KEY_PAGE = "the page 'Your profile' of https://cds.climate.copernicus.eu"
_AGAIN = {408, 429, 500, 502, 503, 504}
_TIMEOUT_S = (20.0, 60.0)  # connect, silence
T = TypeVar("T")


class TooLargeError(SourceError):
    """The request costs more than the service allows: it must be split."""


class RefusedError(SourceError):
    """The service refuses whatever is asked until somebody does something, such as accept a licence."""


class JobGoneError(SourceError):
    """The job or its result is no longer there: it must be submitted again."""


class JobFailedError(SourceError):
    """The service could not do the job."""


@dataclass(frozen=True)
class Credentials:
    """Where the service is and who asks; the key is never shown."""

    url: str
    key: str = field(repr=False)


@dataclass(frozen=True)
class Cost:
    """What a request costs and what is allowed."""

    cost: float
    limit: float

    @property
    def is_too_much(self) -> bool:
        """True when the service would refuse it."""
        return self.cost > self.limit


@dataclass(frozen=True)
class Asset:
    """The file that a job made."""

    href: str
    size: int
    md5: str | None
    media_type: str


def read_credentials(environ: Mapping[str, str] | None = None) -> Credentials:
    """Find address and key where the CDS's own tools look: CDSAPI_URL and CDSAPI_KEY, else CDSAPI_RC or ~/.cdsapirc."""
    env = os.environ if environ is None else environ
    url, key = env.get("CDSAPI_URL"), env.get("CDSAPI_KEY")
    file = Path(env.get("CDSAPI_RC") or Path.home() / ".cdsapirc")
    if not key and file.is_file():
        stored = _read_rc(file)
        url, key = url or stored.get("url"), stored.get("key")
    if not key:
        raise ConfigError(
            f"No key for the Climate Data Store: set CDSAPI_KEY to the personal access token of {_KEY_PAGE}, or write "
            f"it into {file}."
        )
    if ":" in key:
        raise ConfigError(
            "The key of the Climate Data Store is of the old kind (user:key), which is no longer accepted: set "
            f"CDSAPI_KEY to the personal access token of {_KEY_PAGE}."
        )
    return Credentials((url or CDS_URL).rstrip("/"), key)


def _read_rc(file: Path) -> dict[str, str]:
    try:
        from cdsapi.api import read_config  # type: ignore[import-untyped]
    except ImportError as error:
        raise ConfigError(f"Fetching needs the library cdsapi, which is not installed: {INSTALL}.") from error
    return dict(read_config(str(file)))


class ClimateDataStore:
    """The few calls that fetching needs, each repeated with patience, each refusal a sentence."""

    def __init__(self, credentials: Credentials, patience: Patience | None = None) -> None:
        try:
            import requests
            from ecmwf.datastores import Client
        except ImportError as error:
            raise ConfigError(
                f"Fetching needs the library ecmwf-datastores-client, which is not installed: {INSTALL}."
            ) from error
        self.url, self._key = credentials.url, credentials.key
        self.patience = patience or Patience()
        self.session = requests.Session()
        self._messages: deque[str] = deque(maxlen=50)
        self._remotes: dict[str, Remote] = {}
        with (
            warnings.catch_warnings()
        ):  # the client asks for news first; whether the server answers shows at the next call
            warnings.simplefilter("ignore", UserWarning)
            self._client = Client(
                url=self.url, key=self._key, progress=False, timeout=_TIMEOUT_S, maximum_tries=1, retry_after=0,
                session=self.session, log_callback=self._hear,
            )  # fmt: skip

    def __repr__(self) -> str:
        return f"ClimateDataStore({self.url!r})"

    def _hear(self, level: int, message: object, *_: object) -> None:
        """Keep what the service says (it tells of dropped variables only there), without the key."""
        if level >= 20:
            self._messages.append(str(message).replace(self._key, "***"))

    def messages(self) -> list[str]:
        """Give what the service said since the last time."""
        said = list(dict.fromkeys(self._messages))
        self._messages.clear()
        return said

    def cost(self, dataset: str, inputs: Mapping[str, Any]) -> Cost:
        """Ask what a request would cost; the service refuses invalid ones here already."""

        def ask() -> tuple[Cost, Any, Any]:
            answer = self._client.estimate_costs(dataset, inputs)
            cost = Cost(float(answer["cost"]), float(answer["limit"]))
            return cost, answer.get("request_is_valid", True), answer.get("invalid_reason")

        cost, is_valid, reason = self._call(f"the cost of a request to {dataset}", ask)
        if not is_valid and not cost.is_too_much:
            raise SourceError(f"{self._host()} refuses a request to {dataset}: {reason}.")
        return cost

    def constraints(self, dataset: str, inputs: Mapping[str, Any]) -> dict[str, list[str]]:
        """Ask what may still be chosen when this much is; the values of each key that make a valid request."""
        answer = self._call(
            f"what may be asked of {dataset}", lambda: self._client.apply_constraints(dataset, dict(inputs))
        )
        return {str(key): [str(value) for value in values] for key, values in answer.items()}

    def submit(self, dataset: str, inputs: Mapping[str, Any]) -> str:
        """Put a request into the queue; give the job's id."""
        remote = self._call(f"a request to {dataset}", lambda: self._client.submit(dataset, dict(inputs)))
        self._remotes[remote.request_id] = remote
        return str(remote.request_id)

    def state(self, job: str) -> str:
        """Ask how far a job is: accepted, running, successful, failed, rejected or dismissed."""
        what = f"job {job}"
        if job not in self._remotes:
            self._remotes[job] = self._call(what, lambda: self._client.get_remote(job))
        return self._call(what, lambda: self._remotes[job].status)

    def failure(self, job: str) -> JobFailedError:
        """Ask why a job failed."""
        try:
            self._call(f"job {job}", lambda: self._remotes[job].results_ready)
        except JobFailedError as error:
            return error
        return JobFailedError(f"Job {job} of the Climate Data Store failed, and the service says no reason.")

    def asset(self, job: str) -> Asset:
        """Ask where the result of a finished job is, how large, and its checksum."""
        results = self._call(f"the result of job {job}", lambda: self._client.get_results(job))
        asset = results.asset
        md5 = str(asset.get("file:checksum") or "").lower()
        return Asset(
            results.location, results.content_length, md5 if len(md5) == 32 else None, str(asset.get("type", ""))
        )

    def delete(self, job: str) -> None:
        """Tell the service that a job is of no more use; it keeps results for a while otherwise."""
        self._call(f"job {job}", lambda: self._client.delete(job))
        self._remotes.pop(job, None)

    def _call(self, what: str, ask: Callable[[], T]) -> T:
        import requests
        from ecmwf.datastores.processing import LinkError

        waits = self.patience.begin()
        while True:
            try:
                return ask()
            except requests.HTTPError as error:
                response = error.response
                if response is None or not _is_worth_another_try(response):
                    raise self._refusal(what, response) from None
                reason = f"{self._host()} answered {response.status_code} ({_title(response)}) to {what}"
                waits.again(reason, retry_after_seconds(response.headers))
            except (requests.ConnectionError, requests.Timeout, requests.exceptions.ChunkedEncodingError) as error:
                waits.again(f"{self._host()} did not answer for {what} ({type(error).__name__})")
            except (requests.JSONDecodeError, KeyError, AssertionError, LinkError) as error:
                raise UnreachableError(
                    f"{self._host()} answered {what} with something else than the service's message "
                    f"({type(error).__name__}): is CDSAPI_URL the address of the service, such as {CDS_URL}?"
                ) from error

    def _host(self) -> str:
        return f"The Climate Data Store ({self.url.split('//')[-1].split('/')[0]})"

    def _refusal(self, what: str, response: "requests.Response | None") -> Exception:
        if response is None:
            return UnreachableError(f"{self._host()} ended {what} without an answer; run the same command again.")
        title, detail = _title(response), str(_body(response).get("detail") or "")
        status = response.status_code
        if status == 403 and "licence" in title:
            return RefusedError(
                f"A licence of the data set must be accepted once: {detail or 'see the download form of the data set.'}"
            )
        if status == 403 and ("cost" in title or "too large" in detail):
            return TooLargeError(f"{self._host()} refuses {what}: {title}. {detail}")
        if status in (401, 403):
            return ConfigError(
                f"{self._host()} does not accept the key ({status} {title}): set CDSAPI_KEY to the personal access "
                f"token of {_KEY_PAGE}."
            )
        if status == 404:
            return JobGoneError(f"{self._host()} no longer has {what} ({title}).")
        if status == 400 and "The job has " in f"{title} {detail}":
            return JobFailedError(f"{self._host()} could not do {what}: {_reason(response)}")
        return SourceError(f"{self._host()} refuses {what} ({status} {title}): {detail or _reason(response)}")


def _is_worth_another_try(response: "requests.Response") -> bool:
    return response.status_code in _AGAIN or "queued requests" in str(_body(response).get("detail") or "")


def _body(response: "requests.Response") -> dict[str, Any]:
    try:
        body = response.json()
    except ValueError:
        return {}
    return body if isinstance(body, dict) else {}


def _title(response: "requests.Response") -> str:
    return str(_body(response).get("title") or response.reason)


def _reason(response: "requests.Response") -> str:
    """Give the last line that the service wrote about a failure, which is the one that says why."""
    body = _body(response)
    lines = str(body.get("traceback") or body.get("detail") or body.get("title") or "no reason given").splitlines()
    return next((line.strip() for line in reversed(lines) if line.strip()), "no reason given")

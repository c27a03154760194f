"""Calls to Google Earth Engine through its own client: credentials, waiting, and what an error means.

The client repeats calls by itself without reading ``Retry-After`` and tells errors as texts. Here it repeats nothing;
an error becomes one of three things: wait and try again (busy, broken line), ask for less (``TooLargeError``), or a
sentence that says what to do. The client keeps its connection in module variables: one service a process.
"""

import json
import os
import re
import warnings
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from threading import Lock
from typing import Any, TypeVar

from entropice_core.errors import ConfigError, EntropiceError, SourceError
from entropice_core.fetch.patience import Patience, retry_after_seconds

Answer = TypeVar("Answer")

MOST_PARALLEL = 40
"""Requests at a time that Earth Engine allows a project; more are refused with 429."""
PAGE = 1000
PAYLOAD_BYTES = 10_485_760
"""Largest request that Earth Engine takes."""
_DEADLINE_MS = 330_000  # the service itself gives up after five minutes
_BUSY = {408, 429, 500, 502, 503, 504}
_TOO_LARGE = re.compile(
    r"memory limit exceeded|memory capacity exceeded|computation timed out|payload size exceeds|response size exceeds"
    r"|too many edges|too large",
    re.IGNORECASE,
)
_RATE = re.compile(r"too many concurrent|rate limit exceeded|quota exceeded", re.IGNORECASE)  # also with other statuses
_HOW = (
    "run `earthengine authenticate`, or let GOOGLE_APPLICATION_CREDENTIALS name the key file of a service account that "
    "is registered for Earth Engine"
)
_LOCK = Lock()
_CONNECTED: dict[str, Any] = {}
"""What the client of this process is connected to; empty before, and after credentials were refused."""


class TooLargeError(SourceError):
    """Earth Engine cannot do that much in one request; less of it may work."""


@dataclass(frozen=True)
class EarthEngine:
    """A service that answers. ``project`` : the Google Cloud project that is charged; None for that of the account."""

    endpoint: str
    project: str | None
    patience: Patience

    def value(self, what: str, expression: Any) -> Any:
        """Compute a value; ``what`` is for messages."""
        import ee

        return self.call(what, lambda: ee.data.computeValue(expression))

    def table(self, what: str, expression: Any) -> list[dict[str, Any]]:
        """Compute a table: the properties of its rows, all pages."""
        import ee

        rows: list[dict[str, Any]] = []
        token: str | None = None
        while True:
            params = {"expression": expression, "pageSize": PAGE, **({"pageToken": token} if token else {})}
            answer = self.call(what, lambda asked=params: ee.data.computeFeatures(asked))  # type: ignore[misc]
            rows += [feature["properties"] for feature in answer.get("features", [])]
            token = answer.get("nextPageToken")
            if not token:
                return rows

    def call(self, what: str, do: Callable[[], Answer]) -> Answer:
        """Do a call; wait and do it again while the service is busy.

        Raises
        ------
        TooLargeError
            When the service says that this is too much for one request.
        ConfigError
            When credentials or project must be changed.
        RetryableSourceError
            When the service stays busy for longer than the budget of waiting.
        """
        return _patiently(f"Earth Engine ({what})", do, self.patience)


def connect(endpoint: str, project: str | None, patience: Patience, credentials: Any = None) -> EarthEngine:
    """Connect the client to a service.

    Parameters
    ----------
    endpoint, project : the service, and the project that is charged
    patience : how long a busy service is waited for
    credentials : of ``google.auth``; those of this machine when not given
    """
    try:
        import ee
    except ImportError as error:
        raise ConfigError("Earth Engine's client is not installed: pip install 'entropice[fetch]'.") from error
    with _LOCK:
        wanted = endpoint, project, os.environ.get("GOOGLE_CLOUD_PROJECT"), credentials or _account()
        if _CONNECTED.get("wanted") == wanted and ee.data.is_initialized():  # connecting takes a second
            return EarthEngine(endpoint, _CONNECTED["charged"], patience)
        held = credentials or _patiently("Earth Engine (credentials)", read_credentials, patience)
        charged = project or os.environ.get("GOOGLE_CLOUD_PROJECT") or getattr(held, "project_id", None)
        charged = charged or getattr(held, "quota_project_id", None)
        ee.data.setMaxRetries(0)
        _patiently(f"Earth Engine ({endpoint})", lambda: ee.Initialize(held, url=endpoint, project=charged), patience)
        if not _CONNECTED:
            ee.data.setDeadline(_DEADLINE_MS)  # stays from then on
        _CONNECTED.update(wanted=wanted, charged=charged)
    return EarthEngine(endpoint, charged, patience)


def _account() -> list[tuple[str, float]]:
    """The files that may hold credentials, and when each was changed."""
    import ee

    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS", "")
    files = [named, ee.oauth.get_credentials_path()]
    return [(file, Path(file).stat().st_mtime if file and Path(file).is_file() else 0.0) for file in files]


def read_credentials() -> Any:
    """Credentials of this machine; whether they are still valid, their first use tells.

    In this order: the file that ``GOOGLE_APPLICATION_CREDENTIALS`` names (a service account's key, or what gcloud
    wrote), what ``earthengine authenticate`` left, Google's application default credentials.

    Raises
    ------
    ConfigError
        When there are none, or they cannot be read.
    """
    import ee
    from google.oauth2.credentials import Credentials

    named = os.environ.get("GOOGLE_APPLICATION_CREDENTIALS")
    if named and _kind_of(Path(named)) == "service_account":
        try:
            return ee.ServiceAccountCredentials(None, key_file=named)
        except ValueError as error:
            raise ConfigError(f"The key file {named} is no key of a service account ({error}): {_HOW}.") from error
    left = _left_by_authenticate()
    held = Credentials(None, **left) if left.get("refresh_token") and not named else _application_default()
    project = left.get("quota_project_id") or held.quota_project_id or ee.oauth.get_appdefault_project()
    return held.with_quota_project(project) if project else held


def _left_by_authenticate() -> dict[str, Any]:
    """What ``earthengine authenticate`` and ``earthengine set_project`` wrote; empty when they were not run."""
    import ee

    try:
        return dict(ee.oauth.get_credentials_arguments())
    except OSError:
        return {}
    except (ValueError, AttributeError) as error:
        raise ConfigError(
            f"{ee.oauth.get_credentials_path()} cannot be read ({type(error).__name__}): remove it and {_HOW}."
        ) from error


def _application_default() -> Any:
    """Google's application default credentials: of the named file, of gcloud, or of a machine in Google's cloud."""
    import google.auth
    from ee.oauth import SCOPES
    from google.auth.exceptions import DefaultCredentialsError

    with warnings.catch_warnings():
        warnings.filterwarnings("ignore", ".*(No project ID|quota project).*")  # the project is looked for elsewhere
        try:
            return google.auth.default(default_scopes=SCOPES)[0]
        except DefaultCredentialsError as error:
            said = " ".join(str(error).split())[:300]
            raise ConfigError(f"There are no credentials for Earth Engine on this machine ({said}): {_HOW}.") from error


def _kind_of(path: Path) -> str:
    try:
        return str(json.loads(path.read_text(encoding="utf-8")).get("type", ""))
    except (OSError, ValueError, AttributeError) as error:
        raise ConfigError(
            f"GOOGLE_APPLICATION_CREDENTIALS names {path}, which is no JSON ({type(error).__name__}): {_HOW}."
        ) from error


def _patiently(what: str, do: Callable[[], Answer], patience: Patience) -> Answer:
    from ee import EEException
    from google.auth.exceptions import GoogleAuthError
    from googleapiclient.errors import Error as ClientError

    waits = patience.begin()
    while True:
        try:
            return do()
        except (EEException, ClientError, GoogleAuthError, OSError, ValueError) as error:
            problem = _meaning(what, error)
            if isinstance(problem, EntropiceError):
                raise problem from error
            waits.again(problem.reason, problem.retry_after_s)


@dataclass(frozen=True)
class _Busy:
    reason: str
    retry_after_s: float | None = None


def _meaning(what: str, error: Exception) -> EntropiceError | _Busy:
    """What an error of the client means: an error of ours, or that it is busy."""
    from google.auth.exceptions import GoogleAuthError, RefreshError

    status, headers = _answer_of(error)
    text = " ".join(str(error).split())[:400] or type(error).__name__
    if _TOO_LARGE.search(text) or status == 413:
        return TooLargeError(f"{what}: {text}")
    if isinstance(error, RefreshError) and not error.retryable or status == 401:
        _CONNECTED.pop("wanted", None)
        return ConfigError(f"{what}: the credentials have expired or were withdrawn ({text}); {_HOW}.")
    if status in _BUSY or _RATE.search(text):
        return _Busy(f"{what} answered {status}: {text}", retry_after_seconds(headers))
    if isinstance(error, (GoogleAuthError, ConnectionError, TimeoutError)):
        return _Busy(f"{what} did not answer ({type(error).__name__})")
    if status == 403 or "no project" in text.lower() or "project" in text.lower() and status is None:
        return ConfigError(
            f"{what}: {text} Name a Google Cloud project that is registered for Earth Engine (`project` of the source, "
            "or GOOGLE_CLOUD_PROJECT) and that the account may use."
        )
    if isinstance(error, ValueError) and status is None:
        return _Busy(f"{what} answered what is no JSON ({text[:80]})")
    return SourceError(f"{what} answered {status}: {text}")


def _answer_of(error: BaseException | None) -> tuple[int | None, dict[str, str]]:
    """Status and headers of the answer behind an error: the client hides it one level down."""
    for each in (error, getattr(error, "__context__", None)):
        answer = getattr(each, "resp", None)
        if answer is not None:
            return int(answer.status), {"Retry-After": str(answer.get("retry-after", ""))}
    return None, {}

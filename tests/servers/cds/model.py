"""What the service knows of calls, jobs and files, and the faults it is told to make."""

from dataclasses import dataclass, field
from typing import Any


@dataclass
class Fault:
    """The next ``times`` calls of ``method`` whose path matches ``path`` are answered with this, after ``after``."""

    method: str
    path: str
    status: int
    title: str
    detail: str = ""
    headers: dict[str, str] = field(default_factory=dict)
    times: int = 1
    after: int = 0


@dataclass
class Seen:
    """A call that was received."""

    method: str
    path: str
    headers: dict[str, str]
    body: Any


@dataclass
class Job:
    """A job in the queue: how often it was looked at decides its state."""

    job_id: str
    process: str
    inputs: dict[str, Any]
    created: str
    looks: int = 0
    fate: str = "successful"
    trace: str = ""
    gone: bool = False
    log: list[tuple[str, str]] = field(default_factory=list)


@dataclass
class Asset:
    """The file of a job."""

    name: str
    content: bytes
    media_type: str
    md5: str
    size: int

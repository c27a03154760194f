"""Objects of an S3-compatible storage (or Google's, or Azure's) below one address."""

import os
import uuid
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

from entropice_core.errors import ConfigError, StoreError

RETRY_SECONDS = 60
"""How long a storage that does not answer is asked again, with waits that grow."""
SCHEMES = ("s3://", "gs://", "az://", "file://")


@dataclass(frozen=True)
class Bucket:
    """Objects below an address; keys are relative to it. Every failure names the address and the key.

    ``patience_s`` : how long a storage that does not answer is asked again; ``RETRY_SECONDS`` when not given.
    """

    url: str
    patience_s: float | None = None
    _client: Any = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        from obstore.store import from_url

        if not self.url.startswith(SCHEMES):
            raise ConfigError(
                f"ENTROPICE_STORE is {self.url!r}: give an address that begins with {', '.join(SCHEMES)}."
            )
        object.__setattr__(self, "_client", from_url(self.url, **_options(self.url, self.patience_s or RETRY_SECONDS)))

    def get(self, key: str) -> tuple[bytes, str | None]:
        """Read an object and its tag; ``FileNotFoundError`` when there is none."""
        import obstore

        with self._named(key):
            found = obstore.get(self._client, key)
            return bytes(found.bytes()), found.meta.get("e_tag")

    def fetch(self, key: str, path: Path) -> None:
        """Stream an object into a file."""
        import obstore

        with self._named(key), path.open("wb") as file:
            for chunk in obstore.get(self._client, key).stream():
                file.write(chunk)

    def put(self, key: str, content: "bytes | Path", tag: str | None = None, is_new: bool = False) -> bool:
        """Write an object; with ``tag`` only over that very state, with ``is_new`` only over nothing.

        Returns whether it was written; ``False`` when the condition did not hold.
        """
        import obstore
        from obstore.exceptions import AlreadyExistsError, PreconditionError

        mode: Any = {"e_tag": tag} if tag is not None else "create" if is_new else "overwrite"
        with self._named(key):
            try:
                obstore.put(self._client, key, content, mode=mode)
            except (AlreadyExistsError, PreconditionError, FileExistsError):
                return False
        return True

    def list(self, prefix: str = "") -> Iterator[Mapping[str, Any]]:
        """List objects below a prefix: path, size, last_modified."""
        import obstore

        with self._named(prefix):
            for batch in obstore.list(self._client, prefix=prefix or None):
                yield from batch

    def clock(self) -> datetime:
        """The present by the clock that dates the objects."""
        import obstore

        key = f"clock-{uuid.uuid4().hex}"
        self.put(key, b"now")
        with self._named(key):
            found: datetime = obstore.head(self._client, key)["last_modified"]
        self.delete(key)
        return found

    def delete(self, key: str) -> None:
        """Remove an object."""
        import obstore

        with self._named(key):
            obstore.delete(self._client, key)

    def _named(self, key: str) -> "_Named":
        return _Named(f"{self.url.rstrip('/')}/{key}")


@dataclass(frozen=True)
class _Named:
    """Say which object it was when the storage fails; a missing object stays a ``FileNotFoundError``."""

    what: str

    def __enter__(self) -> None:
        return

    def __exit__(self, kind: Any, error: BaseException | None, trace: Any) -> None:
        from obstore.exceptions import BaseError

        if isinstance(error, BaseError) and not isinstance(error, FileNotFoundError):
            first = str(error).strip().splitlines()[0][:300]
            raise StoreError(
                f"{self.what}: the object storage refused ({first}); check ENTROPICE_STORE, the keys and the network. "
                "The version before stays."
            ) from error


def _options(url: str, patience_s: float) -> dict[str, Any]:
    """Give a local server without TLS a chance, and an end to asking one that does not answer."""
    if url.startswith("file://"):
        return {"mkdir": True}
    plain = url.startswith("s3://") and os.environ.get("AWS_ENDPOINT_URL", "").startswith("http://")
    patience = {"max_retries": 8, "retry_timeout": timedelta(seconds=patience_s)}
    return {"client_options": {"allow_http": plain}, "retry_config": patience}

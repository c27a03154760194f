"""Our errors as Dagster failures: the same sentence, and a new attempt only where that can help."""

from collections.abc import Iterator
from contextlib import contextmanager

import dagster as dg

from entropice_core.errors import EntropiceError, RetryableSourceError

MAX_RETRIES = 3
WAIT_S = 60


@contextmanager
def as_failure() -> Iterator[None]:
    """Turn an error of ours into what Dagster shows on top of the run; others pass with their traceback."""
    try:
        yield
    except RetryableSourceError as error:
        asked = getattr(error, "wait_s", None)  # what the service itself asks for
        raise dg.RetryRequested(max_retries=MAX_RETRIES, seconds_to_wait=asked or WAIT_S) from error
    except EntropiceError as error:
        kind = type(error).__name__
        raise dg.Failure(description=str(error), metadata={"error": kind}, allow_retries=False) from error

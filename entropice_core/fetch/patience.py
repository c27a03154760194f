"""How long to wait before a call is made again, and when to give up.

The client libraries of the Climate Data Store repeat a call up to 500 times, two minutes apart, and do not read
``Retry-After``. Here the server's word counts, waiting grows otherwise, and a budget ends it with an error that says
how long was waited.
"""

import random
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime
from email.utils import parsedate_to_datetime

from entropice_core.errors import RetryableSourceError


class UnreachableError(RetryableSourceError):
    """A service did not answer as long as we were willing to wait; ``wait_s`` is what it asks for, if it says so."""

    def __init__(self, sentence: str, wait_s: float | None = None) -> None:
        super().__init__(sentence)
        self.wait_s = wait_s


@dataclass
class Patience:
    """Waiting of one service. ``sleep`` is replaced where waiting must not take time.

    ``budget_s`` is what may be waited for one call, all its repetitions together; ``first_s`` the first wait, which
    doubles up to ``longest_s``. Waits that the server did not name vary by a tenth, so that many users who were
    refused together do not come back together.
    """

    budget_s: float = 3600.0
    first_s: float = 2.0
    longest_s: float = 300.0
    sleep: Callable[[float], None] = time.sleep
    tell: Callable[[str], None] = field(default=lambda _: None)

    def begin(self) -> "Waits":
        """Begin the waits of one call."""
        return Waits(self, self.first_s)


@dataclass
class Waits:
    """The waits of one call so far."""

    patience: Patience
    next_s: float
    waited_s: float = 0.0
    times: int = 0

    def again(self, reason: str, retry_after_s: float | None = None) -> None:
        """Wait for the next try, as long as the server said or longer than the last time.

        Raises
        ------
        UnreachableError
            When the wait would exceed the budget; it is not begun then.
        """
        pause = self.next_s * random.uniform(0.9, 1.1) if retry_after_s is None else retry_after_s  # noqa: S311
        if self.waited_s + pause > self.patience.budget_s:
            told = "" if retry_after_s is None else f", and the server asks to wait {retry_after_s:g} s more"
            raise UnreachableError(
                f"{reason}: gave up after {self.times + 1} tries and {self.waited_s:.0f} s of waiting{told}; run the "
                "same command again later, it goes on where it was.",
                retry_after_s,
            )
        self.patience.tell(f"{reason}; waiting {pause:.0f} s")
        self.patience.sleep(pause)
        self.waited_s += pause
        self.times += 1
        self.next_s = min(2 * self.next_s, self.patience.longest_s)


def retry_after_seconds(headers: Mapping[str, str], today: datetime | None = None) -> float | None:
    """Read ``Retry-After``: seconds or a date; None when absent or not readable.

    >>> retry_after_seconds({"Retry-After": "17"})
    17.0
    >>> retry_after_seconds({"Retry-After": "Wed, 21 Oct 2015 07:28:00 GMT"}, datetime(2015, 10, 21, 7, 27, tzinfo=UTC))
    60.0
    >>> retry_after_seconds({"Retry-After": "soon"}) is None
    True
    """
    text = headers.get("Retry-After", "").strip()
    if not text:
        return None
    if text.isdecimal():
        return float(text)
    try:
        moment = parsedate_to_datetime(text)
    except ValueError:
        return None
    moment = moment if moment.tzinfo else moment.replace(tzinfo=UTC)
    return max(0.0, (moment - (today or datetime.now(UTC))).total_seconds())

"""Run a program of Dagster with a clock that can be moved: ``python moved_clock.py CLOCK module:function words...``

The file CLOCK holds the seconds by which the program's clock differs from this machine's; it is read at every look, so
that months pass when somebody writes another number. Only Dagster's own notion of time is moved, in this process.
"""

import sys
import time
from datetime import UTC, datetime
from importlib import import_module
from pathlib import Path

import dagster._time as dagster_time


def move(clock: Path) -> None:
    """Let Dagster read the moved clock."""

    def timestamp() -> float:
        return time.time() + float(clock.read_text() or 0)

    dagster_time._mockable_get_current_timestamp = timestamp  # type: ignore[assignment]
    dagster_time._mockable_get_current_datetime = lambda: datetime.fromtimestamp(timestamp(), UTC)


if __name__ == "__main__":
    move(Path(sys.argv[1]))
    module, _, function = sys.argv[2].partition(":")
    sys.argv = [module, *sys.argv[3:]]
    getattr(import_module(module), function)()

"""An environment whose programs have another clock, by libfaketime (Debian: apt-get install faketime).

The clock of the file system stays, as that of a server on a network does; waiting takes as long as it takes.
"""

from pathlib import Path

import pytest


def with_clock(hours: float) -> dict[str, str]:
    """Variables for a program whose clock is some hours ahead; skips where there is no libfaketime."""
    found = sorted(Path("/usr/lib").glob("*/faketime/libfaketimeMT.so.1"))
    if not found:
        pytest.skip("no libfaketime on this machine (Debian: apt-get install faketime)")
    shifted = f"{hours * 3600:+.0f}"
    return {"LD_PRELOAD": str(found[0]), "FAKETIME": shifted, "NO_FAKE_STAT": "1"}

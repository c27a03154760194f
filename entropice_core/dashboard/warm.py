"""What later pages need, made ready while the reader looks at the first one, or before anybody has opened it.

Two threads that import one package for the first time, one of them by a module inside of it, can wait for each other;
Python then goes on with half of the package, and it stays broken (Zarr: ``KeyError: 'zarr'`` on every page). So a page
that is shown for the first time, which is when it imports, and the thread that warms up take turns.
"""

import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from importlib import import_module
from importlib.util import find_spec
from threading import Event, Lock, Timer

AFTER_S = 5.0
"""A server that nobody has asked for so long makes itself ready; a first page must not wait for that."""

REST_S = 2.0
"""The browser asks for its scripts after the server has sent a page; they must not wait for imports either."""

LATER = (
    "zarr", "entropice_core.storage.content", "entropice_core.grids.study_area", "entropice_core.grids.h3",
    "entropice_core.grids.healpix", "pandas.io.formats.style", "pyarrow.dataset", "plotly.graph_objects", "dask.array",
    "pint", "scipy.ndimage", "scipy.stats",
)  # fmt: skip
"""What pages, and libraries under them, import when they draw; dask and pint only where they are installed."""

LATER_PAGES = ("predictions", "labels", "features", "training", "priority", "grids")
_begun, _nobody_came, _ready, _turn = Lock(), Event(), Event(), Lock()
_done_once: set[str] = set()


@contextmanager
def taking_turns(what: str) -> Iterator[None]:
    """Be the only one who imports while something, such as a page, is done for the first time in this process."""
    if _ready.is_set() and what in _done_once:
        yield
        return
    with _turn:
        yield
    _done_once.add(what)


def warm_up() -> None:
    """Begin in the background, once in a process, when the browser has what it needs to draw the page."""
    if _begun.acquire(blocking=False):
        _in(REST_S, _warm)


def warm_up_later() -> None:
    """Begin when nobody has come for a while."""
    _nobody_came.set()
    _in(AFTER_S, lambda: warm_up() if _nobody_came.is_set() else None)


def somebody_came() -> None:
    """Note that a page is being made: what is left is done after it."""
    _nobody_came.clear()


def _in(seconds: float, do: Callable[[], None]) -> None:
    timer = Timer(seconds, do)
    timer.daemon = True
    timer.start()


def _warm() -> None:
    """Import what maps need and unpack the land mask."""
    try:
        for name in (*LATER, *(f"entropice_core.dashboard.views.{page}" for page in LATER_PAGES)):
            with _turn:
                if find_spec(name.partition(".")[0]):
                    import_module(name)
            time.sleep(0.01)  # a page that waits goes first
        with _turn:
            import numpy as np

            from entropice_core.grids.land import is_land

            is_land(np.array([0.0]), np.array([80.0]))
    finally:
        _ready.set()

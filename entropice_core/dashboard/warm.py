"""What later pages need, made ready while the reader looks at the first one, or before anybody has opened it."""

from collections.abc import Callable
from importlib import import_module
from threading import Event, Lock, Timer

AFTER_S = 5.0
"""A server that nobody has asked for so long makes itself ready; a first page must not wait for that."""

REST_S = 2.0
"""The browser asks for its scripts after the server has sent a page; they must not wait for imports either."""

LATER_PAGES = ("predictions", "labels", "features", "training", "priority", "grids")
_begun, _nobody_came = Lock(), Event()


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
    import_module("zarr")
    for page in LATER_PAGES:
        import_module(f"entropice_core.dashboard.views.{page}")
    import numpy as np

    from entropice_core.grids.land import is_land

    is_land(np.array([0.0]), np.array([80.0]))

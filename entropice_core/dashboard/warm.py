"""What later pages need, made ready while the reader looks at the first one, or before anybody has opened it."""

from importlib import import_module
from threading import Event, Lock, Thread, Timer

AFTER_S = 5.0
"""A server that nobody has asked for so long makes itself ready; a first page must not wait for that."""

LATER_PAGES = ("predictions", "labels", "features", "training", "priority", "grids")
_begun, _nobody_came = Lock(), Event()


def warm_up() -> None:
    """Begin in the background, once in a process."""
    if _begun.acquire(blocking=False):
        Thread(target=_warm, name="warm up", daemon=True).start()


def warm_up_later() -> None:
    """Begin when nobody has come for a while."""
    _nobody_came.set()
    timer = Timer(AFTER_S, lambda: warm_up() if _nobody_came.is_set() else None)
    timer.daemon = True
    timer.start()


def somebody_came() -> None:
    """Note that a page is being made: what is left is done after it."""
    _nobody_came.clear()


def _warm() -> None:
    """Import what maps need and unpack the land mask."""
    import_module("zarr")
    for page in LATER_PAGES:
        import_module(f"entropice_core.dashboard.views.{page}")
    import numpy as np

    from entropice_core.grids.land import is_land

    is_land(np.array([0.0]), np.array([80.0]))

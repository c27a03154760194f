"""What later pages need, made ready while the reader looks at the first one, or before anybody has opened it."""

from importlib import import_module
from threading import Lock, Thread, Timer

AFTER_S = 3.0
"""A server that nobody has asked for so long makes itself ready; sooner it would keep the first page waiting."""

LATER_PAGES = ("predictions", "labels", "features", "training", "priority", "grids")
_begun = Lock()


def warm_up() -> None:
    """Begin in the background, once in a process."""
    if _begun.acquire(blocking=False):
        Thread(target=_warm, name="warm up", daemon=True).start()


def warm_up_later() -> None:
    """Begin when nobody has come."""
    timer = Timer(AFTER_S, warm_up)
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

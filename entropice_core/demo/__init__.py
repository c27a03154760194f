"""A small generated Arctic, so that everything can be tried without an account, a network or a download.

==============  ==========================================================================
``fields``      smooth random fields on the globe
``world``       the truth of the generated Arctic: climate, relief, ground, where slumps are
``climate``     its ERA5: monthly means in the layout of the Climate Data Store
``land``        its terrain and its annual embedding: GeoTIFF
``slumps``      its RTS inventory: polygons and footprint in the layout of DARTS level 2
``write``       all of it in a folder, whole or not at all
==============  ==========================================================================

The files are written in each source's own format, with the awkward things of real ones, and are read by the same
readers as real data. The coastlines are real, everything else is made up: no number of it says anything about the
Arctic.
"""

from collections.abc import Callable, Sequence
from pathlib import Path

__all__ = ["DEMO_SEED", "DEMO_YEARS", "write_demo"]

DEMO_SEED = 42
DEMO_YEARS = (2021, 2022, 2023)


def write_demo(
    folder: Path,
    seed: int = DEMO_SEED,
    years: Sequence[int] = DEMO_YEARS,
    progress: Callable[[str], None] | None = None,
) -> Path:
    """Write the generated Arctic, unless it is there already; see :func:`entropice_core.demo.write.write_demo`."""
    from entropice_core.demo.write import write_demo as write

    return write(folder, seed, years, progress)

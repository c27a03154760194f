"""How long it takes to find the cells of many points, against the libraries called directly.

Run ``python benchmarks/grids_locate.py [millions of points]``. Every candidate takes the same points, uniform on the
sphere north of 50 N; candidates take turns, and the best of three turns counts. Slow candidates get fewer points, and
all times are CPU seconds per million. One thread (RAYON_NUM_THREADS, OMP_NUM_THREADS are set to 1).
"""

import os
import sys
import time
from collections.abc import Callable
from importlib.metadata import version

os.environ["RAYON_NUM_THREADS"] = os.environ["OMP_NUM_THREADS"] = "1"

import h3.api.basic_int as h3  # noqa: E402
import healpy  # noqa: E402
import numpy as np  # noqa: E402

from entropice_core.grids import open_grid  # noqa: E402
from entropice_core.grids.projection import POLE_Q, authalic_q  # noqa: E402

TURNS = 3
PACKAGES = ("numpy", "h3", "h3ronpy", "healpix-geo", "healpy")
Candidate = tuple[str, float, Callable[[np.ndarray, np.ndarray], np.ndarray]]


def h3_candidates(level: int) -> list[Candidate]:
    """Ours and a loop over h3-py; the number is the share of the points that a candidate gets."""

    def loop(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        pairs = zip(lat.tolist(), lon.tolist(), strict=True)
        return np.fromiter((h3.latlng_to_cell(y, x, level) for y, x in pairs), dtype=np.uint64, count=lon.size)

    return [(f"open_grid('h3', {level}).locate", 1.0, open_grid("h3", level).locate), ("loop over h3-py", 0.05, loop)]


def healpix_candidates(level: int) -> list[Candidate]:
    """Ours, healpy on the authalic latitude (the same cells) and healpy on the sphere (other cells)."""

    def authalic(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        beta = np.degrees(np.arcsin(authalic_q(np.sin(np.radians(lat))) / POLE_Q))
        return healpy.ang2pix(2**level, lon, beta, nest=True, lonlat=True).astype(np.uint64)

    def sphere(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        return healpy.ang2pix(2**level, lon, lat, nest=True, lonlat=True).astype(np.uint64)

    ours = open_grid("healpix", level).locate
    return [
        (f"open_grid('healpix', {level}).locate", 1.0, ours),
        ("healpy after authalic latitude", 0.5, authalic),
        ("healpy, sphere", 0.5, sphere),
    ]


def compare(candidates: list[Candidate], lon: np.ndarray, lat: np.ndarray) -> None:
    """Print seconds per million points, the ratio to the first candidate, and how many cells agree with it."""
    best = dict.fromkeys((name for name, _, _ in candidates), np.inf)
    found: dict[str, np.ndarray] = {}
    for _ in range(TURNS):
        for name, share, locate in candidates:
            n = int(lon.size * share)
            start = time.process_time()
            found[name] = locate(lon[:n], lat[:n])
            best[name] = min(best[name], (time.process_time() - start) / n * 1e6)
    first = candidates[0][0]
    for name, seconds in best.items():
        same = np.mean(found[name] == found[first][: found[name].size])
        print(f"{name:36s} {seconds:7.3f} s per million   x {seconds / best[first]:4.1f}   same cells {same:8.4%}")


def main() -> None:
    """Compare the finest and the coarsest level of both grids."""
    millions = float(sys.argv[1]) if len(sys.argv) > 1 else 10.0
    rng = np.random.default_rng(0)
    n = int(millions * 1e6)
    lon = rng.uniform(-180.0, 180.0, n)
    lat = np.degrees(np.arcsin(rng.uniform(np.sin(np.radians(50.0)), 1.0, n)))
    print(", ".join(f"{name} {version(name)}" for name in PACKAGES), f"- {millions:g} million points")
    for candidates in (h3_candidates(3), h3_candidates(6), healpix_candidates(6), healpix_candidates(10)):
        compare(candidates, lon, lat)


if __name__ == "__main__":
    main()

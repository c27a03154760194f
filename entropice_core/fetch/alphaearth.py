"""The tiles of AlphaEarth embeddings that a study needs: one overview of each, brought into the data folder.

Of a file of 2 to 3 GB a few hundred KB to some MB travel (``fetch.overviews``). They are written as a small GeoTIFF,
rows as the file has them, with a receipt beside it: where it came from, what its server called that version, its
checksum. A tile that is there with a fitting receipt is not asked for again, so a run that was stopped goes on.
"""

import os
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import numpy.typing as npt

from entropice_core.config.sources.alphaearth import PIXEL_M, AlphaEarthConfig
from entropice_core.fetch.alphaearth_index import listing_path, read_json
from entropice_core.fetch.cog import DamagedTileError, Fetched
from entropice_core.fetch.overviews import Overview, RemoteBytes, read_overview
from entropice_core.fetch.patience import Patience
from entropice_core.fetch.stac import TileRef, patient_session
from entropice_core.fetch.tiles import PARALLEL, Report, Tell, bring_all, file_name
from entropice_core.storage.digest import file_sha256
from entropice_core.storage.durable import flush_file, flush_folder, require_space, write_json

if TYPE_CHECKING:
    import requests

BANDS = 64
NODATA = -128
_ODD_LENGTH, _ODD_SHARE = 0.1, 0.01


def dequantised() -> npt.NDArray[np.float64]:
    """What each stored byte means, at position byte + 128, NaN for nodata: (256,).

    x = sign(v) (v / 127.5)^2: rounding a square root to a byte keeps small numbers finer than large ones.

    >>> dequantised()[[128 - 51, 128, 128 + 102]].round(4).tolist()
    [-0.16, 0.0, 0.64]
    """
    v = np.arange(-128.0, 128.0)
    v[0] = np.nan
    found: npt.NDArray[np.float64] = np.sign(v) * (v / 127.5) ** 2
    return found


def bring_tiles(
    config: AlphaEarthConfig,
    refs: Sequence[TileRef],
    data: Path,
    year: int,
    patience: Patience,
    tell: Tell = lambda _: None,
    parallel: int = PARALLEL,
) -> tuple[Report, Path]:
    """Bring the overviews of tiles into the data folder; gives what was done and the list of tiles."""
    listing = listing_path(config, data, year)
    folder = listing.parent / f"{year}_{config.resolution_m}m"
    folder.mkdir(parents=True, exist_ok=True)
    session = patient_session(patience)

    def bring(ref: TileRef, on_bytes: Callable[[int], None]) -> Fetched:
        return bring_tile(ref, folder, config.resolution_m, session, patience, on_bytes)

    about = {"index": config.index, "year": year, "resolution_m": config.resolution_m}
    return bring_all(refs, listing, about, bring, missing=config.missing, parallel=parallel, tell=tell), listing


def bring_tile(
    ref: TileRef,
    folder: Path,
    resolution_m: int,
    session: "requests.Session",
    patience: Patience,
    on_bytes: Callable[[int], None] = lambda _: None,
) -> Fetched:
    """Bring one overview into a folder; one that is there with a fitting receipt is left as it is.

    Raises
    ------
    MissingTileError
        When the server does not have the file.
    DamagedTileError
        When what came is not what it should be, twice; it lies in quarantine then.
    """
    target = folder / f"{ref.id.split('_')[0]}_{Path(file_name(ref)).stem}.tif"
    there = _from_receipt(ref, target)
    if there is not None:
        return there
    total = calls = 0
    for _ in range(2):  # damage on the way is cured by fetching it once more
        remote = RemoteBytes(ref.href, session, patience, on_bytes)
        made, problem = _checked(remote, ref, resolution_m)
        total, calls = total + remote.received, calls + remote.requests
        if made is not None:
            _write(made, target)
            facts = {"href": ref.href, "etag": remote.etag, "of_bytes": remote.size, "received": remote.received}
            found = Fetched(target, target.stat().st_size, file_sha256(target), total, calls)
            write_json(_receipt(target), {**facts, "size": found.size, "sha256": found.sha256})
            return found
        kept = _quarantine(remote, target, problem)
        patience.tell(f"{ref.id} came damaged ({problem}); it lies in {kept}")
    raise DamagedTileError(
        f"Tile {ref.id} of {ref.href} came damaged twice: {problem}; what came lies in {kept}. Run the same command "
        "again later, and tell the provider if it stays so."
    )


def _checked(remote: RemoteBytes, ref: TileRef, resolution_m: int) -> tuple[Overview | None, str]:
    """The overview, or what is wrong with it."""
    import rasterio.errors

    try:
        made = read_overview(remote, resolution_m // PIXEL_M)
    except rasterio.errors.RasterioError as error:
        return None, f"it cannot be read ({error})"
    problem = problem_of(made, ref, resolution_m)
    return (None, problem) if problem else (made, "")


def problem_of(made: Overview, ref: TileRef, resolution_m: int) -> str:
    """What is wrong with an overview; empty when nothing is. Vectors have length 1, which tells damage from data."""
    from pyproj import CRS

    if made.values.shape[0] != BANDS or made.nodata != NODATA:
        return f"it has {made.values.shape[0]} bands and nodata {made.nodata}, not {BANDS} and {NODATA}"
    zone = ref.id.split("_")[0]
    crs = CRS.from_wkt(made.crs) if made.crs else None
    if crs is None or not crs.is_projected or crs.utm_zone != zone.removeprefix("0"):
        return f"its coordinate system is {crs.name if crs else None}, the index says UTM zone {zone}"
    a, b, left, d, e, top = made.transform
    if b or d or abs(abs(a) - resolution_m) > 1e-6 or abs(abs(e) - resolution_m) > 1e-6:
        return f"its pixels are {abs(a):g} x {abs(e):g} m, not {resolution_m} m"
    if ref.transform is not None:
        south = top if e > 0 else top + e * made.values.shape[1]
        if max(abs(left - ref.transform[2]), abs(south - ref.transform[5])) > resolution_m / 2:
            return f"its corner is {left:g} {south:g}, the index says {ref.transform[2]:g} {ref.transform[5]:g}"
    void = made.values == NODATA
    partly = int((void.any(axis=0) & ~void.all(axis=0)).sum())
    if partly:
        return f"{partly} pixels are nodata in some bands only"
    lengths = np.sqrt((np.take(dequantised() ** 2, made.values.astype(np.int16) + 128)).sum(axis=0))
    odd = np.count_nonzero(np.abs(lengths - 1.0) > _ODD_LENGTH)
    if odd > _ODD_SHARE * np.count_nonzero(~void[0]):
        return f"{odd} of {np.count_nonzero(~void[0])} vectors are not of length 1"
    return ""


def _write(made: Overview, target: Path) -> None:
    """Write a level as a GeoTIFF of its own, in one step; the old receipt goes first, as it is of another file."""
    import rasterio
    from rasterio.transform import Affine

    part = target.with_name(target.name + ".part")
    _, rows, columns = made.values.shape
    _receipt(target).unlink(missing_ok=True)
    require_space(target.parent, made.values.nbytes)
    profile = {"driver": "GTiff", "count": BANDS, "dtype": "int8", "nodata": NODATA, "interleave": "band"}
    with rasterio.open(
        part, "w", height=rows, width=columns, crs=made.crs, transform=Affine(*made.transform), compress="deflate",
        **profile,
    ) as file:  # fmt: skip
        file.write(made.values)
    flush_file(part)
    os.replace(part, target)
    flush_folder(target.parent)


def _receipt(target: Path) -> Path:
    return target.with_name(target.name + ".json")


def _from_receipt(ref: TileRef, target: Path) -> Fetched | None:
    """The file that is there, if it is whole and of the address that the index has today."""
    receipt = read_json(_receipt(target))
    if receipt.get("href") != ref.href or not target.is_file() or receipt.get("size") != target.stat().st_size:
        return None
    found = file_sha256(target)
    return Fetched(target, target.stat().st_size, found) if found == receipt.get("sha256") else None


def _quarantine(remote: RemoteBytes, target: Path, reason: str) -> Path:
    """Keep the bytes that came, with the reason beside them."""
    folder = target.parent / "quarantine"
    folder.mkdir(exist_ok=True)
    kept = folder / f"{target.stem}.bytes"
    kept.write_bytes(b"".join(remote.pages[page] for page in sorted(remote.pages)))
    write_json(kept.with_name(kept.name + ".json"), {"reason": reason, "href": remote.href, "etag": remote.etag})
    return kept

"""The list of what Earth Engine answered for a year, which the source reads."""

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from entropice_core.config.sources.alphaearth import AlphaEarthConfig
from entropice_core.features.cell_labels import CellIndex
from entropice_core.features.kept import read_kept
from entropice_core.fetch.earth_engine.images import EeImage
from entropice_core.storage.recipe import canonical_json, text_digest


def describe_answers(
    config: AlphaEarthConfig,
    images: Sequence[EeImage],
    indexes: Mapping[str, CellIndex],
    files: Sequence[Path],
    listing: Path,
    year: int,
) -> dict[str, Any]:
    """Where each answer lies, which images it is of, and what was asked for."""
    entries = [_entry(path, listing) for path in files]
    return {
        "route": "earth_engine",
        "asset": config.asset,
        "year": year,
        "resolution_m": config.resolution_m,
        "with_squares": "std" in config.parts,
        "grids": list(indexes),
        "digest": text_digest(canonical_json([entry["file"] for entry in entries])),
        "images": [_described(image) for image in images],
        "tiles": entries,
    }


def _entry(path: Path, listing: Path) -> dict[str, Any]:
    header, arrays = read_kept(path)
    keys = [header["grids"][i] for i in np.unique(arrays["grid"]).tolist()]
    return {"file": path.relative_to(listing.parent).as_posix(), "image": header["image"], "grids": keys}


def _described(image: EeImage) -> dict[str, Any]:
    place = image.place
    code = place.crs.to_epsg()
    return {
        "id": image.id,
        "version": image.version,
        "crs": f"EPSG:{code}" if code else place.crs.to_wkt(),
        "left": place.left,
        "top": place.top,
        "step_x": place.step_x,
        "step_y": place.step_y,
        "shape": list(place.shape),
    }

"""Metadata that lets other software recognise the grid: CF, xdggs, and the Zarr convention for DGGS.

Three conventions are written, because no reader knows all of them:

* **xdggs**: attributes of the coordinate ``cell_ids`` (``grid_name``, ``level``, ``indexing_scheme``, ``ellipsoid``
  with ``semimajor_axis``). xdggs hands these attributes to its grid class as they are, so nothing else may stand among
  them: a CF ``standard_name`` or ``units`` there makes ``xdggs.decode`` fail.
* **zarr-conventions/dggs**: group attributes ``zarr_conventions`` and ``dggs``. Its ellipsoid follows PROJJSON
  (``name``, ``semi_major_axis`` with a second underscore, ``inverse_flattening``); since May 2026 the spelling of xdggs
  is refused by its schema.
* **CF** (1.13, HEALPix only; H3 has no CF name): a scalar ``crs`` with the grid mapping, named by ``grid_mapping``.
"""

from collections.abc import Mapping
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.errors import SchemaError

CF_VERSION = "CF-1.13"

DGGS_CONVENTION = {
    "uuid": "7b255807-140c-42ca-97f6-7a1cfecdbc38",
    "schema_url": "https://raw.githubusercontent.com/zarr-conventions/dggs/refs/tags/v1/schema.json",
    "spec_url": "https://github.com/zarr-conventions/dggs/blob/v1/README.md",
    "name": "dggs",
    "description": "Discrete Global Grid Systems convention for zarr",
}
"""How a Zarr group declares that it follows the DGGS convention."""

_XDGGS_KEYS = {"grid_name", "level", "indexing_scheme", "ellipsoid"}


def apply_conventions(dataset: xr.Dataset, cell_ids_attrs: Mapping[str, Any]) -> xr.Dataset:
    """Return the dataset with the metadata of all three conventions; values are not touched.

    Parameters
    ----------
    dataset : has the coordinate ``cell_ids`` (cell) uint64
    cell_ids_attrs : attributes of that coordinate as the grid gives them (``grid.attrs()``)
    """
    attrs = dict(cell_ids_attrs)
    _check(dataset, attrs)
    ready = dataset.copy()
    ready["cell_ids"].attrs = attrs
    others = [item for item in dataset.attrs.get("zarr_conventions", []) if item.get("uuid") != DGGS_CONVENTION["uuid"]]
    ready.attrs |= {
        "Conventions": CF_VERSION,
        "zarr_conventions": [*others, dict(DGGS_CONVENTION)],
        "dggs": dggs_block(attrs),
    }
    return _with_grid_mapping(ready, attrs) if attrs["grid_name"] == "healpix" else ready


def _check(dataset: xr.Dataset, attrs: Mapping[str, Any]) -> None:
    if "cell_ids" not in dataset.coords or dataset["cell_ids"].dims != ("cell",):
        raise SchemaError("The dataset has no coordinate cell_ids along the dimension 'cell'; add it first.")
    if dataset["cell_ids"].dtype != np.uint64:
        raise SchemaError(f"cell_ids has the type {dataset['cell_ids'].dtype}; expected uint64.")
    missing, extra = {"grid_name", "level"} - set(attrs), set(attrs) - _XDGGS_KEYS
    if missing or extra:
        raise SchemaError(
            f"The attributes of cell_ids lack {sorted(missing)} and have {sorted(extra)} too many; xdggs reads exactly "
            f"{sorted(_XDGGS_KEYS)}, of which grid_name and level are required."
        )
    ellipsoid = attrs.get("ellipsoid")
    if ellipsoid is not None and not (isinstance(ellipsoid, Mapping) and _is_ellipsoid(ellipsoid)):
        raise SchemaError(
            f"The ellipsoid {ellipsoid!r} of cell_ids is not a table of name, semimajor_axis and inverse_flattening "
            f"(or name and radius)."
        )


def _is_ellipsoid(ellipsoid: Mapping[str, Any]) -> bool:
    return set(ellipsoid) in ({"name", "semimajor_axis", "inverse_flattening"}, {"name", "radius"})


def dggs_block(attrs: Mapping[str, Any]) -> dict[str, Any]:
    """The ``dggs`` group attribute for the attributes of ``cell_ids``.

    >>> dggs_block({"grid_name": "h3", "level": 5})["refinement_level"]
    5
    """
    block: dict[str, Any] = {
        "name": attrs["grid_name"],
        "refinement_level": int(attrs["level"]),
        "spatial_dimension": "cell",
        "coordinate": "cell_ids",
        "compression": "none",
    }
    if "indexing_scheme" in attrs:
        block["indexing_scheme"] = attrs["indexing_scheme"]
    if "ellipsoid" in attrs:
        block["ellipsoid"] = _respelled(attrs["ellipsoid"])
    return block


def _respelled(ellipsoid: Mapping[str, Any]) -> dict[str, Any]:
    return {("semi_major_axis" if key == "semimajor_axis" else key): value for key, value in ellipsoid.items()}


def _with_grid_mapping(dataset: xr.Dataset, attrs: Mapping[str, Any]) -> xr.Dataset:
    """Add the CF grid mapping of HEALPix and point every variable along the cells to it."""
    ellipsoid = {key: value for key, value in _respelled(attrs.get("ellipsoid", {})).items() if key != "name"}
    mapping = {
        "grid_mapping_name": "healpix",
        "refinement_level": int(attrs["level"]),
        "indexing_scheme": attrs.get("indexing_scheme", "nested"),
        **ellipsoid,
    }
    ready = dataset.assign(crs=xr.Variable((), np.int8(0), mapping))
    for name in ready.data_vars:
        if "cell" in ready[name].dims:
            ready[name].attrs["grid_mapping"] = "crs"
    return ready

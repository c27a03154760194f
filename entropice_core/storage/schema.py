"""The promised shape of datasets, and the refusal of data that break it.

A schema is a JSON file in ``schemas/`` that is reviewed like code. It says which coordinates, variables and
attributes a dataset must have; whether more are allowed; and ``publish`` refuses the rest by name. Drift is the same
question between years: a feature that appears, vanishes or changes its type in one year would be mixed into training.
"""

import json
from collections.abc import Mapping
from functools import cache
from importlib import resources
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

from entropice_core.errors import ConfigError, ProvenanceError, SchemaError, nearest_hint
from entropice_core.storage.digest import logical_dtype
from entropice_core.storage.manifest import Manifest


def schema_names() -> list[str]:
    """Names of the known schemas."""
    folder = resources.files("entropice_core.storage") / "schemas"
    return sorted(item.name.removesuffix(".json") for item in folder.iterdir() if item.name.endswith(".json"))


@cache
def load_schema(name: str) -> dict[str, Any]:
    """Read a schema by name; the known names are ``schema_names()``."""
    if name not in schema_names():
        raise ConfigError(f"There is no schema {name!r}; {nearest_hint(name, schema_names())}.")
    text = (resources.files("entropice_core.storage") / "schemas" / f"{name}.json").read_text(encoding="utf-8")
    schema: dict[str, Any] = json.loads(text)
    return schema


def check_schema(dataset: xr.Dataset, name: str, what: str) -> None:
    """Refuse a dataset that lacks what its schema promises.

    Parameters
    ----------
    dataset : what is about to be published
    name : name of the schema
    what : how to call the dataset in an error, such as ``labels h3-4/2018``
    """
    schema = load_schema(name)
    _check_attrs(dataset.attrs, schema.get("attrs", []), f"{what}: the dataset", name)
    for role, present in (("coords", dataset.coords), ("variables", dataset.data_vars)):
        for variable, promise in schema[role].items():
            if variable not in present:
                if promise.get("optional"):
                    continue
                other = "data variable" if role == "coords" and variable in dataset.data_vars else "not there"
                raise SchemaError(
                    f"{what}: the schema {name!r} promises {role[:-1]} {variable!r}, which is {other}; "
                    f"found: {', '.join(map(str, present)) or 'none'}."
                )
            _check_variable(dataset[variable], promise, f"{what}: {variable!r}", name)
    if not schema["extra_variables"]:
        _refuse_extra(dataset, schema, what, name)
    _check_cells(dataset, what)


def _check_variable(array: xr.DataArray, promise: Mapping[str, Any], what: str, schema: str) -> None:
    for word, got, expected in (
        ("dimensions", list(array.dims), promise["dims"]),
        ("type", logical_dtype(array.dtype, what), promise["dtype"]),
    ):
        if got != expected:
            raise SchemaError(f"{what} has the {word} {got}; the schema {schema!r} expects {expected}.")
    _check_attrs(array.attrs, promise.get("attrs", []), what, schema)


def _check_attrs(attrs: Mapping[Any, Any], wanted: list[str], what: str, schema: str) -> None:
    missing = [name for name in wanted if name not in attrs]
    if missing:
        raise SchemaError(
            f"{what} lacks the attributes {missing}; the schema {schema!r} expects them, found: "
            f"{', '.join(map(str, attrs)) or 'none'}."
        )


def _refuse_extra(dataset: xr.Dataset, schema: Mapping[str, Any], what: str, name: str) -> None:
    extra = sorted(set(map(str, dataset.data_vars)) - set(schema["variables"]) - {"crs"})
    if extra:
        raise SchemaError(
            f"{what}: the schema {name!r} has no variable {extra[0]!r}; {nearest_hint(extra[0], schema['variables'])}."
        )


def _check_cells(dataset: xr.Dataset, what: str) -> None:
    """Cell ids must rise strictly: every room joins by position after sorting, and a twin would be counted twice."""
    if "cell_ids" not in dataset.coords:
        return
    ids = dataset["cell_ids"].values
    wrong = np.flatnonzero(ids[1:] <= ids[:-1])
    if wrong.size:
        at = int(wrong[0]) + 1
        raise SchemaError(
            f"{what}: cell_ids must rise strictly, but cell {int(ids[at])} at row {at} follows {int(ids[at - 1])}; "
            f"sort the cells and remove twins."
        )


def check_drift(new: Manifest, sibling: Manifest, folder: Path) -> bool:
    """Refuse a year that differs in structure from another year made by the same code with the same configuration.

    Returns whether the two could be compared; ``folder`` is where the years lie, for the error.
    """
    same_code = new.recipe.code_version == sibling.recipe.code_version and new.recipe.step == sibling.recipe.step
    if not same_code or _without_year(new.recipe.config) != _without_year(sibling.recipe.config):
        return False
    difference = _first_difference(new.structure, sibling.structure)
    if difference:
        raise ProvenanceError(
            f"{new.dataset} {new.partition} differs from {sibling.partition} of the same code version "
            f"{new.recipe.code_version!r} and configuration: {difference}; if that is meant, because the source files "
            f"changed, remove {folder} and build all its years again."
        )
    return True


def _without_year(config: Mapping[str, Any]) -> dict[str, Any]:
    return {key: value for key, value in config.items() if key != "year"}


def _first_difference(new: Mapping[str, Any], old: Mapping[str, Any]) -> str:
    for word in ("variables", "features"):
        got, expected = new.get(word, {}), old.get(word, {})
        added, lost = [n for n in got if n not in expected], [n for n in expected if n not in got]
        if added or lost:
            return f"{word} added {added}, missing {lost}"
    for name, expected in old.get("variables", {}).items():
        if new["variables"][name] != expected:
            return f"{name!r} is {new['variables'][name]}, expected {expected}"
    return "" if new.get("features") == old.get("features") else "the features come in another order"

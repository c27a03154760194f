import hashlib
import json
from pathlib import Path

import numpy as np
import pytest

from entropice_core.errors import ProvenanceError, SchemaError, StoreError
from entropice_core.storage.manifest import Manifest, Statistics, StoredFile
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import InputRef, Recipe, SourceFile, canonical_json

WHERE = Path("current.json")


def make_recipe(**changes: object) -> Recipe:
    values: dict[str, object] = {
        "step": "labels",
        "code_version": "1",
        "config": {"a": 1},
        "inputs": (InputRef("cells", Partition("h3-4"), "c" * 64), InputRef("area", Partition(), "a" * 64)),
        "sources": (SourceFile("z.gpkg", 2, "e" * 64), SourceFile("a.gpkg", 1, "d" * 64)),
        "seed": 3,
    }
    return Recipe(**(values | changes))  # type: ignore[arg-type]


def make_manifest(recipe: Recipe | None = None) -> Manifest:
    return Manifest(
        dataset="labels",
        partition=Partition("h3-4", 2018),
        digest="0123456789abcdef" * 4,
        kind="zarr",
        created="2026-01-02T03:04:05+00:00",
        entropice="0.1.0",
        recipe=recipe or make_recipe(),
        counts={"kept": 3, "rejected": {"empty": 1}},
        statistics={"density": Statistics(3, 1 / 3, 0.0, 0.25)},
        provisional=True,
        notes=("ERA5T",),
        files=(StoredFile("zarr.json", 10, "f" * 64),),
    )


def test_the_order_in_which_inputs_and_files_were_listed_does_not_change_a_recipe() -> None:
    recipe = make_recipe()
    turned = make_recipe(inputs=recipe.inputs[::-1], sources=recipe.sources[::-1], config={"a": np.int64(1)})
    assert turned.digest == recipe.digest
    assert turned == recipe


@pytest.mark.parametrize(
    "change",
    [
        {"step": "label"},
        {"code_version": "2"},
        {"config": {"a": 2}},
        {"inputs": ()},
        {"sources": (SourceFile("a.gpkg", 1, "0" * 64),)},
        {"seed": None},
    ],
)
def test_every_part_of_a_recipe_changes_its_digest(change: dict[str, object]) -> None:
    assert make_recipe(**change).digest != make_recipe().digest


def test_the_digest_of_a_recipe_stays_what_it_was_when_stores_were_written() -> None:
    # a golden value: if this changes, every partition of every store becomes stale
    assert Recipe("s", "1", {"a": [1, 2.5, None, True]}).digest.startswith("af5efa5ef039")


@pytest.mark.parametrize("value", [float("nan"), object(), Path("/tmp/x"), {1, 2}, float("inf"), b"x"])
def test_a_configuration_that_json_cannot_hold_exactly_is_refused_by_its_place(value: object) -> None:
    with pytest.raises(SchemaError, match=r"labels'\.deep\[1\]"):
        make_recipe(config={"deep": [0, value]})


@pytest.mark.parametrize("name", ["/abs/file", "../up", "a/../b", "", "a\\b"])
def test_a_source_file_is_never_named_by_an_absolute_path(name: str) -> None:
    with pytest.raises(SchemaError, match="relative to the data folder"):
        SourceFile(name, 1, "0" * 64)


def test_a_manifest_is_read_back_as_it_was() -> None:
    manifest = make_manifest()
    assert Manifest.from_json(manifest.to_json(), WHERE) == manifest
    assert manifest.folder_name == "v-0123456789ab.zarr"
    assert manifest.ref == InputRef("labels", Partition("h3-4", 2018), manifest.digest)


def test_a_manifest_holds_plain_values_only() -> None:
    values = json.loads(make_manifest().to_json())
    assert values["partition"] == "h3-4/2018"
    assert values["recipe"]["inputs"][0] == {"dataset": "area", "partition": "all/all", "digest": "a" * 64}
    assert values["recipe_digest"] == make_recipe().digest
    assert values["statistics"]["density"] == {"rows": 3, "nan_share": 1 / 3, "minimum": 0.0, "maximum": 0.25}


def test_any_changed_character_of_a_manifest_is_noticed() -> None:
    text = make_manifest().to_json()
    for old, new in (('"kept": 3', '"kept": 4'), ("ERA5T", "ERA5t"), ('"size": 10', '"size": 11')):
        assert old in text
        with pytest.raises(StoreError, match="current.json"):
            Manifest.from_json(text.replace(old, new), WHERE)


@pytest.mark.parametrize("text", ["", "{", "[]", "null", "{}", '{"schema_version": 1}', '{"checksum": "x"}'])
def test_a_file_that_is_no_manifest_is_named(text: str) -> None:
    with pytest.raises(StoreError, match=r"current\.json cannot be read"):
        Manifest.from_json(text, WHERE)


def test_a_manifest_of_a_newer_entropice_is_refused_not_guessed() -> None:
    values = json.loads(make_manifest().to_json()) | {"schema_version": 2}
    with pytest.raises(ProvenanceError, match="newer Entropice"):
        Manifest.from_json(json.dumps(values), WHERE)


VERSION_1 = """{"checksum": "CHECKSUM", "counts": {"kept": 1}, "created": "2026-01-01T00:00:00+00:00",
"dataset": "labels", "digest": "DIGEST", "edition": "", "entropice": "0.1.0",
"files": [{"name": "zarr.json", "sha256": "0", "size": 1}], "kind": "zarr", "notes": ["n"], "partition": "h3-4/2018",
"provisional": false, "recipe": {"code_version": "1", "config": {"a": 1}, "inputs": [{"dataset": "cells",
"digest": "c", "partition": "h3-4/all"}], "seed": 1, "sources": [{"name": "f", "sha256": "0", "size": 2}],
"step": "labels"}, "recipe_digest": "r", "schema_version": 1, "statistics": {"x": {"maximum": 1, "minimum": 0,
"nan_share": 0.0, "rows": 1}}, "structure": {}, "volatile": []}"""


def test_a_manifest_of_schema_version_1_stays_readable() -> None:
    values = json.loads(VERSION_1)
    del values["checksum"]
    checksum = hashlib.sha256(canonical_json(values).encode()).hexdigest()
    manifest = Manifest.from_json(VERSION_1.replace("CHECKSUM", checksum), WHERE)
    assert manifest.recipe.inputs == (InputRef("cells", Partition("h3-4"), "c"),)
    assert manifest.recipe.sources == (SourceFile("f", 2, "0"),)
    assert manifest.statistics["x"] == Statistics(1, 0.0, 0, 1)

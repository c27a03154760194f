"""A saved model is arrays and JSON, the same bytes each time, and nothing in it can run."""

import io
import json
import pickle
import re
import zipfile
from pathlib import Path

import numpy as np
import pytest

import entropice_core
from entropice_core.errors import ConfigError, ProvenanceError, SchemaError, StoreError
from entropice_core.models import logistic_regression
from entropice_core.registry import MODELS
from entropice_core.training.nested_cv import fit_final
from entropice_core.training.persist import Feature, digest_arrays, load_model, read_npz, save_model, write_npz

PARAMS = {
    "random_forest": {"n_estimators": 10},
    "xgboost": {"n_estimators": 10},
    "espa": {"n_clusters": 6, "n_init": 2},
}
FEATURES = [Feature("warmth", "K d"), Feature("slope", "degree"), Feature("noise", "1"), Feature("ripple", "1")]


def save(world, folder, model="logistic_regression", features=FEATURES):
    problem = world.problem(model, PARAMS.get(model, {}), positive="density_above_quantile")
    final = fit_final(problem, world.folds(), 0)
    extras = {"seed": final.seed, "note": "for a test", "undefined": np.nan}
    save_model(folder, model, final.fitted, final.calibrator, final.classes, "healpix-6", features, extras)
    return final


@pytest.fixture
def saved(world, tmp_path):
    save(world, tmp_path / "model")
    return tmp_path / "model"


def edit(folder, **changes):
    path = folder / "model.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


@pytest.mark.parametrize("model", MODELS.names())
def test_every_model_is_read_with_the_same_calibrated_predictions(world, tmp_path, model):
    final = save(world, tmp_path, model)
    read = load_model(tmp_path)
    expected = final.calibrator(final.fitted.predict_proba(world.X))
    assert np.array_equal(read.predict_proba(world.X), expected)
    assert np.array_equal(read.predict_proba(world.X, [f.name for f in FEATURES]), expected)
    assert (read.edges, read.model, read.features) == (final.classes, model, tuple(FEATURES))
    assert read.feature_names == ("warmth", "slope", "noise", "ripple")
    assert read.extras == {"seed": final.seed, "note": "for a test", "undefined": None}


@pytest.mark.parametrize("model", MODELS.names())
def test_the_same_model_gives_the_same_bytes(world, tmp_path, model):
    for name in ("one", "two"):
        save(world, tmp_path / name, model)
    for file in ("arrays.npz", "model.json"):
        assert (tmp_path / "one" / file).read_bytes() == (tmp_path / "two" / file).read_bytes()


def test_numpy_can_read_the_arrays_by_itself(saved):
    with np.load(saved / "arrays.npz", allow_pickle=False) as archive:
        assert sorted(archive.files) == sorted(read_npz(saved / "arrays.npz"))


def test_arrays_of_any_kind_come_back_as_they_were(tmp_path):
    arrays = {
        "scalar": np.array(0.1), "empty": np.empty((0, 3)), "flags": np.array([True, False]),
        "text": np.array(["a", "bc"]), "columns": np.asfortranarray(np.arange(6.0).reshape(2, 3)),
    }  # fmt: skip
    write_npz(tmp_path / "a.npz", arrays)
    read = read_npz(tmp_path / "a.npz")
    assert digest_arrays(read) == digest_arrays(arrays)
    for name, array in arrays.items():
        assert read[name].dtype == array.dtype and np.array_equal(read[name], array)
        assert read[name].shape == array.shape


class Bomb:
    """Writes a file when it is unpickled."""

    def __init__(self, path):
        self.path = path

    def __reduce__(self):
        return Path.touch, (self.path,)


def as_object_array(bomb):
    array = np.empty(1, dtype=object)
    array[0] = bomb
    return array


def test_a_pickle_in_place_of_the_arrays_is_refused_and_not_run(saved, tmp_path):
    (saved / "arrays.npz").write_bytes(pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(SchemaError, match=r"arrays\.npz is not an npz file of plain arrays"):
        load_model(saved)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_hidden_in_an_array_is_refused_and_not_run(saved, tmp_path):
    np.savez(saved / "arrays.npz", coefficients=as_object_array(Bomb(tmp_path / "ran")))
    with pytest.raises(SchemaError, match="not an npz file of plain arrays"):
        load_model(saved)
    assert not (tmp_path / "ran").exists()


def test_a_pickle_as_an_entry_of_the_archive_is_refused(saved, tmp_path):
    with zipfile.ZipFile(saved / "arrays.npz", "w") as archive:
        archive.writestr("coefficients.npy", pickle.dumps(Bomb(tmp_path / "ran")))
    with pytest.raises(SchemaError, match="not an npz file of plain arrays"):
        load_model(saved)
    assert not (tmp_path / "ran").exists()


@pytest.mark.parametrize("name", ["coefficients.pkl", "../outside.txt"])
def test_other_entries_in_the_archive_are_refused(saved, name):
    with zipfile.ZipFile(saved / "arrays.npz", "a") as archive:
        archive.writestr(name, b"something")
    with pytest.raises(SchemaError, match="is no uncompressed .npy array"):
        load_model(saved)


def test_objects_cannot_be_saved(tmp_path):
    with pytest.raises(ValueError, match="Object arrays cannot be saved"):
        write_npz(tmp_path / "a.npz", {"a": as_object_array(3)})


def test_a_changed_array_is_found(saved):
    arrays = read_npz(saved / "arrays.npz")
    arrays["coefficients"] = arrays["coefficients"] + 1e-12
    write_npz(saved / "arrays.npz", arrays)
    with pytest.raises(StoreError, match="the model is damaged, build it again"):
        load_model(saved)


def test_a_flipped_byte_is_found(saved):
    content = bytearray((saved / "arrays.npz").read_bytes())
    content[len(content) // 2] ^= 1
    (saved / "arrays.npz").write_bytes(bytes(content))
    with pytest.raises((SchemaError, StoreError), match=r"arrays\.npz"):
        load_model(saved)


@pytest.mark.parametrize("file", ["arrays.npz", "model.json"])
def test_a_missing_file_is_named(saved, file):
    (saved / file).unlink()
    with pytest.raises(StoreError, match=rf"{re.escape(file)} is not there"):
        load_model(saved)


@pytest.mark.parametrize(
    ("changes", "error", "message"),
    [
        ({"schema_version": 1}, SchemaError, "has schema version 1, and this code reads 2"),
        ({"model_version": "0"}, ProvenanceError, "version '0', and this code is version '2': train it again"),
        ({"model": "random_forrest"}, ConfigError, "did you mean 'random_forest'"),
    ],
)
def test_another_version_is_refused_and_says_what_to_do(saved, changes, error, message):
    edit(saved, **changes)
    with pytest.raises(error, match=message):
        load_model(saved)


def test_a_description_that_is_torn_or_lacks_a_key_is_refused(saved):
    text = (saved / "model.json").read_text()
    (saved / "model.json").write_text(text[:100])
    with pytest.raises(SchemaError, match=r"model\.json is not JSON"):
        load_model(saved)
    (saved / "model.json").write_text(json.dumps({"schema_version": 2, "model": "espa"}))
    with pytest.raises(SchemaError, match="lacks model_version, grid, features"):
        load_model(saved)
    (saved / "model.json").write_text("[1]")
    with pytest.raises(SchemaError, match="has schema version None"):
        load_model(saved)


@pytest.mark.parametrize(
    ("names", "message"),
    [
        (["warmth", "slope", "noise"], "missing ripple"),
        (["warmth", "slope", "noise", "ripple", "t2m"], "unknown t2m"),
        (["warmth", "slope", "noise", "t2m"], "missing ripple; unknown t2m"),
        (["slope", "warmth", "noise", "ripple"], "in another order"),
    ],
)
def test_other_features_are_refused_and_the_differences_named(saved, world, names, message):
    with pytest.raises(ProvenanceError, match=message):
        load_model(saved).predict_proba(world.X, names)


def test_a_feature_in_another_unit_is_refused(saved):
    model = load_model(saved)
    model.check_features(model.feature_names, ["K d", "degree", "1", "1"])
    with pytest.raises(SchemaError, match="'slope' comes in 'radian', but .* learned it in 'degree'"):
        model.check_features(model.feature_names, ["K d", "radian", "1", "1"])


@pytest.mark.parametrize(
    "tamper",
    [
        lambda d: d["classes"]["edges"].__setitem__(0, 0.5),
        lambda d: d["calibrator"].__setitem__("bias", [9.0, 0.0]),
        lambda d: d["features"][0].__setitem__("unit", "m"),
        lambda d: d["arrays"].__setitem__("sha256", "0" * 64),
        lambda d: d["extras"].__setitem__("note", "another"),
    ],
    ids=["edge", "calibration", "unit", "digest", "note"],
)
def test_a_description_that_was_tampered_with_is_found(saved, tamper):
    path = saved / "model.json"
    description = json.loads(path.read_text())
    tamper(description)
    path.write_text(json.dumps(description))
    with pytest.raises(StoreError, match=r"model\.json was changed after it was written"):
        load_model(saved)


def test_cells_of_another_grid_and_another_feature_set_are_refused(saved):
    model = load_model(saved)
    model.check_fits("healpix-6", FEATURES)
    with pytest.raises(ProvenanceError, match="trained on cells of healpix-6 and was asked about cells of h3-3"):
        model.check_fits("h3-3", FEATURES)
    with pytest.raises(ProvenanceError, match="missing ripple"):
        model.check_fits("healpix-6", FEATURES[:3])
    with pytest.raises(SchemaError, match="'warmth' comes in 'm', but"):
        model.check_fits("healpix-6", [Feature("warmth", "m"), *FEATURES[1:]])


def test_features_to_be_saved_must_be_those_of_the_training(world, tmp_path):
    with pytest.raises(SchemaError, match="save the features of the training"):
        save(world, tmp_path, features=FEATURES[::-1])


def test_a_model_is_not_saved_with_objects(world, tmp_path, monkeypatch):
    monkeypatch.setattr(logistic_regression, "to_arrays", lambda fitted: ({"a": as_object_array(3)}, {}))
    with pytest.raises(SchemaError, match="'a' of the model holds Python objects"):
        save(world, tmp_path)
    assert not list(tmp_path.iterdir())


def test_no_code_of_the_packages_reads_a_pickle():
    root = Path(entropice_core.__file__).parents[1]
    files = [file for package in ("entropice_core", "entropice_assets") for file in (root / package).rglob("*.py")]
    forbidden = re.compile(
        r"^\s*(import|from)\s+(pickle|cPickle|cloudpickle|dill|joblib|shelve|marshal)\b|\bpickle\.loads?\b"
        r"|joblib\.load|torch\.load|read_pickle|load_model\(.*mlflow|mlflow\.[\w.]*load_model|allow_pickle\s*=\s*True",
        re.MULTILINE,
    )
    found = {str(file.relative_to(root)): forbidden.findall(file.read_text()) for file in files}
    assert len(files) > 20
    assert {name for name, hits in found.items() if hits} == set()


def test_the_archive_holds_no_time(saved):
    with zipfile.ZipFile(io.BytesIO((saved / "arrays.npz").read_bytes())) as archive:
        assert {entry.date_time for entry in archive.infolist()} == {(1980, 1, 1, 0, 0, 0)}

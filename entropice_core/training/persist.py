"""Keep a model as arrays and JSON in a folder; nothing that is loaded can run code.

``arrays.npz`` holds the arrays (read with ``allow_pickle=False``), ``model.json`` the rest: the model's name and
version, its grid, its features with units, the edges between its classes, its calibration, and digests of the arrays
and of the description itself, so that a changed edge is found as surely as a changed tree. The same model gives the
same bytes, as zip entries are stored uncompressed, sorted, and without the time of writing.
"""

import hashlib
import io
import json
import zipfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import numpy.typing as npt

from entropice_core.dataset.classes import ClassEdges
from entropice_core.errors import ProvenanceError, SchemaError, StoreError
from entropice_core.models.base import Arrays, Estimator, Predictor, load_module
from entropice_core.training.calibrate import Calibrator
from entropice_core.training.results import plain

SCHEMA_VERSION = 2
ARRAYS_FILE = "arrays.npz"
MODEL_FILE = "model.json"
ZIP_EPOCH = (1980, 1, 1, 0, 0, 0)
KEYS = (
    "schema_version",
    "model",
    "model_version",
    "grid",
    "features",
    "classes",
    "calibrator",
    "meta",
    "arrays",
    "sha256",
)

Float64 = npt.NDArray[np.float64]


@dataclass(frozen=True)
class Feature:
    """One column of the feature matrix."""

    name: str
    unit: str


@dataclass(frozen=True, eq=False)
class LoadedModel:
    """A model that was read from a folder.

    Attributes
    ----------
    model, version : name and version of its module
    grid : key of the grid whose cells it was trained on
    features : columns of X, in this order
    edges : the classes that it tells apart, see ``dataset.classes``
    predictor : uncalibrated model
    calibrator : what makes its probabilities mean what they say
    extras : what the caller of ``save_model`` added
    digest : sha256 of the arrays
    """

    model: str
    version: str
    grid: str
    features: tuple[Feature, ...]
    edges: ClassEdges
    predictor: Predictor
    calibrator: Calibrator
    extras: dict[str, Any]
    digest: str

    @property
    def feature_names(self) -> tuple[str, ...]:
        """Names of the columns of X."""
        return tuple(feature.name for feature in self.features)

    @property
    def edge(self) -> float:
        """Density (m2 m-2) or count above which a row is not of the first class."""
        return self.edges.edges[0]

    @property
    def feature_set(self) -> str:
        """Digest of the names, order and units of the features."""
        return digest_features(self.features)

    def predict_proba(self, X: npt.ArrayLike, feature_names: Sequence[str] | None = None) -> Float64:
        """Return the calibrated probability of each class : (n, n_classes), for X : (n, n_features).

        With ``feature_names`` the columns of X are checked by name.
        """
        if feature_names is not None:
            self.check_features(feature_names)
        return self.calibrator(self.predictor.predict_proba(X))

    def check_fits(self, grid: str, features: Sequence[Feature]) -> None:
        """Refuse cells of another grid, and another feature set, by their digests."""
        if grid != self.grid:
            raise ProvenanceError(
                f"Model {self.model!r} was trained on cells of {self.grid} and was asked about cells of {grid}: a "
                "density depends on the size of the cell; train a model on that grid."
            )
        given = digest_features(features)
        if given == self.feature_set:
            return
        self.check_features([f.name for f in features], [f.unit for f in features])

    def check_features(self, names: Sequence[str], units: Sequence[str] | None = None) -> None:
        """Refuse columns that are not those of the training, by name, order and unit."""
        if tuple(names) != self.feature_names:
            raise ProvenanceError(f"Features differ from those of model {self.model!r}: {self._difference(names)}.")
        for feature, unit in zip(self.features, units if units is not None else (), strict=units is not None):
            if feature.unit != unit:
                raise SchemaError(
                    f"Feature {feature.name!r} comes in {unit!r}, but model {self.model!r} learned it in "
                    f"{feature.unit!r}: give it in that unit or train again."
                )

    def _difference(self, names: Sequence[str]) -> str:
        known = self.feature_names
        missing = [name for name in known if name not in set(names)]
        unknown = [name for name in names if name not in set(known)]
        if not missing and not unknown:
            return "the names are the same in another order (or one is there twice); assemble them as in training"
        parts = [
            f"{what} {', '.join(found[:8])}" for what, found in (("missing", missing), ("unknown", unknown)) if found
        ]
        return f"{'; '.join(parts)}; use the same sources, or train again"


def save_model(
    folder: Path,
    module_name: str,
    fitted: Estimator,
    calibrator: Calibrator,
    classes: ClassEdges,
    grid: str,
    features: Sequence[Feature],
    extras: Mapping[str, Any] | None = None,
) -> str:
    """Write a fitted model into a folder, and return the digest of its arrays.

    Parameters
    ----------
    folder : made when it is not there; publishing it whole or not at all is the store's work
    module_name : the model's name in the registry
    fitted : what ``build(...).fit(...)`` returned
    calibrator : fitted on out-of-fold predictions
    classes : the edges between its classes, learned on its training rows
    grid : key of the grid, such as "h3-4"
    features : columns of X with units
    extras : JSON-able values to keep beside the model (seed, parameters, counts)
    """
    module = load_module(module_name)
    names = tuple(feature.name for feature in features)
    if names != tuple(fitted.feature_names):
        raise SchemaError(
            f"Model {module_name!r} learned {len(fitted.feature_names)} features, and the {len(names)} to save "
            "with it differ in number, name or order: save the features of the training."
        )
    arrays, meta = module.to_arrays(fitted)
    check_arrays(arrays)
    digest = digest_arrays(arrays)
    description = {
        "schema_version": SCHEMA_VERSION,
        "model": module_name,
        "model_version": module.VERSION,
        "grid": grid,
        "features": [{"name": f.name, "unit": f.unit} for f in features],
        "classes": classes.to_dict(),
        "calibrator": calibrator.to_dict(),
        "meta": meta,
        "arrays": {"file": ARRAYS_FILE, "sha256": digest},
        "extras": plain(dict(extras or {})),
    }
    description["sha256"] = digest_description(description)
    text = json.dumps(description, indent=1, sort_keys=True, allow_nan=False, ensure_ascii=False) + "\n"
    folder.mkdir(parents=True, exist_ok=True)
    write_npz(folder / ARRAYS_FILE, arrays)
    (folder / MODEL_FILE).write_text(text, encoding="utf-8")
    return digest


def load_model(folder: Path) -> LoadedModel:
    """Read a model from a folder.

    Raises
    ------
    StoreError
        A file is missing, or the arrays are not those of the description.
    SchemaError
        A file is not what it should be (a pickle, another schema version, a missing key).
    ProvenanceError
        The model was saved by another version of its module.
    """
    description = _read_description(folder / MODEL_FILE)
    name, version = str(description["model"]), str(description["model_version"])
    module = load_module(name)
    if version != module.VERSION:
        raise ProvenanceError(
            f"{folder / MODEL_FILE} holds model {name!r} of version {version!r}, and this code is version "
            f"{module.VERSION!r}: train it again."
        )
    if digest_description(description) != description["sha256"]:
        raise StoreError(
            f"{folder / MODEL_FILE} was changed after it was written (its digest differs): build the model again."
        )
    arrays = read_npz(folder / ARRAYS_FILE)
    digest = digest_arrays(arrays)
    if digest != description["arrays"]["sha256"]:
        raise StoreError(
            f"{folder / ARRAYS_FILE} has the digest {digest[:12]}, but {MODEL_FILE} expects "
            f"{str(description['arrays']['sha256'])[:12]}: the model is damaged, build it again."
        )
    features = tuple(Feature(str(f["name"]), str(f["unit"])) for f in description["features"])
    return LoadedModel(
        model=name,
        version=version,
        grid=str(description["grid"]),
        features=features,
        edges=ClassEdges.from_dict(description["classes"]),
        predictor=module.from_arrays(arrays, description["meta"]),
        calibrator=Calibrator.from_dict(description["calibrator"]),
        extras=dict(description.get("extras", {})),
        digest=digest,
    )


def digest_features(features: Sequence[Feature]) -> str:
    """Return the sha256 over the names and units of features, in their order."""
    return hashlib.sha256(json.dumps([[f.name, f.unit] for f in features]).encode()).hexdigest()


def digest_description(description: Mapping[str, Any]) -> str:
    """Return the sha256 of a description as JSON, less its own digest."""
    rest = {key: value for key, value in description.items() if key != "sha256"}
    return hashlib.sha256(json.dumps(rest, sort_keys=True, ensure_ascii=False).encode()).hexdigest()


def digest_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> str:
    """Return the sha256 over name, type, shape and bytes of every array, in the order of names."""
    digest = hashlib.sha256()
    for name in sorted(arrays):
        array = np.asarray(arrays[name], order="C")
        digest.update(json.dumps([name, array.dtype.str, array.shape]).encode())
        digest.update(array.tobytes())
    return digest.hexdigest()


def check_arrays(arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Refuse arrays of Python objects: only a pickle could hold them."""
    for name, array in arrays.items():
        if array.dtype.hasobject:
            raise SchemaError(f"Array {name!r} of the model holds Python objects; expected numbers, booleans or text.")


def write_npz(path: Path, arrays: Mapping[str, npt.NDArray[Any]]) -> None:
    """Write arrays as an npz file that is the same, byte for byte, whenever the arrays are the same."""
    with zipfile.ZipFile(path, "w", zipfile.ZIP_STORED) as archive:
        for name in sorted(arrays):
            buffer = io.BytesIO()
            np.lib.format.write_array(buffer, np.asarray(arrays[name], order="C"), version=(1, 0), allow_pickle=False)
            entry = zipfile.ZipInfo(f"{name}.npy", ZIP_EPOCH)
            entry.create_system = 3  # zipfile writes the system it runs on otherwise
            archive.writestr(entry, buffer.getvalue())


def read_npz(path: Path) -> Arrays:
    """Read the arrays of an npz file; a pickle, or an array that hides one, is refused."""
    if not path.is_file():
        raise StoreError(f"{path} is not there: the model was not saved whole, build it again.")
    try:
        with zipfile.ZipFile(path) as archive:
            return {entry.filename.removesuffix(".npy"): _read_array(archive, entry) for entry in archive.infolist()}
    except (ValueError, zipfile.BadZipFile, EOFError) as error:
        raise SchemaError(f"{path} is not an npz file of plain arrays ({error}): it is not loaded.") from error


def _read_array(archive: zipfile.ZipFile, entry: zipfile.ZipInfo) -> npt.NDArray[Any]:
    if not entry.filename.endswith(".npy") or entry.compress_type != zipfile.ZIP_STORED:
        raise ValueError(f"entry {entry.filename!r} is no uncompressed .npy array")
    with archive.open(entry) as stream:
        array: npt.NDArray[Any] = np.lib.format.read_array(stream, allow_pickle=False)
    return array


def _read_description(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise StoreError(f"{path} is not there: give the folder of a saved model, or build it again.")
    try:
        description = json.loads(path.read_text(encoding="utf-8"))
    except ValueError as error:  # bad JSON or bad UTF-8
        raise SchemaError(f"{path} is not JSON ({error}): build the model again.") from error
    version = description.get("schema_version") if isinstance(description, dict) else None
    if version != SCHEMA_VERSION:
        raise SchemaError(
            f"{path} has schema version {version!r}, and this code reads {SCHEMA_VERSION}: build the model again."
        )
    missing = [key for key in KEYS if key not in description]
    if missing:
        raise SchemaError(f"{path} lacks {', '.join(missing)}: build the model again.")
    checked: dict[str, Any] = description
    return checked

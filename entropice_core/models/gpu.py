"""Choose between scikit-learn and cuML (RAPIDS) by the parameter ``device`` of a model.

cuML is imported only when a GPU is wanted, as it takes most of a minute and a gigabyte. A model that was trained on a
GPU is kept in the same arrays and is read with NumPy: where it was trained is in its metadata, and nowhere else.

What is promised: logistic regression finds the same minimum (probabilities within 1e-4), nearest neighbours are the
same rows (within 1e-6, ties apart), a forest draws other random numbers and is another forest of the same skill (mean
log loss within 0.02 nat). ``tests/unit/models/test_rivals.py`` checks that where there is a GPU; it has not run on one
yet. What stands between cuML's forest and our arrays is tested everywhere (``test_forest_from_elsewhere.py``).
"""

from collections.abc import Mapping
from importlib import import_module
from importlib.util import find_spec
from typing import Any, Literal

from entropice_core.errors import ConfigError

Device = Literal["cpu", "cuda", "auto"]


def is_on_gpu(device: Device, model: str) -> bool:
    """Say whether a model is to be trained with cuML; "cuda" without cuML and a GPU is an error, "auto" is not."""
    if device == "cpu":
        return False
    is_there = has_cuml()
    if device == "cuda" and not is_there:
        raise ConfigError(
            f"Model {model!r} has device = 'cuda', and this machine has no cuML with a CUDA device: install "
            "entropice[gpu] on a machine with a GPU, or take device = 'cpu' or 'auto'."
        )
    return is_there


def device_of(params: Mapping[str, Any]) -> str:
    """Say on what a model with these parameters trains here: what "auto" means, and "cpu" where nothing is said."""
    device = str(params.get("device", "cpu"))
    return ("cuda" if has_cuml() else "cpu") if device == "auto" else device


def has_cuml() -> bool:
    """Say whether cuML is installed and a CUDA device answers."""
    if find_spec("cuml") is None or find_spec("cupy") is None:
        return False
    runtime = import_module("cupy").cuda.runtime
    try:
        return bool(runtime.getDeviceCount() > 0)
    except runtime.CUDARuntimeError:  # no driver or no device
        return False


def cuml(part: str) -> Any:
    """Import a part of cuML, such as ``linear_model``."""
    return import_module(f"cuml.{part}")

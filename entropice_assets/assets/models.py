"""Models: nested spatial validation, calibration, the final fit, and the MLflow run of each."""

from functools import partial

from entropice_assets.assets.factory import make_room

build = partial(make_room, "models")

"""Calibrated probabilities of every cell and year, and the maps drawn from them."""

from functools import partial

from entropice_assets.assets.factory import make_room

build = partial(make_room, "predictions")

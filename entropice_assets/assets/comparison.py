"""Scores of all models on all grids beside each other."""

from functools import partial

from entropice_assets.assets.factory import make_room

build = partial(make_room, "comparison")

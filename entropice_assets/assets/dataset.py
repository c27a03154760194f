"""Observed cell-years with the features of all sources: what models learn from."""

from functools import partial

from entropice_assets.assets.factory import make_room

build = partial(make_room, "dataset")

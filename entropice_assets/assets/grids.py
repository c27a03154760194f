"""Cells of the study area: which there are, how large they are, and how much of each is land."""

from functools import partial

from entropice_assets.assets.factory import make_room

build = partial(make_room, "grids")

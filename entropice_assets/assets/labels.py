"""RTS inventories, read and cleaned once, and their density on the cells of every grid and year."""

from functools import partial

from entropice_assets.assets.factory import make_room

build = partial(make_room, "labels")

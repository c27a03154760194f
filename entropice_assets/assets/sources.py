"""Environmental proxies on cells: one asset for each source of the study, with or without years."""

from functools import partial

from entropice_assets.assets.factory import make_room

build = partial(make_room, "features")

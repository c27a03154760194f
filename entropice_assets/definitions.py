"""What Dagster loads. Keep everything else out of this module."""

from entropice_assets.build import build_defs

defs = build_defs()

"""Small parts of the Arctic on both grids: one across 180 degrees, one around the pole."""

import numpy as np
import pytest

from entropice_core.grids import parse_grid_key
from entropice_core.grids.study_area import StudyArea


@pytest.fixture(params=["h3-4", "healpix-6"])
def grid(request):
    """A coarse grid of each kind."""
    return parse_grid_key(request.param)


@pytest.fixture(params=["antimeridian", "pole"])
def cell_ids(request, grid):
    """Cells around 180 degrees or around the pole: (n,) uint64."""
    area = StudyArea(66.0, (176.0, 66.0, -177.0, 70.0)) if request.param == "antimeridian" else StudyArea(87.8)
    ids = grid.cells(area)
    assert ids.size >= 3 and (np.diff(ids.astype(np.int64)) > 0).all()
    return ids

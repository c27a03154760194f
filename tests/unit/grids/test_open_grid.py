"""Names, levels and keys of grids."""

import subprocess
import sys

import pytest

from entropice_core.errors import ConfigError, GridError
from entropice_core.grids import GRID_KEYS, open_grid, parse_grid_key


def test_nine_grids_are_known_coarse_to_fine():
    assert GRID_KEYS == (
        "h3-3", "h3-4", "h3-5", "h3-6", "healpix-6", "healpix-7", "healpix-8", "healpix-9", "healpix-10",
    )  # fmt: skip


def test_an_unknown_grid_is_answered_with_the_nearest_name():
    with pytest.raises(ConfigError, match="did you mean 'healpix'"):
        open_grid("helpix", 8)


@pytest.mark.parametrize(
    ("name", "level", "levels"),
    [("h3", 2, "3 to 6"), ("h3", 7, "3 to 6"), ("healpix", 11, "6 to 10"), ("h3", True, "3 to 6")],
)
def test_a_level_out_of_range_is_answered_with_the_levels(name, level, levels):
    with pytest.raises(GridError, match=levels):
        open_grid(name, level)


@pytest.mark.parametrize("key", ["h3", "h3-", "h3-x", "h3--4", "s2-4", "", "h3-٣"])
def test_a_key_that_is_no_grid_is_answered_with_the_known_keys(key):
    with pytest.raises(ConfigError, match="healpix-10"):
        parse_grid_key(key)


def test_importing_the_package_imports_no_grid_library():
    heavy = ("numpy", "shapely", "h3ronpy", "healpix_geo", "xarray", "pyproj")
    code = f"import sys, entropice_core.grids; print([m for m in {heavy!r} if m in sys.modules])"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"

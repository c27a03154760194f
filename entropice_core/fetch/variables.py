"""The ERA5 variables that can be asked for, by the names of the Climate Data Store (CDS).

A request names a variable in long (``2m_temperature``), a file in short (``t2m``), and GRIB by number (167); the
three must be told apart to see whether what was asked came. Traps that the names hide: ``snow_depth`` of ERA5 is a
water equivalent, of ERA5-Land it is a geometric depth (``snow_depth_water_equivalent`` is the other there); and
``evaporation`` (``total_evaporation`` of ERA5-Land) is ``e`` and negative upwards.
"""

from collections.abc import Iterable
from dataclasses import dataclass
from typing import Literal

from entropice_core.errors import ConfigError, nearest_hint
from entropice_core.fetch.calendar import Family

_NAMES: dict[Family, str] = {"era5": "ERA5", "era5-land": "ERA5-Land"}
StepType = Literal["instant", "accum", "max", "min"]


@dataclass(frozen=True)
class Variable:
    """One variable: CDS name, name in NetCDF, GRIB parameter number and what a value stands for."""

    name: str
    short: str
    param: int
    step_type: StepType = "instant"


def _soil() -> list[Variable]:
    temperatures = (139, 170, 183, 236)
    water = (39, 40, 41, 42)
    return [
        *(Variable(f"soil_temperature_level_{i}", f"stl{i}", p) for i, p in enumerate(temperatures, 1)),
        *(Variable(f"volumetric_soil_water_layer_{i}", f"swvl{i}", p) for i, p in enumerate(water, 1)),
    ]


_ALL = [
    Variable("2m_temperature", "t2m", 167),
    Variable("2m_dewpoint_temperature", "d2m", 168),
    Variable("maximum_2m_temperature_since_previous_post_processing", "mx2t", 201, "max"),
    Variable("minimum_2m_temperature_since_previous_post_processing", "mn2t", 202, "min"),
    Variable("skin_temperature", "skt", 235),
    Variable("total_precipitation", "tp", 228, "accum"),
    Variable("snowfall", "sf", 144, "accum"),
    Variable("snow_depth", "sd", 141),
    Variable("snow_density", "rsn", 33),
    Variable("snow_albedo", "asn", 32),
    Variable("temperature_of_snow_layer", "tsn", 238),
    Variable("snowmelt", "smlt", 45, "accum"),
    *_soil(),
    Variable("surface_solar_radiation_downwards", "ssrd", 169, "accum"),
    Variable("surface_thermal_radiation_downwards", "strd", 175, "accum"),
    Variable("surface_net_solar_radiation", "ssr", 176, "accum"),
    Variable("surface_net_thermal_radiation", "str", 177, "accum"),
    Variable("surface_sensible_heat_flux", "sshf", 146, "accum"),
    Variable("surface_latent_heat_flux", "slhf", 147, "accum"),
    Variable("evaporation", "e", 182, "accum"),
    Variable("potential_evaporation", "pev", 228251, "accum"),
    Variable("runoff", "ro", 205, "accum"),
    Variable("surface_runoff", "sro", 8, "accum"),
    Variable("sub_surface_runoff", "ssro", 9, "accum"),
    Variable("surface_pressure", "sp", 134),
    Variable("total_cloud_cover", "tcc", 164),
    Variable("10m_u_component_of_wind", "u10", 165),
    Variable("10m_v_component_of_wind", "v10", 166),
    Variable("leaf_area_index_high_vegetation", "lai_hv", 67),
    Variable("leaf_area_index_low_vegetation", "lai_lv", 66),
    Variable("lake_bottom_temperature", "lblt", 228010),
    Variable("lake_ice_depth", "licd", 228014),
    Variable("lake_mix_layer_depth", "lmld", 228009),
    Variable("lake_mix_layer_temperature", "lmlt", 228008),
    Variable("lake_total_layer_temperature", "ltlt", 228011),
]
VARIABLES: dict[str, Variable] = {v.name: v for v in _ALL}
"""Of ERA5 on single levels."""

_NOT_OF_LAND = {
    "maximum_2m_temperature_since_previous_post_processing",
    "minimum_2m_temperature_since_previous_post_processing",
    "total_cloud_cover",
    "evaporation",
    "snow_depth",
}
_LAND_ONLY = [
    Variable("snow_depth_water_equivalent", "sd", 141),
    Variable("snow_depth", "sde", 3066),
    Variable("snow_cover", "snowc", 260038),
    Variable("snow_evaporation", "es", 44, "accum"),
    Variable("total_evaporation", "e", 182, "accum"),
    Variable("skin_reservoir_content", "src", 198),
    Variable("forecast_albedo", "fal", 243),
    Variable("lake_ice_temperature", "lict", 228013),
    Variable("lake_shape_factor", "lshf", 228012),
]
LAND: dict[str, Variable] = {v.name: v for v in [*(v for v in _ALL if v.name not in _NOT_OF_LAND), *_LAND_ONLY]}
"""Of ERA5-Land."""

CATALOGUES: dict[Family, dict[str, Variable]] = {"era5": VARIABLES, "era5-land": LAND}

_DEFAULTS = ("t2m", "tp", "sf", "sd", "stl1", "ssrd")
"""What is fetched when no variable is named: warmth, water, snow, ground and light."""


def find_variables(names: Iterable[str], family: Family = "era5") -> list[Variable]:
    """Look variables up by long or short name; sorted, without repeats, so that equal wishes give equal requests.

    Parameters
    ----------
    names : long or short names; a few that matter for permafrost when there is none
    family : ERA5 and ERA5-Land have different variables, and one name (``snow_depth``) of different meaning

    >>> [v.short for v in find_variables(["tp", "2m_temperature", "t2m"])]
    ['t2m', 'tp']
    >>> [find_variables(["sd"], family)[0].name for family in ("era5", "era5-land")]
    ['snow_depth', 'snow_depth_water_equivalent']
    """
    known = CATALOGUES[family]
    by_short = {v.short: v for v in known.values()}
    found: dict[str, Variable] = {}
    for name in tuple(names) or _DEFAULTS:
        variable = known.get(name) or by_short.get(name)
        if variable is None:
            hint = nearest_hint(name, by_short if len(name) < 7 else known)
            raise ConfigError(f"{_NAMES[family]} has no variable {name!r} that Entropice fetches; {hint}.")
        found[variable.name] = variable
    return [found[name] for name in sorted(found)]

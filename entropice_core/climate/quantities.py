"""Units and possible values of the variables of ERA5, and what is corrected before a formula sees them.

Everything is brought to one unit (degC, mm, MJ m-2, m3 m-3). The unit that a file states must be known *and* fit the
values: a file that says K and holds degC is refused, because a guess would make the summer of one year 273 K warmer.

Corrections, all counted: a day total that is negative by no more than the packing of GRIB allows is set to zero.
Anything worse is an error. Values that are missing on some days of a year are an error; those missing on all days
(ERA5-Land has none over the sea) stay missing.
"""

from collections.abc import Mapping
from dataclasses import dataclass
from typing import TypeAlias

import numpy as np
import numpy.typing as npt

from entropice_core.errors import SourceError, nearest_hint
from entropice_core.grids.base import Bool

Float32: TypeAlias = npt.NDArray[np.float32]
Daily: TypeAlias = tuple[str, str]
"""A daily field: short name of the variable and statistic of the day (mean, min, max, sum)."""

_UNITS: dict[str, dict[str, tuple[float, float]]] = {
    # our unit: what files say, with scale and offset
    "degC": {"K": (1.0, -273.15), "kelvin": (1.0, -273.15), "degC": (1.0, 0.0), "C": (1.0, 0.0), "celsius": (1.0, 0.0)},
    "mm": {
        "m": (1000.0, 0.0),
        "m of water equivalent": (1000.0, 0.0),
        "m w.e.": (1000.0, 0.0),
        "mm": (1.0, 0.0),
        "kg m-2": (1.0, 0.0),
    },
    "MJ m-2": {"J m-2": (1e-6, 0.0), "MJ m-2": (1.0, 0.0)},
    "m3 m-3": {"m3 m-3": (1.0, 0.0), "1": (1.0, 0.0)},
}


@dataclass(frozen=True)
class Quantity:
    """A variable: what it is, our unit, and between what its daily values can lie in that unit.

    ``packing``: how far below zero the rounding of packed files may bring values that cannot be negative; 0 for
    quantities with a sign.
    """

    long_name: str
    unit: str
    low: float
    high: float
    is_sum: bool = False
    packing: float = 0.0

    @property
    def statistics(self) -> tuple[str, ...]:
        """Statistics of a day that make sense: the sum of what accumulates; mean, min and max of the rest."""
        return ("sum",) if self.is_sum else ("mean", "min", "max")


def _water(long_name: str, high: float = 1500.0) -> Quantity:
    return Quantity(long_name, "mm", -0.1, high, True, 0.1)


def _signed_water(long_name: str) -> Quantity:
    return Quantity(long_name, "mm", -200.0, 200.0, True)


def _energy(long_name: str, high: float = 60.0) -> Quantity:
    return Quantity(long_name, "MJ m-2", -0.01, high, True, 0.01)


def _signed_energy(long_name: str) -> Quantity:
    return Quantity(long_name, "MJ m-2", -80.0, 80.0, True)


_DEPTHS = ("0-7 cm", "7-28 cm", "28-100 cm", "100-289 cm")
QUANTITIES: dict[str, Quantity] = {
    "t2m": Quantity("2 m temperature", "degC", -95.0, 65.0),
    "d2m": Quantity("2 m dew point", "degC", -105.0, 45.0),
    "skt": Quantity("skin temperature", "degC", -95.0, 90.0),
    **{f"stl{i}": Quantity(f"soil temperature {d}", "degC", -90.0, 70.0) for i, d in enumerate(_DEPTHS, 1)},
    **{
        f"swvl{i}": Quantity(f"volumetric soil water {d}", "m3 m-3", -0.01, 1.0, packing=0.01)
        for i, d in enumerate(_DEPTHS, 1)
    },
    "sd": Quantity("snow water equivalent", "mm", -0.5, 30_000.0, packing=0.5),
    "tp": _water("precipitation"),
    "sf": _water("snowfall"),
    "smlt": _water("snow melt"),
    "ro": _water("runoff"),
    "sro": _water("surface runoff"),
    "ssro": _water("sub-surface runoff"),
    "e": _signed_water("evaporation"),
    "pev": _signed_water("potential evaporation"),
    "ssrd": _energy("solar radiation downwards"),
    "strd": _energy("thermal radiation downwards"),
    "ssr": _energy("net solar radiation"),
    "str": _signed_energy("net thermal radiation"),
    "sshf": _signed_energy("sensible heat flux"),
    "slhf": _signed_energy("latent heat flux"),
}
"""By short name. ``sd`` is a water equivalent in ERA5 and ERA5-Land; the depth ``sde`` of ERA5-Land is not read."""


def to_unit(values: Float32, short: str, found: str, where: str) -> Float32:
    """Bring values to our unit, in place.

    Raises
    ------
    SourceError
        For a unit that is not known for the variable.

    Examples
    --------
    >>> to_unit(np.array([273.15], np.float32), "t2m", "K", "t.nc").tolist()
    [0.0]
    """
    unit = QUANTITIES[short].unit
    known = _UNITS[unit]
    spelled = {_plain(word): change for word, change in known.items()}
    if _plain(found) not in spelled:
        raise SourceError(
            f"{where} has {short} in {found or 'no unit'!r}, which cannot be brought to {unit}; "
            f"{nearest_hint(found, known)}."
        )
    scale, offset = spelled[_plain(found)]
    if scale != 1.0:
        values *= np.float32(scale)
    if offset != 0.0:
        values += np.float32(offset)
    return values


def _plain(unit: str) -> str:
    """Spell a unit plainly: ``m**3 m**-3``, ``m^3 m^-3`` and ``M3 M-3`` are alike."""
    return unit.replace("**", "").replace("^", "").lower().strip()


def check_values(values: Float32, short: str, where: str) -> int:
    """Check values in our unit and set what packing made negative to zero, in place.

    Parameters
    ----------
    values : float32, any shape
        NaN where missing.

    Returns
    -------
    int
        How many values were set to zero.

    Raises
    ------
    SourceError
        For infinite values and for values that the variable cannot have; the sentence says what the cause may be.
    """
    quantity = QUANTITIES[short]
    low, high = float(np.fmin.reduce(values, axis=None)), float(np.fmax.reduce(values, axis=None))
    if low < quantity.low or high > quantity.high:
        raise SourceError(
            f"{where} has {short} from {low:g} to {high:g} {quantity.unit}, possible are {quantity.low:g} to "
            f"{quantity.high:g}: {_cause(quantity, low, high)}"
        )
    if quantity.packing == 0.0 or not low < 0.0:
        return 0
    negative = values < 0.0
    values[negative] = 0.0
    return int(np.count_nonzero(negative))


def _cause(quantity: Quantity, low: float, high: float) -> str:
    if not np.isfinite([low, high]).all():
        return "it holds infinite values; fetch it again."
    if quantity.unit == "degC" and -373.15 < low < -173.15:
        return "the file says K and holds degrees Celsius; correct its units."
    if quantity.is_sum and low < quantity.low and quantity.packing:
        return "an accumulation that falls is no total of a day; de-accumulate the file or fetch daily sums."
    if high > quantity.high and quantity.unit == "mm":
        return "the file says m and holds mm; correct its units."
    return "its units are wrong or it is damaged; correct or fetch it again."


def missing_pixels(values: Mapping[Daily, Float32], where: str) -> Bool:
    """Tell which pixels have no values: (days, points) each -> (points,).

    Raises
    ------
    SourceError
        When a pixel has values on some days and not on others.
    """
    missing: Bool | None = None
    for (short, _), daily in values.items():
        # A sum is NaN exactly where any value is, and much cheaper than looking for NaN.
        some = np.isnan(np.add.reduce(daily, axis=0))
        if some.any():
            partly = _partly(daily, some)
            if partly.any():
                point = int(np.flatnonzero(partly)[0])
                days = np.flatnonzero(np.isnan(daily[:, point]))
                raise SourceError(
                    f"{where} has no {short} on {days.size} of {len(daily)} days at {int(partly.sum())} pixels (first: "
                    f"day {int(days[0]) + 1} of the Arctic year): a part is missing, fetch it again."
                )
        missing = some if missing is None else missing | some
    if missing is None:
        raise SourceError(f"{where} has no variable to look at.")
    return missing


def _partly(daily: Float32, some: Bool) -> Bool:
    """Of the pixels with missing days, those that also have values: (points,)."""
    partly = np.zeros_like(some)
    partly[some] = ~np.isnan(daily[:, some]).all(axis=0)
    return partly

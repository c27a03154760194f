"""How a year compares with others: anomaly, trend and extremes of an index over years, on cells.

All three are formed of the cell's yearly values. Which years are the climatology is configured, never taken from what
is there; when predictions are validated in time, it should end before the years that are held out.
"""

from dataclasses import dataclass
from typing import Literal

import numpy as np

from entropice_core.climate.formulae import Float64
from entropice_core.climate.indices import UNIT_WORDS, Index

Comparison = Literal["anomaly", "trend", "highest", "lowest"]
CELLS_AT_A_TIME = 20_000  # 40 years make 780 pairs: 125 MB


def anomaly(values: Float64, climatology: Float64) -> Float64:
    """Compare a year with the mean of the configured years.

    Formula: x(Y) - mean of x over the years of the climatology; missing where a year of it is
    Source: WMO 2017, Guidelines on the Calculation of Climate Normals, WMO-No. 1203

    Parameters
    ----------
    values : (cells,) float64
    climatology : (years, cells) float64
    """
    departure: Float64 = values - climatology.mean(axis=0)
    return departure


def theil_sen(values: Float64) -> Float64:
    """Give the trend over the last N years that a few odd years do not bend.

    Formula: median over pairs of years i < j of (x(j) - x(i)) / (j - i); missing where a year is
    Source: Theil 1950 and Sen 1968, doi:10.1080/01621459.1968.10480934

    Parameters
    ----------
    values : (years, cells) float64
        Consecutive years.

    Returns
    -------
    (cells,) float64
        Change a year.

    Examples
    --------
    >>> theil_sen(np.array([[0.0], [1.0], [50.0], [3.0], [4.0]])).tolist()
    [1.0]
    """
    first, later = np.triu_indices(len(values), k=1)
    slopes = np.empty(values.shape[1])
    for start in range(0, slopes.size, CELLS_AT_A_TIME):
        part = values[:, start : start + CELLS_AT_A_TIME]
        pairs = (part[later] - part[first]) / (later - first)[:, None]
        slopes[start : start + CELLS_AT_A_TIME] = np.median(pairs, axis=0)
    return slopes


def highest(values: Float64) -> Float64:
    """Give the highest value of the last N years: an extreme is remembered by a slope for years.

    Formula: max of x over the last N years
    Source: definition

    Parameters
    ----------
    values : (years, cells) float64
    """
    found: Float64 = values.max(axis=0)
    return found


def lowest(values: Float64) -> Float64:
    """Give the lowest value of the last N years.

    Formula: min of x over the last N years
    Source: definition

    Parameters
    ----------
    values : (years, cells) float64
    """
    found: Float64 = values.min(axis=0)
    return found


@dataclass(frozen=True)
class Compared:
    """A feature that compares a year's index with other years.

    Examples
    --------
    >>> from entropice_core.climate.indices import INDICES
    >>> Compared(INDICES["t2m_jja_mean_degC"], "trend", "20a").name
    't2m_jja_mean_trend_20a_K_a1'
    >>> Compared(INDICES["t2m_jja_mean_degC"], "anomaly", "1991_2020").name
    't2m_jja_mean_anomaly_1991_2020_K'
    """

    index: Index
    how: Comparison
    years: str

    @property
    def unit(self) -> str:
        """Unit: differences of temperatures are in K, trends are per year (a-1)."""
        own = self.index.unit
        difference = "K" if own == "degC" else own
        if self.how == "trend":
            return "a-1" if difference == "1" else f"{difference} a-1"
        return difference if self.how == "anomaly" else own

    @property
    def name(self) -> str:
        """Name: the index's without unit, comparison, years, unit."""
        own = self.index.unit
        word = UNIT_WORDS[own] if self.how in ("highest", "lowest") or own != "degC" else "K"
        word = f"{word}_a1" if self.how == "trend" else word
        base = self.index.name.removesuffix(f"_{UNIT_WORDS[own]}")
        return f"{base}_{self.how}_{self.years}_{word}"

    @property
    def long_name(self) -> str:
        """Words for people."""
        spans = {
            "anomaly": "anomaly from the mean of",
            "trend": "Theil-Sen trend over the last",
            "highest": "highest of the last",
            "lowest": "lowest of the last",
        }
        return f"{self.index.long_name}: {spans[self.how]} {self.years.replace('_', '-')}"

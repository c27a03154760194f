"""The truth of the generated Arctic: smooth functions of place and year from which all its files are made.

Slumps are more frequent where the thaw season is warm but the ground still cold, where relief is high, where the
ground (one embedding band shows it) is rich in ice, and in patches that no predictor knows. The last part bounds the
skill that any model can have.
"""

from dataclasses import dataclass
from functools import cached_property

import numpy as np

from entropice_core.demo.fields import SmoothField, to_unit_interval
from entropice_core.grids.base import Float64, Int64

MONTHS = np.array([10, 11, 12, 1, 2, 3, 4, 5, 6, 7, 8, 9])
"""Calendar months of an Arctic year in their order."""
_DAYS = np.array([31, 30, 31, 31, 28, 31, 30, 31, 30, 31, 31, 30])
_LAPSE_K_PER_M = 0.0055


@dataclass(frozen=True)
class World:
    """One generated Arctic. Equal seeds give equal worlds."""

    seed: int

    def field(self, number: int, length_km: float, terms: int = 64) -> SmoothField:
        """Give the world's field of a number; numbers keep the fields independent."""
        return SmoothField.draw((self.seed, number), length_km, terms)

    @cached_property
    def _warmth(self) -> SmoothField:
        return self.field(1, 1800.0)

    @cached_property
    def _continentality(self) -> SmoothField:
        return self.field(2, 1200.0)

    @cached_property
    def _height(self) -> SmoothField:
        return self.field(3, 600.0)

    @cached_property
    def _ruggedness(self) -> SmoothField:
        return self.field(4, 350.0)

    @cached_property
    def _ground(self) -> SmoothField:
        return self.field(5, 400.0)

    @cached_property
    def _patches(self) -> SmoothField:
        return self.field(6, 150.0, terms=128)

    def base_height_m(self, lon: Float64, lat: Float64) -> Float64:
        """Height of the land without its hills, m: (n,)."""
        height: Float64 = 30.0 + 700.0 * to_unit_interval(self._height(lon, lat) - 0.8) ** 1.5
        return height

    def relief_m(self, lon: Float64, lat: Float64) -> Float64:
        """Amplitude of the hills, m: (n,)."""
        relief: Float64 = 15.0 + 260.0 * to_unit_interval(self._ruggedness(lon, lat)) ** 2
        return relief

    def ground_ice(self, lon: Float64, lat: Float64) -> Float64:
        """What one embedding band shows, mean 0 and variance 1: (n,)."""
        return self._ground(lon, lat)

    def temperature_degc(self, lon: Float64, lat: Float64, year: int) -> Float64:
        """Mean 2 m temperature of the months October (of the year before) to September, degrees C: (12, n)."""
        warmth, inland = self._warmth(lon, lat), to_unit_interval(self._continentality(lon, lat))
        mean = -0.5 - 0.62 * (lat - 60.0) + 2.2 * warmth - _LAPSE_K_PER_M * self.base_height_m(lon, lat)
        season = np.cos(2.0 * np.pi * (MONTHS - 7.4) / 12.0)
        amplitude = 12.0 + 9.0 * inland
        return mean + amplitude * season[:, None] + 1.3 * self._anomalies(1, year, 1500.0, lon, lat)

    def precipitation_mm_per_day(self, lon: Float64, lat: Float64, year: int) -> Float64:
        """Mean precipitation of the same months, mm per day: (12, n)."""
        wet = np.exp(0.4 * self.field(7, 900.0)(lon, lat) - 0.02 * (lat - 60.0))
        season = 1.0 + 0.5 * np.cos(2.0 * np.pi * (MONTHS - 8.0) / 12.0)
        rain: Float64 = 1.1 * wet * season[:, None] * np.exp(0.25 * self._anomalies(2, year, 700.0, lon, lat))
        return rain

    def _anomalies(self, variable: int, year: int, length_km: float, lon: Float64, lat: Float64) -> Float64:
        """Departures of the months of one year with variance 1, neighbouring months alike: (12, n)."""
        first = 10_000 * variable + 10 * (year % 1000)
        patterns = np.array([self.field(first + k, length_km, terms=32)(lon, lat) for k in range(4)])
        turn = 2.0 * np.pi * np.arange(12) / 12.0
        shares = np.column_stack([np.full(12, 0.6), 0.6 * np.cos(turn), 0.6 * np.sin(turn), np.full(12, 0.53)])
        anomalies: Float64 = shares @ patterns
        return anomalies

    def log_slump_rate(self, lon: Float64, lat: Float64, year: int) -> Float64:
        """Natural logarithm of the rate of slump clusters, up to a constant: (n,)."""
        temperature = self.temperature_degc(lon, lat, year)
        thaw = (np.maximum(temperature, 0.0) * _DAYS[:, None]).sum(axis=0)
        cold = temperature.mean(axis=0)
        warm_enough = (thaw - 800.0) / 400.0
        cold_enough = -np.maximum(cold + 4.0, 0.0) / 1.5
        relief = (np.log(self.relief_m(lon, lat)) - 4.1) / 0.7
        ice = self.ground_ice(lon, lat)
        known = 1.1 * np.tanh(warm_enough) + cold_enough + 0.8 * relief + 0.8 * ice + 0.5 * relief * ice
        rate: Float64 = known + 1.3 * self._patches(lon, lat)
        return rate


def month_starts(year: int) -> Int64:
    """First of each month of an Arctic year, seconds since 1970-01-01: (12,).

    >>> np.array(month_starts(2021)[:1], dtype="datetime64[s]").astype(str).tolist()
    ['2020-10-01T00:00:00']
    """
    months = np.datetime64(f"{year - 1}-10", "M") + np.arange(12)
    return months.astype("datetime64[s]").astype(np.int64)

"""What every source states, whatever its kind."""

import math
from typing import ClassVar

from pydantic import Field

from entropice_core.config.base import Provenance


class SourceBase(Provenance):
    """One source of features.

    ``lag`` is the number of years by which the source's year precedes the label's year (0 = the same year).
    ``statement`` is what a reader must know: circularities, latency.
    ``only_of_fetching`` names keys that say how files are fetched and change no feature: they are in no recipe.
    """

    only_of_fetching: ClassVar[frozenset[str]] = frozenset()

    kind: str
    lag: int = Field(default=0, ge=0, le=40)
    statement: str = ""

    @property
    def is_yearly(self) -> bool:
        """True when the features differ from year to year."""
        raise NotImplementedError(f"the kind {self.kind!r} does not say whether it is yearly")

    @property
    def adds_up_pixels(self) -> bool:
        """True when pixels can be added up on a GPU; only kinds of very many pixels can."""
        return False

    def bounds_of(self, feature: str) -> tuple[float, float]:  # noqa: ARG002 - kinds that declare ranges look at it
        """Give the range in which the values of a feature can lie; without end where the kind declares none."""
        return -math.inf, math.inf

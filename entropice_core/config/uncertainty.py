"""[uncertainty] and [proxies]: what predictions promise about themselves, and how variables are judged."""

from pydantic import Field

from entropice_core.config.base import Strict


class UncertaintyConfig(Strict):
    """``coverage``: share of cells whose conformal set, and whose interval of density, should hold the truth."""

    coverage: float = Field(default=0.9, ge=0.5, le=0.99)


class ProxiesConfig(Strict):
    """How the variables of a model are judged: models fitted anew for each fold and seed, on the model's parameters.

    ``seeds``: fits on each fold; ``repeats``: shuffles of each feature and source within blocks; ``rows``: held-out
    rows of a fold that are looked at, at most.
    """

    seeds: int = Field(default=3, ge=1, le=20)
    repeats: int = Field(default=1, ge=1, le=50)
    rows: int = Field(default=600, ge=50)

"""[models.<name>] and [training]: which models, which search, which calibration and controls."""

from typing import Annotated, Any, Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import Strict


class Range(Strict):
    """Values to draw from: ``{ low = 0.001, high = 10.0, log = true }``; whole numbers when both ends are."""

    low: float | int
    high: float | int
    log: bool = False

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.low >= self.high:
            raise ValueError(f"low ({self.low}) must lie below high ({self.high})")
        if self.log and self.low <= 0:
            raise ValueError(f"low ({self.low}) must be above 0 when log = true")
        return self

    @property
    def is_whole(self) -> bool:
        """True when whole numbers are to be drawn."""
        return isinstance(self.low, int) and isinstance(self.high, int)


class ModelConfig(Strict):
    """One model: fixed ``params``, and ``search``, the values that inner folds choose from.

    ``method``: every combination of the lists ("grid"), ``n_candidates`` drawn from lists and ranges ("random"), or
    as many drawn and weeded out on growing shares of the training rows ("halving"). ``sources``: learn only from the
    features of these sources; empty for all. So feature sets are compared within one study.
    """

    model: str
    params: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Range | Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)
    method: Literal["grid", "random", "halving"] = "grid"
    n_candidates: int = Field(default=18, ge=2, le=1000)
    sources: tuple[str, ...] = ()

    @model_validator(mode="after")
    def _searchable(self) -> Self:
        both = sorted(set(self.params) & set(self.search))
        if both:
            raise ValueError(f"{', '.join(both)} stands in params and in search: keep one of them")
        if self.method == "grid":
            for name, values in self.search.items():
                if isinstance(values, Range):
                    raise ValueError(f"search.{name} is a range: method = 'grid' needs a list, or take 'random'")
        elif not self.search:
            raise ValueError(f"method = {self.method!r} needs a search table")
        return self


class TrainingConfig(Strict):
    """How probabilities are calibrated, and the controls that show that the skill is real.

    ``calibration``: see ``entropice_core.training.calibrate``; "auto" takes the kind that does best on held-out rows.
    """

    calibration: Literal["none", "temperature", "logistic", "vector", "dirichlet", "isotonic", "auto"] = "logistic"
    permuted_control: bool = True
    random_cv: bool = True
    importance_repeats: int = Field(default=5, ge=0, le=100)

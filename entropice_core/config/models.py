"""[models.<name>] and [training]: which models, which search, which calibration and controls."""

from typing import Annotated, Any, Literal

from pydantic import Field

from entropice_core.config.base import Strict


class ModelConfig(Strict):
    """One model: fixed ``params``, and ``search``, the values that inner folds choose from."""

    model: str
    params: dict[str, Any] = Field(default_factory=dict)
    search: dict[str, Annotated[list[Any], Field(min_length=1)]] = Field(default_factory=dict)


class TrainingConfig(Strict):
    """How probabilities are calibrated, and the controls that show that the skill is real."""

    calibration: Literal["none", "logistic"] = "logistic"
    permuted_control: bool = True
    random_cv: bool = True
    importance_repeats: int = Field(default=5, ge=0, le=100)

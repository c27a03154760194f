"""[target] and [folds]: what a model learns, and how its skill is validated in space."""

from typing import Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import Bounds, Strict


class TargetConfig(Strict):
    """What a model learns: one inventory's density, made into a class.

    ``presence``: density > 0. ``density_above_quantile``: density above the ``quantile`` of all observed cell-years;
    that edge is learned on the training folds only and stored with the model.
    """

    inventory: str
    task: Literal["binary"] = "binary"
    positive: Literal["presence", "density_above_quantile"] = "presence"
    quantile: float = Field(default=0.75, gt=0, lt=1)
    min_observed_fraction: float = Field(default=0.1, gt=0, le=1)


class FoldsConfig(Strict):
    """How skill is validated in space. Blocks are parent cells; all years of a block stay in one fold."""

    kind: Literal["spatial_block", "leave_one_region_out", "random"] = "spatial_block"
    n_folds: int = Field(default=5, ge=2, le=50)
    inner_folds: int = Field(default=3, ge=2, le=20)
    block_level: dict[Literal["h3", "healpix"], int] = {"h3": 1, "healpix": 3}
    buffer_km: float = Field(default=50.0, ge=0)
    regions: dict[str, Bounds] = Field(default_factory=dict)

    @model_validator(mode="after")
    def _regions_given(self) -> Self:
        if self.kind == "leave_one_region_out" and len(self.regions) < 2:
            raise ValueError("leave_one_region_out needs at least two regions in [folds.regions]")
        return self

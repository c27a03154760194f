"""[fetch.<source>]: what is asked of the Climate Data Store so that the source of that name finds its files."""

from typing import Annotated, Literal, Self

from pydantic import Field, model_validator

from entropice_core.config.base import FIRST_YEAR, Strict


class Era5Fetch(Strict):
    """Files of ERA5 or ERA5-Land for one source; none of this changes a result, the files do.

    ``first`` is the first Arctic year of files, for sources that compare a year with earlier ones; the study's first
    year when it is not given. With ``provisional`` a year is fetched as soon as it is complete, marked, and fetched
    again when it is final. ``ask`` is when the schedule of Dagster asks the service what is new (cron, UTC).
    """

    dataset: Literal["era5", "era5-land"] = "era5"
    product: Literal["monthly", "daily"] = "monthly"
    variables: tuple[str, ...] = ()
    area: tuple[float, float, float, float] = (90.0, -180.0, 50.0, 180.0)
    statistics: Annotated[tuple[Literal["mean", "min", "max"], ...], Field(min_length=1)] = ("mean", "min", "max")
    first: Annotated[int, Field(ge=FIRST_YEAR + 1, le=2100)] | None = None
    provisional: bool = False
    ask: str = "0 6 * * *"

    @model_validator(mode="after")
    def _cron_has_five_parts(self) -> Self:
        if len(self.ask.split()) != 5:
            raise ValueError(f"ask {self.ask!r} is no cron expression of five parts, such as '0 6 * * *'")
        return self

    @property
    def path(self) -> str:
        """Where the files of a year will lie, as the ``path`` of a source says it."""
        if self.product == "daily":
            return f"{{data}}/{self.dataset}/daily/{{year}}"
        return f"{{data}}/{self.dataset}/{self.dataset}_monthly_{{year}}.nc"

"""What a study is: the models of an Entropice TOML, and the settings that come from the environment.

One TOML holds the science (study area, grids, years, inventories, sources, target, folds, models, seed). Paths and
secrets come from ``ENTROPICE_*`` variables. Nothing in here reads data.
"""

import os
import re
import tomllib
from importlib import resources
from pathlib import Path
from string import Formatter
from typing import Annotated, Any, Literal, Self, TypeAlias

from pydantic import BaseModel, BeforeValidator, ConfigDict, Field, ValidationError, model_validator

from entropice_core.errors import ConfigError, nearest_hint

GRID_KEYS: tuple[str, ...] = tuple([f"h3-{n}" for n in range(3, 7)] + [f"healpix-{n}" for n in range(6, 11)])
NAME = r"^[a-z][a-z0-9_]*$"
FIRST_YEAR = 1940  # ERA5 begins here


class Strict(BaseModel):
    """A table of the TOML: unknown keys are refused, values cannot change after reading."""

    model_config = ConfigDict(extra="forbid", frozen=True, str_strip_whitespace=True)


def _check_grid_key(key: object) -> object:
    if key not in GRID_KEYS:
        raise ValueError(f"{key!r} is not a grid; {nearest_hint(str(key), GRID_KEYS)}")
    return key


GridKey = Annotated[str, BeforeValidator(_check_grid_key)]
Latitude = Annotated[float, Field(ge=-90, le=90)]
Longitude = Annotated[float, Field(ge=-180, le=180)]
Bounds: TypeAlias = tuple[Longitude, Latitude, Longitude, Latitude]


class Provenance(Strict):
    """Where a data set comes from, in words that go into every manifest and onto every map."""

    title: str
    citation: str = ""
    doi: str = ""
    licence: str = ""


class Years(Strict):
    """Arctic years, both ends included. Year Y runs from 1 October Y-1 to 30 September Y."""

    first: int = Field(ge=FIRST_YEAR, le=2100)
    last: int = Field(ge=FIRST_YEAR, le=2100)

    @model_validator(mode="after")
    def _in_order(self) -> Self:
        if self.last < self.first:
            raise ValueError(f"last ({self.last}) lies before first ({self.first})")
        return self

    def all(self) -> list[int]:
        """List every year.

        >>> Years(first=2018, last=2020).all()
        [2018, 2019, 2020]
        """
        return list(range(self.first, self.last + 1))


class StudyAreaConfig(Strict):
    """Cells whose centre lies here belong to the study.

    ``bounds`` are west, south, east, north in degrees; west > east means that the box crosses 180 degrees.
    ``polygons`` names a vector file (below the data folder) whose union is the area.
    """

    min_latitude: Latitude = 60.0
    bounds: Bounds | None = None
    polygons: str | None = None
    min_land_fraction: float = Field(default=0.05, ge=0, le=1)


class YearOf(Strict):
    """Where an inventory keeps the year of a feature; exactly one of the three.

    ``column`` holds a date or a year; ``file_name`` is a regular expression whose first group is the year and
    whose optional second group is the month, so that a scene from October on counts in the next Arctic year;
    ``column_per_year`` is a template such as ``Area_{year}_`` of columns that hold the area of that year, in ``unit``.
    """

    column: str | None = None
    file_name: str | None = None
    column_per_year: str | None = None
    unit: Literal["m2", "ha", "km2"] = "m2"

    @model_validator(mode="after")
    def _exactly_one(self) -> Self:
        given = [n for n in ("column", "file_name", "column_per_year") if getattr(self, n) is not None]
        if len(given) != 1:
            raise ValueError(f"name exactly one of column, file_name, column_per_year; got {given or 'none'}")
        if self.column_per_year is not None and "{year}" not in self.column_per_year:
            raise ValueError(f"column_per_year {self.column_per_year!r} must hold {{year}}")
        if self.file_name is not None:
            _check_pattern(self.file_name)
        return self


def _check_pattern(pattern: str) -> None:
    try:
        groups = re.compile(pattern).groups
    except re.error as error:
        raise ValueError(f"file_name {pattern!r} is no regular expression ({error})") from error
    if groups < 1:
        raise ValueError(f"file_name {pattern!r} must hold a group for the year, and may hold one for the month")


def _check_template(what: str, text: str, names: tuple[str, ...]) -> None:
    """Refuse braces in a template that stand for nothing: they would fail when the first file is looked for."""
    try:
        found = [name for _, name, _, _ in Formatter().parse(text) if name is not None]
    except ValueError as error:
        raise ValueError(f"{what} {text!r}: {error}") from error
    unknown = [name for name in found if name not in names]
    if unknown:
        allowed = ", ".join(f"{{{name}}}" for name in names)
        raise ValueError(f"{what} {text!r} holds {{{unknown[0]}}}; it may hold {allowed}")


class FootprintConfig(Strict):
    """Where an inventory looked. Cells outside are unobserved (NaN), never zero.

    ``study_area``: everywhere in the study area; ``files``: polygons of the mapped footprint, whose optional
    ``years_column`` holds a year or a comma separated list of years.
    """

    kind: Literal["study_area", "files"]
    files: tuple[str, ...] = ()
    years_column: str | None = None
    crs: str | None = None

    @model_validator(mode="after")
    def _files_given(self) -> Self:
        if (self.kind == "files") != bool(self.files):
            raise ValueError("kind = 'files' needs files = [...]; kind = 'study_area' takes none")
        return self


class InventoryConfig(Provenance):
    """One RTS inventory: its files, what its columns mean, and where it looked."""

    geometry: Literal["polygon", "point"]
    files: Annotated[tuple[str, ...], Field(min_length=1)]
    exclude: tuple[str, ...] = ()
    layer: str | None = None
    year: YearOf
    id_column: str | None = None
    area_column: str | None = None
    area_unit: Literal["m2", "ha", "km2"] = "m2"
    crs: str | None = None
    footprint: FootprintConfig


class BandConfig(Strict):
    """One quantity of a raster source.

    ``select`` is a band number (GeoTIFF, from 1) or a variable name (NetCDF, Zarr). ``along`` names an extra
    dimension (month, say): each step becomes a band, and ``name`` holds ``{index}`` (from 1) or ``{index:02d}``.
    ``unit`` and ``valid_range`` are declared because files lie; values outside are masked and counted.
    ``scale`` and ``offset`` are applied to the stored values before the range is checked.
    """

    name: str
    select: str | int
    unit: str
    long_name: str = ""
    along: str | None = None
    scale: float = 1.0
    offset: float = 0.0
    valid_range: tuple[float, float]
    nodata: float | None = None
    statistics: Annotated[tuple[Literal["mean", "std", "min", "max", "range"], ...], Field(min_length=1)] = ("mean",)

    @model_validator(mode="after")
    def _consistent(self) -> Self:
        if self.along is not None and "{index" not in self.name:
            raise ValueError(f"band {self.name!r} runs along {self.along!r}: its name must hold {{index}}")
        _check_template("the band name", self.name, ("index",))
        if self.valid_range[0] >= self.valid_range[1]:
            raise ValueError(
                f"valid_range {self.valid_range} of band {self.name!r} must be (low, high) with low < high"
            )
        return self


class SourceConfig(Provenance):
    """One source of features. With ``{year}`` in ``path`` there is a file a year, otherwise the source is static.

    ``lag`` is the number of years by which the file's year precedes the label's year (0 = the same year).
    ``crs`` is declared only where the file has none. ``statement`` is what a reader must know: circularities, latency.
    """

    kind: str
    path: str
    bands: Annotated[tuple[BandConfig, ...], Field(min_length=1)]
    crs: str | None = None
    lag: int = Field(default=0, ge=0, le=40)
    statement: str = ""

    @model_validator(mode="after")
    def _path_is_a_template(self) -> Self:
        _check_template("path", self.path, ("data", "year"))
        return self

    @property
    def is_yearly(self) -> bool:
        """True when there is a file for each year."""
        return "{year" in self.path


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


class StudyConfig(Strict):
    """The head of the TOML."""

    name: str = Field(pattern=NAME)
    title: str
    description: str = ""
    grids: Annotated[tuple[GridKey, ...], Field(min_length=1)]
    years: Years
    seed: int = Field(default=0, ge=0, lt=2**32)


class Study(Strict):
    """A whole study: one TOML."""

    schema_version: Literal[1] = 1
    study: StudyConfig
    study_area: StudyAreaConfig
    inventories: Annotated[dict[str, InventoryConfig], Field(min_length=1)]
    sources: Annotated[dict[str, SourceConfig], Field(min_length=1)]
    target: TargetConfig
    folds: FoldsConfig = FoldsConfig()
    models: Annotated[dict[str, ModelConfig], Field(min_length=1)]
    training: TrainingConfig = TrainingConfig()

    @model_validator(mode="after")
    def _names_exist(self) -> Self:
        from entropice_core.registry import MODELS, SOURCES

        for table in ("inventories", "sources", "models"):
            for name in getattr(self, table):
                if not re.match(NAME, name):
                    raise ValueError(f"{table}.{name}: use lower-case letters, digits and _ (it names files)")
        if self.target.inventory not in self.inventories:
            raise ValueError(
                f"target.inventory: {self.target.inventory!r} is not in [inventories]; "
                f"{nearest_hint(self.target.inventory, self.inventories)}"
            )
        for name, source in self.sources.items():
            if source.kind not in SOURCES.names():
                raise ValueError(
                    f"sources.{name}.kind: {source.kind!r} is not known; {nearest_hint(source.kind, SOURCES.names())}"
                )
        for name, model in self.models.items():
            if model.model not in MODELS.names():
                raise ValueError(
                    f"models.{name}.model: {model.model!r} is not known; {nearest_hint(model.model, MODELS.names())}"
                )
        return self


class Settings(Strict):
    """Paths and switches of this machine, from ENTROPICE_* variables; none of them changes a result.

    ``home``: the store, the MLflow file and generated data (``ENTROPICE_HOME``, default ``.entropice``).
    ``data``: the folder of input files that ``{data}`` in a TOML stands for (``ENTROPICE_DATA``).
    ``study``: a preset's name or the path of a TOML (``ENTROPICE_STUDY``, default ``demo``).
    ``tracking_uri``: the MLflow tracking server (``ENTROPICE_TRACKING_URI``, default an SQLite file below home).
    """

    home: Path
    data: Path | None = None
    study: str = "demo"
    tracking_uri: str

    @classmethod
    def from_environment(cls, environ: dict[str, str] | None = None) -> "Settings":
        """Read the variables; an ENTROPICE_* name that means nothing is an error, as it is a typo."""
        env = dict(os.environ if environ is None else environ)
        known = {"HOME", "DATA", "STUDY", "TRACKING_URI", "CRASH_AT"}
        for name in env:
            if name.startswith("ENTROPICE_") and name.removeprefix("ENTROPICE_") not in known:
                hint = nearest_hint(name, [f"ENTROPICE_{k}" for k in sorted(known)])
                raise ConfigError(f"The environment has {name}, which Entropice does not know; {hint}.")
        home = Path(env.get("ENTROPICE_HOME") or ".entropice").expanduser().absolute()
        if any(mark in str(home) for mark in "?#%"):
            raise ConfigError(f"ENTROPICE_HOME is {home}: the address of the tracking file cannot hold ? # or %.")
        data = env.get("ENTROPICE_DATA")
        uri = env.get("ENTROPICE_TRACKING_URI") or f"sqlite:///{home / 'mlflow.db'}"
        return cls(
            home=home,
            data=Path(data).expanduser().absolute() if data else None,
            study=env.get("ENTROPICE_STUDY") or "demo",
            tracking_uri=uri,
        )

    def is_generated(self, study: Study) -> bool:
        """Say whether the study reads the generated Arctic: the demo does, whatever ENTROPICE_DATA names."""
        return study.study.name == "demo"

    def data_root(self, study: Study) -> Path:
        """Return the folder that ``{data}`` stands for; the demo study's is generated below home."""
        if self.is_generated(study):
            return self.home / "demo-data"
        if self.data is None:
            raise ConfigError(
                f"Study {study.study.name!r} reads files below {{data}}, and ENTROPICE_DATA is not set: "
                "set it to the folder that holds the input files."
            )
        if not self.data.is_dir():
            raise ConfigError(
                f"ENTROPICE_DATA names {self.data}, which is not a folder: set it to the folder of input files."
            )
        return self.data

    @property
    def scratch(self) -> Path:
        """Return the folder of files that are not published yet."""
        return self.home / "scratch"

    def store_root(self, study: Study) -> Path:
        """Return the folder of the study's store."""
        return self.home / "store" / study.study.name


def preset_names() -> list[str]:
    """List the studies that ship with the package.

    >>> "demo" in preset_names()
    True
    """
    folder = resources.files("entropice_core.presets")
    return sorted(f.name.removesuffix(".toml") for f in folder.iterdir() if f.name.endswith(".toml"))


def load_study(name_or_path: str | Path) -> Study:
    """Read a study from a preset's name or from a TOML file.

    Raises
    ------
    ConfigError
        With the file, the key, what was found and the nearest accepted name.
    """
    name, text = _read_text(name_or_path)
    try:
        raw = tomllib.loads(text)
    except tomllib.TOMLDecodeError as error:
        raise ConfigError(f"{name} is not valid TOML: {error}.") from error
    try:
        return Study.model_validate(raw)
    except ValidationError as error:
        found = error.errors()
        real = [problem for problem in found if problem["type"] != "too_short"] or found  # an echo of a bad item
        problems = "; ".join(_sentence(problem, text) for problem in real)
        raise ConfigError(f"{name}: {problems}.") from error


def _read_text(name_or_path: str | Path) -> tuple[str, str]:
    text_name = str(name_or_path)
    if not text_name.endswith(".toml"):
        if text_name not in preset_names():
            hint = nearest_hint(text_name, preset_names())
            raise ConfigError(f"There is no preset {text_name!r}; {hint}; or give the path of a .toml file.")
        return f"preset {text_name}", (resources.files("entropice_core.presets") / f"{text_name}.toml").read_text()
    path = Path(name_or_path)
    if not path.is_file():
        raise ConfigError(
            f"{path} is not there: give the path of a study TOML, or one of: {', '.join(preset_names())}."
        )
    try:
        return str(path), path.read_text(encoding="utf-8")
    except UnicodeDecodeError as error:
        raise ConfigError(
            f"{path} is not UTF-8 text ({error.reason} at byte {error.start}): save it as UTF-8."
        ) from error


def _sentence(problem: Any, text: str) -> str:
    where = ".".join(str(part) for part in problem["loc"])
    line = _line_of(problem["loc"], text)
    place = f"{where} (line {line})" if line else where
    if problem["type"] == "extra_forbidden":
        key = str(problem["loc"][-1])
        return f"{place} is not a known key; {nearest_hint(key, _known_keys(problem['loc'][:-1]))}"
    message = str(problem["msg"]).removeprefix("Value error, ")
    if problem["type"] == "string_pattern_mismatch":
        message = "use lower-case letters, digits and _, beginning with a letter"
    got = problem.get("input")
    shown = f" (got {got!r})" if isinstance(got, str | int | float | bool) else ""
    return f"{place}: {message}{shown}" if where else message


def _line_of(loc: tuple[Any, ...], text: str) -> int | None:
    """Find the line of the last textual key of a location; good enough for a person to find it."""
    keys = [str(part) for part in loc if isinstance(part, str)]
    if not keys:
        return None
    pattern = re.compile(rf"^\s*\[*.*\b{re.escape(keys[-1])}\b\s*(=|\])")
    for number, line in enumerate(text.splitlines(), 1):
        if pattern.match(line) or re.search(rf"[{{,]\s*{re.escape(keys[-1])}\s*=", line):
            return number
    return None


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    """Walk the models along a location and list the keys that are known there."""
    model: Any = Study
    is_table_of_names = False
    for part in loc:
        if is_table_of_names:  # this part is a name that the user chose, such as sources.<name>
            is_table_of_names = False
        elif isinstance(part, str) and model is not None:
            field = model.model_fields.get(part)
            annotation = field.annotation if field else None
            is_table_of_names = getattr(annotation, "__origin__", None) is dict or "dict[" in str(annotation)
            model = _model_inside(annotation)
    return list(model.model_fields) if model is not None else []


def _model_inside(annotation: Any) -> Any:
    """Return the pydantic model in an annotation such as ``dict[str, Model]`` or ``tuple[Model, ...]``."""
    if isinstance(annotation, type) and issubclass(annotation, BaseModel):
        return annotation
    for inner in getattr(annotation, "__args__", ()):
        found = _model_inside(inner)
        if found is not None:
            return found
    return None

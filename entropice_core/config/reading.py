"""Read the TOML of a study, and say in sentences what is wrong with it."""

import tomllib
from importlib import resources
from pathlib import Path
from typing import Any

from pydantic import BaseModel, ValidationError

from entropice_core.config.lines import line_of
from entropice_core.config.sources import CONFIGS, SourceBase
from entropice_core.config.study import Study
from entropice_core.errors import ConfigError, nearest_hint


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
    loc = _without_kind(problem["loc"])
    if problem["type"].startswith("union_tag"):
        return _unknown_kind(loc, problem, text)
    where = ".".join(str(part) for part in loc)
    line = line_of(loc, text)
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


def _without_kind(loc: tuple[Any, ...]) -> tuple[Any, ...]:
    """Leave out the kind of a source, which pydantic puts after its name and which is no key of the TOML."""
    has_kind = len(loc) > 2 and loc[0] == "sources" and loc[2] in CONFIGS
    return (*loc[:2], *loc[3:]) if has_kind else loc


def _unknown_kind(loc: tuple[Any, ...], problem: Any, text: str) -> str:
    where = ".".join(str(part) for part in loc)
    table = problem.get("input")
    if not isinstance(table, dict) or "kind" not in table:
        return f"{where} has no kind; {nearest_hint('', CONFIGS)}"
    kind, line = table["kind"], line_of((*loc, "kind"), text)
    place = f"{where}.kind (line {line})" if line else f"{where}.kind"
    return f"{place}: {kind!r} is not known; {nearest_hint(str(kind), CONFIGS)}"


def _known_keys(loc: tuple[Any, ...]) -> list[str]:
    """Walk the models along a location and list the keys that are known there."""
    model: Any = Study
    is_table_of_names = False
    for part in loc:
        if model is SourceBase and part in CONFIGS:
            model = CONFIGS[str(part)]
        elif is_table_of_names:  # this part is a name that the user chose, such as sources.<name>
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

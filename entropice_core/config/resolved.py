"""A study with all its defaults, written as a TOML that reads back as the same study: what a run was really given."""

import json
from collections.abc import Iterator, Mapping
from typing import Any

from entropice_core.config.study import Study


def to_toml(study: Study) -> str:
    """Write every key of a study; keys without a value are left out, as TOML has no null.

    Tables of tables have a heading each; lists of tables (the bands of a source) are written inline.
    """
    return "\n".join(_table((), study.model_dump(mode="json", exclude_none=True))).strip() + "\n"


def _table(path: tuple[str, ...], content: Mapping[str, Any]) -> Iterator[str]:
    plain = {key: value for key, value in content.items() if not isinstance(value, dict)}
    if path and (plain or not content):
        yield f"\n[{'.'.join(_key(part) for part in path)}]"
    for key, value in plain.items():
        yield f"{_key(key)} = {_value(value)}"
    for key, value in content.items():
        if isinstance(value, dict):
            yield from _table((*path, key), value)


def _value(value: Any) -> str:
    if isinstance(value, dict):
        return "{ " + ", ".join(f"{_key(key)} = {_value(inner)}" for key, inner in value.items()) + " }"
    if isinstance(value, list):
        return "[" + ", ".join(_value(inner) for inner in value) + "]"
    if isinstance(value, float) and value in (float("inf"), float("-inf")):
        return "inf" if value > 0 else "-inf"
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


def _key(key: str) -> str:
    return key if key and all(c.isascii() and (c.isalnum() or c in "_-") for c in key) else json.dumps(key)

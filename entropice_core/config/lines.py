"""Find the line of a TOML file on which a key stands, so that a sentence about it can name the line.

``tomllib`` keeps no places. Headers and keys are read line by line here, which is enough for a hint; nothing else
depends on it.
"""

import re
from collections import Counter
from collections.abc import Iterator, Sequence

Path = tuple[str | int, ...]

_HEADER = re.compile(r"^\s*(\[{1,2})\s*([^\[\]=]+?)\s*\]{1,2}\s*(?:#.*)?$")
_KEY = re.compile(r"""^\s*((?:[\w-]+|"[^"]*"|'[^']*')(?:\s*\.\s*(?:[\w-]+|"[^"]*"|'[^']*'))*)\s*=""")


def line_of(loc: Sequence[str | int], text: str) -> int | None:
    r"""Give the number (from 1) of the line that says a key, or the nearest thing around it that has a line.

    Parameters
    ----------
    loc : keys from the top of the document; whole numbers count the items of a list
    text : the TOML

    >>> text = "[a]\nlimit = 1\n[b]\nlimit = 2\nbox = { west = 0,\n east = 1 }\n"
    >>> line_of(("b", "limit"), text), line_of(("b", "box", "east"), text), line_of(("c",), text)
    (4, 6, None)
    """
    wanted = tuple(loc)
    places = list(_places(text))
    best: tuple[int, int] | None = None
    for position, (path, number) in enumerate(places):
        if path == wanted[: len(path)] and (best is None or len(path) > len(places[best[0]][0])):
            best = position, number
    if best is None:
        return None
    position, number = best
    after = places[position + 1][1] if position + 1 < len(places) else len(text.splitlines()) + 1
    return _inside(wanted[len(places[position][0]) :], text.splitlines()[number - 1 : after - 1], number)


def _places(text: str) -> Iterator[tuple[Path, int]]:
    """Yield the path of each header and of each key at the beginning of a line, with its line."""
    table: Path = ()
    items: Counter[Path] = Counter()
    depth = 0  # of brackets that a value has left open: what begins a line then is no key of the table
    for number, line in enumerate(text.splitlines(), 1):
        header = _HEADER.match(line) if depth == 0 else None
        if header:
            table = _header_path(_split(header[2]), header[1] == "[[", items)
            yield table, number
            continue
        key = _KEY.match(line) if depth == 0 else None
        if key:
            yield (*table, *_split(key[1])), number
        depth = max(0, depth + _opened(line))


def _header_path(names: Path, is_item: bool, items: Counter[Path]) -> Path:
    """Put the number of the item behind each name that is a list of tables."""
    path: Path = ()
    for position, name in enumerate(names):
        path = (*path, name)
        if is_item and position == len(names) - 1:
            items[path] += 1
        if items[path]:
            path = (*path, items[path] - 1)
    return path


def _split(dotted: str) -> Path:
    return tuple(part.strip().strip("\"'") for part in re.findall(r"\"[^\"]*\"|'[^']*'|[^.]+", dotted))


def _opened(line: str) -> int:
    bare = re.sub(r"\"(?:\\.|[^\"\\])*\"|'[^']*'", "", line).split("#")[0]
    return sum(bare.count(c) for c in "[{") - sum(bare.count(c) for c in "]}")


def _inside(rest: Path, lines: Sequence[str], number: int) -> int:
    """Find what is left of a path in the lines of one value: the item by its braces, then the key."""
    start = 0
    for part in rest:
        if isinstance(part, int):
            braces = [i for i, line in enumerate(lines) for _ in range(line.count("{"))]
            start = braces[part] if part < len(braces) else start
        else:
            named = (i for i in range(start, len(lines)) if re.search(rf"\b{re.escape(part)}\s*=", lines[i]))
            start = next(named, start)
    return number + start

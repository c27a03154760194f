"""Write the table of all climate indices into docs/era5.md, from the table of the code and its docstrings.

``python -m entropice_core.climate.document docs/era5.md`` replaces what stands between the two marks; a test compares.
"""

import re
import sys
from collections.abc import Iterable
from pathlib import Path

from entropice_core.climate import history
from entropice_core.climate.indices import INDICES, Index
from entropice_core.climate.monthly import MONTHLY_SPECS
from entropice_core.errors import SchemaError

BEGIN, END = "<!-- generated: begin -->", "<!-- generated: end -->"


def formula_and_source(function: object) -> tuple[str, str]:
    """Lines ``Formula:`` and ``Source:`` of a docstring.

    >>> formula_and_source(history.lowest)
    ('min of x over the last N years', 'definition')
    """
    found = [re.search(rf"^\s*{word}: (.+)$", function.__doc__ or "", re.M) for word in ("Formula", "Source")]
    if None in found:
        raise SchemaError(f"{function} needs a line 'Formula: ...' and a line 'Source: ...' in its docstring.")
    formula, source = (match.group(1).strip() for match in found if match)
    return formula, source


def table(indices: Iterable[Index]) -> list[str]:
    """Rows of a Markdown table, one for each quantity and statistic; seasons share a row."""
    rows: dict[tuple[str, ...], list[str]] = {}
    for index in indices:
        formula, source = formula_and_source(index.formula)
        name = index.name.replace(f"_{index.season}_", "_{season}_", 1)
        words = index.long_name.rpartition(", ")[0] if "_{season}_" in name and _is_seasonal(index) else index.long_name
        needs = ", ".join(f"{short} {statistic}" for short, statistic in dict.fromkeys(index.needs))
        rows.setdefault((name, index.unit, words, index.standard_name, needs, formula, source), []).append(index.season)
    lines = ["| feature | seasons | unit | what | CF standard name | needs | formula | source |", "|" + " --- |" * 8]
    for (template, unit, words, standard_name, needs, formula, source), seasons in rows.items():
        cf = f"`{standard_name}`" if standard_name else ""
        shown = template if len(seasons) > 1 else template.replace("{season}", seasons[0])
        cells = [f"`{shown}`", " ".join(seasons), unit, words, cf, needs, formula, source]
        lines.append("| " + " | ".join(cells) + " |")
    return lines


def _is_seasonal(index: Index) -> bool:
    """Tell whether the long name ends with the season."""
    return index.long_name.endswith(("Arctic year", ")"))  # "..., winter (DJF)"


def comparisons() -> list[str]:
    """Rows of the table of comparisons with other years."""
    functions = {
        "anomaly": history.anomaly,
        "trend": history.theil_sen,
        "highest": history.highest,
        "lowest": history.lowest,
    }
    lines = ["| comparison | formula | source |", "| --- | --- | --- |"]
    return lines + [f"| `{name}` | {' | '.join(formula_and_source(f))} |" for name, f in functions.items()]


def generated() -> str:
    """All generated tables."""
    own = [i for spec in MONTHLY_SPECS for i in spec.indices if i.name not in INDICES]
    same = sum(i.name in INDICES for spec in MONTHLY_SPECS for i in spec.indices)
    return "\n".join(
        [
            BEGIN,
            "",
            f"### From daily fields: {len(INDICES)} features",
            "",
            *table(INDICES.values()),
            "",
            f"### From monthly means: {same} of the features above, and {len(own)} approximations",
            "",
            *table(own),
            "",
            "### Comparisons with other years, of any feature from daily fields",
            "",
            *comparisons(),
            "",
            END,
        ]
    )


def updated(text: str) -> str:
    """The page with its generated part replaced."""
    before, _, rest = text.partition(BEGIN)
    _, _, after = rest.partition(END)
    if not rest:
        raise SchemaError(f"The page has no marks {BEGIN} and {END} between which the tables belong.")
    return before + generated() + after


if __name__ == "__main__":
    page = Path(sys.argv[1])
    page.write_text(updated(page.read_text(encoding="utf-8")), encoding="utf-8")

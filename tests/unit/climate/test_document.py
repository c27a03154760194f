"""The page of all features, and the numbers that a version stands for."""

import hashlib
from pathlib import Path

import numpy as np
import pytest

from entropice_core.climate.calendar import ArcticCalendar
from entropice_core.climate.document import BEGIN, generated, updated
from entropice_core.climate.indices import INDICES, SPECS
from entropice_core.errors import SchemaError
from entropice_core.sources import era5, era5_history
from tests.unit.climate.test_formulae import in_our_units

PAGE = Path(__file__).parents[3] / "docs" / "era5.md"


def test_the_page_of_features_is_current():
    text = PAGE.read_text(encoding="utf-8")
    assert updated(text) == text, "run python -m entropice_core.climate.document docs/era5.md"


def test_the_page_names_every_feature():
    text = generated()
    for name, index in INDICES.items():
        assert name.replace(f"_{index.season}_", "_{season}_", 1) in text or name in text


def test_a_page_without_marks_is_refused():
    with pytest.raises(SchemaError, match="has no marks"):
        updated("# nothing here")
    assert BEGIN in generated()


def test_results_of_this_version_are_known():
    """Golden means of all indices of a generated year: who changes them bumps both versions."""
    fields = in_our_units(2020)
    lines = []
    for spec in SPECS:
        if set(spec.needs) <= set(fields):
            values = spec.compute(ArcticCalendar(2020), *(fields[need] for need in spec.needs))
            lines += [f"{i.name} {np.nanmean(v):.4e}" for i, v in zip(spec.indices, values, strict=True)]
    digest = hashlib.sha256("\n".join(lines).encode()).hexdigest()[:12]
    assert (era5.VERSION, era5_history.VERSION, len(lines), digest) == ("1", "1", 133, "52dc3d17190f")

"""A study with its defaults reads back as the same study."""

import tomllib

import pytest

from entropice_core.config import Study, load_study
from entropice_core.config.resolved import to_toml


@pytest.mark.parametrize("preset", ["demo", "ne_siberia", "pan_arctic"])
def test_the_resolved_toml_is_the_same_study_and_names_every_default(preset):
    study = load_study(preset)
    text = to_toml(study)
    assert Study.model_validate(tomllib.loads(text)) == study
    assert 'weights = "none"' in text and "pixel_degrees = 0.25" in text
    assert to_toml(Study.model_validate(tomllib.loads(text))) == text

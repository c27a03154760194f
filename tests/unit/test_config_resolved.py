"""A study with its defaults reads back as the same study."""

import tomllib

import pytest

from entropice_core.config import Study, load_study
from entropice_core.config.resolved import to_toml
from entropice_core.pipeline.words import score_notes


@pytest.mark.parametrize("preset", ["demo", "ne_siberia", "pan_arctic"])
def test_the_resolved_toml_is_the_same_study_and_names_every_default(preset):
    study = load_study(preset)
    text = to_toml(study)
    assert Study.model_validate(tomllib.loads(text)) == study
    assert 'weights = "none"' in text and "pixel_degrees = 0.25" in text
    assert to_toml(Study.model_validate(tomllib.loads(text))) == text


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        (
            {"folds": {"train_until": 2023}},
            "folds.train_until: 2023 leaves nothing to train or to test on in 2021-2023",
        ),
        ({"folds": {"kind": "temporal"}}, "kind = 'temporal' needs train_until"),
        ({"target": {"task": "density_class", "edges": [0.0, 1e-6]}}, "2 edges make 3 classes: say so in n_classes"),
        ({"target": {"edges": [0.0]}}, "edges belong to task = 'count_class' or 'density_class'"),
        ({"target": {"task": "count_class", "n_classes": 3, "edges": [2.0, 1.0]}}, "must be 0 or more and rise"),
        ({"models": {"x": {"model": "knn", "sources": ["terain"]}}}, "models.x.sources: 'terain' is not in .sources."),
    ],
)
def test_what_a_study_cannot_mean_is_refused_when_it_is_read(changes, message):
    content = load_study("demo").model_dump(mode="json", exclude_none=True)
    for table, keys in changes.items():
        content[table] |= keys
    with pytest.raises(ValueError, match=message):
        Study.model_validate(content)


def test_words_say_the_task_the_weights_and_the_folds():
    study = load_study("demo")
    target = study.target.model_copy(update={"task": "density_class", "n_classes": 3, "weights": "observed_area"})
    folds = study.folds.model_copy(update={"kind": "temporal", "train_until": 2021})
    said = " ".join(score_notes(study.model_copy(update={"target": target, "folds": folds})))
    assert "3 classes of densities" in said and "weighted by observed land" in said
    assert "years up to 2021 train, later ones test" in said

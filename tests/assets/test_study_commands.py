"""Commands on a whole study: models compared with each other, and labels shuffled again."""

import re

import pandas as pd
import pytest

from entropice_core.cli.compare import compare
from entropice_core.cli.control import control
from entropice_core.errors import ConfigError
from entropice_core.storage.partition import Partition

from .conftest import Whole


@pytest.fixture
def study(whole: Whole, monkeypatch: pytest.MonkeyPatch) -> str:
    monkeypatch.setenv("ENTROPICE_HOME", str(whole.tiny.home))
    monkeypatch.setenv("ENTROPICE_DATA", str(whole.tiny.data))
    return str(whole.tiny.toml)


def test_models_are_compared_by_one_command(study: str, tmp_path, capsys: pytest.CaptureFixture[str]) -> None:
    compare(study, out=tmp_path)
    said = capsys.readouterr().out
    assert "2 models on grids" in said
    assert re.search(r"h3-3 logistic_regression against h3-3 prevalence: [+-]0\.\d{3} \[", said)
    pairs = pd.read_csv(tmp_path / "pairs.csv")
    assert set(pairs["metric"]) == {"log_loss_skill", "roc_auc"} and set(pairs["matched_by"]) == {"fold"}
    assert (tmp_path / "pairs.png").stat().st_size > 5000


def test_labels_are_shuffled_again_and_nothing_is_published(
    study: str, whole: Whole, capsys: pytest.CaptureFixture[str]
) -> None:
    store = whole.tiny.context().store
    before = store.manifest("model.logistic_regression", Partition("h3-3"))
    control("logistic_regression", study=study, grid="h3-3", seed=4, repeats=2)
    found = re.findall(r"cells shuffled with seed (\d): AUC (0\.\d{3})", capsys.readouterr().out)
    assert [seed for seed, _ in found] == ["4", "5"]
    assert found[0][1] != found[1][1]
    assert store.manifest("model.logistic_regression", Partition("h3-3")) == before
    with pytest.raises(ConfigError, match="has no model 'logistic'; known: prevalence, logistic_regression"):
        control("logistic", study=study)

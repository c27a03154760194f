"""Figures are written, the same bytes each time, also for data that leave nothing to draw."""

import numpy as np
import pytest

from entropice_core.training.figures import draw_precision_recall


@pytest.mark.parametrize("share", [0.0, 0.3, 1.0])
def test_precision_against_recall_is_drawn_for_any_share_of_positives(tmp_path, share):
    rng = np.random.default_rng(0)
    p = rng.random(200).round(1)
    y = (rng.random(200) < share).astype(np.int64)
    for name in ("one.png", "two.png"):
        draw_precision_recall(tmp_path / name, y, p, "A model")
    assert (tmp_path / "one.png").read_bytes() == (tmp_path / "two.png").read_bytes()
    assert (tmp_path / "one.png").stat().st_size > 5000

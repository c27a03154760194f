"""A model's map judged by inventories that it never saw."""

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from entropice_core.comparison.independent import judge, write_independent
from entropice_core.errors import GridError, ProvenanceError

N = 200
IDS = np.arange(1, N + 1, dtype=np.uint64)
RNG = np.random.default_rng(4)
TRUTH = np.where(RNG.random(N) < 0.3, RNG.random(N) * 0.01, 0.0)


def labels(density: np.ndarray, seen: np.ndarray) -> xr.Dataset:
    made = xr.Dataset(coords={"cell_ids": ("cell", IDS[: density.size])})
    made["density"] = ("cell", np.where(seen, density, np.nan).astype(np.float32))
    made["count"] = ("cell", np.where(seen, (density > 0) * 2.0, np.nan))
    made["observed_fraction"] = ("cell", seen.astype(np.float32))
    return made


def prediction(p: np.ndarray, **attrs: object) -> xr.Dataset:
    made = xr.Dataset(coords={"cell_ids": ("cell", IDS[: p.size])})
    made["probability"] = ("cell", p.astype(np.float32), {"edge": 0.0, "quantity": "density", **attrs})
    return made


EVERYWHERE, EAST = np.ones(N, dtype=bool), np.arange(N) >= N // 2
GOOD = np.clip(0.3 + 0.4 * (TRUTH > 0) + RNG.normal(0, 0.05, N), 0.01, 0.99)


def test_a_good_map_is_good_also_where_nothing_was_learned() -> None:
    table = judge(
        {2018: prediction(GOOD)}, {"other": {2018: labels(TRUTH, EVERYWHERE)}}, {2018: labels(TRUTH, ~EAST)}, 0.1
    )
    rows = table.set_index(["year", "cells"])
    assert rows.loc[("2018", "all"), "n"] == N and rows.loc[("2018", "new"), "n"] == N // 2
    assert rows.loc[("all", "new"), "roc_auc"] > 0.99 and rows.loc[("all", "new"), "rank_correlation"] > 0.5
    assert rows.loc[("all", "all"), "n_positive"] == (TRUTH > 0).sum()


def test_a_map_that_knows_nothing_is_at_chance() -> None:
    noise = np.random.default_rng(9).random(N)
    table = judge(
        {2018: prediction(noise)}, {"other": {2018: labels(TRUTH, EVERYWHERE)}}, {2018: labels(TRUTH, EAST)}, 0.1
    )
    assert table["roc_auc"].iloc[0] == pytest.approx(0.5, abs=0.1)


def test_only_years_and_cells_that_the_judge_observed_are_scored() -> None:
    p = GOOD.copy()
    p[150] = np.nan  # a cell without features
    judges = {"other": {2018: labels(TRUTH, EAST), 2020: labels(TRUTH, EAST)}}
    table = judge({2018: prediction(p), 2019: prediction(p)}, judges, {2018: labels(TRUTH, EVERYWHERE)}, 0.1)
    rows = table.set_index(["year", "cells"])["n"]
    assert rows.to_dict() == {
        ("2018", "all"): N // 2 - 1, ("all", "all"): N // 2 - 1, ("2018", "new"): 0, ("all", "new"): 0,
    }  # fmt: skip


def test_the_edge_of_the_model_says_what_is_positive() -> None:
    of_count = prediction(GOOD, edge=1.0, quantity="count")
    judges = {"other": {2018: labels(TRUTH, EVERYWHERE)}}
    by_count = judge({2018: of_count}, judges, {2018: labels(TRUTH, EAST)}, 0.1)
    by_density = judge({2018: prediction(GOOD, edge=0.005)}, judges, {2018: labels(TRUTH, EAST)}, 0.1)
    assert by_count["n_positive"].iloc[0] == (TRUTH > 0).sum()
    assert by_density["n_positive"].iloc[0] == (TRUTH.astype(np.float32) > 0.005).sum()


def test_what_does_not_belong_together_is_refused() -> None:
    judges = {"other": {2018: labels(TRUTH, EVERYWHERE)}}
    with pytest.raises(GridError, match="labels of other are on different cells"):
        judge({2018: prediction(GOOD[:10])}, judges, {2018: labels(TRUTH, EAST)}, 0.1)
    bare = prediction(GOOD)
    bare["probability"].attrs = {}
    with pytest.raises(ProvenanceError, match="predict again"):
        judge({2018: bare}, judges, {2018: labels(TRUTH, EAST)}, 0.1)


def test_the_scores_are_written_for_people_and_programs(tmp_path: Path) -> None:
    table = judge(
        {2018: prediction(GOOD)}, {"other": {2018: labels(TRUTH, EAST)}}, {2018: labels(TRUTH, EVERYWHERE)}, 0.1
    )
    counts = write_independent(tmp_path, table, "espa", "darts")
    assert counts["other, all cells"]["n"] == N // 2 and counts["other, new cells"] == {"n": 0, "n_positive": 0}
    told = (tmp_path / "independent.md").read_text()
    assert told.startswith("# espa, which learned from darts, judged by other inventories") and "| - |" in told
    assert (tmp_path / "independent.csv").read_text().count("\n") == 5

"""Share of restarts that miss the best basin, without and with rounds of moves, and what the moves cost.

Usage::

    python benchmarks/espa_basins.py run|report --cells basins.jsonl

64 restarts (four seeds of 16) per data set and scaling. Missed: the final loss is more than 1 % (0.2 %) of
max(|best|, eps_w log D) above the best known; the loss may be near 0, so that a share of it alone says nothing. Cost:
passes over the rows per restart (sweeps, and every product of all rows with all boxes in moves), and CPU seconds.
"""

import argparse
import json
import math
import time
import warnings
from pathlib import Path
from typing import Any

import numpy as np
from espa_common import espa_version, worms
from sklearn.datasets import load_breast_cancer, load_digits, load_wine

import entropice_core.espa.fit as fit_module
from entropice_core.espa.backend import choose_backend
from entropice_core.espa.board import Board
from entropice_core.espa.training import Jobs, Program, Settings, TrainingRows

ROUNDS, SEEDS = (0, 1, 2, 3), 4
PASSES = [0]


def data() -> dict[str, tuple[Any, Any, int, float]]:
    """X, y, K and eps_w of every data set; eps_c is 0.3."""
    digits = load_digits(return_X_y=True)
    found = {
        "breast_cancer, K = 16": (*load_breast_cancer(return_X_y=True), 16, 0.5),
        "wine, K = 8": (*load_wine(return_X_y=True), 8, 0.5),
        "worms, 200 x 50, K = 12": (*worms(200, 50, np.random.default_rng(0)), 12, 0.15),
        "worms, 200 x 200, K = 12": (*worms(200, 200, np.random.default_rng(0)), 12, 0.15),
        "digits, first 600, K = 20": (digits[0][:600], digits[1][:600], 20, 0.5),
    }
    return found


def count_passes() -> None:
    """Count passes over the rows in all fits together."""
    sweep, costs = fit_module.sweep_once, Board.costs

    def counted_sweep(rows: Any, problem: Any, parameters: Any, **options: Any) -> Any:
        PASSES[0] += parameters.W.shape[0]
        return sweep(rows, problem, parameters, **options)

    def counted_costs(board: Any, *arguments: Any) -> Any:
        PASSES[0] += len(arguments[0])
        return costs(board, *arguments)

    fit_module.sweep_once, Board.costs = counted_sweep, counted_costs  # type: ignore[method-assign]


def ends(name: str, scaling: str, rounds: int) -> dict[str, Any]:
    """Losses of all restarts, passes per restart and CPU seconds."""
    X, y, K, eps_w = data()[name]
    if scaling == "minmax" and "worms" in name:
        eps_w = 0.24
    losses, start = [], time.process_time()
    PASSES[0] = 0
    for seed in range(SEEDS):
        rules = Settings(
            K, 0.0, True, scaling, None, 0.0, 0.5, "balanced", 16, 200, 1e-8, "error", n_moves=max(rounds, 1)
        )
        rows = TrainingRows.select(X, y, np.ones(len(y)))
        program = Program(rows, rules, np.random.RandomState(seed), choose_backend(X))
        jobs = Jobs.restarts_of_all_rows(K, 1.0, 0.3, eps_w, 16)
        losses += program.run(jobs, moves=rounds > 0).losses.tolist()
    return {
        "losses": losses,
        "passes": PASSES[0] / len(losses),
        "seconds": time.process_time() - start,
        "range": eps_w * math.log(X.shape[1]),
    }


def report(cells: dict[tuple[Any, ...], dict[str, Any]]) -> str:
    """Markdown of the finished cells."""
    lines = [
        "| data | scaling | rounds | missed by 1 % | missed by 0.2 % | mean excess, % | passes per restart | CPU s |",
        "|---|---|---|---|---|---|---|---|",
    ]
    for name in data():
        for scaling in ("standard", "minmax"):
            found = {r: cells.get((name, scaling, r, espa_version())) for r in ROUNDS}
            known = [cell for cell in found.values() if cell]
            if not known:
                continue
            best = min(min(cell["losses"]) for cell in known)
            unit = max(abs(best), known[0]["range"])
            for rounds, cell in found.items():
                if cell:
                    over = (np.array(cell["losses"]) - best) / unit
                    numbers = f"{(over > 0.01).mean():.2f} | {(over > 0.002).mean():.2f} | {100 * over.mean():.2f}"
                    cost = f"{cell['passes']:.0f} | {cell['seconds']:.1f}"
                    lines.append(f"| {name} | {scaling} | {rounds} | {numbers} | {cost} |")
    return "\n".join(lines)


def main() -> None:
    """Run or report."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("what", choices=("run", "report"))
    parser.add_argument("--cells", type=Path, required=True)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")
    lines = arguments.cells.read_text().splitlines() if arguments.cells.exists() else []
    cells = {tuple(entry["key"]): entry["cell"] for entry in map(json.loads, lines)}
    if arguments.what == "report":
        print(report(cells))
        return
    count_passes()
    for rounds in ROUNDS:
        for name in data():
            for scaling in ("standard", "minmax"):
                key = (name, scaling, rounds, espa_version())
                if key not in cells:
                    cell = ends(name, scaling, rounds)
                    with arguments.cells.open("a") as stream:
                        stream.write(json.dumps({"key": key, "cell": cell}) + "\n")
                    print(*key, f"{cell['seconds']:.1f} s", flush=True)


if __name__ == "__main__":
    main()

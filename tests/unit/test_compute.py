"""Where independent pieces of work run: the results are the same everywhere, in the same order."""

import os
import threading
import time

import pytest

from entropice_core.compute import Compute, one_blas_thread
from entropice_core.errors import ConfigError, RetryableSourceError


def square_slowly_at_first(number: int) -> int:
    """Later items finish before earlier ones."""
    time.sleep(0.02 if number < 2 else 0.0)
    return number * number


def fail_at_three(number: int) -> int:
    if number == 3:
        raise ValueError("three is refused")
    return number


def process_id(_: int) -> int:
    return os.getpid()


@pytest.mark.parametrize("text", ["serial", "threads:3", "processes:2"])
def test_results_come_in_the_order_of_the_items(text: str) -> None:
    assert list(Compute.parse(text).map(square_slowly_at_first, range(9))) == [n * n for n in range(9)]


def test_processes_are_other_processes() -> None:
    assert os.getpid() not in set(Compute.parse("processes:2").map(process_id, range(3)))


@pytest.mark.parametrize("text", ["serial", "threads:2"])
def test_an_error_comes_where_its_result_would_have_come(text: str) -> None:
    results = Compute.parse(text).map(fail_at_three, range(8))
    assert [next(results) for _ in range(3)] == [0, 1, 2]
    with pytest.raises(ValueError, match="three is refused"):
        next(results)


def test_no_more_items_are_taken_than_the_workers_need() -> None:
    taken: list[int] = []

    def items():
        for number in range(100):
            taken.append(number)
            yield number

    results = Compute.parse("threads:2").map(square_slowly_at_first, items())
    next(results)
    assert len(taken) <= 5
    results.close()


def test_two_kinds_of_workers_are_busy_at_the_same_time() -> None:
    other_begins = threading.Event()
    with Compute.parse("threads:1").workers_ready() as spread, Compute.parse("threads:1").workers_ready() as spread_too:
        waits = spread(lambda seconds: other_begins.wait(seconds), [20.0])
        signals = spread_too(lambda _: other_begins.set(), [0])
        assert list(waits) == [True]
        assert list(signals) == [None]


@pytest.mark.parametrize("text", ["cluster", "threads:0", "dask://", "dask://host", "dask:8786", "cuda:x"])
def test_a_way_that_is_none_is_refused_with_the_list(text: str) -> None:
    with pytest.raises(ConfigError, match="give serial, threads, processes, cuda"):
        Compute.parse(text)


def test_a_scheduler_that_is_not_there_is_named(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("entropice_core.compute.CONNECT_SECONDS", 1)
    with pytest.raises(RetryableSourceError, match=r"No Dask scheduler answers at tcp://127\.0\.0\.1:9"):
        list(Compute.parse("dask://127.0.0.1:9").map(process_id, [1]))


def test_sums_of_linear_algebra_do_not_tell_how_many_cores_there_are() -> None:
    from threadpoolctl import threadpool_info

    with one_blas_thread():
        inside = {pool["num_threads"] for pool in threadpool_info() if pool["user_api"] == "blas"}
    assert inside == {1}

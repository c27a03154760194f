"""Run one function over many items with what the machine or the cluster has; results come in the order of the items.

One setting, ``ENTROPICE_COMPUTE``, says where: ``serial``, ``threads`` (this process), ``processes`` (this machine),
``dask://host:port`` (a Dask scheduler that runs already), ``dask+cuda://host:port`` (the same, with sums of pixels on
its workers that offer a GPU) or ``cuda`` (a Dask worker for each GPU of this machine, and sums of pixels on a GPU). A
number after a colon limits the workers: ``threads:4``. Where it runs never changes a result: items are independent, and
what joins results does so in their order.
"""

import os
import re
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Mapping
from concurrent.futures import Executor, Future, ProcessPoolExecutor, ThreadPoolExecutor
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from importlib import import_module
from itertools import islice
from multiprocessing import get_context
from types import ModuleType
from typing import Any, Literal, TypeVar

from entropice_core.errors import ConfigError, RetryableSourceError

Item = TypeVar("Item")
Result = TypeVar("Result")

Spread = Callable[[Callable[[Any], Any], Iterable[Any]], Iterator[Any]]
Kind = Literal["serial", "threads", "processes", "dask", "cuda"]
PATTERN = re.compile(
    r"(?P<kind>serial|threads|processes|cuda)(:(?P<workers>[1-9]\d*))?|dask(\+cuda)?://(?P<address>[^/\s]+:\d+)"
)
CONNECT_SECONDS = 20
AHEAD = 2
"""Items handed out per worker: enough to keep it busy, few enough to bound the memory of results that wait."""


@dataclass(frozen=True)
class Compute:
    """Where independent pieces of work run."""

    kind: Kind = "serial"
    workers: int | None = None
    address: str | None = None

    @classmethod
    def parse(cls, text: str) -> "Compute":
        """Read the setting.

        >>> Compute.parse("threads:4")
        Compute(kind='threads', workers=4, address=None)
        >>> Compute.parse("dask://scheduler:8786").address
        'tcp://scheduler:8786'

        Raises
        ------
        ConfigError
            When it is none of the ways; the sentence lists them.
        """
        match = PATTERN.fullmatch(text.strip())
        if match is None:
            raise ConfigError(
                f"ENTROPICE_COMPUTE is {text!r}: give serial, threads, processes, cuda (with a number of workers as in "
                "threads:4), dask://host:port or dask+cuda://host:port."
            )
        if match["address"]:
            return cls("dask", address=f"tcp://{match['address']}")
        kind: Any = match["kind"]
        return cls(kind, int(match["workers"]) if match["workers"] else None)

    def map(
        self, function: Callable[[Item], Result], items: Iterable[Item], needs: Mapping[str, float] | None = None
    ) -> Iterator[Result]:
        """Give the results in the order of the items; at most a few more than there are workers are under way.

        An exception of the function is raised where its result would have come; what has not begun is not started.
        For processes and Dask, the function and its items must be picklable: functions of a module, plain arguments.
        ``needs`` : what a worker of a Dask cluster must offer for an item, such as {"GPU": 1}.
        """
        with self.workers_ready(needs) as spread:
            yield from spread(function, items)

    @contextmanager
    def workers_ready(self, needs: Mapping[str, float] | None = None) -> Iterator["Spread"]:
        """Give ``map`` with workers that stay: a fresh process takes seconds to import what it needs."""
        if self.kind == "serial":
            yield map
            return
        with self._executor(needs) as (executor, workers):
            yield partial(_in_order, executor, workers)

    @contextmanager
    def _executor(self, needs: Mapping[str, float] | None = None) -> Iterator[tuple[Executor, int]]:
        workers = self.workers or os.cpu_count() or 1
        if self.kind == "threads":
            with ThreadPoolExecutor(workers, thread_name_prefix="entropice") as threads:
                yield threads, workers
        elif self.kind == "processes":
            # A forked copy of a process that has threads (BLAS, Arrow) can hang: start fresh ones.
            with ProcessPoolExecutor(workers, mp_context=get_context("spawn")) as processes:
                yield processes, workers
        else:
            with self._client() as client:
                count = len(client.scheduler_info(n_workers=-1)["workers"])
                resources = {"resources": dict(needs)} if needs and self.kind == "dask" else {}
                yield client.get_executor(pure=False, retries=2, **resources), max(1, count)

    @contextmanager
    def _client(self) -> Iterator[Any]:
        """Connect to the cluster, or start one with a worker for each GPU."""
        from distributed import Client

        if self.kind == "dask":
            with _connected(str(self.address)) as client:
                yield client
            return
        cluster_class = _cuda_cluster()
        with cluster_class(n_workers=self.workers) as cluster, Client(cluster) as client:
            yield client


@contextmanager
def _connected(address: str) -> Iterator[Any]:
    from distributed import Client

    try:
        client = Client(address, timeout=CONNECT_SECONDS, name="entropice")
    except (OSError, TimeoutError) as error:
        raise RetryableSourceError(
            f"No Dask scheduler answers at {address} within {CONNECT_SECONDS} s: start it (dask scheduler), or set "
            "ENTROPICE_COMPUTE to threads."
        ) from error
    with client:
        yield client


def _cuda_cluster() -> Any:
    try:
        from dask_cuda import LocalCUDACluster
    except ImportError as error:
        raise ConfigError(
            "ENTROPICE_COMPUTE is cuda, but dask-cuda is not installed: pip install 'entropice[gpu]', or set threads."
        ) from error
    return LocalCUDACluster


def gpu_arrays() -> ModuleType:
    """CuPy, for sums of pixels that are the same to the last bit with or without.

    Raises
    ------
    ConfigError
        When CuPy is not installed, or finds no GPU.
    """
    try:
        cupy = import_module("cupy")
        found = int(cupy.cuda.runtime.getDeviceCount())
    except Exception as error:  # CuPy raises errors of its own where there is no driver
        raise ConfigError(
            f"ENTROPICE_COMPUTE is cuda, but CuPy gives no GPU ({type(error).__name__}: {error}): "
            "pip install 'entropice[gpu]', or set threads."
        ) from error
    if not found:
        raise ConfigError("ENTROPICE_COMPUTE is cuda, but this machine has no GPU: set threads.")
    return cupy


@contextmanager
def one_blas_thread() -> Iterator[None]:
    """Let linear algebra add up in the same order on a laptop and on a node with 64 cores.

    With several threads, BLAS splits sums by the number of threads, and the last digits of a model, and so its digest,
    would tell how many cores trained it. What runs side by side does so in pieces of ours instead.
    """
    import scipy.linalg  # noqa: F401 - brings its own BLAS, which must be there to be limited
    from threadpoolctl import threadpool_limits

    with threadpool_limits(limits=1, user_api="blas"):
        yield


def _in_order(
    executor: Executor, workers: int, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result]:
    """Begin at once, so that two of these side by side keep two kinds of workers busy; give results in order."""
    results: Iterator[Any] = _begun(executor, workers * AHEAD, function, items)
    next(results)
    return results


def _begun(
    executor: Executor, ahead: int, function: Callable[[Item], Result], items: Iterable[Item]
) -> Iterator[Result | None]:
    """Hand out the first items and give None, then the results."""
    waiting: deque[Future[Result]] = deque()
    source = iter(items)
    try:
        waiting.extend(executor.submit(function, item) for item in islice(source, ahead))
        yield None
        while waiting:
            result = waiting.popleft().result()
            waiting.extend(executor.submit(function, item) for item in islice(source, 1))
            yield result
    finally:
        for future in waiting:
            future.cancel()

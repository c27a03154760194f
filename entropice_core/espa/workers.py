"""Where the parts of a search are computed: one after the other, in threads, or by the workers of a Dask cluster.

Parts do not depend on each other, so the result is the same wherever they run and in whatever order they finish.
Threads suffice on one machine, as NumPy leaves Python's lock during its work; BLAS gets one thread meanwhile, since
its products are too small to be split (measured: five to eight times the CPU seconds on a loaded machine). With several
GPUs, ``dask_cuda.LocalCUDACluster`` starts one worker per device and each opens the program on the device it sees.
What must not be here: what a part computes.
"""

import os
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Executor, ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, TypeVar

from threadpoolctl import threadpool_limits

from entropice_core.espa.training import Program

Part = TypeVar("Part")
Result = TypeVar("Result")


@dataclass(frozen=True)
class Workers:
    """Something that computes parts.

    Attributes
    ----------
    program : Program, or what a cluster keeps in its place
    executor : Executor, optional
        None: one part after the other, here.
    """

    program: Any
    executor: Executor | None

    def compute(
        self, function: Callable[[Program, Part], Result], parts: Sequence[Part]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the number and the result of each part as it is finished; later parts are begun first.

        Parts of many clusters come last in a search and take longest, so they should not be what all wait for.
        """
        if self.executor is None:
            for number, part in enumerate(parts):
                yield number, function(self.program, part)
            return
        futures = {
            self.executor.submit(function, self.program, part): number
            for number, part in reversed(list(enumerate(parts)))
        }
        try:
            for future in as_completed(futures):
                yield futures[future], future.result()
        finally:
            for future in futures:
                future.cancel()


@contextmanager
def open_workers(program: Program, n_jobs: int | None = None, client: Any = None) -> Iterator[Workers]:
    """Open threads, or the cluster of a ``dask.distributed.Client``, to which the program is sent once."""
    if client is not None:
        yield Workers(client.scatter(program, broadcast=True, hash=False), client.get_executor(pure=False))
        return
    n_threads = (os.cpu_count() or 1) if n_jobs == -1 else n_jobs or 1
    with threadpool_limits(1, user_api="blas"):
        if n_threads == 1:
            yield Workers(program, None)
            return
        with ThreadPoolExecutor(n_threads) as threads:
            yield Workers(program, threads)

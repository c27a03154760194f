"""Where the arrays live: NumPy, PyTorch, CuPy or any other array-API library, and on which device.

Only matrix products, arg-minima and elementwise functions of the array API standard are used, so one code serves all.
What must not be here: anything that knows about clusters.
"""

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from threading import Lock
from typing import Any, ClassVar

import array_api_compat
import array_api_compat.numpy as numpy_namespace
import numpy as np

from entropice_core.errors import ConfigError, nearest_hint

Array = Any
BACKENDS = ("auto", "numpy", "torch", "cupy")


@dataclass(frozen=True)
class Backend:
    """A namespace, a device and the type of the large arrays; statistics and losses are always float64."""

    xp: Any
    name: str
    device: Any
    dtype: str = "float64"

    @property
    def is_numpy(self) -> bool:
        """Whether the fast host paths may be taken."""
        return self.name == "numpy"

    @property
    def out_of_memory(self) -> tuple[type[Exception], ...]:
        """What the library raises when its device has no room left."""
        if self.name == "torch":
            import torch

            return (torch.OutOfMemoryError,)
        if self.name == "cupy":
            from cupy.cuda.memory import OutOfMemoryError

            return (OutOfMemoryError,)
        return ()

    def rows(self, host: Any) -> Array:
        """Move a host array to the device as the type of the large arrays."""
        return self._move(host, getattr(self.xp, self.dtype))

    def numbers(self, host: Any) -> Array:
        """Move a host array to the device as float64."""
        return self._move(host, self.xp.float64)

    def integers(self, host: Any) -> Array:
        """Move a host array to the device as int64."""
        return self._move(host, self.xp.int64)

    def _move(self, host: Any, dtype: Any) -> Array:
        if self.is_numpy:
            return np.asarray(host, dtype=dtype)
        return self.xp.asarray(np.ascontiguousarray(host), dtype=dtype, device=self.device)

    def to_host(self, array: Array) -> np.ndarray[Any, Any]:
        """Copy an array of this backend to NumPy."""
        return to_host(array)

    def __reduce__(self) -> tuple[Any, ...]:
        """Travel to another process by name: libraries and devices themselves cannot."""
        device = f"cuda:{self.device.id}" if self.name == "cupy" else str(self.device)
        return _open_again, (self.name, device, self.dtype)

    @contextmanager
    def full_precision(self) -> Iterator[None]:
        """Products of float32 without TF32, whatever is set; the setting of the process is put back at the end.

        TF32 keeps 10 bits: on data with an offset it sends most rows to other clusters. CuPy uses it only when the
        environment asks for it (``CUPY_TF32``).
        """
        if self.name != "torch" or self.dtype != "float32":
            yield
            return
        with _FullPrecision():
            yield

    def describe(self) -> str:
        """Name, device and type in one phrase, for logs and reports."""
        return f"{self.name} on {self.device}, {self.dtype}"


class _FullPrecision:
    """PyTorch's setting for TF32 belongs to the whole process: the first thread that comes turns it off, the last that
    goes puts it back.
    """

    _lock: ClassVar[Lock] = Lock()
    _inside: ClassVar[int] = 0
    _before: ClassVar[Any] = None

    def __enter__(self) -> None:
        kind = type(self)
        with kind._lock:
            if kind._inside == 0:
                kind._before = _set_precision(None)
            kind._inside += 1

    def __exit__(self, *_: object) -> None:
        kind = type(self)
        with kind._lock:
            kind._inside -= 1
            if kind._inside == 0:
                _set_precision(kind._before)


def _set_precision(value: Any) -> Any:
    """Set how CUDA multiplies float32 (None: in full precision) and return what was set before."""
    import torch

    matmul: Any = torch.backends.cuda.matmul
    name, full = ("fp32_precision", "ieee") if hasattr(matmul, "fp32_precision") else ("allow_tf32", False)
    before = getattr(matmul, name)
    setattr(matmul, name, full if value is None else value)
    return before


def to_host(array: Array) -> np.ndarray[Any, Any]:
    """Copy an array of any supported library to NumPy."""
    if isinstance(array, np.ndarray):
        return array
    if array_api_compat.is_torch_array(array):
        return np.asarray(array.detach().cpu().numpy())
    if array_api_compat.is_cupy_array(array):
        return np.asarray(array.get())
    return np.asarray(array)


def is_foreign(X: Any) -> bool:
    """Whether X is an array of an array-API library other than NumPy."""
    return not isinstance(X, np.ndarray) and bool(array_api_compat.is_array_api_obj(X))


def choose_backend(X: Any, backend: str = "auto", device: str = "auto", dtype: str = "float64") -> Backend:
    """Pick library and device: those of X when it is a device array, otherwise what is named, NumPy by default.

    ``device="auto"`` takes the first CUDA device when the library sees one and the CPU otherwise; what was taken is
    in the result. A device that is named but absent is an error, never silently replaced.

    >>> choose_backend([[0.0]]).describe()
    'numpy on cpu, float64'
    """
    if backend not in BACKENDS:
        raise ConfigError(f"There is no array backend called {backend!r}; {nearest_hint(backend, BACKENDS)}.")
    if dtype not in ("float32", "float64"):
        raise ConfigError(f"dtype is {dtype!r}; eSPA computes in 'float32' or 'float64'.")
    if backend == "auto" and is_foreign(X):
        namespace = array_api_compat.array_namespace(X)
        return Backend(namespace, _library_name(namespace), array_api_compat.device(X), dtype)
    if backend == "torch":
        return _torch_backend(device, dtype)
    if backend == "cupy":
        return _cupy_backend(device, dtype)
    if device not in ("auto", "cpu"):
        raise ConfigError(f"device is {device!r}, but NumPy computes on 'cpu' only; choose backend='torch' or 'cupy'.")
    return Backend(numpy_namespace, "numpy", "cpu", dtype)


def _open_again(name: str, device: str, dtype: str) -> Backend:
    if name not in BACKENDS:
        raise ConfigError(f"Arrays of {name!r} cannot be sent to workers; choose backend='numpy', 'torch' or 'cupy'.")
    return choose_backend(None, name, device, dtype)


def _library_name(namespace: Any) -> str:
    parts: list[str] = str(namespace.__name__).split(".")
    return parts[1] if parts[0] == "array_api_compat" else parts[0]


def _torch_backend(device: str, dtype: str) -> Backend:
    try:
        import torch
    except ImportError as error:
        raise ConfigError("backend='torch' needs PyTorch; install the extra `torch` of entropice.") from error
    import array_api_compat.torch as namespace

    if device.startswith("cuda") and not torch.cuda.is_available():
        raise ConfigError(f"device is {device!r}, but PyTorch sees no CUDA device; use device='auto' or 'cpu'.")
    chosen = ("cuda:0" if torch.cuda.is_available() else "cpu") if device == "auto" else device
    return Backend(namespace, "torch", torch.device(chosen), dtype)


def _cupy_backend(device: str, dtype: str) -> Backend:
    try:
        import array_api_compat.cupy as namespace
        import cupy
    except ImportError as error:
        raise ConfigError("backend='cupy' needs CuPy; install the extra `gpu` of entropice.") from error
    if device == "cpu":
        raise ConfigError("device is 'cpu', but CuPy computes on CUDA devices only; choose backend='numpy'.")
    index = 0 if device in ("auto", "cuda") else int(device.rpartition(":")[2])
    return Backend(namespace, "cupy", cupy.cuda.Device(index), dtype)

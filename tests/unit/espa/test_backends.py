"""NumPy, PyTorch and a strict array-API library give the same partitions; blocks, files and threads change nothing."""

import ast
import subprocess
import sys
from pathlib import Path

import numpy as np
import pytest
from sklearn.datasets import load_breast_cancer, load_wine
from threadpoolctl import threadpool_limits

import entropice_core.espa
from entropice_core.errors import ConfigError
from entropice_core.espa import ESPAClassifier, ESPASearch
from entropice_core.espa.backend import choose_backend
from entropice_core.espa.rows import Rows
from entropice_core.espa.scaling import fit_scaling
from entropice_core.espa.training import Jobs, Program, Settings, TrainingRows

MODES = [
    {},
    {"eps_a": 0.01, "tau": None},
    {"missing": "mask", "class_weight": "balanced"},
    {"eps_w": float("inf"), "tau": 0.0, "alpha": 0.0, "unbias": False},
]


@pytest.fixture(scope="module")
def cancer() -> tuple[np.ndarray, np.ndarray]:
    return load_breast_cancer(return_X_y=True)


def put(library: str, X: np.ndarray):
    return pytest.importorskip(library).asarray(X)


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("library", [pytest.param("torch", marks=pytest.mark.torch), "array_api_strict"])
def test_backends_agree_by_partition_loss_and_probability(cancer, library, mode) -> None:
    X, y = cancer
    host = ESPAClassifier(8, n_init=4, random_state=0, **mode).fit(X, y)
    other = ESPAClassifier(8, n_init=4, random_state=0, **mode).fit(put(library, X), y)
    np.testing.assert_array_equal(host.labels_, other.labels_)
    np.testing.assert_allclose(host.restart_losses_, other.restart_losses_, atol=1e-12)
    np.testing.assert_allclose(host.predict_proba(X), other.predict_proba(X), atol=1e-10)
    assert other.backend_.startswith(library)


@pytest.mark.parametrize("library", [pytest.param("torch", marks=pytest.mark.torch), "array_api_strict"])
def test_probabilities_come_back_in_the_library_of_the_rows(cancer, library) -> None:
    X, y = cancer
    rows = put(library, X)
    model = ESPAClassifier(8, n_init=2, random_state=0).fit(rows, put(library, y))
    probabilities = model.predict_proba(rows)
    assert type(probabilities) is type(rows)
    assert isinstance(model.predict(rows), np.ndarray)
    assert isinstance(model.predict_proba(X), np.ndarray)
    np.testing.assert_allclose(np.asarray(probabilities), model.predict_proba(X), atol=1e-12)


@pytest.mark.parametrize("library", [pytest.param("torch", marks=pytest.mark.torch), "array_api_strict"])
@pytest.mark.parametrize("mode", [{}, {"missing": "mask", "eps_a": 0.01, "tau": (None, 0.0)}])
def test_the_search_has_the_same_scores_on_every_library(library, mode) -> None:
    X, y = load_wine(return_X_y=True)
    grid = {"n_clusters": (3, 6), "eps_c": (0.3,), "eps_w": (0.5, 1.0), "n_init": 3, "n_average": 2, "random_state": 0}
    host = ESPASearch(**{**grid, **mode}).fit(X, y)
    other = ESPASearch(**{**grid, **mode}).fit(put(library, X), y)
    np.testing.assert_allclose(host.results_["log_loss"], other.results_["log_loss"], atol=1e-9)
    assert host.best_params_ == other.best_params_
    np.testing.assert_allclose(host.predict_proba(X), other.predict_proba(X), atol=1e-6)


@pytest.mark.torch
def test_automatic_choice_says_what_it_chose() -> None:
    torch = pytest.importorskip("torch")
    chosen = choose_backend(np.zeros((1, 1)), "torch", "auto", "float32")
    expected = "cuda:0" if torch.cuda.is_available() else "cpu"
    assert chosen.describe() == f"torch on {expected}, float32"
    assert choose_backend(np.zeros((1, 1))).describe() == "numpy on cpu, float64"


@pytest.mark.torch
def test_an_absent_device_is_an_error_and_never_replaced() -> None:
    torch = pytest.importorskip("torch")
    if torch.cuda.is_available():
        assert str(choose_backend(None, "torch", "cuda").device).startswith("cuda")
        return
    with pytest.raises(ConfigError, match="PyTorch sees no CUDA device"):
        choose_backend(None, "torch", "cuda")


def test_cupy_without_cupy_names_the_extra_to_install(monkeypatch) -> None:
    monkeypatch.setitem(sys.modules, "cupy", None)
    with pytest.raises(ConfigError, match="extra `gpu`"):
        choose_backend(None, "cupy")


@pytest.mark.parametrize("backend", ["numpy", pytest.param("torch", marks=pytest.mark.torch)])
def test_single_precision_finds_nearly_the_same_loss(cancer, backend) -> None:
    if backend == "torch":
        pytest.importorskip("torch")
    X, y = cancer
    double = ESPAClassifier(8, random_state=0).fit(X, y)
    single = ESPAClassifier(8, random_state=0, dtype="float32", backend=backend, device="cpu").fit(X, y)
    assert single.backend_.endswith("float32")
    assert single.restart_losses_.min() == pytest.approx(double.restart_losses_.min(), rel=1e-3)
    assert (single.predict(X) == double.predict(X)).mean() > 0.98


def test_one_two_and_four_threads_give_the_same_bits() -> None:
    rng = np.random.default_rng(0)
    X, y = rng.normal(size=(1500, 30)), rng.integers(0, 2, 1500)
    found = []
    for threads in (1, 2, 4):
        with threadpool_limits(threads):
            found.append(ESPAClassifier(12, n_init=4, random_state=0).fit(X, y))
    for other in found[1:]:
        np.testing.assert_array_equal(other.labels_, found[0].labels_)
        np.testing.assert_array_equal(other.restart_losses_, found[0].restart_losses_)


def program(X: np.ndarray, y: np.ndarray) -> Program:
    shared = ESPAClassifier(6, n_init=3).get_params()
    data = TrainingRows.select(X, y, np.ones(len(X)))
    return Program(data, Settings.of(shared), np.random.RandomState(0), choose_backend(X))


def test_rows_built_block_by_block_from_a_file_give_the_same_bits(cancer, tmp_path) -> None:
    X, y = cancer
    np.save(tmp_path / "X.npy", X)
    mapped = np.load(tmp_path / "X.npy", mmap_mode="r")
    kept, streamed = program(X, y), program(X, y)
    options = {"codes": y, "n_classes": 2, "keep_bytes": 0}
    streamed.rows = Rows(mapped, streamed.scaling, streamed.backend, **options)
    jobs = Jobs.restarts_of_all_rows(6, 1.0, 0.3, 0.5, 3)
    first, second = kept.run(jobs), streamed.run(jobs)
    np.testing.assert_array_equal(first.losses, second.losses)
    np.testing.assert_array_equal(first.S, second.S)


def test_block_size_does_not_change_the_fit(cancer, monkeypatch) -> None:
    X, y = cancer
    first = ESPAClassifier(8, random_state=0).fit(X, y)
    monkeypatch.setattr("entropice_core.espa.rows.HOST_BLOCK", 1)
    second = ESPAClassifier(8, random_state=0).fit(X, y)
    np.testing.assert_array_equal(first.labels_, second.labels_)
    np.testing.assert_allclose(first.loss_curve_, second.loss_curve_, atol=1e-12)


def test_a_large_file_is_trained_on_in_bounded_memory(tmp_path) -> None:
    """A fit of 154 MB of rows takes less than 100 MB beside the libraries, most of it for the starts."""
    script = f"""
import numpy as np
n, d = 300_000, 64
X = np.lib.format.open_memmap({str(tmp_path / "X.npy")!r}, mode="w+", dtype=np.float64, shape=(n, d))
rng = np.random.default_rng(0)
for start in range(0, n, 50_000):
    X[start:start + 50_000] = rng.standard_normal((50_000, d))
y = (np.asarray(X[:, 0]) > 0).astype(int)
X.flush(); del X
import entropice_core.espa.rows as rows
rows.Rows.__init__.__kwdefaults__["keep_bytes"] = 0
from entropice_core.espa import ESPAClassifier
mapped = np.load({str(tmp_path / "X.npy")!r}, mmap_mode="r")
def resident():
    fields = dict(line.split(":", 1) for line in open("/proc/self/status") if ":" in line)
    return int(fields["RssAnon"].split()[0]) / 1024
before, peak = resident(), [0.0]
original = rows.Rows.block
def watched(self, start, stop):
    peak[0] = max(peak[0], resident())
    return original(self, start, stop)
rows.Rows.block = watched
import warnings; warnings.simplefilter("ignore")
ESPAClassifier(4, n_init=2, max_iter=3, random_state=0).fit(mapped, y)
print(peak[0] - before)
"""
    if not sys.platform.startswith("linux"):
        pytest.skip("reads /proc")
    done = subprocess.run([sys.executable, "-c", script], capture_output=True, text=True, check=True)
    assert 0.0 < float(done.stdout) < 100.0


def test_scaling_ignores_missing_values_and_rows_of_weight_zero() -> None:
    X = np.array([[1.0, np.nan], [3.0, 7.0], [1e9, 9.0]])
    found = fit_scaling(X, np.array([1.0, 1.0, 0.0]))
    np.testing.assert_allclose(found.center, [2.0, 7.0])
    np.testing.assert_allclose(found.scale, [1.0, 1.0])
    np.testing.assert_allclose(found.observed, [1.0, 0.5])
    assert found.varies.tolist() == [True, False]


def test_the_seed_of_the_wine_data_gives_a_known_partition() -> None:
    X, y = load_wine(return_X_y=True)
    model = ESPAClassifier(3, random_state=0).fit(X, y)
    table = np.zeros((3, 3), dtype=int)
    np.add.at(table, (model.labels_, y), 1)
    assert table.max(axis=0).sum() >= 170


@pytest.mark.torch
def test_a_device_without_room_gets_smaller_blocks_and_it_is_said(cancer, monkeypatch) -> None:
    torch = pytest.importorskip("torch")
    import array_api_compat.torch as namespace

    X, y = cancer
    expected = ESPAClassifier(6, n_init=8, random_state=0, backend="torch", device="cpu").fit(X, y)
    product, room = namespace.matmul, 10_000

    def with_little_room(first, second):
        result = product(first, second)
        if result.numel() > room:
            raise torch.OutOfMemoryError("no room")
        return result

    monkeypatch.setattr(namespace, "matmul", with_little_room)
    with pytest.warns(ResourceWarning, match="no room left; going on with blocks of 1/"):
        found = ESPAClassifier(6, n_init=8, random_state=0, backend="torch", device="cpu").fit(X, y)
    np.testing.assert_array_equal(found.labels_, expected.labels_)
    np.testing.assert_allclose(found.restart_losses_, expected.restart_losses_, atol=1e-10)
    room = 100
    with pytest.warns(ResourceWarning), pytest.raises(torch.OutOfMemoryError):
        ESPAClassifier(6, random_state=0, backend="torch", device="cpu").fit(X, y)


@pytest.mark.torch
def test_tf32_is_off_while_single_precision_is_multiplied_and_put_back_after(cancer, monkeypatch) -> None:
    torch = pytest.importorskip("torch")
    setting = torch.backends.cuda.matmul
    seen, product = [], torch.matmul

    def watched(first, second):
        if first.dtype == torch.float32:
            seen.append(setting.fp32_precision)
        return product(first, second)

    monkeypatch.setattr("array_api_compat.torch.matmul", watched)
    before = setting.fp32_precision
    try:
        setting.fp32_precision = "tf32"
        options = {"n_clusters": (4,), "eps_c": (0.3,), "eps_w": (0.5,), "n_init": 2, "n_moves": 0, "cv": 2}
        model = ESPASearch(**options, backend="torch", device="cpu", dtype="float32", random_state=0).fit(*cancer)
        model.predict_proba(cancer[0])
        assert setting.fp32_precision == "tf32"
    finally:
        setting.fp32_precision = before
    assert seen
    assert set(seen) == {"ieee"}


def test_only_functions_of_the_array_api_standard_are_called() -> None:
    """CuPy cannot be run here; what it is asked for must at least exist, also on lines that no test reaches."""
    strict = pytest.importorskip("array_api_strict")
    used = set()
    for file in Path(entropice_core.espa.__file__).parent.glob("*.py"):
        for node in ast.walk(ast.parse(file.read_text())):
            if isinstance(node, ast.Attribute) and isinstance(node.value, ast.Name) and node.value.id == "xp":
                used.add(node.attr)
    assert {"matmul", "argmin", "take"} <= used
    assert sorted(name for name in used if not hasattr(strict, name)) == []

"""Climate as a product of a study: published with its recipe, provisional while ERA5T, stale when final files come."""

import shutil
from pathlib import Path

import pytest

from entropice_core.config import Settings, load_study
from entropice_core.config.sources import CONFIGS
from entropice_core.fetch.check import Received
from entropice_core.fetch.plan import Request
from entropice_core.fetch.receipts import RECEIPT, Receipt, describe_files
from entropice_core.pipeline.graph import build_graph
from entropice_core.pipeline.product import Context
from entropice_core.pipeline.run import materialize
from entropice_core.pipeline.status import is_current
from entropice_core.sources import era5
from entropice_core.storage.durable import write_json
from entropice_core.storage.partition import Partition
from tests.unit.climate import world

WHERE = Partition("h3-3", 2021)
FIELDS = (("t2m", "mean"), ("tp", "sum"))


def write_receipts(folder: Path, versions: dict[str, str]) -> None:
    """Receipts as a fetch leaves them; the experiment version of each month is 0001 unless said."""
    for result in folder.glob("[0-9]*"):
        statistic = result.name.split("_")[2]
        months = tuple([(2020, m) for m in (10, 11, 12)] + [(2021, m) for m in range(1, 10)])
        request = Request("daily", ("2m_temperature",), statistic, months, (90.0, -180.0, 50.0, 180.0))
        keys = [f"{y}-{m:02d}" for y, m in months]
        received = Received(expver={key: [versions.get(key, "0001")] for key in keys})
        files = describe_files(result.glob("*.nc"))
        receipt = Receipt(request, files, received, "job", "http://127.0.0.1", "2021-10-08", 1, None)
        write_json(result / RECEIPT, receipt.as_json())


@pytest.fixture
def study():
    demo = load_study("demo")
    tables = {
        "climate": CONFIGS["era5_daily"](kind="era5_daily", title="ERA5", indices=("t2m_*", "precipitation_year_*")),
    }
    area = demo.study_area.model_copy(update={"bounds": (170.0, 60.0, -160.0, 75.0)})
    head = demo.study.model_copy(update={"name": "warm", "grids": ("h3-3",)})
    return demo.model_copy(update={"study": head, "study_area": area, "sources": tables})


@pytest.fixture
def context(study, tmp_path, monkeypatch):
    monkeypatch.setattr(era5, "_KEPT", type(era5._KEPT)())
    data = tmp_path / "data"
    fields = world.fields_of(2021)
    folder = world.write_year(data, 2021, {field: fields[field] for field in FIELDS})
    write_receipts(folder, {"2021-08": "0005", "2021-09": "0005"})
    environment = {"ENTROPICE_HOME": str(tmp_path / "home"), "ENTROPICE_DATA": str(data)}
    return Context(study, Settings.from_environment(environment))


def test_a_year_with_era5t_is_provisional_and_stale_when_final_files_replace_it(context, study, tmp_path):
    graph = build_graph(study)
    materialize(context, graph, graph["cells"], Partition("h3-3"))
    product = graph["features.climate"]
    first = materialize(context, graph, product, WHERE)
    assert first.built and first.manifest.provisional
    made = context.open("features.climate", WHERE)
    assert made.attrs["provisional_months"] == "2021-08 2021-09" and made.sizes["feature"] == 6
    assert not materialize(context, graph, product, WHERE).built
    names = {source.name for source in first.manifest.recipe.sources}
    assert "era5/daily/2021/2020_10-09_mean_0123abcd/all.nc" in names and any(n.endswith(RECEIPT) for n in names)

    folder = tmp_path / "data" / "era5" / "daily" / "2021"
    shutil.rmtree(folder)
    fields = world.fields_of(2021)
    fields["t2m", "mean"][310:] += 0.5  # the final version differs from ERA5T in August and September
    world.write_year(tmp_path / "data", 2021, {field: fields[field] for field in FIELDS})
    write_receipts(folder, {})
    assert not is_current(context, graph, product, WHERE)
    second = materialize(context, graph, product, WHERE)
    assert second.built and not second.manifest.provisional and second.manifest.digest != first.manifest.digest
    assert context.open("features.climate", WHERE).attrs["provisional_months"] == ""


def test_the_same_files_give_the_same_digest_whether_work_was_kept_or_not(context, study, tmp_path):
    graph = build_graph(study)
    materialize(context, graph, graph["cells"], Partition("h3-3"))
    first = materialize(context, graph, graph["features.climate"], WHERE)
    assert list((tmp_path / "home" / "work" / "climate").glob("2021-*/maps.npy"))
    era5._KEPT.clear()
    kept = materialize(context, graph, graph["features.climate"], WHERE, force=True)
    era5._KEPT.clear()
    shutil.rmtree(tmp_path / "home" / "work")
    anew = materialize(context, graph, graph["features.climate"], WHERE, force=True)
    assert first.manifest.digest == kept.manifest.digest == anew.manifest.digest

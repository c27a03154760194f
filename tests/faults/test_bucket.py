"""The store on S3-compatible storage, against a server that speaks the protocol: read, kill, damage, contend."""

import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr

from entropice_core.config import Settings
from entropice_core.doctor import Finding, _bucket
from entropice_core.errors import ConfigError, MissingPartitionError, StoreError
from entropice_core.storage.partition import Partition
from entropice_core.storage.recipe import Recipe

pytest.importorskip("obstore")
server_module = pytest.importorskip("moto.server")

from entropice_core.storage.bucket import Bucket  # noqa: E402
from entropice_core.storage.bucket_store import BucketStore  # noqa: E402

PART = Partition("h3-3", 2020)
WRITER = """
import sys
from pathlib import Path
from tests.faults.test_bucket import open_store, publish
print(publish(open_store(Path(sys.argv[1]), sys.argv[2]), float(sys.argv[3])).digest)
"""


def open_store(mirror: Path, url: str) -> BucketStore:
    return BucketStore(mirror, bucket=Bucket(url))


def publish(store: BucketStore, value: float, partition: Partition = PART, number: int | None = None):
    made = xr.Dataset({"height": ("cell", [value, 2.0, 3.0])})
    made["height"].attrs = {"units": "m"}
    config = {"number": value if number is None else number}
    recipe = Recipe(step="made", code_version="1", config=config, inputs=(), sources=(), seed=0)
    return store.publish("made", partition, made, recipe)


@pytest.fixture(scope="module")
def server() -> Iterator[str]:
    """An S3 server on this machine, with a bucket; keys that open nothing else."""
    running = server_module.ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    running.start()
    _, port = running.get_host_and_port()
    address = f"http://127.0.0.1:{port}"
    given = {
        "AWS_ENDPOINT_URL": address, "AWS_ACCESS_KEY_ID": "test", "AWS_SECRET_ACCESS_KEY": "test",
        "AWS_REGION": "us-east-1",
    }  # fmt: skip
    saved = {name: os.environ.get(name) for name in given}
    os.environ.update(given)
    import boto3

    boto3.client("s3").create_bucket(Bucket="arctic")
    yield "s3://arctic"
    for name, value in saved.items():
        os.environ.pop(name) if value is None else os.environ.update({name: value})
    running.stop()


@pytest.fixture
def url(server: str, request: pytest.FixtureRequest) -> str:
    return f"{server}/{abs(hash(request.node.name)):x}"


def test_another_machine_reads_what_was_published_with_the_same_digest(url: str, tmp_path: Path) -> None:
    here, there = open_store(tmp_path / "here", url), open_store(tmp_path / "there", url)
    with pytest.raises(MissingPartitionError, match="was never published in s3://arctic"):
        there.manifest("made", PART)
    manifest = publish(here, 1.0)
    assert there.manifest("made", PART) == manifest
    assert there.open("made", PART)["height"].values.tolist() == [1.0, 2.0, 3.0]
    assert there.is_current("made", PART, manifest.recipe)
    assert (there.datasets(), there.partitions("made")) == (["made"], [PART])
    assert there.verify(full=True) == []
    assert [line.split(" (")[0] for line in there.lineage("made", PART).lines()] == [
        f"made h3-3/2020 {manifest.digest[:12]}"
    ]


def test_a_new_version_is_seen_everywhere_and_the_old_one_stays_until_it_is_swept(url: str, tmp_path: Path) -> None:
    here, there = open_store(tmp_path / "here", url), open_store(tmp_path / "there", url)
    old = publish(here, 1.0)
    there.open("made", PART).load()
    publish(here, 5.0)
    assert float(there.open("made", PART)["height"][0]) == 5.0
    assert float(there.open("made", PART, old.digest)["height"][0]) == 1.0
    assert there.gc(grace_seconds=3600) == []
    removed = there.gc(grace_seconds=-1)
    assert {item.reason for item in removed} >= {"old version"}
    assert {str(item["path"]).split("/")[-1] for item in there.bucket.list() if "v-" in str(item["path"])}
    fresh = open_store(tmp_path / "fresh", url)
    assert float(fresh.open("made", PART)["height"][0]) == 5.0
    assert fresh.verify(full=True) == []


def test_what_a_version_in_use_was_made_from_is_not_swept(url: str, tmp_path: Path) -> None:
    here = open_store(tmp_path / "here", url)
    old = publish(here, 1.0)
    content = xr.Dataset({"height": ("cell", [0.0], {"units": "m"})})
    first, _ = (
        here.publish("used", PART, content + number, Recipe("used", "1", inputs=(upstream.ref,)))
        for number, upstream in enumerate((old, publish(here, 5.0)))
    )
    open_store(tmp_path / "there", url).gc(grace_seconds=-1, keep_digests=[first.digest])
    fresh = open_store(tmp_path / "fresh", url)
    assert float(fresh.open("made", PART, old.digest)["height"][0]) == 1.0
    assert float(fresh.open("used", PART, first.digest)["height"][0]) == 0.0
    assert {item.reason for item in fresh.gc(grace_seconds=-1)} == {"old version"}


@pytest.mark.parametrize("step", [0, 1, 2])
def test_a_writer_killed_on_its_way_up_leaves_the_version_before(url: str, tmp_path: Path, step: int) -> None:
    reader = open_store(tmp_path / "reader", url)
    before = publish(reader, 1.0)
    command = [sys.executable, "-c", WRITER, str(tmp_path / "writer"), url, "9.0"]
    environment = {**os.environ, "ENTROPICE_CRASH_AT": f"push:{step}", "PYTHONPATH": str(Path(__file__).parents[2])}
    killed = subprocess.run(command, env=environment, capture_output=True, text=True, timeout=120)
    assert killed.returncode == 137, killed.stderr
    assert reader.manifest("made", PART) == before
    assert reader.verify(full=True) == []
    again = publish(open_store(tmp_path / "writer", url), 9.0)
    assert reader.manifest("made", PART) == again
    assert float(reader.open("made", PART)["height"][0]) == 9.0


@pytest.mark.nightly
@pytest.mark.parametrize("objects", [1, 4, 9])
def test_a_writer_killed_from_outside_while_files_go_up_leaves_the_version_before(
    url: str, tmp_path: Path, objects: int
) -> None:
    """SIGKILL as soon as so many of twelve files of 4 MB are up: mostly while the next one is on its way."""
    reader = open_store(tmp_path / "reader", url)
    before = publish_files(reader, tmp_path / "small", 1, 10)
    there = {str(item["path"]) for item in reader.bucket.list()}
    command = [sys.executable, "-c", BIG_WRITER, str(tmp_path / "writer"), url, str(tmp_path / "big")]
    environment = {**os.environ, "PYTHONPATH": str(Path(__file__).parents[2])}
    writer = subprocess.Popen(command, env=environment)
    end = time.monotonic() + 120
    while len({str(item["path"]) for item in reader.bucket.list()} - there) < objects and time.monotonic() < end:
        time.sleep(0.002)
    writer.kill()
    writer.wait()
    up = {str(item["path"]) for item in reader.bucket.list()} - there
    assert objects <= len(up) < 12, "it was not killed on its way"
    assert reader.manifest("made", PART) == before
    assert reader.verify(full=True) == []
    assert {path.read_bytes() for path in reader.path("made", PART).iterdir()} == {b"1" * 10}
    again = publish_files(open_store(tmp_path / "writer", url), tmp_path / "again", 12, 4_000_000)
    assert reader.manifest("made", PART) == again
    assert len(list(open_store(tmp_path / "fresh", url).path("made", PART).iterdir())) == 12
    assert reader.verify(full=True) == []


def publish_files(store: BucketStore, folder: Path, count: int, size: int):
    folder.mkdir()
    for number in range(count):
        (folder / f"{number:02}.bin").write_bytes(b"%d" % (number + 1) * (size if number < 9 else size // 2))
    return store.publish("made", PART, folder, Recipe("made", str(count)))


BIG_WRITER = """
import sys
from pathlib import Path
from tests.faults.test_bucket import open_store, publish_files
publish_files(open_store(Path(sys.argv[1]), sys.argv[2]), Path(sys.argv[3]), 12, 4_000_000)
"""


def test_an_object_that_is_gone_or_changed_is_named_and_building_again_repairs_it(url: str, tmp_path: Path) -> None:
    here = open_store(tmp_path / "here", url)
    manifest = publish(here, 1.0)
    first, second = (f"made/{PART.path}/{manifest.folder_name}/{file.name}" for file in manifest.files[:2])
    here.bucket.delete(first)
    content, _ = here.bucket.get(second)
    here.bucket.put(second, content[:-1] + b"!")
    found = {finding.kind for finding in here.verify(full=True)}
    assert found == {"missing_file", "flipped_byte"}
    assert not here.is_current("made", PART, manifest.recipe)
    with pytest.raises(StoreError, match="is damaged"):
        open_store(tmp_path / "there", url).open("made", PART)
    here.bucket.delete(second)
    publish(here, 1.0)
    assert here.verify(full=True) == []
    assert float(open_store(tmp_path / "there", url).open("made", PART)["height"][0]) == 1.0


def test_of_two_writers_the_second_is_refused_or_takes_the_first_ones_version(url: str, tmp_path: Path) -> None:
    one, two = open_store(tmp_path / "one", url), open_store(tmp_path / "two", url)
    seen = two._pointer("made", PART)
    theirs = publish(one, 1.0)
    same = super(BucketStore, two).publish("made", PART, one.open("made", PART).load(), theirs.recipe)
    assert two._push(same, seen) == theirs
    other = xr.Dataset({"height": ("cell", [8.0, 2.0, 3.0], {"units": "m"})})
    recipe = Recipe(step="made", code_version="1", config={"number": 8}, inputs=(), sources=(), seed=0)
    mine = super(BucketStore, two).publish("made", PART, other, recipe)
    with pytest.raises(StoreError, match="another writer published v-"):
        two._push(mine, seen)
    assert one.manifest("made", PART) == theirs


def test_a_storage_that_is_not_there_and_an_address_that_is_none_are_named(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with pytest.raises(ConfigError, match="that begins with s3://"):
        Bucket("ftp://arctic")
    for name, value in {"ENDPOINT_URL": "http://127.0.0.1:9", "ACCESS_KEY_ID": "a", "SECRET_ACCESS_KEY": "b"}.items():
        monkeypatch.setenv(f"AWS_{name}", value)
    monkeypatch.setattr("entropice_core.storage.bucket.RETRY_SECONDS", 1)
    with pytest.raises(StoreError, match=r"s3://nowhere/made.*check ENTROPICE_STORE"):
        open_store(tmp_path, "s3://nowhere").manifest("made", PART)


def test_the_doctor_asks_the_storage(url: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    publish(open_store(tmp_path / "here", f"{url}/demo"), 1.0)
    settings = Settings(home=tmp_path, tracking_uri="", store_url=url)
    assert _bucket(settings) == [Finding("ENTROPICE_STORE", f"{url}/demo answers: 1 partitions")]
    assert _bucket(settings.model_copy(update={"store_url": ""})) == []
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:9")
    (found,) = _bucket(settings)
    assert found.found == url and "the object storage refused" in found.remedy


def test_a_study_builds_into_a_bucket_with_the_digests_of_a_folder(url: str, tmp_path: Path) -> None:
    from entropice_core.config import load_study
    from entropice_core.pipeline.parallel import bring_up_to_date, with_what_they_need
    from entropice_core.pipeline.product import Context
    from entropice_core.pipeline.run import select, tasks
    from tests.assets.conftest import make_tiny

    found = []
    for place, address in (("folder", ""), ("bucket", url), ("mirror", url)):
        (tmp_path / place).mkdir()
        tiny = make_tiny(tmp_path / place, tmp_path / "data")
        study, graph = load_study(tiny.toml), tiny.graph()
        context = Context(study, tiny.settings().model_copy(update={"store_url": address}))
        todo = with_what_they_need(graph, study, tasks(context, select(graph, ["training_set"]), None, None))
        found.append(
            [(done.dataset, done.digest, done.built) for done in bring_up_to_date(context, graph, todo, False)]
        )
    assert [row[:2] for row in found[0]] == [row[:2] for row in found[1]] == [row[:2] for row in found[2]]
    assert all(row[2] for row in found[1])
    assert not any(row[2] for row in found[2]), "another machine finds everything in the bucket"

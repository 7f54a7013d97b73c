"""A Ray cluster of two nodes on this machine: the rows of one machine, workers and drivers that are killed, models that change."""

import dataclasses
import json
import os
import shutil
import signal
import subprocess
import sys
import time
from concurrent.futures import ThreadPoolExecutor

import pyarrow.parquet as pq
import pytest
from mert_toolkit import Encoder, MertError, convert

from .conftest import FIXTURES

ray = pytest.importorskip("ray", reason="the package's extra `ray` is not installed")

import mert_toolkit.ray as module  # noqa: E402
from mert_toolkit.ray import Storage, embed_catalogue, merge  # noqa: E402

# Ray's workers cannot import this module.
ray.cloudpickle.register_pickle_by_value(sys.modules[__name__])


@pytest.fixture(scope="module")
def cluster():
    """Two nodes with two processors each, which are those of this machine in name only."""
    from ray.cluster_utils import Cluster

    os.environ["RAY_DEDUP_LOGS"] = "0"
    cluster = Cluster(initialize_head=True, head_node_args={"num_cpus": 2})
    cluster.add_node(num_cpus=2)
    ray.init(address=cluster.address, log_to_driver=False)
    cluster.wait_for_nodes()
    assert len([node for node in ray.nodes() if node["Alive"]]) == 2
    yield cluster
    ray.shutdown()
    cluster.shutdown()


@pytest.fixture(scope="module")
def files(music, tmp_path_factory):
    """Twelve files of the generated music, one that is damaged and one that is missing."""
    folder = tmp_path_factory.mktemp("files")
    paths = []
    for copy in range(2):
        for source in sorted(music.iterdir()):
            paths.append(folder / f"{copy}-{source.name}")
            shutil.copy2(source, paths[-1])
    (folder / "broken.wav").write_bytes(b"RIFF" + bytes(100))
    return [*map(str, paths[:5]), str(folder / "broken.wav"), *map(str, paths[5:]), str(folder / "missing.wav")]


@pytest.fixture(scope="module")
def expected(model, files, tmp_path_factory):
    """The table that one machine writes."""
    path = tmp_path_factory.mktemp("single") / "table.parquet"
    Encoder(model, layer=6).write(files, path, window="sliding:1s/1s")
    return sorted_rows([path])


def sorted_rows(tables):
    """The rows of tables in the order of files and windows."""
    import pyarrow as pa

    rows = pa.concat_tables([pq.read_table(table) for table in tables])
    return rows.sort_by([("file", "ascending"), ("window", "ascending")])


def embed(files, model, output, **options):
    return embed_catalogue(files, str(model), output, layer=6, window="sliding:1s/1s", shard_size=3, num_cpus=1, **options)


def wait_for(path):
    """Waits until a file exists, a minute at most."""
    deadline = time.time() + 60
    while not path.exists() and time.time() < deadline:
        time.sleep(0.02)


def check(report, expected, files):
    assert report.files == len(files) and report.embedded == 12
    assert sorted(os.path.basename(failure["file"]) for failure in report.failures) == ["broken.wav", "missing.wav"]
    assert sorted_rows(report.tables).equals(expected)


def test_rows_are_those_of_one_machine(cluster, files, model, expected, tmp_path):
    report = embed(files, model, tmp_path / "out", concurrency=2)
    check(report, expected, files)
    assert report.shards == 5 and report.resumed == 0 and report.model_sha256 == Encoder(model).sha256
    again = embed(files, model, tmp_path / "out")
    check(again, expected, files)
    assert again.resumed == 5
    with pytest.raises(ValueError, match="layer: 6, now 12"):
        embed_catalogue(files, str(model), tmp_path / "out", layer=12, window="sliding:1s/1s", shard_size=3)
    # Another model at the same path must not be taken for the one that the tables are of.
    replaced = tmp_path / "model.safetensors"
    shutil.copy(model, replaced)
    embed(files[:1], replaced, tmp_path / "replaced", concurrency=1)
    convert(FIXTURES / "mert-tiny" / "pytorch_model.bin", replaced, dtype="f16", do_normalize=True, force=True, quiet=True)
    with pytest.raises(ValueError, match="model_sha256"):
        embed(files[:1], replaced, tmp_path / "replaced", concurrency=1)
    catalogue = merge(report, tmp_path / "catalogue")
    assert len(catalogue) == 12 and catalogue.added["tracks"] == 12
    assert merge(report, tmp_path / "catalogue").added["tracks"] == 0
    hits = catalogue.search("0-track-0", versions=False, top=1).hits
    assert hits[0]["file"].endswith("1-track-0.wav") and hits[0]["cosine"] > 0.999999


def test_a_dataset_and_addresses(cluster, files, model, expected, tmp_path):
    """Files and output by addresses: they are fetched, and their rows have the addresses."""
    addresses = [f"file://{file}" for file in files]
    dataset = ray.data.from_items([{"path": address} for address in addresses])
    report = embed(dataset, model, f"file://{tmp_path / 'out'}", concurrency=1)
    assert report.embedded == 12 and len(report.failures) == 2
    rows = sorted_rows([table.removeprefix("file://") for table in report.tables])
    assert rows["file"].to_pylist() == [f"file://{file}" for file in expected["file"].to_pylist()]
    assert rows["hidden_state_6"].equals(expected["hidden_state_6"])
    assert len(merge(report, tmp_path / "catalogue")) == 12


def test_a_worker_that_is_killed(cluster, files, model, expected, tmp_path, monkeypatch):
    """A worker kills its own process in the middle of a shard, once: the shard is computed again by another."""

    class Killed(module.Worker):
        def embed(self, files, folder, table):
            marker = tmp_path / "killed"
            if not marker.exists():
                marker.write_text("")
                os.kill(os.getpid(), signal.SIGKILL)
            return super().embed(files, folder, table)

    monkeypatch.setattr(module, "Worker", Killed)
    report = embed(files, model, tmp_path / "out", concurrency=2)
    assert (tmp_path / "killed").exists()
    check(report, expected, files)


def test_a_node_that_is_lost(cluster, files, model, expected, tmp_path, monkeypatch):
    """A node ends in the middle of a shard, with a worker on every processor: the others have no room until they are idle."""
    node = cluster.add_node(num_cpus=1)
    cluster.wait_for_nodes()
    name = node.node_id

    class Stuck(module.Worker):
        def embed(self, files, folder, table):
            if ray.get_runtime_context().get_node_id() == name:
                (tmp_path / "stuck").touch()
                time.sleep(300)
            wait_for(tmp_path / "stuck")
            return super().embed(files, folder, table)

    def lose():
        wait_for(tmp_path / "stuck")
        cluster.remove_node(node, allow_graceful=False)

    monkeypatch.setattr(module, "Worker", Stuck)
    with ThreadPoolExecutor(1) as pool:
        lost = pool.submit(lose)
        report = embed(files, model, tmp_path / "out", concurrency=5)
        lost.result()
    assert (tmp_path / "stuck").exists()
    check(report, expected, files)


def test_a_driver_that_is_killed(cluster, files, model, expected, tmp_path):
    """A driver is killed after its first table: the same call in another one computes what is left."""
    output = tmp_path / "out"
    program = tmp_path / "driver.py"
    program.write_text(
        "import json, sys, ray, mert_toolkit.ray\n"
        "files, model, output, address = json.loads(sys.argv[1])\n"
        "ray.init(address=address, log_to_driver=False)\n"
        "mert_toolkit.ray.embed_catalogue(files, model, output, layer=6, window='sliding:1s/1s', shard_size=1, num_cpus=1,\n"
        "                                 concurrency=1)\n"
    )
    arguments = json.dumps([files, str(model), str(output), cluster.address])
    driver = subprocess.Popen([sys.executable, str(program), arguments], stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    deadline = time.time() + 120
    while time.time() < deadline and not (output.is_dir() and any(output.glob("*.parquet"))):
        assert driver.poll() is None, "the driver ended by itself"
        time.sleep(0.02)
    driver.kill()
    driver.wait()
    before = Storage(output).done()
    assert before
    report = embed_catalogue(files, str(model), output, layer=6, window="sliding:1s/1s", shard_size=1, num_cpus=1)
    assert report.resumed >= len(before) and report.shards == 14
    check(report, expected, files)


def test_a_model_that_cannot_be_opened(cluster, files, model, tmp_path):
    with pytest.raises(MertError, match=r"cannot read .*nowhere.safetensors.* \(on "):
        embed(files, tmp_path / "nowhere.safetensors", tmp_path / "out", concurrency=1)
    with pytest.raises(ValueError, match=r"99.* \(on "):
        embed_catalogue(files, str(model), tmp_path / "layer", layer=99, num_cpus=1, concurrency=1)


@pytest.fixture(scope="module")
def other_model(tmp_path_factory):
    """The small model in float16: another file, whose embeddings are others."""
    path = tmp_path_factory.mktemp("other") / "tiny.safetensors"
    checkpoint = FIXTURES / "mert-tiny" / "pytorch_model.bin"
    convert(checkpoint, path, dtype="f16", do_normalize=True, sampling_rate=24000, quiet=True)
    return path


def edit_reports(output, change, count=None):
    """Changes the reports of shards in a folder: all of them, or the first ones."""
    for path in sorted(output.glob("part-*.json"))[:count]:
        report = json.loads(path.read_text())
        change(report)
        path.write_text(json.dumps(report))


def test_a_folder_whose_model_is_replaced(cluster, files, model, other_model, tmp_path):
    """A folder has no digest in the settings: the reports of the shards tell which model they are of."""
    folder, output = tmp_path / "model", tmp_path / "out"
    folder.mkdir()
    shutil.copy(model, folder / "model.safetensors")
    first = embed(files[:6], folder, output, concurrency=1)
    digest, other = Encoder(model).sha256, Encoder(other_model).sha256
    assert first.model_sha256 == digest and first.shards == 2
    shutil.copy(other_model, folder / "model.safetensors")
    before = sorted(path.name for path in output.iterdir())

    # With nothing left to compute, the tables are those of the first model, and the report says so.
    again = embed(files[:6], folder, output, concurrency=1)
    assert (again.tables, again.resumed, again.model_sha256) == (first.tables, 2, digest)

    # With shards of the same call, and with those of another call alone, the new model computes nothing.
    found = rf"found 2 by their SHA-256: {digest} \(2 shards\), {other} on .+ \(0 shards\)\. .*revision"
    for paths in (files, files[6:9]):
        with pytest.raises(MertError, match=found):
            embed(paths, folder, output, concurrency=1)
    assert sorted(path.name for path in output.iterdir()) == before

    # Reports of an earlier version have no digest.
    edit_reports(output, lambda report: report.pop("model_sha256"))
    old = embed(files[:6], folder, output, concurrency=1)
    assert (old.embedded, old.model_sha256) == (first.embedded, None)
    mixed = embed(files[:9], folder, output, concurrency=1)
    assert (mixed.shards, mixed.resumed, mixed.model_sha256) == (3, 2, other)

    # Shards of two models are refused before anything is computed, and at the end of a call that computes nothing.
    edit_reports(output, lambda report: report.update(model_sha256=other))
    edit_reports(output, lambda report: report.update(model_sha256=digest), count=1)
    before = sorted(path.name for path in output.iterdir())
    for paths in (files, files[:9]):
        with pytest.raises(MertError, match=rf"{digest} \(1 shard\)") as error:
            embed(paths, folder, output, concurrency=1)
        assert f"{other} (2 shards)" in str(error.value)
    assert sorted(path.name for path in output.iterdir()) == before

    # What the message says to do.
    for path in output.glob("part-*"):
        path.unlink()
    assert embed(files[:6], folder, output, concurrency=1).model_sha256 == other


def test_machines_with_different_models(cluster, files, model, other_model, tmp_path, monkeypatch):
    """A machine has another model at the same path: with a file nothing is computed, with a folder the run ends at once."""

    class OtherMachine(module.Worker):
        def __init__(self, settings, storage, threads, digest):
            super().__init__(dataclasses.replace(settings, model=str(other_model)), storage, threads, digest)

    class OneOfTwoMachines(module.Worker):
        def __init__(self, settings, storage, threads, digest):
            try:
                (tmp_path / "first").touch(exist_ok=False)
            except FileExistsError:
                settings = dataclasses.replace(settings, model=str(other_model))
                (tmp_path / "second").touch()
            super().__init__(settings, storage, threads, digest)

        def embed(self, files, folder, table):
            wait_for(tmp_path / "second")
            time.sleep(0.5)
            return super().embed(files, folder, table)

    digest, other = Encoder(model).sha256, Encoder(other_model).sha256
    monkeypatch.setattr(module, "Worker", OtherMachine)
    with pytest.raises(MertError, match=rf"{digest} \(0 shards\), {other} on .+ \(0 shards\)"):
        embed(files, model, tmp_path / "out", concurrency=1)
    assert [path.name for path in (tmp_path / "out").iterdir()] == ["settings.json"]

    monkeypatch.setattr(module, "Worker", OneOfTwoMachines)
    (tmp_path / "model").mkdir()
    shutil.copy(model, tmp_path / "model" / "model.safetensors")
    output = tmp_path / "two"
    with pytest.raises(MertError, match="expected one model, found 2 by their SHA-256") as error:
        embed_catalogue(files, tmp_path / "model", output, layer=6, shard_size=1, num_cpus=1, concurrency=2)
    assert digest in str(error.value) and other in str(error.value)
    assert len(list(output.glob("part-*.json"))) < len(files)

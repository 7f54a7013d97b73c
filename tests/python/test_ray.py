"""A Ray cluster of two nodes on this machine: the rows of one machine, workers and drivers that are killed, bad files."""

import json
import os
import shutil
import signal
import subprocess
import sys
import time

import pyarrow.parquet as pq
import pytest
from mert_toolkit import Encoder, convert

from .conftest import FIXTURES

ray = pytest.importorskip("ray", reason="the package's extra `ray` is not installed")

from mert_toolkit.ray import Storage, embed_catalogue, merge  # noqa: E402


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


def check(report, expected, files):
    assert report.files == len(files) and report.embedded == 12
    assert sorted(os.path.basename(failure["file"]) for failure in report.failures) == ["broken.wav", "missing.wav"]
    assert sorted_rows(report.tables).equals(expected)


def test_rows_are_those_of_one_machine(cluster, files, model, expected, tmp_path):
    report = embed(files, model, tmp_path / "out", concurrency=2)
    check(report, expected, files)
    assert report.shards == 5 and report.resumed == 0
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


def test_a_worker_that_is_killed(cluster, files, model, expected, tmp_path):
    """A worker kills its own process in the middle of a shard, once: the shard is computed again by another."""
    import mert_toolkit.ray as module

    class Killed(module.Worker):
        def embed(self, files, folder, table):
            marker = tmp_path / "killed"
            if not marker.exists():
                marker.write_text("")
                os.kill(os.getpid(), signal.SIGKILL)
            return super().embed(files, folder, table)

    original, module.Worker = module.Worker, Killed
    try:
        report = embed(files, model, tmp_path / "out", concurrency=2)
    finally:
        module.Worker = original
    assert (tmp_path / "killed").exists()
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


def test_a_model_that_cannot_be_opened(cluster, files, tmp_path):
    with pytest.raises(Exception, match="nowhere"):
        embed(files, tmp_path / "nowhere.safetensors", tmp_path / "out", concurrency=1)


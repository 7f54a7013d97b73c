"""Files and tables on an object store: a local S3 server, which Ray's workers know from the environment alone."""

import logging
import os
import signal
import uuid

import pytest
from mert_toolkit import Encoder

ray = pytest.importorskip("ray", reason="the package's extra `ray` is not installed")
moto = pytest.importorskip("moto.server", reason="moto is not installed")
boto3 = pytest.importorskip("boto3", reason="moto is not installed")
s3fs = pytest.importorskip("s3fs", reason="s3fs is not installed")

import mert_toolkit.ray as module  # noqa: E402
from mert_toolkit.ray import Storage, embed_catalogue, merge  # noqa: E402

from .test_ray import sorted_rows  # noqa: E402


@pytest.fixture(scope="module")
def store():
    """A client of the S3 server, which is another than the file system that is tested, and keeps no listings."""
    logging.getLogger("werkzeug").setLevel(logging.WARNING)
    server = moto.ThreadedMotoServer(ip_address="127.0.0.1", port=0)
    server.start()
    host, port = server.get_host_and_port()
    with pytest.MonkeyPatch.context() as patch:
        patch.setenv("AWS_ENDPOINT_URL", f"http://{host}:{port}")
        patch.setenv("AWS_ACCESS_KEY_ID", "testing")
        patch.setenv("AWS_SECRET_ACCESS_KEY", "testing")
        patch.setenv("AWS_DEFAULT_REGION", "us-east-1")
        client = boto3.client("s3")
        client.create_bucket(Bucket="music")
        yield client
        s3fs.S3FileSystem.clear_instance_cache()
    server.stop()


@pytest.fixture(scope="module")
def cluster(store):
    """One node with two processors, started when the environment has the server's address."""
    ray.init(num_cpus=2, log_to_driver=False, include_dashboard=False)
    yield
    ray.shutdown()


@pytest.fixture(scope="module")
def files(store, music):
    """The generated music in the bucket, an object that is damaged and one that is missing, in the middle of the others."""
    names = sorted(path.name for path in music.iterdir())
    for name in names:
        store.upload_file(str(music / name), "music", f"albums/{name}")
    store.put_object(Bucket="music", Key="albums/broken.wav", Body=b"RIFF" + bytes(100))
    return [f"s3://music/albums/{name}" for name in [*names[:3], "broken.wav", "missing.wav", *names[3:]]]


@pytest.fixture(scope="module")
def expected(model, music, tmp_path_factory):
    """The table that one machine writes of the same files."""
    path = tmp_path_factory.mktemp("single") / "table.parquet"
    Encoder(model, layer=6).write(sorted(music.iterdir()), path, window="sliding:1s/1s")
    return sorted_rows([path])


@pytest.fixture
def output():
    """An address that nothing has been written to."""
    return f"s3://music/embeddings/{uuid.uuid4().hex}"


def embed(files, model, output, **options):
    return embed_catalogue(files, str(model), output, layer=6, window="sliding:1s/1s", shard_size=2, num_cpus=1, **options)


def objects(store, output):
    """The objects under an address, with the time of each."""
    prefix = output.removeprefix("s3://music/") + "/"
    found = store.list_objects_v2(Bucket="music", Prefix=prefix).get("Contents", [])
    return {item["Key"].removeprefix(prefix): item["LastModified"] for item in found}


def check(report, store, output, expected, tmp_path):
    """The rows of one machine, the files that failed, and nothing in the bucket but reports, tables and the settings."""
    assert report.files == 8 and report.embedded == 6 and report.shards == 4
    failures = {failure["file"]: failure["reason"] for failure in report.failures}
    assert set(failures) == {"s3://music/albums/broken.wav", "s3://music/albums/missing.wav"}
    assert failures["s3://music/albums/missing.wav"] == "not fetched"
    local = []
    for number, table in enumerate(report.tables):
        local.append(tmp_path / f"{uuid.uuid4().hex}-{number}.parquet")
        store.download_file("music", table.removeprefix("s3://music/"), str(local[-1]))
    rows = sorted_rows(local)
    names = [f"s3://music/albums/{os.path.basename(file)}" for file in expected["file"].to_pylist()]
    assert rows["file"].to_pylist() == names
    for name in expected.column_names:
        if name not in ("file", "file_modified"):
            assert rows[name].equals(expected[name]), name
    shards = {name.split(".")[0] for name in objects(store, output) if name.startswith("part-")}
    assert len(shards) == 4
    tables = {table.rsplit("/", 1)[1] for table in report.tables}
    assert set(objects(store, output)) == {"settings.json", *tables, *(f"{shard}.json" for shard in shards)}


def test_rows_are_those_of_one_machine(cluster, store, files, model, expected, output, tmp_path):
    first = embed(files, model, output)
    check(first, store, output, expected, tmp_path)
    assert first.resumed == 0
    before = objects(store, output)

    # The same process: its file system must not remember how the folder was.
    second = embed(files, model, output)
    assert second.resumed == 4 and objects(store, output) == before
    assert (second.tables, second.failures, second.embedded) == (first.tables, first.failures, first.embedded)

    # A table that another machine deletes is computed again, and nothing else.
    lost = first.tables[1]
    store.delete_object(Bucket="music", Key=lost.removeprefix("s3://music/"))
    third = embed(files, model, output)
    check(third, store, output, expected, tmp_path)
    after = objects(store, output)
    shard = lost.rsplit("/", 1)[1].removesuffix(".parquet")
    assert third.resumed == 3
    assert {name for name in after if after[name] != before[name]} == {f"{shard}.parquet", f"{shard}.json"}

    with pytest.raises(ValueError, match="layer: 6, now 12"):
        embed_catalogue(files, str(model), output, layer=12, window="sliding:1s/1s", shard_size=2)
    assert objects(store, output) == after

    catalogue = merge(third, tmp_path / "catalogue")
    assert len(catalogue) == 6 and catalogue.added["tracks"] == 6
    hits = catalogue.search("s3://music/albums/track-0.wav", versions=False, top=1).hits
    assert hits[0]["file"] == "s3://music/albums/track-1.wav"


def test_settings_that_another_machine_wrote(store, files, model, output):
    """A process that looked at an empty folder sees the settings that others write later."""
    filesystem, path = module.filesystem_of(output)
    filesystem.ls(path.rsplit("/", 2)[0])
    store.put_object(Bucket="music", Key=output.removeprefix("s3://music/") + "/placeholder", Body=b"")
    assert filesystem.ls(path, detail=False) == [f"{path}/placeholder"]
    store.put_object(Bucket="music", Key=output.removeprefix("s3://music/") + "/settings.json", Body=b'{"layer": 3}')
    with pytest.raises(ValueError, match="layer: 3, now 6"):
        embed(files, model, output)


def test_a_bucket_that_does_not_exist(cluster, store, files, model):
    with pytest.raises(FileNotFoundError, match="s3://nowhere/embeddings: .*expected a bucket that exists"):
        embed(files, model, "s3://nowhere/embeddings")
    assert [bucket["Name"] for bucket in store.list_buckets()["Buckets"]] == ["music"]


def test_objects_that_come_later(cluster, store, files, model, music, output):
    """A file that could not be fetched stays a failure, until a call is to try again the shards with such files."""
    late = "s3://music/late.wav"
    first = embed([*files[:3], late], model, output)
    assert (first.shards, first.embedded, [failure["file"] for failure in first.failures]) == (2, 3, [late])
    store.upload_file(str(music / "track-5.wav"), "music", "late.wav")
    second = embed([*files[:3], late], model, output)
    assert (second.resumed, second.embedded) == (2, 3)
    third = embed([*files[:3], late], model, output, retry=True)
    assert (third.resumed, third.embedded, third.failures) == (1, 4, [])
    assert embed([*files[:3], late], model, output, retry=True).resumed == 2


def test_workers_that_are_killed(cluster, store, files, model, expected, output, tmp_path):
    """One worker is killed when it has fetched its files, and one between the report and the table of a shard."""

    class FragileWorker(module.Worker):
        def embed(self, files, folder, table):
            report = super().embed(files, folder, table)
            die_once("table")
            return report

    class FragileStorage(Storage):
        def put(self, local, name):
            die_once("report")
            super().put(local, name)

    def die_once(name):
        try:
            (tmp_path / name).touch(exist_ok=False)
        except FileExistsError:
            return
        os.kill(os.getpid(), signal.SIGKILL)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "Worker", FragileWorker)
        patch.setattr(module, "Storage", FragileStorage)
        report = embed(files, model, output)
    assert (tmp_path / "table").exists() and (tmp_path / "report").exists()
    check(report, store, output, expected, tmp_path)

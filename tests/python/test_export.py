"""Vector databases in their local modes: their neighbours beside an exhaustive search in f64."""

import numpy as np
import pytest
from mert_toolkit import Encoder
from mert_toolkit.export import batches, to_lancedb, to_milvus, to_qdrant

from .conftest import command


@pytest.fixture(scope="module")
def table(model, music, tmp_path_factory):
    """A table with three windows of each of six tracks."""
    path = tmp_path_factory.mktemp("table") / "embeddings.parquet"
    Encoder(model, layer=[6, 12]).write(music, path, window="sliding:1s/1s")
    return path


@pytest.fixture(scope="module")
def expected(table):
    """The vectors, the records, and for each row all rows, the nearest first, with their cosines."""
    rows = list(batches(table, 6, size=7))
    vectors = np.concatenate([vectors for _, vectors, _ in rows]).astype(np.float64)
    records = [record for _, _, records in rows for record in records]
    assert len(records) == 18 and len({(r["file"], r["window"]) for r in records}) == 18
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    cosines = unit @ unit.T
    return vectors, records, cosines, np.argsort(-cosines, axis=1, kind="stable")


def check(search, expected, tolerance):
    """Compares the five nearest of each row: `search` returns their records and cosines."""
    vectors, records, cosines, order = expected
    for row, vector in enumerate(vectors):
        found = search(vector.astype(np.float32).tolist(), 5)
        keys = [(record["file"], record["window"]) for record, _ in found]
        assert keys == [(records[i]["file"], records[i]["window"]) for i in order[row, :5]]
        assert np.allclose([cosine for _, cosine in found], cosines[row, order[row, :5]], atol=tolerance)


def test_qdrant(table, expected):
    from qdrant_client import QdrantClient

    client = QdrantClient(":memory:")
    # The second time replaces what the first wrote.
    assert to_qdrant(table, client, "music", layer=6, batch=7) == to_qdrant(table, client, "music", layer=6) == 18
    assert client.count("music").count == 18

    def search(vector, limit):
        return [(hit.payload, hit.score) for hit in client.query_points("music", vector, limit=limit).points]

    check(search, expected, 1e-5)


def test_milvus(table, expected, tmp_path):
    from pymilvus import MilvusClient

    client = MilvusClient(str(tmp_path / "milvus.db"))
    assert to_milvus(table, client, "music", layer=6, batch=7) == to_milvus(table, client, "music", layer=6) == 18

    def search(vector, limit):
        (hits,) = client.search("music", [vector], limit=limit, output_fields=["file", "window"])
        return [(hit["entity"], hit["distance"]) for hit in hits]

    check(search, expected, 1e-5)
    client.close()


def test_lancedb(table, expected, tmp_path):
    import lancedb

    database = lancedb.connect(tmp_path / "lance")
    assert to_lancedb(table, database, "music", layer=6, batch=7) == to_lancedb(table, database, "music") == 18
    opened = database.open_table("music")
    assert opened.count_rows() == 18

    def search(vector, limit):
        hits = opened.search(vector).distance_type("cosine").limit(limit).to_list()
        return [(hit, 1 - hit["_distance"]) for hit in hits]

    check(search, expected, 1e-5)


def test_the_rows_of_a_catalogue(catalogue, model, music, tmp_path):
    import shutil

    folder = tmp_path / "catalogue"
    shutil.copytree(catalogue, folder)
    command("mert-search", "remove", folder, music / "track-2.wav")
    records = [record for _, _, records in batches(folder, 6) for record in records]
    files = [str(music / f"track-{i}.wav") for i in (0, 1, 3, 4, 5)]
    assert [record["file"] for record in records] == [file for file in files for _ in range(3)]


def test_a_missing_hidden_state_is_named(table):
    with pytest.raises(ValueError, match="no hidden_state_3, but hidden_state_6, hidden_state_12"):
        next(batches(table, 3))


def test_duckdb_and_polars_read_tables(table, expected):
    import duckdb
    import polars

    vectors, records, cosines, order = expected
    rows = duckdb.sql(
        f"""select b.file, b.window from '{table}' a, '{table}' b where a.file = '{records[0]["file"]}' and a.window = 0
        order by array_cosine_similarity(a.hidden_state_6::FLOAT[64]::DOUBLE[64], b.hidden_state_6::FLOAT[64]::DOUBLE[64])
        desc limit 5"""
    ).fetchall()
    assert rows == [(records[i]["file"], records[i]["window"]) for i in order[0, :5]]
    frame = polars.read_parquet(table)
    assert frame["file"].to_list() == [record["file"] for record in records]
    assert np.array_equal(frame["hidden_state_6"].to_numpy(), vectors.astype(np.float32))


def test_vectors_of_another_hidden_state_are_refused(table, tmp_path):
    import lancedb
    from pymilvus import MilvusClient
    from qdrant_client import QdrantClient

    for write, database in [
        (to_qdrant, QdrantClient(":memory:")),
        (to_milvus, MilvusClient(str(tmp_path / "milvus.db"))),
        (to_lancedb, lancedb.connect(tmp_path / "lance")),
    ]:
        assert write(table, database, "music", layer=6) == 18
        with pytest.raises(ValueError, match="hidden_state_6.*hidden_state_12"):
            write(table, database, "music", layer=12)
        assert write(table, database, "music", layer=6) == 18

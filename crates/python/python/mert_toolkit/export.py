"""Tables of embeddings into vector databases: Qdrant, Milvus and LanceDB.

The tables are Parquet files that `Encoder.write`, `mert-embed` or `mert_toolkit.ray` wrote, or the folder of a catalogue. Each
row, a window of a track, becomes an entry with its vector, and with `file`, `window`, `start`, `end` and `vectors`, which names the
model and the hidden state. Its identifier depends on the file, as the table names it, and the window alone, so that the same call
again replaces entries and doubles none. A collection that has vectors of another model or hidden state is refused.
"""

from __future__ import annotations

import json
import os
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
from numpy.typing import NDArray

BATCH = 1000
Source = Any  # a path, or several
# The namespace of identifiers: any would do, as long as it stays.
NAMESPACE = uuid.UUID("6d6f7a61-7274-4b35-8532-343537383930")


def batches(
    source: Source, layer: int | str = 6, *, size: int = BATCH
) -> Iterator[tuple[list[str], NDArray[np.float32], list[dict[str, Any]]]]:
    """The rows of tables, at most `size` at a time: `(ids, vectors (rows, dim) in float32, records)`.

    `source` is a table, a list of them, or the folder of a catalogue, whose removed tracks are left out; `layer` a hidden
    state. ValueError if a table does not have it.
    """
    import pyarrow.parquet as pq

    column = layer if isinstance(layer, str) else f"hidden_state_{layer}"
    for path, is_live, name in _tables(source):
        with pq.ParquetFile(path) as table:
            names = table.schema_arrow.names
            if column not in names:
                known = [name for name in names if name.startswith("hidden_state_")]
                raise ValueError(f"{path} has no {column}, but {', '.join(known) or 'no hidden states'}")
            kind = f"{_model(table)} {column}".strip()
            extra = [name for name in ("window", "frame", "start", "end") if name in names]
            first = 0
            for batch in table.iter_batches(size, columns=["file", *extra, column]):
                keep = np.arange(first, first + len(batch)) if is_live is None else first + np.flatnonzero(
                    is_live[first : first + len(batch)]
                )
                rows = batch.take((keep - first).tolist()) if len(keep) != len(batch) else batch
                first += len(batch)
                if len(rows) == 0:
                    continue
                files = rows["file"].to_pylist()
                files = files if name is None else [name[row] for row in keep]
                vectors = rows[column].flatten().to_numpy(zero_copy_only=False).reshape(len(rows), -1)
                columns = {key: rows[key].to_pylist() for key in extra}
                records = [{"file": file, "vectors": kind} | {key: values[i] for key, values in columns.items()}
                           for i, file in enumerate(files)]
                ids = [
                    str(uuid.uuid5(NAMESPACE, f"{record['file']}\0{record.get('window', 0)}\0{record.get('frame', '')}"))
                    for record in records
                ]
                yield ids, np.ascontiguousarray(vectors, np.float32), records


def _model(table: Any) -> str:
    """The SHA-256 of the model that a table is of; empty where the table does not record it."""
    provenance = (table.schema_arrow.metadata or {}).get(b"provenance")
    return "" if provenance is None else str(json.loads(provenance).get("model_sha256", ""))


def _check(collection: str, found: Any, records: list[dict[str, Any]]) -> None:
    """Refuses a collection whose entries, of which `found` is one, have other vectors than `records`."""
    known = None if found is None else found.get("vectors")
    if known is not None and known != records[0]["vectors"]:
        raise ValueError(
            f"{collection} has vectors of `{known}`, and these are of `{records[0]['vectors']}`: they are not comparable; give "
            "another collection"
        )


def _tables(source: Source) -> Iterator[tuple[str, NDArray[np.bool_] | None, list[str] | None]]:
    """Paths of tables, each with a mask of its live rows and their files where those of the table do not count."""
    if isinstance(source, (str, os.PathLike)):
        folder = Path(source)
        if (folder / "catalogue.json").is_file():
            yield from _parts(folder)
            return
        source = [source]
    for path in source:
        yield os.fspath(path), None, None


def _parts(folder: Path) -> Iterator[tuple[str, NDArray[np.bool_], list[str]]]:
    """The tables of a catalogue. Rows follow the tracks in order; a moved track has its path in the table of tracks only."""
    import pyarrow.parquet as pq

    for part in json.loads((folder / "catalogue.json").read_text())["parts"]:
        place = folder / "parts" / part["name"]
        tracks = pq.read_table(place / next(name for name in part["files"] if name != "rows.parquet"))
        live = np.ones(len(tracks), bool)
        live[part.get("removed", [])] = False
        owner = np.repeat(np.arange(len(tracks)), tracks["segments"].to_numpy())
        files = tracks["file"].to_pylist()
        yield os.fspath(place / "rows.parquet"), live[owner], [files[track] for track in owner]


def to_qdrant(source: Source, client: Any, collection: str, *, layer: int | str = 6, batch: int = BATCH) -> int:
    """Writes the rows to a collection of a `qdrant_client.QdrantClient`, which is made if it is not there, with cosines.

    Returns the number of rows.
    """
    from qdrant_client import models

    count = 0
    for ids, vectors, records in batches(source, layer, size=batch):
        if count == 0 and not client.collection_exists(collection):
            size = models.VectorParams(size=vectors.shape[1], distance=models.Distance.COSINE)
            client.create_collection(collection, vectors_config=size)
        elif count == 0:
            for point in client.scroll(collection, limit=1)[0]:
                _check(collection, point.payload, records)
        points = models.Batch(ids=ids, vectors=vectors.tolist(), payloads=records)
        client.upsert(collection, points=points, wait=True)
        count += len(ids)
    return count


def to_milvus(source: Source, client: Any, collection: str, *, layer: int | str = 6, batch: int = BATCH) -> int:
    """Writes the rows to a collection of a `pymilvus.MilvusClient`, which is made if it is not there, with cosines.

    Returns the number of rows.
    """
    count = 0
    for ids, vectors, records in batches(source, layer, size=batch):
        if count == 0 and not client.has_collection(collection):
            client.create_collection(
                collection,
                dimension=vectors.shape[1],
                id_type="string",
                max_length=36,
                metric_type="COSINE",
                consistency_level="Strong",
            )
        elif count == 0:
            for entry in client.query(collection, filter="", limit=1, output_fields=["vectors"]):
                _check(collection, entry, records)
        entries = [{"id": name, "vector": vector} | record
                   for name, vector, record in zip(ids, vectors.tolist(), records, strict=True)]
        client.upsert(collection, entries)
        count += len(ids)
    return count


def to_lancedb(source: Source, database: Any, table: str, *, layer: int | str = 6, batch: int = BATCH) -> int:
    """Writes the rows to a table of a `lancedb` connection, which is made if it is not there.

    Returns the number of rows.
    """
    import pyarrow as pa

    count = 0
    try:
        target = database.open_table(table)
    except ValueError as error:
        if "not found" not in str(error):
            raise
        target = None
    for ids, vectors, records in batches(source, layer, size=batch):
        values = pa.FixedSizeListArray.from_arrays(pa.array(vectors.reshape(-1)), vectors.shape[1])
        columns = {"id": ids, "vector": values}
        columns |= {key: [record[key] for record in records] for key in records[0]}
        rows = pa.table(columns)
        if target is not None and count == 0:
            for entry in target.head(1).to_pylist():
                _check(table, entry, records)
        if target is None:
            target = database.create_table(table, rows)
        else:
            target.merge_insert("id").when_matched_update_all().when_not_matched_insert_all().execute(rows)
        count += len(ids)
    return count

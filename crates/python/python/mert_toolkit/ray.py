"""Embeddings of catalogues on a Ray cluster: shards of a list of files become tables, on workers that keep the model.

    >>> import ray, mert_toolkit.ray
    >>> ray.init("auto")
    >>> report = mert_toolkit.ray.embed_catalogue(paths, "m-a-p/MERT-v1-95M", "s3://bucket/embeddings")

The files are divided into shards; a shard is done when its table exists, so that the same call goes on where a killed worker,
a killed driver or a power cut ended it. Files that cannot be embedded are in the report and end nothing. The rows are those
that `Encoder.write` writes on one machine, byte for byte.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
import posixpath
import shutil
import tempfile
import time
from dataclasses import asdict, dataclass, field
from typing import Any

from . import _native
from ._encoder import Encoder
from ._native import MertError
from ._search import Catalogue
from ._storage import Storage, digests_of, filesystem_of, is_address

# Half an hour's work of two processors at 1 s for a track, which is what a killed worker loses at most; 5,000 tables for ten
# million tracks (docs/cluster.md).
SHARD_SIZE = 2000
# The reason of a failure that a later call may not have.
NOT_FETCHED = "not fetched"


@dataclass(frozen=True)
class Settings:
    """What decides the rows of a table."""

    model: str
    # Of a model that is a file: another file of the same name is another model.
    model_sha256: str | None = None
    layer: object = 6
    pooling: str | None = "mean"
    normalize: bool = False
    dtype: str = "f32"
    device: str = "cpu"
    window: str = "middle:30s"
    tail: str = "align"
    damaged: str = "refuse"
    ffmpeg: bool = False


@dataclass
class Report:
    """What came of `embed_catalogue`."""

    shards: int
    """The number of shards."""
    resumed: int
    """The shards that an earlier call had done."""
    files: int
    """The number of files."""
    embedded: int
    """The files whose embeddings are in the tables."""
    failures: list[dict[str, str]] = field(repr=False)
    """The files that are in none, each with `file`, `reason` and `message`."""
    tables: list[str] = field(repr=False)
    """The tables, which together hold the catalogue's embeddings."""
    seconds: float = 0.0
    """The time that the call took."""
    model_sha256: str | None = None
    """The SHA-256 of the converted model that the tables are of; None if no report of a shard has it."""


def embed_catalogue(
    paths: Any,
    model: str | os.PathLike[str],
    output: str | os.PathLike[str],
    *,
    layer: int | str | list[int] = 6,
    pooling: str | None = "mean",
    normalize: bool = False,
    dtype: str = "f32",
    device: str = "cpu",
    window: str = "middle:30s",
    tail: str = "align",
    damaged: str = "refuse",
    ffmpeg: bool = False,
    shard_size: int = SHARD_SIZE,
    num_cpus: int = 2,
    num_gpus: float = 0,
    concurrency: int | None = None,
    retry: bool = False,
) -> Report:
    """Embeds many files on the Ray cluster that `ray.init` has connected to.

    Parameters
    ----------
    paths
        Files, folders (of a disk that all machines share), addresses that fsspec knows such as `s3://bucket/song.flac`,
        or a Ray dataset with a column `path`.
    model
        What `Encoder` takes. A file must be at the same place on every machine; a model of the hub is downloaded and
        converted once on each.
    output
        The folder of the tables: a path that all machines share, or an address that fsspec knows.
    layer, pooling, normalize, dtype, device, window, tail, damaged, ffmpeg
        As in `Encoder` and `Encoder.write`.
    shard_size
        Files in a shard, which is one table and what a killed worker loses at most.
    num_cpus, num_gpus
        The processors, and GPUs, of each worker. The model runs on all of them.
    concurrency
        The number of workers; as many as the cluster has room for without it.
    retry
        True computes the shards again in which an earlier call could not fetch a file.

    Returns
    -------
    Report

    Raises
    ------
    ValueError
        For an output that holds the tables of other settings: embeddings of two settings are not comparable. For settings
        that `Encoder` refuses.
    MertError
        For a model that cannot be opened. For shards of several models, by the SHA-256 of the converted files: where
        finished shards or the given file have another digest than a worker's model, that worker computes nothing.
    """
    import ray

    started = time.monotonic()
    settings = Settings(
        os.fspath(model), _digest(model), layer, pooling, normalize, dtype, device, window, tail, damaged, ffmpeg
    )
    files = _files(paths)
    storage = Storage(output)
    storage.check(settings)
    shards = [Shard.of(files[i : i + shard_size], settings) for i in range(0, len(files), shard_size)]
    done = storage.done()
    reports = storage.reports([shard.name for shard in shards if shard.name in done])
    # Settings have no digest of a folder or a hub model. Reports do, those of another call with this output too.
    others = storage.reports(sorted(done)[:1] if not reports else [])
    digest = storage.model([settings.model_sha256, *digests_of([*reports.values(), *others.values()])])
    if retry:
        for name in [name for name, report in reports.items() if _lacks_files(report)]:
            storage.remove(name)
            del reports[name]
    pending = [shard for shard in shards if shard.name not in reports]
    if pending:
        room = int(ray.cluster_resources().get("CPU", 1) // num_cpus)
        workers = min(concurrency or max(room, 1), len(pending))
        dataset = ray.data.from_items([asdict(shard) for shard in pending], override_num_blocks=len(pending))
        # Ray Data starts a worker that died again, and its shard with it, any number of times. With one task in flight a
        # shard does not wait at a busy worker while another is idle.
        results = dataset.map(
            Worker,
            fn_constructor_kwargs={"settings": settings, "storage": storage, "threads": num_cpus, "digest": digest},
            compute=ray.data.ActorPoolStrategy(size=workers, max_tasks_in_flight_per_actor=1),
            num_cpus=num_cpus,
            num_gpus=num_gpus,
        )
        # Tables and reports are on the storage when a row arrives. Rows arrive in the order of completion.
        for row in results.iter_rows():
            if row["error"]:
                raise (ValueError if row["error_type"] == "ValueError" else MertError)(f"{row['error']} (on {row['host']})")
            digest = storage.model([digest, row["model_sha256"]], row["host"])
        reports |= storage.reports([shard.name for shard in pending])
        digest = storage.model([digest, *digests_of(reports.values())])
    ordered = [reports[shard.name] for shard in shards]
    return Report(
        shards=len(shards),
        resumed=len(shards) - len(pending),
        files=len(files),
        embedded=sum(report["embedded"] for report in ordered),
        failures=[failure for report in ordered for failure in report["failures"]],
        tables=[storage.table(shard) for shard, report in zip(shards, ordered, strict=True) if report["embedded"]],
        seconds=time.monotonic() - started,
        model_sha256=digest,
    )


def merge(report: Report, catalogue: str | os.PathLike[str], *, tags: bool = False) -> Catalogue:
    """Adds the tables of a report to the catalogue at `catalogue`, a folder of this machine, and opens it.

    Tables that it has are left as they are, so that a merge that was interrupted goes on when it is called again.
    """
    with tempfile.TemporaryDirectory() as folder:
        local = []
        for number, table in enumerate(report.tables):
            if not is_address(table):
                local.append(table)
                continue
            filesystem, path = filesystem_of(table)
            local.append(os.path.join(folder, f"{number:06}.parquet"))
            filesystem.get_file(path, local[-1])
        return Catalogue.from_tables(catalogue, local, tags=tags)


@dataclass(frozen=True)
class Shard:
    """Some files of a run, and the name of their table, which depends on them and on the settings."""

    name: str
    files: list[str]

    @classmethod
    def of(cls, files, settings):
        """The shard of these files."""
        text = json.dumps([asdict(settings), list(files)], sort_keys=True)
        return cls(f"part-{hashlib.sha256(text.encode()).hexdigest()[:32]}", list(files))


class Worker:
    """A worker of the cluster: it keeps the model, and turns shards into tables."""

    def __init__(self, settings, storage, threads, digest):
        self.settings = settings
        self.storage = storage
        self.threads = max(int(threads), 1)
        self.digest = digest
        self.encoder, self.error = None, None
        # Ray would turn an exception of this method into one about an actor that died.
        try:
            self.encoder = Encoder(
                settings.model,
                layer=settings.layer,
                pooling=settings.pooling,
                normalize=settings.normalize,
                dtype=settings.dtype,
                device=settings.device,
                threads=self.threads,
                quiet=True,
            )
        except (MertError, ValueError) as error:
            self.error = error

    def __call__(self, row):
        shard = Shard(row["name"], list(row["files"]))
        result = {"name": shard.name, "host": platform.node(), "model_sha256": "", "error": "", "error_type": ""}
        if self.error is not None:
            return result | {"error": str(self.error), "error_type": type(self.error).__name__}
        result["model_sha256"] = self.encoder.sha256
        # The driver raises the error when it sees the digest.
        if self.digest and self.encoder.sha256 != self.digest:
            return result
        with tempfile.TemporaryDirectory() as folder:
            table = os.path.join(folder, "table.parquet")
            report = self.embed(shard.files, folder, table)
            self.storage.write(f"{shard.name}.json", (json.dumps(report) + "\n").encode())
            if report["embedded"]:
                self.storage.put(table, f"{shard.name}.parquet")
        return result

    def embed(self, files, folder, table):
        """Writes the table of some files, and returns what came of them."""
        local, failures = _fetched(files, os.path.join(folder, "audio"))
        report = {"embedded": 0, "failures": failures, "model_sha256": self.encoder.sha256}
        if local:
            settings = self.settings
            written = self.encoder.write(
                list(local),
                table,
                window=settings.window,
                tail=settings.tail,
                damaged=settings.damaged,
                ffmpeg=settings.ffmpeg,
                jobs=self.threads,
            )
            names = {path: file for path, file in local.items() if path != file}
            for failure in written["failures"]:
                failures.append({**failure, "file": names.get(failure["file"], failure["file"])})
            report["embedded"] = written["embedded"] + written["resumed"]
            if names and report["embedded"]:
                _rename(table, names)
        return report


def _files(paths):
    """The files of paths, folders and addresses, or of the column `path` of a Ray dataset, without repetitions."""
    if hasattr(paths, "iter_rows"):
        paths = [row["path"] for row in paths.iter_rows()]
    if isinstance(paths, (str, os.PathLike)):
        paths = [paths]
    files: list[str] = []
    for path in map(os.fspath, paths):
        if not is_address(path) and os.path.isdir(path):
            files.extend(map(os.fspath, _native.find_inputs([path])[0]))
        else:
            files.append(path if is_address(path) else os.path.abspath(path))
    if not files:
        raise ValueError("paths: there are no files")
    return list(dict.fromkeys(files))


def _digest(path):
    """The SHA-256 of a converted file, as `Encoder.sha256` has it; None for a folder and a model of the hub."""
    return _native.model_sha256(os.fspath(path)) if os.path.isfile(path) else None


def _lacks_files(report):
    """Whether files of a shard could not be fetched."""
    return any(failure["reason"] == NOT_FETCHED for failure in report["failures"])


def _fetched(files, folder):
    """The files that are on this machine, by their paths, and the failures of those that could not be fetched."""
    local, failures = {}, []
    for number, file in enumerate(files):
        if not is_address(file):
            local[file] = file
            continue
        os.makedirs(folder, exist_ok=True)
        # The ending helps to recognise the format.
        path = os.path.join(folder, f"{number:06}{posixpath.splitext(file)[1]}")
        try:
            filesystem, remote = filesystem_of(file)
            filesystem.get_file(remote, path)
        except Exception as error:  # whatever a store raises
            failures.append({"file": file, "reason": NOT_FETCHED, "message": f"{type(error).__name__}: {error}"})
            continue
        local[path] = file
    return local, failures


def _rename(table, names):
    """Replaces the paths of fetched copies in a table by the addresses of the files. Times of copies mean nothing."""
    import pyarrow as pa
    import pyarrow.parquet as pq

    with pq.ParquetFile(table) as source:
        renamed = table + ".renamed"
        # What the rows depend on is in the file's own metadata.
        metadata = {key: value for key, value in (source.metadata.metadata or {}).items() if key != b"ARROW:schema"}
        schema = source.schema_arrow.with_metadata(metadata)
        with pq.ParquetWriter(renamed, schema, compression="none") as writer:
            for group in range(source.num_row_groups):
                rows = source.read_row_group(group).cast(schema)
                files = pa.array([names.get(file, file) for file in rows["file"].to_pylist()], rows.schema.field("file").type)
                rows = rows.set_column(rows.schema.get_field_index("file"), rows.schema.field("file"), files)
                if "file_modified" in rows.schema.names:
                    at = rows.schema.get_field_index("file_modified")
                    empty = pa.nulls(len(rows), rows.schema.field(at).type)
                    if rows.schema.field(at).nullable:
                        rows = rows.set_column(at, rows.schema.field(at), empty)
                writer.write_table(rows.cast(schema))
    shutil.move(renamed, table)

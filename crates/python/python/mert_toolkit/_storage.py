"""The folder of a run's tables and reports, on a disk or an object store, for `mert_toolkit.ray`."""

from __future__ import annotations

import json
import os
import posixpath
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from dataclasses import asdict

from ._native import MertError

# The file systems of fsspec that show an object under its name when it is complete. A move would copy and delete it there.
OBJECT_STORES = {"s3", "s3a", "gs", "gcs", "abfs", "abfss", "az"}


class Storage:
    """The folder of the tables, on a disk or an object store.

    `settings.json` has what the rows depend on, `NAME.json` what came of a shard, `NAME.parquet` its rows. The report is
    written first; a shard is done when its table exists too, or when its report says that it has no rows.
    """

    def __init__(self, output):
        self.output = os.fspath(output)
        if not is_address(self.output):
            self.output = os.path.abspath(self.output)

    def path(self, name):
        """The address of a file of the folder."""
        return posixpath.join(self.output, name) if is_address(self.output) else os.path.join(self.output, name)

    def table(self, shard):
        """The address of the table of a shard."""
        return self.path(f"{shard.name}.parquet")

    def check(self, settings):
        """Records the settings, or compares them with those of an earlier call."""
        text = json.dumps(asdict(settings), sort_keys=True, indent=1) + "\n"
        filesystem, path = filesystem_of(self.path("settings.json"))
        if filesystem.exists(path):
            found = json.loads(filesystem.cat_file(path))
            given = json.loads(text)
            different = [f"{name}: {found.get(name)!r}, now {given[name]!r}" for name in given
                         if found.get(name) != given[name]]
            if different:
                raise ValueError(f"{self.output} holds tables of other settings ({'; '.join(different)}): give another")
            return
        if not is_object_store(filesystem):
            filesystem.makedirs(filesystem_of(self.output)[1], exist_ok=True)
        try:
            self.write("settings.json", text.encode())
        except FileNotFoundError as error:
            raise FileNotFoundError(f"{self.output}: {error}: expected a bucket that exists") from error

    def done(self):
        """The names of the shards that are done."""
        filesystem, folder = filesystem_of(self.output)
        names = {posixpath.basename(path.replace("\\", "/")) for path in filesystem.ls(folder, detail=False)}
        tables = {name.removesuffix(".parquet") for name in names if name.endswith(".parquet")}
        reports = {name.removesuffix(".json") for name in names if name.startswith("part-") and name.endswith(".json")}
        without = {name for name, report in self.reports(reports - tables).items() if report["embedded"] == 0}
        return (tables & reports) | without

    def reports(self, names):
        """What came of shards that are done, by their names."""

        def read(name):
            filesystem, path = filesystem_of(self.path(f"{name}.json"))
            return json.loads(filesystem.cat_file(path))

        names = list(names)
        # An object store takes a while for each, and as many at a time.
        with ThreadPoolExecutor(16) as pool:
            return dict(zip(names, pool.map(read, names), strict=True))

    def model(self, digests, host=None):
        """The digest that all of `digests` are, without the empty ones; MertError for several. `host` has the last one."""
        several = list(dict.fromkeys(digest for digest in digests if digest))
        if len(several) < 2:
            return several[0] if several else None
        shards = Counter(digests_of(self.reports(self.done()).values()))
        found = []
        for digest in [*several, *(digest for digest in shards if digest not in several)]:
            place = f" on {host}" if host and digest == several[-1] else ""
            found.append(f"{digest}{place} ({shards[digest]} shard{'s' if shards[digest] != 1 else ''})")
        raise MertError(
            f"{self.output}: expected one model, found {len(found)} by their SHA-256: {', '.join(found)}. Embeddings of two "
            "models are not comparable. Give another output, or delete the tables and reports of the shards of the other "
            "model, which have its model_sha256 in part-….json. Give each machine the same file, and name a model of the "
            "hub with its revision, owner/name@revision"
        )

    def remove(self, name):
        """Removes the table of a shard, then its report: a shard that has a report alone is computed again."""
        for ending in (".parquet", ".json"):
            filesystem, path = filesystem_of(self.path(name + ending))
            if filesystem.exists(path):
                filesystem.rm_file(path)

    def write(self, name, data):
        """Writes a file whole or not at all."""
        filesystem, path = filesystem_of(self.path(name))
        self._place(filesystem, path, lambda target: filesystem.pipe_file(target, data))

    def put(self, local, name):
        """Copies a file of this machine to the folder, whole or not at all."""
        filesystem, path = filesystem_of(self.path(name))
        self._place(filesystem, path, lambda target: filesystem.put_file(local, target))

    def _place(self, filesystem, path, write):
        """Writes a file under its name on an object store, and elsewhere under another that a move replaces."""
        if is_object_store(filesystem):
            write(path)
            return
        temporary = f"{path}.{os.getpid()}.{time.monotonic_ns()}.tmp"
        write(temporary)
        filesystem.mv(temporary, path)


def digests_of(reports):
    """The digests of the models of reports. Reports of earlier versions have none."""
    return [report["model_sha256"] for report in reports if report.get("model_sha256")]


def is_address(path):
    return "://" in path


def filesystem_of(path):
    """The file system of a path or an address, and the path in it."""
    import fsspec

    if not is_address(path):
        return fsspec.filesystem("file"), path
    filesystem, path = fsspec.core.url_to_fs(path)
    # File systems keep listings in memory, which know nothing of what other machines write.
    filesystem.invalidate_cache(path)
    return filesystem, path


def is_object_store(filesystem):
    """Whether a file system shows a file under its name when it is complete, and needs no folders."""
    protocol = filesystem.protocol
    return bool(OBJECT_STORES & {protocol} if isinstance(protocol, str) else OBJECT_STORES & set(protocol))

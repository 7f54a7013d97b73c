#!/usr/bin/env python3
"""Opens a catalogue of mert-search in pandas, DuckDB and LanceDB, and compares their neighbours with those of `mert-search`.

    scripts/check/search_clients.py target/release/mert-search

The catalogue is generated: two tables of three windows a track, added one after the other, some tracks removed, and metadata
joined. Each client reads its Parquet files as docs/catalogue.md shows, with no help from mert-search, and must find the same
nearest tracks, in the same order, with cosines within 1e-6 (LanceDB, which computes in f32: 1e-5). `index/` is opened with
numpy.load. Prints a line for each check. Exit status: 0 all as expected, 1 not so, 2 it could not be checked. The Python
environment is made on the first call and kept in target/.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import TARGET, Failed, make_venv, run, say  # noqa: E402

PINS = ["numpy==2.4.6", "pandas==3.1.1", "pyarrow==26.0.1", "duckdb==2.0.1", "lancedb==0.40.0"]
INSIDE = "MERT_CHECK_SEARCH_CLIENTS_INSIDE"
DIM, TRACKS, TOP, SEEDS = 64, 400, 10, [3, 57, 390]
COLUMN = "hidden_state_6"
PURE = ["--layers", "6", "--no-center", "--per-artist", "0", "--per-album", "0", "--no-versions", "--json"]
SETTINGS = {
    "generator": "mert-embed 0.1.0", "model_sha256": "ab" * 32, "license": None, "hidden_states": [1, 6], "pool": "mean",
    "normalize": "none", "window": "sliding:10s/10s", "tail": "align", "damaged": "refuse", "sample_rate": 24000,
    "do_normalize": True, "dim": DIM, "frame_hop": 320, "frame_length": 400, "arithmetic": "f32 on cpu",
}


class Different(Exception):
    """A client found something else: exit status 1."""


def expect(condition, what):
    if not condition:
        raise Different(what)


def write_table(path, tracks, generator):
    import numpy as np
    import pyarrow as pa
    import pyarrow.parquet as pq

    rows = 3 * len(tracks)
    vectors = lambda: pa.FixedSizeListArray.from_arrays(
        pa.array(generator.standard_normal(rows * DIM).astype(np.float32) + np.float32(0.5)), DIM
    )
    window = np.tile(np.arange(3, dtype=np.uint32), len(tracks))
    columns = {
        "file": pa.array(np.repeat([f"/music/{track:04}.flac" for track in tracks], 3)),
        "file_size": pa.array(np.repeat(np.array(tracks, dtype=np.uint64) + 1000, 3)),
        "file_modified": pa.array(np.zeros(rows, dtype=np.int64)).cast(pa.timestamp("us", "UTC")),
        "window": pa.array(window),
        "start": pa.array(window * 10.0),
        "end": pa.array(window * 10.0 + 10.0),
        "model_sha256": pa.array(["ab" * 32] * rows),
        "hidden_state_1": vectors(),
        COLUMN: vectors(),
    }
    metadata = {"provenance": json.dumps(SETTINGS), "model_sha256": "ab" * 32}
    # As mert-embed writes them: uncompressed.
    pq.write_table(pa.table(columns).replace_schema_metadata(metadata), path, compression="none")


def live_parts(catalogue):
    """The folders of a catalogue's parts, and for each a mask of the tracks that have not been removed."""
    import numpy as np

    for part in json.loads((catalogue / "catalogue.json").read_text())["parts"]:
        live = np.ones(part["tracks"], dtype=bool)
        live[part.get("removed", [])] = False
        tracks = next(name for name in part["files"] if name != "rows.parquet")
        yield catalogue / "parts" / part["name"], tracks, live


def read_pandas(catalogue):
    """Tracks and segments as data frames."""
    import pandas as pd

    tracks, segments = [], []
    for folder, name, live in live_parts(catalogue):
        part, rows = pd.read_parquet(folder / name), pd.read_parquet(folder / "rows.parquet")
        # Rows follow the tracks in order; a moved track has its new path in the table of tracks only.
        rows["track"] = part.index.repeat(part["segments"])
        segments.append(rows[live[rows["track"]]].assign(file=part["file"].to_numpy()[rows["track"][live[rows["track"]]]]))
        tracks.append(part[live])
    return pd.concat(tracks, ignore_index=True), pd.concat(segments, ignore_index=True)


def neighbours(mert_search, catalogue, seed, level="tracks", top=TOP):
    command = [mert_search, "query", catalogue, f"/music/{seed:04}.flac", "--top", top, "--level", level, *PURE]
    hits = json.loads(run(*command, stdout=subprocess.PIPE, text=True).stdout)["hits"]
    return [(hit["file"], hit["cosine"]) for hit in hits]


def compare(client, expected, found, tolerance):
    expect([file for file, _ in expected] == [file for file, _ in found], f"{client}: {found} instead of {expected}")
    worst = max(abs(a - b) for (_, a), (_, b) in zip(expected, found))
    expect(len(expected) == TOP and worst <= tolerance, f"{client}: a cosine is off by {worst}")


def check_pandas(mert_search, catalogue):
    import numpy as np

    tracks, segments = read_pandas(catalogue)
    expect(tracks["file"].is_unique and len(tracks) == TRACKS - 2, f"pandas: {len(tracks)} tracks")
    vectors = np.stack(segments[COLUMN]).astype(np.float64)
    files = segments["file"].to_numpy()
    order = tracks["file"].to_numpy()
    means = np.stack([vectors[files == file].mean(axis=0) for file in order]).astype(np.float32).astype(np.float64)
    unit = means / np.linalg.norm(means, axis=1, keepdims=True)
    for seed in SEEDS:
        own = int(np.flatnonzero(order == f"/music/{seed:04}.flac")[0])
        cosines = unit @ unit[own]
        best = [index for index in np.argsort(-cosines, kind="stable") if index != own][:TOP]
        compare("pandas", neighbours(mert_search, catalogue, seed), [(order[i], cosines[i]) for i in best], 1e-6)
    plays = dict(zip(tracks["file"], tracks["joined.plays"]))
    expect(plays["/music/0007.flac"] == 14.0 and np.isnan(plays["/music/0350.flac"]), "pandas: joined.plays")
    print(f"  ok pandas: the {TOP} nearest of {len(SEEDS)} tracks, from {len(segments)} segments, and joined metadata")


def check_numpy_cache(catalogue):
    import numpy as np

    _, segments = read_pandas(catalogue)
    cached = [
        np.load(folder / "index" / f"segments.{COLUMN}.npy", mmap_mode="r")[live.repeat(3)]
        for folder, _, live in live_parts(catalogue)
    ]
    expect(np.array_equal(np.concatenate(cached), np.stack(segments[COLUMN])), "numpy: the cache differs from the rows")
    print("  ok numpy.load: the mapped cache has the vectors of the rows")


def check_duckdb(mert_search, catalogue):
    import duckdb

    connection = duckdb.connect()
    union = " union all ".join(
        f"select '{folder}' || file_row_number as key, *, {number} as part from read_parquet('{folder}/rows.parquet', "
        "file_row_number = true)"
        for number, (folder, _, _) in enumerate(live_parts(catalogue))
    )
    removed = [
        (number, file)
        for number, (folder, tracks, live) in enumerate(live_parts(catalogue))
        for file, is_live in zip(connection.sql(f"select file from '{folder}/{tracks}'").fetchnumpy()["file"], live)
        if not is_live
    ]
    connection.execute("create table removed (part integer, file varchar)")
    connection.executemany("insert into removed values (?, ?)", removed)
    connection.execute(f"create table segments as select * from ({union}) anti join removed using (part, file)")
    # A track's vector is the mean of its segments'. The order within a list is kept by the position.
    connection.execute(
        f"create table tracks as select file, list(mean order by position)::FLOAT[{DIM}] as mean from ("
        f" select file, position, avg(value::DOUBLE) as mean from (select file, unnest({COLUMN}) as value,"
        f" generate_subscripts({COLUMN}, 1) as position from segments) group by file, position) group by file"
    )
    for seed in SEEDS:
        found = connection.execute(
            f"select t.file, array_cosine_similarity(t.mean::DOUBLE[{DIM}], s.mean::DOUBLE[{DIM}]) as cosine from tracks t,"
            f" (select * from tracks where file = ?) s where t.file <> s.file order by cosine desc limit {TOP}",
            [f"/music/{seed:04}.flac"],
        ).fetchall()
        compare("duckdb", neighbours(mert_search, catalogue, seed), found, 1e-6)
    print(f"  ok duckdb: the {TOP} nearest of {len(SEEDS)} tracks, by SQL over the Parquet files")


def check_lancedb(mert_search, catalogue, folder):
    import lancedb
    import numpy as np
    import pyarrow as pa

    tracks, segments = read_pandas(catalogue)
    table = pa.Table.from_pandas(segments.drop(columns=["track", COLUMN, "hidden_state_1"]), preserve_index=False)
    values = pa.array(np.concatenate(segments[COLUMN].to_numpy()))
    table = table.append_column(COLUMN, pa.FixedSizeListArray.from_arrays(values, DIM))
    database = lancedb.connect(folder / "lance")
    stored = database.create_table("segments", table)
    vectors, files = np.stack(segments[COLUMN]).astype(np.float64), segments["file"].to_numpy()
    unit = vectors / np.linalg.norm(vectors, axis=1, keepdims=True)
    for row in (5, 700, 1100):
        hits = (
            stored.search(vectors[row].astype(np.float32), vector_column_name=COLUMN)
            .distance_type("cosine").select(["file", "window", "_distance"]).limit(TOP).to_list()
        )
        found = [((hit["file"], hit["window"]), 1 - hit["_distance"]) for hit in hits]
        best = np.argsort(-(unit @ unit[row]), kind="stable")[:TOP]
        expected = [((files[i], segments["window"][i]), unit[i] @ unit[row]) for i in best]
        compare("lancedb", expected, found, 1e-5)
    # The whole table, as it lies on the disk, in one call.
    import pyarrow.parquet as pq

    first = next(iter(live_parts(catalogue)))[0]
    rows = database.create_table("rows", pq.read_table(first / "rows.parquet")).count_rows()
    expect(rows == 3 * TRACKS // 2, f"lancedb: {rows} rows")
    print(f"  ok lancedb: the {TOP} nearest segments of 3, as NumPy finds them; a part's rows imported in one call")


def inside(mert_search):
    import numpy as np

    with tempfile.TemporaryDirectory(prefix="mert-search-clients-") as folder:
        folder = Path(folder)
        catalogue, generator = folder / "catalogue", np.random.default_rng(15)
        for name, tracks in [("a", range(TRACKS // 2)), ("b", range(TRACKS // 2, TRACKS))]:
            write_table(folder / f"{name}.parquet", list(tracks), generator)
            run(mert_search, "add", catalogue, folder / f"{name}.parquet", "--quiet")
        run(mert_search, "remove", catalogue, "/music/0011.flac", "/music/0399.flac")
        lines = "".join(f"/music/{track:04}.flac,{2 * track}\n" for track in range(100))
        (folder / "plays.csv").write_text(f"path,plays\n{lines}")
        run(mert_search, "update", catalogue, "--metadata", folder / "plays.csv")
        check_pandas(mert_search, catalogue)
        check_numpy_cache(catalogue)
        check_duckdb(mert_search, catalogue)
        check_lancedb(mert_search, catalogue, folder)


def main():
    if len(sys.argv) != 2:
        raise Failed(f"usage: {sys.argv[0]} PATH/TO/mert-search")
    mert_search = Path(sys.argv[1]).resolve()
    if not mert_search.is_file():
        raise Failed(f"there is no {mert_search}: cargo build --release -p mert-cli")
    if os.environ.get(INSIDE):
        return inside(mert_search)
    python = make_venv(TARGET / "venv-search-clients", PINS)
    return sys.exit(subprocess.run([python, __file__, mert_search], env=os.environ | {INSIDE: "1"}).returncode)


if __name__ == "__main__":
    try:
        main()
    except Different as error:
        say(f"  FAILED {error}")
        sys.exit(1)
    except (Failed, ImportError) as error:
        say(f"search_clients.py: {error}")
        sys.exit(2)

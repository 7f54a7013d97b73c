#!/usr/bin/env python3
"""Times exact searches of mert-search beside NumPy, faiss, usearch and LanceDB, turn by turn.

    scripts/bench/search.py [--rows 1000000] [--dim 768] [--runs 9] [--folder DIR] [--peers numpy,faiss,usearch,lancedb]

A catalogue is generated (kept in --folder, 6 kB a row and again as much while it is made). Every engine finds the 10
nearest rows by the cosine after centring; mert-search centres as it scans, the peers get rows that were centred and
scaled beforehand. Each is a process of its own, which is stopped while another one runs. Their hits are compared before
anything is timed. `read` sums up the bytes of the same matrix on all threads: what a scan can reach at best.

Needs `pip install numpy faiss-cpu usearch lancedb pyarrow`, a release build of the example (`cargo build --release -p mert-cli -p
mert-search --example search_bench`) and Linux. Exit status: 0 measured, 1 the hits differ, 2 anything else.
"""

import argparse
import json
import platform
import shutil
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison.turns import Worker, WorkerFailed  # noqa: E402
from environment import TARGET, Failed, say  # noqa: E402

HITS = 10
PEERS = ["numpy", "faiss", "usearch", "lancedb"]
EXTRA = ["half/1", "half/20", "compressed/1", "compressed/20", "add/1000/20"]


# --- the process of a peer --------------------------------------------------------------------------


def catalogue_rows(folder):
    import numpy as np

    return [np.load(part, mmap_mode="r") for part in sorted(Path(folder).glob("parts/*/index/segments.hidden_state_6.npy"))]


def placed(folder):
    """Rows that are centred and of length 1, in f32 and mapped, and the numbers of those that are queries."""
    import numpy as np

    file = Path(folder) / "placed.npy"
    if not file.exists():
        place(folder, file)
    rows = np.load(file, mmap_mode="r")
    return rows, np.array([index * (len(rows) // 20) + 7 for index in range(20)])


def place(folder, file):
    import numpy as np

    parts = catalogue_rows(folder)
    count = sum(len(part) for part in parts)
    mean = sum(part.sum(axis=0, dtype=np.float64) for part in parts) / count
    rows = np.lib.format.open_memmap(file, "w+", np.float32, (count, parts[0].shape[1]))
    start = 0
    for part in parts:
        for first in range(0, len(part), 8192):
            block = part[first : first + 8192].astype(np.float64) - mean
            block /= np.linalg.norm(block, axis=1, keepdims=True)
            rows[start : start + len(block)] = block
            start += len(block)
    rows.flush()


def peer(name, folder):
    """Searches in turn with one query and with all."""
    import numpy as np

    rows, chosen = placed(folder)
    queries = rows[chosen].copy()
    if name == "numpy":

        def search(wanted):
            scores = wanted @ rows.T
            best = np.argpartition(scores, -HITS, axis=1)[:, -HITS:]
            order = np.argsort(-np.take_along_axis(scores, best, 1), axis=1, kind="stable")
            return np.take_along_axis(best, order, 1)

    elif name == "faiss":
        import faiss

        index = faiss.IndexFlatIP(rows.shape[1])
        index.add(rows)
        del rows

        def search(wanted):
            return index.search(wanted, HITS)[1]

    elif name == "usearch":
        from usearch.index import search as exact

        def search(wanted):
            return exact(rows, wanted, HITS, metric="ip", exact=True).keys.reshape(len(wanted), HITS)

    else:
        import lancedb
        import pyarrow as pa

        store = Path(folder) / "lancedb"
        shutil.rmtree(store, ignore_errors=True)
        schema = pa.schema([("row", pa.int64()), ("vector", pa.list_(pa.float32(), rows.shape[1]))])

        def batches():
            for first in range(0, len(rows), 50_000):
                block = rows[first : first + 50_000]
                vectors = pa.FixedSizeListArray.from_arrays(pa.array(block.reshape(-1)), rows.shape[1])
                yield pa.record_batch([pa.array(range(first, first + len(block))), vectors], schema)

        table = lancedb.connect(store).create_table("t", batches(), schema=schema)

        def search(wanted):
            found = []
            for query in wanted:
                hits = table.search(query).distance_type("dot").select(["row", "_distance"]).limit(HITS)
                found.append(hits.to_arrow()["row"].to_pylist())
            return np.array(found)

    print('{"ready": true}', flush=True)
    for turn, _ in enumerate(sys.stdin):
        wanted = queries[: 1 if turn % 2 == 0 else 20]
        start = time.perf_counter()
        found = search(wanted)
        seconds = time.perf_counter() - start
        print(json.dumps({"seconds": seconds, "result": np.asarray(found).tolist()}), flush=True)


# --- the comparison -----------------------------------------------------------------------------------


class Engine(Worker):
    """A worker that keeps the last result."""

    def receive(self, field):
        line = self.process.stdout.readline()
        if not line:
            raise WorkerFailed(f"{self.name}: exit status {self.process.wait()}")
        answer = json.loads(line)
        self.result = answer.get("result")
        return answer[field]


class SecondTurn(Engine):
    """The other search of an engine that does two in turn."""

    def __init__(self, name, first):
        self.name, self.seconds, self.process = name, [], first.process


def version(name):
    from importlib.metadata import version as installed

    return installed({"faiss": "faiss-cpu"}.get(name, name))


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":")[1].strip()
    return platform.machine()


def resident(process):
    status = Path(f"/proc/{process.pid}/status").read_text()
    fields = dict(line.split(":", 1) for line in status.splitlines() if ":" in line)
    return [int(fields[name].split()[0]) / 1024 for name in ("RssAnon", "RssFile")]


def parse():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--rows", type=int, default=1_000_000)
    parser.add_argument("--dim", type=int, default=768)
    parser.add_argument("--runs", type=int, default=9)
    parser.add_argument("--folder", type=Path, default=TARGET / "bench-search")
    parser.add_argument("--peers", type=lambda text: [name for name in text.split(",") if name], default=PEERS)
    parser.add_argument("--bin", type=Path, default=TARGET / "release/examples/search_bench")
    parser.add_argument("--extra", type=lambda text: text.split(","), default=EXTRA, help="more turns of search_bench")
    parser.add_argument("--peer", nargs=2, help=argparse.SUPPRESS)
    return parser.parse_args()


def report(engines, size):
    read = statistics.median(engines["read"].seconds)
    print("| | median | from | to | of the read | GB/s | RssAnon | RssFile |\n|---|--:|--:|--:|--:|--:|--:|--:|")
    for name, engine in engines.items():
        seconds = sorted(engine.seconds)
        # Each ratio is of one round: load that lasts longer than a round does not change it.
        share = statistics.median(a / b for a, b in zip(engines["read"].seconds, engine.seconds))
        median = statistics.median(seconds)
        anonymous, mapped = engine.memory
        print(
            f"| {name} | {median * 1e3:.1f} ms | {seconds[0] * 1e3:.1f} | {seconds[-1] * 1e3:.1f} | {share:.0%} "
            f"| {size / median / 1e9:.1f} | {anonymous:.0f} MB | {mapped:.0f} MB |"
        )
    say(f"read: {size / read / 1e9:.1f} GB/s")


def main():
    arguments = parse()
    if arguments.peer:
        return peer(*arguments.peer) or 0
    folder = arguments.folder / f"{arguments.rows}x{arguments.dim}"
    if not (folder / "catalogue.json").exists():
        say(f"generating {arguments.rows} rows in {folder}")
        sizes = [arguments.rows, arguments.dim, 8, min(arguments.rows, 100_000)]
        subprocess.run([arguments.bin, "generate", folder, *map(str, sizes)], check=True)
    commands = {what: [arguments.bin, "worker", folder, what] for what in ("read", "scan/1", "scan/20")}
    commands |= {what: [arguments.bin, "worker", folder, what] for what in ("scan/1/0.01", "scan/20/0.01", "scan/1/0.5")}
    more = [what for what in arguments.extra if what]
    commands |= {what: [arguments.bin, "worker", folder, what] for what in (*more, "open")}
    for name in arguments.peers:
        commands[f"{name}/1"] = [sys.executable, __file__, "--peer", name, folder]
    engines = {}
    try:
        for name, command in commands.items():
            say(f"starting {name}")
            engines[name] = Engine(name, command, {})
            if "--peer" in command:
                other = name.replace("/1", "/20")
                engines[other] = SecondTurn(other, engines[name])
        for turn in range(arguments.runs + 1):
            for name, engine in engines.items():
                seconds = engine.run()
                if turn > 0:
                    engine.seconds.append(seconds)
            if turn == 0:
                for name in arguments.peers:
                    for queries in (1, 20):
                        ours, theirs = engines[f"scan/{queries}"].result, engines[f"{name}/{queries}"].result
                        same = sum(len(set(a) & set(b)) for a, b in zip(ours, theirs)) / (HITS * queries)
                        say(f"{name}/{queries}: {same:.1%} of the hits are the same")
                        if same < 0.999:
                            return 1
        for engine in engines.values():
            engine.memory = resident(engine.process)
        print(f"{arguments.rows} x {arguments.dim}, {processor()}, medians of {arguments.runs}; load", end=" ")
        print(Path("/proc/loadavg").read_text().split()[0], {name: version(name) for name in arguments.peers})
        report(engines, arguments.rows * arguments.dim * 4)
    finally:
        for engine in engines.values():
            engine.kill()
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, WorkerFailed, OSError, subprocess.CalledProcessError) as error:
        print(f"search.py: {error}", file=sys.stderr)
        sys.exit(2)

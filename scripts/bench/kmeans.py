#!/usr/bin/env python3
"""Times `mert-tokens train` beside faiss and scikit-learn: passes of Lloyd's algorithm from the same start centres.

    scripts/bench/kmeans.py target/release/mert-tokens [--frames 270000] [--dim 768] [--k 2048] [--passes 4] [--runs 3]

The programs take turns. Prints for each the median, the range and the share of the first. All find the same centres, which is
checked before a time is printed. For mert-tokens there is also the whole time: it assigns the frames once more at the end, to judge
the result. It decides near ties in f64, which is in both times. Needs numpy, faiss-cpu and scikit-learn; the environment of scripts/check/tokens.py has them.
"""

import argparse
import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import faiss
import numpy as np
import sklearn
from sklearn.cluster import KMeans

sys.path.insert(0, str(Path(__file__).resolve().parents[1] / "check"))
from kmeans import centres  # noqa: E402


def processor():
    lines = Path("/proc/cpuinfo").read_text().splitlines() if Path("/proc/cpuinfo").exists() else []
    return next((line.split(":", 1)[1].strip() for line in lines if line.startswith("model name")), "unknown processor")


def generate(path, frames, dim):
    """Frames around 3,000 points, more than there are tokens, as real frames are."""
    generator = np.random.default_rng(1)
    points = generator.standard_normal((3000, dim)).astype(np.float32)
    values = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(frames, dim))
    for start in range(0, frames, 20000):
        rows = min(20000, frames - start)
        noise = generator.standard_normal((rows, dim), dtype=np.float32)
        values[start : start + rows] = 0.6 * points[generator.integers(0, len(points), rows)] + noise
    values.flush()
    return values


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    for name, default in [("frames", 270000), ("dim", 768), ("k", 2048), ("passes", 4), ("runs", 3)]:
        parser.add_argument(f"--{name}", type=int, default=default)
    parser.add_argument("--without-sklearn", action="store_true")
    parser.add_argument("--folder", type=Path, help="where the frames are kept")
    arguments = parser.parse_args()
    threads = os.cpu_count()
    faiss.omp_set_num_threads(threads)
    with tempfile.TemporaryDirectory(dir=arguments.folder) as folder:
        folder = Path(folder)
        path = folder / "frames.npy"
        frames = generate(path, arguments.frames, arguments.dim)
        start = np.array(frames[np.sort(np.random.default_rng(2).choice(arguments.frames, arguments.k, replace=False))])
        np.save(folder / "start.npy", start)

        whole = []

        def ours():
            output = folder / "vocabulary.safetensors"
            command = [arguments.program, "train", "--features", path, "-o", output, "--k", arguments.k, "--force", "--restart"]
            command += ["--start", folder / "start.npy", "--passes", arguments.passes, "--tolerance", 0, "--json"]
            result = subprocess.run([str(part) for part in command], capture_output=True, text=True, check=True)
            report = json.loads(result.stdout)
            whole.append(report["seconds"])
            return report["pass_seconds"], centres(output)

        def faiss_kmeans():
            index = faiss.Kmeans(arguments.dim, arguments.k, niter=arguments.passes, max_points_per_centroid=arguments.frames)
            began = time.perf_counter()
            index.train(frames, init_centroids=start)
            return time.perf_counter() - began, index.centroids

        def sklearn_kmeans():
            estimator = KMeans(arguments.k, init=start, n_init=1, max_iter=arguments.passes, tol=0, algorithm="lloyd")
            began = time.perf_counter()
            estimator.fit(frames)
            return time.perf_counter() - began, estimator.cluster_centers_

        programs = {"mert-tokens": ours, f"faiss {faiss.__version__}": faiss_kmeans}
        if not arguments.without_sklearn:
            programs[f"scikit-learn {sklearn.__version__}"] = sklearn_kmeans
        times = {name: [] for name in programs}
        expected = None
        for turn in range(arguments.runs):
            for name, program in programs.items():
                seconds, found = program()
                expected = found if expected is None else expected
                # Where a centre has no frame faiss splits another: single rows may then differ, not many.
                rows = np.abs(found - expected).max(axis=1) > 1e-4
                if rows.mean() > 0.01:
                    sys.exit(f"{name} found other centres: {rows.sum()} of {len(rows)} rows differ")
                times[name].append(seconds)
                print(f"turn {turn + 1}, {name}: {seconds:.2f} s", file=sys.stderr)
        flop = 2.0 * arguments.frames * arguments.k * arguments.dim * arguments.passes
        print(f"{arguments.frames} x {arguments.dim}, k {arguments.k}, {arguments.passes} passes, {threads} threads, {processor()}")
        first = statistics.median(times["mert-tokens"])
        for name, seconds in times.items():
            median = statistics.median(seconds)
            print(
                f"| {name} | {median:.2f} s ({min(seconds):.2f} to {max(seconds):.2f}) | {median / first:.2f} | "
                f"{flop / median / 1e9:.0f} GFLOP/s |"
            )
        print(f"mert-tokens with its figures: {statistics.median(whole):.2f} s")


if __name__ == "__main__":
    main()

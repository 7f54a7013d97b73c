#!/usr/bin/env python3
"""Compares `mert-tokens train` with scikit-learn and faiss from the same start centres, and with itself on other numbers of
threads.

    scripts/check/kmeans.py target/release/mert-tokens

Centres must be within 1e-5 of both: they compute in f32, or round once more; labels of near ties can differ. Centres without
frames must go where scikit-learn puts them. Needs numpy, scikit-learn and faiss-cpu; scripts/check/tokens.py has them. Exit
status: 0 all as expected, 1 not so, 2 it could not be checked.
"""

import json
import os
import subprocess
import sys
import tempfile
from pathlib import Path


class Failed(Exception):
    """The program cannot be run: exit status 2."""


class Different(Exception):
    """Another result: exit status 1."""


def expect(condition, what):
    if not condition:
        raise Different(what)


def centres(path):
    import numpy as np

    data = path.read_bytes()
    length = int.from_bytes(data[:8], "little")
    header = json.loads(data[8 : 8 + length])
    start, end = header["centroids"]["data_offsets"]
    return np.frombuffer(data[8 + length + start : 8 + length + end], "<f4").reshape(header["centroids"]["shape"])


def train(program, folder, frames, start, passes, threads=2, extra=()):
    import numpy as np

    np.save(folder / "frames.npy", frames)
    np.save(folder / "start.npy", start)
    output = folder / "vocabulary.safetensors"
    command = [program, "train", "--features", folder / "frames.npy", "-o", output, "--k", len(start)]
    command += ["--start", folder / "start.npy", "--passes", passes, "--tolerance", 0, "--force", "--restart", "--json", *extra]
    environment = {**os.environ, "RAYON_NUM_THREADS": str(threads)}
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True, env=environment)
    if result.returncode != 0:
        raise Failed(f"mert-tokens train: exit status {result.returncode}\n{result.stderr}")
    return centres(output), json.loads(result.stdout), output.read_bytes()


def compare(program, folder):
    import faiss
    import numpy as np
    from sklearn.cluster import KMeans

    generator = np.random.default_rng(0)
    for rows, dim, k, passes in [(2000, 16, 32, 10), (20000, 64, 100, 8), (6000, 768, 256, 5), (3000, 1024, 40, 6)]:
        points = generator.standard_normal((k + k // 2, dim))
        frames = points[generator.integers(0, len(points), rows)] + 2 * generator.standard_normal((rows, dim))
        frames = frames.astype(np.float32)
        start = frames[generator.choice(rows, k, replace=False)]
        found, report, data = train(program, folder, frames, start, passes)
        sklearn = KMeans(k, init=start, n_init=1, max_iter=passes, tol=0, algorithm="lloyd").fit(frames)
        index = faiss.Kmeans(dim, k, niter=passes, max_points_per_centroid=rows)
        index.train(frames, init_centroids=start)
        # faiss splits a large cluster where another is empty: that can only be compared where none is.
        expect(sum(stats["nsplit"] for stats in index.iteration_stats) == 0, "a centre without frames: other data is needed")
        for name, other in [("scikit-learn", sklearn.cluster_centers_), ("faiss", index.centroids)]:
            worst = float(np.abs(found - other).max())
            expect(worst <= 1e-5, f"{rows} x {dim}, k {k}: centres are up to {worst:.2e} from those of {name}")
        worst = max(float(np.abs(found - other).max()) for other in [sklearn.cluster_centers_, index.centroids])
        inertia = report["training"]["inertia"] * rows
        expect(abs(inertia / sklearn.inertia_ - 1) < 1e-5, f"inertia {inertia} instead of {sklearn.inertia_}")
        for threads in [1, 3]:
            expect(train(program, folder, frames, start, passes, threads)[2] == data, f"other bytes on {threads} threads")
        print(f"  ok {rows} x {dim}, k {k}, {passes} passes: within {worst:.1e} of scikit-learn and faiss, same bytes on 1, 2 and 3 threads")
    shifted, _, _ = train(program, folder, frames, start + 0.05, passes)
    expect(float(np.abs(shifted - sklearn.cluster_centers_).max()) > 1e-3, "another start gives the same centres: the check cannot fail")


def empty_centres(program, folder):
    """Start centres far from all frames, which get none."""
    import numpy as np
    from sklearn.cluster import KMeans

    generator = np.random.default_rng(3)
    frames = generator.standard_normal((4000, 24)).astype(np.float32)
    start = frames[:30].copy()
    start[20:] += 100 * (1 + np.arange(10)[:, None])
    found, _, _ = train(program, folder, frames, start, 1)
    other = KMeans(30, init=start, n_init=1, max_iter=1, tol=0, algorithm="lloyd").fit(frames).cluster_centers_
    # scikit-learn numbers the farthest frames in no stated order.
    order = lambda rows: rows[np.lexsort(rows.round(4).T)]
    worst = float(np.abs(order(found) - order(other)).max())
    expect(worst <= 1e-5, f"10 centres without frames: up to {worst:.2e} from where scikit-learn puts them")
    print(f"  ok 10 centres without frames get the farthest ones, as in scikit-learn: within {worst:.1e}")


def normalised(program, folder):
    import numpy as np
    from sklearn.cluster import KMeans

    generator = np.random.default_rng(4)
    frames = (generator.standard_normal((5000, 48)) + 0.3).astype(np.float32)
    unit = (frames / np.linalg.norm(frames.astype(np.float64), axis=1, keepdims=True)).astype(np.float32)
    start = unit[:50]
    found, _, _ = train(program, folder, frames, start, 6, extra=["--normalize", "l2"])
    other = KMeans(50, init=start, n_init=1, max_iter=6, tol=0, algorithm="lloyd").fit(unit).cluster_centers_
    worst = float(np.abs(found - other).max())
    expect(worst <= 1e-5, f"l2: centres are up to {worst:.2e} from scikit-learn's")
    print(f"  ok frames of length 1: within {worst:.1e} of scikit-learn")


def quality(program, folder):
    """From a start of its own the result is as good as scikit-learn's, and batches come near it."""
    import numpy as np
    from sklearn.cluster import KMeans, MiniBatchKMeans

    generator = np.random.default_rng(5)
    points = generator.standard_normal((300, 64)) * 2
    frames = (points[generator.integers(0, 300, 30000)] + generator.standard_normal((30000, 64))).astype(np.float32)
    np.save(folder / "frames.npy", frames)
    inertia = {}
    for name, extra in [("passes", []), ("batches", ["--batch", "2048", "--passes", "20"])]:
        output = folder / "quality.safetensors"
        command = [program, "train", "--features", folder / "frames.npy", "-o", output, "--k", "200", "--force", "--restart", "--json"]
        result = subprocess.run([str(part) for part in [*command, *extra]], capture_output=True, text=True)
        expect(result.returncode == 0, result.stderr)
        inertia[name] = json.loads(result.stdout)["training"]["inertia"] * len(frames)
    full = KMeans(200, n_init=1, random_state=0).fit(frames).inertia_
    batches = MiniBatchKMeans(200, n_init=1, random_state=0, batch_size=2048, max_iter=20).fit(frames).inertia_
    expect(inertia["passes"] < 1.02 * full, f"inertia {inertia['passes']:.0f}, scikit-learn {full:.0f}")
    expect(inertia["batches"] < 1.03 * batches, f"inertia of batches {inertia['batches']:.0f}, scikit-learn {batches:.0f}")
    print(f"  ok own start: inertia {inertia['passes'] / full:.4f} of scikit-learn's KMeans, batches {inertia['batches'] / batches:.4f} of its MiniBatchKMeans")


def main():
    if len(sys.argv) != 2:
        sys.exit(__doc__)
    program = Path(sys.argv[1]).resolve()
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        for check in [compare, empty_centres, normalised, quality]:
            check(program, folder)


if __name__ == "__main__":
    try:
        main()
    except Different as error:
        print(f"  FAILED {error}")
        sys.exit(1)
    except Failed as error:
        print(str(error))
        sys.exit(2)

#!/usr/bin/env python3
"""Writes vocabularies with scikit-learn, joblib, pickle, numpy and faiss, and compares what mert-tokens reads.

    scripts/check/vocabularies.py target/release/examples/vocabulary [target/release/examples/tokens]

Centres must agree bit for bit (rounded to f32 where they are f64), and the tokens of random points with `predict` of
scikit-learn and `search` of faiss, but for points whose two nearest centres are equally near to 1e-5. Files that must be
refused are refused with a reason, and nothing in them runs. With the second program, tokens in each output format are opened with numpy,
pandas and json, and as fairseq and textlesslib lay them out. Needs a Python with numpy, scikit-learn, joblib, faiss-cpu,
pandas and pyarrow.
Exit status: 0 all as expected, 1 not so, 2 it could not be checked.
"""

import bz2
import json
import os
import pickle
import subprocess
import sys
import tempfile
from pathlib import Path

DIM, K, POINTS = 24, 12, 500


class Different(Exception):
    """The reader found something else: exit status 1."""


def main(program):
    import faiss
    import joblib
    import numpy as np
    from sklearn.cluster import BisectingKMeans, KMeans, MiniBatchKMeans
    from sklearn.decomposition import PCA, IncrementalPCA, TruncatedSVD
    from sklearn.pipeline import Pipeline
    from sklearn.preprocessing import Normalizer, StandardScaler, normalize

    folder = Path(tempfile.mkdtemp(prefix="mert-vocabularies-"))
    generator = np.random.default_rng(0)
    wide = generator.standard_normal((2000, DIM)) + 3 * generator.standard_normal((8, DIM))[generator.integers(0, 8, 2000)]
    frames = wide.astype(np.float32)
    points = (1.2 * generator.standard_normal((POINTS, DIM)) + 0.3).astype(np.float32)
    points_file = folder / "points.f32"
    points.tofile(points_file)
    counts = {"read": 0, "refused": 0, "near": 0}

    def read(path):
        result = subprocess.run([program, str(path), str(points_file)], capture_output=True, text=True)
        if result.returncode not in (0, 1):
            raise Different(f"{path.name}: exit status {result.returncode}: {result.stderr.strip()[-400:]}")
        return result

    def agree(name, path, centres, predict, prepare):
        result = read(path)
        if result.returncode != 0:
            raise Different(f"{name}: refused: {result.stdout.strip()}")
        found = json.loads(result.stdout)
        expected = np.ascontiguousarray(centres, dtype=np.float32)
        bits = np.array(found["centroid_bits"], dtype=np.uint32)
        if found["shape"] != list(expected.shape) or not np.array_equal(bits, expected.view(np.uint32).ravel()):
            raise Different(f"{name}: the centres differ")
        tokens, wanted = np.array(found["tokens"]), np.asarray(predict(points)).ravel()
        prepared = np.asarray(prepare(points), dtype=np.float64)
        distances = ((prepared[:, None] - np.asarray(centres, dtype=np.float64)[None]) ** 2).sum(-1)
        if len(tokens) != len(points) or not set(tokens.tolist()) <= set(range(len(centres))):
            raise Different(f"{name}: {len(tokens)} tokens from {tokens.min()} to {tokens.max()}")
        rows = np.arange(len(points))
        other = tokens != wanted
        gap = np.abs(distances[rows, tokens] - distances[rows, wanted]) / distances[rows, wanted]
        if (gap[other] > 1e-5).any() or other.sum() > 2:
            raise Different(f"{name}: {other.sum()} of {len(points)} tokens differ, by up to {gap.max():.2e}")
        if not np.allclose(found["distances"], distances[rows, tokens], rtol=1e-4):
            raise Different(f"{name}: distances differ")
        counts["read"] += 1
        counts["near"] += int(other.sum())

    def refused(name, path, words):
        result = read(path)
        if result.returncode != 1 or words not in result.stdout:
            raise Different(f"{name}: expected a refusal with `{words}`, found {result.returncode}: {result.stdout[:300]}")
        counts["refused"] += 1

    same = lambda x: x
    fits = {
        "KMeans f32": KMeans(K, n_init=1, random_state=0).fit(frames),
        "KMeans f64": KMeans(K, n_init=1, random_state=0).fit(wide),
        "MiniBatchKMeans f32": MiniBatchKMeans(K, n_init=1, random_state=0).fit(frames),
        "MiniBatchKMeans f64": MiniBatchKMeans(K, n_init=1, random_state=0).fit(wide),
    }
    for name, km in fits.items():
        typed = lambda x, km=km: km.predict(x.astype(km.cluster_centers_.dtype))
        for protocol in range(0, 6):
            path = folder / "km.pkl"
            path.write_bytes(pickle.dumps(km, protocol=protocol))
            agree(f"{name}, pickle {protocol}", path, km.cluster_centers_, typed, same)
            if protocol >= 2:
                joblib.dump(km, path, protocol=protocol)
                agree(f"{name}, joblib protocol {protocol}", path, km.cluster_centers_, typed, same)
        for compress in [("zlib", 3), ("gzip", 9), 3]:
            path = folder / "km.joblib"
            joblib.dump(km, path, compress=compress)
            agree(f"{name}, joblib {compress}", path, km.cluster_centers_, typed, same)

    # scikit-learn records the names of a table's columns as an array of objects, which joblib writes as a pickle of its own.
    named = KMeans(K, n_init=1, random_state=0).fit(frames)
    named.feature_names_in_ = np.array([f"x{i}" for i in range(DIM)], dtype=object)
    joblib.dump(named, folder / "named.joblib")
    agree("feature names", folder / "named.joblib", named.cluster_centers_, lambda x: fits["KMeans f32"].predict(x), same)

    km = fits["KMeans f32"]
    for name, pca in {
        "PCA": PCA(8), "PCA whitened": PCA(8, whiten=True), "IncrementalPCA": IncrementalPCA(8),
    }.items():
        pipeline = Pipeline([("pca", pca), ("km", KMeans(K, n_init=1, random_state=0))]).fit(frames)
        joblib.dump(pipeline, folder / "p.joblib")
        agree(f"Pipeline {name}", folder / "p.joblib", pipeline[-1].cluster_centers_, pipeline.predict, pipeline[:-1].transform)
    pipeline = Pipeline([
        ("unit", Normalizer()), ("scale", StandardScaler()), ("none", "passthrough"), ("pca", PCA(8)),
        ("km", MiniBatchKMeans(K, n_init=1, random_state=0)),
    ]).fit(wide)
    joblib.dump(pipeline, folder / "p.joblib", compress=3)
    agree("Pipeline of four", folder / "p.joblib", pipeline[-1].cluster_centers_, pipeline.predict, pipeline[:-1].transform)
    scaler = StandardScaler(with_std=False)
    pipeline = Pipeline([("scale", scaler), ("km", KMeans(K, n_init=1, random_state=0))]).fit(frames)
    joblib.dump(pipeline, folder / "p.joblib")
    agree("StandardScaler without deviations", folder / "p.joblib", pipeline[-1].cluster_centers_, pipeline.predict,
          pipeline[:-1].transform)

    # Dictionaries as SymbolicQuantizer.save of MusicHal writes them.
    for unit in (True, False):
        scale = None if unit else StandardScaler().fit(frames)
        first = (lambda x: normalize(x)) if unit else scale.transform
        pca = PCA(8, random_state=42).fit(first(frames))
        reduced = lambda x, first=first, pca=pca: pca.transform(first(x))
        centres = MiniBatchKMeans(K, n_init=10, random_state=42, batch_size=1024).fit(reduced(frames))
        data = {
            "kmeans": centres, "scaler": scale, "codebook": centres.cluster_centers_, "vocabulary_size": K,
            "feature_dim": DIM, "token_frequencies": dict(zip(np.arange(K), np.arange(K))), "use_l2_norm": unit, "pca": pca,
            "use_pca": True, "pca_components": 8, "reduced_dim": 8, "min_cluster_separation": 0.1,
        }
        joblib.dump(data, folder / "quantizer.joblib")
        agree(f"dictionary, use_l2_norm {unit}", folder / "quantizer.joblib", centres.cluster_centers_,
              lambda x: centres.predict(reduced(x)), reduced)

    nearest = lambda centres: lambda x: ((x[:, None].astype("f8") - centres.astype("f8")[None]) ** 2).sum(-1).argmin(-1)
    centres = km.cluster_centers_
    for dtype in ("<f4", "<f8", "<f2", ">f4", ">f8"):
        for order in "CF":
            array = np.asarray(fits["KMeans f64"].cluster_centers_.astype(dtype), order=order)
            np.save(folder / "c.npy", array)
            agree(f"npy {dtype} {order}", folder / "c.npy", array, nearest(array), same)
            joblib.dump(array, folder / "c.joblib")
            agree(f"joblib array {dtype} {order}", folder / "c.joblib", array, nearest(array), same)
            for protocol in range(6):
                (folder / "c.pkl").write_bytes(pickle.dumps(array, protocol=protocol))
                agree(f"pickled array {dtype} {order} {protocol}", folder / "c.pkl", array, nearest(array), same)

    def index(name, index, centres, prepare=same, search=None):
        faiss.write_index(index, str(folder / "c.index"))
        agree(f"faiss {name}", folder / "c.index", centres, search or (lambda x: index.search(x, 1)[1]), prepare)

    flat = faiss.IndexFlatL2(DIM)
    flat.add(centres)
    index("IndexFlatL2", flat, centres)
    kmeans = faiss.Kmeans(DIM, K, niter=5, seed=1)
    kmeans.train(frames)
    index("Kmeans.index", kmeans.index, kmeans.centroids)
    spherical = faiss.Kmeans(DIM, K, niter=5, seed=1, spherical=True)
    spherical.train(normalize(frames))
    index("spherical", spherical.index, spherical.centroids)
    mapped = faiss.IndexIDMap(faiss.IndexFlatL2(DIM))
    mapped.add_with_ids(centres, np.arange(K))
    index("IndexIDMap", mapped, centres)
    ivf = faiss.IndexIVFFlat(faiss.IndexFlatL2(DIM), DIM, K)
    ivf.train(frames)
    ivf.add(frames)
    index("IVF", ivf, ivf.quantizer.reconstruct_n(0, K), search=lambda x: ivf.quantizer.search(x, 1)[1])
    for name, factory in {"OPQ, IVF, HNSW, PQ as mHuBERT-147": f"OPQ4_16,IVF{K}_HNSW32,PQ4x4fs", "PCA": "PCA8,Flat",
                          "PCAR": "PCAR8,Flat", "L2norm": "L2norm,Flat"}.items():
        built = faiss.index_factory(DIM, factory)
        built.train(frames)
        inner = faiss.downcast_index(built.index)
        def chain(x, built=built):
            for at in range(built.chain.size()):
                x = faiss.downcast_VectorTransform(built.chain.at(at)).apply(np.ascontiguousarray(x, dtype=np.float32))
            return x

        if "IVF" in factory:
            hnsw = faiss.downcast_index(faiss.downcast_index(faiss.extract_index_ivf(built).quantizer))
            inner = faiss.downcast_index(hnsw.storage)
        else:
            built.add(frames[:K])
        held = inner.reconstruct_n(0, K)
        index(name, built, held, chain, lambda x, held=held, chain=chain: nearest(held)(np.asarray(chain(x))))

    # What must be refused.
    (folder / "c.pkl.bz2").write_bytes(bz2.compress(pickle.dumps(km)))
    refused("bz2", folder / "c.pkl.bz2", "compressed with bz2")
    for compressor, extension in (("xz", "xz"), ("lzma", "lzma")):
        joblib.dump(km, folder / f"km.{extension}", compress=(compressor, 3))
        refused(compressor, folder / f"km.{extension}", "joblib.dump(joblib.load(")
    joblib.dump(BisectingKMeans(4, random_state=0).fit(frames), folder / "b.joblib")
    refused("BisectingKMeans", folder / "b.joblib", "BisectingKMeans")
    svd = Pipeline([("svd", TruncatedSVD(8)), ("km", KMeans(K, n_init=1))]).fit(frames)
    joblib.dump(svd, folder / "svd.joblib")
    refused("TruncatedSVD", folder / "svd.joblib", "TruncatedSVD")
    joblib.dump(KMeans(K), folder / "unfitted.joblib")
    refused("unfitted", folder / "unfitted.joblib", "it was not fitted")
    joblib.dump({"a": km, "b": km}, folder / "two.joblib")
    refused("two k-means", folder / "two.joblib", "several k-means (`a`, `b`)")
    joblib.dump(np.array([[1, "a"]], dtype=object), folder / "o.joblib")
    refused("objects", folder / "o.joblib", "array of the type")
    np.savez(folder / "c.npz", centres)
    refused("npz", folder / "c.npz", "zip archive")
    np.save(folder / "ids.npy", np.arange(5))
    refused("tokens as centres", folder / "ids.npy", "integers")
    broken = centres.copy()
    broken[3, 5] = np.nan
    np.save(folder / "nan.npy", broken)
    refused("NaN", folder / "nan.npy", "value 5 of centre 3")
    long = faiss.IndexFlatIP(DIM)
    long.add(centres)
    faiss.write_index(long, str(folder / "ip.index"))
    refused("inner product of other lengths", folder / "ip.index", "largest inner product")
    other = faiss.IndexIDMap(faiss.IndexFlatL2(DIM))
    other.add_with_ids(centres, np.arange(K) + 7)
    faiss.write_index(other, str(folder / "ids.index"))
    refused("other ids", folder / "ids.index", "IndexIDMap")
    coded = faiss.index_factory(DIM, "SQ8")
    coded.train(frames)
    coded.add(centres)
    faiss.write_index(coded, str(folder / "sq.index"))
    refused("scalar quantizer", folder / "sq.index", "IxSQ")

    marker = folder / "executed"

    class Hostile:
        def __reduce__(self):
            return os.system, (f"touch {marker}",)

    joblib.dump(Hostile(), folder / "hostile.joblib")
    refused("os.system", folder / "hostile.joblib", "posix.system")
    joblib.dump({"kmeans": km, "x": Hostile()}, folder / "hostile.joblib")
    read(folder / "hostile.joblib")
    if marker.exists():
        raise Different("a pickle was executed")
    whole = (folder / "named.joblib").read_bytes()
    for cut in (0, 1, 10, len(whole) // 2, len(whole) - 1):
        (folder / "cut.joblib").write_bytes(whole[:cut])
        refused(f"cut off at {cut}", folder / "cut.joblib", "")
    print(f"  ok vocabularies: {counts['read']} files read as scikit-learn, numpy and faiss {faiss.__version__} read them, "
          f"{counts['near']} tokens of {counts['read'] * POINTS} between centres that are equally near; "
          f"{counts['refused']} refused with a reason, none executed")


def outputs(program):
    """Writes tokens in every format and opens them without help from mert-tokens."""
    from itertools import groupby

    import numpy as np
    import pandas
    import pyarrow.parquet as pq

    folder = Path(tempfile.mkdtemp(prefix="mert-tokens-"))
    generator = np.random.default_rng(1)
    files = {f"music/{i:03}.flac": np.repeat(generator.integers(0, 100, n), generator.integers(1, 5, n)).tolist()
             for i, n in enumerate([0, 1, 50, 5000])}
    runs = {name: [(unit, len(list(run))) for unit, run in groupby(tokens)] for name, tokens in files.items()}
    source = folder / "in.jsonl"
    source.write_text("".join(json.dumps({"file": name, "tokens": tokens}) + "\n" for name, tokens in files.items()))

    def write(kind, name, *options):
        result = subprocess.run([program, str(source), kind, str(folder / name), *options], capture_output=True, text=True)
        if result.returncode != 0:
            raise Different(f"{name}: {result.stdout} {result.stderr}")
        return folder / name

    def expect(name, found, expected):
        if found != expected:
            raise Different(f"{name}: {str(found)[:200]} is not {str(expected)[:200]}")

    lines = lambda path: path.read_text().split("\n")[:-1]
    found = [json.loads(line) for line in lines(write("jsonl", "a.jsonl"))]
    expect("jsonl", {line["file"]: line["tokens"] for line in found}, files)
    expect("jsonl", {(line["frame_hop"], line["sample_rate"], line["k"]) for line in found}, {(320, 24000, 100)})
    found = [json.loads(line) for line in lines(write("jsonl", "b.jsonl", "deduplicate"))]
    expect("units", {line["file"]: list(zip(line["units"], line["durations"])) for line in found}, runs)
    # pandas reads JSON lines with columns of lists.
    expect("pandas", pandas.read_json(folder / "a.jsonl", lines=True).tokens.tolist(), list(files.values()))
    # textlesslib: the durations are ones without deduplication.
    found = {line["name"]: line for line in map(json.loads, lines(write("textless", "t.json")))}
    expect("textless", {name: line["units"] for name, line in found.items()}, files)
    expect("textless", {name: line["durations"] for name, line in found.items()}, {n: [1] * len(t) for n, t in files.items()})
    found = [json.loads(line) for line in lines(write("textless", "u.json", "deduplicate"))]
    expect("textless", {line["name"]: list(zip(line["units"], line["durations"])) for line in found}, runs)
    # fairseq: a label file line for each line of the manifest behind its root; dict.km.txt.
    labels = [[int(token) for token in line.split()] for line in lines(write("km", "train.km"))]
    manifest = lines(folder / "train.tsv")
    names = [line.split("\t")[0] for line in manifest[1:]]
    expect("km", dict(zip(names, labels)), files)
    expect("tsv", [int(line.split("\t")[1]) for line in manifest[1:]], [320 * len(tokens) for tokens in files.values()])
    expect("dict.km.txt", lines(folder / "dict.km.txt"), [f"{token} 1" for token in range(100)])
    # GSLM: name|units.
    found = dict(line.rsplit("|", 1) for line in lines(write("gslm", "g.txt")))
    expect("gslm", {n: [int(t) for t in u.split()] for n, u in found.items()}, {Path(n).stem: t for n, t in files.items()})
    # numpy: one array and the frames of each file.
    tokens = np.load(write("npy", "n.npy"))
    lengths = np.loadtxt(folder / "n.len", dtype=int)
    expect("npy", (str(tokens.dtype), tokens.tolist()), ("int32", sum(files.values(), [])))
    expect("len", lengths.tolist(), [len(tokens) for tokens in files.values()])
    # Parquet: a row for each file.
    table = pandas.read_parquet(write("parquet", "p.parquet"))
    expect("parquet", {row.file: row.tokens.tolist() for row in table.itertuples()}, files)
    metadata = pq.read_metadata(folder / "p.parquet").metadata
    expect("metadata", (metadata[b"k"], metadata[b"frame_hop"]), (b"100", b"320"))
    table = pandas.read_parquet(write("parquet", "q.parquet", "deduplicate"))
    found = {row.file: list(zip(row.units.tolist(), row.durations.tolist())) for row in table.itertuples()}
    expect("parquet", found, runs)
    print("  ok tokens in 6 formats, raw and without repetitions, opened by json, numpy, pandas and pyarrow")


if __name__ == "__main__":
    if len(sys.argv) not in (2, 3):
        print(__doc__, file=sys.stderr)
        sys.exit(2)
    try:
        main(sys.argv[1])
        if len(sys.argv) == 3:
            outputs(sys.argv[2])
    except Different as difference:
        print(f"vocabularies: {difference}", file=sys.stderr)
        sys.exit(1)
    except ImportError as error:
        print(f"vocabularies: not checked: {error}", file=sys.stderr)
        sys.exit(2)

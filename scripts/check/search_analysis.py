#!/usr/bin/env python3
"""Compares mert-search's evaluate, probe, cluster and map with scikit-learn on a catalogue.

    python scripts/check/search_analysis.py MERT_SEARCH CATALOGUE --tag genre --probe genre bpm

The vectors are read from the catalogue's Parquet files, so that no code is shared. Needs numpy, pyarrow, safetensors and
scikit-learn. The status is 1 if a figure differs.
"""

import argparse
import json
import pathlib
import subprocess
import sys

import numpy as np
import pyarrow.parquet as pq
from safetensors.numpy import load_file
from sklearn.cluster import HDBSCAN, KMeans
from sklearn.decomposition import PCA
from sklearn.linear_model import Ridge, RidgeClassifier
from sklearn.metrics import (
    adjusted_rand_score,
    average_precision_score,
    balanced_accuracy_score,
    f1_score,
    ndcg_score,
    r2_score,
    roc_auc_score,
)
from sklearn.preprocessing import StandardScaler

# Sums in f64 in another order; a map is stored in f32.
TOLERANCE = 1e-9
MAP_TOLERANCE = 1e-4


class Tracks:
    """The live tracks of a catalogue: rows of raw vectors by column, and metadata."""

    def __init__(self, folder):
        manifest = json.loads((folder / "catalogue.json").read_text())
        self.vectors, self.metadata, self.numbers = {}, [], []
        number = 0
        for part in manifest["parts"]:
            names = [name for name in part["files"] if name.startswith("tracks")]
            table = pq.read_table(folder / "parts" / part["name"] / names[0])
            rows = pq.read_table(folder / "parts" / part["name"] / "rows.parquet")
            names = [name for name in rows.column_names if "hidden_state_" in name]
            starts = np.concatenate([[0], np.cumsum(table["segments"].to_numpy())]).astype(int)
            live = [i for i in range(len(table)) if i not in set(part.get("removed", []))]
            for name in names:
                values = np.stack(rows[name].to_numpy(zero_copy_only=False)).astype(np.float64)
                means = [values[starts[i] : starts[i + 1]].mean(axis=0).astype(np.float32) for i in live]
                self.vectors.setdefault(name, []).extend(means)
            self.metadata += [table.slice(i, 1).to_pylist()[0] for i in live]
            self.numbers += [number + i for i in live]
            number += len(table)
        self.vectors = {name: np.stack(rows).astype(np.float64) for name, rows in self.vectors.items()}
        statistics = load_file(folder / manifest["statistics"]["path"])
        self.means = [statistics[f"{group}.mean"] for group in range(len(self.vectors))]

    def texts(self, name):
        """For each track the texts of a column."""
        # What a table says that was joined comes first.
        joined = [row.get(f"joined.{name}") for row in self.metadata]
        values = [row.get(name) if value is None else value for row, value in zip(self.metadata, joined)]
        return [set() if value is None else set(value if isinstance(value, list) else [value]) for value in values]

    def placed(self):
        """The vectors of the default geometry, whose products are scores."""
        parts = []
        for values, mean in zip(self.vectors.values(), self.means):
            centred = values - mean if len(self.numbers) >= 32 else values
            norms = np.linalg.norm(centred, axis=1, keepdims=True)
            parts.append(centred / np.where(norms > 0, norms, 1))
        return np.concatenate(parts, axis=1) / np.sqrt(len(parts))


def lower(sets):
    return [{text.lower() for text in texts} for texts in sets]


def check_evaluate(tracks, found, tag, k):
    tags, artists = tracks.texts(tag), lower(tracks.texts("artist"))
    owners, albums = lower(tracks.texts("album_artist")), lower(tracks.texts("album"))
    artists = [artist or owner or {None} for artist, owner in zip(artists, owners)]
    placed = tracks.placed()
    figures = []
    for query, scores in enumerate(placed @ placed.T):
        if not tags[query]:
            continue

        def related(other):
            same_owner = owners[query] == owners[other] or not owners[query] or not owners[other]
            return bool(artists[query] & artists[other]) or (bool(albums[query] & albums[other]) and same_owner)

        others = [i for i in range(len(tags)) if i != query and tags[i] and not related(i)]
        truth = np.array([bool(tags[query] & tags[i]) for i in others])
        if not truth.any():
            continue
        order = np.argsort(-scores[others], kind="stable")
        ranked, ranks = truth[order], np.arange(len(truth))
        figures.append(
            [
                ranked[:k].sum() / k,
                average_precision_score(ranked, -ranks),
                ndcg_score([ranked], [-ranks], k=k) if len(ranked) > 1 else 1.0,
                ranked[:k].sum() / ranked.sum(),
                1 / (1 + np.argmax(ranked)),
            ]
        )
    row = found["rows"][0]["figures"]
    names = ["precision", "map", "ndcg", "recall", "mrr"]
    assert len(figures) == found["queries"], (len(figures), found["queries"])
    return {name: abs(row[name]["value"] - expected) for name, expected in zip(names, np.mean(figures, axis=0))}


def check_probe(tracks, found):
    place = {number: row for row, number in enumerate(tracks.numbers)}
    differences = {}
    columns = list(tracks.vectors)
    for index, row in enumerate(found["rows"]):
        chosen = columns if row["name"] == "all" and len(columns) > 1 else [columns[index]]
        items = [place[prediction["track"]] for prediction in row["predictions"]]
        inputs = np.concatenate([tracks.vectors[column][items] for column in chosen], axis=1)
        truth, predicted, fold = (
            np.array([prediction[key] for prediction in row["predictions"]]) for key in ("truth", "predicted", "fold")
        )
        # Of a tag one regression on 1 and -1 for each text, as RidgeClassifier's of a tag with one text a track.
        classes = len(found["classes"])
        target, given = truth[:, None], predicted[:, None]
        if classes:
            target, given = -np.ones((len(truth), classes)), np.array([p["scores"] for p in row["predictions"]])
            for item, prediction in enumerate(row["predictions"]):
                target[item, prediction["texts"]] = 1
        again = np.zeros_like(target)
        for number, penalty in enumerate(row["penalties"]):
            train, test = fold != number, fold == number
            scaler = StandardScaler().fit(inputs[train])
            model = Ridge(alpha=penalty).fit(scaler.transform(inputs[train]), target[train])
            again[test] = model.predict(scaler.transform(inputs[test])).reshape(target[test].shape)
            if classes and (target > 0).sum(axis=1).max() == 1 and len(set(truth[train])) == classes > 2:
                model = RidgeClassifier(alpha=penalty).fit(scaler.transform(inputs[train]), truth[train])
                assert (model.predict(scaler.transform(inputs[test])) == predicted[test]).all(), row["name"]
        differences[f"{row['name']} predictions"] = np.abs(again - given).max() / max(1.0, np.abs(truth).max())
        if classes:
            areas = [roc_auc_score(target[:, label] > 0, again[:, label]) for label in range(classes)]
            found_areas = [area["value"] for area in row["areas"]]
            differences[f"{row['name']} areas"] = np.abs(np.array(areas) - found_areas).max()
        scores = {
            "macro_auc": lambda *_: np.mean(areas),
            "balanced_accuracy": balanced_accuracy_score,
            "macro_f1": lambda a, b: f1_score(a, b, average="macro"),
            "r2": r2_score,
        }
        for figure in row["figures"]:
            expected = scores[figure["name"]](truth, predicted)
            differences[f"{row['name']} {figure['name']}"] = abs(figure["value"] - expected)
    return differences


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("mert_search")
    parser.add_argument("catalogue", type=pathlib.Path)
    parser.add_argument("--tag", required=True)
    parser.add_argument("--probe", nargs="*", default=[], metavar="COLUMN")
    args = parser.parse_args()

    def run(command, *options):
        line = [args.mert_search, command, str(args.catalogue), *options, "--json"]
        return json.loads(subprocess.run(line, check=True, capture_output=True, text=True).stdout)

    tracks = Tracks(args.catalogue)
    placed = tracks.placed()
    differences = {}
    for k in (1, 10):
        found = run("evaluate", "--tag", args.tag, "--only", "-k", str(k), "--queries", "1000000")
        checked = check_evaluate(tracks, found, args.tag, k)
        differences |= {f"evaluate k={k} {name}": value for name, value in checked.items()}
    for tag in args.probe:
        checked = check_probe(tracks, run("probe", "--tag", tag))
        differences |= {f"probe {tag} {name}": value for name, value in checked.items()}
    found = np.array([point[1:] for point in run("map", "--refresh")["points"]])
    expected = PCA(2, svd_solver="full").fit_transform(placed)
    # Components have no sign.
    expected *= np.sign((expected * found).sum(axis=0))
    failed = np.abs(found - expected).max() > MAP_TOLERANCE
    print(f"map pca: largest difference {np.abs(found - expected).max():.1e}")
    found = run("cluster", "--clusters", "8")
    inertia = found["inertia"]
    other = KMeans(8, n_init=10, random_state=0).fit(placed).inertia_
    print(f"k-means: inertia {inertia:.6f}, scikit-learn's {other:.6f}")
    # Both are local minima of ten starts. From the centres of these clusters scikit-learn's algorithm must not move.
    failed |= inertia > 1.02 * other
    labels = np.array([track["cluster"] for track in found["tracks"]])
    centres = np.stack([placed[labels == label].mean(axis=0) for label in range(8)])
    again = KMeans(8, init=centres, n_init=1, tol=0).fit(placed)
    differences["k-means centres"] = np.abs(again.cluster_centers_ - centres).max()
    differences["k-means labels"] = float((again.labels_ != labels).sum())
    differences["k-means inertia"] = abs(again.inertia_ - inertia) / inertia
    found = run("cluster", "--method", "hdbscan")
    labels = [-1 if track["cluster"] is None else track["cluster"] for track in found["tracks"]]
    reduced = PCA(min(10, placed.shape[1]), svd_solver="full").fit_transform(placed)
    other = HDBSCAN(min_cluster_size=5, copy=True).fit(reduced).labels_
    agreement = adjusted_rand_score(labels, other)
    print(f"HDBSCAN: {len(found['clusters'])} clusters, scikit-learn {other.max() + 1}, adjusted Rand index {agreement:.3f}")
    for name, difference in differences.items():
        failed |= not difference <= TOLERANCE
        print(f"{name}: difference {difference:.1e}{'' if difference <= TOLERANCE else '  FAILED'}")
    return int(failed)


sys.exit(main())

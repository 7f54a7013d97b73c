#!/usr/bin/env python3
"""The whole way of mert-search on real music: a catalogue from folders, every kind of query beside NumPy, reasons, paths,
playlists, joined metadata, evaluation, probes, learning from judgments, clusters, maps, removal and compaction.

Usage: search_music.py FOLDER_WITH_BINARIES MODEL MUSIC…

MUSIC are folders, one for each game or collection, such as Debian's free game music (wesnoth-1.16-music, nexuiz-music,
warzone2100-music, planetblupi-music-ogg, drascula-music, singularity-music; `apt-get download`, `dpkg -x`); archives (.pk3,
.zip) in them are unpacked into a temporary folder. MODEL is any converted model. With generated weights it is the plumbing,
the arithmetic and the speed that are judged, not what sounds alike. Needs numpy, and 1 GB for temporary files.
"""

import csv
import json
import random
import shutil
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
import zipfile
from pathlib import Path

import numpy as np

BIN, MODEL, MUSIC = Path(sys.argv[1]), Path(sys.argv[2]), [Path(argument) for argument in sys.argv[3:]]
PURE = ["--per-artist", "0", "--per-album", "0", "--no-versions"]


def run(*arguments, codes=(0,)):
    result = subprocess.run([BIN / "mert-search", *map(str, arguments)], capture_output=True, text=True)
    if result.returncode not in codes:
        sys.exit(f"mert-search {' '.join(map(str, arguments))}: exit status {result.returncode}\n{result.stderr}")
    return result


def answer(*arguments):
    return json.loads(run(*arguments, "--json").stdout)


def expect(condition, what):
    if not condition:
        sys.exit(f"  FAILED {what}")


def normalized(vectors):
    return vectors / np.maximum(np.linalg.norm(vectors, axis=-1, keepdims=True), 1e-300)


def unpacked(folder, music):
    """The folders of a collection: itself if it holds more than archives, and what its archives hold."""
    archives = [path for path in music.rglob("*") if path.suffix in (".pk3", ".zip")]
    for archive in archives:
        zipfile.ZipFile(archive).extractall(folder / music.name / archive.stem)
    return [folder / music.name] if archives else [music]


def main():
    folder = Path(tempfile.mkdtemp(prefix="search-music."))
    try:
        whole_way(folder)
    finally:
        shutil.rmtree(folder)


def whole_way(folder):
    catalogue = folder / "catalogue"
    collections = {music.name: unpacked(folder, music) for music in MUSIC}
    music = [path for paths in collections.values() for path in paths]
    started = time.monotonic()
    # Some files of game music are too short for a window: they are named, and the exit status is 1.
    added = run("add", catalogue, *music, "--model", MODEL, codes=(0, 1))
    seconds = time.monotonic() - started
    info = answer("info", catalogue)
    print(f"  ok add: {added.stderr.strip().splitlines()[-1]}, in {seconds:.0f} s")
    again = run("add", catalogue, *music, codes=(0, 1))
    # A file that was too short is no track, and is looked at again.
    tracks = info["tracks"]
    expect(f"0 changed, {tracks} unchanged" in again.stderr, f"add again: {again.stderr}")
    run("verify", catalogue)
    print("  ok nothing is embedded twice, and the catalogue is whole")

    manifest = json.loads((catalogue / "catalogue.json").read_text())
    index = catalogue / "parts" / manifest["parts"][0]["name"] / "index"
    names = [f"hidden_state_{state}" for state in manifest["settings"]["hidden_states"]]
    segments = [np.load(index / f"segments.{name}.npy").astype(np.float64) for name in names]
    tracks = [np.load(index / f"tracks.{name}.npy").astype(np.float64) for name in names]
    placed = [normalized(track - segment.mean(axis=0)) for track, segment in zip(tracks, segments)]
    cosines = sum(unit @ unit.T for unit in placed) / len(placed)
    count = len(cosines)

    listed = {}
    for seed in range(0, count, max(1, count // 20)):
        file = next(iter(listed.get(seed, [])), None)
        if file is None:
            first = answer("query", catalogue, "--vector", write_vector(folder, tracks, seed), "--top", "1", *PURE)
            file = first["hits"][0]["file"]
            expect(first["hits"][0]["track"] == seed, f"the vector of track {seed} finds it")
        found = answer("query", catalogue, file, "--top", "10", *PURE)
        order = [track for track in np.lexsort((np.arange(count), -cosines[seed])) if track != seed][:10]
        expect([hit["track"] for hit in found["hits"]] == order, f"the order for {file}")
        errors = [abs(hit["cosine"] - cosines[seed, hit["track"]]) for hit in found["hits"]]
        expect(max(errors) < 1e-6, f"the cosines for {file}: {max(errors)}")
    print(f"  ok 20 queries: the order is that of NumPy, cosines within 1e-6, among {count} tracks")

    why = answer("why", catalogue, file, found["hits"][0]["file"])
    total = sum(term["term"] for term in why["terms"])
    expect(abs(total - found["hits"][0]["cosine"]) < 1e-6, f"terms sum to {total}")
    print(f"  ok reasons: {len(why['terms'])} terms sum to the cosine, with {len(why['passages'])} pairs of passages")

    passage = answer("query", catalogue, f"{file}@0:05-0:15", "--top", "5", "--level", "passages")
    expect(all(hit["file"] != file for hit in passage["hits"]), "a passage is no hit of its own")
    where = ["--where", "artist is known and artist != seed.artist"]
    limited = answer("query", catalogue, file, *where, "--minus", found["hits"][0]["file"])
    expect(limited["hits"] and limited["compared"] < count, "a filter")
    varied = answer("query", catalogue, file, "--variety", "0.5")
    expect(len(varied["hits"]) == 10, "variety")
    print("  ok a passage, a filter by tags, a minus seed and variety")

    path = answer("path", catalogue, file, found["hits"][-1]["file"], "--steps", "4")["steps"]
    expect(path[0]["file"] == file and path[-1]["file"] == found["hits"][-1]["file"], "the ends of a path")
    for form in ["m3u8", "xspf", "jspf"]:
        run("playlist", catalogue, file, "-o", folder / f"alike.{form}")
    locations = ElementTree.parse(folder / "alike.xspf").getroot().findall(".//{http://xspf.org/ns/0/}location")
    lines = [line for line in (folder / "alike.m3u8").read_text().splitlines() if not line.startswith("#")]
    expect(len(locations) == len(lines) > 0 and all((folder / line).exists() for line in lines), "playlists")
    print(f"  ok a path of {len(path)} songs, and playlists in three forms whose files exist")

    tags_and_learning(folder, catalogue, collections, {column["name"] for column in info["columns"]})

    run("remove", catalogue, found["hits"][0]["file"])
    run("compact", catalogue)
    run("verify", catalogue)
    left = answer("query", catalogue, file, "--top", "10", *PURE)
    expect(all(hit["file"] != found["hits"][0]["file"] for hit in left["hits"]), "a removed track")
    print("  ok removal and compaction")


def tags_and_learning(folder, catalogue, collections, known):
    """Evaluation and probes of a joined column and of tags, learning, clusters and maps."""
    clusters = answer("cluster", catalogue, "-o", folder / "clusters.csv")
    files = [track["file"] for track in clusters["tracks"]]
    games = {}
    for name, folders in collections.items():
        games |= {file: name for file in files if any(file.startswith(f"{path}/") for path in folders)}
    with open(folder / "games.csv", "w", newline="") as output:
        csv.writer(output).writerows([("path", "game"), *games.items()])
    run("update", catalogue, "--metadata", folder / "games.csv", "--metadata", folder / "clusters.csv")
    known = known | {"game", "cluster"}
    found = {column["name"]: column["known"] for column in answer("info", catalogue)["columns"]}
    expect(known <= set(found), f"joined columns: {found}")
    for tag in ["game", "genre"]:
        table = run("evaluate", catalogue, "--tag", tag, codes=(0, 2))
        print(f"  ok evaluate --tag {tag}:\n{indented(table.stdout or table.stderr)}")
    for tag in ["game", "artist", "year"]:
        table = run("probe", catalogue, "--tag", tag, codes=(0, 2))
        print(f"  ok probe --tag {tag}:\n{indented(table.stdout or table.stderr)}")
    learn(folder, catalogue, games)
    first = run("map", catalogue, "--method", "tsne", "-o", folder / "map.svg", "--color", "game").stdout
    second = run("map", catalogue, "--method", "tsne").stdout
    expect("computed" in first and "kept from before" in second, f"a map is kept: {first} {second}")
    print(f"  ok {len(clusters['clusters'])} clusters, joined as a column; a map by t-SNE, which is kept")


def learn(folder, catalogue, games):
    """A metric from pairs of one game and of two, a tenth of them judged wrongly; and likes and skips by chance."""
    draw, files = random.Random(15), sorted(games)
    pairs = [draw.sample(files, 2) for _ in range(1200)]
    alike = [(a, b) for a, b in pairs if games[a] == games[b]]
    other = [(a, b) for a, b in pairs if games[a] != games[b]][: len(alike)]
    rows = [(a, b, label ^ (draw.random() < 0.1)) for pairs, label in ((alike, 1), (other, 0)) for a, b in pairs]
    with open(folder / "pairs.csv", "w", newline="") as output:
        csv.writer(output).writerows([("a", "b", "label"), *rows])
    with open(folder / "feedback.csv", "w", newline="") as output:
        chance = [(a, b, draw.choice(["like", "skip"])) for a, b in pairs[:300]]
        csv.writer(output).writerows([("seed", "track", "event"), *chance])
    metric = folder / "metric.safetensors"
    learned = run("learn", catalogue, "--pairs", folder / "pairs.csv", "-o", metric, codes=(0, 1))
    expect(metric.exists() == (learned.returncode == 0), "a metric is written only with a gain")
    print(f"  ok learn, {len(rows)} judgments of pairs:\n{indented(learned.stdout)}")
    if metric.exists():
        found = answer("query", catalogue, files[0], "--metric", metric)
        expect(found["hits"], "a query with the metric")
    refused = folder / "refused.safetensors"
    run("learn", catalogue, "--pairs", folder / "feedback.csv", "-o", refused, codes=(1,))
    expect(not refused.exists(), "nothing is learned from chance")
    print("  ok likes and skips by chance teach nothing, and nothing is written")


def indented(text):
    return "".join(f"     {line}\n" for line in text.rstrip().splitlines()).rstrip()


def write_vector(folder, tracks, row):
    path = folder / "vector.json"
    path.write_text(json.dumps([float(value) for group in tracks for value in group[row]]))
    return path


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main()

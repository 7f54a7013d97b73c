#!/usr/bin/env python3
"""The whole way of mert-search on real music: a catalogue from a folder, every kind of query beside NumPy, reasons, paths,
playlists, evaluation, clusters, a map, removal and compaction.

Usage: search_music.py FOLDER_WITH_BINARIES MODEL MUSIC…

MUSIC are folders, such as Debian's free game music (wesnoth-1.16-music, nexuiz-music, warzone2100-music,
planetblupi-music-ogg, drascula-music, singularity-music; `apt-get download`, `dpkg -x`); MODEL is any converted model. With
generated weights it is the plumbing, the arithmetic and the speed that are judged, not what sounds alike. Needs numpy.
"""

import json
import subprocess
import sys
import tempfile
import time
import xml.etree.ElementTree as ElementTree
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


def main():
    folder = Path(tempfile.mkdtemp(prefix="search-music."))
    catalogue = folder / "catalogue"
    started = time.monotonic()
    # Some files of game music are too short for a window: they are named, and the exit status is 1.
    added = run("add", catalogue, *MUSIC, "--model", MODEL, codes=(0, 1))
    seconds = time.monotonic() - started
    info = answer("info", catalogue)
    print(f"  ok add: {added.stderr.strip().splitlines()[-1]}, in {seconds:.0f} s")
    again = run("add", catalogue, *MUSIC, codes=(0, 1))
    expect("0 new, 0 changed" in again.stderr, f"add again: {again.stderr}")
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

    known = {column["name"] for column in info["columns"]}
    if "year" in known:
        run("probe", catalogue, "--tag", "year", codes=(0, 1))
    if "genre" in known:
        run("evaluate", catalogue, "--tag", "genre", codes=(0, 1))
    run("cluster", catalogue)
    run("map", catalogue, "--method", "tsne", "-o", folder / "map.svg")
    print("  ok evaluation, a probe, clusters, and a map")

    run("remove", catalogue, found["hits"][0]["file"])
    run("compact", catalogue)
    run("verify", catalogue)
    left = answer("query", catalogue, file, "--top", "10", *PURE)
    expect(all(hit["file"] != found["hits"][0]["file"] for hit in left["hits"]), "a removed track")
    print("  ok removal and compaction")


def write_vector(folder, tracks, row):
    path = folder / "vector.json"
    path.write_text(json.dumps([float(value) for group in tracks for value in group[row]]))
    return path


if __name__ == "__main__":
    if len(sys.argv) < 4:
        sys.exit(__doc__)
    main()

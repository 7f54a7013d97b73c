#!/usr/bin/env python3
"""Compares mert-search with NumPy on generated catalogues: scores, order, filters, percentiles, limits, versions, variety,
blends, paths, explanations and playlists. Usage: search_numpy.py PATH/TO/mert-search. Needs numpy and pyarrow."""

import json
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path
from urllib.parse import unquote_to_bytes, urlsplit

import numpy as np

from search_reference import generate
from search_reference.reference import Options, Reference

MERT_SEARCH = Path(sys.argv[1]).resolve() if len(sys.argv) > 1 else None
NO_LIMITS = ["--per-artist", "0", "--per-album", "0", "--no-versions"]
PURE = dict(per_artist=0, per_album=0, artist_gap=0, album_gap=0, versions=False)


def run(*arguments, fails: bool = False) -> str:
    result = subprocess.run([MERT_SEARCH, *map(str, arguments)], capture_output=True, text=True)
    if (result.returncode != 0) != fails:
        sys.exit(f"mert-search {' '.join(map(str, arguments))}: exit status {result.returncode}\n{result.stderr}")
    return result.stderr if fails else result.stdout


def query(catalogue: Path, *arguments) -> dict:
    return json.loads(run("query", catalogue, *arguments, "--json"))


def check(condition: bool, what: str, *found) -> None:
    if not condition:
        sys.exit(f"  FAILED {what}\n  {found}")


def check_hits(answer: dict, expected: list[dict], what: str) -> None:
    """The same tracks in the same order, with cosines and scores within 1e-6 and the same versions."""
    hits = answer["hits"]
    check([hit["track"] for hit in hits] == [hit["track"] for hit in expected], f"order: {what}", hits, expected)
    for hit, other in zip(hits, expected):
        check(abs(hit["cosine"] - other["cosine"]) < 1e-6, f"cosine: {what}", hit, other)
        check(abs(hit["score"] - other["score"]) < 1e-6, f"score: {what}", hit, other)
        versions = [version["track"] for version in hit["versions"]]
        check(versions == other["versions"], f"versions: {what}", hit, other)
        check(hit["file"].endswith(f"{hit['track']:03}.wav"), f"file: {what}", hit)


def rankings(catalogue: Path, tracks: int) -> None:
    """Every geometry, over all tracks."""
    geometries = [
        (["--layers", "6"], {"6": 1.0}, {}),
        (["--layers", "1:0.2,6:0.5,9:0.3"], {"1": 0.2, "6": 0.5, "9": 0.3}, {}),
        (["--layers", "9:2,1:6", "--no-center"], {"9": 2, "1": 6}, {"center": False}),
        ([], {"1": 1, "6": 1, "9": 1}, {}),
        (["--drop-components", "3"], {"1": 1, "6": 1, "9": 1}, {"drop": 3}),
    ]
    for arguments, weights, options in geometries:
        reference = Reference(catalogue, weights, **options)
        for seed in (0, 7, tracks - 1):
            answer = query(catalogue, f"{seed:03}.wav", "--top", tracks, *NO_LIMITS, *arguments)
            point = reference.query([(reference.track(seed), 1.0)])
            expected = reference.search(point, [seed], Options(top=tracks, **PURE))
            check(len(expected) == tracks - 1, "all tracks but the seed", len(expected))
            check_hits(answer, expected, f"{arguments} of {seed}")
    print(f"  ok rankings of {tracks} tracks in {len(geometries)} geometries: same order, scores within 1e-6")


def seeds(catalogue: Path, reference: Reference, folder: Path) -> None:
    """Several seeds, minus seeds, passages and vectors."""
    hits = lambda *arguments: query(catalogue, *arguments, *NO_LIMITS, "--top", 50)
    track = reference.track
    expect = lambda seeds, without: reference.search(reference.query(seeds), without, Options(top=50, **PURE))
    check_hits(hits("003.wav", "011.wav"), expect([(track(3), 1), (track(11), 1)], [3, 11]), "two seeds")
    minus = [(track(3), 1), (track(11), 1), (track(20), -1)]
    check_hits(hits("003.wav", "011.wav", "--minus", "020.wav"), expect(minus, [3, 11, 20]), "a minus seed")
    half = [(track(3), 1), (track(20), -0.5)]
    check_hits(hits("003.wav", "--minus", "020.wav", "--minus-weight", "0.5"), expect(half, [3, 20]), "half a minus")
    first = reference.starts[7]
    passage = [np.float64(np.float32(raw(reference, group, [first + 1, first + 2]))) for group in range(3)]
    passage = [centred(reference, group, vector) for group, vector in enumerate(passage)]
    check_hits(hits("007.wav@0:01-0:03"), expect([(passage, 1)], [7]), "a passage")
    rows = np.random.default_rng(5).standard_normal((2, 72)).astype(np.float32)
    np.save(folder / "vector.npy", rows)
    (folder / "vector.json").write_text(json.dumps(rows.tolist()))
    mean = np.float64(rows.astype(np.float64).mean(axis=0).astype(np.float32)).reshape(3, 24)
    vector = [centred(reference, group, mean[group]) for group in range(3)]
    for name in ("vector.npy", "vector.json"):
        check_hits(hits("--vector", folder / name), expect([(vector, 1)], []), name)
    print("  ok seeds: several, minus, a passage, vectors from .npy and .json")


def raw(reference: Reference, group: int, rows: list[int]) -> np.ndarray:
    """The mean of raw segments: centred ones and the mean that was subtracted."""
    return (reference.groups[group][0][rows] + MEANS[group]).mean(axis=0)


def centred(reference: Reference, group: int, vector: np.ndarray) -> np.ndarray:
    return vector - MEANS[group]


def filters(catalogue: Path, reference: Reference) -> None:
    """Filters beside masks of NumPy, in which a comparison with an unknown value is written out."""
    bpm, duration = reference.numbers("bpm"), reference.duration
    known = ~np.isnan(bpm)
    text = {name: np.array([value or "" for value in reference.text(name)]) for name in ("language", "artist", "genre")}
    is_in = lambda name, *values: np.isin(text[name], values)
    seed = 3
    masks = {
        "bpm 90..110": (bpm >= 90) & (bpm <= 110),
        "bpm 90..110 and language != deu and artist != seed.artist":
            (bpm >= 90) & (bpm <= 110) & ~is_in("language", "deu") & ~is_in("artist", text["artist"][seed]),
        "not bpm 90..110": ~((bpm >= 90) & (bpm <= 110)),
        "bpm != 90": ~(bpm == 90),
        "bpm < 90 or language is unknown": (bpm < 90) | (text["language"] == ""),
        "bpm is known and not (genre = ROCK or genre = jazz)": known & ~is_in("genre", "rock", "jazz"),
        "language in (eng, 'fra') and duration >= 4.5": is_in("language", "eng", "fra") & (duration >= 4.5),
        "language not in (eng, fra)": ~is_in("language", "eng", "fra"),
        'artist ~ "ist 1"': np.array(["ist 1" in artist for artist in text["artist"]]),
        "bpm >= seed.bpm": bpm >= bpm[seed],
        "duration ..0:04": duration <= 4.0,
        "file ~ /a/": np.arange(reference.tracks) % 2 == 0,
    }
    point = reference.query([(reference.track(seed), 1.0)])
    for expression, keep in masks.items():
        answer = query(catalogue, "003.wav", "--where", expression, "--top", reference.tracks, *NO_LIMITS)
        expected = reference.search(point, [seed], Options(top=reference.tracks, keep=keep, **PURE))
        check(0 < len(expected) < reference.tracks - 1, f"a filter that filters: {expression}", len(expected))
        check_hits(answer, expected, expression)
        check(answer["compared"] == len(expected), expression, answer["compared"])
    error = run("query", catalogue, "003.wav", "--where", "bmp 90..", fails=True)
    check("nearest is `bpm`" in error and "\n  ^^^" in error, "a filter's message", error)
    print(f"  ok {len(masks)} filters: the rows of NumPy's masks, in order")


def percentiles(catalogue: Path, reference: Reference, level: str) -> None:
    """Percentiles beside the same random pairs."""
    for random_seed in (0, 5):
        arguments = ["--random-seed", random_seed, "--level", level]
        answer = query(catalogue, "003.wav", "--top", 40, *NO_LIMITS, *arguments)
        cosines = reference.pair_terms(random_seed, level).sum(axis=0)
        check(answer["pairs"] == len(cosines), "the number of pairs", answer["pairs"], len(cosines))
        tracks, rows, _ = reference.pairs(random_seed, level)
        others = [track != 3 and reference.artist[track] != reference.artist[3] for track in tracks]
        point = reference.query([(reference.track(3), 1.0)])
        own = reference.terms(point, "tracks" if level == "tracks" else "segments").sum(axis=0)[rows][others]
        for hit in answer["hits"]:
            # A pair whose cosine differs from the hit's by rounding may fall on either side.
            for name, sample in (("percentile", cosines), ("percentile_of_query", own)):
                low = 100 * np.mean(sample < hit["cosine"] - 1e-9)
                high = 100 * np.mean(sample < hit["cosine"] + 1e-9)
                check(low - 1e-9 <= hit[name] <= high + 1e-9, f"{name} of {level}", hit, low, high)
    print(f"  ok percentiles of {level}: global and within the query, of the same random pairs")


def passages(catalogue: Path, reference: Reference) -> None:
    """The best passage of each track."""
    point = reference.query([(reference.track(3), 1.0)])
    cosines = reference.terms(point, "segments").sum(axis=0)
    best = []
    for track, (start, end) in enumerate(zip(reference.starts, reference.starts[1:])):
        row = start + int(np.argmax(cosines[start:end]))
        best.append((-cosines[row], row, track))
    expected = [(track, row) for _, row, track in sorted(best) if track != 3][:30]
    answer = query(catalogue, "003.wav", "--level", "passages", "--top", 30, *NO_LIMITS)
    check([(hit["track"], hit["segment"]) for hit in answer["hits"]] == expected, "passages", answer["hits"])
    for hit, (_, row) in zip(answer["hits"], expected):
        check(tuple(hit["passage"]) == reference.times[row], "the times of a passage", hit)
        check(abs(hit["cosine"] - cosines[row]) < 1e-6, "the cosine of a passage", hit)
    print("  ok passages: the best of each track, in order")


def choices(catalogue: Path, reference: Reference) -> None:
    """Limits, versions, variety, CSLS and blends."""
    cases = [
        ("defaults", [], {}),
        ("limits", ["--per-artist", 1, "--per-album", 1], dict(per_artist=1, per_album=1)),
        ("gaps", ["--artist-gap", 4, "--album-gap", 2], dict(artist_gap=4, album_gap=2)),
        ("more hits than the limits allow", ["--top", 120, "--per-artist", 2], dict(top=120, per_artist=2)),
        ("versions", ["--version-distance", 0.4, "--version-seconds", 0.3],
         dict(version_distance=0.4, version_seconds=0.3)),
        ("variety", ["--variety", 0.4], dict(variety=0.4)),
        ("variety without limits", ["--variety", 0.7, "--top", 25, *NO_LIMITS], dict(variety=0.7, top=25, **PURE)),
        ("blend", ["--blend", "bpm:0.3", "--top", 60, *NO_LIMITS], dict(blend={"bpm": 0.3}, top=60, **PURE)),
        ("csls", ["--csls", "--top", 60, *NO_LIMITS], dict(csls=True, top=60, **PURE)),
        ("a negative blend", ["--blend", "bpm:-0.5", *NO_LIMITS], dict(blend={"bpm": -0.5}, **PURE)),
    ]
    seen: dict[str, tuple] = {}
    for name, arguments, options in cases:
        for seed in (3, 14):
            answer = query(catalogue, f"{seed:03}.wav", *arguments)
            point = reference.query([(reference.track(seed), 1.0)])
            check_hits(answer, reference.search(point, [seed], Options(**options)), f"{name} of {seed}")
            seen[name] = seen.get(name, ()) + tuple(hit["track"] for hit in answer["hits"])
    check(len(set(seen.values())) == len(cases), "options that change the answer", seen)
    versions = query(catalogue, "014.wav")["seed_versions"]
    check([version["track"] for version in versions] == [19], "the version of the seed", versions)
    only = query(catalogue, "014.wav", "--where", "file ~ 019.wav")
    check([hit["track"] for hit in only["hits"]] == [19] and only["notes"], "a filter that finds a version", only)
    print(f"  ok {len(cases)} choices: limits, gaps, stages, versions, variety, CSLS and blends")


def paths(catalogue: Path, reference: Reference) -> None:
    for start, end, steps in ((3, 40, 8), (0, 1, 1), (5, 100, 25)):
        answer = json.loads(run("path", catalogue, f"{start:03}.wav", f"{end:03}.wav", "--steps", steps, "--json"))
        tracks = [step["track"] for step in answer["steps"]]
        check(tracks == reference.path(start, end, steps), f"the path from {start} to {end}", tracks)
        for before, step in zip(answer["steps"], answer["steps"][1:]):
            cosine = reference.similarity(before["track"], step["track"])
            check(abs(step["cosine"] - cosine) < 1e-6, "the cosine of a step", step)
            check(step["is_wide"] == (step["percentile"] < 50), "a wide step", step)
    print("  ok paths: the nearest unused tracks, and the cosines of their steps")


def explanations(catalogue: Path, reference: Reference) -> None:
    """Terms, averages and all pairs of passages."""
    averages = reference.pair_terms(0).mean(axis=1)
    options = ["--versus", "060.wav", "--pairs", 10_000, "--json"]
    for seeds in ([(3, 1)], [(3, 1), (11, 1), (20, -1)]):
        plus = [f"{track:03}.wav" for track, weight in seeds if weight > 0]
        minus = [text for track, weight in seeds if weight < 0 for text in ("--minus", f"{track:03}.wav")]
        found = json.loads(run("why", catalogue, *plus, "050.wav", *minus, *options))
        point = reference.query([(reference.track(track), weight) for track, weight in seeds])
        terms = reference.terms(point)
        cosine = terms[:, 50].sum()
        check(abs(found["cosine"] - cosine) < 1e-6, "the cosine", found["cosine"], cosine)
        for term, value, average in zip(found["terms"], terms[:, 50], averages):
            check(abs(term["term"] - value) < 1e-6, "a term", term, value)
            check(abs(term["average"] - average) < 1e-6, "an average", term, average)
        deviations = sum(term["deviation"] for term in found["terms"])
        check(abs(deviations + found["average"] - cosine) < 1e-6, "the sum of deviations", deviations)
        of_seeds = sum(seed["term"] for seed in found["seeds"])
        check(abs(of_seeds - cosine) < 1e-6, "the sum of the seeds' terms", found["seeds"])
        shares = pair_shares(reference, seeds, 50)
        check(len(found["passages"]) == len(shares), "the number of pairs", len(found["passages"]))
        check(abs(sum(pair["share"] for pair in found["passages"]) - cosine) < 1e-6, "the sum of the shares")
        for pair in found["passages"]:
            share = shares[pair["seed"], pair["seed_start"], pair["start"]]
            check(abs(pair["share"] - share) < 1e-6, "a share", pair, share)
        part = found["participation"]
        check(part["positive"] == np.mean(np.array(list(shares.values())) > 0), "positive pairs", part)
        differences = [term["difference"] for term in found["versus"]["terms"]]
        check(np.allclose(differences, terms[:, 50] - terms[:, 60], atol=1e-6), "the contrast", differences)
    print("  ok explanations: terms, averages, seeds, contrasts and all pairs of passages sum to the score within 1e-6")


def pair_shares(reference: Reference, seeds: list, hit: int) -> dict:
    """The share of each pair of segments, by the definition of the means: the lengths of whole tracks are constants."""
    counts = np.diff(reference.starts)
    shares = {}
    for index, (track, weight) in enumerate(seeds):
        for i in range(reference.starts[track], reference.starts[track + 1]):
            for j in range(reference.starts[hit], reference.starts[hit + 1]):
                share = 0.0
                for group_weight, (segments, tracks) in zip(reference.weights, reference.groups):
                    length = np.linalg.norm
                    total = length(sum(w * tracks[t] / length(tracks[t]) for t, w in seeds))
                    product = segments[i] @ segments[j] / (length(tracks[track]) * length(tracks[hit]))
                    share += group_weight * weight / total * product / (counts[track] * counts[hit])
                shares[index, reference.times[i][0], reference.times[j][0]] = share
    return shares


def playlists(catalogue: Path, folder: Path, reference: Reference) -> None:
    """Playlists, read by Python's own readers."""
    for name in ("list.m3u8", "list.xspf", "list.jspf"):
        run("playlist", catalogue, "003.wav", "-o", folder / name, "--title", "a <b> & c")
    lines = (folder / "list.m3u8").read_text(encoding="utf-8").splitlines()
    check(lines[0] == "#EXTM3U", "m3u8", lines)
    paths = [(folder / line).resolve() for line in lines if not line.startswith("#")]
    check(len(paths) == 10 and all(path.is_file() for path in paths), "files of m3u8", paths)
    check(sum(line.startswith("#EXTINF:") for line in lines) == 10, "lengths of m3u8", lines)
    namespace = "{http://xspf.org/ns/0/}"
    root = ElementTree.parse(folder / "list.xspf").getroot()
    check(root.tag == namespace + "playlist" and root.get("version") == "1", "xspf", root.tag)
    check([child.tag for child in root] == [namespace + "title", namespace + "trackList"], "elements of xspf")
    order = ["location", "identifier", "title", "creator", "annotation", "info", "image", "album", "trackNum", "duration",
             "link", "meta", "extension"]
    found = []
    for track in root[1]:
        check(track.tag == namespace + "track", "a track of xspf", track.tag)
        places = [order.index(child.tag.removeprefix(namespace)) for child in track]
        check(places == sorted(places), "the order of xspf's elements", places)
        found.append(local_path(track.findtext(namespace + "location")))
        check(int(track.findtext(namespace + "duration")) > 0, "a duration of xspf")
        check(track.find(namespace + "extension").get("application"), "the application of an extension")
    check(found == paths, "files of xspf", found)
    playlist = json.loads((folder / "list.jspf").read_text())["playlist"]
    check(playlist["title"] == root.findtext(namespace + "title") == "a <b> & c", "titles", playlist["title"])
    check([local_path(track["location"][0]) for track in playlist["track"]] == paths, "files of jspf")
    scores = [next(iter(track["extension"].values()))[0]["cosine"] for track in playlist["track"]]
    hits = {hit["cosine"] for hit in query(catalogue, "003.wav")["hits"]}
    check(all(min(abs(score - hit) for hit in hits) < 1e-12 for score in scores), "scores of jspf", scores)
    artists = [reference.artist[int(path.stem)] for path in paths]
    check(all(a is None or a != b for a, b in zip(artists, artists[1:])), "one artist twice in a row", artists)
    print("  ok playlists: m3u8, XSPF and JSPF name the same files")


def local_path(uri: str) -> Path:
    parts = urlsplit(uri)
    check(parts.scheme == "file" and parts.netloc == "" and uri.isascii(), "a file URI", uri)
    return Path(unquote_to_bytes(parts.path).decode())


MEANS: list[np.ndarray] = []


def main() -> None:
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        # All pairs of the smaller catalogue are compared, and of the larger a sample.
        small = generate.catalogue(MERT_SEARCH, folder / "small", 150, 1)
        large = generate.catalogue(MERT_SEARCH, folder / "large", 300, 2)
        even = {"1": 1, "6": 1, "9": 1}
        reference, larger = Reference(small, even), Reference(large, even)
        uncentred = Reference(small, even, center=False)
        MEANS.extend(group[0].mean(axis=0) for group in uncentred.groups)
        rankings(small, 150)
        rankings(large, 300)
        seeds(small, reference, folder)
        filters(small, reference)
        percentiles(small, reference, "tracks")
        percentiles(large, larger, "tracks")
        percentiles(large, larger, "passages")
        passages(small, reference)
        choices(small, reference)
        choices(large, larger)
        paths(small, reference)
        explanations(small, reference)
        playlists(small, folder, reference)


if __name__ == "__main__":
    if MERT_SEARCH is None:
        sys.exit(__doc__)
    main()

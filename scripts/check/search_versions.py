#!/usr/bin/env python3
"""How far apart versions of one recording are, and how near the nearest other recordings: what --version-distance is chosen by.

Usage: search_versions.py FOLDER_WITH_BINARIES MODEL TRACKS SECONDS MUSIC…

TRACKS files of the folders MUSIC are drawn with a seed, and of each the first SECONDS seconds are written as WAV, and as
versions: MP3 at 128 kbit/s, Vorbis at 48 kbit/s, resampled to 22.05 kHz, 6 dB quieter, and without the first 1, 2.5 and 5
seconds. Other files of MUSIC, twice as many, have no versions. All are added to a catalogue, and the cosine distances of the
default geometry are printed. With generated weights the figures are those of the weights. Needs ffmpeg.
"""

import json
import random
import subprocess
import sys
import tempfile
from pathlib import Path

VERSIONS = {
    "mp3 128 kbit/s": (["-b:a", "128k"], "mp3"),
    "vorbis 48 kbit/s": (["-c:a", "libvorbis", "-b:a", "48k"], "ogg"),
    "22.05 kHz": (["-ar", "22050"], "wav"),
    "-6 dB": (["-filter:a", "volume=-6dB"], "wav"),
    "without 1 s": (["-ss", "1"], "wav"),
    "without 2.5 s": (["-ss", "2.5"], "wav"),
    "without 5 s": (["-ss", "5"], "wav"),
}
AUDIO = {".ogg", ".mp3", ".flac", ".wav", ".opus"}


def encode(source, target, options):
    line = ["ffmpeg", "-v", "error", "-y", "-i", source, *options, "-map_metadata", "-1", "-ac", "2", target]
    subprocess.run([str(word) for word in line], check=True)


def duration(path):
    line = ["ffprobe", "-v", "error", "-show_entries", "format=duration", "-of", "csv=p=0", str(path)]
    found = subprocess.run(line, capture_output=True, text=True).stdout.strip()
    return float(found) if found not in ("", "N/A") else 0.0


def quantiles(values):
    values = sorted(values)
    at = lambda share: values[round(share * (len(values) - 1))]
    return "  ".join(f"{at(share):9.2e}" for share in (0, 0.05, 0.5, 0.95, 1))


def main():
    binaries, model, count, seconds = Path(sys.argv[1]), sys.argv[2], int(sys.argv[3]), float(sys.argv[4])
    files = sorted({path.resolve() for music in sys.argv[5:] for path in Path(music).rglob("*") if path.suffix in AUDIO})
    random.Random(15).shuffle(files)
    files = [path for path in files if duration(path) >= seconds][: 3 * count]
    with tempfile.TemporaryDirectory(prefix="search-versions.") as folder:
        folder = Path(folder)
        (folder / "music").mkdir()
        for number, path in enumerate(files):
            original = folder / "music" / f"{number}.wav"
            encode(path, original, ["-t", seconds])
            for name, (options, form) in VERSIONS.items() if number < count else ():
                encode(original, folder / "music" / f"{number} {name.replace('/', ' per ')}.{form}", options)
        catalogue = folder / "catalogue"

        def run(*arguments):
            line = [str(binaries / "mert-search"), *map(str, arguments)]
            return subprocess.run(line, check=True, capture_output=True, text=True).stdout

        run("add", catalogue, folder / "music", "--model", model)
        distances, others, lengths = {name: [] for name in VERSIONS}, [], {}
        for number in range(count):
            pure = ["--no-versions", "--per-artist", "0", "--per-album", "0", "--top", "100000", "--json"]
            answer = json.loads(run("query", catalogue, folder / "music" / f"{number}.wav", *pure))
            found = {Path(hit["file"]).name: 1 - hit["cosine"] for hit in answer["hits"]}
            for name, (_, form) in VERSIONS.items():
                distances[name].append(found[f"{number} {name.replace('/', ' per ')}.{form}"])
            others.append(min(distance for file, distance in found.items() if file.split(".")[0].split(" ")[0] != str(number)))
            lengths[number] = len(found)
        print(f"{count} of {len(files)} tracks of {seconds:g} s with {len(VERSIONS)} versions each; cosine distances:")
        print(f"{'':22}{'least':>9}  {'5%':>9}  {'median':>9}  {'95%':>9}  {'most':>9}")
        for name, values in distances.items():
            print(f"{name:22}{quantiles(values)}")
        print(f"{'nearest other':22}{quantiles(others)}")
        print("  distance: versions found, tracks with another recording that near")
        for limit in (0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05):
            right = {name: sum(value <= limit for value in values) for name, values in distances.items()}
            wrong = sum(value <= limit for value in others)
            print(f"  {limit:8}: {', '.join(f'{name} {value}' for name, value in right.items())}; {wrong} of {count}")


if __name__ == "__main__":
    if len(sys.argv) < 6:
        sys.exit(__doc__)
    main()

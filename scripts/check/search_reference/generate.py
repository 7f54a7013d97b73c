"""A generated catalogue: short tagged WAV files, and a table of vectors for them as mert-embed writes it."""

import json
import struct
import subprocess
import sys
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq

STATES, DIM = [1, 6, 9], 24


def id3(tags: dict[str, str]) -> bytes:
    """An ID3v2.4 tag: https://id3.org/id3v2.4.0-structure."""
    frames = b""
    for name, text in tags.items():
        body = b"\x03" + text.encode()
        size = bytes([len(body) >> 21 & 127, len(body) >> 14 & 127, len(body) >> 7 & 127, len(body) & 127])
        frames += name.encode() + size + b"\0\0" + body
    size = bytes([len(frames) >> 21 & 127, len(frames) >> 14 & 127, len(frames) >> 7 & 127, len(frames) & 127])
    return b"ID3\x04\0\0" + size + frames


def wav(path: Path, seconds: float, tags: dict[str, str]) -> None:
    """A WAV file of 8-bit noise at 8 kHz, with tags in a chunk of its own."""
    rate = 8000
    samples = (np.arange(int(seconds * rate)) * 37 % 251).astype(np.uint8).tobytes()
    samples += b"\x80" * (len(samples) % 2)

    def chunk(name: bytes, data: bytes) -> bytes:
        return name + struct.pack("<I", len(data)) + data + b"\0" * (len(data) % 2)

    data = chunk(b"fmt ", struct.pack("<HHIIHH", 1, 1, rate, rate, 1, 8)) + chunk(b"data", samples)
    data += chunk(b"id3 ", id3(tags)) if tags else b""
    path.write_bytes(b"RIFF" + struct.pack("<I", len(data) + 4) + b"WAVE" + data)


def music(folder: Path, tracks: int, random: np.random.Generator) -> list[Path]:
    """Files of tracks by about a tenth as many artists; some tags are missing."""
    paths = []
    for track in range(tracks):
        artist = track % (tracks // 10)
        path = folder / ["a", "b"][track % 2] / f"{track:03}.wav"
        path.parent.mkdir(parents=True, exist_ok=True)
        tags = {"TIT2": f"song {track}", "TALB": f"album {artist}.{track % 3}"}
        if track % 9 != 4:
            tags["TPE1"] = f"Artist {artist}"
        if track % 4 != 1:
            tags["TBPM"] = str(70 + random.integers(80))
        if track % 5 < 3:
            tags["TLAN"] = ["eng", "deu", "fra"][track % 3]
        tags["TCON"] = ["rock", "jazz", "folk"][artist % 3]
        wav(path, 3.0 + 0.25 * random.integers(12), tags)
        paths.append(path)
    return paths


def vectors(tracks: int, random: np.random.Generator) -> list[np.ndarray]:
    """For each track the vectors of two to five segments: a common mean, a direction for each artist, one for each track,
    and noise. A tenth of the tracks are nearly copies of others."""
    mean = 3.0 * random.standard_normal((len(STATES), DIM))
    artists = random.standard_normal((tracks // 10, len(STATES), DIM))
    songs = random.standard_normal((tracks, len(STATES), DIM))
    result = []
    for track in range(tracks):
        if track % 10 == 9:
            copied = result[track - 5]
            result.append((copied + 0.02 * random.standard_normal(copied.shape)).astype(np.float32))
            continue
        segments = 2 + track % 4
        noise = 0.8 * random.standard_normal((segments, len(STATES), DIM))
        result.append((mean + 0.7 * artists[track % (tracks // 10)] + 0.7 * songs[track] + noise).astype(np.float32))
    return result


def write_table(path: Path, files: list[Path], rows: list[np.ndarray]) -> None:
    """Writes a table as mert-embed writes it: docs/embed.md."""
    settings = {
        "generator": "mert-embed 0.1.0", "model_sha256": "ab" * 32, "license": None, "hidden_states": STATES,
        "pool": "mean", "normalize": "none", "window": "sliding:1s/1s", "tail": "align", "damaged": "refuse",
        "sample_rate": 24000, "do_normalize": True, "dim": DIM, "frame_hop": 320, "frame_length": 400,
        "arithmetic": "f32 on cpu",
    }
    counts = [len(segments) for segments in rows]
    windows = np.concatenate([np.arange(count) for count in counts])
    stats = [file.stat() for file in files]

    def repeated(values: list) -> list:
        return [value for value, count in zip(values, counts) for _ in range(count)]

    columns = {
        "file": pa.array(repeated([str(file) for file in files]), pa.string()),
        "file_size": pa.array(repeated([stat.st_size for stat in stats]), pa.uint64()),
        "file_modified": pa.array(repeated([stat.st_mtime_ns // 1000 for stat in stats]), pa.timestamp("us", "UTC")),
        "window": pa.array(windows, pa.uint32()),
        "start": pa.array(windows.astype(float), pa.float64()),
        "end": pa.array(windows + 1.0, pa.float64()),
        "model_sha256": pa.array(["ab" * 32] * len(windows), pa.string()),
    }
    all_rows = np.concatenate(rows)
    element = pa.field("element", pa.float32(), nullable=False)
    for index, state in enumerate(STATES):
        values = pa.array(all_rows[:, index].reshape(-1), pa.float32())
        columns[f"hidden_state_{state}"] = pa.FixedSizeListArray.from_arrays(values, type=pa.list_(element, DIM))
    optional = ("file_size", "file_modified")
    schema = pa.schema([pa.field(name, values.type, nullable=name in optional) for name, values in columns.items()])
    schema = schema.with_metadata({"provenance": json.dumps(settings), "model_sha256": "ab" * 32})
    pq.write_table(pa.table(list(columns.values()), schema=schema), path, compression="none")


def catalogue(mert_search: Path, folder: Path, tracks: int, seed: int) -> Path:
    """A catalogue of generated vectors in `folder`."""
    random = np.random.default_rng(seed)
    files = music(folder / "music", tracks, random)
    write_table(folder / "rows.parquet", files, vectors(tracks, random))
    result = folder / "catalogue"
    command = [mert_search, "add", result, folder / "rows.parquet", "--no-loudness", "--quiet"]
    added = subprocess.run(command, capture_output=True, text=True)
    if added.returncode != 0:
        sys.exit(f"mert-search add: {added.stderr}")
    return result

#!/usr/bin/env python3
"""Writes fixtures/audio-formats/: a fraction of a second in every container and codec, and what FFmpeg makes of it.

    python scripts/make-format-fixtures.py [--fixtures fixtures]

The signal is synthetic, drawn from a seed, every channel on its own. `reference.npz` has of every file
that is read, under its name, the mean of the channels that FFmpeg decodes (float32); Opus is decoded by
libopus, because FFmpeg's own decoder differs from it where SILK is used. Files whose names begin with
`unread-` are refused by name. Needs numpy, soundfile, and an ffmpeg with libopus, libvorbis and
libmp3lame; the files here were written by FFmpeg 5.1.
"""

import argparse
import hashlib
import subprocess
import tempfile
from pathlib import Path

import numpy as np
import soundfile

# Name: rate, channels, seconds, options of the encoder.
FILES = {
    "opus-stereo.opus": (48000, 2, 0.15, "-c:a libopus -b:a 64k"),
    "opus-silk-mono.opus": (48000, 1, 0.15, "-c:a libopus -b:a 12k -application voip"),
    "opus-5.1.opus": (48000, 6, 0.15, "-c:a libopus -b:a 160k"),
    "opus.webm": (48000, 2, 0.15, "-c:a libopus -b:a 64k"),
    "opus.mp4": (48000, 2, 0.15, "-c:a libopus -b:a 64k"),
    "vorbis-5.1.ogg": (16000, 6, 0.5, "-c:a libvorbis -q:a 2"),
    "vorbis-5.1.webm": (16000, 6, 0.5, "-c:a libvorbis -q:a 2"),
    "vorbis.webm": (16000, 2, 0.5, "-c:a libvorbis -q:a 2"),
    "flac.oga": (8000, 2, 0.25, "-c:a flac -f ogg"),
    "flac.mka": (8000, 2, 0.25, "-c:a flac"),
    "aac.mka": (16000, 2, 0.5, "-c:a aac -b:a 48k"),
    "mp3.mka": (32000, 2, 0.4, "-c:a libmp3lame -b:a 48k"),
    "pcm-24.mka": (8000, 2, 0.25, "-c:a pcm_s24le"),
    "alac.caf": (8000, 2, 0.25, "-c:a alac -sample_fmt s16p"),
    "pcm-24.caf": (8000, 2, 0.25, "-c:a pcm_s24be"),
    "mulaw.caf": (8000, 2, 0.25, "-c:a pcm_mulaw"),
    "pcm-16.au": (8000, 2, 0.25, "-c:a pcm_s16be"),
    "float.au": (8000, 2, 0.25, "-c:a pcm_f32be"),
    "alaw.au": (8000, 2, 0.25, "-c:a pcm_alaw"),
    "mpeg-1.mp2": (32000, 2, 0.3, "-c:a mp2 -b:a 64k"),
    "adpcm-ms.wav": (8000, 2, 0.5, "-c:a adpcm_ms"),
    "adpcm-ima.wav": (8000, 2, 0.5, "-c:a adpcm_ima_wav"),
    "mp3.wav": (32000, 2, 0.4, "-c:a libmp3lame -b:a 48k"),
    "aac.mov": (16000, 2, 0.512, "-c:a aac -b:a 48k"),
    "pcm-24-big-endian.mov": (8000, 2, 0.25, "-c:a pcm_s24be"),
    "pcm-24-little-endian.mov": (8000, 2, 0.25, "-c:a pcm_s24le"),
    "float-big-endian.mov": (8000, 2, 0.25, "-c:a pcm_f32be"),
    "unread-aac-5.1.m4a": (16000, 6, 0.2, "-c:a aac -b:a 96k"),
    "unread-alac.mov": (8000, 2, 0.1, "-c:a alac -sample_fmt s16p"),
    "unread-ima4.caf": (8000, 2, 0.1, "-c:a adpcm_ima_qt"),
    "unread-wma.wma": (16000, 2, 0.2, "-c:a wmav2 -b:a 48k"),
    "unread-ac3.ac3": (32000, 2, 0.3, "-c:a ac3 -b:a 64k"),
    "unread-tta.tta": (8000, 2, 0.1, "-c:a tta"),
    "unread-wavpack.wv": (8000, 2, 0.1, "-c:a wavpack"),
}
LIMIT = 800_000


def signal(name, rate, channels, seconds):
    """(samples, channels), float64, within ±0.6."""
    time = np.arange(round(rate * seconds)) / rate
    rng = np.random.default_rng(sum(name.encode()))
    parts = []
    for _ in range(channels):
        tones = sum(
            np.sin(2 * np.pi * frequency * time + rng.uniform(0, 6)) / (1 + i)
            for i, frequency in enumerate(rng.uniform(100, 0.35 * rate, 5))
        )
        parts.append(0.2 * tones + 0.01 * rng.standard_normal(len(time)))
    return np.stack(parts, axis=1)


def ffmpeg(*arguments):
    command = ["ffmpeg", "-hide_banner", "-loglevel", "error", "-nostdin", *map(str, arguments)]
    return subprocess.run(command, capture_output=True, check=True).stdout


def ffmpeg_version():
    output = subprocess.run(["ffmpeg", "-version"], capture_output=True, check=True, text=True).stdout
    return output.split()[2]


def write(path, rate, channels, seconds, options):
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "source.wav"
        soundfile.write(source, signal(path.name, rate, channels, seconds), rate, "PCM_16", format="WAVEX")
        exact = ["-map_metadata", "-1", "-threads", 1, "-bitexact", "-fflags", "+bitexact"]
        ffmpeg("-i", source, *options.split(), *exact, "-y", path)


def decode(path, channels):
    decoder = ["-c:a", "libopus"] if path.name.startswith("opus") else []
    raw = ffmpeg(*decoder, "-i", path, "-map", "0:a:0", "-f", "f32le", "-c:a", "pcm_f32le", "-")
    return np.frombuffer(raw, "<f4").reshape(-1, channels).mean(axis=1)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--fixtures", type=Path, default=root / "fixtures")
    folder = parser.parse_args().fixtures / "audio-formats"
    folder.mkdir(parents=True, exist_ok=True)
    reference = {}
    for name, (rate, channels, seconds, options) in FILES.items():
        path = folder / name
        write(path, rate, channels, seconds, options)
        if not name.startswith("unread-"):
            samples = decode(path, channels)
            # FFmpeg 5.1 leaves out what an edit list does at the start, not what it does at the end.
            reference[name] = samples[: round(rate * seconds)] if path.suffix == ".mp4" else samples
        print(f"{name}: {path.stat().st_size:,} bytes, {len(reference.get(name, []))} samples")
    np.savez_compressed(folder / "reference.npz", **reference)
    version = ffmpeg_version()
    lines = [f"Written by `scripts/make-format-fixtures.py` with FFmpeg {version}; the signals are drawn from the names.", ""]
    for path in sorted(folder.iterdir()):
        if path.name != "README.md":
            lines.append(f"- {path.name}: {hashlib.sha256(path.read_bytes()).hexdigest()}")
    (folder / "README.md").write_text("\n".join(lines) + "\n")
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {size:,} bytes in all")
    assert size < LIMIT


if __name__ == "__main__":
    main()

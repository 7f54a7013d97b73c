#!/usr/bin/env python3
"""Embeds the same music with mert-embed and with a Python pipeline, turn by turn.

    scripts/bench/embed.py [--tracks 12] [--track-seconds 60] [--runs 3] [--layer 6] [--window 30] [--checkpoint DIR]

The tracks are generated, 44.1 kHz stereo, a sixth of them each in WAV, FLAC, MP3, OGG, AAC and ALAC. Each is cut into
windows, each window becomes the mean of one hidden state:

  mert-embed          the whole command, from its start to the written file
  without decoding    the same, on the same windows as 24 kHz WAV of floats
  model alone         the forward pass of `mert-verify bench` times the number of windows
  Python              soundfile or ffmpeg, soxr, Wav2Vec2FeatureExtractor and HubertModel (its layers above the wanted
                      one taken off), one track after another; from the first file to the last embedding, without the
                      start and the loading of the model

Before anything is timed the embeddings of both are compared. The Python environment is made on the first call and kept;
on Linux the torch of PyPI brings CUDA with it, so this takes about 6 GB. Run it on an idle machine.

Exit status: 0 done, 1 the two do not compute the same, 2 anything else.
"""

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import ROOT, TARGET, Failed, make_venv, run, say  # noqa: E402

PINS = [
    "torch==2.13.0",
    "transformers==5.23.0",
    "numpy==2.4.6",
    "soundfile==0.14.0",
    "soxr==1.1.0",
    "imageio-ffmpeg==0.8.1",
]
RATE = 24_000
FORMATS = ["wav", "flac", "mp3", "ogg", "aac.m4a", "alac.m4a"]
# The difference between two resamplers; a wrong window or a shift by a sample makes a hundred times as much.
AGREEMENT = 1e-5


# --- inside the environment -----------------------------------------------------------------------


def make_tracks(folder, count, seconds):
    """Samples of chords that change, with decaying harmonics and noise, so that the decoders work as on music."""
    import imageio_ffmpeg
    import numpy as np
    import soundfile

    rate = 44_100
    time_ = np.arange(int(seconds * rate)) / rate
    for index in range(count):
        random = np.random.default_rng(index)
        channels = []
        for _ in range(2):
            track = 0.01 * random.standard_normal(time_.size)
            for start in np.arange(0, seconds, 0.5):
                since = time_ - start
                note = (since >= 0) & (since < 2)
                for harmonic in range(1, 9):
                    hertz = 110 * 2 ** (random.integers(0, 36) / 12) * harmonic
                    if hertz < 18_000:
                        decay = np.exp(-since[note] * harmonic)
                        track[note] += 0.2 / harmonic * decay * np.sin(2 * np.pi * hertz * since[note])
            channels.append(track)
        samples = 0.5 * np.stack(channels, 1) / np.abs(channels).max()
        kind = FORMATS[index % len(FORMATS)]
        path = folder / f"{index:02}.{kind}"
        if kind.endswith("m4a"):
            codec = ["-c:a", "aac", "-b:a", "192k"] if kind.startswith("aac") else ["-c:a", "alac"]
            wav = folder / "raw.wav"
            soundfile.write(wav, samples, rate, subtype="PCM_16")
            ffmpeg = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-y", "-i", wav, *codec, path]
            subprocess.run(ffmpeg, check=True)
            wav.unlink()
        else:
            # In blocks: libsndfile's Vorbis encoder overflows the stack on a minute at once.
            with soundfile.SoundFile(path, "w", rate, 2) as file:
                for start in range(0, len(samples), rate):
                    file.write(samples[start : start + rate])


def decode(path):
    """The mono samples of a file, at RATE."""
    import imageio_ffmpeg
    import numpy as np
    import soundfile
    import soxr

    if path.suffix == ".m4a":
        command = [imageio_ffmpeg.get_ffmpeg_exe(), "-v", "error", "-i", path, "-f", "f32le", "-"]
        output = subprocess.run(command, check=True, capture_output=True).stdout
        samples, rate = np.frombuffer(output, "<f4").reshape(-1, 2), 44_100
    else:
        samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    samples = samples.mean(1)
    return samples if rate == RATE else soxr.resample(samples, rate, RATE, quality="HQ")


def windows_of(samples, length):
    return [samples[start : start + length] for start in range(0, samples.size - length + 1, length)]


def embed_all(folder, checkpoint, layer, length, threads, write):
    """The Python pipeline: one run, and its seconds printed, for each line of standard input."""
    import numpy as np
    import soundfile
    import torch
    from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

    torch.set_num_threads(threads)
    values = json.loads((checkpoint / "config.json").read_text())
    known = HubertConfig().to_dict()
    config = HubertConfig(**{key: value for key, value in values.items() if key in known and key != "model_type"})
    model = HubertModel(config)
    state = torch.load(checkpoint / "pytorch_model.bin", weights_only=True)
    # The names of weight norm changed; a wrongly loaded weight shows in the comparison.
    rename = {"weight_g": "parametrizations.weight.original0", "weight_v": "parametrizations.weight.original1"}
    for old, new in rename.items():
        name = f"encoder.pos_conv_embed.conv.{old}"
        if name in state:
            state[f"encoder.pos_conv_embed.conv.{new}"] = state.pop(name)
    model.load_state_dict(state, strict=False)
    model.encoder.layers = model.encoder.layers[:layer]
    model.eval()
    extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True)
    tracks = sorted(path for path in folder.iterdir() if path.is_file())
    if write:
        (folder / "windows").mkdir(exist_ok=True)
        for track in tracks:
            for index, window in enumerate(windows_of(decode(track), length)):
                soundfile.write(folder / "windows" / f"{track.name}.{index:03}.wav", window, RATE, subtype="FLOAT")
    print("ready", flush=True)
    for _ in sys.stdin:
        started, embeddings = time.perf_counter(), []
        with torch.inference_mode():
            for track in tracks:
                for window in windows_of(decode(track), length):
                    inputs = extractor(window, sampling_rate=RATE, return_tensors="pt").input_values
                    embeddings.append(model(inputs).last_hidden_state[0].mean(0).numpy())
        seconds = time.perf_counter() - started
        np.save(folder.parent / "python.npy", np.stack(embeddings))
        print(seconds, flush=True)


def compare(folder):
    import numpy as np

    ours, python = (np.load(folder / name).astype(float) for name in ["ours.npy", "python.npy"])
    if ours.shape != python.shape:
        raise Failed(f"{ours.shape} embeddings of mert-embed, {python.shape} of Python")
    cosine = (ours * python).sum(1) / np.linalg.norm(ours, axis=1) / np.linalg.norm(python, axis=1)
    print(1 - cosine.min())


# --- outside --------------------------------------------------------------------------------------


def parse():
    about, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--tracks", type=int, default=12)
    parser.add_argument("--track-seconds", type=int, default=60)
    parser.add_argument("--window", type=int, default=30, metavar="SECONDS")
    parser.add_argument("--layer", type=int, default=6)
    parser.add_argument("--runs", type=int, default=3)
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument(
        "--checkpoint", type=Path, help="config.json and pytorch_model.bin; default: mert-test-model's full-size model"
    )
    parser.add_argument("--python", type=Path, help="an interpreter that has what is needed, instead of our own")
    parser.add_argument("--inside", help=argparse.SUPPRESS)
    parser.add_argument("--folder", type=Path, default=TARGET / "bench-embed", help=argparse.SUPPRESS)
    return parser.parse_args()


def main():
    args = parse()
    folder = args.folder
    tracks, length = folder / "tracks", args.window * RATE
    if args.inside == "tracks":
        return make_tracks(tracks, args.tracks, args.track_seconds)
    if args.inside == "embed":
        return embed_all(tracks, args.checkpoint, args.layer, length, args.threads, write=True)
    if args.inside == "compare":
        return compare(folder)

    folder.mkdir(parents=True, exist_ok=True)
    python = args.python or make_venv(folder / "venv", PINS)
    run("cargo", "build", "--release", "-p", "mert-cli", "--bins", cwd=ROOT)
    binaries = TARGET / "release"
    checkpoint = args.checkpoint
    if checkpoint is None:
        checkpoint = folder / "checkpoint"
        if not (checkpoint / "pytorch_model.bin").is_file():
            checkpoint.mkdir(exist_ok=True)
            run(binaries / "mert-test-model", checkpoint, "--force")
    model = folder / "model.safetensors"
    run(binaries / "mert-convert", checkpoint / "pytorch_model.bin", model, "--dtype", "f32", "--force", "--quiet")

    subprocess.run(["rm", "-rf", tracks], check=True)
    tracks.mkdir()
    inside = [python, __file__, "--folder", folder, "--tracks", args.tracks, "--track-seconds", args.track_seconds]
    inside += ["--window", args.window, "--layer", args.layer, "--threads", args.threads, "--checkpoint", checkpoint]
    inside = [str(part) for part in inside]
    run(*inside, "--inside", "tracks")
    pipeline = subprocess.Popen(
        [*inside, "--inside", "embed"], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )
    if pipeline.stdout.readline().strip() != "ready":
        raise Failed("the Python pipeline did not start")

    def with_python():
        pipeline.stdin.write("go\n")
        pipeline.stdin.flush()
        return float(pipeline.stdout.readline())

    threads = {**os.environ, "RAYON_NUM_THREADS": str(args.threads)}

    def ours(inputs, output, window):
        started = time.perf_counter()
        options = ["--layers", args.layer, "--window", window, "--tail", "drop", "--force", "--quiet", "-o", output]
        run(binaries / "mert-embed", model, *inputs, *options, env=threads)
        return time.perf_counter() - started

    files = sorted(path for path in tracks.iterdir() if path.is_file())
    windows = sorted((tracks / "windows").iterdir())

    def model_alone():
        command = [binaries / "mert-verify", "bench", model, "--layers", args.layer, "--seconds", args.window]
        command += ["--threads", args.threads, "--runs", "5", "--json"]
        (row,) = json.loads(run(*command, stdout=subprocess.PIPE).stdout)["rows"]
        return row["median"] * len(windows)

    sliding = f"sliding:{args.window}s/{args.window}s"
    engines = {
        "mert-embed": lambda: ours(files, folder / "ours.npy", sliding),
        "without decoding": lambda: ours(windows, folder / "windows.npy", "whole"),
        "model alone": model_alone,
        "Python": with_python,
    }
    for name in ["mert-embed", "Python"]:
        engines[name]()
    distance = float(run(*inside, "--inside", "compare", stdout=subprocess.PIPE, text=True).stdout)
    say(f"bench/embed: pooled cosine 1 - {distance:.1e} at worst")
    if not distance <= AGREEMENT:
        return 1
    seconds = {name: [] for name in engines}
    for turn in range(args.runs):
        for name, engine in engines.items():
            seconds[name].append(engine())
            say(f"  {turn + 1}/{args.runs} {name}: {seconds[name][-1]:.2f} s")
    pipeline.stdin.close()

    alone = statistics.median(seconds["model alone"])
    sound = args.tracks * args.track_seconds
    print(f"{args.tracks} tracks of {args.track_seconds} s, {len(windows)} windows of {args.window} s, hidden state")
    print(f"{args.layer}, {args.threads} threads, {platform.machine()}; medians of {args.runs} interleaved runs\n")
    print("| | seconds | × real time | against the model alone |")
    print("|---|---|---|---|")
    for name, values in seconds.items():
        median = statistics.median(values)
        print(f"| {name} | {median:.2f} | {sound / median:.1f} | {median / alone:.3f} |")
    return 0


if __name__ == "__main__":
    try:
        sys.exit(main())
    except Failed as failure:
        say(f"bench/embed: {failure}")
        sys.exit(2)

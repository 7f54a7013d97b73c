#!/usr/bin/env python3
"""Embeds folders of music and compares every window with a Python pipeline.

    scripts/check/game_music.py FOLDER... --checkpoint FOLDER [--bin target/release] [--seconds N]

Meant for music that others made, such as that of Debian's games:

    apt-get download wesnoth-1.16-music nexuiz-music drascula-music singularity-music \\
        planetblupi-music-ogg hyperrogue-music asc-music
    for package in *.deb; do dpkg -x "$package" "music/${package%%_*}"; done

Each track is embedded by `mert-embed --layers all --window sliding:1s/1s`, with the checkpoint (a
folder with pytorch_model.bin and config.json of 24 kHz) converted to f32. The reference decodes with
libsndfile, and with FFmpeg what libsndfile does not read or decodes to something else (of some MP3
the two differ by 1e-2), takes the mean of the channels, resamples with soxr's HQ, normalises with
transformers' Wav2Vec2FeatureExtractor and runs HubertModel in f32. Every window is compared, from the
first sample on: 1 - cosine of the means over time, the worst of all hidden states. Tracks in archives (.zip, .pk3)
are unpacked into a temporary folder.

- A window that mert-embed leaves out as silent must be of one value in the reference, too.
- Windows quieter than --quiet (their largest deviation from the mean) are counted apart: both sides
  round in the 24th bit of the loudest sample, which normalising makes as loud as the music.
- Tracks shorter than the model takes are counted apart, if mert-embed says so.
- Tracks that mert-embed refuses otherwise, and those that the reference cannot read, count as failures.
- --seconds N compares the first N seconds and the last 5 of each track only.

Prints a table of packages. Exit status: 0 all windows within 1e-5, 1 not so, 2 it could not be
checked. The Python environment is made on the first call and kept in target/.
"""

import argparse
import json
import os
import subprocess
import sys
import tempfile
import traceback
import zipfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import TARGET, Failed, make_venv, run, say  # noqa: E402

PINS = [
    "numpy==2.4.6",
    "soundfile==0.14.0",
    "soxr==1.1.0",
    "torch==2.13.0",
    "transformers==5.23.0",
]
INSIDE = "MERT_CHECK_GAME_MUSIC_INSIDE"
LIMIT = 1e-5
RATE = 24000
EXTENSIONS = {".aac", ".aif", ".aiff", ".flac", ".m4a", ".mp3", ".oga", ".ogg", ".opus", ".wav"}
ARCHIVES = {".pk3", ".zip"}
BATCH = 64
LAST = 5
# The fewest samples that the model accepts.
SHORTEST = 400


def parse():
    about, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("folders", nargs="+", type=Path, metavar="FOLDER", help="music")
    parser.add_argument("--checkpoint", type=Path, required=True, metavar="FOLDER")
    parser.add_argument("--bin", type=Path, default=TARGET / "release", help="of mert-embed and mert-convert")
    parser.add_argument("--seconds", type=int, help="the first so many seconds of each track; default: all")
    parser.add_argument("--quiet", type=float, default=1e-4, help="default 1e-4, that is -80 dB")
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every track's figures")
    where = parser.add_mutually_exclusive_group()
    where.add_argument("--python", type=Path, help="an interpreter that has the packages")
    where.add_argument("--venv", type=Path, default=TARGET / "check-game-music")
    return parser.parse_args()


# --- the reference --------------------------------------------------------------------------------


def ffmpeg(path):
    import numpy as np

    probe = ["ffprobe", "-v", "error", "-select_streams", "a:0", "-of", "json"]
    probe += ["-show_entries", "stream=sample_rate,channels", str(path)]
    (stream,) = json.loads(subprocess.run(probe, capture_output=True, check=True).stdout)["streams"]
    command = ["ffmpeg", "-nostdin", "-v", "quiet", "-i", str(path), "-map", "0:a:0"]
    command += ["-f", "f32le", "-c:a", "pcm_f32le", "-"]
    raw = subprocess.run(command, capture_output=True, check=True).stdout
    return np.frombuffer(raw, "<f4").reshape(-1, stream["channels"]), int(stream["sample_rate"])


def libsndfile(path):
    import soundfile

    return soundfile.read(path, dtype="float32", always_2d=True)


def decode(path, decoder):
    import soxr

    samples, rate = decoder(path)
    mono = samples.mean(axis=1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE, quality="HQ")


class Reference:
    def __init__(self, folder):
        import torch
        import transformers
        from transformers import HubertConfig, HubertModel, Wav2Vec2FeatureExtractor

        transformers.logging.set_verbosity_error()
        config = json.loads((folder / "config.json").read_text())
        config = {k: v for k, v in config.items() if k not in ("architectures", "model_type", "auto_map")}
        config = HubertConfig(**config)
        config._attn_implementation = "eager"
        self.model = HubertModel(config).eval()
        state = torch.load(folder / "pytorch_model.bin", map_location="cpu", weights_only=True)
        for old, new in (("weight_g", "original0"), ("weight_v", "original1")):
            new = f"conv.parametrizations.weight.{new}"
            state = {name.replace(f"conv.{old}", new): tensor for name, tensor in state.items()}
        missing = self.model.load_state_dict(state, strict=False).missing_keys
        missing = [name for name in missing if name != "masked_spec_embed"]
        if missing:
            raise Failed(f"{folder} lacks {', '.join(missing)}")
        self.extractor = Wav2Vec2FeatureExtractor(sampling_rate=RATE, do_normalize=True)

    def embed(self, windows):
        """Embeddings of windows of one length, (windows, layers + 1, width)."""
        import numpy as np
        import torch

        values = self.extractor(windows, sampling_rate=RATE, return_tensors="pt").input_values
        with torch.inference_mode():
            states = self.model(values, output_hidden_states=True).hidden_states
        return np.stack([state.mean(dim=1).numpy() for state in states], axis=1).astype(np.float64)


# --- one track ------------------------------------------------------------------------------------


def ours(arguments, model, path, work):
    """The starts in seconds and the embeddings of the windows of mert-embed, or None and its message."""
    import numpy as np

    out = work / "out.npz"
    out.unlink(missing_ok=True)
    command = [arguments.bin / "mert-embed", model, path, "-o", out, "--force"]
    command += ["--layers", "all", "--window", "sliding:1s/1s"]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0 or not out.is_file():
        return None, (result.stderr.strip() or f"exit status {result.returncode}").splitlines()[0]
    with np.load(out) as arrays:
        return arrays["start"], arrays["embeddings"].astype(np.float64)


def compare(arguments, reference, model, path, work):
    """The figures of a track beside the decoder that it agrees with, or else beside libsndfile."""
    starts, found = ours(arguments, model, path, work)
    first = None
    for decoder in (libsndfile, ffmpeg):
        try:
            samples = decode(path, decoder)
        except Exception as error:
            figures = {"failed": f"{decoder.__name__} cannot read it: {error}"}
        else:
            figures = compare_samples(arguments, reference, starts, found, samples)
        figures["decoder"] = decoder.__name__
        if "failed" not in figures and ("short" in figures or figures["worst"] <= LIMIT):
            return figures
        first = first or figures
    return first


def compare_samples(arguments, reference, starts, found, samples):
    """The figures of a track: windows, worst and where; quiet and silent windows; or why there are none."""
    import numpy as np

    if starts is None:
        return {"short": True} if len(samples) < SHORTEST else {"failed": found}
    starts = np.rint(np.asarray(starts) * RATE).astype(int)
    length = min(RATE, len(samples))
    expected = list(range(0, len(samples) - length + 1, RATE))
    if expected and expected[-1] + length < len(samples):
        expected.append(len(samples) - length)
    where = {int(start): index for index, start in enumerate(starts)}
    extra = sorted(set(where) - set(expected))
    if extra:
        return {"failed": f"a window at {extra[0] / RATE:.2f} s, where the reference has none of {len(samples)} samples"}
    if arguments.seconds is not None:
        end = len(samples) - LAST * RATE
        expected = [start for start in expected if start < arguments.seconds * RATE or start >= end]
    silent = [start for start in expected if start not in where]
    for start in silent:
        window = samples[start : start + length]
        if np.abs(window - window[0]).max() > 0:
            return {"failed": f"the window at {start / RATE:.2f} s was left out, and is not silent"}
    figures = {"windows": 0, "worst": 0.0, "at": 0.0, "quiet": 0, "quiet_worst": 0.0, "silent": len(silent)}
    heard = [start for start in expected if start in where]
    for first in range(0, len(heard), BATCH):
        batch = heard[first : first + BATCH]
        windows = [samples[start : start + length] for start in batch]
        theirs, mine = reference.embed(windows), found[[where[start] for start in batch]]
        product = (theirs * mine).sum(-1)
        norms = np.sqrt((theirs**2).sum(-1) * (mine**2).sum(-1))
        off = (1 - product / norms).max(axis=1)
        for start, window, value in zip(batch, windows, off, strict=True):
            if np.abs(window - window.mean()).max() < arguments.quiet:
                figures["quiet"] += 1
                figures["quiet_worst"] = max(figures["quiet_worst"], float(value))
                continue
            figures["windows"] += 1
            # NaN counts as the worst.
            if not value <= figures["worst"]:
                figures |= {"worst": float(value), "at": start / RATE}
    return figures


# --- all of it ------------------------------------------------------------------------------------


def tracks(folder, work):
    """Names and files of the music in a folder, and in archives within it."""
    for path in sorted(folder.rglob("*")):
        if path.suffix.lower() in EXTENSIONS and path.is_file():
            yield str(path.relative_to(folder)), path
        elif path.suffix.lower() in ARCHIVES and zipfile.is_zipfile(path):
            with zipfile.ZipFile(path) as archive:
                for name in sorted(archive.namelist()):
                    if Path(name).suffix.lower() in EXTENSIONS:
                        file = work / f"track{Path(name).suffix.lower()}"
                        file.write_bytes(archive.read(name))
                        yield f"{path.relative_to(folder)}/{name}", file


def check(arguments):
    reference = Reference(arguments.checkpoint)
    document, good = [], True
    print("| folder | tracks | as FFmpeg only | too short | windows | worst 1 − cos | where | quiet (worst) | silent |")
    print("|---|---|---|---|---|---|---|---|---|", flush=True)
    with tempfile.TemporaryDirectory(prefix="game_music-") as folder:
        work = Path(folder)
        model = work / "model.safetensors"
        convert = [arguments.bin / "mert-convert", arguments.checkpoint / "pytorch_model.bin", model]
        run(*convert, "--dtype", "f32")
        for music in arguments.folders:
            rows = []
            for name, path in tracks(music, work):
                figures = compare(arguments, reference, model, path, work)
                if "failed" in figures:
                    say(f"{music.name}/{name}: {figures['failed']}")
                elif "short" not in figures and not figures["worst"] <= LIMIT:
                    say(f"{music.name}/{name}: 1 - cos {figures['worst']:.1e} at {figures['at']:.2f} s")
                rows.append({"folder": music.name, "track": name} | figures)
            if not rows:
                raise Failed(f"no music in {music}")
            short = sum("short" in row for row in rows)
            rows = [row for row in rows if "short" not in row]
            done = [row for row in rows if "failed" not in row]
            document += rows
            good &= len(done) == len(rows) and all(row["worst"] <= LIMIT for row in done)
            worst = max(done, key=lambda row: row["worst"], default=None)
            total = {key: sum(row[key] for row in done) for key in ("windows", "quiet", "silent")}
            by_ffmpeg = sum(row["decoder"] == "ffmpeg" for row in done)
            quiet = max((row["quiet_worst"] for row in done), default=0.0)
            where = f"{worst['worst']:.1e} | {worst['track']} at {worst['at']:.0f} s" if worst else "– | –"
            print(
                f"| {music.name} | {len(done)} of {len(rows)} | {by_ffmpeg} | {short} | {total['windows']} | {where} "
                f"| {total['quiet']} ({quiet:.1e}) | {total['silent']} |",
                flush=True,
            )
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")
    return 0 if good else 1


def main():
    arguments = parse()
    # Run again with the interpreter that has the packages.
    if INSIDE not in os.environ:
        python = arguments.python or make_venv(arguments.venv, PINS)
        os.execve(python, [str(python), *sys.argv], os.environ | {INSIDE: "1"})
    return check(arguments)


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        say(f"check/game_music: {error}")
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(2)

#!/usr/bin/env python3
"""Measures mert-audio's resampler beside soxr and torchaudio, with sine tones, and prints a Markdown table.

    scripts/check/resampler.py [--pairs 44100:24000,...] [--runs 5] [--json FILE]

All of them get the same float32 samples; ours reads them from a WAV file, by way of its example
program `decode FILE RATE OUT.f32`, or of any program with these arguments (--command). Each tone is
fitted to the output in float64, as if output sample k were at k / rate seconds. The columns:

- passband: the largest deviation in dB of tones from 20 Hz to 0.9 of the lower Nyquist frequency;
- timing: the largest error in their place in time, in output samples;
- noise: the loudest of what is left when the tone is taken away, in dB of the tone;
- -3 dB: the frequency with that level, in units of the lower Nyquist frequency;
- stop band: the loudest of what comes out in dB of the tone, of tones from 1.05 of the lower Nyquist
  frequency to the source's. There are none if the rate goes up: then it is as `noise`, of tones up
  to 0.95, whose images are above 1.05;
- ms: time for a second of audio, on one thread: a long input less a short one, so that starting and
  computing the filter do not count. Ours decodes the WAV file and writes a file in this time.

The Python environment is made on the first call and kept in target/; on Linux the torch of PyPI
brings CUDA with it, so this takes about 6 GB. Exit status: 0 measured, 2 it could not be measured.
"""

import argparse
import json
import os
import shlex
import statistics
import struct
import subprocess
import sys
import tempfile
import time
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import ROOT, TARGET, Failed, make_venv, run, say  # noqa: E402

PINS = ["numpy==2.4.6", "soxr==1.1.0", "torch==2.13.0", "torchaudio==2.11.0"]
INSIDE = "MERT_CHECK_RESAMPLER_INSIDE"
PAIRS = "44100:24000,48000:24000,96000:24000,16000:24000,22050:24000,44100:16000"
OURS = "mert-audio"
# What librosa calls kaiser_best.
KAISER_BEST = {
    "resampling_method": "sinc_interp_kaiser",
    "lowpass_filter_width": 64,
    "rolloff": 0.9475937167399596,
    "beta": 14.769656459379492,
}
# Seconds of silence, of fading in, of the part that is measured, and of the tone around that.
GAP, FADE, INNER, TONE = 0.1, 0.1, 0.3, 0.5
SEGMENT = GAP + FADE + TONE + FADE
LEVEL = 0.5
SHORT, LONG = 10, 70


def parse():
    def pairs(text):
        return [tuple(int(rate) for rate in pair.split(":")) for pair in text.split(",")]

    about, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--pairs", type=pairs, default=pairs(PAIRS), help=f"default: {PAIRS}")
    parser.add_argument(
        "--runs", type=int, default=5, help="rounds that are timed, default 5; 0 for none"
    )
    parser.add_argument(
        "--command", help="the program in place of ours; default: the example, which is built"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write every tone's figures")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--venv", type=Path, default=TARGET / "venv-check-resampler", metavar="DIR", help="kept there"
    )
    where.add_argument(
        "--python", type=Path, metavar="FILE", help="this interpreter, as it is, instead"
    )
    return parser.parse_args()


# --- resamplers -----------------------------------------------------------------------------------


def write_wav(path, samples, rate):
    """Writes mono float32 samples to a WAV file."""
    data = samples.astype("<f4").tobytes()
    with path.open("wb") as file:
        file.write(b"RIFF" + struct.pack("<I", 50 + len(data)) + b"WAVE")
        file.write(b"fmt " + struct.pack("<IHHIIHHH", 18, 3, 1, rate, 4 * rate, 4, 32, 0))
        file.write(b"fact" + struct.pack("<II", 4, len(samples)))
        file.write(b"data" + struct.pack("<I", len(data)) + data)


def resamplers(command, work):
    """Resamplers by name: functions of samples, their rate, the target rate and the WAV file they are in."""
    import numpy as np
    import soxr
    import torch
    from torchaudio.functional import resample

    torch.set_num_threads(1)

    def ours(samples, rate, to, wav):
        output = work / "output.f32"
        said = subprocess.run([*command, wav, str(to), output], capture_output=True, text=True)
        if said.returncode != 0:
            raise Failed(f"{shlex.join(command)}: {said.stderr.strip()}")
        return np.fromfile(output, "<f4")

    def soxr_of(quality):
        return lambda samples, rate, to, _: soxr.resample(samples, rate, to, quality=quality)

    def torchaudio_of(options):
        def run_torchaudio(samples, rate, to, _):
            with torch.inference_mode():
                return resample(torch.from_numpy(samples), rate, to, **options).numpy()

        return run_torchaudio

    return {
        OURS: ours,
        "soxr HQ": soxr_of("HQ"),
        "soxr VHQ": soxr_of("VHQ"),
        "torchaudio": torchaudio_of({}),
        "torchaudio, Kaiser best": torchaudio_of(KAISER_BEST),
    }


# --- tones ----------------------------------------------------------------------------------------


def frequencies(rate, to):
    """Frequencies in the passband, around -3 dB and in the stop band, in units of the lower Nyquist frequency."""
    import numpy as np

    nyquist = min(rate, to) / 2
    top = 0.999 * rate / 2 / nyquist
    # 1 itself is left out: a tone's level depends on its phase there.
    fall = np.concatenate([np.linspace(0.9, 0.996, 25), np.linspace(1.004, 1.048, 12)])
    return {
        "pass": np.concatenate([np.geomspace(20 / nyquist, 0.85, 23), [0.87, 0.885, 0.9]]),
        "fall": fall[fall < top],
        "stop": np.geomspace(1.05, top, 16) if top > 1.05 else np.linspace(0.5, 0.95, 10),
    }


def tones(hertz, rate):
    """Tones one after the other, each faded in and out."""
    import numpy as np

    samples = np.zeros(round((SEGMENT * len(hertz) + GAP) * rate))
    at = np.arange(len(samples)) / rate
    for index, frequency in enumerate(hertz):
        start = index * SEGMENT + GAP
        inside = slice(*np.searchsorted(at, [start, start + 2 * FADE + TONE]))
        local = at[inside] - start
        edge = np.clip(np.minimum(local, 2 * FADE + TONE - local) / FADE, 0, 1)
        fade = 0.5 - 0.5 * np.cos(np.pi * edge)
        samples[inside] = LEVEL * fade * np.sin(2 * np.pi * frequency * at[inside])
    return samples.astype(np.float32)


def measure(output, hertz, to):
    """For every tone its level, the output's level and that of the rest, in dB, and the tone's delay."""
    import numpy as np

    found = []
    for index, frequency in enumerate(hertz):
        start = index * SEGMENT + GAP + FADE + (TONE - INNER) / 2
        k = np.arange(round(start * to), round((start + INNER) * to))
        piece = output[k].astype(np.float64)
        turn = 2 * np.pi * frequency * k / to
        basis = np.stack([np.sin(turn), np.cos(turn)], axis=1)
        (sine, cosine), *_ = np.linalg.lstsq(basis, piece)
        left = piece - basis @ [sine, cosine]

        def decibels(amplitude):
            return 20 * np.log10(max(amplitude / LEVEL, 1e-12))

        found.append(
            {
                "hertz": frequency,
                "level": decibels(np.hypot(sine, cosine)),
                "all": decibels(np.sqrt(2 * np.square(piece).mean())),
                "left": decibels(np.sqrt(2 * np.square(left).mean())),
                "delay": -np.arctan2(cosine, sine) / (2 * np.pi * frequency) * to,
            }
        )
    return found


def minus_3_db(fall, nyquist):
    above = None
    for tone in fall:
        if tone["level"] < -3:
            if above is None:
                return f"< {tone['hertz'] / nyquist:.3f}"
            part = (above["level"] + 3) / (above["level"] - tone["level"])
            return f"{(above['hertz'] + part * (tone['hertz'] - above['hertz'])) / nyquist:.3f}"
        above = tone
    return f"> {fall[-1]['hertz'] / nyquist:.3f}"


def summary(bands, rate, to):
    passed = bands["pass"]
    return {
        "passband": max(abs(tone["level"]) for tone in passed),
        "timing": max(abs(tone["delay"]) for tone in passed),
        "noise": max(tone["left"] for tone in passed),
        "fall": minus_3_db(bands["fall"], min(rate, to) / 2),
        "stop": max(tone["all" if rate > to else "left"] for tone in bands["stop"]),
    }


def quality(functions, rate, to, work):
    """The figures of every band, by resampler."""
    bands = {name: part * min(rate, to) / 2 for name, part in frequencies(rate, to).items()}
    hertz = [float(frequency) for part in bands.values() for frequency in part]
    samples, wav = tones(hertz, rate), work / "tones.wav"
    write_wav(wav, samples, rate)
    found = {}
    for name, resample in functions.items():
        output = resample(samples, rate, to, wav)
        expected = len(samples) * to / rate
        if abs(len(output) - expected) > 1:
            raise Failed(f"{name}: {len(output)} samples, expected {expected:.1f}")
        figures = iter(measure(output, hertz, to))
        found[name] = {band: [next(figures) for _ in part] for band, part in bands.items()}
    return found


# --- time -----------------------------------------------------------------------------------------


def times(functions, rate, to, runs, work):
    """Milliseconds for a second of audio, by resampler; they take turns."""
    import numpy as np

    noise = 0.2 * np.random.default_rng(1).standard_normal(LONG * rate).astype(np.float32)
    lengths = {seconds: noise[: seconds * rate] for seconds in (SHORT, LONG)}
    for seconds, samples in lengths.items():
        write_wav(work / f"{seconds}.wav", samples, rate)
    took = {name: {SHORT: [], LONG: []} for name in functions}
    for round_number in range(runs + 1):
        for name, resample in functions.items():
            for seconds, samples in lengths.items():
                start = time.perf_counter()
                resample(samples, rate, to, work / f"{seconds}.wav")
                # The first round is not counted.
                if round_number:
                    took[name][seconds].append(time.perf_counter() - start)
    return {
        name: 1e3 * (statistics.median(each[LONG]) - statistics.median(each[SHORT])) / (LONG - SHORT)
        for name, each in took.items()
    }


# --- all of it ------------------------------------------------------------------------------------


def check(arguments):
    command = shlex.split(arguments.command) if arguments.command else None
    if command is None:
        run("cargo", "build", "--release", "-p", "mert-audio", "--example", "decode", cwd=ROOT)
        command = [str(TARGET / "release" / "examples" / "decode")]
    document = []
    print("| rates | resampler | passband dB | timing | noise dB | -3 dB | stop band dB | ms |")
    print("|---|---|---|---|---|---|---|---|")
    with tempfile.TemporaryDirectory(prefix="resampler-") as folder:
        work = Path(folder)
        functions = resamplers(command, work)
        for rate, to in arguments.pairs:
            found = quality(functions, rate, to, work)
            took = times(functions, rate, to, arguments.runs, work) if arguments.runs > 0 else {}
            for name, bands in found.items():
                row = summary(bands, rate, to)
                spent = f"{took[name]:.2f}" if took else "–"
                print(
                    f"| {rate} → {to} | {name} | {row['passband']:.1e} | {row['timing']:.1e} "
                    f"| {row['noise']:.0f} | {row['fall']} | {row['stop']:.0f} | {spent} |",
                    flush=True,
                )
                document.append({"from": rate, "to": to, "resampler": name} | row | bands)
    if arguments.json:
        arguments.json.write_text(json.dumps(document, indent=1) + "\n")


def main():
    arguments = parse()
    # Run again with the interpreter that has the packages.
    if INSIDE not in os.environ:
        python = arguments.python or make_venv(arguments.venv, PINS)
        os.execve(python, [str(python), *sys.argv], os.environ | {INSIDE: "1"})
    check(arguments)


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError) as error:
        say(f"check/resampler: {error}")
        sys.exit(2)
    except Exception:
        traceback.print_exc()
        sys.exit(2)

#!/usr/bin/env python3
"""Compares crates/events with librosa, mido, pretty_midi, soundfile, and optionally scamp_extensions and the Rhythm Ratio Analyzer.

Usage: events.py EXAMPLE [--music FOLDER] [--files N]

EXAMPLE is the program of crates/events/examples/events.rs. MUSIC is a folder with recordings that soundfile reads, such as
Debian's free game music; without it onsets are compared on generated notes only. Needs numpy, librosa, soundfile, mido and
pretty_midi, and compares with scamp_extensions' Barlow (GPL, imported by this process alone) if that is installed.

Exit status: 0 all agree, 1 something does not, 2 it could not be compared.
"""

import argparse
import math
import random
import subprocess
import sys
import tempfile
from pathlib import Path

try:
    import librosa
    import mido
    import numpy as np
    import pretty_midi
    import soundfile
except ImportError as error:
    print(f"cannot compare: {error}", file=sys.stderr)
    sys.exit(2)

RATE = 24_000
# Hits are within 50 ms for other people's detectors, as in MIREX; within 20 ms for times that are known.
MIREX, KNOWN = 0.05, 0.02
# The floor of the agreement with librosa on music. Two detectors of different design, each with its own threshold, agree
# on strong onsets and differ on weak ones; MIREX's best reach about 0.9 against people. Half of them would be missed by a
# detector that is broken: onsets at random times of the same number have about 0.3 (measured below, and it must be beaten).
AGREEMENT = 0.55

failures = []


def check(is_right, message):
    print(("  ok " if is_right else "  WRONG ") + message)
    if not is_right:
        failures.append(message)


def ours(*arguments):
    result = subprocess.run([EXAMPLE, *map(str, arguments)], capture_output=True, text=True)
    if result.returncode != 0:
        raise RuntimeError(f"{' '.join(map(str, arguments))}: {result.stderr}")
    return [line.split() for line in result.stdout.splitlines()]


def matched(found, expected, tolerance):
    """Precision, recall and F-measure of the largest one-to-one matching of two ascending lists."""
    hits, i, j = 0, 0, 0
    while i < len(found) and j < len(expected):
        if abs(found[i] - expected[j]) <= tolerance:
            hits, i, j = hits + 1, i + 1, j + 1
        elif found[i] < expected[j]:
            i += 1
        else:
            j += 1
    precision, recall = hits / max(len(found), 1), hits / max(len(expected), 1)
    return precision, recall, 2 * hits / max(len(found) + len(expected), 1)


def onset_lines(samples, folder, sensitivity=0.5):
    path = folder / "sound.f32"
    samples.astype("<f4").tofile(path)
    return np.array([[int(x) for x in line] for line in ours("onsets", RATE, sensitivity, path)]).reshape(-1, 2)


def onsets_of_notes(folder):
    """Generated notes of eight timbres, at known times, over a bed of noise 50 dB below them."""
    rng = np.random.default_rng(1)
    times, samples = [], np.zeros(60 * RATE)
    start = 0.2
    while start < 59:
        length = rng.uniform(0.12, 0.8)
        t = np.arange(int((length - 0.02) * RATE)) / RATE
        hertz = 55 * 2 ** (rng.integers(0, 48) / 12)
        partials = sum(np.sin(2 * np.pi * k * hertz * t) / k ** rng.uniform(0.8, 2) for k in range(1, 9) if k * hertz < 11_000)
        envelope = np.minimum(t / rng.choice([0.001, 0.003, 0.01, 0.02]), 1) * np.exp(-rng.uniform(1, 8) * t)
        envelope *= np.minimum((t[-1] - t) / 0.02, 1)
        first = int(start * RATE)
        samples[first : first + len(t)] += rng.uniform(0.1, 0.5) * partials * envelope
        times.append(start)
        start += length
    samples += 0.001 * rng.standard_normal(len(samples))
    lines = onset_lines(samples, folder)
    found = lines[:, 0] / RATE
    precision, recall, f = matched(found, times, KNOWN)
    errors = [min(found - time, key=abs) for time in times if min(abs(found - time)) <= KNOWN]
    delays = [min(d for d in lines[:, 1] / RATE - time if d >= 0) for time in times if (lines[:, 1] / RATE >= time).any()]
    delays = sorted(d for d in delays if d < 0.1)
    print(f"      {len(times)} notes: precision {precision:.3f}, recall {recall:.3f}, F {f:.3f} within 20 ms")
    print(f"      place: mean error {1000 * np.mean(errors):+.1f} ms, standard deviation {1000 * np.std(errors):.1f} ms")
    print(f"      report after the attack: median {1000 * np.median(delays):.1f} ms, 95% {1000 * np.quantile(delays, 0.95):.1f} ms")
    theirs = librosa.onset.onset_detect(y=samples.astype(np.float32), sr=RATE, hop_length=256, units="time")
    print(f"      librosa's onset_detect (not causal) on the same: F {matched(theirs, times, KNOWN)[2]:.3f}, "
          f"{matched(theirs, times, MIREX)[2]:.3f} within 50 ms, ours {matched(found, times, MIREX)[2]:.3f}")
    check(f > 0.9, f"onsets of generated notes have an F-measure above 0.9: {f:.3f}")
    check(matched(found + 0.1, times, KNOWN)[2] < 0.5, "the same onsets 0.1 s late do not pass")


def onsets_of_music(folder, music, count):
    files = sorted(path for path in music.rglob("*") if path.suffix in {".ogg", ".wav", ".flac"} and path.stat().st_size > 200_000)
    if not files:
        check(False, f"{music} has recordings")
        return
    rng = random.Random(3)
    agreements, by_chance, numbers = [], [], []
    for path in rng.sample(files, min(count, len(files))):
        samples, _ = librosa.load(path, sr=RATE, mono=True, offset=10, duration=20)
        if len(samples) < 5 * RATE or np.abs(samples).max() < 0.01:
            continue
        found = onset_lines(samples, folder)[:, 0] / RATE
        theirs = librosa.onset.onset_detect(y=samples, sr=RATE, hop_length=256, units="time")
        agreements.append(matched(found, theirs, MIREX)[2])
        chance = sorted(rng.uniform(0, len(samples) / RATE) for _ in found)
        by_chance.append(matched(chance, theirs, MIREX)[2])
        numbers.append((len(found), len(theirs)))
        print(f"      {path.name[:40]:40} ours {len(found):4}  librosa {len(theirs):4}  F {agreements[-1]:.3f}")
    mean, chance = np.mean(agreements), np.mean(by_chance)
    print(f"      ours {sum(n for n, _ in numbers)}, librosa {sum(n for _, n in numbers)} onsets in {len(numbers)} excerpts of 20 s")
    check(mean > max(AGREEMENT, chance + 0.25), f"agreement with librosa within 50 ms: F {mean:.3f}, at random times {chance:.3f}")


def pitches(folder):
    """A glide from 45 Hz to 1900 Hz and steps of a melody with vibrato, beside librosa's pYIN and the true frequency."""
    t = np.arange(12 * RATE) / RATE
    hertz = 45 * (1900 / 45) ** (t / 12)
    hertz *= 1 + 0.002 * np.sin(2 * np.pi * 5 * t)
    phase = 2 * np.pi * np.cumsum(hertz) / RATE
    samples = 0.2 * sum(np.sin(k * phase) / k * (k * hertz < 11_000) for k in range(1, 20))
    samples += 0.002 * np.random.default_rng(2).standard_normal(len(t))
    path = folder / "glide.f32"
    samples.astype("<f4").tofile(path)
    lines = np.array([[float(x) for x in line] for line in ours("pitch", RATE, path)])
    # YIN's difference is of samples whose middle is a third of the frame before its end: allow for that by the glide's speed,
    # 540 cents a second.
    voiced = lines[:, 1] > 0
    true = hertz[lines[:, 0].astype(int)]
    cents = 1200 * np.log2(lines[voiced, 1] / true[voiced])
    print(f"      glide: {voiced.mean():.3f} of frames have a pitch; error median {np.median(np.abs(cents)):.1f} cents, "
          f"95% {np.quantile(np.abs(cents), 0.95):.1f}, octaves {np.mean(np.abs(cents) > 600):.4f}")
    check(voiced.mean() > 0.95, "almost every frame of a glide has a pitch")
    check(np.median(np.abs(cents)) < 25 and np.mean(np.abs(cents) > 50) < 0.02, "pitches of a glide are those of its phase")
    f0, is_voiced, _ = librosa.pyin(samples.astype(np.float32), fmin=40, fmax=2000, sr=RATE, frame_length=2048, hop_length=512)
    at = np.clip(np.round(lines[:, 0] / 512).astype(int), 0, len(f0) - 1)
    both = voiced & is_voiced[at] & np.isfinite(f0[at])
    apart = np.abs(1200 * np.log2(lines[both, 1] / f0[at][both]))
    print(f"      beside pYIN: {both.sum()} frames, median {np.median(apart):.1f} cents apart, over 50 cents {np.mean(apart > 50):.4f}")
    check(both.sum() > 100 and np.median(apart) < 30, "pitches agree with librosa's pYIN")
    noise = 0.3 * np.random.default_rng(3).standard_normal(10 * RATE)
    noise.astype("<f4").tofile(path)
    lines = np.array([float(line[1]) for line in ours("pitch", RATE, path)])
    check((lines > 0).mean() < 0.01, f"white noise has no pitch: {(lines > 0).mean():.4f} of {len(lines)} frames")


def random_midi(path, rng):
    """A file of three tracks with changes of tempo, running status and notes of three channels, without overlapping keys."""
    file = mido.MidiFile(type=1, ticks_per_beat=rng.choice([96, 480, 960]))
    tempi = mido.MidiTrack()
    for _ in range(12):
        tempi.append(mido.MetaMessage("set_tempo", tempo=rng.randrange(200_000, 1_500_000), time=rng.randrange(0, 900)))
    file.tracks.append(tempi)
    for channel in (0, 3, 15):
        track, sounding, messages, tick = mido.MidiTrack(), {}, [], 0
        for _ in range(80):
            tick += rng.randrange(0, 200)
            key = rng.randrange(20, 110)
            if sounding.get(key, -1) < tick:
                end = tick + rng.randrange(1, 700)
                sounding[key] = end
                messages.append((tick, 1, key, rng.randrange(1, 128)))
                messages.append((end, 0, key, 0))
        before = 0
        for tick, is_start, key, velocity in sorted(messages):
            # An end as a start of velocity 0 keeps the running status.
            kind = "note_on" if is_start or rng.random() < 0.5 else "note_off"
            track.append(mido.Message(kind, channel=channel, note=key, velocity=velocity, time=tick - before))
            before = tick
        file.tracks.append(track)
    file.save(path)


def midi_files(folder):
    rng = random.Random(5)
    compared, worst = 0, 0.0
    for number in range(10):
        path = folder / f"{number}.mid"
        random_midi(path, rng)
        found = [(int(key), int(velocity), float(start), float(end)) for key, velocity, start, end in ours("notes", path)]
        theirs = [
            (note.pitch, note.velocity, note.start, note.end)
            for instrument in pretty_midi.PrettyMIDI(str(path)).instruments
            for note in instrument.notes
        ]
        # Of equal starts and keys in two channels the order is the end's.
        theirs.sort(key=lambda note: (round(note[2], 7), note[0], round(note[3], 7)))
        found.sort(key=lambda note: (round(note[2], 7), note[0], round(note[3], 7)))
        if len(found) != len(theirs):
            check(False, f"{len(found)} notes of {len(theirs)} in {path.name}")
            continue
        for a, b in zip(found, theirs):
            compared += 1
            worst = max(worst, abs(a[2] - b[2]), abs(a[3] - b[3]), 1.0 if a[:2] != b[:2] else 0.0)
    check(compared > 1000 and worst < 1e-6, f"{compared} notes of 10 files are pretty_midi's: largest difference {worst:.2e} s")


def rendered(folder):
    midi, float32, int16 = folder / "out.mid", folder / "out.wav", folder / "out16.wav"
    print("     ", " ".join(ours("render", midi, float32, int16)[0]))
    chosen = [0, 1, 2, 5, 5, 9, 10, 15]
    scale = [60, 62, 64, 65, 67, 69, 71, 72]
    expected = [(scale[index % 8] - 12 * (index // 8), place * 0.25, place * 0.25 + 0.25) for place, index in enumerate(chosen)]
    notes = [n for i in pretty_midi.PrettyMIDI(str(midi)).instruments for n in i.notes]
    notes = sorted((note.pitch, note.start, note.end) for note in notes)
    same = len(notes) == len(expected) and all(
        a[0] == b[0] and abs(a[1] - b[1]) < 1e-3 and abs(a[2] - b[2]) < 1e-3 for a, b in zip(notes, sorted(expected))
    )
    check(same, f"pretty_midi reads the {len(expected)} rendered notes where they belong")
    sounding, is_clean = set(), True
    file = mido.MidiFile(midi)
    for message in file.merged_track:
        if message.type == "note_on" and message.velocity > 0:
            is_clean &= message.note not in sounding
            sounding.add(message.note)
        elif message.type in ("note_off", "note_on"):
            is_clean &= message.note in sounding
            sounding.discard(message.note)
    check(is_clean and not sounding, "mido finds an end for each note and no key twice")
    check(abs(file.length - 2.0) < 1e-3, f"mido's length is that of the events: {file.length:.4f} s")
    a, rate = soundfile.read(float32, dtype="float64")
    b, rate16 = soundfile.read(int16, dtype="float64")
    subtypes = soundfile.info(float32).subtype, soundfile.info(int16).subtype
    check((rate, rate16, len(a), len(b)) == (RATE, RATE, 48_000, 48_000) and subtypes == ("FLOAT", "PCM_16"), f"soundfile reads both: {subtypes}")
    # 32,767 is full scale in ours, 32,768 in soundfile's.
    check(np.abs(a * 32_767 / 32_768 - b).max() < 1 / 32_768, "16 bits are the floats, rounded")
    t = np.arange(96_000) / RATE
    keys = np.array([scale[i % 8] - 12 * (i // 8) for i in range(16)])[np.minimum(np.arange(96_000) // 6000, 15)]
    recording = (0.6 * np.sin(2 * np.pi * 440 * 2 ** ((keys - 69) / 12) * t)).astype(np.float32)
    # The first three events follow each other: they are the recording's samples.
    check(np.abs(a[:18_000] - recording[:18_000]).max() < 1e-6, "events that follow each other are the recording's own samples")
    worst = 0.0
    for place, index in enumerate(chosen):
        inner = slice(6000 * place + 300, 6000 * place + 5700)
        worst = max(worst, np.abs(a[inner] - recording[6000 * index + 300 : 6000 * index + 5700]).max())
    check(worst < 1e-6, f"outside of the fades every event is its own sound: {worst:.1e}")


def barlow():
    try:
        from scamp_extensions.composers import barlicity
    except ImportError:
        print("      scamp_extensions is not installed: Barlow's numbers are not compared")
        return
    worst = 0.0
    pairs = [(1, 2), (2, 3), (45, 32), (7, 4), (9, 8), (15, 16), (81, 64), (11, 8), (10, 9), (25, 24)]
    for p, q in pairs:
        a, b, h = (float(x) for x in ours("barlow", p, q)[0])
        worst = max(worst, abs(a - float(barlicity.indigestibility(p))), abs(b - float(barlicity.indigestibility(q))))
        worst = max(worst, abs(h - abs(float(barlicity.harmonicity(p, q)))))
    check(worst < 1e-9, f"ξ and |h| of {len(pairs)} ratios are scamp_extensions': {worst:.1e}")


def main():
    global EXAMPLE
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("example", type=Path)
    parser.add_argument("--music", type=Path)
    parser.add_argument("--files", type=int, default=12)
    arguments = parser.parse_args()
    EXAMPLE = arguments.example.resolve()
    with tempfile.TemporaryDirectory() as name:
        folder = Path(name)
        onsets_of_notes(folder)
        if arguments.music:
            onsets_of_music(folder, arguments.music, arguments.files)
        pitches(folder)
        midi_files(folder)
        rendered(folder)
        barlow()
    if failures:
        print(f"{len(failures)} of the comparisons do not agree")
        sys.exit(1)
    print("all agree")


if __name__ == "__main__":
    main()

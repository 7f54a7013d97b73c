#!/usr/bin/env python3
"""The whole way of tokens on real music: vocabularies, tokens, events, an oracle, and improvised notes and sound.

    scripts/check/tokens_music.py target/release/mert-tokens MODEL MUSIC… [--keep FOLDER] [--hours 10]

Trains vocabularies of 256 and 2048 tokens, encodes, finds events, builds oracles, improvises to .mid and .wav twice and compares
the bytes, reads both with mido and soundfile, and trains on generated features of --hours hours while it watches the memory.
Needs numpy, mido and soundfile. Prints a line for each step with its time. Exit status: 0 all as expected, 1 not so.
"""

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import mido
import numpy as np
import soundfile

TOKEN = 142


def request(events):
    """A request for a token that an event with a note has: 142, or else the first."""
    recordings = [json.loads(line) for line in events.open()][1:]
    tokens = {event["token"] for recording in recordings for event in recording["events"] if event["notes"]}
    expect(tokens, "no event has a note")
    token = TOKEN if TOKEN in tokens else min(tokens)
    return json.dumps({"gesture_token": token, "consonance": 0.8, "rhythm_ratio": [3, 2]})


def expect(condition, what):
    if not condition:
        print(f"  FAILED {what}")
        sys.exit(1)


def run(program, *arguments, status=(0,)):
    began = time.perf_counter()
    result = subprocess.run([str(program), *map(str, arguments)], capture_output=True, text=True)
    expect(result.returncode in status, f"{' '.join(map(str, arguments[:2]))}: exit status {result.returncode}\n{result.stderr}")
    return result, time.perf_counter() - began


def run_and_watch(program, *arguments):
    """Runs the program; its result, its time, and the most memory that it had resident, in GB."""
    began, peak = time.perf_counter(), 0
    with tempfile.TemporaryFile("w+") as out, tempfile.TemporaryFile("w+") as err:
        process = subprocess.Popen([str(program), *map(str, arguments)], stdout=out, stderr=err)
        while process.poll() is None:
            # Its own peak; getrusage's would be that of this process, from which it was forked.
            status = Path(f"/proc/{process.pid}/status").read_text()
            peak = max([peak, *(int(line.split()[1]) for line in status.splitlines() if line.startswith("VmHWM"))])
            time.sleep(0.1)
        out.seek(0), err.seek(0)
        expect(process.returncode == 0, err.read())
        return out.read(), time.perf_counter() - began, peak / 1e6


def vocabulary(program, model, music, folder, k):
    output = folder / f"vocabulary-{k}.safetensors"
    result, seconds = run(program, "train", model, *music, "-o", output, "--k", k, "--json", "--quiet", status=(0, 1))
    report = json.loads(result.stdout)
    training, held_out = report["training"], report["held_out"]
    expect(training["used"] == k and report["dead"] == 0, f"k {k}: tokens without frames")
    expect(held_out["used"] > 0.5 * k, f"k {k}: {held_out['used']} tokens are used on other music")
    print(
        f"  ok train --k {k}: {training['frames']} frames, {report['passes']} passes in {report['seconds']:.0f} s of {seconds:.0f} s; "
        f"entropy {training['entropy']:.2f} and held out {held_out['entropy']:.2f} of {np.log2(k):.0f} bits; mean squared distance "
        f"{training['inertia']:.4f} and {held_out['inertia']:.4f}; used held out {held_out['used']}; median run {training['median_run']}"
    )
    return output


def improvised(program, oracle, folder, name, *options):
    outputs = []
    for turn in range(2):
        files = [folder / f"{name}-{turn}.{kind}" for kind in ("mid", "wav", "jsonl")]
        arguments = [part for file in files for part in ("-o", file)]
        result, seconds = run(program, "improvise", oracle, *arguments, "--force", *options)
        outputs.append([file.read_bytes() for file in files])
    expect(outputs[0] == outputs[1], f"{name}: the same seed gives other bytes")
    midi, (sound, rate) = mido.MidiFile(files[0]), soundfile.read(files[1])
    sounding, notes = {}, 0
    for message in midi.tracks[0]:
        if message.type == "note_on" and message.velocity > 0:
            expect(not sounding.get(message.note), f"{name}: key {message.note} is struck while it sounds")
            sounding[message.note] = True
            notes += 1
        elif message.type in ("note_on", "note_off"):
            sounding[message.note] = False
    expect(notes > 0 and not any(sounding.values()), f"{name}: {notes} notes, and some never end")
    expect(np.isfinite(sound).all() and np.abs(sound).max() <= 1 and np.abs(sound).max() > 0.01, f"{name}: silence or noise")
    print(f"  ok improvise {name}: twice the same bytes; {notes} notes in {midi.length:.1f} s, {len(sound) / rate:.1f} s of sound at {rate} Hz; {seconds:.1f} s")
    print("     " + result.stderr.strip().replace("\n", "\n     "))


def features(program, folder, hours):
    """A training on more frames than fit in memory, by batches and by passes."""
    rows, dim = int(hours * 270000), 768
    path = folder / "features.npy"
    generator = np.random.default_rng(1)
    points = generator.standard_normal((3000, dim)).astype(np.float32)
    values = np.lib.format.open_memmap(path, mode="w+", dtype=np.float32, shape=(rows, dim))
    for start in range(0, rows, 50000):
        count = min(50000, rows - start)
        noise = generator.standard_normal((count, dim), dtype=np.float32)
        values[start : start + count] = 0.6 * points[generator.integers(0, 3000, count)] + noise
    del values
    size = path.stat().st_size / 1e9
    for name, options in [("batches", ["--batch", 10000, "--passes", 1]), ("passes", ["--passes", 2])]:
        output = folder / "large.safetensors"
        out, seconds, peak = run_and_watch(
            program, "train", "--features", path, "-o", output, "--k", 2048, "--json", "--force", "--restart", "--tolerance", 0, *options
        )
        report = json.loads(out)
        expect(0 < peak < 2.0, f"{name}: {peak:.2f} GB of memory")
        print(f"  ok {hours} hours of features, {size:.1f} GB, by {name}: {report[name]} in {seconds:.0f} s, at most {peak:.2f} GB resident; mean squared distance {report['training']['inertia']:.2f}")
    path.unlink()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("program", type=Path)
    parser.add_argument("model", type=Path)
    parser.add_argument("music", type=Path, nargs="+")
    parser.add_argument("--keep", type=Path, help="keep the files here")
    parser.add_argument("--hours", type=float, default=10.0, help="of generated features; 0 for none")
    arguments = parser.parse_args()
    program = arguments.program.resolve()
    with tempfile.TemporaryDirectory() as temporary:
        folder = arguments.keep or Path(temporary)
        folder.mkdir(exist_ok=True)
        if arguments.hours:
            features(program, folder, arguments.hours)
        small = vocabulary(program, arguments.model, arguments.music, folder, 256)
        large = vocabulary(program, arguments.model, arguments.music, folder, 2048)
        tokens = folder / "tokens.jsonl"
        result, seconds = run(program, "encode", arguments.model, large, *arguments.music, "-o", tokens, "--deduplicate", "--force", status=(0, 1))
        lines = [json.loads(line) for line in tokens.open()]
        frames = sum(sum(line["durations"]) for line in lines)
        print(f"  ok encode: {frames} frames ({frames / 75 / 3600:.2f} h at 75 Hz) of {len(lines)} files in {seconds:.0f} s")
        for name, words in [("256", small), ("2048", large)]:
            events, oracle = folder / f"events-{name}.jsonl", folder / f"oracle-{name}.json"
            _, seconds = run(program, "events", arguments.model, words, *arguments.music, "-o", events, "--force", "--quiet", status=(0, 1))
            result, built = run(program, "oracle", events, "-o", oracle, "--force")
            print(f"  ok events and oracle of {name} tokens in {seconds:.0f} s and {built:.1f} s: {result.stdout.strip().split(': ', 1)[1]}")
            binary = folder / f"oracle-{name}.oracle"
            run(program, "oracle", events, "-o", binary, "--force")
            improvised(program, oracle, folder, f"{name}", "--seconds", "30s", "--seed", 3)
            improvised(program, binary, folder, f"{name}-request", "--events", 64, "--seed", 3, "--request", request(events))


if __name__ == "__main__":
    main()

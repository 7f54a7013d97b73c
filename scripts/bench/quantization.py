#!/usr/bin/env python3
"""Converts a checkpoint to MLX folders in every usual encoding and prints a table in Markdown: the size, how close the hidden
states are to the checkpoint's, and the time and memory of the conversion.

    scripts/bench/quantization.py CHECKPOINT [--binaries target/release] [--budget LIMITS ...] [--rounds 3]

The fidelity is what mert-convert measures for the model card, over all hidden states. Time and memory are those of the conversion
alone (--no-fidelity), the median of the rounds, in which the encodings take turns; a budget is converted once, with its search.
"""

import argparse
import json
import os
import statistics
import subprocess
import tempfile
import time
from pathlib import Path

ENCODINGS = [("f16", [])] + [
    (f"{bits}-bit g{group}", ["--quantize", "--q-bits", str(bits), "--q-group-size", str(group)])
    for bits in (8, 6, 5, 4, 3)
    for group in (32, 64, 128)
]


def convert(binary, checkpoint, folder, options):
    """Runs a conversion and returns its report, its seconds and its peak memory in bytes."""
    output = Path(folder) / "model"
    command = [binary, checkpoint, output, "--force", "--json", "--do-normalize", "true", *options]
    begin = time.monotonic()
    process = subprocess.Popen(list(map(str, command)), stdout=subprocess.PIPE)
    text = process.stdout.read()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.monotonic() - begin
    if status:
        raise SystemExit(f"{' '.join(map(str, command))} failed")
    return json.loads(text), seconds, usage.ru_maxrss * 1024


def row(name, report, size, seconds, memory):
    states = report["output"]["written"]["fidelity"]["hidden_states"]
    pooled = min(state["pooled_cosine"] for state in states)
    frame = min(state["frame_cosine"] for state in states)
    nmse = max(state["nmse"] for state in states)
    print(
        f"| {name} | {size / 1e6:.1f} | {pooled:.6f} | {frame:.6f} | {nmse:.1e} | {seconds:.2f} | {memory / 1e6:.0f} |",
        flush=True,
    )


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("checkpoint")
    parser.add_argument("--binaries", default="target/release")
    parser.add_argument("--budget", nargs="*", default=[])
    parser.add_argument("--rounds", type=int, default=3)
    args = parser.parse_args()
    binary = Path(args.binaries) / "mert-convert"
    with tempfile.TemporaryDirectory() as folder:
        runs = {name: [] for name, _ in ENCODINGS}
        for _ in range(args.rounds):
            for name, options in ENCODINGS:
                _, seconds, memory = convert(binary, args.checkpoint, folder, [*options, "--no-fidelity"])
                runs[name].append((seconds, memory))
        print("| encoding | MB | worst pooled cosine | worst frame cosine | worst NMSE | conversion, s | memory, MB |")
        print("|---|---|---|---|---|---|---|")
        for name, options in ENCODINGS:
            report, _, _ = convert(binary, args.checkpoint, folder, options)
            seconds = statistics.median(seconds for seconds, _ in runs[name])
            memory = statistics.median(memory for _, memory in runs[name])
            row(name, report, (Path(folder) / "model/model.safetensors").stat().st_size, seconds, memory)
        for budget in args.budget:
            report, seconds, memory = convert(binary, args.checkpoint, folder, ["--budget", budget])
            row(f"budget {budget}", report, (Path(folder) / "model/model.safetensors").stat().st_size, seconds, memory)


if __name__ == "__main__":
    main()

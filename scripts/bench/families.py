#!/usr/bin/env python3
"""Times mert-runtime on the base models of several families, turn by turn: generated weights, all hidden states, f32.

    scripts/bench/families.py [--families hubert,wavlm,data2vec-audio] [--seconds 5,30] [--threads 2] [--runs 15]

Each model is in a process of its own, which is stopped while another one runs, and the ratio is the median of the ratios
to the first family in the same round: load on the machine that lasts longer than a round does not change it.
"""

import argparse
import os
import statistics
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from comparison import report  # noqa: E402
from comparison.turns import Worker, take_turns  # noqa: E402
from environment import ROOT, TARGET, Failed, run, say  # noqa: E402


def parse():
    def listed(text):
        return text.split(",")

    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("--families", type=listed, default=["hubert", "wavlm", "data2vec-audio"])
    parser.add_argument("--seconds", type=listed, default=["5", "30"])
    parser.add_argument("--threads", type=int, default=os.cpu_count())
    parser.add_argument("--runs", type=int, default=15)
    parser.add_argument("--bin", type=Path, metavar="DIR", help="mert-convert, mert-test-model and mert-verify; default: built")
    return parser.parse_args()


def converted(family, binaries):
    """The converted file of a family's base model, made on the first call."""
    folder = TARGET / "bench-peers" / family
    if not (folder / "config.json").is_file():
        run(binaries / "mert-test-model", folder, "--family", family, "--force")
    file = folder / "f32.safetensors"
    if not file.is_file():
        run(binaries / "mert-convert", folder / "pytorch_model.bin", file, "--dtype", "f32", "--quiet")
    return file


def one_length(arguments, files, seconds, binaries):
    workers = []
    try:
        for family, file in files.items():
            command = [binaries / "mert-verify", "bench", file, "--seconds", seconds]
            workers.append(Worker(family, [*command, "--threads", arguments.threads, "--stdin"], {}))
        take_turns(workers, arguments.runs, lambda *_: None)
    finally:
        for worker in workers:
            worker.kill()
    print(f"\n{seconds} s, {arguments.threads} threads, {arguments.runs} rounds:\n")
    print(f"| family | median | from | to | times {workers[0].name} |\n|---|--:|--:|--:|--:|")
    for worker in workers:
        ratio = statistics.median(a / b for a, b in zip(worker.seconds, workers[0].seconds, strict=True))
        times = [statistics.median(worker.seconds), min(worker.seconds), max(worker.seconds)]
        print(f"| {worker.name} | " + " | ".join(f"{time:.3f} s" for time in times) + f" | {ratio:.3f} |", flush=True)


def main():
    arguments = parse()
    try:
        if arguments.bin is None:
            say("bench/families: building")
            run("cargo", "build", "--release", "-p", "mert-cli", "--bins", cwd=ROOT)
        binaries = (arguments.bin or TARGET / "release").resolve()
        print(report.machine_line(report.machine()) + f", load average {os.getloadavg()[0]:.2f} at the start")
        files = {family: converted(family, binaries) for family in arguments.families}
        for seconds in arguments.seconds:
            one_length(arguments, files, seconds, binaries)
    except Failed as failure:
        say(f"bench/families: {failure}")
        return 2
    return 0


if __name__ == "__main__":
    sys.exit(main())

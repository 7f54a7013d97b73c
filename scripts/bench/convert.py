#!/usr/bin/env python3
"""Times `mert-convert` beside the same conversion in Python (convert_baseline.py) and prints a Markdown table.

    scripts/bench/convert.py [--checkpoint pytorch_model.bin] [--runs 9] [--threads N] [--idle]

Each run is a whole process with the checkpoint in the page cache; the programs take turns, so that other load on the
machine affects all of them; with --idle a run waits until the machine is idle, and is repeated if other processes took a
tenth of its processors meanwhile. First their outputs are compared: the same tensors, the fused one within
one unit in the last place of f16, all others bit for bit. Exit status: 0 measured, 1 the outputs differ, 2 it
could not be measured.

A Core ML package, which the Python script does not write, is timed beside them.

Without --checkpoint one of MERT-v1-95M's size is generated. Needs a release build (`cargo build --release`) and
Linux. The Python environment is made on the first call and kept in target/; --python names one to use instead.
"""

import argparse
import hashlib
import os
import platform
import resource
import shutil
import statistics
import subprocess
import sys
import threading
import time
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import ROOT, TARGET, Failed, make_venv, say  # noqa: E402

PINS = ["torch==2.13.0", "safetensors==0.8.0", "numpy==2.4.6"]
FUSED = "encoder.pos_conv_embed.conv.weight"


COMPARE = """
import sys
import numpy as np
from safetensors.numpy import load_file
ours, theirs = map(load_file, sys.argv[1:3])
if ours.keys() != theirs.keys():
    sys.exit(f"different tensors: {sorted(ours.keys() ^ theirs.keys())}")
for name, a in ours.items():
    b = theirs[name]
    if a.dtype != b.dtype or a.shape != b.shape:
        sys.exit(f"{name}: {a.dtype} {a.shape} and {b.dtype} {b.shape}")
    # For floats of one sign, the bit patterns are in the floats' own order: neighbours differ by one.
    bits = [np.where(x.view(np.int16) < 0, -32768 - x.view(np.int16).astype(int), x.view(np.int16)) for x in (a, b)]
    apart = int(np.abs(bits[0].astype(int) - bits[1].astype(int)).max())
    if apart > (1 if name == sys.argv[3] else 0):
        sys.exit(f"{name}: {apart} units in the last place apart")
print(len(ours))
"""


def sha256(file):
    with open(file, "rb") as opened:
        return hashlib.file_digest(opened, "sha256").hexdigest()


def remove(output):
    """Removes a file, or a package, which is a folder."""
    if output.is_dir():
        shutil.rmtree(output)
    output.unlink(missing_ok=True)


def run(command, output, sample):
    """Runs a process: its seconds, peak resident bytes and, if sampled, peak anonymous bytes."""
    remove(output)
    peak, done = [0], threading.Event()

    def watch(pid):
        while not done.wait(0.002):
            try:
                status = Path(f"/proc/{pid}/status").read_text()
            except OSError:
                return
            for line in status.splitlines():
                if line.startswith("RssAnon:"):
                    peak[0] = max(peak[0], int(line.split()[1]) * 1024)

    start = time.perf_counter()
    process = subprocess.Popen([*map(str, command)], stdout=subprocess.DEVNULL)
    if sample:
        thread = threading.Thread(target=watch, args=(process.pid,))
        thread.start()
    _, status, usage = os.wait4(process.pid, 0)
    seconds = time.perf_counter() - start
    process.returncode = os.waitstatus_to_exitcode(status)
    if sample:
        done.set()
        thread.join()
    if process.returncode != 0:
        raise Failed(f"{command} failed")
    return seconds, usage.ru_maxrss * 1024, peak[0]


def busy():
    """Seconds that all processors together were busy, and seconds in all, since the machine started."""
    times = list(map(int, Path("/proc/stat").read_text().splitlines()[0].split()[1:]))
    idle = times[3] + times[4]
    return (sum(times) - idle) / os.sysconf("SC_CLK_TCK"), sum(times) / os.sysconf("SC_CLK_TCK")


def run_alone(command, output):
    """Runs a process as `run` does, on a machine that is otherwise idle."""
    for _ in range(1000):
        before, all_before = busy()
        time.sleep(0.5)
        after, all_after = busy()
        if after - before > 0.05 * (all_after - all_before):
            continue
        own = resource.getrusage(resource.RUSAGE_CHILDREN)
        before, _ = busy()
        result = run(command, output, False)
        after, _ = busy()
        used = resource.getrusage(resource.RUSAGE_CHILDREN)
        own = used.ru_utime + used.ru_stime - own.ru_utime - own.ru_stime
        if after - before - own < 0.1 * result[0] * os.cpu_count():
            return result
    raise Failed("the machine is never idle")


def processor():
    for line in Path("/proc/cpuinfo").read_text().splitlines():
        if line.startswith("model name"):
            return line.split(":", 1)[1].strip()
    return platform.machine()


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, help="the file to convert (default: a generated one)")
    parser.add_argument("--runs", type=int, default=9, help="timed runs of each program, at least 5 (default 9)")
    parser.add_argument("--threads", type=int, help="mert-convert's threads (default: one for each processor)")
    parser.add_argument("--idle", action="store_true", help="measure only while the machine does nothing else")
    parser.add_argument("--python", type=Path, help=f"an interpreter that has {', '.join(PINS)}")
    parser.add_argument("--binaries", type=Path, default=TARGET / "release", help="where mert-convert is")
    args = parser.parse_args()
    if args.runs < 5:
        parser.error("--runs: a median of fewer than 5 says little")
    binary = args.binaries / "mert-convert"
    if not binary.exists():
        parser.error(f"{binary} is missing: cargo build --release")
    python = args.python or make_venv(TARGET / "venv-bench-convert", PINS)

    folder = TARGET / "bench-convert"
    folder.mkdir(parents=True, exist_ok=True)
    checkpoint = args.checkpoint
    if checkpoint is None:
        checkpoint = folder / "pytorch_model.bin"
        if not checkpoint.exists():
            subprocess.run([args.binaries / "mert-test-model", folder, "--force"], check=True, stdout=sys.stderr)

    ours, theirs, package = (folder / name for name in ("ours.safetensors", "theirs.safetensors", "ours.mlpackage"))
    threads = ["--threads", args.threads] if args.threads else []
    convert = [binary, checkpoint, ours, *threads]
    programs = {
        "Python": ([python, ROOT / "scripts/bench/convert_baseline.py", checkpoint, theirs], theirs),
        "`mert-convert`": (convert, ours),
        "`mert-convert --quiet`": ([*convert, "--quiet"], ours),
        "`mert-convert --quiet --source-sha256 …`": ([*convert, "--quiet", "--source-sha256", sha256(checkpoint)], ours),
        "`mert-convert`, Core ML package": ([binary, checkpoint, package, *threads], package),
        "`mert-convert --quiet`, Core ML package": ([binary, checkpoint, package, *threads, "--quiet"], package),
    }

    # The first runs warm the page cache and are the only ones whose memory is sampled: sampling takes time.
    memory = {name: run(command, output, True)[1:] for name, (command, output) in programs.items()}
    compared = subprocess.run([python, "-c", COMPARE, ours, theirs, FUSED], capture_output=True, text=True)
    if compared.returncode != 0:
        say(f"bench/convert: the outputs differ: {compared.stderr.strip()}")
        sys.exit(1)
    seconds = {name: [] for name in programs}
    for _ in range(args.runs):
        for name, (command, output) in programs.items():
            result = run_alone(command, output) if args.idle else run(command, output, False)
            seconds[name].append(result[0])
    versions = "import torch, safetensors, platform as p;print(p.python_version(), torch.__version__, safetensors.__version__)"
    versions = subprocess.run([python, "-c", versions], capture_output=True, text=True, check=True).stdout.split()

    print(f"{processor()}, {os.cpu_count()} processors; load {os.getloadavg()[0]:.1f}; {time.strftime('%Y-%m-%d')}")
    print(f"Python {versions[0]}, torch {versions[1]}, safetensors {versions[2]}")
    size = checkpoint.stat().st_size / 1e6
    print(f"{size:.0f} MB to {ours.stat().st_size / 1e6:.0f} MB; {compared.stdout.strip()} tensors compared equal")
    idle = ", the machine otherwise idle" if args.idle else ""
    print(f"medians of {args.runs} interleaved runs, page cache warm{idle}\n")
    print("| | wall | fastest to slowest | times as fast | peak resident | peak anonymous |")
    print("|---|---|---|---|---|---|")
    base = statistics.median(seconds["Python"])
    for name, runs in seconds.items():
        median = statistics.median(runs)
        resident, anonymous = (f"{bytes / 1e6:,.0f} MB" for bytes in memory[name])
        spread = f"{min(runs):.3f} to {max(runs):.3f} s"
        print(f"| {name} | {median:.3f} s | {spread} | {base / median:.1f} | {resident} | {anonymous} |")
    for output in (ours, theirs, package):
        remove(output)


if __name__ == "__main__":
    try:
        main()
    except (Failed, OSError, subprocess.CalledProcessError) as error:
        say(f"bench/convert: {error}")
        sys.exit(2)

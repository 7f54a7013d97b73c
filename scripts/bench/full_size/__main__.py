"""Makes the checkpoint, measures and prints: the arguments are those of scripts/bench/musicgen_full.py as NAME=VALUE."""

import json
import os
import platform
import shutil
import statistics
import subprocess
import sys
from pathlib import Path

from floor import CHIPS, real_time_factor, step_bytes
from measure import copy, forget, read_bandwidth, run
from shape import FILES, Shape

HERE = Path(__file__).resolve().parent


def folder_bytes(folder):
    return sum(path.stat().st_size for path in Path(folder).rglob("*") if path.is_file())


def convert_command(binaries, folder, bundle):
    inputs = [folder / "finetuned.ckpt", bundle, "--base", folder / "state_dict.bin"]
    inputs += ["--codec", folder / "compression_state_dict.bin", "--t5", folder / "t5"]
    return [binaries / "mert-convert", *inputs, "--quantize", "--force", "--quiet"]


def measure_conversion(options, folder, bundle):
    """Copies and conversions in turns, all of them from disk to disk."""
    files = [folder / name for name in FILES]
    size = sum(file.stat().st_size for file in files)
    copies, conversions, peaks = [], [], []
    for _ in range(int(options["rounds"])):
        forget(*files)
        copies.append(copy(files, folder / "copy"))
        forget(*files)
        shutil.rmtree(bundle, ignore_errors=True)
        _, seconds, peak = run(*convert_command(Path(options["binaries"]), folder, bundle))
        conversions.append(seconds)
        peaks.append(peak)
    plain, converted = statistics.median(copies), statistics.median(conversions)
    written = folder_bytes(bundle)
    print("| | bytes | seconds (median) | all rounds | peak RSS, MB |\n|---|---|---|---|---|")
    print(f"| plain copy of the sources | {size} | {plain:.1f} | {' '.join(f'{value:.1f}' for value in copies)} | |")
    rounds = " ".join(f"{value:.1f}" for value in conversions)
    print(f"| mert-convert --quantize | {written} | {converted:.1f} | {rounds} | {max(peaks) / 1e6:.0f} |")
    print(f"\n{converted / plain:.2f} times the copy. The bundle:\n\n| file | MB |\n|---|---|")
    for path in sorted(path for path in bundle.rglob("*") if path.is_file() and path.stat().st_size > 1e5):
        print(f"| {path.relative_to(bundle)} | {path.stat().st_size / 1e6:.1f} |")
    print(f"| all | {written / 1e6:.1f} |\n", flush=True)


def read_in_child():
    """The bandwidth, measured by a process of its own: its arrays would count as the peak memory of those started later."""
    output, _, _ = run(sys.executable, HERE / "measure.py")
    return float(output)


def measure_generation(options, shape, frames, folder, bundle, seconds, rows):
    """Generations with a plain read of memory before and after each, as the machine's speed changes within a minute."""
    clip, out = folder / "clip.wav", folder / "out.wav"
    command = [Path(options["binaries"]) / "mert-generate", bundle, clip, "--instruct", "Only Drums", "-o", out, "--greedy", "--force"]
    step_size = sum(step_bytes(shape, frames))
    rounds, reads = [], [read_in_child()]
    for _ in range(int(options["rounds"])):
        output, taken, peak = run(*command, "--json", "--quiet")
        rounds.append((json.loads(output), taken, peak))
        reads.append(read_in_child())
    print("| round | ms a step | plain read before and after, GB/s | of the read |\n|---|---|---|---|")
    parts = []
    for i, (found, _, _) in enumerate(rounds):
        step, read = found["steps_seconds"] / found["steps"], (reads[i] + reads[i + 1]) / 2
        parts.append(step_size / step / read)
        print(f"| {i + 1} | {1e3 * step:.1f} | {reads[i] / 1e9:.1f}, {reads[i + 1] / 1e9:.1f} | {100 * parts[-1]:.0f} % |")
    print(f"| median | | | {100 * statistics.median(parts):.0f} % |\n", flush=True)
    rounds.sort(key=lambda entry: entry[1])
    found, taken, peak = rounds[len(rounds) // 2]
    rows.append(("mert-generate, the whole run, median of the rounds", taken, taken / seconds, peak))
    steps, step = found["steps"], 1e3 * found["steps_seconds"] / found["steps"]
    rows.append((f"of it {steps} steps of {step:.1f} ms", found["steps_seconds"], found["steps_seconds"] / seconds, peak))
    for name, part in {"the codec's encoder and the CP transformer": "input", "the codec's decoder": "output"}.items():
        rows.append((f"of it {name}", found[f"{part}_seconds"], found[f"{part}_seconds"] / seconds, peak))


def measure_mlx(options, shape, frames, seconds, rows):
    sizes = [f"{name}={getattr(shape, name)}" for name in ("layers", "width", "heads", "inner", "card")]
    output, _, peak = run(sys.executable, HERE / "mlx_steps.py", *sizes, f"frames={frames}", f"steps={options['steps']}")
    found = json.loads(output)
    step = statistics.median(found["steps"])
    steps = (frames + 3) * step
    condition = shape.layers * found["condition_layer"]
    rows.append((f"MLX, CPU: {frames + 3} steps of {1e3 * step:.0f} ms, extrapolated", steps, steps / seconds, peak))
    rows.append(("MLX, CPU: the CP transformer, extrapolated from a layer", condition, condition / seconds, peak))


def print_floors(shape, frames, seconds):
    weights, caches = step_bytes(shape, frames)
    here = read_bandwidth()
    print(f"A step reads {weights / 1e6:.0f} MB of weights and on average {caches / 1e6:.0f} MB of caches.\n")
    print("| memory | GB/s | ms a step | RTF at the least |\n|---|---|---|---|")
    for name, bandwidth in {f"here, measured ({os.cpu_count()} threads)": here, **CHIPS}.items():
        step = (weights + caches) / bandwidth
        print(f"| {name} | {bandwidth / 1e9:.1f} | {1e3 * step:.1f} | {real_time_factor(shape, frames, bandwidth):.2f} |")
    print(flush=True)


def main():
    options = dict(argument.split("=", 1) for argument in sys.argv[1:])
    shape = Shape.of(options)
    folder, parts = Path(options["folder"]), options["parts"].split(",")
    seconds = float(options["seconds"])
    frames = -(-int(seconds * 32000) // 640)
    if "make" in parts:
        if subprocess.run([sys.executable, HERE / "checkpoint.py", *sys.argv[1:]]).returncode:
            raise SystemExit("the checkpoint could not be made")
    print(f"{platform.processor() or platform.machine()}, {os.cpu_count()} processors; {shape}; {seconds} s, {frames} frames\n")
    bundle = folder / "bundle"
    if "convert" in parts:
        measure_conversion(options, folder, bundle)
    rows = []
    if "generate" in parts:
        measure_generation(options, shape, frames, folder, bundle, seconds, rows)
    if "mlx" in parts:
        measure_mlx(options, shape, frames, seconds, rows)
    if rows:
        print("| | seconds | RTF | peak RSS, MB |\n|---|---|---|---|")
        for name, taken, factor, peak in rows:
            print(f"| {name} | {taken:.1f} | {factor:.2f} | {peak / 1e6:.0f} |")
        print()
    print_floors(shape, frames, seconds)


if __name__ == "__main__":
    main()

#!/usr/bin/env python3
"""Runs PyTorch, ONNX Runtime and OpenVINO beside mert-runtime: same checkpoint, same input, turn by turn.

    scripts/bench/peers.py [--seconds 5,30] [--threads 2] [--runs 7] [--family wavlm] [--json FILE]

Each engine lives in a process of its own, which is stopped while another one runs. All return
every hidden state, computed in float32; before anything is timed each is compared with PyTorch
eager. Peak RSS is of the runs, after loading and one run. The Python environment is made on the
first call and kept; on Linux the torch of PyPI brings CUDA with it, so this takes about 6 GB. At
30 s all processes together take about 12 GB of memory. Run it on an idle machine.

Exit status: 0 done, 1 the engines do not compute the same, 2 anything else.
"""

import argparse
import json
import os
import platform
import signal
import subprocess
import sys
import tempfile
import traceback
from datetime import date
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import ROOT, TARGET, Failed, make_venv, run, say  # noqa: E402

# Where the package `comparison` is.
HERE = Path(__file__).resolve().parent
MAKE_MODELS = ROOT / "scripts/fixtures/make_models.py"

PINS = [
    "torch==2.13.0",
    "transformers==5.23.0",
    "onnx==1.23.2",
    "onnxruntime==1.31.1",
    "openvino==2026.4.1",
    "numpy==2.4.6",
    "safetensors==0.8.0",
]
# Above the effect of the order of f32 sums (about 1e-11), below that of leaving out any part.
AGREEMENT = 1e-6
# A load average above this says that something else is running.
BUSY = 0.5
INSIDE = "MERT_BENCH_PEERS_INSIDE"


def parse():
    def numbers(kind):
        def parse_list(text):
            values = [kind(part) for part in text.split(",")]
            if not all(value > 0 for value in values):
                raise ValueError
            return values

        parse_list.__name__ = "list of positive numbers"
        return parse_list

    def positive(text):
        (value,) = numbers(int)(text)
        return value

    about, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=numbers(float), default=[5.0, 30.0], help="default: 5,30")
    parser.add_argument(
        "--threads", type=positive, default=os.cpu_count(), help="default: all cores"
    )
    parser.add_argument("--runs", type=positive, default=7, help="counted rounds, default 7")
    parser.add_argument(
        "--engines",
        default="eager,sdpa,onnxruntime,openvino",
        help="a list of eager (always run), sdpa, compile, onnxruntime, openvino; default: all but "
        "compile",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="config.json and model.safetensors or pytorch_model.bin; default: the seeded full-size model of "
        "scripts/fixtures/make_models.py, made in target/ if it is not there",
    )
    parser.add_argument(
        "--family",
        metavar="MODEL_TYPE",
        help="the base model of this family with generated weights (mert-test-model) instead",
    )
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        metavar="FILE",
        help="a converted file for ours, may be repeated; default: the checkpoint in f32 and in f16",
    )
    parser.add_argument(
        "--bin", type=Path, metavar="DIR", help="mert-convert, mert-test-model and mert-verify; default: built"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--venv", type=Path, default=TARGET / "venv-peers", metavar="DIR", help="kept there"
    )
    where.add_argument(
        "--python", type=Path, metavar="FILE", help="this interpreter, as it is, instead"
    )
    return parser.parse_args()


# --- ours -----------------------------------------------------------------------------------------


def binaries(folder):
    if folder is None:
        say("bench/peers: building")
        run(
            *("cargo", "build", "--release", "--bin", "mert-convert", "--bin", "mert-verify"),
            *("--bin", "mert-test-model"),
            cwd=ROOT,
        )
        folder = TARGET / "release"
    return folder.resolve()


def checkpoint_folder(given, family, bin_folder):
    from comparison.model import weights_file

    if given is not None:
        if not (given / "config.json").is_file() or weights_file(given) is None:
            raise Failed(
                f"{given}: expected a folder with config.json and pytorch_model.bin or model.safetensors"
            )
        return given
    if family is not None:
        folder = TARGET / "bench-peers" / family
        if not (folder / "config.json").is_file():
            run(bin_folder / "mert-test-model", folder, "--family", family, "--force")
        return folder
    folder = TARGET / "bench-peers" / "checkpoint"
    if not (folder / "reference.npz").is_file():
        run(sys.executable, MAKE_MODELS, "--full-size", folder)
    return folder


def converted_files(given, checkpoint, bin_folder, work):
    """Converted files by the name that the tables give them. The first is compared with the peers."""
    from comparison.model import weights_file

    if given:
        return {f"mert-runtime, {file.name} ({weights_dtype(file)})": file for file in given}
    files = {}
    for dtype in ("f32", "f16"):
        files[f"mert-runtime ({dtype})"] = file = work / f"{dtype}.safetensors"
        source = weights_file(checkpoint)
        run(bin_folder / "mert-convert", source, file, "--dtype", dtype, "--quiet")
    return files


def weights_dtype(file):
    """The dtype in a converted file's metadata."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return header.get("__metadata__", {}).get("dtype", "unknown")


# --- one length -----------------------------------------------------------------------------------


def start_workers(stack, arguments, files, work, bin_folder):
    """All engines, loaded, each stopped after its first run."""
    from comparison.engines import PEERS
    from comparison.turns import Worker

    threads = arguments.threads
    environment = {
        "PYTHONPATH": str(HERE),
        "OMP_NUM_THREADS": str(threads),
        "MKL_NUM_THREADS": str(threads),
        "TOKENIZERS_PARALLELISM": "false",
    }
    for name, file in files.items():
        command = [bin_folder / "mert-verify", "bench", file, "--input", work / "x.npy"]
        say(f"bench/peers: loading {name}")
        stack.append(Worker(name, [*command, "--threads", threads, "--stdin", "--peak"], {}))
    for name in arguments.engines:
        say(f"bench/peers: loading {PEERS[name].title}")
        command = [
            sys.executable,
            "-m",
            "comparison.worker",
            name,
            "--checkpoint",
            arguments.checkpoint,
        ]
        command += ["--onnx", work / "model.onnx"] if PEERS[name].needs_onnx else []
        command += [
            "--input",
            work / "x.npy",
            "--states",
            work / f"{name}.npy",
            "--threads",
            threads,
        ]
        stack.append(Worker(PEERS[name].title, command, environment))


def check_agreement(arguments, files, work, bin_folder):
    """The NMSE of every hidden state of every engine against PyTorch eager."""
    import numpy as np
    from comparison.engines import PEERS

    def nmse(candidate, reference):
        if candidate.shape != reference.shape:
            raise Failed(
                f"hidden states of shape {candidate.shape}, PyTorch's are {reference.shape}"
            )
        difference = candidate.astype(np.float64) - reference
        return np.square(difference).sum((1, 2)) / np.square(reference.astype(np.float64)).sum(
            (1, 2)
        )

    reference = np.load(work / "eager.npy")
    found = {}
    for name, file in files.items():
        output = work / "ours.npz"
        command = [bin_folder / "mert-verify", "hidden-states", file, "--input", work / "x.npy"]
        run(*command, "--output", output, "--force")
        with np.load(output) as arrays:
            found[name] = nmse(arrays["hidden_states"], reference)
        output.unlink()
    for name in arguments.engines[1:]:
        found[PEERS[name].title] = nmse(np.load(work / f"{name}.npy"), reference)
    return found


def agreement_limit(file):
    """The NMSE allowed. A 16-bit file has other weights than PyTorch; mert-verify allows that much for them."""
    return {"f16": 2e-5, "bf16": 1.5e-3}.get(weights_dtype(file), AGREEMENT)


def one_length(arguments, files, seconds, work, bin_folder, versions):
    import numpy as np
    from comparison import report
    from comparison.model import fixtures
    from comparison.turns import take_turns

    rate = json.loads((arguments.checkpoint / "config.json").read_text()).get("sample_rate", 16000)
    np.save(work / "x.npy", fixtures().music("full-size", round(seconds * rate), rate))
    workers = []
    try:
        start_workers(workers, arguments, files, work, bin_folder)
        agreement = check_agreement(arguments, files, work, bin_folder)
        print(f"\n## {seconds:g} s, {arguments.threads} threads\n")
        print("NMSE against PyTorch eager, hidden states 0 to the last:\n")
        for name, values in agreement.items():
            print(f"- {name}: " + " ".join(f"{value:.1e}" for value in values))
        limits = {name: agreement_limit(file) for name, file in files.items()}
        bad = [
            name
            for name, values in agreement.items()
            if not (values <= limits.get(name, AGREEMENT)).all()
        ]
        if bad:
            allowed = ", ".join(
                f"{name} (allowed: {limits.get(name, AGREEMENT):.0e})" for name in bad
            )
            print(f"\nThese do not compute the same: {allowed}. Nothing was timed.")
            return None

        def progress(round_number, name, took):
            counted = f"round {round_number} of {arguments.runs}" if round_number else "not counted"
            say(f"bench/peers: {seconds:g} s, {counted}: {name} {took:.3f} s")

        take_turns(workers, arguments.runs, progress)
        peaks = [worker.peak_bytes() for worker in workers]
        last = [worker.finish() for worker in workers]
    finally:
        for worker in workers:
            worker.kill()

    ours = json.loads(last[0])["rows"][0]
    rows = [
        report.Row(worker.name, versions[worker.name], index < len(files), worker.seconds, peak)
        for index, (worker, peak) in enumerate(zip(workers, peaks, strict=True))
    ]
    fma = ours["peak"]
    print(
        f"\n{ours['frames']} frames, {ours['gflop']:.0f} GFLOP in matrix products, medians of {arguments.runs}."
    )
    if fma:
        print(
            f"FMA peak of {arguments.threads} threads: {fma['gflops']:.0f} GFLOP/s ({fma['instructions']})."
        )
    print("\n" + report.table(rows, ours["gflop"], fma and fma["gflops"]))
    print("\n" + report.verdict(rows), flush=True)
    return {
        "seconds": seconds,
        "threads": arguments.threads,
        "frames": ours["frames"],
        "gflop": ours["gflop"],
        "fma_peak": fma,
        "nmse": {name: values.tolist() for name, values in agreement.items()},
        "rows": [report.row_json(row) for row in rows],
    }


# --- all of it ------------------------------------------------------------------------------------


def engine_versions(arguments, files, bin_folder):
    from importlib.metadata import version

    from comparison.engines import PEERS

    said = subprocess.run(
        [bin_folder / "mert-verify", "--version"], capture_output=True, text=True, check=True
    )
    ours = said.stdout.split()[-1]
    return {name: ours for name in files} | {
        PEERS[name].title: version(PEERS[name].package) for name in arguments.engines
    }


def choose_engines(text):
    from comparison.engines import PEERS

    asked = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in asked if name not in PEERS]
    if unknown:
        raise Failed(f"--engines: `{unknown[0]}` is not one of {', '.join(PEERS)}")
    # eager is the reference for the others, so it comes first and always.
    return ["eager", *(name for name in PEERS if name in asked and name != "eager")]


def installed_packages():
    """Name and version of each package that the engines need; with --python some may be missing."""
    from importlib.metadata import PackageNotFoundError, version

    found = []
    for name in (pin.split("==")[0] for pin in PINS):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return found


def bench(arguments):
    from comparison import report
    from comparison.engines import PEERS

    arguments.engines = choose_engines(arguments.engines)
    bin_folder = binaries(arguments.bin)
    arguments.checkpoint = checkpoint_folder(arguments.checkpoint, arguments.family, bin_folder).resolve()
    found = report.machine()
    load = os.getloadavg()[0]
    print(f"{date.today()}: {report.machine_line(found)}")
    packages = installed_packages()
    print(f"Python {platform.python_version()}, " + ", ".join(packages))
    print(f"load average {load:.2f} at the start", flush=True)
    if load > BUSY:
        say(f"bench/peers: the machine is busy (load average {load:.2f}): the times will be wrong")
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        work = Path(folder)
        files = converted_files(arguments.model, arguments.checkpoint, bin_folder, work)
        if any(PEERS[name].needs_onnx for name in arguments.engines):
            export = [
                sys.executable,
                "-m",
                "comparison.model",
                arguments.checkpoint,
                work / "model.onnx",
            ]
            run(*export, "--samples", 48000, env=os.environ | {"PYTHONPATH": str(HERE)})
        versions = engine_versions(arguments, files, bin_folder)
        lengths = []
        for seconds in arguments.seconds:
            result = one_length(arguments, files, seconds, work, bin_folder, versions)
            if result is None:
                return 1
            lengths.append(result)
    if arguments.json:
        document = {
            "date": str(date.today()),
            "machine": found,
            "load_average": load,
            "packages": packages,
            "lengths": lengths,
        }
        arguments.json.write_text(json.dumps(document, indent=2) + "\n")
    return 0


def main():
    arguments = parse()
    # Run again with the interpreter that has the packages.
    if INSIDE not in os.environ:
        python = arguments.python or make_venv(arguments.venv, PINS)
        os.execve(python, [str(python), *sys.argv], os.environ | {INSIDE: "1"})
    sys.path.insert(0, str(HERE))
    from comparison.turns import WorkerFailed

    # The workers must end with this script: a stopped process would stay for ever.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(2))
    try:
        return bench(arguments)
    except WorkerFailed as error:
        raise Failed(str(error)) from error


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        say(f"bench/peers: {error}")
        sys.exit(2)
    except Exception:
        # Python's own exit status, 1, would say that the engines disagree.
        traceback.print_exc()
        sys.exit(2)

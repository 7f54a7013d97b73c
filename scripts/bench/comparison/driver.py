"""One comparison: everything is made, each length is run, and what was found is printed."""

import json
import os
import platform
import subprocess
import sys
import tempfile
from dataclasses import dataclass
from datetime import date
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path

import numpy as np
from environment import Failed, run, say

from comparison import report
from comparison.engines import PEERS, PRECISIONS
from comparison.model import fixtures, sample_rate
from comparison.ours import Ours, binaries, checkpoint_folder, rows, weights_dtype
from comparison.turns import Worker, WorkerFailed, take_turns
from comparison.verdict import verdict
from comparison.verification import (
    F32_NMSE,
    FILE_NMSE,
    Agreement,
    ShapesDiffer,
    compare,
    listing,
)

# Where the package `comparison` is.
HERE = Path(__file__).resolve().parents[1]
# A load average above this says that something else is running.
BUSY = 0.5


@dataclass(eq=False)
class Entrant:
    """A row of the table to be."""

    name: str
    version: str
    precision: str
    ours: Ours | None = None
    # The peer's name in `PEERS`.
    engine: str | None = None
    agreement: Agreement | None = None
    worker: Worker | None = None

    @property
    def other_model(self):
        return self.engine is not None and PEERS[self.engine].other_model is not None

    @property
    def refused(self):
        """Ours in reduced precision has to be near enough to be timed, here and in the benchmark itself, which then ends at once.
        Peers are timed in any case."""
        reduced = self.ours is not None and self.precision != "f32"
        return reduced and (self.worker is None or not self.agreement.accepted)

    @property
    def nmse_limit(self):
        """In f32 all have to compute the same; a 16-bit file has other weights than PyTorch."""
        if self.precision != "f32":
            return None
        kind = self.ours and weights_dtype(self.ours.file)
        return FILE_NMSE.get(kind, F32_NMSE)


def start(entrant, arguments, work, bin_folder):
    """Loads one engine, which is stopped after its first run."""
    say(f"bench/peers: loading {entrant.name}")
    clip, threads = work / "x.npy", arguments.threads
    if entrant.ours:
        options = ["--input", clip, "--threads", threads, "--stdin", "--peak"]
        command, environment = entrant.ours.command(bin_folder, "bench", *options), {}
    else:
        command = [sys.executable, "-m", "comparison.worker"]
        command += peer_arguments(entrant.engine, arguments, work)
        command += ["--input", clip, "--states", work / f"{entrant.engine}.npy"]
        environment = {
            "PYTHONPATH": str(HERE),
            "OMP_NUM_THREADS": str(threads),
            "MKL_NUM_THREADS": str(threads),
            "TOKENIZERS_PARALLELISM": "false",
        }
    try:
        entrant.worker = Worker(entrant.name, command, environment)
    except WorkerFailed as error:
        # The benchmark has compared the arithmetic with f32, and said on standard error what it found.
        if not (entrant.ours and entrant.precision != "f32" and error.status == 1):
            raise


def peer_arguments(engine, arguments, work):
    """What `comparison.worker` and `comparison.prepare` both take."""
    peer = PEERS[engine]
    given = [engine, "--checkpoint", arguments.checkpoint, "--threads", arguments.threads]
    given += ["--onnx", work / "model.onnx"] if peer.needs_onnx else []
    return given + (["--prepared", work / engine] if peer.prepare else [])


def hidden_states(entrant, arguments, work, bin_folder):
    """What it computed, and what that is compared with: PyTorch eager, unless it cannot run this model."""
    reference = work / "eager.npy"
    if entrant.ours:
        output = work / "ours.npz"
        options = ["--input", work / "x.npy", "--output", output, "--force"]
        run(*entrant.ours.command(bin_folder, "hidden-states", *options))
        with np.load(output) as arrays:
            states = arrays["hidden_states"]
        output.unlink()
        return states, np.load(reference)
    if entrant.other_model:
        reference = work / "reference.npy"
        prepare(entrant.engine, arguments, work, "--input", work / "x.npy", "--reference", reference)
    return np.load(work / f"{entrant.engine}.npy"), np.load(reference)


def verify(entrants, arguments, work, bin_folder):
    """Compares all hidden states and prints what was found; whether all may be timed."""
    for entrant in entrants:
        if entrant.engine != "eager":
            try:
                entrant.agreement = compare(*hidden_states(entrant, arguments, work, bin_folder))
            except ShapesDiffer as error:
                raise Failed(f"{entrant.name}: {error}") from error
    compared = [entrant for entrant in entrants if entrant.agreement]
    print(listing({entrant.name: entrant.agreement for entrant in compared}), flush=True)
    bad = [
        f"{entrant.name} (allowed: {entrant.nmse_limit:.0e})"
        for entrant in compared
        if entrant.nmse_limit and not entrant.agreement.worst_nmse <= entrant.nmse_limit
    ]
    if bad:
        print(f"\nThese do not compute the same: {', '.join(bad)}. Nothing was timed.")
    return not bad


def one_length(arguments, entrants, seconds, work, bin_folder):
    rate = sample_rate(arguments.checkpoint)
    np.save(work / "x.npy", fixtures().music("full-size", round(seconds * rate), rate))

    def progress(round_number, name, took):
        counted = f"round {round_number} of {arguments.runs}" if round_number else "not counted"
        say(f"bench/peers: {seconds:g} s, {counted}: {name} {took:.3f} s")

    try:
        for entrant in entrants:
            start(entrant, arguments, work, bin_folder)
        print(f"\n## {seconds:g} s, {arguments.threads} threads\n")
        if not verify(entrants, arguments, work, bin_folder):
            return None
        first = next((entrant for entrant in entrants if entrant.ours and entrant.worker), None)
        if first is None:
            raise Failed("mert-verify bench refused every file in every mode: there is nothing to compare")
        timed = [entrant for entrant in entrants if not entrant.refused]
        take_turns([entrant.worker for entrant in timed], arguments.runs, progress)
        if first.refused:
            # It has to run once to say how many frames and operations there are.
            first.worker.run()
        peaks = [entrant.worker and entrant.worker.peak_bytes() for entrant in entrants]
        last = [entrant.worker and entrant.worker.finish() for entrant in entrants]
    finally:
        for entrant in entrants:
            if entrant.worker:
                entrant.worker.kill()

    documents = [
        (entrant.precision, json.loads(text))
        for entrant, text in zip(entrants, last, strict=True)
        if entrant.ours and text
    ]
    ours = documents[0][1]["rows"][0]
    rows = [
        report.Row(
            entrant.name,
            entrant.version,
            entrant.ours is not None,
            entrant.precision,
            entrant.agreement,
            entrant.other_model,
            entrant.worker.seconds if entrant in timed else [],
            peak if entrant in timed else None,
        )
        for entrant, peak in zip(entrants, peaks, strict=True)
    ]
    peaks = {precision: document["rows"][0]["peak"] for precision, document in documents}
    peaks = {precision: peak for precision, peak in peaks.items() if peak}
    print(
        f"\n{ours['frames']} frames, {ours['gflop']:.0f} GFLOP in matrix products, medians of {arguments.runs}."
    )
    for precision, peak in peaks.items():
        print(
            f"Peak of {arguments.threads} threads in {precision}: {peak['gflops']:.0f} GFLOP/s ({peak['instructions']})."
        )
    print("\n" + report.table(rows, ours["gflop"], peaks))
    print("\n" + verdict(rows), flush=True)
    return {
        "seconds": seconds,
        "threads": arguments.threads,
        "frames": ours["frames"],
        "gflop": ours["gflop"],
        "peaks": peaks,
        "nmse": {row.engine: row.agreement.nmse for row in rows if row.agreement},
        "rows": [report.row_json(row) for row in rows],
    }


# --- all of it -----------------------------------------------------------------------------------


def choose_engines(text):
    asked = [name.strip() for name in text.split(",") if name.strip()]
    unknown = [name for name in asked if name not in PEERS and name != "all"]
    if unknown:
        raise Failed(f"--engines: `{unknown[0]}` is not all or one of {', '.join(PEERS)}")
    # eager is the reference for the others, so it comes first and always.
    return [name for name in PEERS if name in asked or name == "eager" or "all" in asked]


def choose_modes(text):
    modes = list(dict.fromkeys(name.strip() for name in text.split(",") if name.strip()))
    unknown = [name for name in modes if name not in PRECISIONS]
    if unknown or not modes:
        raise Failed(f"--modes: expected a list of {', '.join(PRECISIONS)}, found `{text}`")
    return modes


def comparison_module(name, *given):
    run(sys.executable, "-m", f"comparison.{name}", *given, env=os.environ | {"PYTHONPATH": str(HERE)})


def prepare(engine, arguments, work, *more):
    comparison_module("prepare", *peer_arguments(engine, arguments, work), *more)


def prepare_all(arguments, work):
    """The exported model and what is quantized or converted from it, made before anything is timed."""
    if any(PEERS[name].needs_onnx for name in arguments.engines):
        export = [arguments.checkpoint, work / "model.onnx", "--samples", 48000]
        comparison_module("model", *export)
    for name in arguments.engines:
        if PEERS[name].prepare:
            say(f"bench/peers: preparing {PEERS[name].title}")
            prepare(name, arguments, work)


def all_entrants(arguments, our_rows, bin_folder):
    """Ours first."""
    said = subprocess.run(
        [bin_folder / "mert-verify", "--version"], capture_output=True, text=True, check=True
    )
    our_version = said.stdout.split()[-1]
    entrants = [Entrant(row.name, our_version, row.mode, ours=row) for row in our_rows]
    for name in arguments.engines:
        peer = PEERS[name]
        entrants.append(Entrant(peer.title, version(peer.package), peer.precision, engine=name))
    return entrants


def installed_packages(pins):
    """Name and version of each package that the engines need; with --python some may be missing."""
    found = []
    for name in (pin.split("==")[0] for pin in pins):
        try:
            found.append(f"{name} {version(name)}")
        except PackageNotFoundError:
            found.append(f"no {name}")
    return found


def bench(arguments, pins):
    arguments.engines = choose_engines(arguments.engines)
    modes = choose_modes(arguments.modes)
    bin_folder = binaries(arguments.bin)
    arguments.checkpoint = checkpoint_folder(
        arguments.checkpoint, arguments.family, bin_folder
    ).resolve()
    found = report.machine()
    load = os.getloadavg()[0]
    print(f"{date.today()}: {report.machine_line(found)}")
    packages = installed_packages(pins)
    print(f"Python {platform.python_version()}, " + ", ".join(packages))
    print(f"load average {load:.2f} at the start", flush=True)
    if load > BUSY:
        say(f"bench/peers: the machine is busy (load average {load:.2f}): the times will be wrong")
    with tempfile.TemporaryDirectory(prefix="peers-") as folder:
        work = Path(folder)
        our_rows = rows(arguments.model, modes, arguments.checkpoint, bin_folder, work)
        prepare_all(arguments, work)
        lengths = []
        for seconds in arguments.seconds:
            entrants = all_entrants(arguments, our_rows, bin_folder)
            result = one_length(arguments, entrants, seconds, work, bin_folder)
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

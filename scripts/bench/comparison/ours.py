"""Our side of the comparison: the programs, the checkpoint, its converted files and the rows of the tables."""

import json
import sys
from dataclasses import dataclass
from pathlib import Path

from environment import ROOT, TARGET, Failed, run, say

from comparison.model import weights_file

MAKE_MODELS = ROOT / "scripts/fixtures/make_models.py"


@dataclass(frozen=True)
class Ours:
    """A converted file, computed in one element type."""

    name: str
    file: Path
    mode: str

    def command(self, bin_folder, subcommand, *options):
        program = [bin_folder / "mert-verify", subcommand, self.file]
        return [*program, "--dtype", self.mode, *options]


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


def rows(given, modes, checkpoint, bin_folder, work):
    """Every converted file in every mode. The first that is timed is compared with the peers."""
    files = [(f", {file.name}", file) for file in given or []]
    if not given:
        for dtype in ("f32", "f16"):
            file = work / f"{dtype}.safetensors"
            source = weights_file(checkpoint)
            run(bin_folder / "mert-convert", source, file, "--dtype", dtype, "--quiet")
            files.append(("", file))
    found = []
    for called, file in files:
        for mode in modes:
            kind = weights_dtype(file)
            if modes != ["f32"]:
                kind += f" file, {mode} arithmetic"
            found.append(Ours(f"mert-runtime{called} ({kind})", file, mode))
    return found


def weights_dtype(file):
    """The dtype in a converted file's metadata."""
    with file.open("rb") as stream:
        header = json.loads(stream.read(int.from_bytes(stream.read(8), "little")))
    return header.get("__metadata__", {}).get("dtype", "unknown")

"""The comparison of a program's outputs with expected ones, the conversions, and the count of what was checked."""

import json
import shutil
import subprocess
from pathlib import Path

import numpy as np
import torch
from safetensors.numpy import load_file

# Two implementations of HuBERT base in float32 differ from float64 by an NMSE of 3e-12 to 5e-12.
SAME_WEIGHTS = 1e-11
# The largest difference in activations up to 5, and in proportion beyond.
LARGEST = 1.7e-5 / 5
# A mistake in a graph makes 2e-7 at the least; a mutant here, thousands of times more.
MUTANT = 1e-6


class Mismatch(Exception):
    """A program does not return what it should."""


class Checks:
    """Counts checks, prints a line for each, and raises `Mismatch` for the first that fails."""

    def __init__(self):
        self.passed = 0

    def say(self, what, note=""):
        self.passed += 1
        print(f"  ok  {what}{f': {note}' if note else ''}", flush=True)

    def that(self, condition, what, note=""):
        if not condition:
            raise Mismatch(f"{what}: {note}" if note else what)
        self.say(what, note)

    def close(self, actual, expected, what, nmse=SAME_WEIGHTS, largest=LARGEST):
        """Compares in float64; written so that NaN fails."""
        error, most, scale = difference(actual, expected)
        note = f"NMSE {error:.1e}, max |Δ| {most:.1e} at |x| up to {scale:.1f}"
        self.that(error <= nmse and most <= largest * max(scale, 5), what, note)

    def caught(self, outputs, expected, what):
        """A defective output must differ from the expected one, or fail to compute."""
        try:
            error = difference(outputs(), expected)[0]
        except Exception as failure:
            return self.say(f"mutant {what}", f"{type(failure).__name__}")
        self.that(not error <= MUTANT, f"mutant {what}", f"NMSE {error:.1e}")


def difference(actual, expected):
    """The NMSE, the largest difference and the largest expected value."""
    actual, expected = np.asarray(actual, dtype=np.float64), np.asarray(expected, dtype=np.float64)
    if actual.shape != expected.shape:
        raise Mismatch(f"the shape is {actual.shape}, expected {expected.shape}")
    delta = actual - expected
    return (delta**2).sum() / (expected**2).sum(), np.abs(delta).max(), np.abs(expected).max()


def convert(binaries, source, output, target, *options):
    """Converts for a target. A folder without a preprocessor is of samples as they are, at 16 kHz; fairseq's file says it."""
    known = source.is_file() or (source / "preprocessor_config.json").exists()
    audio = [] if known else ["--do-normalize", "false", "--sampling-rate", "16000"]
    # What a program itself has written there is not replaced by mert-convert.
    shutil.rmtree(output, ignore_errors=True)
    command = [binaries / "mert-convert", source, output, "--for", target, "--quiet", "--force", *audio, *options]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    if result.returncode != 0:
        raise Mismatch(f"mert-convert {target}: {result.stderr}")
    return Path(output)


def read_checkpoint(folder):
    """The tensors and the configuration of a checkpoint folder."""
    config = json.loads((folder / "config.json").read_text())
    weights = folder / "model.safetensors"
    if weights.exists():
        return load_file(weights), config
    tensors = torch.load(folder / "pytorch_model.bin", weights_only=True)
    return {name: tensor.numpy() for name, tensor in tensors.items()}, config


def noise(samples, seed=1):
    """A clip with a slow envelope, so that frames differ."""
    rng = np.random.default_rng(seed)
    time = np.arange(samples) / 16_000
    return (rng.standard_normal(samples) * (0.3 + 0.2 * np.sin(40 * time))).astype(np.float32)

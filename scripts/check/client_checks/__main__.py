"""Runs every check in a folder for temporary files: `python scripts/check/client_checks BINARIES FOLDER`."""

import sys
import time
import traceback
from pathlib import Path

import mlx.core as mx
import transformers

import contentvec
import fairseq
import hubert
import hugging_face
from checks import Checks, Mismatch, noise, read_checkpoint
from forward import Forward

ROOT = Path(__file__).resolve().parents[3]
FAMILIES = ROOT / "fixtures/families"


def reference(folder, samples):
    """The float64 states of a checkpoint folder, the last of them both before and after a final LayerNorm."""
    tensors, config = read_checkpoint(folder)
    forward = Forward(tensors, config)
    states = forward.hidden_states(samples)
    return config, states, [*states[:-1], forward.final(states[-1])]


def check_tiny(checks, binaries, folder):
    samples = noise(2_000)
    for name, mutants in (("hubert", True), ("hubert-large", False), ("wav2vec2", False)):
        print(name, flush=True)
        source = FAMILIES / name
        config, layers, states = reference(source, samples)
        numbers = list(range(1, len(layers)))
        contentvec.check(checks, binaries, source, config, samples, layers, numbers, folder, mutants)
        hubert.check(checks, binaries, source, samples, states, [0, *numbers], folder, mutants)
    print("transformers", flush=True)
    # The wide models of the fixtures have generated weights, which the repository does not keep.
    for source in sorted(folder for folder in FAMILIES.iterdir() if list(folder.glob("*model.*"))):
        # MERT's configuration has a rate of its own, which a preprocessor of other models contradicts.
        rate = ["--sampling-rate", "24000"] if source.name.startswith("mert") else []
        output, expected = hugging_face.check(checks, binaries, source, samples, folder, options=rate)
        if source.name == "hubert":
            hugging_face.check_mutants(checks, output, samples, expected)
            hugging_face.check(checks, binaries, source, samples, folder, dtypes=(), options=["--max-shard-size", "10KB"])
    hugging_face.check_fused(checks, binaries, FAMILIES / "hubert", samples, folder)
    hugging_face.check_voice_conversion(checks, binaries, ROOT / "fixtures/voice-conversion", folder)


def check_full_size(checks, binaries, folder):
    """ContentVec from fairseq's format, and one second."""
    print("ContentVec at full size, from fairseq's format", flush=True)
    source, samples = folder / "contentvec.pt", noise(16_000)
    fairseq.write(source)
    states = Forward(fairseq.read(source), fairseq.CONFIG).hidden_states(samples)
    contentvec.check(checks, binaries, source, fairseq.CONFIG, samples, states, [1, 9, 12], folder, mutants=False)
    contentvec.check_from_pretrained(checks, folder / "contentvec.safetensors", samples, states[9], 9)
    hubert.check(checks, binaries, source, samples, states, [0, 1, 9, 12], folder, mutants=False, dtypes={})
    hugging_face.check_states(checks, folder / "hf", samples, states, [0, 1, 9, 12])


def main(binaries, folder):
    # The bounds are for the CPU's float32: a GPU may multiply with fewer bits.
    mx.set_default_device(mx.cpu)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    checks, start = Checks(), time.monotonic()
    check_tiny(checks, binaries, folder)
    check_full_size(checks, binaries, folder)
    print(f"check/clients: {checks.passed} checks passed in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    try:
        main(*(Path(argument).resolve() for argument in sys.argv[1:3]))
    except Mismatch as error:
        print(f"check/clients: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(2)

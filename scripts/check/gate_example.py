#!/usr/bin/env python3
"""Checks that the gate of docs/verify.md passes as written, with references that its Python example made.

    scripts/check/gate_example.py [FOLDER_WITH_BINARIES]     (default: target/release)

The Python blocks, the `verify.yaml` and the command are read from docs/verify.md and run on two tiny checkpoints, a post-LN
and a pre-LN one, with real torch and transformers; the Python blocks also on models of other families. The long references are made after the same weights were saved as other
programs do: as `model.safetensors` of a fine-tuned model, and nested by a trainer; the pre-LN model comes with a
preprocessor that does not normalise. The structure of the f16 file must be judged, too. A reference of the pre-LN model
with `hidden_states` as transformers 5 returns them must fail with the reason. Where the interpreter has MLX, which the
environment of this script has not, the example of docs/quantization.md is run, too.

MERT_TORCH_VENV   where torch and transformers are kept (default: target/venv-torch); on Linux the torch of PyPI brings CUDA
                  with it, so this takes 5 GB

--python takes another interpreter, for another version of transformers. Exit status: 0 all is as documented, 1 it is not,
2 anything else.
"""

import argparse
import json
import os
import re
import shutil
import subprocess
import sys
import tempfile
import xml.etree.ElementTree as ElementTree
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import ROOT, TARGET, TORCH_PINS, Failed, make_venv, run, say, torch_venv  # noqa: E402

# A Core ML package takes clips of 30 s by default.
SECONDS = 30
DOCUMENT = ROOT / "docs/verify.md"
QUANTIZED = ROOT / "docs/quantization.md"

# Makes clip.npy: as many samples of a fixture's input as requested, repeated where it is shorter, scaled and with an offset,
# so that the example's own normalisation shows.
MAKE_CLIP = """
import sys, numpy
clip = numpy.load(sys.argv[1])["input_values"]
samples = int(sys.argv[2]) or len(clip)
numpy.save("clip.npy", (numpy.resize(clip, samples) * 0.1 + 0.02).astype("float32"))
"""

# Saves the weights again, as other programs do.
SAVE_OTHERWISE = {
    "mert-tiny": """
import os, torch
from safetensors.torch import save_file
weights = torch.load("pytorch_model.bin", weights_only=True)
tensors = {f"hubert.{name}": tensor.contiguous() for name, tensor in weights.items()}
save_file(tensors | {"lm_head.bias": torch.zeros(3)}, "model.safetensors", metadata={"format": "pt"})
os.remove("pytorch_model.bin")
""",
    "stable-layer-norm": """
import torch
weights = torch.load("pytorch_model.bin", weights_only=True)
tensors = {f"model.hubert.{name}": tensor for name, tensor in weights.items()}
torch.save({"state_dict": tensors | {"head.bias": torch.zeros(3)}, "epoch": 3}, "pytorch_model.bin")
""",
}

# Prints whether a reference's input is the clip without normalisation.
IS_THE_CLIP = """
import numpy
print(numpy.array_equal(numpy.load("reference.npz")["input_values"][0], numpy.load("clip.npy")))
"""

# Without the example's care for the last hidden state.
AS_RETURNED = """
with torch.inference_mode():
    states = model(input_values, output_hidden_states=True).hidden_states
numpy.savez("reference.npz", input_values=input_values.numpy(), hidden_states=torch.stack(states).numpy())
"""


class Mismatch(Exception):
    """The documentation and what happens differ: exit status 1."""


def blocks(document, language):
    """The fenced blocks of a language."""
    return re.findall(rf"^```{language}\n(.*?)^```$", document, re.MULTILINE | re.DOTALL)


def only(found, what):
    """The only element of a list."""
    if len(found) != 1:
        raise Mismatch(f"{DOCUMENT.name} has {len(found)} {what}, expected one; is the extraction broken?")
    return found[0]


def read_document():
    """The Python example in its two halves, the gate's file, and the command that runs it."""
    document = (DOCUMENT).read_text()
    example = blocks(document, "python")
    if len(example) != 2:
        raise Mismatch(f"{DOCUMENT.name} has {len(example)} Python blocks, expected two: the model, and the reference")
    gate = only([block for block in blocks(document, "yaml") if "models:" in block], "verify.yaml")
    lines = [line for block in blocks(document, "sh") for line in block.splitlines()]
    command = only([line for line in lines if line.startswith("mert-verify --config verify.yaml")], "gate commands")
    return example, gate, command


def make_reference(python, folder, source, clip_of, samples):
    """Runs a Python program in the checkpoint's folder, as the document says; the `reference.npz` that it wrote."""
    quiet = dict(cwd=folder, stderr=subprocess.DEVNULL)
    run(python, "-c", MAKE_CLIP, clip_of, samples, **quiet)
    (folder / "reference.py").write_text(source)
    # What transformers prints about a model type matters only if it fails.
    result = subprocess.run([python, "reference.py"], cwd=folder, capture_output=True, text=True)
    if result.returncode != 0:
        raise Mismatch(f"the documented Python example fails:\n{result.stderr[-2000:]}")
    return folder / "reference.npz"


def transformers_version(python):
    program = "import transformers; print(transformers.__version__)"
    return run(python, "-c", program, stdout=subprocess.PIPE, text=True).stdout.strip()


def describe_preprocessor(python, folder):
    """Writes a preprocessor that does not normalise, in the file that this version of transformers writes."""
    extractor = {"feature_extractor_type": "Wav2Vec2FeatureExtractor", "do_normalize": False, "sampling_rate": 16_000}
    if transformers_version(python).startswith("4."):
        (folder / "preprocessor_config.json").write_text(json.dumps(extractor))
    else:
        processor = {"processor_class": "Wav2Vec2Processor", "feature_extractor": extractor}
        (folder / "processor_config.json").write_text(json.dumps(processor))


def verify(binaries, folder, command):
    environment = os.environ | {"PATH": f"{binaries}{os.pathsep}{os.environ['PATH']}"}
    return subprocess.run(["bash", "-euc", command], cwd=folder, env=environment, capture_output=True, text=True)


def check(name, rate, python, binaries, folder):
    (model, save), gate, command = read_document()
    fixture = ROOT / "fixtures" / name
    for file in ("pytorch_model.bin", "config.json"):
        shutil.copy(fixture / file, folder)
    normalised = name == "mert-tiny"
    if not normalised:
        describe_preprocessor(python, folder)
    for subfolder in ("build", "references", "references-30s"):
        (folder / subfolder).mkdir()
    convert = binaries / "mert-convert"
    for output, *options in (
        ["mert-f32.safetensors", "--dtype", "f32"],
        ["mert-f16.safetensors"],
        ["MERT.mlpackage"],
    ):
        run(convert, "pytorch_model.bin", f"build/{output}", *options, "--quiet", cwd=folder)
    for samples, references in ((0, "references"), (SECONDS * rate, "references-30s")):
        made = make_reference(python, folder, model + save, fixture / "reference.npz", samples)
        as_is = run(python, "-c", IS_THE_CLIP, cwd=folder, stdout=subprocess.PIPE, text=True).stdout.strip()
        if as_is != str(not normalised):
            raise Mismatch(f"{name}: is the reference's input the clip as it is? {as_is}")
        if references == "references":
            run(python, "-c", SAVE_OTHERWISE[name], cwd=folder)
        shutil.move(made, folder / references / "clip.npz")

    (folder / "verify.yaml").write_text(gate)
    result = verify(binaries, folder, command)
    if result.returncode != 0:
        raise Mismatch(f"{name}: exit status {result.returncode} from the documented gate:\n{result.stdout}{result.stderr}")
    for word in ("was the clip normalised", "structure was not judged"):
        if word in result.stdout:
            raise Mismatch(f"{name}: the gate passes, but says \"{word}\":\n{result.stdout}")
    suites = ElementTree.parse(folder / "gate.xml").getroot()
    if suites.get("failures") != "0" or suites.get("errors") != "0" or not int(suites.get("tests")):
        raise Mismatch(f"{name}: the gate passes, gate.xml has {dict(suites.attrib)}")
    say(f"check/gate_example: {name}: {suites.get('tests')} hidden states pass")
    return model


def check_family(name, python, binaries, folder):
    """The example and the gate on a model whose family has mechanisms of its own."""
    (model, save), _, _ = read_document()
    fixture = ROOT / "fixtures/families" / name
    for file in ("model.safetensors", "config.json", "preprocessor_config.json"):
        shutil.copy(fixture / file, folder)
    make_reference(python, folder, model + save, fixture / "reference.npz", 0)
    for dtype in ("f32", "f16"):
        run(binaries / "mert-convert", "model.safetensors", f"{dtype}.safetensors", "--dtype", dtype, "--quiet", cwd=folder)
        command = f"mert-verify {dtype}.safetensors --reference reference.npz --require-structure"
        result = verify(binaries, folder, command)
        if result.returncode != 0:
            raise Mismatch(f"{name}: exit status {result.returncode} from {command}:\n{result.stdout}{result.stderr}")
    say(f"check/gate_example: {name}: f32 and f16 pass")


def check_quantized(python, binaries, folder):
    """The example for quantized weights, with real MLX: uniform bits, another mode, and a layer left out."""
    if subprocess.run([python, "-c", "import mlx.core"], capture_output=True).returncode != 0:
        say("check/gate_example: docs/quantization.md: not run, this Python has no MLX")
        return
    (model, save), _, _ = read_document()
    quantized = only([block for block in blocks(QUANTIZED.read_text(), "python") if "mx.quantize" in block], "examples")
    fixture = ROOT / "fixtures/mert-tiny"
    for file in ("pytorch_model.bin", "config.json"):
        shutil.copy(fixture / file, folder)
    for options in (["--q-bits", "8"], ["--q-mode", "mxfp8"], ["--q-bits", "8", "--q-skip", "*.layers.3.*"]):
        arguments = ["pytorch_model.bin", "mert-q8.safetensors", "--quantize", *options, "--force", "--quiet"]
        run(binaries / "mert-convert", *arguments, cwd=folder)
        make_reference(python, folder, model + save + quantized, fixture / "reference.npz", 0)
        (folder / "verify.yaml").write_text(
            "models: [{model: mert-q8.safetensors, references: reference.npz, require_structure: true, "
            'tolerance: {rounding: {pooled_cosine: 0.99, below_floor: "sharp weights"}}}]'
        )
        result = verify(binaries, folder, "mert-verify --config verify.yaml")
        if result.returncode != 0:
            raise Mismatch(f"{options}: exit status {result.returncode}:\n{result.stdout}{result.stderr}")
        say(f"check/gate_example: docs/quantization.md: {' '.join(options)} passes")


def check_trap(model, python, binaries, folder, fixture):
    """Checks a reference with the hidden states as transformers returns them: right in version 4, recognised in version 5."""
    version = transformers_version(python)
    major = int(version.split(".")[0])
    make_reference(python, folder, model + AS_RETURNED, fixture / "reference.npz", 0)
    result = verify(binaries, folder, "mert-verify build/mert-f32.safetensors --reference reference.npz")
    expected = 0 if major < 5 else 1
    if result.returncode != expected or (expected == 1) != ("lacks the encoder's final LayerNorm" in result.stdout):
        raise Mismatch(f"hidden_states of transformers {version} as they are: {result.stdout}{result.stderr}")
    say(f"check/gate_example: hidden_states of transformers {version} as they are: exit status {expected}")


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="?", type=Path, default=TARGET / "release")
    parser.add_argument("--python", type=Path, help=f"an interpreter that has {', '.join(TORCH_PINS)}")
    arguments = parser.parse_args()
    python, binaries = arguments.python or make_venv(torch_venv(), TORCH_PINS), arguments.binaries.resolve()
    for name, rate in (("mert-tiny", 24_000), ("stable-layer-norm", 16_000)):
        with tempfile.TemporaryDirectory(prefix="gate_example-") as folder:
            model = check(name, rate, python, binaries, Path(folder))
            if name == "stable-layer-norm":
                check_trap(model, python, binaries, Path(folder), ROOT / "fixtures" / name)
    for name in ("wavlm-large", "data2vec-audio", "hubert-batch-norm"):
        with tempfile.TemporaryDirectory(prefix="gate_example-") as folder:
            check_family(name, python, binaries, Path(folder))
    with tempfile.TemporaryDirectory(prefix="gate_example-") as folder:
        check_quantized(python, binaries, Path(folder))
    print("check/gate_example: the documented gate passes with references from the documented example")


if __name__ == "__main__":
    try:
        main()
    except Mismatch as error:
        say(f"check/gate_example: {error}")
        sys.exit(1)
    except (Failed, OSError) as error:
        say(f"check/gate_example: {error}")
        sys.exit(2)

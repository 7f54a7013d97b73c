#!/usr/bin/env python3
"""Writes fixtures/coreml/: the mert-tiny fixture as Core ML packages that coremltools made.

    python scripts/make-coreml-fixture.py [--fixtures fixtures]

Converts transformers' HubertModel, traced, with nothing but `ct.convert`: the packages show how
somebody else's converter spells this model, and a reader that takes only mert-convert's spelling
fails on them. Needs Python 3.11, coremltools 9.0, torch 2.13.0, transformers 5.23.0, numpy 2.4.6
and safetensors 0.8.0. coremltools warns that it was tested up to torch 2.7 only; a trace of this
model converts all the same, and what was converted is checked here.

With these versions the files are the same bytes on every run. Another torch or transformers names
and groups the operations differently, which is as good a fixture, so it may be made anew with them.
"""

import argparse
import hashlib
import importlib
import json
import shutil
import uuid
from pathlib import Path

import coremltools as ct
import numpy as np
import torch
import transformers
from coremltools import proto
from torch.nn.functional import scaled_dot_product_attention

fixtures = importlib.import_module("make-fixtures")

LIMIT = 2_000_000
NAMESPACE = uuid.UUID("6f3a1c52-6f0a-5b0e-9d0e-2f3f3b8f4d11")
# name -> (attention, minimum deployment target)
PACKAGES = {
    "mert-tiny-coremltools": ("eager", ct.target.iOS15),
    "mert-tiny-coremltools-ios18": ("one_operation", ct.target.iOS18),
}


def attend(module, query, key, value, attention_mask, **_):
    """transformers' own `sdpa` passes the scale, which coremltools does not take for one operation.

    The scale left out is the same: 1 / sqrt(head width).
    """
    assert attention_mask is None and module.scaling == module.head_dim**-0.5
    return scaled_dot_product_attention(query, key, value).transpose(1, 2).contiguous(), None


class HiddenStates(torch.nn.Module):
    def __init__(self, model):
        super().__init__()
        self.model = model

    def forward(self, input_values):
        frames = torch.cat(self.model(input_values, output_hidden_states=True).hidden_states)
        return frames.mean(dim=1), frames


def build(config, state, attention):
    """Weights already rounded, so that folding constants in float32 cannot round them otherwise."""
    model = fixtures.load_rounded(config, state, torch.float16)
    model.config._attn_implementation = attention
    return HiddenStates(model).eval()


def convert(module, samples, target):
    example = torch.from_numpy(samples)[None]
    with torch.no_grad():
        traced = torch.jit.trace(module, example, check_trace=False)
    # float32 at both ends: with a target of iOS 16 or later the default would be float16.
    return ct.convert(
        traced,
        inputs=[ct.TensorType("input_values", shape=example.shape, dtype=np.float32)],
        outputs=[
            ct.TensorType("hidden_states", dtype=np.float32),
            ct.TensorType("frame_hidden_states", dtype=np.float32),
        ],
        compute_precision=ct.precision.FLOAT16,
        minimum_deployment_target=target,
        skip_model_load=True,
    )


def version(module):
    return module.__version__.split("+")[0]


def describe(model, config_text, checkpoint, states):
    """mert's keys beside coremltools' own, less the date and the kind of torch's build."""
    own = model.description.metadata.userDefined
    del own["com.github.apple.coremltools.conversion_date"]
    own["com.github.apple.coremltools.source"] = f"torch=={version(torch)}"
    own["config"] = json.dumps(json.loads(config_text), separators=(",", ":"), sort_keys=True)
    own["dtype"] = "f16"
    own["source_sha256"] = hashlib.sha256(checkpoint).hexdigest()
    own["generator"] = (
        f"coremltools {ct.__version__}, torch {version(torch)}, "
        f"transformers {version(transformers)}"
    )
    own["hidden_states"] = ",".join(str(state) for state in range(states))
    build_info = model.mlProgram.attributes["buildInfo"].immediateValue.dictionary
    for entry in build_info.values:
        text = entry.value.immediateValue.tensor.strings.values
        text[0] = text[0].split("+")[0]


def save(model, weights, path):
    """Maps sorted, and identifiers made from the package's name instead of at random."""
    folder = path / "Data" / "com.apple.CoreML"
    if path.exists():
        shutil.rmtree(path)
    (folder / "weights").mkdir(parents=True)
    (folder / "weights" / "weight.bin").write_bytes(weights)
    (folder / "model.mlmodel").write_bytes(model.SerializeToString(deterministic=True))
    items = {
        str(uuid.uuid5(NAMESPACE, f"{path.name}/{name}")): {
            "author": "com.apple.CoreML",
            "description": description,
            "name": name,
            "path": f"com.apple.CoreML/{name}",
        }
        for name, description in (
            ("model.mlmodel", "CoreML Model Specification"),
            ("weights", "CoreML Model Weights"),
        )
    }
    manifest = {
        "fileFormatVersion": "1.0.0",
        "itemInfoEntries": dict(sorted(items.items())),
        "rootModelIdentifier": next(iter(items)),
    }
    (path / "Manifest.json").write_text(json.dumps(manifest, indent=4) + "\n")


# --- checks ---------------------------------------------------------------------------------------


def check_module(module, samples, reference):
    with torch.inference_mode():
        pooled, frames = module(torch.from_numpy(samples)[None])
    worst = fixtures.nmse(frames.numpy(), reference).max()
    # Fused attention sums in another order: 2e-13.
    assert worst < 1e-11, f"the traced module is not the reference's model: NMSE {worst}"
    assert torch.equal(pooled, frames.mean(dim=1))


def operations(model):
    function = model.mlProgram.functions["main"]
    return function.block_specializations[function.opset].operations


def check_weights(model, weights, state):
    """Every tensor of the checkpoint is in the file, as its float16, exactly once."""
    missing = {
        tensor.to(torch.float16).numpy().tobytes(): name
        for name, tensor in fixtures.fused_state(state).items()
        if name != "masked_spec_embed"
    }
    for operation in operations(model):
        value = operation.attributes["val"] if operation.type == "const" else None
        if value is None or value.WhichOneof("value") != "blobFileValue":
            continue
        name = operation.outputs[0].name
        assert value.type.tensorType.dataType == proto.MIL_pb2.DataType.FLOAT16, name
        offset = value.blobFileValue.offset
        size, start = np.frombuffer(weights[offset + 8 : offset + 24], "<u8").tolist()
        values = weights[start : start + size]
        assert missing.pop(values, None) is not None, f"{name} is no tensor of the checkpoint"
    assert not missing, f"not in the package: {sorted(missing.values())}"


def write(path, folder, attention, target):
    config_text = (folder / "config.json").read_text()
    checkpoint = (folder / "pytorch_model.bin").read_bytes()
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    reference = np.load(folder / "reference.npz", allow_pickle=False)
    samples, expected = reference["input_values"], reference["hidden_states_f16"]

    module = build(json.loads(config_text), state, attention)
    check_module(module, samples, expected)
    converted = convert(module, samples, target)
    model = converted.get_spec()
    weights = (Path(converted.weights_dir) / "weight.bin").read_bytes()
    check_weights(model, weights, state)
    fused = sum(o.type == "scaled_dot_product_attention" for o in operations(model))
    assert fused == (0 if attention == "eager" else len(expected) - 1)

    describe(model, config_text, checkpoint, len(expected))
    save(model, weights, path)
    size = sum(file.stat().st_size for file in path.rglob("*") if file.is_file())
    print(f"{path}: {size:,} bytes, {len(operations(model))} operations")
    assert size < LIMIT


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--fixtures", type=Path, default=root / "fixtures")
    arguments = parser.parse_args()

    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.AttentionInterface.register("one_operation", attend)
    for name, (attention, target) in PACKAGES.items():
        path = arguments.fixtures / "coreml" / f"{name}.mlpackage"
        write(path, arguments.fixtures / "mert-tiny", attention, target)
    fixtures.write_readme(arguments.fixtures)


if __name__ == "__main__":
    main()

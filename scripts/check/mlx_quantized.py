#!/usr/bin/env python3
"""Loads quantized folders with mlx-lm's own loader, and compares what MLX computes with them with what this toolkit does.

    scripts/check/mlx.sh --run scripts/check/mlx_quantized.py FOLDER_WITH_BINARIES

Converts the tiny checkpoints of fixtures/ in many encodings. Each quantized weight must have the bytes that `mx.quantize` returns
for the weight of the unquantized file; `mlx_lm.utils.load_model` must find every tensor that a model class of mlx.nn has, and no
other; and the hidden states of that model in float32 must equal those of `mert-verify hidden-states` up to an NMSE of 1e-9.
Defects in a folder must be found. Exit status: 0 all agree, 1 they differ, 2 anything else.
"""

import json
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from mlx.utils import tree_flatten
from mlx_lm.utils import load_model
from mlx_model import Hubert, Weights, supported_config

ROOT = Path(__file__).resolve().parents[2]
# Two float32 implementations of the same weights: see mlx_model.py. The mutants here make 0.29 and more.
SAME_WEIGHTS = 1e-9
DTYPES = {"f16": mx.float16, "bf16": mx.bfloat16, "f32": mx.float32}

# A fixture, the float type, and mert-convert's options.
CASES = [
    ("mert-tiny", "f16", []),
    ("mert-tiny", "bf16", ["--q-bits", "8", "--q-group-size", "32"]),
    ("mert-tiny", "f32", ["--q-bits", "3", "--q-group-size", "32"]),
    ("mert-tiny", "f16", ["--q-bits", "6", "--q-skip", "*.layers.0.*"]),
    ("mert-tiny", "f16", ["--q-bits", "4", "--max-shard-size", "100KB"]),
    ("mert-tiny", "f16", ["--q-mode", "mxfp8"]),
    ("stable-layer-norm", "f16", ["--q-bits", "5", "--q-group-size", "32"]),
    ("stable-layer-norm", "f16", ["--q-mode", "mxfp4", "--q-only", "*.feed_forward.*"]),
    ("deepnorm", "f16", ["--q-bits", "2", "--q-group-size", "32"]),
    ("deepnorm", "bf16", ["--q-mode", "nvfp4"]),
]


class Differs(Exception):
    """Something is not as it should be."""


# --- the model class ------------------------------------------------------------------------------


class Node(nn.Module):
    """A module that is only a place for others."""

    def __init__(self, **modules):
        super().__init__()
        for name, module in modules.items():
            setattr(self, name, module)


class Encoder(nn.Module):
    """The modules of a HuBERT by transformers' names; the arithmetic is that of `Hubert`."""

    def __init__(self, config):
        super().__init__()
        self.config = config
        width, inner, channels = config["hidden_size"], config["intermediate_size"], config["conv_dim"]
        sizes = zip([1, *channels], channels, config["conv_kernel"], config["conv_stride"])
        convs = []
        for i, (inputs, outputs, kernel, stride) in enumerate(sizes):
            conv = nn.Conv1d(inputs, outputs, kernel, stride, bias=config["conv_bias"])
            has_norm = i == 0 or config["feat_extract_norm"] == "layer"
            convs.append(Node(conv=conv, layer_norm=nn.LayerNorm(outputs)) if has_norm else Node(conv=conv))
        self.feature_extractor = Node(conv_layers=convs)
        self.feature_projection = Node(projection=nn.Linear(channels[-1], width))
        if config.get("feat_proj_layer_norm", True):
            self.feature_projection.layer_norm = nn.LayerNorm(channels[-1])
        kernel, groups = config["num_conv_pos_embeddings"], config["num_conv_pos_embedding_groups"]
        positions = Node(conv=nn.Conv1d(width, width, kernel, padding=kernel // 2, groups=groups))
        layers = [self.layer(width, inner) for _ in range(config["num_hidden_layers"])]
        self.encoder = Node(pos_conv_embed=positions, layer_norm=nn.LayerNorm(width), layers=layers)

    @staticmethod
    def layer(width, inner):
        projections = {name: nn.Linear(width, width) for name in ("q_proj", "k_proj", "v_proj", "out_proj")}
        return Node(
            attention=Node(**projections),
            layer_norm=nn.LayerNorm(width),
            feed_forward=Node(intermediate_dense=nn.Linear(width, inner), output_dense=nn.Linear(inner, width)),
            final_layer_norm=nn.LayerNorm(width),
        )

    def __call__(self, samples):
        return ModuleHubert(self).hidden_states(samples)


class ModuleHubert(Hubert):
    """The arithmetic, with the linear layers of a module, quantized or not."""

    def __init__(self, model):
        super().__init__(Weights(dict(tree_flatten(model.parameters()))), model.config)
        self.modules = dict(model.named_modules())

    def linear(self, x, prefix):
        return self.modules[prefix](x)


class Arguments(dict):
    """What mlx-lm makes of a config.json and gives to the model class."""

    from_dict = classmethod(lambda cls, config: cls(supported_config(json.dumps(config))))


def load(folder):
    """The model in float32, loaded as mlx-lm loads one: strictly, quantized as config.json says."""
    model, config = load_model(folder, get_model_classes=lambda config: (Encoder, Arguments))
    if config["quantization"] != config["quantization_config"]:
        raise Differs("config.json: quantization and quantization_config differ")
    linears = (nn.QuantizedLinear, nn.Linear)
    quantized = [isinstance(module, nn.QuantizedLinear) for _, module in model.named_modules() if isinstance(module, linears)]
    # mx.quantized_matmul accumulates in the type of its input, and takes scales of that type only.
    model.set_dtype(mx.float32)
    return model, quantized


# --- the checks -----------------------------------------------------------------------------------


def run(*command):
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    return result.returncode, result.stdout + result.stderr


def convert(binaries, fixture, output, dtype, *options):
    source = ROOT / "fixtures" / fixture / "pytorch_model.bin"
    status, text = run(binaries / "mert-convert", source, output, "--dtype", dtype, "--force", "--quiet", *options)
    if status != 0:
        raise Differs(f"mert-convert {fixture} {' '.join(options)}: {text}")
    return output


def check_codes(folder, plain, dtype):
    """The number of quantized weights, each of which has the bytes of `mx.quantize` of the plain file's weight."""
    quantization = json.loads((folder / "config.json").read_text())["quantization"]
    files = [mx.load(str(file)) for file in folder.glob("model*.safetensors")]
    found, weights = {name: value for file in files for name, value in file.items()}, mx.load(str(plain))
    paths = [name.removesuffix(".scales") for name in found if name.endswith(".scales")]
    for path in paths:
        own = quantization.get(path, quantization)
        how = {key: own[key] for key in ("group_size", "bits", "mode")}
        expected = mx.quantize(weights[f"{path}.weight"].astype(DTYPES[dtype]), **how)
        for part, value in zip(("weight", "scales", "biases"), expected):
            if not mx.array_equal(found[f"{path}.{part}"], value):
                raise Differs(f"{path}.{part} differs from what mx.quantize returns")
    return len(paths)


def ours(verify, folder, clip):
    """The hidden states that this toolkit computes from a folder."""
    output = folder.with_suffix(".npz")
    status, text = run(verify, "hidden-states", folder, "--input", clip, "--output", output, "--force")
    if status != 0:
        raise Differs(f"mert-verify hidden-states {folder.name}: {text}")
    return np.load(output)["hidden_states"]


def nmse(actual, expected):
    """The largest normalised error of a hidden state."""
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    if actual.shape != expected.shape:
        raise Differs(f"the hidden states have shape {actual.shape}, expected {expected.shape}")
    axes = tuple(range(1, expected.ndim))
    return (np.square(actual - expected).sum(axes) / np.square(expected).sum(axes)).max()


def mutants(folder):
    """Defective copies of a folder, by name."""

    def edited(name, change_weights=None, change_config=None):
        copy = folder.with_name(f"mutant-{name.replace(' ', '-')}")
        shutil.copytree(folder, copy, dirs_exist_ok=True)
        if change_weights:
            weights, metadata = mx.load(str(folder / "model.safetensors"), return_metadata=True)
            change_weights(weights)
            mx.save_safetensors(str(copy / "model.safetensors"), weights, metadata)
        if change_config:
            config = json.loads((folder / "config.json").read_text())
            change_config(config)
            (copy / "config.json").write_text(json.dumps(config))
        return name, copy

    path = "encoder.layers.3.feed_forward.output_dense"

    def swap_codes(weights):
        packed = weights[f"{path}.weight"]
        low, high = mx.array(0x0F0F0F0F, mx.uint32), mx.array(0xF0F0F0F0, mx.uint32)
        weights[f"{path}.weight"] = ((packed & low) << 4) | ((packed & high) >> 4)

    def swap_parts(weights):
        weights[f"{path}.scales"], weights[f"{path}.biases"] = weights[f"{path}.biases"], weights[f"{path}.scales"]

    def shift_groups(weights):
        for part in ("scales", "biases"):
            weights[f"{path}.{part}"] = mx.roll(weights[f"{path}.{part}"], 1, axis=-1)

    def confuse_bits(config):
        # The same number of words: eight codes of 4 bits, or sixteen of 2.
        for field in ("quantization", "quantization_config"):
            config[field][path] = {"group_size": 128, "bits": 2, "mode": "affine"}

    return [
        edited("codes swapped", swap_codes),
        edited("scales and biases exchanged", swap_parts),
        edited("groups off by one", shift_groups),
        edited("a tensor missing", lambda weights: weights.pop(f"{path}.biases")),
        edited("a tensor left over", lambda weights: weights.update({"encoder.extra": mx.zeros(3)})),
        edited("bits and group confused", None, confuse_bits),
    ]



def check(binaries, folder, fixture, dtype, options):
    """One encoding: the bytes, the strict loading, and the hidden states. Returns the folder, the clip and our states."""
    # A folder states its audio input; these checkpoints do not, and it makes no difference here.
    audio = ["--do-normalize", "true", "--sampling-rate", "24000"]
    plain = convert(binaries, fixture, folder / "plain.safetensors", dtype)
    quantized = convert(binaries, fixture, folder / "quantized", dtype, "--quantize", *options, *audio)
    codes = check_codes(quantized, plain, dtype)
    model, layers = load(quantized)
    if layers.count(True) != codes or not codes:
        raise Differs(f"{layers.count(True)} quantized layers were loaded, the file has {codes}")
    clip = ROOT / "fixtures" / fixture / "reference.npz"
    states = ours(binaries / "mert-verify", quantized, clip)
    error = nmse(model(np.load(clip)["input_values"]), states)
    what = f"{fixture} {dtype} {' '.join(options) or '(the defaults)'}"
    # Written so that NaN fails.
    if not error <= SAME_WEIGHTS:
        raise Differs(f"{what}: NMSE {error:.1e}, at most {SAME_WEIGHTS:.0e} expected")
    print(f"  ok  {what}: {codes} of {len(layers)} linear layers, NMSE {error:.1e}", flush=True)
    return quantized, clip, states


def check_mutants(quantized, clip, states):
    samples = np.load(clip)["input_values"]
    for name, copy in mutants(quantized):
        try:
            model, _ = load(copy)
            error = nmse(model(samples), states)
        except (ValueError, KeyError, Differs) as refusal:
            print(f"  ok  mutant: {name}: {type(refusal).__name__}: {str(refusal).splitlines()[0][:80]}")
            continue
        if error <= SAME_WEIGHTS:
            raise Differs(f"mutant: {name}: not found, NMSE {error:.1e}")
        print(f"  ok  mutant: {name}: NMSE {error:.1e}", flush=True)


def main(arguments):
    if len(arguments) != 1:
        print(__doc__, file=sys.stderr)
        return 2
    mx.set_default_device(mx.cpu)
    binaries = Path(arguments[0]).resolve()
    try:
        with tempfile.TemporaryDirectory() as folder:
            for i, case in enumerate(CASES):
                checked = check(binaries, Path(folder), *case)
                if i == 0:
                    check_mutants(*checked)
    except Differs as difference:
        print(f"check/mlx_quantized: {difference}", file=sys.stderr)
        return 1
    print(f"check/mlx_quantized: {len(CASES)} encodings agree")
    return 0


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

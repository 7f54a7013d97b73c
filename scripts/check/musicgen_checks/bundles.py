"""Conversions of the fixtures, the tensors of a bundle, and its language model over dequantized weights in float64."""

import json
import re
import subprocess
import sys
from pathlib import Path

import mlx.core as mx
import numpy as np
import torch

ROOT = Path(__file__).resolve().parents[3]
FIXTURES = ROOT / "fixtures/musicgen"
sys.path[:0] = [str(ROOT / "scripts/fixtures"), str(ROOT / "scripts/check/client_checks")]

from checks import Mismatch  # noqa: E402
from instruct_musicgen import MusicGen  # noqa: E402

# Of the largest value: two implementations in float32 differ by 2e-6 here.
SAME = 1e-4


def run(*command):
    command = [str(part) for part in command]
    result = subprocess.run(command, capture_output=True, text=True)
    if result.returncode != 0:
        raise Mismatch(f"exit status {result.returncode} from: {' '.join(command)}\n{result.stderr or result.stdout}")
    return result.stdout


def convert(binaries, source, output, *options):
    """A bundle of `plain` or `instruct` of the fixtures."""
    inputs = [FIXTURES / source]
    if source == "instruct":
        folder = FIXTURES / source
        inputs = [folder / "finetuned.ckpt", "--base", folder / "state_dict.bin"]
        inputs += ["--codec", folder / "compression_state_dict.bin", "--t5", folder / "t5"]
    return convert_files(binaries, output, *inputs, *options)


def convert_files(binaries, output, source, *options):
    run(binaries / "mert-convert", source, output, "--force", "--quiet", *options)
    return output


def reference(source):
    return dict(np.load(FIXTURES / f"reference-{source}.npz"))


def config_of(bundle):
    return json.loads((bundle / "config.json").read_text())


def tensors_of(bundle):
    """The tensors of a folder, as the index lists them if there is one."""
    index = bundle / "model.safetensors.index.json"
    files = {"model.safetensors"}
    if index.exists():
        places = json.loads(index.read_text())["weight_map"]
        files = set(places.values())
    found = {}
    for file in sorted(files):
        found |= mx.load(str(bundle / file))
    if index.exists() and found.keys() != places.keys():
        raise Mismatch(f"{bundle.name}: the index lists other tensors than the files have")
    return found


def quantization_of(config, path):
    """The options of `nn.quantize` for a layer, or None, as mlx-lm reads them."""
    options = config.get("quantization")
    if options is None or options.get(path) is False:
        return None
    own = options[path] if isinstance(options.get(path), dict) else options
    return {"group_size": own["group_size"], "bits": own["bits"], "mode": own.get("mode", "affine")}


def dequantized(bundle):
    """The tensors of a bundle in float32, whose quantized ones are decoded by MLX with float32 scales."""
    config, found, out = config_of(bundle), tensors_of(bundle), {}
    for name, tensor in found.items():
        path = name.removesuffix(".weight")
        if name.endswith((".scales", ".biases")):
            continue
        if f"{path}.scales" in found:
            scales, biases = (found[f"{path}.{part}"].astype(mx.float32) for part in ("scales", "biases"))
            tensor = mx.dequantize(tensor, scales, biases, **quantization_of(config, path))
        out[name] = tensor.astype(mx.float32)
    return out


def canonical(name):
    """The toolkit's own name of a tensor of a language model in transformers' or audiocraft's names."""
    rules = [
        (r"^decoder\.model\.decoder\.embed_tokens\.", "lm.emb."),
        (r"^decoder\.model\.decoder\.layer_norm\.", "lm.out_norm."),
        (r"^decoder\.lm_heads\.", "lm.linears."),
        (r"^(decoder\.model\.decoder|transformer)\.layers\.", "lm.layers."),
        (r"^(enc_to_dec_proj|condition_provider\.conditioners\.description\.output_proj)\.", "text_conditioner.output_proj."),
        (r"\.(encoder_attn|cross_attention)\.", ".cross_attn."),
        (r"\.self_attn_layer_norm\.", ".norm1."),
        (r"\.encoder_attn_layer_norm\.", ".norm_cross."),
        (r"\.final_layer_norm\.", ".norm2."),
        (r"\.fc([12])\.", r".linear\1."),
        (r"^(emb|layers|linears|out_norm)\.", r"lm.\1."),
    ]
    for pattern, replacement in rules:
        name = re.sub(pattern, replacement, name)
    return name


def exact_model(bundle, channels=1):
    """The language model of a bundle in any of the names, dequantized, in float64."""
    weights = {canonical(name): torch.from_numpy(np.array(tensor)) for name, tensor in dequantized(bundle).items()}
    return MusicGen(weights, config_of(bundle)["decoder"]["num_attention_heads"], channels=channels)


def relative(actual, expected):
    """The largest difference, over the largest expected value."""
    actual, expected = (np.asarray(values, dtype=np.float64) for values in (actual, expected))
    if actual.shape != expected.shape:
        raise Mismatch(f"the shape is {actual.shape}, expected {expected.shape}")
    return np.abs(actual - expected).max() / np.abs(expected).max()

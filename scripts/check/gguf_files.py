#!/usr/bin/env python3
"""Reads GGUF files of `mert-convert` with ggml's own Python package and with MLX, and compares every tensor.

    scripts/check/mlx.sh --run scripts/check/gguf_files.py FOLDER_WITH_BINARIES

Names, shapes and floats must be those of the safetensors file in candle's layout. `Q4_1` must be what `mx.quantize` returns, read
by `mx.load` (groups of 32) and decoded by ggml's package (32 and 64); `Q8_0` must be the bytes that the package's own quantization
gives. Exit status: 0 all agree, 1 they differ, 2 anything else.
"""

import subprocess
import sys
import tempfile
from pathlib import Path

import gguf
import mlx.core as mx
import numpy as np
from gguf import GGMLQuantizationType as Type
from gguf import quants

ROOT = Path(__file__).resolve().parents[2]
# The value of general.architecture, and the groups that the rows of some layer are multiples of.
FIXTURES = {"mert-tiny": ("mert", (32, 64)), "stable-layer-norm": ("hubert", (32,))}
FLOATS = {"f16": Type.F16, "bf16": Type.BF16, "f32": Type.F32}


class Differs(Exception):
    """Something is not as it should be."""


def require(condition, what):
    if not condition:
        raise Differs(what)


def convert(binaries, fixture, output, *options):
    source = ROOT / "fixtures" / fixture / "pytorch_model.bin"
    command = [binaries / "mert-convert", source, output, "--force", "--quiet", *options]
    result = subprocess.run([str(part) for part in command], capture_output=True, text=True)
    require(result.returncode == 0, result.stderr)
    return output


def tensors(path, fixture):
    """The tensors by name, with their shapes, which the format has innermost first."""
    reader = gguf.GGUFReader(path)
    require(reader.fields["general.architecture"].contents() == FIXTURES[fixture][0], f"{path.name}: another architecture")
    return {tensor.name: (tensor, tuple(int(extent) for extent in reversed(tensor.shape))) for tensor in reader.tensors}


def values(tensor, shape):
    return quants.dequantize(tensor.data, tensor.tensor_type).reshape(shape)


def check_floats(binaries, folder, fixture, dtype):
    plain = mx.load(str(convert(binaries, fixture, folder / "plain.safetensors", "--layout", "candle", "--dtype", dtype)))
    found = tensors(convert(binaries, fixture, folder / "plain.gguf", "--dtype", dtype), fixture)
    require(found.keys() == plain.keys(), "other names")
    for name, (tensor, shape) in found.items():
        expected = np.array(plain[name].astype(mx.float32))
        require(tensor.tensor_type == FLOATS[dtype] and shape == expected.shape, f"{name}: {tensor.tensor_type} {shape}")
        require(np.array_equal(values(tensor, shape), expected), f"{name} differs")
    return len(found)


def check_q4_1(binaries, folder, fixture, group_size):
    plain = mx.load(str(convert(binaries, fixture, folder / "plain.safetensors", "--layout", "candle")))
    output = convert(binaries, fixture, folder / "q4_1.gguf", "--quantize", "--q-group-size", group_size)
    by_mlx, count = mx.load(str(output)), 0
    for name, (tensor, shape) in tensors(output, fixture).items():
        if tensor.tensor_type != Type.Q4_1:
            continue
        count += 1
        codes, scales, biases = mx.quantize(plain[name], group_size=group_size, bits=4)
        exact = [part.astype(mx.float32) for part in (scales, biases)]
        decoded = np.array(mx.dequantize(codes, *exact, group_size=group_size, bits=4))
        require(np.array_equal(values(tensor, shape), decoded), f"{name}: other values than MLX decodes")
        if group_size == 32:
            path = name.removesuffix(".weight")
            for part, expected in zip(("weight", "scales", "biases"), (codes, scales, biases)):
                require(mx.array_equal(by_mlx[f"{path}.{part}"], expected), f"{path}.{part}: not what mx.quantize returns")
    require(count > 0, "nothing is quantized")
    return count


def check_q8_0(binaries, folder, fixture):
    options = ["--layout", "candle", "--dtype", "f32"]
    plain = mx.load(str(convert(binaries, fixture, folder / "plain.safetensors", *options)))
    output = convert(binaries, fixture, folder / "q8_0.gguf", "--quantize", "--q-bits", 8)
    by_mlx, count = mx.load(str(output)), 0
    for name, (tensor, shape) in tensors(output, fixture).items():
        if tensor.tensor_type != Type.Q8_0:
            continue
        count += 1
        expected = quants.quantize(np.array(plain[name]), Type.Q8_0)
        require(np.array_equal(tensor.data.reshape(expected.shape), expected), f"{name}: not ggml's blocks")
        path = name.removesuffix(".weight")
        parts = [by_mlx[f"{path}.{part}"] for part in ("weight", "scales", "biases")]
        decoded = mx.dequantize(parts[0], *(part.astype(mx.float32) for part in parts[1:]), group_size=32, bits=8)
        require(np.allclose(np.array(decoded), values(tensor, shape), rtol=0, atol=1e-3), f"{name}: MLX reads something else")
    require(count > 0, "nothing is quantized")
    return count


def main():
    binaries = Path(sys.argv[1]).resolve()
    mx.set_default_device(mx.cpu)
    count = 0
    with tempfile.TemporaryDirectory() as folder:
        for fixture, (_, group_sizes) in FIXTURES.items():
            for dtype in FLOATS:
                count += check_floats(binaries, Path(folder), fixture, dtype)
            count += sum(check_q4_1(binaries, Path(folder), fixture, group_size) for group_size in group_sizes)
            count += check_q8_0(binaries, Path(folder), fixture)
            print(f"  ok {fixture}: floats, Q4_1 and Q8_0", flush=True)
    print(f"check/gguf: {count} tensors agree with ggml's package and MLX")


if __name__ == "__main__":
    try:
        main()
    except Differs as error:
        print(f"check/gguf: {error}", file=sys.stderr)
        sys.exit(1)
    except (IndexError, OSError) as error:
        print(f"check/gguf: {error}", file=sys.stderr)
        sys.exit(2)

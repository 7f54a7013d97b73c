"""Generates a full-size ContentVec in fairseq's format, converts it, and compares every value; see fairseq.sh."""

import pathlib
import subprocess
import sys
import tempfile
import time

import numpy as np
from safetensors.numpy import load_file

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parent.parent / "fixtures"))
from fairseq_file import save  # noqa: E402
from make_fairseq import FULL, expected, with_cfg  # noqa: E402

FUSED = "encoder.pos_conv_embed.conv.weight"
RUNS = 3


def convert(program, checkpoint, output, layout):
    """The fewest seconds of a few runs."""
    command = [program, checkpoint, output, "--dtype", "f32", "--layout", layout, "--force", "--quiet"]
    seconds = []
    for _ in range(RUNS):
        start = time.perf_counter()
        subprocess.run(command, check=True)
        seconds.append(time.perf_counter() - start)
    return min(seconds)


def differing(converted, right):
    """The names of tensors that are missing, unexpected or different. f16 widens exactly to f32; the fused weight is
    computed, and may be one unit in the last place off."""
    wrong = sorted(set(converted) ^ set(right))
    for name in set(converted) & set(right):
        if name == FUSED:
            is_same = np.all(np.abs(converted[name] - right[name]) <= np.spacing(np.abs(right[name])))
        else:
            is_same = np.array_equal(converted[name], right[name])
        if converted[name].dtype != np.float32 or converted[name].shape != right[name].shape or not is_same:
            wrong.append(name)
    return wrong


def main():
    program = str(pathlib.Path(sys.argv[1]).resolve())
    root, model = with_cfg(FULL, _name="contentvec", encoder_layers_1=3, ctr_layers=[-6])
    right = expected(model)
    wrong = []
    with tempfile.TemporaryDirectory() as folder:
        checkpoint, output = pathlib.Path(folder, "hubert_base.pt"), pathlib.Path(folder, "out.safetensors")
        save(root, checkpoint)
        for layout in ("candle", "mlx"):
            seconds = convert(program, checkpoint, output, layout)
            converted = load_file(output)
            if layout == "mlx":
                converted = {name: array.transpose(0, 2, 1) if array.ndim == 3 else array
                             for name, array in converted.items()}
            differ = differing(converted, right)
            wrong += differ
            values = sum(array.size for array in right.values())
            what = f"differ: {', '.join(differ)}" if differ else "ok"
            print(f"{checkpoint.stat().st_size} bytes, {layout}: {len(right)} tensors, {values} values {what}; "
                  f"{seconds:.2f} s, the fewest of {RUNS} runs")
    sys.exit(1 if wrong else 0)


if __name__ == "__main__":
    main()

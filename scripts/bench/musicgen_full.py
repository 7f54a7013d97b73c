#!/usr/bin/env python3
"""Converts and runs a generated Instruct-MusicGen of MusicGen-large's shapes, and prints tables in Markdown.

    scripts/bench/musicgen_full.py FOLDER [--binaries target/release] [--rounds 3] [--seconds 5] [--adam]
    scripts/bench/musicgen_full.py FOLDER --layers 4 --width 256 --heads 4 --inner 512 --card 128      at another size

Makes `state_dict.bin`, `finetuned.ckpt`, `compression_state_dict.bin` and T5 with random weights in FOLDER, a piece at a time, and
keeps them for the next call; says the disk that it needs first. Then it times a plain copy of these files and `mert-convert
--quantize` in turns, from disk, with the peak memory and sizes; `mert-generate` on a clip with its peak memory and real-time factor
(RTF); and MLX on the CPU with the same shapes: some steps with a KV cache, two rows and 4-bit weights, from which the whole is
extrapolated. Beside them is the floor that the bandwidth of memory sets, measured here and computed for Apple's chips.

--parts runs some of make, convert, generate and mlx. MERT_TORCH_VENV as in scripts/check/musicgen.py; --python takes another
interpreter that has torch, transformers, numpy and MLX. Run it on an idle machine. Exit status: 0 done, 2 anything else.
"""

import argparse
import subprocess
import sys
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import TARGET, TORCH_PINS, Failed, add_to_venv, make_venv, say, torch_venv  # noqa: E402

MLX = ["mlx[cpu]==0.32.4", "safetensors==0.8.0"]
PARTS = ["make", "convert", "generate", "mlx"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("folder", type=Path)
    parser.add_argument("--binaries", type=Path, default=TARGET / "release")
    parser.add_argument("--parts", nargs="+", choices=PARTS, default=PARTS)
    for option, value in {"layers": 48, "width": 2048, "heads": 32, "inner": 8192, "card": 2048, "rows": 501}.items():
        parser.add_argument(f"--{option}", type=int, default=value, help=f"default: {value}")
    parser.add_argument("--seconds", type=float, default=5.0, help="the length of the clip, default 5")
    parser.add_argument("--rounds", type=int, default=3, help="conversions and copies, and generations, default 3")
    parser.add_argument("--steps", type=int, default=8, help="steps of MLX, default 8")
    parser.add_argument("--adam", action="store_true", help="Adam's moments in the .ckpt, as a training leaves them")
    parser.add_argument("--small-parts", action="store_true", help="T5 and EnCodec at the size of the fixtures")
    parser.add_argument("--python", type=Path)
    arguments = parser.parse_args()
    python = arguments.python
    if python is None:
        python = make_venv(torch_venv(), TORCH_PINS)
        add_to_venv(python, "musicgen-full", MLX)
    arguments.binaries, arguments.folder = arguments.binaries.resolve(), arguments.folder.resolve()
    values = {name: value for name, value in vars(arguments).items() if name != "python"}
    command = [python, Path(__file__).resolve().parent / "full_size"]
    for name, value in values.items():
        command += [f"{name}={','.join(value) if isinstance(value, list) else value}"]
    return subprocess.run([str(part) for part in command]).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        say(f"bench/musicgen_full: {error}")
        sys.exit(2)

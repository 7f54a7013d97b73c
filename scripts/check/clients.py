#!/usr/bin/env python3
"""Runs the outputs of `mert-convert --for` in the programs that they are for, and compares what those return.

    scripts/check/clients.py [FOLDER_WITH_BINARIES]     (default: target/release)

mlx-contentvec and mlx-hubert are compared with a forward pass in float64 that shares no code with anything here, at HuBERT
base's size too; transformers' classes load each family's folder with no missing, unexpected or mismatched tensor and return
what the source's own folder gives, bit for bit; RVC's class with `final_proj` gives the features of both kinds of voice
models. Files with defects must show: mlx-contentvec and mlx-hubert load a file that lacks a tensor without a word.

MERT_TORCH_VENV   where torch and transformers are kept, to which MLX and the two packages are added (default:
                  target/venv-torch); shared with scripts/check/gate_example.py

--python takes another interpreter that has all of them. Exit status: 0 all agree, 1 something differs, 2 anything else.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import TARGET, TORCH_PINS, Failed, add_to_venv, make_venv, say, torch_venv  # noqa: E402

MLX = ["mlx[cpu]==0.32.4", "safetensors==0.8.0"]
# Alone: they require what plays and resamples audio, 600 MB, which is not imported.
CLIENTS = ["mlx-contentvec==0.1.1", "mlx-hubert==0.1.0"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="?", type=Path, default=TARGET / "release")
    parser.add_argument("--python", type=Path, help=f"an interpreter that has {', '.join(TORCH_PINS + MLX + CLIENTS)}")
    arguments = parser.parse_args()
    python = arguments.python
    if python is None:
        python = make_venv(torch_venv(), TORCH_PINS)
        add_to_venv(python, "clients", MLX, *CLIENTS)
    checks = Path(__file__).resolve().parent / "client_checks"
    with tempfile.TemporaryDirectory(prefix="clients-", dir=TARGET) as folder:
        return subprocess.run([python, checks, arguments.binaries.resolve(), folder]).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        say(f"check/clients: {error}")
        sys.exit(2)

#!/usr/bin/env python3
"""Runs bundles of MusicGen in MLX and transformers, and compares what they and `mert-generate` return with the references.

    scripts/check/musicgen.py [FOLDER_WITH_BINARIES] [--mlx-examples FOLDER]     (default: target/release)

Converts the checkpoints of fixtures/musicgen. A module of MLX with the names of mlx-examples, the class `MusicGenModel` of the
package mlx-audiogen, `Encodec` of mlx-audio and transformers' classes load the bundles strictly; logits are compared with the
references of the fixtures, those of quantized bundles with a forward pass in float64 over the dequantized weights. `mert-generate`
must give the references' greedy tokens, and those and the waveforms of transformers' `generate` for a stereo model made here.
Bundles with defects must show.

--mlx-examples: a checkout of https://github.com/ml-explore/mlx-examples, which is not on PyPI. Its own class MusicGen, with T5 and
EnCodec left out, loads what `--for mlx-examples` writes.

MERT_TORCH_VENV   where torch and transformers are kept, to which MLX and the packages are added (default: target/venv-torch)

--python takes another interpreter that has all of them, --only some of the parts. Exit status: 0 all agree, 1 something differs,
2 anything else.
"""

import argparse
import subprocess
import sys
import tempfile
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import TARGET, TORCH_PINS, Failed, add_to_venv, make_venv, say, torch_venv  # noqa: E402

MLX = ["mlx[cpu]==0.32.4", "safetensors==0.8.0", "tqdm==4.70.1"]
# Alone: they require what plays and resamples audio, which is not imported.
CLIENTS = ["mlx-audiogen==0.2.0", "mlx-audio==0.6.2"]


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("binaries", nargs="?", type=Path, default=TARGET / "release")
    parser.add_argument("--mlx-examples", type=Path, metavar="FOLDER")
    parser.add_argument("--only", nargs="+", choices=["plain", "instruct", "codec", "generate", "stereo"], default=[])
    parser.add_argument("--python", type=Path, help=f"an interpreter that has {', '.join(TORCH_PINS + MLX + CLIENTS)}")
    arguments = parser.parse_args()
    python = arguments.python
    if python is None:
        python = make_venv(torch_venv(), TORCH_PINS)
        add_to_venv(python, "musicgen", MLX, *CLIENTS)
    checks = Path(__file__).resolve().parent / "musicgen_checks"
    TARGET.mkdir(exist_ok=True)
    with tempfile.TemporaryDirectory(prefix="musicgen-", dir=TARGET) as folder:
        command = [python, checks, arguments.binaries.resolve(), folder, *arguments.only]
        if arguments.mlx_examples:
            command += ["--mlx-examples", arguments.mlx_examples.resolve()]
        return subprocess.run([str(part) for part in command]).returncode


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        say(f"check/musicgen: {error}")
        sys.exit(2)

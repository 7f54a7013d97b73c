"""Runs the checks in a folder for temporary files: `python scripts/check/musicgen_checks BINARIES FOLDER [PART …]`."""

import argparse
import sys
import time
import traceback
from pathlib import Path

import mlx.core as mx
import torch
import transformers

# First: it says where the modules of other folders are.
from bundles import Mismatch

import generation
import languages
import stereo
from checks import Checks


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("binaries", type=Path)
    parser.add_argument("folder", type=Path)
    parser.add_argument("parts", nargs="*")
    parser.add_argument("--mlx-examples", type=Path)
    arguments = parser.parse_args()
    # The bounds are for the CPU's float32: a GPU may multiply with fewer bits.
    mx.set_default_device(mx.cpu)
    torch.set_num_threads(1)
    transformers.logging.set_verbosity_error()
    transformers.utils.logging.disable_progress_bar()
    checks, start = Checks(), time.monotonic()
    parts = {
        "plain": lambda *places: languages.check_plain(*places, arguments.mlx_examples),
        "instruct": languages.check_instruct,
        "codec": generation.check_codec,
        "generate": generation.check_generate,
        "stereo": stereo.check_stereo,
    }
    for name, part in parts.items():
        if name in (arguments.parts or parts):
            print(name, flush=True)
            part(checks, arguments.binaries, arguments.folder)
    print(f"check/musicgen: {checks.passed} checks passed in {time.monotonic() - start:.0f} s")


if __name__ == "__main__":
    try:
        main()
    except Mismatch as error:
        print(f"check/musicgen: {error}", file=sys.stderr)
        sys.exit(1)
    except Exception:
        traceback.print_exc()
        sys.exit(2)

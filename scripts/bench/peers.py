#!/usr/bin/env python3
"""Runs PyTorch, ONNX Runtime and OpenVINO beside mert-runtime: same checkpoint, same input, turn by turn.

    scripts/bench/peers.py [--seconds 5,30] [--threads 2] [--runs 7] [--family wavlm] [--json FILE]

Each engine lives in a process of its own, which is stopped while another one runs. All return every
hidden state. Before anything is timed each is compared with PyTorch eager in float32: by NMSE, by the
cosine of the means over frames (pooled cosine), and by the worst cosine of a frame. Engines that
compute in float32 have to agree. Those in bf16 and int8 are timed in any case, with their accuracy in
the table; a row of mert-runtime in bf16 or int8 is timed only if all its pooled cosines are above
0.999. Models are quantized with generated music that is not in the timed clip.

Peak RSS is of the runs, after loading and one run. The Python environment is made on the first call
and kept; on Linux the torch of PyPI brings CUDA with it, so this takes about 6 GB. With the default
engines at 30 s all processes together take about 12 GB of memory. Run it on an idle machine.

Exit status: 0 done, 1 the engines do not compute the same, 2 anything else.
"""

import argparse
import os
import signal
import sys
import traceback
from pathlib import Path

sys.path.insert(0, str(Path(__file__).resolve().parents[1]))
from environment import TARGET, Failed, make_venv, say  # noqa: E402

PINS = [
    "torch==2.13.0",
    "transformers==5.23.0",
    "onnx==1.23.2",
    "onnxruntime==1.31.1",
    "openvino==2026.4.1",
    "nncf==3.4.0",
    "ctranslate2==4.8.5",
    "numpy==2.4.6",
    "safetensors==0.8.0",
]
INSIDE = "MERT_BENCH_PEERS_INSIDE"


def parse():
    def numbers(kind):
        def parse_list(text):
            values = [kind(part) for part in text.split(",")]
            if not all(value > 0 for value in values):
                raise ValueError
            return values

        parse_list.__name__ = "list of positive numbers"
        return parse_list

    def positive(text):
        (value,) = numbers(int)(text)
        return value

    about, _, rest = __doc__.partition("\n\n")
    parser = argparse.ArgumentParser(
        description=about, epilog=rest, formatter_class=argparse.RawDescriptionHelpFormatter
    )
    parser.add_argument("--seconds", type=numbers(float), default=[5.0, 30.0], help="default: 5,30")
    parser.add_argument(
        "--threads", type=positive, default=os.cpu_count(), help="default: all cores"
    )
    parser.add_argument("--runs", type=positive, default=7, help="counted rounds, default 7")
    parser.add_argument(
        "--engines",
        default="eager,sdpa,onnxruntime,openvino",
        help="all, or a list of: f32: eager (always run), sdpa, compile, onnxruntime, openvino; bf16: "
        "torch-bf16, openvino-bf16; int8: torch-int8-dynamic, onnxruntime-int8-dynamic, "
        "onnxruntime-int8-static, openvino-int8, openvino-int8-matmul, ctranslate2-int8 (another model of "
        "the same sizes); default: eager,sdpa,onnxruntime,openvino",
    )
    parser.add_argument(
        "--modes",
        default="f32",
        help="a list of f32, bf16, int8: what mert-runtime computes in, each a row; default: f32",
    )
    parser.add_argument(
        "--checkpoint",
        type=Path,
        metavar="DIR",
        help="config.json and model.safetensors or pytorch_model.bin; default: the seeded full-size model of "
        "scripts/fixtures/make_models.py, made in target/ if it is not there",
    )
    parser.add_argument(
        "--family",
        metavar="MODEL_TYPE",
        help="the base model of this family with generated weights (mert-test-model) instead",
    )
    parser.add_argument(
        "--model",
        type=Path,
        action="append",
        metavar="FILE",
        help="a converted file for ours, may be repeated; default: the checkpoint in f32 and in f16",
    )
    parser.add_argument(
        "--bin", type=Path, metavar="DIR", help="mert-convert, mert-test-model and mert-verify; default: built"
    )
    parser.add_argument("--json", type=Path, metavar="FILE", help="write everything measured")
    where = parser.add_mutually_exclusive_group()
    where.add_argument(
        "--venv", type=Path, default=TARGET / "venv-peers", metavar="DIR", help="kept there"
    )
    where.add_argument(
        "--python", type=Path, metavar="FILE", help="this interpreter, as it is, instead"
    )
    return parser.parse_args()


def main():
    arguments = parse()
    # Run again with the interpreter that has the packages.
    if INSIDE not in os.environ:
        python = arguments.python or make_venv(arguments.venv, PINS)
        os.execve(python, [str(python), *sys.argv], os.environ | {INSIDE: "1"})
    from comparison.driver import bench
    from comparison.turns import WorkerFailed

    # The workers must end with this script: a stopped process would stay for ever.
    for number in (signal.SIGTERM, signal.SIGHUP):
        signal.signal(number, lambda *_: sys.exit(2))
    try:
        return bench(arguments, PINS)
    except WorkerFailed as error:
        raise Failed(str(error)) from error


if __name__ == "__main__":
    try:
        sys.exit(main())
    except (Failed, OSError) as error:
        say(f"bench/peers: {error}")
        sys.exit(2)
    except Exception:
        # Python's own exit status, 1, would say that the engines disagree.
        traceback.print_exc()
        sys.exit(2)

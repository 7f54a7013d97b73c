"""Makes what an engine needs beside the exported model: a quantized or converted one, or states to compare with."""

import argparse
from pathlib import Path

from comparison.engines import PEERS


def main():
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("engine", choices=PEERS)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--prepared", type=Path, required=True, help="the engine's folder")
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--threads", type=int, required=True)
    parser.add_argument("--input", type=Path, help="a .npy of shape (samples,)")
    parser.add_argument("--reference", type=Path, help="write the states for --input here instead")
    arguments = parser.parse_args()
    peer = PEERS[arguments.engine]
    if arguments.reference:
        import numpy as np

        peer.other_model(arguments, np.load(arguments.input)[None], arguments.reference)
    else:
        arguments.prepared.mkdir()
        peer.prepare(arguments)


if __name__ == "__main__":
    main()

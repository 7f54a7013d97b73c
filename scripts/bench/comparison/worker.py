"""One peer in a process of its own, run once for each line of standard input.

Speaks as `mert-verify bench --stdin` does: {"ready": …} when the model is loaded and one run, which
is not counted, is done; {"seconds": …} for each line read.
"""

import argparse
import json
import os
import sys
import time
from pathlib import Path

import numpy as np

from comparison.engines import PEERS


# Answers go to the original standard output; what libraries print there goes to standard error.
ANSWERS = os.fdopen(os.dup(1), "w")
os.dup2(2, 1)


def answer(**message):
    print(json.dumps(message), file=ANSWERS, flush=True)


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("engine", choices=PEERS)
    parser.add_argument("--checkpoint", type=Path, required=True)
    parser.add_argument("--onnx", type=Path)
    parser.add_argument("--prepared", type=Path, help="what comparison.prepare made")
    parser.add_argument("--input", type=Path, required=True, help="a .npy of shape (samples,)")
    parser.add_argument("--states", type=Path, required=True, help="where to write the first run's")
    parser.add_argument("--threads", type=int, required=True)
    arguments = parser.parse_args()

    clip = np.load(arguments.input)[None]
    arguments.samples = clip.shape[1]
    engine = PEERS[arguments.engine].load(arguments)
    states = engine.numpy(engine.run(clip))
    np.save(arguments.states, np.concatenate(states))
    del states
    answer(ready=arguments.engine)
    for _ in sys.stdin:
        started = time.perf_counter()
        states = engine.run(clip)
        seconds = time.perf_counter() - started
        # Freeing them is not timed.
        del states
        answer(seconds=seconds)


if __name__ == "__main__":
    main()

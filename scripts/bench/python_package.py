#!/usr/bin/env python3
"""Times the Python package beside a pipeline of torch, transformers and librosa: files, clips, and what a call costs by itself.

    scripts/bench/python_package.py MODEL CHECKPOINT FILE… [--rounds 5] [--threads 2]

MODEL is a converted file, CHECKPOINT the folder with the config.json and weights that it was made of, which transformers' HubertModel
loads (MERT's own class is remote code; the transformer is the same). Each engine embeds the middle 30 s of each file (hidden state 6,
mean over frames), turn by turn, and each must return the same embedding (cosine above 0.9999, resamplers differ) before it is timed.
Then clips of 1 s and of 5 s from memory, one by one and as a batch of 8. Last the cost of a call, from above: an encode of the
shortest clip with the smallest model. Needs mert_toolkit, torch, transformers, librosa. Exit status: 0 done, 1 the embeddings differ.
"""

import argparse
import statistics
import sys
import time
import warnings
from pathlib import Path

import numpy as np


def main():
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("model", type=Path)
    parser.add_argument("checkpoint", type=Path)
    parser.add_argument("files", type=Path, nargs="+")
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--threads", type=int, default=2)
    arguments = parser.parse_args()
    warnings.simplefilter("ignore")

    import librosa
    import torch
    from mert_toolkit import Encoder
    from transformers import HubertModel

    torch.set_num_threads(arguments.threads)
    encoders = {name: Encoder(arguments.model, layer=6, dtype=name, threads=arguments.threads) for name in ("f32", "bf16", "int8")}
    rate = encoders["f32"].sample_rate
    reference = HubertModel.from_pretrained(arguments.checkpoint, attn_implementation="sdpa").eval()
    # As MERT is used: all layers run, and one hidden state is kept.
    def by_torch(clips):
        clips = np.stack([(clip - clip.mean()) / np.sqrt(clip.var() + 1e-7) for clip in clips]).astype(np.float32)
        with torch.inference_mode():
            states = reference(torch.from_numpy(clips), output_hidden_states=True).hidden_states
        return states[6].mean(1).numpy()

    def middle(path):
        length = librosa.get_duration(path=path)
        start = max(0.0, (length - 30) / 2)
        audio, _ = librosa.load(path, sr=rate, mono=True, offset=start, duration=30)
        return audio

    def files_by(name):
        if name == "torch + librosa":
            return np.concatenate([by_torch([middle(path)]) for path in arguments.files])
        results = encoders[name].encode_files(arguments.files, window="middle:30s", jobs=2)
        return np.stack([result.embedding for result in results])

    names = ["torch + librosa", *encoders]
    expected = files_by(names[0])
    for name in names[1:]:
        found = files_by(name)
        cosine = ((found * expected).sum(1) / np.linalg.norm(found, axis=1) / np.linalg.norm(expected, axis=1)).min()
        print(f"{name}: cosine {cosine:.6f} beside torch + librosa")
        if cosine < (0.9999 if name == "f32" else 0.999):
            print(f"{name} returns another embedding", file=sys.stderr)
            return 1
    table(f"{len(arguments.files)} files", names, {name: (lambda name=name: files_by(name)) for name in names}, arguments.rounds)

    generator = np.random.default_rng(0)
    for seconds in (1, 5):
        clips = [generator.standard_normal(seconds * rate).astype(np.float32) for _ in range(8)]
        single = {"torch + librosa": lambda: by_torch(clips[:1])}
        single |= {name: (lambda e=e: e.encode(clips[0], rate)) for name, e in encoders.items()}
        table(f"a clip of {seconds} s", names, single, arguments.rounds)
        batch = {"torch + librosa": lambda: by_torch(clips)}
        batch |= {name: (lambda e=e: e.encode_batch(clips, rate)) for name, e in encoders.items()}
        table(f"8 clips of {seconds} s", names, batch, arguments.rounds)

    # Nearly all of it is the call: the smallest model there is, and its shortest clip.
    tiny = Encoder(Path(__file__).resolve().parents[2] / "fixtures" / "mert-tiny" / "model.safetensors", layer=1)
    shortest = generator.standard_normal(tiny._native.min_samples).astype(np.float32)
    call = statistics.median(timed(lambda: tiny.encode(shortest, tiny.sample_rate)) for _ in range(2000))
    print(f"\na call, with a forward pass of the smallest model: {1e6 * call:.0f} us")
    return 0


def timed(work):
    started = time.perf_counter()
    work()
    return time.perf_counter() - started


def take_turns(works, rounds):
    for work in works.values():
        work()
    times = {name: [] for name in works}
    for _ in range(rounds):
        for name, work in works.items():
            times[name].append(timed(work))
    return times


def table(what, names, works, rounds):
    times = take_turns({name: works[name] for name in names}, rounds)
    slowest = statistics.median(times[names[0]])
    print(f"\n{what}:")
    for name, values in times.items():
        median = statistics.median(values)
        print(f"  {name:16} {median:8.3f} s  ({min(values):.3f} to {max(values):.3f})  {slowest / median:.2f} times as fast")


if __name__ == "__main__":
    sys.exit(main())

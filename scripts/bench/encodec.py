#!/usr/bin/env python3
"""Times mert-encodec beside transformers' EncodecModel, turn by turn, on a random model of encodec_32khz's sizes.

    cargo build --release -p mert-encodec --example codec_times
    python scripts/bench/encodec.py target/release/examples/codec_times [--seconds 5] [--runs 5]

Prints the least seconds that a second of sound takes, to encode and to decode. Needs torch and transformers.
"""

import argparse
import os
import subprocess
import tempfile
import time

import torch
from transformers import EncodecConfig, EncodecModel


def model():
    sizes = dict(sampling_rate=32_000, num_filters=64, upsampling_ratios=[8, 5, 4, 4], codebook_size=2048)
    form = dict(use_causal_conv=False, use_conv_shortcut=False, target_bandwidths=[2.2])
    torch.manual_seed(0)
    codec = EncodecModel(EncodecConfig(**sizes, **form)).eval()
    for layer in codec.quantizer.layers:
        layer.codebook.embed.normal_(std=0.05)
    return codec


@torch.no_grad()
def transformers_times(codec, samples):
    start = time.perf_counter()
    codes = codec.encode(samples).audio_codes
    encoded = time.perf_counter()
    codec.decode(codes, [None])
    return encoded - start, time.perf_counter() - encoded


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("codec_times")
    parser.add_argument("--seconds", type=float, default=5.0)
    parser.add_argument("--runs", type=int, default=5)
    arguments = parser.parse_args()
    torch.set_num_threads(len(os.sched_getaffinity(0)))
    codec = model()
    samples = torch.rand(1, 1, int(arguments.seconds * 32_000)) - 0.5
    times = {"transformers": [], "mert-encodec": []}
    with tempfile.TemporaryDirectory() as folder:
        codec.save_pretrained(folder)
        for _ in range(arguments.runs):
            times["transformers"].append(transformers_times(codec, samples))
            command = [arguments.codec_times, folder, str(arguments.seconds), "2"]
            lines = subprocess.run(command, check=True, capture_output=True, text=True).stdout.splitlines()
            times["mert-encodec"].append([float(value) for value in lines[-1].split("\t")[:2]])
    print("| | encode, s/s | decode, s/s |\n|---|---|---|")
    for name, runs in times.items():
        encode, decode = (min(run[part] for run in runs) / arguments.seconds for part in (0, 1))
        print(f"| {name} | {encode:.3f} | {decode:.3f} |")


main()

#!/usr/bin/env python3
"""Compares mert-clap with transformers' CLAP on random models, a tiny one and one of the published sizes.

    scripts/check/clap.py target/release/examples/clap_embed [--time]

The spectrogram must be ClapFeatureExtractor's to 2e-5 dB, the vector ClapModel.get_audio_features' to four times the distance
of PyTorch in f32 from itself in f64. The same limits must catch each of the MUTANTS, defects made in transformers. The Python
of docs/clap.md writes vectors of texts from the tiny model, and scores with them must be transformers' cosines. --time prints
milliseconds for 3 s of sound beside PyTorch's. Needs torch and transformers.
Exit status: 0 all as expected, 1 not so.
"""

import argparse
import copy
import json
import math
import re
import subprocess
import sys
import tempfile
import time
from pathlib import Path

import numpy as np
import torch
from transformers import AutoTokenizer, ClapFeatureExtractor
from transformers.audio_utils import mel_filter_bank
from transformers.models.clap import feature_extraction_clap, modeling_clap

ROOT = Path(__file__).resolve().parents[2]
sys.path.insert(0, str(ROOT / "scripts" / "fixtures"))
from clap_models import TINY, TINY_FEATURES, clap_model, formula, save  # noqa: E402

# The last bit of -100 dB in f32 is 8e-6; spectra are computed in f64 and rounded to f32 by both.
MEL_LIMIT = 2e-5
# Other orders of the same f32 sums: no further from f64 than PyTorch's f32, with room for luck; and the last bits of a
# number below 1.
TIMES_TORCH, LAST_BITS = 4, 2.4e-7
SCORE_LIMIT = 2e-6
RATE = 48_000


class Different(Exception):
    """A comparison failed: exit status 1."""


def embed(program, folder, sounds, *options):
    with tempfile.TemporaryDirectory() as scratch:
        files = [Path(scratch) / f"{index}.f32" for index in range(len(sounds))]
        for file, sound in zip(files, sounds):
            sound.tofile(file)
        result = subprocess.run([program, folder, *files, *options], capture_output=True, text=True)
    if result.returncode != 0:
        raise Different(f"{program}: exit status {result.returncode}: {result.stderr.strip()[-400:]}")
    return [json.loads(line) for line in result.stdout.splitlines()]


def mel_of(extractor, sound):
    return extractor(sound, sampling_rate=RATE, return_tensors="pt")["input_features"]


def vector_of(model, mel):
    with torch.no_grad():
        return model.get_audio_features(mel.to(model.dtype)).pooler_output[0].double().numpy()


def compare(name, program, folder, model, extractor, sounds):
    """Compares spectra and vectors; returns the expected spectra and vectors, and the limit of the vectors."""
    found = embed(program, folder, sounds)
    double = copy.deepcopy(model).double()
    expected, limit, worst = [], 0.0, [0.0, 0.0, 1.0]
    for sound, result in zip(sounds, found):
        mel = mel_of(extractor, sound)
        single, exact = vector_of(model, mel), vector_of(double, mel)
        torch_error = np.abs(single - exact).max()
        mel_error = np.abs(np.float32(result["mel"]) - mel[0, 0].numpy().ravel()).max()
        vector = np.array(result["vector"])
        error, cosine = np.abs(vector - exact).max(), vector @ exact / np.linalg.norm(vector) / np.linalg.norm(exact)
        limit = max(limit, TIMES_TORCH * torch_error + LAST_BITS)
        print(
            f"{name}, {len(sound) / RATE:g} s: spectrogram to {mel_error:.1e} dB, vector to {error:.1e} "
            f"(PyTorch {torch_error:.1e}), 1 - cosine {1 - cosine:.1e}"
        )
        worst = [max(worst[0], mel_error), max(worst[1], error), min(worst[2], cosine)]
        expected.append((mel, exact))
    if worst[0] > MEL_LIMIT or worst[1] > limit or worst[2] < 1 - 1e-10 or len(found) != len(sounds):
        raise Different(f"{name}: expected {MEL_LIMIT:.0e} dB and {limit:.1e}")
    return found, expected, limit


def blocks(model):
    return [block for stage in model.audio_model.audio_encoder.layers for block in stage.blocks]


def no_shift(model, _):
    for block in blocks(model):
        block.shift_size = 0


def no_mask(model, _):
    for block in blocks(model):
        block.get_attn_mask = lambda *_args, **_options: None


def transposed_bias(model, _):
    for block in blocks(model):
        table = block.attention.self.relative_position_bias_table
        side = math.isqrt(table.shape[0])
        table.data = table.data.view(side, side, -1).transpose(0, 1).reshape(table.shape).contiguous()


def no_bias(model, _):
    for block in blocks(model):
        block.attention.self.relative_position_bias_table.data.zero_()


def reversed_bias(model, _):
    for block in blocks(model):
        table = block.attention.self.relative_position_bias_table
        table.data = table.data.flip(0).contiguous()


def no_batch_norm(model, _):
    model.audio_model.audio_encoder.batch_norm = torch.nn.Identity()


def htk(_, extractor):
    extractor.mel_filters_slaney = extractor.mel_filters


def no_mel_norm(_, extractor):
    extractor.mel_filters_slaney = mel_filter_bank(
        extractor.nb_frequency_bins, extractor.feature_size, extractor.frequency_min, extractor.frequency_max, RATE, None, "slaney"
    )


def tanh_gelu(model, _):
    for block in blocks(model):
        block.intermediate.intermediate_act_fn = torch.nn.GELU(approximate="tanh")


def linear_stretch(model, _):
    def interpolate(image, size, mode, align_corners):
        return torch.nn.functional.interpolate(image, size, mode="bilinear", align_corners=align_corners)

    encoder = model.audio_model.audio_encoder
    encoder.reshape_mel2img = with_interpolate(encoder.reshape_mel2img, interpolate)


def loose_ends(model, _):
    def interpolate(image, size, mode, align_corners):
        return torch.nn.functional.interpolate(image, size, mode=mode, align_corners=False)

    encoder = model.audio_model.audio_encoder
    encoder.reshape_mel2img = with_interpolate(encoder.reshape_mel2img, interpolate)


def with_interpolate(method, interpolate):
    """A method that runs with another torch.nn.functional.interpolate."""

    def patched(image):
        original = modeling_clap.nn.functional.interpolate
        stretched = interpolate  # uses the original while it runs
        calls = []

        def once(*args, **options):
            calls.append(1)
            modeling_clap.nn.functional.interpolate = original
            try:
                return stretched(*args, **options)
            finally:
                modeling_clap.nn.functional.interpolate = once

        modeling_clap.nn.functional.interpolate = once
        try:
            return method(image)
        finally:
            modeling_clap.nn.functional.interpolate = original

    return patched


def merging_by_rows(model, _):
    for stage in model.audio_model.audio_encoder.layers[:-1]:
        merging = stage.downsample
        width = merging.norm.normalized_shape[0] // 4
        order = torch.cat([torch.arange(width) + width * part for part in (0, 2, 1, 3)])
        for tensor in (merging.norm.weight, merging.norm.bias):
            tensor.data = tensor.data[order]
        merging.reduction.weight.data = merging.reduction.weight.data[:, order]


def folded_by_columns(model, _):
    encoder = model.audio_model.audio_encoder
    fold = encoder.reshape_mel2img
    encoder.reshape_mel2img = lambda mel: fold(mel).transpose(2, 3).contiguous()


def no_patch_norm(model, _):
    model.audio_model.audio_encoder.patch_embed.norm = torch.nn.Identity()


def no_final_norm(model, _):
    model.audio_model.audio_encoder.norm = torch.nn.Identity()


def no_relu(model, _):
    model.audio_projection.activation = torch.nn.Identity()


def unscaled_attention(model, _):
    for block in blocks(model):
        attention = block.attention.self
        for layer in (attention.query.weight, attention.query.bias):
            layer.data *= math.sqrt(attention.attention_head_size)


def other_padding(kind):
    def mutant(_, extractor):
        extractor.padding = kind

    return mutant


def symmetric_window(_, extractor):
    extractor._np_extract_fbank_features = lambda wave, filters: feature_extraction_clap.spectrogram(
        wave, np.hanning(1024), 1024, extractor.hop_length, power=2.0, mel_filters=filters, log_mel="dB"
    ).T


def padded_with_silence(_, extractor):
    extractor._np_extract_fbank_features = lambda wave, filters: feature_extraction_clap.spectrogram(
        wave, np.hanning(1025)[:-1], 1024, extractor.hop_length, power=2.0, mel_filters=filters, log_mel="dB", pad_mode="constant"
    ).T


MUTANTS = {
    "windows not shifted": no_shift,
    "shifted windows without a mask": no_mask,
    "relative positions with rows and columns exchanged": transposed_bias,
    "relative positions reversed": reversed_bias,
    "no relative positions": no_bias,
    "no batch norm": no_batch_norm,
    "mel scale of HTK": htk,
    "mel bands without Slaney's norm": no_mel_norm,
    "GELU by tanh": tanh_gelu,
    "linear stretching": linear_stretch,
    "stretching without aligned ends": loose_ends,
    "patches merged row by row": merging_by_rows,
    "rows and columns of the image exchanged": folded_by_columns,
    "no norm of patches": no_patch_norm,
    "no final norm": no_final_norm,
    "no ReLU in the projection": no_relu,
    "attention without its scale": unscaled_attention,
    "repeated and cut": other_padding("repeat"),
    "padded with silence only": other_padding("pad"),
    "symmetric Hann window": symmetric_window,
    "ends padded with silence": padded_with_silence,
}


def mutants(model, extractor, sounds, found, limit):
    """Each mutant must be further from what the program found than the limits allow, in one of the sounds."""
    nearest = (math.inf, "")
    for name, mutate in MUTANTS.items():
        changed, features = copy.deepcopy(model).double(), copy.deepcopy(extractor)
        mutate(changed, features)
        excess = 0.0
        for sound, result in zip(sounds, found):
            mel = mel_of(features, sound)
            difference = np.abs(np.float32(result["mel"]) - mel[0, 0].numpy().ravel()).max()
            moved = np.abs(np.array(result["vector"]) - vector_of(changed, mel)).max()
            excess = max(excess, moved / limit, difference / MEL_LIMIT)
        if not excess > 10:
            raise Different(f"mutant `{name}` is only {excess:.1f} limits away: the check would not see it")
        nearest = min(nearest, (excess, name))
    print(f"  ok {len(MUTANTS)} mutants caught; the nearest, `{nearest[1]}`, is {nearest[0]:.0f} limits away")


def modes(program, folder, model, extractor, sounds):
    """The Python of docs/clap.md, and scores with what it wrote."""
    texts = {"shadow": ["slow dark drones", "night"], "couple": ["two voices, close"], "mirror": ["a bright fast melody"]}
    code = re.search(r"```python\n(.*?)```", (ROOT / "docs" / "clap.md").read_text(), re.S).group(1)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        (scratch / "texts.json").write_text(json.dumps(texts))
        (scratch / "write_modes.py").write_text(code)
        command = [sys.executable, scratch / "write_modes.py", folder, scratch / "texts.json", scratch / "modes.json"]
        subprocess.run(command, check=True, capture_output=True)
        found = embed(program, folder, sounds, "--modes", scratch / "modes.json")
        other = json.loads((scratch / "modes.json").read_text())
        other["checkpoint_sha256"] = "0" * 64
        (scratch / "modes.json").write_text(json.dumps(other))
        try:
            embed(program, folder, sounds, "--modes", scratch / "modes.json")
        except Different as refusal:
            if "are of checkpoint 0000" not in str(refusal):
                raise
        else:
            raise Different("vectors of another checkpoint were accepted")
    tokenizer = AutoTokenizer.from_pretrained(folder)
    worst, spread = 0.0, []
    for sound, result in zip(sounds, found):
        audio = torch.from_numpy(vector_of(model, mel_of(extractor, sound)))
        expected = []
        for prompts in texts.values():
            with torch.no_grad():
                # One by one: padding must not matter.
                vectors = [model.get_text_features(**tokenizer(p, return_tensors="pt")).pooler_output[0] for p in prompts]
            expected.append(max(float(audio @ vector.double()) for vector in vectors))
        worst = max(worst, np.abs(np.array(result["scores"]) - expected).max())
        spread.append(max(expected) - min(expected))
    # f32 vectors of length 1. Scores of the modes must be apart by far more, or any text would do.
    if worst > SCORE_LIMIT or min(spread) < 1000 * SCORE_LIMIT:
        raise Different(f"scores of modes differ by {worst:.1e}, expected {SCORE_LIMIT}, with a spread of {spread}")
    print(f"  ok scores of {len(texts)} modes to {worst:.1e}; vectors of another checkpoint refused")


def timing(program, folder, model, extractor):
    sound = formula(3 * RATE)
    times = embed(program, folder, [sound], "--time")[0]["ms"]
    start = []
    for _ in range(9):
        begin = time.perf_counter()
        vector_of(model, mel_of(extractor, sound))
        start.append(1e3 * (time.perf_counter() - begin))
    print(f"3 s of sound: median {np.median(times):.0f} ms (best {min(times):.0f}); transformers {np.median(start):.0f} ms (best {min(start):.0f})")


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("program", type=Path)
    parser.add_argument("--time", action="store_true")
    arguments = parser.parse_args()
    program = arguments.program.resolve()
    with tempfile.TemporaryDirectory(prefix="mert-clap-") as scratch:
        tiny, full = Path(scratch) / "tiny", Path(scratch) / "full"
        model = clap_model(7, TINY, projection_dim=24)
        save(model, tiny, TINY_FEATURES)
        extractor = ClapFeatureExtractor.from_pretrained(tiny)
        noise = np.random.default_rng(7).standard_normal(RATE).astype(np.float32) * 0.1
        sounds = [formula(RATE), formula(20_011), formula(777), noise]
        found, _, limit = compare("tiny", program, tiny, model, extractor, sounds)
        mutants(model, extractor, sounds[:2], found, limit)
        modes(program, tiny, model, extractor, sounds)
        binary = Path(scratch) / "binary"
        save(model, binary, TINY_FEATURES)
        (binary / "model.safetensors").unlink()
        torch.save(model.state_dict(), binary / "pytorch_model.bin")
        compare("pytorch_model.bin", program, binary, model, extractor, sounds[:1])
        whole = clap_model(8, {}, projection_dim=512)
        save(whole, full, {}, tokenizer=False)
        extractor = ClapFeatureExtractor.from_pretrained(full)
        compare("published sizes", program, full, whole, extractor, [formula(3 * RATE)])
        if arguments.time:
            timing(program, full, whole, extractor)
    print("OK")


try:
    main()
except Different as error:
    sys.exit(f"FAILED: {error}")

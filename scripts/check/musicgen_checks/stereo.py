"""Stereo MusicGen: bundles of transformers' and audiocraft's files, and `mert-generate` beside transformers' own `generate`."""

import wave

import numpy as np
import torch
from tokenizers import Tokenizer

from bundles import FIXTURES, Mismatch, convert_files, exact_model, run, tensors_of
from generation import TEXTS, check_tokens, generate
from make_musicgen_stereo import CHANNELS, CODEBOOKS, INNER, LAYERS, WIDTH, generated, stereo_model
from musicgen_upstream import lm_cfg, package
from musicgen_weights import music

# Longer than the fixture's, so that the delay of every codebook matters in the middle and at both ends.
FRAMES, CLIP, CONTINUED = 40, 12, 32


def read_channels(path):
    """(channels, samples) of a WAV file of 16 bits."""
    with wave.open(str(path)) as file:
        if file.getframerate() != 32_000:
            raise Mismatch(f"{path.name}: {file.getframerate()} Hz, expected 32000 Hz")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2").reshape(-1, file.getnchannels()).T / 2**15


def write_channels(path, channels):
    with wave.open(str(path), "wb") as file:
        file.setnchannels(len(channels))
        file.setsampwidth(2)
        file.setframerate(32_000)
        file.writeframes(np.rint(channels.T * 2**15).astype("<i2").tobytes())


def check_wave(checks, path, expected, what):
    """Left and right within 2 steps of 16 bits, and in no other order."""
    found = read_channels(path)
    checks.that(found.shape == expected.shape, f"{what}: shape", f"{found.shape}, expected {expected.shape}")
    error, swapped = (np.abs(found - other).max() * 2**15 for other in (expected.clip(-1, 1), expected[::-1].clip(-1, 1)))
    checks.that(error <= 2, f"{what}: left and right are transformers'", f"{error:.2f} steps of 16 bits")
    checks.that(swapped > 1000, f"{what}: swapped channels would show", f"{swapped:.0f} steps of 16 bits")


def check_stereo(checks, binaries, folder):
    model, weights = stereo_model(FIXTURES / "plain")
    source = folder / "stereo"
    model.save_pretrained(source)
    words = Tokenizer.from_file(str(FIXTURES / "plain/tokenizer.json"))
    words.save(str(source / "tokenizer.json"))
    ids = torch.tensor(words.encode(TEXTS["plain"]).ids)
    clip = torch.stack([torch.from_numpy(music(f"check {side}", 640 * CLIP)) for side in ("left", "right")])
    with torch.no_grad():
        composed, composed_wave = generated(model, ids, FRAMES)
        continued, continued_wave = generated(model, ids, CONTINUED, clip)
        states = model.text_encoder(input_ids=ids[None]).last_hidden_state[0]

    exact = ["--dtype", "f32", "--t5-dtype", "f32"]
    bundle = convert_files(binaries, folder / "stereo-f32", source, *exact)
    begin, out, codes = folder / "begin.wav", folder / "out.wav", folder / "codes.npy"
    write_channels(begin, clip.numpy())
    common = ["--text", TEXTS["plain"], "-o", out, "--force", "--greedy", "--codes", codes]
    generate(binaries, bundle, *common, "--seconds", FRAMES / 50)
    check_tokens(checks, codes, composed.numpy(), "stereo from a text")
    check_wave(checks, out, composed_wave.numpy(), "stereo from a text")
    generate(binaries, bundle, begin, *common, "--seconds", CONTINUED / 50)
    check_tokens(checks, codes, continued.numpy(), "stereo continued")
    check_wave(checks, out, continued_wave.numpy(), "stereo continued")

    quantized = convert_files(binaries, folder / "stereo-4", source, *exact, "--quantize", "--q-group-size", 32)
    own = exact_model(quantized, CHANNELS)
    tokens, margin = own.greedy(FRAMES, own.text(states.double()))
    generate(binaries, quantized, *common, "--seconds", FRAMES / 50)
    if margin > 1e-3:
        check_tokens(checks, codes, tokens.numpy(), "stereo in 4 bits")
    else:
        checks.say("stereo in 4 bits: greedy tokens", f"not compared, a choice is closer than 1e-3: {margin:.1e}")
    check_audiocraft(checks, binaries, folder, weights, bundle)


def check_audiocraft(checks, binaries, folder, weights, bundle):
    """audiocraft's file of the same weights gives the same tensors; one that alternates frames is refused."""
    cfg = lm_cfg(width=WIDTH, layers=LAYERS, inner=INNER, codebooks=CODEBOOKS, channels=CHANNELS)
    file = folder / "state_dict.bin"
    torch.save(package(weights, cfg), file)
    other = convert_files(binaries, folder / "stereo-audiocraft", file, "--dtype", "f32")
    first, second = tensors_of(bundle), tensors_of(other)
    same = first.keys() == second.keys() and all(np.array_equal(first[name], second[name]) for name in first)
    checks.that(same, "stereo: audiocraft's file gives the same bundle", f"{len(second)} tensors")
    defects = [("per_timestep: false", "per_timestep: true"), (f"delays: {[k // 2 for k in range(8)]}", f"delays: {list(range(8))}")]
    for right, wrong in defects:
        assert right in cfg
        torch.save(package(weights, cfg.replace(right, wrong)), file)
        try:
            run(binaries / "mert-convert", file, folder / "wrong")
            refused = False
        except Mismatch as error:
            refused = wrong.split(":")[0] in str(error)
        checks.that(refused, f"stereo: a file with {wrong} is refused", "")

"""EnCodec of a bundle in mlx-audio, and `mert-generate` beside the references' greedy tokens."""

import json
import wave

import mlx.core as mx
import numpy as np
import torch
from transformers import EncodecModel, MusicgenForConditionalGeneration

from bundles import FIXTURES, Mismatch, convert, exact_model, reference, run
from languages import close
from modules import mlx_audio_codec
from musicgen_weights import codec

TEXTS = json.loads((FIXTURES / "texts.json").read_text())


def check_codec(checks, binaries, folder):
    """mlx-audio returns the codes and the waveform of transformers, for the padding that it pads rightly, `reflect`."""
    expected = reference("plain")
    bundle = convert(binaries, "plain", folder / "codec", "--dtype", "f32")
    model = mlx_audio_codec(bundle / "encodec")
    codes, scales = model.encode(mx.array(expected["input_values"])[None, :, None])
    same = np.array_equal(np.array(codes)[0, 0], expected["clip_codes"])
    checks.that(same, "plain: mlx-audio's EnCodec gives the codes", f"{list(codes.shape)}")
    wave_of = np.array(model.decode(mx.array(expected["clip_codes"])[None, None], [None]))
    close(checks, wave_of[0, :, 0], expected["clip_wave"], "plain: mlx-audio's EnCodec gives the waveform")


def write_wav(path, samples):
    """The clips are multiples of 2^-15, so that 16 bits hold them."""
    with wave.open(str(path), "wb") as file:
        file.setnchannels(1)
        file.setsampwidth(2)
        file.setframerate(32_000)
        file.writeframes(np.rint(samples * 2**15).astype("<i2").tobytes())


def read_wav(path):
    with wave.open(str(path)) as file:
        if (file.getnchannels(), file.getframerate()) != (1, 32_000):
            raise Mismatch(f"{path.name}: {file.getnchannels()} channels at {file.getframerate()} Hz, expected one at 32000 Hz")
        return np.frombuffer(file.readframes(file.getnframes()), "<i2") / 2**15


def decoded(source, tokens):
    """What transformers' EnCodec makes of tokens, within ±1; for `instruct` by the weights from which the fixture was made."""
    plain = source == "plain"
    model = MusicgenForConditionalGeneration.from_pretrained(FIXTURES / source).audio_encoder if plain else codec(source, "constant")
    assert isinstance(model, EncodecModel)
    with torch.no_grad():
        return model.decode(torch.from_numpy(tokens)[None, None], [None]).audio_values[0, 0].clamp(-1, 1).numpy()


def generate(binaries, *arguments):
    program = binaries / "mert-generate"
    usage = run(program, "--help")
    missing = [option for option in ("--instruct", "--text", "--greedy", "--codes", "--seconds") if option not in usage]
    if missing:
        raise Mismatch(f"mert-generate of {binaries} has no {', '.join(missing)}: it cannot generate music")
    return run(program, *arguments)


def check_tokens(checks, path, expected, what):
    tokens = np.load(path)
    kind = tokens.dtype == np.int64 and tokens.shape == expected.shape
    checks.that(kind, f"{what}: codes", f"{tokens.dtype} {tokens.shape}, expected int64 {expected.shape}")
    different = int((tokens != expected).sum())
    checks.that(different == 0, f"{what}: greedy tokens", f"{different} of {expected.size} differ")


def exact_tokens(bundle, expected, frames):
    """Greedy tokens of a bundle's dequantized weights in float64, and the smallest margin of a choice."""
    model = exact_model(bundle)
    prefix = model.prefix(torch.from_numpy(expected["codes"])) if "prefix_q" in expected else None
    tokens, margin = model.greedy(frames, model.text(torch.from_numpy(expected["text_states"])), prefix)
    return tokens.numpy(), margin


def check_generate(checks, binaries, folder):
    for source in ("instruct", "plain"):
        expected, frames = reference(source), 24
        clip, out, codes = folder / "clip.wav", folder / "out.wav", folder / "codes.npy"
        write_wav(clip, expected["input_values"])
        for name, options in [("f32", []), ("4 bits", ["--quantize"])]:
            options = ["--dtype", "f32", "--t5-dtype", "f32", *options]
            bundle = convert(binaries, source, folder / f"generate-{source}-{name[0]}", *options)
            what = f"mert-generate, {source} {name}"
            task = ["--instruct", "Only Drums", clip] if source == "instruct" else ["--text", TEXTS["plain"], "--seconds", frames / 50]
            common = ["-o", out, "--force", "--greedy", "--codes", codes]
            generate(binaries, bundle, *task, *common)
            tokens, margin = exact_tokens(bundle, expected, frames)
            if name == "f32":
                check_tokens(checks, codes, expected["tokens"], what)
            elif margin > 1e-3:
                check_tokens(checks, codes, tokens, what)
            else:
                checks.say(f"{what}: greedy tokens", f"not compared, a choice is closer than 1e-3: {margin:.1e}")
            length = len(expected["input_values"]) if source == "instruct" else 640 * frames
            samples, first = read_wav(out), np.load(codes)
            checks.that(len(samples) == length, f"{what}: length", f"{len(samples)} samples, expected {length}")
            error = np.abs(samples - decoded(source, first)[:length]).max() * 2**15
            # Half for rounding, one if 1 is written as 32767, and what remains for another order of sums.
            checks.that(error <= 2, f"{what}: transformers decodes the codes to the same samples", f"{error:.2f} steps of 16 bits")
            generate(binaries, bundle, *task, *common, "--threads", 1)
            checks.that(np.array_equal(first, np.load(codes)), f"{what}: the same tokens with one thread")

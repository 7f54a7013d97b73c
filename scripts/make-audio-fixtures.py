#!/usr/bin/env python3
"""Writes fixtures/audio/: short synthetic tracks in many formats, and what Python makes of them.

    python scripts/make-audio-fixtures.py [--fixtures fixtures]

No track is a recording: each is drawn from a seed, every channel on its own. The reference decodes
with libsndfile, or with FFmpeg what libsndfile does not read (M4A, AAC), takes the mean of the
channels, resamples with soxr's HQ where the rate is not the model's, normalises with transformers'
Wav2Vec2FeatureExtractor and runs HubertModel with the weights of fixtures/mert-tiny/, which
make-fixtures.py has to have written. `reference.npz` has of every track

    <file name>/samples              int64, how many samples there are after resampling
    <file name>/hidden_states_mean   float32 (layers + 1, width), the means over the frames

and `normalize.npz` has windows and what the feature extractor returned for each, `<name>/input` and
`<name>/output`. Needs the packages that make-fixtures.py's AUDIO_VERSIONS lists beside its own;
imageio-ffmpeg brings FFmpeg. With those the files are the same bytes on every run, on machines of
one kind: encoders and hidden states round differently from CPU to CPU.
"""

import argparse
import importlib
import io
import json
import subprocess
import tempfile
from dataclasses import dataclass
from importlib.metadata import version
from pathlib import Path

import imageio_ffmpeg
import numpy as np
import soundfile
import soxr
import torch
import transformers
from transformers import Wav2Vec2FeatureExtractor

fixtures = importlib.import_module("make-fixtures")

RATE = 24000
LIMIT = 2_000_000


# --- tracks ---------------------------------------------------------------------------------------


@dataclass(frozen=True)
class Track:
    """One file; `subtype` is libsndfile's, `ffmpeg` are the encoder's options, one of them is given."""

    name: str
    rate: int
    channels: int
    seconds: float
    subtype: str | None = None
    format: str | None = None
    ffmpeg: str | None = None
    level: float = 1.0


MP3 = "-c:a libmp3lame -id3v2_version 0"
TRACKS = [
    # Uncompressed
    Track("u8-8k-mono.wav", 8000, 1, 1.6, "PCM_U8"),
    Track("s16-44k1-mono.wav", 44100, 1, 1.0, "PCM_16"),
    Track("s16-16k-stereo.wav", 16000, 2, 1.0, "PCM_16"),
    # So quiet that the model sees whether it was normalised: of louder ones its group norm does not care.
    Track("s24-24k-mono-quiet.wav", 24000, 1, 1.0, "PCM_24", level=1e-3),
    Track("s32-22k05-mono.wav", 22050, 1, 1.0, "PCM_32"),
    # Not libsndfile's: it writes the time of day into files of floats.
    Track("f32-24k-mono.wav", 24000, 1, 1.0, ffmpeg="-c:a pcm_f32le"),
    Track("f64-8k-mono.wav", 8000, 1, 1.0, ffmpeg="-c:a pcm_f64le"),
    Track("extensible-s24-16k-mono.wav", 16000, 1, 1.0, "PCM_24", "WAVEX"),
    Track("extensible-s16-8k-5.1.wav", 8000, 6, 1.0, "PCM_16", "WAVEX"),
    Track("s16-32k-mono.aiff", 32000, 1, 1.0, "PCM_16"),
    Track("f32-8k-mono.aifc", 8000, 1, 1.0, ffmpeg="-f aiff -c:a pcm_f32be"),
    # Lossless
    Track("16-44k1-stereo.flac", 44100, 2, 1.0, ffmpeg="-c:a flac"),
    Track("16-24k-stereo.flac", 24000, 2, 1.3, "PCM_16"),
    Track("16-88k2-mono.flac", 88200, 1, 1.0, "PCM_16"),
    Track("24-96k-mono.flac", 96000, 1, 1.0, "PCM_24"),
    Track("16-16k-5.1.flac", 16000, 6, 1.0, ffmpeg="-c:a flac"),
    Track("alac-16-22k05-stereo.m4a", 22050, 2, 1.0, ffmpeg="-c:a alac -sample_fmt s16p"),
    Track("alac-24-48k-mono.m4a", 48000, 1, 1.0, ffmpeg="-c:a alac -sample_fmt s32p"),
    # Lossy. The first three hold an Info or Xing frame, with LAME's delay and padding in it.
    Track("cbr-44k1-stereo.mp3", 44100, 2, 2.0, ffmpeg=f"{MP3} -b:a 128k"),
    Track("vbr-48k-stereo.mp3", 48000, 2, 2.1, ffmpeg=f"{MP3} -q:a 4"),
    Track("lame-32k-mono.mp3", 32000, 1, 1.7, "MPEG_LAYER_III"),
    Track("no-xing-44k1-stereo.mp3", 44100, 2, 2.2, ffmpeg=f"{MP3} -b:a 128k -write_xing 0"),
    Track("mpeg2-22k05-mono.mp3", 22050, 1, 2.0, ffmpeg=f"{MP3} -b:a 56k"),
    Track("mpeg2-24k-stereo.mp3", 24000, 2, 1.9, ffmpeg=f"{MP3} -b:a 80k"),
    Track(
        "tagged-44k1-mono.mp3",
        44100,
        1,
        1.5,
        ffmpeg="-c:a libmp3lame -b:a 64k -id3v2_version 4 -write_id3v1 1 "
        "-metadata title=Sweep -metadata artist=Nobody",
    ),
    Track("44k1-stereo.ogg", 44100, 2, 2.5, ffmpeg="-c:a libvorbis -q:a 4"),
    Track("24k-mono.ogg", 24000, 1, 2.3, ffmpeg="-c:a libvorbis -q:a 5"),
    Track("48k-5.1.ogg", 48000, 6, 1.2, ffmpeg="-c:a libvorbis -q:a 3"),
    Track("aac-44k1-stereo.m4a", 44100, 2, 2.0, ffmpeg="-c:a aac -b:a 128k"),
    Track("aac-48k-mono.m4a", 48000, 1, 1.8, ffmpeg="-c:a aac -b:a 80k -movflags +faststart"),
    Track("aac-24k-stereo.m4a", 24000, 2, 1.6, ffmpeg="-c:a aac -b:a 80k"),
    Track("no-edit-list-44k1-mono.m4a", 44100, 1, 1.5, ffmpeg="-c:a aac -b:a 80k -use_editlist 0"),
    Track("adts-44k1-stereo.aac", 44100, 2, 1.9, ffmpeg="-c:a aac -b:a 128k"),
    Track("adts-24k-mono.aac", 24000, 1, 1.4, ffmpeg="-c:a aac -b:a 56k"),
]


def voice(rng, samples, rate):
    """One channel: chords, steady tones, a sweep and hits over faint noise, all fainter the higher."""
    time = np.arange(samples) / rate
    highest = min(0.42 * rate, 10_000.0)
    noise = 2e-4 * rng.standard_normal(samples)
    signal = np.zeros(samples)
    onset = rng.uniform(0.0, 0.05)
    while onset < time[-1]:
        after = np.maximum(time - onset, 0.0)
        root = 55.0 * 2 ** (rng.integers(0, 30) / 12)
        loudness = rng.uniform(0.3, 1.0)
        for interval in (0, rng.choice([3, 4]), 7, rng.choice([10, 11, 12])):
            for harmonic in range(1, 25):
                frequency = root * 2 ** (interval / 12) * harmonic
                if frequency > highest:
                    break
                decay = np.exp(-after * (2.0 + 0.5 * harmonic))
                tone = np.sin(2 * np.pi * frequency * after + rng.uniform(0, 2 * np.pi))
                signal += (time >= onset) * loudness / harmonic**1.2 * decay * tone
        hit = rng.standard_normal(samples) * np.exp(-after * 80) * (time >= onset)
        noise += rng.uniform(0.2, 1.0) * hit
        onset += rng.uniform(0.1, 0.35)
    for frequency in np.geomspace(200.0, highest, 6) * rng.uniform(0.9, 1.0, 6):
        tone = np.sin(2 * np.pi * frequency * time + rng.uniform(0, 2 * np.pi))
        signal += 0.2 * (200.0 / frequency) ** 0.6 * tone
    octaves = np.log2(highest / 60.0) / time[-1]
    sweep = 60.0 * 2 ** (octaves * time)
    signal += 0.3 * (60.0 / sweep) ** 0.4 * np.sin(2 * np.pi * sweep / (octaves * np.log(2)))
    frequencies = np.fft.rfftfreq(samples, 1 / rate)
    noise = np.fft.irfft(np.fft.rfft(noise) / (1 + (frequencies / 3000.0) ** 2), samples)
    signal += noise
    # Off the middle, as a careless recording is.
    return signal / np.abs(signal).max() + rng.uniform(-0.03, 0.03)


def render(track):
    """(samples, channels), float64."""
    samples = round(track.seconds * track.rate)
    voices = [
        track.level * rng.uniform(0.4, 0.75) * voice(rng, samples, track.rate)
        for rng in (fixtures.generator(track.name, f"{channel}") for channel in range(track.channels))
    ]
    return np.stack(voices, axis=1)


def ffmpeg(*arguments, source=None):
    command = [imageio_ffmpeg.get_ffmpeg_exe(), "-hide_banner", "-loglevel", "error", "-nostdin"]
    command += [str(argument) for argument in arguments]
    return subprocess.run(command, input=source, capture_output=True, check=True).stdout


def write_track(folder, track):
    signal, path = render(track), folder / track.name
    if track.subtype is not None:
        soundfile.write(path, signal, track.rate, track.subtype, format=track.format)
        return
    # By way of the same integers for every encoder of integers: FFmpeg's own rounding dithers.
    buffer = io.BytesIO()
    integers = {"flac": "PCM_16", "alac": "PCM_24" if "s32p" in track.ffmpeg else "PCM_16"}
    codec = track.ffmpeg.split("-c:a ")[1].split()[0]
    subtype = integers.get(codec, "DOUBLE")
    soundfile.write(buffer, signal, track.rate, subtype, format="WAVEX")
    with tempfile.TemporaryDirectory() as work:
        source = Path(work) / "source.wav"
        source.write_bytes(buffer.getvalue())
        options = ["-i", source, "-map_metadata", "-1", *track.ffmpeg.split()]
        ffmpeg(*options, "-threads", 1, "-bitexact", "-fflags", "+bitexact", "-y", path)


# --- reference ------------------------------------------------------------------------------------


def decode_soundfile(path):
    samples, rate = soundfile.read(path, dtype="float32", always_2d=True)
    return samples, rate


def decode_ffmpeg(path, rate, channels):
    raw = ffmpeg("-i", path, "-f", "f32le", "-c:a", "pcm_f32le", "-")
    return np.frombuffer(raw, "<f4").reshape(-1, channels), rate


def decode(path, track):
    """(samples, channels) float32, and the rate."""
    if path.suffix in (".m4a", ".aac"):
        return decode_ffmpeg(path, track.rate, track.channels)
    return decode_soundfile(path)


def to_model_rate(samples, rate):
    mono = samples.mean(axis=1)
    return mono if rate == RATE else soxr.resample(mono, rate, RATE, quality="HQ")


def normalise(samples):
    extractor = Wav2Vec2FeatureExtractor(
        feature_size=1, sampling_rate=RATE, do_normalize=True, return_attention_mask=True
    )
    (values,) = extractor(samples, sampling_rate=RATE, return_tensors="np")["input_values"]
    assert values.dtype == np.float32 and values.shape == samples.shape
    return values


def load_model(folder):
    config = json.loads((folder / "config.json").read_text())
    state = torch.load(folder / "pytorch_model.bin", weights_only=True)
    model = fixtures.load_weight_norm(config, state)
    fixtures.check_weights_in_use(model, state)
    return model


def pooled(model, input_values):
    """The mean over the frames of every hidden state, (layers + 1, width) float32."""
    with torch.inference_mode():
        output = model(torch.from_numpy(input_values)[None], output_hidden_states=True)
    assert torch.equal(output.hidden_states[-1], output.last_hidden_state)
    means = torch.cat(output.hidden_states).mean(dim=1).numpy()
    assert means.dtype == np.float32 and np.isfinite(means).all()
    return means


def check_track(track, samples, rate):
    """What was written is what was meant; how far a lossy one may be off is its encoder's matter."""
    assert rate == track.rate and samples.shape[1] == track.channels, track.name
    frames = round(track.seconds * track.rate)
    assert 0 <= len(samples) - frames < 4000, f"{track.name}: {len(samples)} of {frames}"
    if track.channels > 1:
        likeness = np.corrcoef(samples.T) - np.eye(track.channels)
        assert np.abs(likeness).max() < 0.5, f"{track.name}: channels alike: {likeness}"
    assert 0.2 < np.abs(samples).max() / track.level < 1.0, track.name


def write_reference(folder, model):
    arrays = {}
    for track in TRACKS:
        samples, rate = decode(folder / track.name, track)
        check_track(track, samples, rate)
        mono = to_model_rate(samples, rate)
        arrays[f"{track.name}/samples"] = np.array(len(mono), dtype=np.int64)
        arrays[f"{track.name}/hidden_states_mean"] = pooled(model, normalise(mono))
        size = (folder / track.name).stat().st_size
        print(f"{track.name}: {size:,} bytes, {len(samples)} frames, {len(mono)} at {RATE} Hz")
    np.savez(folder / "reference.npz", **arrays)


def write_normalize(folder):
    rng = fixtures.generator("normalize")

    def window(samples, scale, offset):
        return (scale * voice(rng, samples, RATE) + offset).astype(np.float32)

    windows = {
        "plain": window(400, 0.5, 0.0),
        "offset": window(8000, 0.1, 0.5),
        # 1e-7 is added to the variance, which is less than that here.
        "tiny": window(400, 1e-4, 1e-5),
        "large": window(400, 3e4, -1e3),
        "constant": np.full(400, 0.25, dtype=np.float32),
        "silence": np.zeros(400, dtype=np.float32),
    }
    arrays = {}
    for name, samples in windows.items():
        arrays[f"{name}/input"], arrays[f"{name}/output"] = samples, normalise(samples)
    assert not arrays["constant/output"].any() and not arrays["silence/output"].any()
    np.savez_compressed(folder / "normalize.npz", **arrays)


def check_versions():
    for package, wanted in fixtures.AUDIO_VERSIONS.items():
        assert version(package) == wanted, f"{package} is {version(package)}, expected {wanted}"


def main():
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--fixtures", type=Path, default=root / "fixtures")
    arguments = parser.parse_args()

    check_versions()
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    folder = arguments.fixtures / "audio"
    folder.mkdir(parents=True, exist_ok=True)
    for track in TRACKS:
        write_track(folder, track)
    write_reference(folder, load_model(arguments.fixtures / "mert-tiny"))
    write_normalize(folder)
    fixtures.write_readme(arguments.fixtures)
    size = sum(path.stat().st_size for path in folder.iterdir())
    print(f"{folder}: {len(TRACKS)} tracks, {size:,} bytes in all")
    assert size < LIMIT


if __name__ == "__main__":
    main()

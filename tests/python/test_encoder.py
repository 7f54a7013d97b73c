"""Embeddings of arrays and files, beside what transformers returned and what `mert-embed` writes."""

import json
import os
import pickle
import signal
import subprocess
import sys
import threading
import time
import warnings

import mert_toolkit
import numpy as np
import pytest
from mert_toolkit import AudioError, Encoder, FileFailure, MERTEncoder, ModelError

from .conftest import FIXTURES

# float32 in another order of additions than PyTorch's: errors of single values are below 1e-5 of the largest.
TOLERANCE = 1e-5


def close(found, expected, tolerance=TOLERANCE):
    assert found.shape == expected.shape
    assert np.abs(found - expected).max() <= tolerance * np.abs(expected).max()


def test_frames_are_those_of_transformers(model, reference):
    clip, states = reference
    for layer in (0, 6, 12, -1):
        frames = Encoder(model, layer=layer, pooling=None).encode(clip, 24000)
        assert frames.dtype == np.float32
        close(frames, states[layer])


def test_several_hidden_states_come_in_the_order_asked_for(model, reference):
    clip, states = reference
    frames = Encoder(model, layer=[12, 0, 6], pooling=None).encode(clip, 24000)
    close(frames, states[[12, 0, 6]])
    all_states = Encoder(model, layer="all", pooling=None)
    assert all_states.layers == list(range(13))
    close(all_states.encode(clip, 24000), states)


@pytest.mark.parametrize(
    ("pooling", "pooled"),
    [
        ("mean", lambda x: x.mean(axis=0)),
        ("max", lambda x: x.max(axis=0)),
        ("mean+std", lambda x: np.concatenate([x.mean(axis=0), x.std(axis=0)])),
    ],
)
def test_pooling(model, reference, pooling, pooled):
    clip, states = reference
    encoder = Encoder(model, layer=6, pooling=pooling)
    expected = pooled(states[6].astype(np.float64))
    close(encoder.encode(clip, 24000), expected)
    assert encoder.dim == expected.size
    unit = Encoder(model, layer=6, pooling=pooling, normalize=True).encode(clip, 24000)
    close(unit, expected / np.linalg.norm(expected))


def test_a_clip_is_not_changed_and_channels_are_averaged(model, reference):
    clip, _ = reference
    encoder = Encoder(model, layer=6)
    louder = np.stack([clip * 3 + 1, clip * 5 - 1])
    before = louder.copy()
    # The model normalises its input, so that offset and loudness have no effect.
    close(encoder.encode(louder, 24000), encoder.encode(clip, 24000), 1e-4)
    assert np.array_equal(louder, before)


@pytest.mark.parametrize("kind", ["int16", "int32", "uint8", "float64", "strided", "readonly"])
def test_types_of_samples(model, reference, kind):
    clip = reference[0] / 8
    encoder = Encoder(model, layer=6)
    if kind == "int16":
        other = (clip * 2**15).astype(np.int16)
    elif kind == "int32":
        other = (clip.astype(np.float64) * 2**31).astype(np.int32)
    elif kind == "uint8":
        other = (clip * 128 + 128).astype(np.uint8)
    elif kind == "float64":
        other = clip.astype(np.float64)
    elif kind == "strided":
        other = np.repeat(clip, 2)[::2]
    else:
        other = clip.copy()
        other.flags.writeable = False
    # 8 bits are a noise of 1/500 of the clip's range.
    close(encoder.encode(other, 24000), encoder.encode(clip, 24000), 0.2 if kind == "uint8" else 2e-3)


def test_torch_tensors(model, reference):
    import torch

    clip = reference[0]
    encoder = Encoder(model, layer=6)
    expected = encoder.encode(clip, 24000)
    tensor = torch.from_numpy(clip.copy()).requires_grad_()
    assert np.array_equal(encoder.encode(tensor, 24000), expected)
    assert np.array_equal(encoder.encode(tensor[None], 24000), expected)


@pytest.mark.parametrize(
    ("audio", "sr", "text"),
    [
        (np.zeros((2, 3, 4)), 24000, "(2, 3, 4)"),
        (np.zeros((24000, 2)), 24000, "transpose"),
        (np.zeros(0), 24000, "no samples"),
        (np.array([0.0] * 24000 + [np.nan]), 24000, "sample 24000 is nan"),
        (np.ones(24000), 24000.5, "24000.5"),
        (np.ones(24000), 0, "sr: 0"),
    ],
)
def test_what_is_no_audio_is_refused(model, audio, sr, text):
    with pytest.raises(ValueError) as error:
        Encoder(model).encode(audio, sr)
    assert text in str(error.value)


def test_other_types_are_refused(model):
    for audio in (np.ones(24000, complex), np.ones(24000, bool), np.array(["a"])):
        with pytest.raises(TypeError, match="expected floats"):
            Encoder(model).encode(audio, 24000)


def test_silence_and_short_clips_are_audio_errors(model):
    encoder = Encoder(model)
    with pytest.raises(AudioError, match="silent"):
        encoder.encode(np.zeros(24000), 24000)
    with pytest.raises(AudioError, match="short|samples"):
        encoder.encode(np.ones(10), 24000)


def test_bad_arguments_name_themselves(model, tmp_path):
    for arguments, text in [
        ({"layer": 13}, "13"),
        ({"layer": []}, "layer"),
        ({"layer": "six"}, "layer"),
        ({"pooling": "median"}, "pooling"),
        ({"device": "tpu"}, "device"),
        ({"dtype": "f8"}, "dtype"),
        ({"threads": 0}, "threads"),
        ({"project": "lm_head"}, "project"),
    ]:
        with pytest.raises(ValueError) as error:
            Encoder(model, **arguments)
        assert text in str(error.value)
    with pytest.raises(ModelError, match="nowhere"):
        Encoder(tmp_path / "nowhere.safetensors")


def test_another_rate_is_resampled_and_said_once(model):
    time = np.arange(48000) / 48000
    at_48k = np.sin(2 * np.pi * 440 * time) + 0.3 * np.sin(2 * np.pi * 1000 * time)
    encoder = Encoder(model, layer=6)
    with pytest.warns(UserWarning, match="48000 Hz is resampled to the model's 24000 Hz"):
        found = encoder.encode(at_48k, 48000)
    import warnings

    with warnings.catch_warnings():
        warnings.simplefilter("error")
        encoder.encode(at_48k, 48000)
    # Far from the edges a sine at half the rate has every second sample.
    close(found, encoder.encode(at_48k[::2], 24000), 0.02)


def test_batches_and_windows(model, reference):
    clip = reference[0]
    encoder = Encoder(model, layer=6)
    clips = [clip, clip[::-1], clip[:12000]]
    batch = encoder.encode_batch(clips, 24000)
    assert np.array_equal(batch, np.stack([encoder.encode(c, 24000) for c in clips]))
    frames = Encoder(model, layer=6, pooling=None).encode_batch(clips, 24000)
    assert [len(f) for f in frames] == [74, 74, 37]
    windows = list(encoder.encode_windows(clip, 24000, window=0.4, hop=0.2))
    assert [(w.start, w.end) for w in windows] == [(0.0, 0.4), (0.2, 0.6), (0.4, 0.8), (0.6, 1.0)]
    assert np.array_equal(windows[1].embedding, encoder.encode(clip[4800:14400], 24000))
    (only,) = encoder.encode_windows(clip, 24000, window=5)
    assert np.array_equal(only.embedding, encoder.encode(clip, 24000))


def test_files_have_the_embeddings_of_the_command(model, tmp_path):
    folder = FIXTURES / "audio"
    encoder = Encoder(model, layer=[6, 12])
    output = tmp_path / "table.jsonl"
    report = encoder.write([folder], output, window="sliding:0.5s/0.5s")
    assert report["failed"] == len(report["failures"]) and report["embedded"] > 20
    rows = [json.loads(line) for line in output.read_text().splitlines()]
    rows = [row for row in rows if "file" in row]
    found = {}
    for result in encoder.encode_files([folder], window="sliding:0.5s/0.5s", errors="return", jobs=2):
        if isinstance(result, FileFailure):
            assert any(failure["message"] == str(result.error) for failure in report["failures"])
            continue
        for window in result.windows:
            found[result.path, round(window.start, 6)] = window.embedding
    assert len(found) == len(rows)
    for row in rows:
        embedding = found[row["file"], round(row["start"], 6)]
        expected = np.array([row["hidden_states"]["6"], row["hidden_states"]["12"]], np.float32)
        assert np.array_equal(embedding, expected)


def test_files_that_fail_are_raised_or_returned(model, tmp_path):
    bad = tmp_path / "bad.wav"
    bad.write_bytes(b"RIFF" + bytes(40))
    good = FIXTURES / "audio" / "f32-24k-mono.wav"
    encoder = Encoder(model)
    with pytest.raises(AudioError, match="bad.wav"):
        list(encoder.encode_files([bad, good]))
    failure, result = encoder.encode_files([bad, good], errors="return", window="whole")
    assert isinstance(failure, FileFailure) and failure.path == str(bad)
    assert result.embedding.shape == (64,)


def test_write_refuses_to_replace_and_reports_progress(model, tmp_path):
    output = tmp_path / "table.parquet"
    calls = []
    encoder = Encoder(model)
    file = FIXTURES / "audio" / "f32-24k-mono.wav"
    encoder.write(file, output, window="whole", progress=lambda *call: calls.append(call))
    assert [ended for ended, _ in calls] == [False, True] and calls[0][1] > 0.1
    before = output.read_bytes()
    with pytest.raises(FileExistsError, match="force"):
        encoder.write(file, output, window="whole")
    encoder.write(file, output, window="whole", force=True)
    assert output.read_bytes() == before


def test_the_drop_in_has_the_arguments_of_the_listing(model, reference):
    clip, states = reference
    encoder = MERTEncoder(str(model), "cpu", 6, "mean")
    close(encoder.encode(clip, 24000), states[6].mean(axis=0))
    close(MERTEncoder(model_name=str(model), device="cpu", layer=-1).encode(clip, 24000), states[12])


def test_bf16_and_int8_are_near(model, reference):
    clip, states = reference
    for dtype, least in [("bf16", 0.9998), ("int8", 0.999)]:
        encoder = Encoder(model, layer=6, dtype=dtype)
        assert encoder.dtype == dtype
        found, expected = encoder.encode(clip, 24000), states[6].mean(axis=0)
        assert found @ expected / np.linalg.norm(found) / np.linalg.norm(expected) > least


def test_other_threads_run_while_it_computes(model, reference):
    clip = np.tile(reference[0], 20)
    encoder = Encoder(model)
    counted, stop = [0], threading.Event()

    def count():
        while not stop.is_set():
            counted[0] += 1
            time.sleep(0.001)

    thread = threading.Thread(target=count)
    thread.start()
    before = counted[0]
    encoder.encode(clip, 24000)
    during = counted[0] - before
    stop.set()
    thread.join()
    assert during >= 2


@pytest.mark.skipif(os.name == "nt", reason="signals of Windows are others")
def test_ctrl_c_ends_a_long_call(model, tmp_path):
    program = tmp_path / "long.py"
    program.write_text(
        "import sys, numpy as np, mert_toolkit\n"
        f"encoder = mert_toolkit.Encoder({str(model)!r})\n"
        "clip = np.random.default_rng(0).standard_normal(24000 * 600)\n"
        "print('ready', flush=True)\n"
        "try:\n"
        "    encoder.encode(clip, 24000)\n"
        "except KeyboardInterrupt:\n"
        "    print('interrupted', flush=True)\n"
        "    sys.exit(3)\n"
    )
    process = subprocess.Popen([sys.executable, str(program)], stdout=subprocess.PIPE, text=True)
    assert process.stdout.readline() == "ready\n"
    time.sleep(0.3)
    process.send_signal(signal.SIGINT)
    assert process.stdout.readline() == "interrupted\n"
    assert process.wait(60) == 3


def test_the_wheel_is_small():
    size = os.path.getsize(mert_toolkit._native.__file__)
    # Compressed it is a third of that.
    assert size < 90e6, size


def test_versions_agree():
    manifest = (FIXTURES.parent / "Cargo.toml").read_text()
    assert f'version = "{mert_toolkit.__version__}"' in manifest



def test_arguments_that_mean_something_else_are_refused(model, reference):
    clip = reference[0]
    for options in [{"pooling": ""}, {"pooling": False}, {"layer": [1.7, 2]}, {"layer": True}, {"layer": None},
                    {"layer": ["1", "2"]}, {"layer": []}, {"device": "cuda:1"}]:
        with pytest.raises(ValueError, match=next(iter(options))):
            Encoder(model, **options)
    encoder = Encoder(model, layer=6)
    for rate in (None, True, "24000", float("nan"), float("inf"), 24000.5):
        with pytest.raises(ValueError, match="sr: .*whole number of hertz"):
            encoder.encode(clip, rate)
    for audio, text in [
        (np.zeros((16, 24000), np.float32), "encode_batch"),
        (np.zeros((0, 24000)), "no samples"),
        ("file.wav", "encode_files"),
        (np.full(24000, 1e300), "as float32"),
    ]:
        with pytest.raises((ValueError, TypeError), match=text):
            encoder.encode(audio, 24000)
    with pytest.raises(ValueError, match="encode takes one"):
        encoder.encode_batch(clip, 24000)
    assert list(encoder.encode_files([])) == []
    import torch

    rounded = torch.from_numpy(clip).bfloat16()
    assert np.array_equal(encoder.encode(rounded, 24000), encoder.encode(rounded.float().numpy(), 24000))


def test_silent_windows_and_other_rates_are_said(model, reference):
    encoder = Encoder(model, layer=6)
    noise = np.random.default_rng(3).standard_normal(3 * 24000).astype(np.float32)
    noise[24000:48000] = 0
    with pytest.warns(UserWarning, match="1 silent window"):
        windows = list(encoder.encode_windows(noise, 24000, window=1))
    assert [window.start for window in windows] == [0, 2]
    with pytest.raises(AudioError, match="silent"):
        list(encoder.encode_windows(np.zeros(48000), 24000, window=1))
    with pytest.warns(UserWarning, match="48000 Hz") as warned:
        next(iter(encoder.encode_windows(noise, 48000, window=1)))
    assert warned[0].filename == __file__


def test_an_encoder_is_opened_again_where_it_is_unpickled(model, reference):
    encoder = Encoder(model, layer=[6, -1], pooling="max", normalize=True)
    other = pickle.loads(pickle.dumps(encoder))
    assert np.array_equal(other.encode(reference[0], 24000), encoder.encode(reference[0], 24000))
    assert repr(other) == repr(encoder) and "pooling max" in repr(encoder)


@pytest.mark.skipif(os.name == "nt", reason="Windows has no fork")
def test_a_fork_is_told_to_spawn(model, reference):
    encoder = Encoder(model, layer=6)
    encoder.encode(reference[0], 24000)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        child = os.fork()
    if child == 0:
        status = 1
        try:
            encoder.encode(reference[0], 24000)
        except RuntimeError as error:
            status = 0 if "spawn" in str(error) else 2
        os._exit(status)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0

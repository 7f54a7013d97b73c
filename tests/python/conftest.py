"""What the tests of the Python package share: fixtures of the repository, and converted models made from them."""

import os
import subprocess
from pathlib import Path

import mert_toolkit
import numpy as np
import pytest

FIXTURES = Path(__file__).resolve().parents[2] / "fixtures"


@pytest.fixture(scope="session")
def tiny():
    """The folder of a small model that transformers made, with its checkpoint and a reference."""
    return FIXTURES / "mert-tiny"


def command(name, *arguments):
    """Runs a command of the toolkit, which MERT_COMMANDS has the folder of, and returns what it prints."""
    program = Path(os.environ["MERT_COMMANDS"]) / name
    result = subprocess.run([program, *map(str, arguments)], capture_output=True, text=True)
    assert result.returncode == 0, result.stderr
    return result.stdout


@pytest.fixture(scope="session")
def catalogue(model, music, tmp_path_factory):
    """A catalogue of the generated music, with hidden states 1 and 6."""
    folder = tmp_path_factory.mktemp("catalogue") / "catalogue"
    options = ["--model", model, "--layers", "1,6", "--window", "sliding:1s/1s", "--no-loudness", "--quiet"]
    command("mert-search", "add", folder, music, *options)
    return folder


@pytest.fixture(scope="session")
def model(tiny, tmp_path_factory):
    """The small model, converted in float32."""
    path = tmp_path_factory.mktemp("model") / "tiny.safetensors"
    mert_toolkit.convert(tiny / "pytorch_model.bin", path, dtype="f32", do_normalize=True, sampling_rate=24000, quiet=True)
    return path


@pytest.fixture(scope="session")
def reference(tiny):
    """A normalised clip at 24 kHz, and the hidden states `(13, 74, 64)` that transformers returned for it."""
    with np.load(tiny / "reference.npz") as arrays:
        return arrays["input_values"], arrays["hidden_states"]


@pytest.fixture(scope="session")
def music(tmp_path_factory):
    """A folder with six recordings of three seconds: three pairs that share their pitches."""
    import wave

    folder = tmp_path_factory.mktemp("music")
    rate = 24000
    time = np.arange(3 * rate) / rate
    noise = np.random.default_rng(0)
    for index, (pitch, depth) in enumerate([(220, 0), (221, 0), (440, 9), (442, 9), (880, 3), (878, 3)]):
        tone = np.sin(2 * np.pi * pitch * time + depth * np.sin(2 * np.pi * 5 * time))
        tone = 0.5 * tone + 0.01 * noise.standard_normal(time.size)
        with wave.open(str(folder / f"track-{index}.wav"), "wb") as file:
            file.setnchannels(1)
            file.setsampwidth(2)
            file.setframerate(rate)
            file.writeframes((tone * 20000).astype("<i2").tobytes())
    return folder

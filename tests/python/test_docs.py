"""The Python code of the documents runs, on the small model and short recordings."""

import re
import shutil

import mert_toolkit
import numpy as np
import pytest

from .conftest import FIXTURES
from .test_transformers import torch_model

DOCS = FIXTURES.parent / "docs"
# What is not run: it needs servers, or a cluster that other tests start.
NOT_RUN = ["QdrantClient(url=…)"]


def blocks(name):
    text = (DOCS / name).read_text()
    return [code for code in re.findall(r"```python\n(.*?)```", text, re.DOTALL) if not any(part in code for part in NOT_RUN)]


@pytest.mark.filterwarnings("ignore:audio at 44100 Hz is resampled")
def test_the_page_about_python(model, tiny, tmp_path, monkeypatch):
    monkeypatch.chdir(tmp_path)
    shutil.copy(model, "mert.safetensors")
    (tmp_path / "references").mkdir()
    shutil.copy(tiny / "reference.npz", "references")
    (tmp_path / "music").mkdir()
    for name in ("16-44k1-stereo.flac", "24-96k-mono.flac"):
        shutil.copy(FIXTURES / "audio" / name, "music")
    shutil.copy(FIXTURES / "audio" / "16-24k-stereo.flac", "music/song.flac")
    audio = np.random.default_rng(0).standard_normal(44100)
    frames = mert_toolkit.Encoder("mert.safetensors", layer=6, pooling=None).encode(audio, 44100)
    mert_toolkit.Vocabulary.fit(frames, 8).save("vocabulary.safetensors")
    with np.load(tiny / "reference.npz") as arrays:
        clip = arrays["input_values"]
    names = {"audio": audio, "mert_toolkit": mert_toolkit, "hubert": torch_model(tiny), "input_values": clip}
    found = blocks("python.md")
    assert len(found) >= 6
    for code in found:
        # The model is here, and its rate is that of the clip.
        code = code.replace('"m-a-p/MERT-v1-95M", "mert.safetensors"', f'{str(tiny / "pytorch_model.bin")!r}, "converted.safetensors"')
        code = code.replace("m-a-p/MERT-v1-95M", str(model))
        exec(compile(code, "docs/python.md", "exec"), names)  # noqa: S102
    assert names["embedding"].shape == (64,) and len(names["features"]) == 13
    assert names["report"].passed and names["tokens"].shape == (len(frames),)
    assert names["answer"].hits is not None

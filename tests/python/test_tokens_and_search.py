"""Tokens beside an exhaustive search in f64, and searches beside the command's."""

import json
import pickle

import numpy as np
import pytest
from mert_toolkit import AudioError, Catalogue, CatalogueError, Encoder, MertError, ModelError, Vocabulary, quantize

from .conftest import FIXTURES, command


def nearest(frames, centroids):
    distances = ((frames[:, None, :].astype(np.float64) - centroids[None].astype(np.float64)) ** 2).sum(-1)
    return distances.argmin(1)


def test_tokens_are_the_nearest_centres(tmp_path):
    rng = np.random.default_rng(3)
    frames = rng.standard_normal((600, 24)).astype(np.float32)
    vocabulary = Vocabulary.fit(frames, 32, seed=1)
    assert len(vocabulary) == 32 and vocabulary.dim == 24
    tokens = vocabulary.quantize(frames)
    assert tokens.dtype == np.uint32
    assert np.array_equal(tokens, nearest(frames, vocabulary.centroids))
    # A centre is the mean of its frames once the training has converged.
    for token in range(32):
        assert np.abs(frames[tokens == token].mean(0) - vocabulary.centroids[token]).max() < 0.05
    again = Vocabulary.fit(frames, 32, seed=1)
    assert np.array_equal(again.centroids, vocabulary.centroids)
    assert not np.array_equal(Vocabulary.fit(frames, 32, seed=2).centroids, vocabulary.centroids)
    path = tmp_path / "vocabulary.safetensors"
    vocabulary.save(path)
    assert np.array_equal(quantize(frames.reshape(6, 100, 24), path), tokens.reshape(6, 100))
    with pytest.raises(MertError):
        vocabulary.save(path)


def test_frames_that_do_not_fit_are_refused(tmp_path):
    vocabulary = Vocabulary.fit(np.eye(8, dtype=np.float32), 4)
    with pytest.raises(ValueError, match="frames have 9 values"):
        vocabulary.quantize(np.zeros((3, 9), np.float32))
    with pytest.raises(ValueError, match="finite"):
        vocabulary.quantize(np.full((1, 8), np.nan, np.float32))
    with pytest.raises(ValueError):
        Vocabulary.fit(np.eye(3, dtype=np.float32), 4)
    with pytest.raises(MertError):
        Vocabulary(FIXTURES / "mert-tiny" / "reference.npz")


def test_a_search_has_the_hits_of_the_command(catalogue, music):
    found = Catalogue(catalogue)
    assert len(found) == 6 and len(found.tracks()) == 6
    assert found.groups == [("1", 64), ("6", 64)]
    for seed, options, arguments in [
        ("track-0", {}, []),
        (music / "track-2.wav", {"layers": "6", "top": 3}, ["--layers", "6", "--top", "3"]),
        ("track-4.wav@0-1", {"level": "passages"}, ["--level", "passages"]),
        ("track-1", {"minus": ["track-4"], "center": False}, ["--minus", "track-4", "--no-center"]),
        ("track-1", {"where": "duration > 2", "reasons": True}, ["--where", "duration > 2", "--why"]),
    ]:
        answer = found.search(seed, **options)
        theirs = json.loads(command("mert-search", "query", catalogue, seed, "--json", *arguments))
        assert answer.hits == theirs["hits"], seed
        assert answer["seeds"] == theirs["seeds"]
    assert found.search("track-0").hits[0]["file"].endswith("track-1.wav")


def test_vectors_of_an_encoder_are_seeds(catalogue, model, music):
    found = Catalogue(catalogue)
    encoder = Encoder(model, layer=[1, 6])
    (result,) = encoder.encode_files([music / "track-3.wav"], window="sliding:1s/1s")
    vectors = np.stack([window.embedding.reshape(-1) for window in result.windows])
    hits = found.search(vectors, versions=False, top=2).hits
    assert hits[0]["file"].endswith("track-3.wav") and hits[0]["cosine"] == pytest.approx(1, abs=1e-6)
    assert hits[1]["file"].endswith("track-2.wav")
    with pytest.raises(ValueError, match="128"):
        found.search(vectors[:, :64])


def test_tables_of_hits(catalogue):
    answer = Catalogue(catalogue).search("track-0", level="passages")
    table = answer.to_arrow()
    assert table.column("cosine").to_pylist() == [hit["cosine"] for hit in answer.hits]
    frame = answer.to_pandas()
    assert list(frame["file"]) == [hit["file"] for hit in answer.hits]
    assert (frame["end"] > frame["start"]).all()


def test_search_errors(catalogue, tmp_path):
    with pytest.raises(CatalogueError):
        Catalogue(tmp_path)
    found = Catalogue(catalogue)
    for arguments, text in [
        (("nowhere",), "nowhere"),
        ((["track-0@5-4"],), "5-4"),
    ]:
        with pytest.raises((ValueError, CatalogueError), match=text):
            found.search(*arguments)
    for options, text in [({"top": 0}, "top"), ({"level": "albums"}, "level"), ({"variety": 2}, "variety"),
                          ({"where": "bpm >"}, "bpm"), ({"layers": "99"}, "99")]:
        with pytest.raises((ValueError, CatalogueError), match=text):
            found.search("track-0", **options)


def test_tokens_of_a_file_are_those_of_the_command(model, tmp_path):
    file = FIXTURES / "audio" / "f32-24k-mono.wav"
    encoder = Encoder(model, layer=6, pooling=None)
    (result,) = encoder.encode_files([file], window="whole")
    vocabulary = Vocabulary.fit(result.embedding, 16)
    path = tmp_path / "vocabulary.safetensors"
    vocabulary.save(path)
    printed = command("mert-tokens", "encode", model, path, file, "--layer", "6", "--quiet")
    (line,) = printed.splitlines()
    assert json.loads(line)["tokens"] == vocabulary.quantize(result.embedding).tolist()


def test_files_outside_a_catalogue_are_seeds(catalogue, model, music, tmp_path):
    found = Catalogue(catalogue)
    outside = tmp_path / "outside.wav"
    outside.write_bytes((music / "track-3.wav").read_bytes())
    for seed, options, arguments in [
        (outside, {}, []),
        (f"{outside}@0.5-2.5", {"level": "passages"}, ["--level", "passages"]),
        (outside, {"minus": ["track-0"], "model": model}, ["--minus", "track-0", "--model", str(model)]),
    ]:
        answer = found.search(seed, versions=False, **options)
        theirs = json.loads(command("mert-search", "query", catalogue, seed, "--json", "--no-versions", *arguments))
        assert answer.hits == theirs["hits"], seed
        assert answer["seeds"] == theirs["seeds"]
    hit = found.search(outside, versions=False).hits[0]
    assert hit["file"].endswith("track-3.wav") and hit["cosine"] == pytest.approx(1, abs=1e-6)
    broken = tmp_path / "broken.wav"
    broken.write_bytes(b"RIFF")
    with pytest.raises(AudioError, match="broken.wav"):
        found.search(broken)
    with pytest.raises(AudioError, match="ends at 3.00 s"):
        found.search(f"{outside}@5-6")
    with pytest.raises(ModelError, match="another model"):
        found.search(outside, model=FIXTURES / "mert-tiny" / "model.safetensors")
    tables = Catalogue.from_tables(tmp_path / "tables", [table_of(model, music, tmp_path)])
    with pytest.raises(ModelError, match="does not remember"):
        tables.search(outside)
    assert tables.search(outside, model=model, versions=False).hits[0]["file"].endswith("track-3.wav")


def table_of(model, music, folder):
    """The table of the generated music with hidden state 6."""
    table = folder / "table.parquet"
    Encoder(model, layer=6, pooling="mean").write([music], table, window="sliding:1s/1s")
    return table


def test_shapes_of_seeds(catalogue, model, music):
    found = Catalogue(catalogue)
    encoder = Encoder(model, layer=[1, 6])
    layers = encoder.encode_files([music / "track-3.wav"], window="whole")
    vectors = next(iter(layers)).embedding
    assert vectors.shape == (2, 64)
    answer = found.search(vectors, versions=False)
    assert answer.hits == found.search(vectors.reshape(-1), versions=False).hits
    assert answer.hits == found.search(vectors.reshape(-1).tolist(), versions=False).hits
    assert found.search("track-3", layers=6).hits == found.search("track-3", layers="6").hits
    for seed in (np.zeros(128), np.ones(128) * 1j, np.ones((2, 2, 64))):
        with pytest.raises(ValueError, match="seed"):
            found.search(seed)
    with pytest.raises(ValueError, match="top: -1"):
        found.search("track-3", top=-1)
    assert len(pickle.loads(pickle.dumps(found))) == 6 and "6 tracks" in repr(found)

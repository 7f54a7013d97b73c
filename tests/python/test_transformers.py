"""The stand-ins for transformers' classes, beside what transformers returned, and in probing code as it is written for them."""

import numpy as np
import pytest
from mert_toolkit.transformers import MertFeatureExtractor, MertModel

from .test_encoder import close


@pytest.fixture(scope="module")
def mert(model):
    return MertModel.from_pretrained(model, trust_remote_code=True).eval().to("cpu")


def test_hidden_states_are_those_of_transformers(mert, reference):
    clip, states = reference
    outputs = mert(input_values=np.stack([clip, clip]), output_hidden_states=True)
    assert len(outputs.hidden_states) == 13
    for found, expected in zip(outputs.hidden_states, states, strict=True):
        close(found, np.stack([expected, expected]))
    close(outputs.last_hidden_state, np.stack([states[-1]] * 2))
    assert outputs[0] is outputs["last_hidden_state"]
    assert mert.config.hidden_size == 64 and mert.config.num_hidden_layers == 12


def test_hidden_states_are_returned_if_asked_for(mert, reference):
    inputs = {"input_values": reference[0][None]}
    assert mert(**inputs).hidden_states is None
    assert len(mert(**inputs, return_dict=False)) == 1
    last, states = mert(**inputs, output_hidden_states=True, return_dict=False)
    assert np.array_equal(last, states[-1])


def test_input_is_not_normalised_twice(mert, reference):
    """The model takes its input as it is, as transformers does: another scale gives other hidden states."""
    clip = reference[0][None]
    assert np.abs(mert(clip).last_hidden_state - mert(clip * 0.5).last_hidden_state).max() > 1e-3


def test_the_extractor_normalises_as_transformers_does(model, reference):
    extractor = MertFeatureExtractor.from_pretrained(model)
    rng = np.random.default_rng(1)
    clip = (3 + 5 * rng.standard_normal(30000)).astype(np.float32)
    values = extractor(clip, sampling_rate=24000).input_values
    assert values.shape == (1, 30000) and values.dtype == np.float32
    expected = (clip - clip.mean(dtype=np.float64)) / np.sqrt(clip.var(dtype=np.float64) + 1e-7)
    close(values[0], expected.astype(np.float32), 1e-6)
    assert extractor([clip, clip * 2], sampling_rate=24000)["input_values"].shape == (2, 30000)
    with pytest.raises(ValueError, match="44100"):
        extractor(clip, sampling_rate=44100)
    with pytest.raises(ValueError, match="one by one"):
        extractor([clip, clip[:100]], sampling_rate=24000)


def test_masks_that_leave_samples_out_are_refused(mert, reference):
    clip = reference[0][None]
    mert(clip, attention_mask=np.ones(clip.shape))
    with pytest.raises(ValueError, match="attention_mask"):
        mert(clip, attention_mask=np.zeros(clip.shape))


def test_torch_tensors_come_back_as_such(mert, reference):
    torch = pytest.importorskip("torch")
    with torch.no_grad():
        outputs = mert(torch.from_numpy(reference[0][None].copy()), output_hidden_states=True)
    assert all(isinstance(state, torch.Tensor) for state in outputs.hidden_states)
    close(outputs.last_hidden_state.numpy(), reference[1][-1][None])


def features(model, processor, clips):
    """A vector of each clip, by code as benchmarks of music models have it: all hidden states, their mean over time, stacked."""
    vectors = []
    for clip in clips:
        inputs = processor(clip, sampling_rate=processor.sampling_rate, return_tensors="np")
        outputs = model(**inputs, output_hidden_states=True)
        all_layers = np.stack([state.squeeze(0) for state in outputs.hidden_states])
        vectors.append(all_layers.mean(-2))
    return np.stack(vectors)


def test_a_probe_learns_pitches(mert, model):
    """A linear probe on the hidden states tells high tones from low ones in clips that it has not seen."""
    processor = MertFeatureExtractor.from_pretrained(model)
    rng = np.random.default_rng(2)
    time = np.arange(12000) / 24000
    labels = np.arange(40) % 2
    pitch = np.where(labels, rng.uniform(600, 900, 40), rng.uniform(100, 300, 40))
    clips = [np.sin(2 * np.pi * f * time + p) + 0.1 * rng.standard_normal(time.size)
             for f, p in zip(pitch, rng.uniform(0, 6, 40), strict=True)]
    x = features(mert, processor, clips)[:, 6]
    x = (x - x[:20].mean(0)) / (x[:20].std(0) + 1e-6)
    targets = 2.0 * labels - 1
    weights = x[:20].T @ np.linalg.solve(x[:20] @ x[:20].T + 10 * np.eye(20), targets[:20])
    assert ((x[20:] @ weights > 0) == (labels[20:] == 1)).mean() >= 0.9

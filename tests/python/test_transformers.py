"""The stand-ins for transformers' classes, beside what transformers returned, and in probing code as it is written for them."""

import json

import mert_toolkit
import numpy as np
import pytest
import torch
import transformers
from mert_toolkit import write_reference
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


def torch_model(folder):
    """The checkpoint in `folder` in the class of transformers, loaded by name."""
    fields = json.loads((folder / "config.json").read_text())
    fields.pop("model_type")
    model = transformers.HubertModel(transformers.HubertConfig(attn_implementation="eager", **fields)).eval()
    weights = torch.load(folder / "pytorch_model.bin", weights_only=True)
    weights = {name.replace("weight_g", "parametrizations.weight.original0"): value for name, value in weights.items()}
    weights = {name.replace("weight_v", "parametrizations.weight.original1"): value for name, value in weights.items()}
    missing, _ = model.load_state_dict(weights, strict=False)
    assert set(missing) <= {"masked_spec_embed"}
    return model


def test_references_of_torch_judge_a_conversion(tiny, reference, tmp_path):
    model, clip = torch_model(tiny), torch.from_numpy(reference[0]).reshape(1, -1)
    path = tmp_path / "reference.npz"
    before = {name: value.clone() for name, value in model.state_dict().items()}
    write_reference(model, clip, path)
    assert all(torch.equal(value, before[name]) for name, value in model.state_dict().items())
    close(model(clip).last_hidden_state.detach().numpy()[0], reference[1][-1])
    with np.load(path) as written:
        np.testing.assert_allclose(written["hidden_states"], reference[1], rtol=0, atol=2e-5)  # another version of torch adds in another order
    converted = tmp_path / "tiny.safetensors"
    for dtype in ("f16", "bf16", "f32"):
        mert_toolkit.convert(tiny / "pytorch_model.bin", converted, dtype=dtype, force=True, quiet=True)
        assert mert_toolkit.verify(converted, path, require_structure=True).passed, dtype
    # A model that differs from the checkpoint by one bias makes a reference that the conversion fails.
    with torch.no_grad():
        model.encoder.layers[3].attention.v_proj.bias.add_(0.05)
    write_reference(model, clip, path)
    assert not mert_toolkit.verify(converted, path).passed
    for arguments, text in [
        ((model, clip, tmp_path / "reference.npy"), "npz"),
        ((model, clip.expand(2, -1), path), "one clip"),
        ((model.half(), clip, path), "float16"),
    ]:
        with pytest.raises(ValueError, match=text):
            write_reference(*arguments)


def test_common_idioms_of_transformers_run(model, reference, tmp_path):
    processor = MertFeatureExtractor.from_pretrained(model)
    mert = MertModel.from_pretrained(model, torch_dtype=torch.float32, output_hidden_states=True, device_map=None)
    mert = mert.eval().train(False).float().cpu().to(torch.float32)
    mert.freeze_feature_encoder()
    device = next(mert.parameters()).device
    clip = reference[0]
    inputs = processor(raw_speech=clip, sampling_rate=24000, return_tensors="pt", return_attention_mask=True).to(device)
    assert inputs.attention_mask.shape == inputs.input_values.shape == (1, clip.size)
    outputs = mert(**inputs, return_dict=None)
    assert len(outputs.hidden_states) == 13 and len(outputs) == 2 and outputs.attentions is None and "attentions" not in outputs
    assert mert.config.to_dict()["hidden_size"] == 64
    cut = processor(clip, sampling_rate=24000, max_length=8000, truncation=True)
    assert cut.input_values.shape == (1, 8000)
    with pytest.warns(UserWarning, match="stays on cpu"):
        mert.to("cuda")
    for call, text in [
        (lambda: mert.train(), "gradients"),
        (lambda: mert(inputs.input_values, output_attentions=True), "output_attentions"),
        (lambda: mert(inputs.input_values, attention_mask=torch.ones(3, 5)), "attention_mask"),
        (lambda: mert(torch.empty(0, 24000)), "shape"),
        (lambda: processor([]), "no samples"),
    ]:
        with pytest.raises(ValueError, match=text):
            call()

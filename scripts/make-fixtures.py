#!/usr/bin/env python3
"""Writes the test checkpoints under fixtures/ and the hidden states PyTorch computes from them.

    python scripts/make-fixtures.py [--out fixtures] [--only NAME] [--full-size DIR]

The reference is transformers' HubertModel in float32, eager attention, batch 1, no padding. Needs
torch, transformers, numpy and safetensors. The weights are drawn so that a mistake shows: no bias,
gain or norm sits at its default and attention is far from uniform.
"""

import argparse
import hashlib
import io
import json
import math
import os
import pickle
import pickletools
import platform
import struct
import zipfile
import zlib
from collections import OrderedDict
from dataclasses import dataclass, fields
from pathlib import Path

import numpy as np
import safetensors
import safetensors.torch
import torch
import transformers
from torch.nn.utils import parametrize
from transformers import HubertConfig, HubertModel
from transformers.models.hubert.modeling_hubert import HubertAttention, HubertEncoderLayer

SEED = 20261121
POS_CONV = "encoder.pos_conv_embed.conv."
ROUNDED = {"f16": torch.float16, "bf16": torch.bfloat16}


# --- configurations -------------------------------------------------------------------------------


def hubert_config(**overrides):
    config = {
        "activation_dropout": 0.1,
        "apply_spec_augment": True,
        "architectures": ["HubertModel"],
        "attention_dropout": 0.1,
        "bos_token_id": 1,
        "classifier_proj_size": 256,
        "conv_bias": False,
        "conv_dim": [512] * 7,
        "conv_kernel": [10, 3, 3, 3, 3, 2, 2],
        "conv_stride": [5, 2, 2, 2, 2, 2, 2],
        "ctc_loss_reduction": "sum",
        "ctc_zero_infinity": False,
        "do_stable_layer_norm": False,
        "eos_token_id": 2,
        "feat_extract_activation": "gelu",
        "feat_extract_norm": "group",
        "feat_proj_dropout": 0.1,
        "feat_proj_layer_norm": True,
        "final_dropout": 0.1,
        "hidden_act": "gelu",
        "hidden_dropout": 0.1,
        "hidden_size": 768,
        "initializer_range": 0.02,
        "intermediate_size": 3072,
        "layer_norm_eps": 1e-05,
        "layerdrop": 0.1,
        "mask_feature_length": 10,
        "mask_feature_min_masks": 0,
        "mask_feature_prob": 0.0,
        "mask_time_length": 10,
        "mask_time_min_masks": 2,
        "mask_time_prob": 0.05,
        "model_type": "hubert",
        "num_attention_heads": 12,
        "num_conv_pos_embedding_groups": 16,
        "num_conv_pos_embeddings": 128,
        "num_feat_extract_layers": 7,
        "num_hidden_layers": 12,
        "pad_token_id": 0,
        "torch_dtype": "float32",
        "use_weighted_layer_sum": False,
        "vocab_size": 32,
    }
    return config | overrides


def mert_config(**overrides):
    """MERT-v1-95M, unless overridden."""
    config = hubert_config(
        architectures=["MERTModel"],
        attention_relax=-1.0,
        auto_map={
            "AutoConfig": "configuration_MERT.MERTConfig",
            "AutoModel": "modeling_MERT.MERTModel",
        },
        deepnorm=False,
        feature_extractor_cqt=False,
        feature_extractor_cqt_bins=336,
        model_type="mert_model",
        sample_rate=24000,
    )
    return config | overrides


@dataclass(frozen=True)
class Recipe:
    """One model: its config, the clip it hears, and how sharp its weights are."""

    about: str
    config: dict
    samples: int
    sample_rate: int
    qk_gain: float


MODELS = {
    "mert-tiny": Recipe(
        "MERT-v1-95M at a 64-wide scale: 12 post-LN layers, group norm, 128-tap positional conv",
        mert_config(
            hidden_size=64, num_attention_heads=4, intermediate_size=128, conv_dim=[32] * 7
        ),
        samples=24000,
        sample_rate=24000,
        qk_gain=1.7,
    ),
    "stable-layer-norm": Recipe(
        "HuBERT-large's variant: pre-LN layers, layer norm and a bias in every feature conv",
        hubert_config(
            conv_pos_batch_norm=False,
            do_stable_layer_norm=True,
            feat_extract_norm="layer",
            conv_bias=True,
            num_hidden_layers=3,
            hidden_size=48,
            num_attention_heads=4,
            intermediate_size=96,
            conv_dim=[24, 24, 24, 32, 32, 32, 32],
            num_conv_pos_embeddings=32,
            num_conv_pos_embedding_groups=4,
        ),
        samples=16123,
        sample_rate=16000,
        qk_gain=1.7,
    ),
    "deepnorm": Recipe(
        "MERT's own options: deepnorm, attention_relax 24, no projection norm; and an odd (15-tap) "
        "positional conv, layer_norm_eps 1e-4",
        mert_config(
            deepnorm=True,
            attention_relax=24.0,
            layer_norm_eps=1e-4,
            feat_proj_layer_norm=False,
            num_hidden_layers=3,
            hidden_size=48,
            num_attention_heads=4,
            intermediate_size=96,
            conv_dim=[24, 24, 24, 32, 32, 32, 32],
            num_conv_pos_embeddings=15,
            num_conv_pos_embedding_groups=4,
        ),
        samples=15987,
        sample_rate=24000,
        qk_gain=1.7,
    ),
    "containers": Recipe(
        "one 2-layer model in every container, nesting, prefix, dtype and memory layout",
        mert_config(
            num_hidden_layers=2,
            hidden_size=32,
            num_attention_heads=2,
            intermediate_size=64,
            conv_dim=[16] * 7,
            num_conv_pos_embeddings=16,
            num_conv_pos_embedding_groups=4,
        ),
        samples=16000,
        sample_rate=24000,
        qk_gain=1.7,
    ),
}

FULL_SIZE = Recipe("MERT-v1-95M", mert_config(), samples=120000, sample_rate=24000, qk_gain=2.1)
# Of scripts/make-coreml-fixture.py, scripts/make-audio-fixtures.py and scripts/make-pickle-fixtures.py.
COREML_ABOUT = (
    "`mert-tiny/` in half precision as Core ML packages that Apple's coremltools made of the PyTorch "
    "model (`scripts/make-coreml-fixture.py`), for iOS 15 and 18"
)
AUDIO_ABOUT = (
    "short generated tracks in many formats, and what Python's audio packages and `mert-tiny/` make "
    "of them (`scripts/make-audio-fixtures.py`)"
)
AUDIO_VERSIONS = {"soundfile": "0.14.0", "soxr": "1.1.0", "imageio-ffmpeg": "0.8.1"}
AUDIO_FORMATS_ABOUT = (
    "every container and codec, and what FFmpeg or libopus makes of it (`scripts/make-format-fixtures.py`, which writes a "
    "README of its own)"
)
PICKLES_ABOUT = (
    "a dictionary of two tensors, in files of a few kB with everything that training leaves beside and "
    "around a model (`scripts/make-pickle-fixtures.py`)"
)
HOSTILE_ABOUT = (
    "checkpoints that try to run a program when unpickled, or hold no tensors. NEVER load these "
    "with an unrestricted unpickler"
)


# --- weights and input ----------------------------------------------------------------------------


def generator(*labels):
    return np.random.default_rng([SEED, *(zlib.crc32(label.encode()) for label in labels)])


def draw(name, shape, recipe, rng):
    """One tensor: nothing at its default, gains chosen to keep activations near unit size."""
    normal = rng.standard_normal(shape)
    fan_in = math.prod(shape[1:])
    if name == "masked_spec_embed":
        return rng.uniform(size=shape)
    if name == POS_CONV + "weight_g":
        taps, channels = shape[-1], recipe.config["hidden_size"]
        return math.sqrt(channels / taps) * np.exp(0.5 * normal)
    if name == POS_CONV + "weight_v":
        return normal
    if name.endswith("layer_norm.weight"):
        return np.exp(0.3 * normal)
    if name.endswith(("q_proj.weight", "k_proj.weight")):
        return normal * recipe.qk_gain / math.sqrt(fan_in)
    if name.endswith(("q_proj.bias", "k_proj.bias")):
        return 0.5 * normal
    # Averages and biases are what the frames share. Any more of either, and a dozen layers leave
    # all frames equal and attention uniform, however large q and k are.
    if name.endswith(("v_proj.weight", "out_proj.weight")):
        return normal * 0.55 / math.sqrt(fan_in)
    if name.endswith("_dense.weight"):
        return normal * 0.8 / math.sqrt(fan_in)
    if name.endswith(".bias"):
        return normal * (0.1 if name.startswith("encoder.layers.") else 0.3)
    return normal * 1.5 / math.sqrt(fan_in)


def sharp_state(label, recipe):
    """A state dict under the names and in the order of the published checkpoint."""
    state = OrderedDict()
    for name, tensor in build_model(recipe.config).state_dict().items():
        name = published_name(name)
        values = draw(name, tuple(tensor.shape), recipe, generator(label, name))
        state[name] = torch.from_numpy(values.astype(np.float32))
    return state


def published_name(name):
    return name.replace("parametrizations.weight.original0", "weight_g").replace(
        "parametrizations.weight.original1", "weight_v"
    )


def parametrized_name(name):
    return name.replace("weight_g", "parametrizations.weight.original0").replace(
        "weight_v", "parametrizations.weight.original1"
    )


def fused_pos_conv(state):
    """g * v / |v| with one norm per tap, in float64, as float32."""
    gain, direction = (state[POS_CONV + part].double() for part in ("weight_g", "weight_v"))
    norm = direction.square().sum(dim=(0, 1), keepdim=True).sqrt()
    return (gain * direction / norm).float()


def fused_state(state):
    fused = OrderedDict()
    for name, tensor in state.items():
        if name == POS_CONV + "weight_v":
            fused[POS_CONV + "weight"] = fused_pos_conv(state)
        elif name != POS_CONV + "weight_g":
            fused[name] = tensor
    return fused


def music(label, samples, sample_rate):
    """Decaying chords over noise with a slow swell; normalised like Wav2Vec2FeatureExtractor."""
    rng = generator(label, "music")
    time = np.arange(samples) / sample_rate
    signal = 0.02 * rng.standard_normal(samples)
    onset = 0.0
    while onset < time[-1]:
        after = np.maximum(time - onset, 0.0)
        root = 55.0 * 2 ** (rng.integers(0, 30) / 12)
        loudness = rng.uniform(0.2, 1.0)
        for interval in (0, rng.choice([3, 4]), 7, rng.choice([10, 11, 12])):
            for harmonic in range(1, 9):
                frequency = root * 2 ** (interval / 12) * harmonic
                if frequency > 0.45 * sample_rate:
                    break
                decay = np.exp(-after * (2.0 + 1.5 * harmonic))
                tone = np.sin(2 * np.pi * frequency * after + rng.uniform(0, 2 * np.pi))
                signal += (time >= onset) * loudness / harmonic**1.2 * decay * tone
        hit = rng.standard_normal(samples) * np.exp(-after * 60) * (time >= onset)
        signal += rng.uniform(0.0, 0.6) * hit
        onset += rng.uniform(0.09, 0.3)
    signal *= 0.7 + 0.3 * np.sin(2 * np.pi * 1.3 * time)
    normalised = (signal - signal.mean()) / np.sqrt(signal.var() + 1e-7)
    return normalised.astype(np.float32)


# --- the reference model --------------------------------------------------------------------------


class RelaxedAttention(HubertAttention):
    """Attention with MERT's `attention_relax`."""

    def forward(self, hidden_states, **_):
        def heads(projection):
            return projection(hidden_states).unflatten(-1, (self.num_heads, -1)).transpose(1, 2)

        logits = self.scaling * heads(self.q_proj) @ heads(self.k_proj).transpose(2, 3)
        relax = self.config.attention_relax
        if relax > 0:
            relaxed = logits / relax
            logits = (relaxed - relaxed.amax(dim=-1, keepdim=True)) * relax
        weights = logits.softmax(dim=-1)
        mixed = (weights @ heads(self.v_proj)).transpose(1, 2).flatten(2)
        return self.out_proj(mixed), weights


class DeepNormLayer(HubertEncoderLayer):
    """The post-LN layer with MERT's `deepnorm` residuals."""

    def __init__(self, config):
        super().__init__(config)
        self.alpha = (2 * config.num_hidden_layers) ** 0.25
        self.attention = RelaxedAttention(
            config.hidden_size, config.num_attention_heads, config=config
        )

    def forward(self, hidden_states, **_):
        attended, _ = self.attention(hidden_states)
        hidden_states = self.layer_norm(hidden_states * self.alpha + attended)
        return self.final_layer_norm(hidden_states * self.alpha + self.feed_forward(hidden_states))


def build_model(config):
    known = {field.name for field in fields(HubertConfig)} - {"model_type"}
    hubert = HubertConfig(
        **{key: value for key, value in config.items() if key in known},
        attn_implementation="eager",
    )
    model = HubertModel(hubert)
    assert model.config._attn_implementation == "eager"
    if config.get("deepnorm"):
        model.config.attention_relax = config["attention_relax"]
        model.encoder.layers = torch.nn.ModuleList(
            DeepNormLayer(model.config) for _ in range(config["num_hidden_layers"])
        )
    return model.float().eval()


def load_weight_norm(config, state):
    model = build_model(config)
    model.load_state_dict(parametrized(state), strict=True)
    return model


def load_rounded(config, state, dtype):
    """Every weight rounded to `dtype` and widened; the positional conv after fusing, not before."""
    model = build_model(config)
    parametrize.remove_parametrizations(model.encoder.pos_conv_embed.conv, "weight")
    rounded = {name: tensor.to(dtype).float() for name, tensor in fused_state(state).items()}
    model.load_state_dict(rounded, strict=True)
    return model


def check_weights_in_use(model, state):
    """Some transformers versions re-initialise the positional conv and only warn."""
    used = {published_name(name): tensor for name, tensor in model.state_dict().items()}
    assert used.keys() == state.keys()
    for name, tensor in state.items():
        assert torch.equal(used[name], tensor), f"{name} is not what was loaded"
        assert tensor.isfinite().all() and tensor.std() > 0.05 * tensor.abs().mean(), name
    expected = fused_pos_conv(state)
    effective = model.encoder.pos_conv_embed.conv.weight.detach()
    error = (effective - expected).norm() / expected.norm()
    # torch sums the norm in float32: 2e-6 at full size. Other axes are off by tenths.
    assert error < 1e-5, f"the positional conv is not g*v/|v| over (0,1): {error}"


def hidden_states(model, input_values):
    """(layers + 1, frames, width), and each layer's mean attention entropy over log(frames)."""
    with torch.inference_mode():
        output = model(
            torch.from_numpy(input_values)[None], output_hidden_states=True, output_attentions=True
        )
    states = list(output.hidden_states)
    if model.config.do_stable_layer_norm:
        # transformers 5 records no encoder norm: its last entry is the output of the last layer,
        # where transformers 4 and MERT's own code have that output normalised.
        states[-1] = output.last_hidden_state
    assert torch.equal(states[-1], output.last_hidden_state)
    assert len(states) == model.config.num_hidden_layers + 1
    stacked = torch.cat(states).numpy()
    assert np.isfinite(stacked).all()
    entropies = [
        (-(attention * attention.clamp_min(1e-30).log()).sum(-1)).mean().item()
        / math.log(attention.shape[-1])
        for attention in output.attentions
    ]
    return stacked, entropies


def nmse(candidate, reference):
    difference = candidate.astype(np.float64) - reference
    axes = (1, 2)
    return np.square(difference).sum(axes) / np.square(reference.astype(np.float64)).sum(axes)


def reference_arrays(label, recipe, state, dtypes=("f16", "bf16")):
    model = load_weight_norm(recipe.config, state)
    check_weights_in_use(model, state)
    inputs = music(label, recipe.samples, recipe.sample_rate)
    reference, entropies = hidden_states(model, inputs)
    rms = np.sqrt(np.square(reference).mean(axis=(1, 2)))
    print(
        f"{label}: hidden states {reference.shape}, rms {rms.min():.2f}..{rms.max():.2f}, "
        f"largest {np.abs(reference).max():.1f}"
    )
    print("  attention entropy / log T:", " ".join(f"{entropy:.2f}" for entropy in entropies))
    assert max(entropies) < 0.75, "attention is close to uniform"
    arrays = {"input_values": inputs, "hidden_states": reference}
    for dtype in dtypes:
        rounded, _ = hidden_states(load_rounded(recipe.config, state, ROUNDED[dtype]), inputs)
        arrays[f"hidden_states_{dtype}"] = rounded
        print(f"  {dtype} weights: NMSE {nmse(rounded, reference).max():.1e}")
    return arrays


# --- writing --------------------------------------------------------------------------------------


def write_reference(folder, label, recipe, state, dtypes):
    config = json.dumps(recipe.config, indent=2, sort_keys=True)
    (folder / "config.json").write_text(config + "\n")
    np.savez(folder / "reference.npz", **reference_arrays(label, recipe, state, dtypes))


def write_model(folder, label, recipe, dtypes=("f16", "bf16")):
    folder.mkdir(parents=True, exist_ok=True)
    state = sharp_state(label, recipe)
    torch.save(state, folder / "pytorch_model.bin")
    assert_same(torch.load(folder / "pytorch_model.bin", weights_only=True), state)
    write_reference(folder, label, recipe, state, dtypes)
    return state


def assert_same(loaded, state):
    assert list(loaded) == list(state)
    assert all(torch.equal(loaded[name], state[name]) for name in state)


def prefixed(prefix, state):
    return OrderedDict((prefix + name, tensor) for name, tensor in state.items())


def parametrized(state):
    return OrderedDict((parametrized_name(name), tensor) for name, tensor in state.items())


def views_of_one_storage(state):
    gap = 3
    total = sum(tensor.numel() + gap for tensor in state.values())
    flat = torch.from_numpy(generator("views").standard_normal(total).astype(np.float32))
    views, offset = OrderedDict(), gap
    for name, tensor in state.items():
        view = flat[offset : offset + tensor.numel()].view(tensor.shape)
        views[name] = view.copy_(tensor)
        offset += tensor.numel() + gap
    return views


def non_contiguous(tensor):
    """The same values over a transposed, permuted or strided storage."""
    if tensor.dim() == 3:
        return tensor.permute(2, 0, 1).contiguous().permute(1, 2, 0)
    if tensor.dim() == 2:
        return tensor.t().contiguous().t()
    return torch.stack([tensor, torch.full_like(tensor, 7.0)], dim=1).flatten()[::2]


def lightning(state):
    return {
        "epoch": 3,
        "global_step": 1200,
        "pytorch-lightning_version": "2.4.0",
        "state_dict": prefixed("model.mert_model.", state),
        "loops": {},
        "callbacks": {},
        "optimizer_states": [
            {
                "state": {0: {"step": torch.tensor(1200.0), "exp_avg": torch.full((32, 32), 0.5)}},
                "param_groups": [{"lr": 1e-4, "params": [0]}],
            }
        ],
        "lr_schedulers": [],
        "hyper_parameters": argparse.Namespace(lr=1e-4, batch_size=8, task="tagging"),
    }


def fairseq_like(state):
    return {
        "args": argparse.Namespace(arch="hubert", seed=1),
        "cfg": {"model": {"_name": "hubert", "encoder_layers": 2}, "task": {"sample_rate": 24000}},
        "model": state,
        "criterion": None,
        "optimizer_history": [{"optimizer_name": "FairseqAdam", "num_updates": 400}],
        "task_state": {},
        "extra_state": {"epoch": 3, "val_loss": 2.5},
    }


def with_ctc_head(state):
    headed = prefixed("hubert.", state)
    for name, shape in (("lm_head.weight", (32, 32)), ("lm_head.bias", (32,))):
        values = generator("containers", name).standard_normal(shape).astype(np.float32)
        headed[name] = torch.from_numpy(values)
    return headed


def save_legacy(state, path):
    """torch's pre-1.6 format names storages by memory address; renamed here, for equal bytes."""
    buffer = io.BytesIO()
    torch.save(state, buffer, _use_new_zipfile_serialization=False)
    buffer.seek(0)
    for _ in ("magic", "protocol", "system"):
        pickle.load(buffer)
    start = buffer.tell()
    operations = list(pickletools.genops(buffer))
    end = buffer.tell()
    addresses = pickle.load(buffer)
    storages = {}
    for address in addresses:
        header = buffer.read(8)
        storages[address] = header + buffer.read(4 * struct.unpack("<q", header)[0])
    assert not buffer.read(), "storages are expected to be float32 only"

    data, keys, body, copied = buffer.getvalue(), {}, b"", start
    for (operation, argument, at), (_, _, following) in zip(operations, operations[1:]):
        if operation.name == "BINUNICODE" and argument in storages:
            keys[argument] = str(94000000000000 + 64 * len(keys))
            body += data[copied:at] + b"X" + struct.pack("<I", 14) + keys[argument].encode()
            copied = following
    body += data[copied:end]
    path.write_bytes(
        data[:start]
        + body
        + pickle.dumps(list(keys.values()), protocol=2)
        + b"".join(storages[address] for address in keys)
    )


def write_containers(folder):
    recipe = MODELS["containers"]
    folder.mkdir(parents=True, exist_ok=True)
    state = sharp_state("containers", recipe)
    write_reference(folder, "containers", recipe, state, ("f16", "bf16"))
    halves = {
        f"{name}.bin": OrderedDict((key, tensor.to(dtype)) for key, tensor in state.items())
        for name, dtype in ROUNDED.items()
    }
    files = {
        "zip.bin": state,
        "lightning.ckpt": lightning(state),
        "fairseq-like.pt": fairseq_like(state),
        "parametrizations.bin": parametrized(state),
        "fused.bin": fused_state(state),
        "views.bin": views_of_one_storage(state),
        "non-contiguous.bin": OrderedDict((n, non_contiguous(t)) for n, t in state.items()),
        "data-parallel.bin": prefixed("module.", state),
        "head.bin": with_ctc_head(state),
        **halves,
    }
    for name, content in files.items():
        torch.save(content, folder / name)
    save_legacy(state, folder / "legacy.bin")
    safetensors.torch.save_file(state, folder / "plain.safetensors", metadata={"format": "pt"})
    check_containers(folder, state, halves)


def check_containers(folder, state, halves):
    def load(name):
        with torch.serialization.safe_globals([argparse.Namespace]):
            return torch.load(folder / name, weights_only=True)

    for name in ("zip.bin", "legacy.bin", "views.bin", "non-contiguous.bin"):
        assert_same(load(name), state)
    for name, half in halves.items():
        assert_same(load(name), half)
    views = load("views.bin").values()
    assert len({view.untyped_storage().data_ptr() for view in views}) == 1
    assert not any(t.is_contiguous() for t in load("non-contiguous.bin").values() if t.dim() == 2)
    assert_same(load("fused.bin"), fused_state(state))
    assert_same(load("parametrizations.bin"), parametrized(state))
    assert_same(load("lightning.ckpt")["state_dict"], prefixed("model.mert_model.", state))
    assert_same(load("fairseq-like.pt")["model"], state)
    assert_same(load("data-parallel.bin"), prefixed("module.", state))
    assert_same(load("head.bin"), with_ctc_head(state))
    plain = safetensors.torch.load_file(folder / "plain.safetensors")
    assert_same(OrderedDict((name, plain[name]) for name in state), state)


class RunsAProgram:
    def __reduce__(self):
        return os.system, ("touch PWNED",)


def write_hostile(folder):
    folder.mkdir(parents=True, exist_ok=True)
    state = sharp_state("containers", MODELS["containers"])
    with zipfile.ZipFile(folder / "os-system.bin", "w", zipfile.ZIP_STORED) as archive:
        # A ZipInfo made from a name alone carries a constant date.
        for name, content in (
            ("data.pkl", pickle.dumps(RunsAProgram(), protocol=2)),
            ("byteorder", b"little"),
            ("data/0", bytes(64)),
            ("version", b"3\n"),
        ):
            archive.writestr(zipfile.ZipInfo("os-system/" + name), content)
    foreign = OrderedDict(state)
    foreign["encoder.layer_norm.weight"] = RunsAProgram()
    torch.save(foreign, folder / "foreign-tensor.bin")
    arrays = OrderedDict((name, tensor.numpy()) for name, tensor in list(state.items())[:16])
    torch.save(arrays, folder / "numpy.bin")
    # torch marks a lazily negated view in the pickle and stores the values with the other sign.
    few = list(state.items())[:16]
    negated = OrderedDict(few[:-1] + [(few[-1][0], torch._neg_view(-few[-1][1]))])
    torch.save(negated, folder / "negated-view.bin")
    torch.save(negated, folder / "negated-view-protocol4.bin", pickle_protocol=4)
    assert torch.equal(torch.load(folder / "negated-view.bin", weights_only=True)[few[-1][0]], few[-1][1])


def write_full_size(folder):
    state = write_model(folder, "full-size", FULL_SIZE, dtypes=("f16",))
    assert len(state) == 211 and sum(tensor.numel() for tensor in state.values()) == 94_371_712
    print(f"wrote {folder}: {(folder / 'pytorch_model.bin').stat().st_size:,} bytes of weights")


# --- README ---------------------------------------------------------------------------------------


def readme(root):
    versions = ", ".join(
        f"{name} {version}"
        for name, version in (
            ("Python", platform.python_version()),
            ("torch", torch.__version__.split("+")[0]),
            ("transformers", transformers.__version__),
            ("numpy", np.__version__),
            ("safetensors", safetensors.__version__),
        )
    )
    files = sorted(path for folder in root.iterdir() for path in folder.rglob("*") if path.is_file())
    folders = "\n".join(
        f"| `{name}/` | {recipe.about} | {recipe.sample_rate} Hz, {recipe.samples} samples |"
        for name, recipe in MODELS.items()
    )
    table = "\n".join(
        f"| {path.relative_to(root).as_posix()} | {path.stat().st_size} "
        f"| {hashlib.sha256(path.read_bytes()).hexdigest()} |"
        for path in files
    )
    audio_versions = ", ".join(f"{name} {version}" for name, version in AUDIO_VERSIONS.items())
    return f"""# Test fixtures

Made by `python scripts/make-fixtures.py` (seed {SEED}; {versions}), which also writes this file.
The weights are random, drawn so that every bias, gain and norm is away from its default and
attention is far from uniform. No published weights and no recorded audio are in here.

| folder | what it is | input |
|---|---|---|
{folders}
| `coreml/` | {COREML_ABOUT} | as `mert-tiny/` |
| `audio/` | {AUDIO_ABOUT} | 8000 to 96000 Hz, 1 to 6 channels, 1.0 to 2.5 s |
| `audio-formats/` | {AUDIO_FORMATS_ABOUT} | 8000 to 48000 Hz, 1 to 6 channels, a fraction of a second |
| `pickles/` | {PICKLES_ABOUT} | – |
| `hostile/` | {HOSTILE_ABOUT} | – |

`reference.npz` (uncompressed, little-endian float32):

| array | shape | what |
|---|---|---|
| `input_values` | (samples) | a synthetic clip, zero mean and unit variance |
| `hidden_states` | (layers + 1, frames, width) | transformers' `HubertModel`, float32, eager attention, batch 1, unpadded; `deepnorm/` patches its layers |
| `hidden_states_f16`, `hidden_states_bf16` | the same | the same float32 arithmetic with every weight rounded to that dtype first (the positional conv after fusing it in float64) |

Hidden state 0 is the encoder's input to its first layer, hidden state i the output of layer i; the
last one of `stable-layer-norm/` is after the encoder's final LayerNorm.

`containers/` holds the same tensors in every file, except: `fused.bin` has the fused positional
conv, `f16.bin` and `bf16.bin` are rounded (before fusing), `head.bin` adds an `lm_head`, and
`lightning.ckpt` and `fairseq-like.pt` add training state. In `hostile/`, `os-system.bin` and
`foreign-tensor.bin` run `touch PWNED` if something unpickles them without care, so a file of that
name is the alarm; `numpy.bin` holds numpy arrays, and `negated-view*.bin` a tensor that comes out with
the wrong sign if a mark in the pickle is ignored.

The tracks in `audio/` are drawn from the same seed, every channel on its own, and written by
libsndfile and FFmpeg ({audio_versions}). `audio/reference.npz` has, of
every track, `<file name>/samples`, the number of samples at 24000 Hz (int64), and
`<file name>/hidden_states_mean`, the mean over the frames of every hidden state of `mert-tiny/`
(float32): decoded by libsndfile or, `.m4a` and `.aac`, by FFmpeg; the mean of the channels; resampled
by soxr's HQ; normalised by transformers' `Wav2Vec2FeatureExtractor`. `audio/normalize.npz` has windows
and what that feature extractor returned for them, `<name>/input` and `<name>/output`.

`mert-tiny/model.safetensors` is not PyTorch's but `mert-convert`'s (float16, MLX layout): `mert-verify`
carries it as its built-in fixture. After a change, convert `mert-tiny/pytorch_model.bin` to it again.

With the versions above the weights are the same on every machine; the last bits of the hidden
states depend on the CPU.

| file | bytes | sha256 |
|---|---|---|
{table}
"""


def write_readme(root):
    (root / "README.md").write_text(readme(root))


def main():
    names = [*MODELS, "hostile"]
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    root = Path(__file__).resolve().parents[1]
    parser.add_argument("--out", type=Path, default=root / "fixtures")
    parser.add_argument("--only", choices=names, help="write this folder only")
    parser.add_argument("--full-size", type=Path, metavar="DIR", help="write a 95M model instead")
    arguments = parser.parse_args()

    # The order of a sum, and so its last bits, depends on the number of threads.
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    transformers.logging.set_verbosity_error()
    if arguments.full_size:
        write_full_size(arguments.full_size)
        return
    for name in [arguments.only] if arguments.only else names:
        folder = arguments.out / name
        if name == "containers":
            write_containers(folder)
        elif name == "hostile":
            write_hostile(folder)
        else:
            write_model(folder, name, MODELS[name])
    write_readme(arguments.out)
    total = sum(path.stat().st_size for path in arguments.out.rglob("*") if path.is_file())
    print(f"{arguments.out}: {total:,} bytes in all")
    assert total < 11_000_000


if __name__ == "__main__":
    main()
